//! The changes that a target may have suffered between OSS and the layer.

use std::fmt;

use percent_encoding::{AsciiSet, percent_decode, percent_encode};

use crate::protocol::percent::{self, UNRESERVED};

macro_rules! changes {
    ($($(#[$doc:meta])* $change:ident, $text:literal;)*) => {
        /// The change that turns a target into the one that OSS may have signed.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum TargetChange {
            $($(#[$doc])* $change,)*
        }

        impl fmt::Display for TargetChange {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$change => $text,)*
                })
            }
        }
    };
}

changes! {
    /// Without one parameter of the query, which something in front of the layer adds.
    ParameterDropped, "without one parameter of its query";
    /// With one parameter more in its query, which something in front of the layer drops. The
    /// parameter is one of another target that is tried.
    ParameterAdded, "with one parameter more in its query, because something in front drops it";
    /// Without the query, which something in front of the layer adds.
    QueryDropped, "without its query";
    /// With a `?` and an empty query, which many proxies drop.
    QuestionMarkAdded, "with a ? and nothing after it";
    /// With a slash at the end of the path.
    SlashAdded, "with a slash at the end of the path";
    /// Without the slash at the end of the path.
    SlashRemoved, "without the slash at the end of the path";
    /// With a second slash at the start of the path, which proxies merge into one.
    SlashDoubled, "with two slashes at the start of the path";
    /// With the path as received, not decoded. Something in front of the layer decodes it.
    PathNotDecoded, "with the path not decoded, because something in front decodes it already";
    /// With the path decoded twice. Something in front of the layer encodes it.
    PathDecodedTwice, "with the path decoded twice, because something in front encodes it";
    /// With a space for each `+` in the path.
    PathPlusAsSpace, "with a space for each + in the path";
    /// With a `+` for each space in the path.
    PathSpaceAsPlus, "with a + for each space in the path";
    /// With the query decoded. Something in front of the layer encodes it.
    QueryDecoded, "with the query decoded, because something in front encodes it";
    /// With the query encoded. Something in front of the layer decodes it.
    QueryEncoded, "with the query encoded, because something in front decodes it";
    /// With `%20` for each `+` in the query.
    QueryPlusAsPercent20, "with %20 for each + in the query";
    /// With `+` for each `%20` in the query.
    QueryPercent20AsPlus, "with + for each %20 in the query";
    /// With the hex digits of the escapes in the query in the other case, upper or lower.
    QueryHexCase, "with the escapes of the query in the other case";
    /// With a fragment, which OSS signs and the layer never sees. The fragment is empty, or that of
    /// another target that is tried.
    FragmentAdded, "with the fragment of callbackUrl, which must have none";
    /// Without its fragment, which OSS does not sign.
    FragmentDropped, "without the fragment of callbackUrl, which must have none";
}

/// The most parameters of a query of which each is dropped once, and the most parameters and places
/// that are tried for one more.
const MAX_PARAMETERS: usize = 8;

/// The most fragments that are tried.
const MAX_FRAGMENTS: usize = 4;

/// Encodes a decoded query without changing its structure: the delimiters, and `%` and `+`, which
/// may belong to escapes that are left, stay raw.
const QUERY: &AsciiSet = &UNRESERVED
    .remove(b'?')
    .remove(b'&')
    .remove(b'=')
    .remove(b'%')
    .remove(b'+');

/// The parameters and fragments of all targets that are tried, each once.
pub(super) struct Known {
    parameters: Vec<String>,
    fragments: Vec<String>,
}

impl Known {
    pub(super) fn of<'t>(targets: impl IntoIterator<Item = &'t Target>) -> Self {
        let mut known = Self {
            parameters: Vec::new(),
            // A bare `#` may stand in a URL by mistake.
            fragments: vec!["#".to_owned()],
        };
        for target in targets {
            for parameter in target.parameters() {
                add(&mut known.parameters, parameter, MAX_PARAMETERS);
            }
            add(&mut known.fragments, &target.fragment, MAX_FRAGMENTS);
        }
        known
    }
}

fn add(list: &mut Vec<String>, text: &str, most: usize) {
    if list.len() < most && !text.is_empty() && list.iter().all(|known| known != text) {
        list.push(text.to_owned());
    }
}

/// A path, a query including its `?`, and a fragment including its `#`, all as received.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Target {
    pub(super) path: String,
    pub(super) query: String,
    fragment: String,
}

