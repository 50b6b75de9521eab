//! Outbound half: upload tokens, with which a client posts a form to OSS by itself.
//!
//! OSS does not check a form field that the policy does not mention. Without a condition on
//! `callback`, the uploader could send another callback, or none. Every policy created here
//! therefore has a condition on the callback, unless the grant opts out by name
//! ([`Grant::without_callback`]).
//!
//! ```
//! use http::request::Parts;
//! use tower_aliyun_oss::{
//!     OssUploads,
//!     policy::{Authorize, Credentials, Grant, OssPolicyService, Refusal},
//!     protocol::{ContentType, ObjectPrefix, SizeRange},
//!     ticket::TicketKey,
//! };
//!
//! #[derive(Clone)]
//! struct UserName(String); // set by your session layer
//!
//! async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
//!     let UserName(name) = parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
//!     let prefix =
//!         ObjectPrefix::from_segments(["user", name]).map_err(|_| Refusal::forbidden())?;
//!     let size = SizeRange::new(1, 10 << 20)?;
//!     Ok(Grant::under(prefix, size).content_types(ContentType::IMAGES).claims(name))
//! }
//!
//! fn tokens() -> Result<OssPolicyService<impl Authorize>, Box<dyn std::error::Error>> {
//!     let uploads = OssUploads::builder("examplebucket".parse()?, Credentials::from_env()?)
//!         .region("cn-hangzhou".parse()?)
//!         .callback_url("https://app.example/oss/callback")
//!         .ticket_key(TicketKey::from_env("OSS_TICKET_KEY")?) // openssl rand -base64 32
//!         .build()?;
//!     Ok(uploads.policy_service(authorize))
//! }
//! ```
//!
//! * [`PostPolicy`] describes one upload. It is built from validated values and signed into an
//!   [`UploadToken`], with signature version 4 or 1.
//! * [`OssPolicyService`] issues such tokens over HTTP. Your [`Authorize`] returns a [`Grant`], and
//!   the request of the client narrows it. The service sends no CORS headers; wrap it in a
//!   `tower_http::cors::CorsLayer`.
//! * [`CallbackDirective`] tells OSS which URL to call after the upload, and with which
//!   [`CallbackTemplate`].
//! * [`CredentialsProvider`] supplies the AccessKey that signs policies: a fixed pair, the
//!   environment, or STS.
//!
//! Sources: the [PostObject] page, and [signature version 4] and [1].
//!
//! [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
//! [signature version 4]: https://www.alibabacloud.com/help/en/oss/developer-reference/signature-version-4-recommend
//! [1]: https://alibabacloud.com/help/en/oss/developer-reference/signature-version-1

mod authorize;
mod callback;
mod conditions;
mod credentials;
mod document;
mod error;
mod form_fields;
mod grant;
mod json;
mod object_name;
mod post_policy;
mod presign;
mod random;
mod request_signature;
mod requested;
mod service;
mod ticket_issuer;
mod upload_token;
mod validity;

pub use authorize::{Authorize, Grants, Refusal, with_state};
pub use callback::{CallbackDirective, CallbackTemplate};
pub use conditions::Condition;
pub use credentials::{
    Credentials, CredentialsError, CredentialsProvider, CredentialsProviderError,
    RefreshingCredentials,
};
pub use error::{CallbackDirectiveError, FieldProblem, PolicyError};
pub use grant::Grant;
// Named by no application: builders take it as `impl Into`, from an `ObjectKey` or `ObjectPrefix`.
#[doc(hidden)]
pub use object_name::UploadKey;
pub use object_name::unique_key;
pub use post_policy::{PostPolicy, PostPolicyBuilder};
pub use presign::{OssPresignService, PresignFormat, PresignFuture};
pub use requested::{RequestedDownload, RequestedFile, RequestedFiles};
pub use service::{
    OssPolicyService, PolicyBody, PolicyFuture, PublicDemo, TokenError, TokenErrorKind, TokenFormat,
};
pub use upload_token::UploadToken;

pub use crate::sign::SignatureVersion;

/// Signatures of requests.
///
/// **Not part of the stable interface.** Public for the tests of this repository, which compare
/// them with another signer.
#[doc(hidden)]
pub mod internal {
    pub use super::request_signature::{ToSign, sign_headers, sign_query};
}
