//! The fields of a form, as a token contains them.

use serde::{Serialize, Serializer};

/// Names and values of form fields, in one text.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct FormFields {
    /// Name and value of each field, one after the other.
    text: String,
    /// Where the name and the value of each field end.
    ends: Vec<(usize, usize)>,
}

impl FormFields {
    /// Number of fields of a form with an STS token and a few custom ones.
    const USUAL: usize = 16;

    /// Creates an empty list with room for this many bytes.
    pub(super) fn with_capacity(len: usize) -> Self {
        Self {
            text: String::with_capacity(len),
            ends: Vec::with_capacity(Self::USUAL),
        }
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.push_with(name, |text| text.push_str(value));
    }

    /// Adds a field whose value this function appends to the text.
    pub(super) fn push_with(&mut self, name: &str, value: impl FnOnce(&mut String)) {
        self.text.push_str(name);
        let name_end = self.text.len();
        value(&mut self.text);
        self.ends.push((name_end, self.text.len()));
    }

    /// Returns the value of the field that was added last, or an empty text.
    pub(super) fn last(&self) -> &str {
        self.iter().next_back().map_or("", |(_, value)| value)
    }

    /// Returns the length of the fields as a JSON object without escapes.
    pub(super) fn json_len(&self) -> usize {
        // Six characters around each field, and two around all.
        self.text.len() + 6 * self.ends.len() + 2
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + DoubleEndedIterator {
        let start = |at: usize| match at.checked_sub(1).and_then(|at| self.ends.get(at)) {
            Some((_, end)) => *end,
            None => 0,
        };
        let fields = self.ends.iter().enumerate();
        fields.map(move |(at, (name_end, end))| {
            let (name, value) = (start(at)..*name_end, *name_end..*end);
            (&self.text[name], &self.text[value])
        })
    }
}

impl Serialize for FormFields {
    /// Serialises the fields as an object, which JavaScript can iterate. The names are unique.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}
