//! The signature, as `Authorization` carries it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, header::AUTHORIZATION};

use super::error::{CallbackError, CallbackErrorKind as Kind};

/// The longest `authorization` that is looked at, in bytes: a signature of 4,096 bits has 684.
const MAX_LEN: usize = 1024;

/// A decoded signature. Those of the published key have 64 bytes and need no allocation.
#[derive(Debug)]
pub(super) enum Signature {
    Short([u8; 64]),
    Long(Box<[u8]>),
}

impl Signature {
    pub(super) fn from_header(value: &HeaderValue) -> Result<Self, CallbackError> {
        // Too long for any key: a wrong signature, whatever it says.
        if value.len() > MAX_LEN {
            return Err(Kind::SignatureMismatch.into());
        }
        let malformed = || CallbackError::with_header(Kind::InvalidHeader, AUTHORIZATION);
        let mut buffer = [0; MAX_LEN / 4 * 3];
        let len = STANDARD
            .decode_slice(value.as_bytes(), &mut buffer)
            .map_err(|_| malformed())?;
        match buffer.get(..len) {
            Some([]) | None => Err(malformed()),
            Some(bytes) => Ok(bytes
                .try_into()
                .map_or_else(|_| Self::Long(bytes.into()), Self::Short)),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}
