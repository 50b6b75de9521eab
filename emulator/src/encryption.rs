//! Encryption by the server: what a client requests for an object, or for every object of a bucket.
//!
//! The emulator encrypts nothing. It keeps the request and repeats it in responses, and OSS shows
//! nothing else of it either.

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::{
    errors::{self, OssError},
    form::Form,
};

const METHOD: &str = "x-oss-server-side-encryption";
const ALGORITHM: &str = "x-oss-server-side-data-encryption";
const KEY_ID: &str = "x-oss-server-side-encryption-key-id";
/// The key of KMS that OSS uses if the client names none. It has one for each account.
const DEFAULT_KEY: &str = "9468da86-3509-4f8d-a61e-6eab1eac0000";
/// What the method, the algorithm and the key of an object are called in its responses.
pub(crate) const NAMES: [&str; 3] = [METHOD, ALGORITHM, KEY_ID];

/// A way to encrypt objects.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Encryption {
    /// `AES256`, `SM4` or `KMS`.
    pub(crate) method: String,
    /// `SM4`, or `None` for AES256. Only of KMS.
    pub(crate) algorithm: Option<String>,
    /// The key of KMS.
    pub(crate) key_id: Option<String>,
}

impl Encryption {
    /// Reads the headers of a request, or the fields of a form.
    pub(crate) fn of_fields(fields: &Form) -> Result<Option<Self>, OssError> {
        let given = |name| fields.get(name).filter(|value| !value.is_empty());
        let Some(method) = given(METHOD) else {
            // As the suite of `oss2` shows, an algorithm without a method has no effect.
            return match given(KEY_ID) {
                None => Ok(None),
                Some(_) => Err(errors::ENCRYPTION),
            };
        };
        let encryption = Self::new(method, given(ALGORITHM), given(KEY_ID))?;
        match (&*encryption.method, &encryption.key_id) {
            ("KMS", _) | (_, None) => Ok(Some(encryption)),
            (_, Some(_)) => Err(errors::ENCRYPTION),
        }
    }

    /// Checks a method, an algorithm and the name of a key. Only KMS uses the algorithm.
    pub(crate) fn new(
        method: &str,
        algorithm: Option<&str>,
        key_id: Option<&str>,
    ) -> Result<Self, OssError> {
        if !["AES256", "SM4", "KMS"].contains(&method) {
            return Err(errors::ENCRYPTION);
        }
        let algorithm = algorithm.filter(|_| method == "KMS");
        let is_valid = |key_id: &str| HeaderValue::from_str(key_id).is_ok();
        if algorithm.is_some_and(|algorithm| algorithm != "SM4") || !key_id.is_none_or(is_valid) {
            return Err(errors::ENCRYPTION);
        }
        Ok(Self {
            method: method.to_owned(),
            algorithm: algorithm.map(str::to_owned),
            key_id: key_id.map(str::to_owned),
        })
    }

    /// Returns the response headers of an object that is encrypted so.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let key_id = match &*self.method {
            "KMS" => Some(self.key_id.as_deref().unwrap_or(DEFAULT_KEY)),
            _ => None,
        };
        let values = [Some(&*self.method), self.algorithm.as_deref(), key_id];
        let headers = NAMES.into_iter().zip(values);
        headers.filter_map(|(name, value)| Some((name, value?)))
    }
}
