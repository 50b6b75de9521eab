//! The AccessKey secret.

use std::sync::{Arc, Weak};

use zeroize::Zeroizing;

/// An AccessKey secret. Clones share its memory, which is wiped when the last one is dropped.
///
/// Has no `Debug`, so that nothing that contains it can derive one that shows it.
#[derive(Clone)]
pub(crate) struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    pub(crate) fn new(secret: Zeroizing<String>) -> Self {
        Self(Arc::new(secret))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns a handle that recognizes this secret and its clones without keeping it in memory.
    pub(crate) fn identity(&self) -> SecretIdentity {
        SecretIdentity(Arc::downgrade(&self.0))
    }

    #[cfg(test)]
    pub(crate) fn zeroizing(&self) -> &Zeroizing<String> {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// The address of a secret.
///
/// The weak reference keeps the allocation, so that no other secret can have the same address. The
/// secret itself is wiped with its last clone.
pub(crate) struct SecretIdentity(Weak<Zeroizing<String>>);

impl SecretIdentity {
    pub(super) fn is_of(&self, secret: &Secret) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&secret.0))
    }

    #[cfg(test)]
    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}
