//! Creates callbacks like those that OSS sends, signed with your own key, for tests.
//!
//! [`CallbackSigner`] builds requests with all headers that OSS sets. A layer accepts them if its
//! key source is [`CallbackSigner::key_source`], a [`PinnedKeys`] with the key of the signer in
//! place of the published one:
//!
//! ```
//! use http_body_util::Full;
//! use bytes::Bytes;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_aliyun_oss::{
//!     OssCallbackLayer,
//!     callback::{RequestBody, CallbackReply},
//!     testing::CallbackSigner,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let handler = service_fn(|_: http::Request<RequestBody<Full<Bytes>>>| async {
//!     Ok::<http::Response<Full<Bytes>>, std::convert::Infallible>(CallbackReply::ok().into())
//! });
//! let signer = CallbackSigner::new();
//! let app = OssCallbackLayer::new().key_source(signer.key_source()).layer(handler);
//!
//! let callback = signer
//!     .callback("https://app.example/oss/callback?from=oss")
//!     .json(r#"{"bucket":"examplebucket","object":"a.png","size":5}"#)
//!     .request()?;
//! assert_eq!(app.oneshot(callback).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! The built-in key is public. Only a layer with [`CallbackSigner::key_source`] trusts it, so use
//! that source only in tests, and enable this feature only in your dev-dependencies.
//!
//! Sources of the headers and the signature: the [Callback] page, and requests captured from OSS.
//!
//! [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Uri, header,
    uri::{Parts as UriParts, PathAndQuery},
};
use md5::{Digest as _, Md5};
use rsa::{
    pkcs1::DecodeRsaPrivateKey as _,
    pkcs8::{DecodePrivateKey as _, EncodePublicKey as _, LineEnding},
};

use crate::{
    key::{PinnedKeys, PublicKey, PublicKeyError},
    protocol::{
        CallbackBodyType,
        header::{
            X_OSS_ADDITIONAL_HEADERS, X_OSS_BUCKET, X_OSS_OWNER, X_OSS_PUB_KEY_URL,
            X_OSS_REQUEST_ID, X_OSS_REQUESTER, X_OSS_SIGNATURE_VERSION, X_OSS_TAG, http_date,
        },
        signed_parts,
    },
};

const KEY_URL: &str = "https://gosspublic.alicdn.com/callback_pub_key_v1.pem";

static BUILT_IN: LazyLock<Result<CallbackSigner, SignError>> =
    LazyLock::new(|| CallbackSigner::from_pem(include_str!("testing/rsa_512.pem")));

/// Signs callbacks as OSS does.
#[derive(Clone)]
pub struct CallbackSigner {
    key: rsa::PrivateKey,
    public_key: PublicKey,
    public_pem: Arc<str>,
}

