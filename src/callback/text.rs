//! The text that OSS signs: decoded path, query, a line feed, and the body.

use sha2::{Digest, Sha256};

use crate::protocol::CallbackTarget;

/// Hashes the part of the signed text that precedes the body.
pub(super) fn start_text<D: Digest>(target: &CallbackTarget) -> D {
    let (path, query) = target.signed_parts();
    let mut text = D::new();
    text.update(path);
    text.update(query);
    text.update(b"\n");
    text
}

/// Returns the SHA-256 of the signed text.
///
/// Not the MD5 of the signature: two bodies with the same MD5 take seconds to find, and a store
/// would take the second one for a repetition of the first.
pub(super) fn text_digest(target: &CallbackTarget, body: &[u8]) -> [u8; 32] {
    let mut text: Sha256 = start_text(target);
    text.update(body);
    text.finalize().into()
}
