//! JSON for values that always have it.

use serde::Serialize;

/// Serialises a value that consists of strings, numbers, and maps with string keys.
///
/// # Panics
///
/// If the value has no JSON form, which for the types above cannot happen: `serde_json` fails only
/// on map keys that are not strings, on errors of a `Serialize` implementation, and on errors of
/// the writer. An empty result instead of the panic would be signed, or sent as a token.
pub(super) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "every caller serialises strings and numbers into memory"
    )]
    serde_json::to_vec(value).expect("strings and numbers always serialise")
}