impl CallbackSigner {
    /// Creates a signer with the built-in key, a fixed key of 512 bits, the size of the key of
    /// OSS. It is public.
    #[must_use]
    pub fn new() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the key is a constant, and the tests parse it"
        )]
        BUILT_IN.clone().expect("the built-in key is valid")
    }

    /// Creates a signer from a private key in a PEM block, PKCS #1 or PKCS #8.
    ///
    /// # Errors
    ///
    /// Fails if the block is not an unencrypted RSA private key, or if [`PublicKey`] rejects its
    /// public half.
    pub fn from_pem(pem: &str) -> Result<Self, SignError> {
        let key = rsa::PrivateKey::from_pkcs1_pem(pem)
            .or_else(|_| rsa::PrivateKey::from_pkcs8_pem(pem))
            .map_err(|_| SignError::NotAPrivateKey)?;
        let spki = key
            .as_public_key()
            .to_public_key_der()
            .map_err(|_| SignError::NotAPrivateKey)?;
        let public_key = PublicKey::from_der(spki.as_bytes()).map_err(SignError::PublicKey)?;
        let public_pem = spki
            .to_pem("PUBLIC KEY", LineEnding::LF)
            .map_err(|_| SignError::NotAPrivateKey)?;
        Ok(Self {
            key,
            public_key,
            public_pem: public_pem.into(),
        })
    }

    /// Returns the public half of the key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Returns the public half of the key as a PEM block, for an application that reads its key
    /// from a file.
    #[must_use]
    pub fn public_key_pem(&self) -> &str {
        &self.public_pem
    }

    /// Returns a source with this key as version 1, under the key URL that OSS sends, for
    /// [`OssCallbackLayer::key_source`](crate::OssCallbackLayer::key_source).
    #[must_use]
    pub fn key_source(&self) -> PinnedKeys {
        PinnedKeys::official().with_version(1, self.public_key.clone())
    }

    /// Creates a builder for a callback to `url`, as written in `callbackUrl`. A path and query
    /// without a host use the host `app.example`.
    pub fn callback<'a>(&'a self, url: &'a str) -> CallbackBuilder<'a> {
        CallbackBuilder::new(self, url)
    }

    /// Returns the value of `Authorization` for this target and body: the Base64-encoded
    /// RSASSA-PKCS1-v1_5 signature with MD5 over the decoded path, the query, a line feed and the
    /// body.
    ///
    /// # Errors
    ///
    /// Fails if the target does not start with `/`, or if the key is shorter than 512 bits and too
    /// short for the signature.
    pub fn authorization(
        &self,
        target: &PathAndQuery,
        body: &[u8],
    ) -> Result<HeaderValue, SignError> {
        if !target.as_str().starts_with('/') {
            return Err(SignError::Url);
        }
        // Any raw target: a test may sign one that the layer rejects.
        let (path, query) = signed_parts(target);
        let digest = Md5::new()
            .chain_update(path)
            .chain_update(query)
            .chain_update(b"\n")
            .chain_update(body)
            .finalize();
        let signature = self
            .key
            .pkcs1v15_sign_prehash::<Md5>(&digest)
            .map_err(|_| SignError::ShortKey)?;
        HeaderValue::try_from(STANDARD.encode(signature)).map_err(|_| SignError::ShortKey)
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

/// Builder for a callback request. Created by [`CallbackSigner::callback`].
///
/// Defaults to an empty form body and the bucket `examplebucket`.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `request` is called"]
pub struct CallbackBuilder<'a> {
    signer: &'a CallbackSigner,
    url: &'a str,
    body_type: CallbackBodyType,
    body: Bytes,
    bucket: &'a str,
    owner: &'a str,
    requester: &'a str,
    request_id: Option<&'a str>,
    time: Option<SystemTime>,
}

impl<'a> CallbackBuilder<'a> {
    fn new(signer: &'a CallbackSigner, url: &'a str) -> Self {
        Self {
            signer,
            url,
            body_type: CallbackBodyType::Form,
            body: Bytes::new(),
            bucket: "examplebucket",
            owner: "1234567890123456",
            requester: "1234567890123456",
            request_id: None,
            time: None,
        }
    }

    /// Sets a body of type `application/x-www-form-urlencoded`, sent exactly as given.
    pub fn form(mut self, body: impl Into<Bytes>) -> Self {
        self.body_type = CallbackBodyType::Form;
        self.body = body.into();
        self
    }

    /// Sets a body of type `application/json`, sent exactly as given. OSS does not check that it is
    /// JSON, and neither does this method.
    pub fn json(mut self, body: impl Into<Bytes>) -> Self {
        self.body_type = CallbackBodyType::Json;
        self.body = body.into();
        self
    }

    /// Sets `x-oss-bucket`.
    pub fn bucket(mut self, bucket: &'a str) -> Self {
        self.bucket = bucket;
        self
    }

    /// Sets `x-oss-owner`, the account that owns the bucket.
    pub fn owner(mut self, account: &'a str) -> Self {
        self.owner = account;
        self
    }

    /// Sets `x-oss-requester`, the account that uploads.
    pub fn requester(mut self, account: &'a str) -> Self {
        self.requester = account;
        self
    }

    /// Sets `x-oss-request-id`. Defaults to a generated ID that starts with the time, as IDs of OSS
    /// do.
    pub fn request_id(mut self, id: &'a str) -> Self {
        self.request_id = Some(id);
        self
    }

