//! The key, and what is signed with it.

use std::{error::Error, fmt, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, uri::PathAndQuery};
use md5::{Digest as _, Md5};
use rsa::{
    pkcs1::DecodeRsaPrivateKey as _,
    pkcs8::{DecodePrivateKey as _, EncodePublicKey as _},
};

use super::request::{CallbackBuilder, SignError};
use crate::{
    key::{PinnedKeys, PublicKey, PublicKeyError},
    protocol::CallbackTarget,
};

static BUILT_IN: LazyLock<Result<CallbackSigner, SignerKeyError>> =
    LazyLock::new(|| CallbackSigner::from_pem(include_str!("rsa_1024.pem")));

/// Signs callbacks as OSS does.
#[derive(Clone)]
pub struct CallbackSigner {
    key: rsa::PrivateKey,
    public_key: PublicKey,
}

impl CallbackSigner {
    /// A signer with the built-in key of 1,024 bits, the same for everybody.
    #[must_use]
    pub fn new() -> Self {
        #[expect(clippy::expect_used, reason = "a constant, which every test parses")]
        BUILT_IN.clone().expect("the built-in key is a key")
    }

    /// A signer with the private key in a PEM block, PKCS #1 or PKCS #8.
    ///
    /// # Errors
    ///
    /// When it is no unencrypted RSA key, or its public half is none that [`PublicKey`] takes.
    pub fn from_pem(pem: &str) -> Result<Self, SignerKeyError> {
        let key = rsa::PrivateKey::from_pkcs1_pem(pem)
            .or_else(|_| rsa::PrivateKey::from_pkcs8_pem(pem))
            .map_err(|_| SignerKeyError::NotAPrivateKey)?;
        let spki = key
            .as_public_key()
            .to_public_key_der()
            .map_err(|_| SignerKeyError::NotAPrivateKey)?;
        let public_key = PublicKey::from_der(spki.as_bytes()).map_err(SignerKeyError::PublicKey)?;
        Ok(Self { key, public_key })
    }

    /// The public half of the key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// A source that knows this key as version 1, under the URL that OSS names: for
    /// [`OssCallbackLayer::key_source`](crate::OssCallbackLayer::key_source).
    #[must_use]
    pub fn key_source(&self) -> PinnedKeys {
        PinnedKeys::official().with_version(1, self.public_key.clone())
    }

    /// Begins a callback to this URL, as it would stand in `callbackUrl`; a path and query alone will do, and are sent
    /// to `app.example`.
    pub fn callback<'a>(&'a self, url: &'a str) -> CallbackBuilder<'a> {
        CallbackBuilder::new(self, url)
    }

    /// The value of `Authorization` for this target and body: Base64 of RSASSA-PKCS1-v1_5 with MD5 over the decoded
    /// path, the query, a line feed and the body.
    ///
    /// # Errors
    ///
    /// When the target does not start with `/`, or the key is too short for such a signature, which no key of 512 bits
    /// or more is.
    pub fn authorization(
        &self,
        target: &PathAndQuery,
        body: &[u8],
    ) -> Result<HeaderValue, SignError> {
        let target =
            CallbackTarget::with_expected_path(target.clone()).map_err(|_| SignError::Url)?;
        let (path, query) = target.signed_parts();
        let digest = Md5::new()
            .chain_update(path)
            .chain_update(query)
            .chain_update(b"\n")
            .chain_update(body)
            .finalize();
        let signature = self
            .key
            .pkcs1v15_sign_prehash::<Md5>(&digest)
            .map_err(|_| SignError::Key)?;
        HeaderValue::try_from(STANDARD.encode(signature)).map_err(|_| SignError::Key)
    }
}

impl Default for CallbackSigner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CallbackSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackSigner")
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

/// Why a private key is not taken.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SignerKeyError {
    /// There is no unencrypted RSA private key in PKCS #1 or PKCS #8.
    NotAPrivateKey,
    /// The public half is not acceptable.
    PublicKey(PublicKeyError),
}

impl fmt::Display for SignerKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAPrivateKey => {
                "the pem block is no unencrypted rsa private key (pkcs #1 or pkcs #8)"
            }
            Self::PublicKey(_) => "the public half of the private key is not acceptable",
        })
    }
}

impl Error for SignerKeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotAPrivateKey => None,
            Self::PublicKey(source) => Some(source),
        }
    }
}
