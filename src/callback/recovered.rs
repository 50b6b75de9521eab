//! The proof of a request that a recovery made, in place of the signature of OSS.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::text::text_digest;
use crate::{protocol::CallbackTarget, storage::ObjectMetadata};

/// The extension of a request that recovers an upload.
///
/// No request from the network has extensions, and only this crate can create this one. It is bound
/// to one text, target and body: a layer that copies it to another request gains nothing. The layer
/// accepts it in place of a signature, and accepts an expired ticket with it. Every other check is
/// the same as for a callback.
#[derive(Clone)]
pub(crate) struct RecoveredUpload(Arc<Inner>);

struct Inner {
    digest: [u8; 32],
    found: Arc<ObjectMetadata>,
    arrived: AtomicBool,
    called: AtomicBool,
}

impl RecoveredUpload {
    /// Creates the proof of this text. `found` is what OSS reports about the object.
    pub(crate) fn new(target: &CallbackTarget, body: &[u8], found: Arc<ObjectMetadata>) -> Self {
        Self(Arc::new(Inner {
            digest: text_digest(target, body),
            found,
            arrived: AtomicBool::new(false),
            called: AtomicBool::new(false),
        }))
    }

    /// Returns the SHA-256 of the text that it proves.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// Returns what OSS reports about the object.
    pub(super) fn found(&self) -> &Arc<ObjectMetadata> {
        &self.0.found
    }

    /// Notes that a layer has verified the request.
    pub(super) fn set_arrived(&self) {
        self.0.arrived.store(true, Relaxed);
    }

    /// Returns whether a layer has verified the request. Otherwise the response is of something
    /// else, such as a router without this route.
    pub(crate) fn has_arrived(&self) -> bool {
        self.0.arrived.load(Relaxed)
    }

    /// Notes that the layer calls the handler.
    pub(super) fn set_called(&self) {
        self.0.called.store(true, Relaxed);
    }

    /// Returns whether the layer has called the handler.
    pub(crate) fn was_called(&self) -> bool {
        self.0.called.load(Relaxed)
    }
}

impl fmt::Debug for RecoveredUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveredUpload")
            .field("arrived", &self.has_arrived())
            .finish_non_exhaustive()
    }
}