    /// Sets the time in `Date`. Defaults to the current time.
    pub fn time(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// Builds the request, with every header that OSS sets. The body can be any type that
    /// implements `From<Bytes>`: `Bytes`, `Full<Bytes>`, axum's `Body`.
    ///
    /// # Errors
    ///
    /// Fails if the URL is invalid, a header cannot contain one of the values, or the time is out
    /// of range.
    pub fn request<B: From<Bytes>>(self) -> Result<Request<B>, SignError> {
        let url: UriParts = self
            .url
            .parse::<Uri>()
            .map_err(|_| SignError::Url)?
            .into_parts();
        // OSS calls a URL without a path at `/`.
        let target = match url.path_and_query {
            // `Display` adds the slash that `as_str` lacks.
            Some(target) if target.as_str().starts_with('?') => {
                target.to_string().parse().map_err(|_| SignError::Url)?
            }
            Some(target) => target,
            None => PathAndQuery::from_static("/"),
        };
        let host = match (&url.scheme, &url.authority) {
            (Some(_), Some(authority)) => authority.as_str(),
            (None, None) if target.path().starts_with('/') => "app.example",
            _ => return Err(SignError::Url),
        };
        let time = self.time.unwrap_or_else(SystemTime::now);
        let generated;
        let request_id = match self.request_id {
            Some(id) => id,
            None => {
                generated = generated_request_id(time);
                &generated
            }
        };
        let content_type = self.body_type.as_str();
        let authorization = self.signer.authorization(&target, &self.body)?;
        let content_md5 = STANDARD.encode(Md5::digest(&self.body));
        let headers: [(HeaderName, &str); 14] = [
            (header::HOST, host),
            (header::CONNECTION, "close"),
            (header::CONTENT_LENGTH, &self.body.len().to_string()),
            (HeaderName::from_static("content-md5"), &content_md5),
            (header::CONTENT_TYPE, content_type),
            (header::DATE, &http_date(time).ok_or(SignError::Time)?),
            (header::USER_AGENT, "aliyun-oss-callback"),
            (X_OSS_ADDITIONAL_HEADERS, ""),
            (X_OSS_BUCKET, self.bucket),
            (X_OSS_OWNER, self.owner),
            (X_OSS_PUB_KEY_URL, &STANDARD.encode(KEY_URL)),
            (X_OSS_REQUEST_ID, request_id),
            (X_OSS_REQUESTER, self.requester),
            (X_OSS_SIGNATURE_VERSION, "1.0"),
        ];
        let mut request = Request::post(Uri::from(target))
            .header(header::AUTHORIZATION, authorization)
            .header(X_OSS_TAG, "CALLBACK");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request
            .body(self.body.into())
            .map_err(|_| SignError::Header)
    }
}

/// Returns 24 hex digits. The first eight are the time in seconds.
fn generated_request_id(time: SystemTime) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // The counter keeps IDs of the same second distinct.
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:08X}{count:016X}", seconds.as_secs() & 0xFFFF_FFFF)
}

/// Error returned when a private key is rejected, or a callback cannot be built or signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The callback URL is neither absolute nor a path with a query.
    #[error("the callback URL is neither absolute nor a path that starts with a slash")]
    Url,
    /// A value is not allowed in a header.
    #[error("a value contains characters that are not allowed in a header")]
    Header,
    /// The time is after year 9999 or before year 0.
    #[error("the time is out of range for the date header")]
    Time,
    /// The key is too short for the signature.
    #[error("the key is too short for this signature; use at least 512 bits")]
    ShortKey,
    /// The text does not contain an unencrypted RSA private key in PKCS #1 or PKCS #8.
    #[error("the PEM block is not an unencrypted RSA private key (PKCS #1 or PKCS #8)")]
    NotAPrivateKey,
    /// [`PublicKey`] rejects the public half of the private key.
    #[error("the public half of the private key is not accepted")]
    PublicKey(#[source] PublicKeyError),
}