impl Target {
    pub(super) fn new(path: impl Into<String>, query: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            query: query.into(),
            fragment: String::new(),
        }
    }

    pub(super) fn split(target: &str) -> Self {
        let (target, fragment) = target.split_at(target.find('#').unwrap_or(target.len()));
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        Self {
            fragment: fragment.to_owned(),
            ..Self::new(path, query)
        }
    }

    fn decoded(&self) -> Vec<u8> {
        percent_decode(self.path.as_bytes()).collect()
    }

    /// The parameters of the query; none if it has too many, which would crowd out other
    /// candidates.
    fn parameters(&self) -> Vec<&str> {
        let query = self.query.trim_start_matches('?');
        let parameters: Vec<&str> = query.split('&').collect();
        match parameters.len() {
            1..=MAX_PARAMETERS if !query.is_empty() => parameters,
            _ => Vec::new(),
        }
    }

    pub(super) fn signed(&self) -> Vec<u8> {
        self.with(&self.decoded(), self.query.as_bytes())
    }

    /// The signed text with another path or query.
    fn with(&self, path: &[u8], query: &[u8]) -> Vec<u8> {
        [path, query, self.fragment.as_bytes()].concat()
    }

    pub(super) fn changes(&self, known: &Known, mut take: impl FnMut(TargetChange, Vec<u8>)) {
        let decoded = self.decoded();
        let query = self.query.as_bytes();
        let parameters = self.parameters();
        let with_parameters = |parameters: &[&str]| {
            let query = format!("?{}", parameters.join("&"));
            self.with(&decoded, query.as_bytes())
        };
        // A query of one parameter is dropped as a whole.
        if parameters.len() > 1 {
            for skipped in 0..parameters.len() {
                let mut left = parameters.clone();
                left.remove(skipped);
                take(TargetChange::ParameterDropped, with_parameters(&left));
            }
        }
        let missing = known.parameters.iter().map(String::as_str);
        let missing = missing.filter(|parameter| !parameters.contains(parameter));
        // The last place first, where most parameters are appended.
        let places =
            missing.flat_map(|more| (0..=parameters.len()).rev().map(move |at| (more, at)));
        for (more, at) in places.take(MAX_PARAMETERS) {
            let mut longer = parameters.clone();
            longer.insert(at, more);
            take(TargetChange::ParameterAdded, with_parameters(&longer));
        }
        if query.is_empty() {
            take(TargetChange::QuestionMarkAdded, self.with(&decoded, b"?"));
        } else {
            take(TargetChange::QueryDropped, self.with(&decoded, b""));
        }
        match decoded.strip_suffix(b"/") {
            Some(shorter) if !shorter.is_empty() => {
                take(TargetChange::SlashRemoved, self.with(shorter, query));
            }
            _ => {
                let longer = [&*decoded, b"/"].concat();
                take(TargetChange::SlashAdded, self.with(&longer, query));
            }
        }
        let doubled = [b"/", &*decoded].concat();
        take(TargetChange::SlashDoubled, self.with(&doubled, query));
        let raw = self.path.as_bytes();
        take(TargetChange::PathNotDecoded, self.with(raw, query));
        let twice: Vec<u8> = percent_decode(&decoded).collect();
        take(TargetChange::PathDecodedTwice, self.with(&twice, query));
        let spaced = replace(&decoded, b'+', b' ');
        take(TargetChange::PathPlusAsSpace, self.with(&spaced, query));
        let plussed = replace(&decoded, b' ', b'+');
        take(TargetChange::PathSpaceAsPlus, self.with(&plussed, query));
        for (change, query) in [
            (TargetChange::QueryDecoded, percent_decode(query).collect()),
            (
                TargetChange::QueryEncoded,
                percent_encode(query, QUERY).to_string().into_bytes(),
            ),
            (
                TargetChange::QueryPlusAsPercent20,
                self.query.replace('+', "%20").into_bytes(),
            ),
            (
                TargetChange::QueryPercent20AsPlus,
                self.query.replace("%20", "+").into_bytes(),
            ),
            (
                TargetChange::QueryHexCase,
                percent::map_hex_digits(query, u8::to_ascii_uppercase),
            ),
            (
                TargetChange::QueryHexCase,
                percent::map_hex_digits(query, u8::to_ascii_lowercase),
            ),
        ] {
            take(change, self.with(&decoded, &query));
        }
        if self.fragment.is_empty() {
            for fragment in &known.fragments {
                let text = [&*decoded, query, fragment.as_bytes()].concat();
                take(TargetChange::FragmentAdded, text);
            }
        } else {
            let text = [&*decoded, query].concat();
            take(TargetChange::FragmentDropped, text);
        }
    }
}

fn replace(text: &[u8], from: u8, to: u8) -> Vec<u8> {
    text.iter()
        .map(|&byte| if byte == from { to } else { byte })
        .collect()
}
