//! One page of a listing, taken from an index that is ordered by name.

use std::{collections::BTreeMap, ops::Bound};

/// What a listing selects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection<'a> {
    /// Only names that begin with this text.
    pub(crate) prefix: &'a str,
    /// Groups names that have the same text up to this one behind `prefix`. Empty for no groups.
    pub(crate) delimiter: &'a str,
    /// Only entries behind this name.
    pub(crate) after: &'a str,
    /// The largest number of entries, at least 1.
    pub(crate) limit: usize,
}

/// An entry of a listing: an object, or a prefix that groups objects up to the delimiter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Entry<T> {
    Object(T),
    Prefix(String),
}

/// A page of entries, ordered by name.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Page<T> {
    pub(crate) entries: Vec<Entry<T>>,
    /// Whether entries follow that did not fit.
    pub(crate) is_truncated: bool,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            is_truncated: false,
        }
    }
}

impl<T> Page<T> {
    pub(super) fn map<U>(self, mut change: impl FnMut(T) -> U) -> Page<U> {
        let entries = self.entries.into_iter().map(|entry| match entry {
            Entry::Object(object) => Entry::Object(change(object)),
            Entry::Prefix(prefix) => Entry::Prefix(prefix),
        });
        Page {
            entries: entries.collect(),
            is_truncated: self.is_truncated,
        }
    }
}

/// Selects a page of an index.
///
/// Looks at one name per entry: the names of a group are skipped by a search for the first name
/// behind it.
pub(super) fn page<T: Clone>(index: &BTreeMap<String, T>, selection: Selection<'_>) -> Page<T> {
    let Selection { prefix, after, .. } = selection;
    let mut page = Page::default();
    let mut from = match group(after, selection) {
        // The group of `after` is not behind `after`, and neither are its names.
        Some(group) => match successor(group) {
            Some(next) => Bound::Included(next),
            None => return page,
        },
        None if after >= prefix => Bound::Excluded(after.to_owned()),
        None => Bound::Included(prefix.to_owned()),
    };
    'seek: loop {
        let bounds = (from.as_ref().map(String::as_str), Bound::Unbounded);
        for (name, object) in index.range::<str, _>(bounds) {
            if !name.starts_with(prefix) {
                return page;
            }
            if page.entries.len() == selection.limit {
                page.is_truncated = true;
                return page;
            }
            match group(name, selection) {
                None => page.entries.push(Entry::Object(object.clone())),
                Some(group) => {
                    page.entries.push(Entry::Prefix(group.to_owned()));
                    match successor(group) {
                        Some(next) => from = Bound::Included(next),
                        None => return page,
                    }
                    continue 'seek;
                }
            }
        }
        return page;
    }
}

/// Returns the prefix that groups a name, if the listing has groups and the name is in one.
fn group<'a>(name: &'a str, selection: Selection<'_>) -> Option<&'a str> {
    let Selection {
        prefix, delimiter, ..
    } = selection;
    if delimiter.is_empty() {
        return None;
    }
    let at = name.strip_prefix(prefix)?.find(delimiter)?;
    Some(&name[..prefix.len() + at + delimiter.len()])
}

/// Returns the least text that is greater than every text with this prefix. Returns `None` if the
/// prefix consists of the greatest character.
///
/// The order of `str`, that of its bytes, is also the order of its characters.
fn successor(prefix: &str) -> Option<String> {
    let mut next = prefix.to_owned();
    while let Some(last) = next.pop() {
        // A range of characters skips the surrogates.
        if let Some(greater) = (last..=char::MAX).nth(1) {
            next.push(greater);
            return Some(next);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The straightforward way: looks at every name of the bucket.
    fn by_scan(names: &BTreeMap<String, usize>, selection: Selection<'_>) -> Page<usize> {
        let Selection {
            prefix, delimiter, ..
        } = selection;
        let mut entries: Vec<(&str, Entry<usize>)> = Vec::new();
        for (key, object) in names {
            let Some(rest) = key.strip_prefix(prefix) else {
                continue;
            };
            let common = match rest.find(delimiter) {
                Some(at) if !delimiter.is_empty() => &key[..prefix.len() + at + delimiter.len()],
                _ => "",
            };
            let (name, entry) = if common.is_empty() {
                (key.as_str(), Entry::Object(*object))
            } else {
                (common, Entry::Prefix(common.to_owned()))
            };
            let repeated = entries.last().is_some_and(|(last, _)| *last == name);
            if name > selection.after && !repeated {
                entries.push((name, entry));
            }
        }
        let is_truncated = entries.len() > selection.limit;
        entries.truncate(selection.limit);
        Page {
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            is_truncated,
        }
    }

    // Few characters, so that names share prefixes: among them both neighbours of the surrogates,
    // the greatest character, and one of each length.
    const NAME: &str = "[ab/\u{e9}\u{d7ff}\u{e000}\u{10ffff}]{0,5}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_page_is_what_a_scan_finds(
            names in prop::collection::btree_set(NAME, 0..40),
            prefix in NAME,
            delimiter in "[ab/\u{10ffff}]{0,2}",
            after in NAME,
            limit in 1..8_usize,
        ) {
            let names: BTreeMap<_, _> = names.into_iter().zip(0..).collect();
            for prefix in ["", &prefix[..prefix.chars().next().map_or(0, char::len_utf8)], &prefix] {
                let selection = Selection { prefix, delimiter: &delimiter, after: &after, limit };
                prop_assert_eq!(page(&names, selection), by_scan(&names, selection));
            }
        }

        #[test]
        fn pages_add_up(names in prop::collection::btree_set(NAME, 0..40), limit in 1..8_usize) {
            let names: BTreeMap<_, _> = names.into_iter().map(|name| (name.clone(), name)).collect();
            let (mut after, mut found) = (String::new(), Vec::new());
            loop {
                let selection = Selection { prefix: "", delimiter: "/", after: &after, limit };
                let next = page(&names, selection);
                prop_assert!(next.entries.len() <= limit);
                found.extend(next.entries);
                match found.last() {
                    Some(Entry::Object(name) | Entry::Prefix(name)) if next.is_truncated => {
                        after.clone_from(name);
                    }
                    _ => break,
                }
            }
            let whole = Selection { prefix: "", delimiter: "/", after: "", limit: usize::MAX };
            prop_assert_eq!(found, page(&names, whole).entries);
        }
    }

    #[test]
    fn the_text_behind_a_prefix() {
        for (prefix, next) in [
            ("a", Some("b")),
            ("a/", Some("a0")),
            ("a\u{7f}", Some("a\u{80}")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(successor(prefix).as_deref(), next, "{prefix:?}");
        }
    }

    /// A group of a million names is one step.
    #[test]
    fn the_names_of_a_group_are_not_visited() {
        #[derive(Debug)]
        struct Counted<'a>(&'a std::cell::Cell<usize>);
        impl Clone for Counted<'_> {
            fn clone(&self) -> Self {
                self.0.set(self.0.get() + 1);
                Self(self.0)
            }
        }
        let visited = std::cell::Cell::new(0);
        let mut names: BTreeMap<_, _> = (0..1000)
            .map(|at| (format!("a/{at}"), Counted(&visited)))
            .collect();
        names.insert("b".to_owned(), Counted(&visited));
        let selection = Selection {
            prefix: "",
            delimiter: "/",
            after: "",
            limit: 10,
        };
        let page = page(&names, selection);
        assert_eq!(page.entries.len(), 2);
        assert_eq!(visited.get(), 1);
    }
}
