//! The policy of a form: read, and held against the form.

mod document;
mod json;
mod matching;

pub(super) use document::Policy;
pub(super) use matching::{check_conditions, check_names};
