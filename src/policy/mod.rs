//! Outbound: what an uploader is handed so that it can post a form to OSS by itself.
//!
//! OSS does not check a form field that the policy leaves out. Without a condition on `callback`, the uploader could
//! send another callback, or none. So every policy made here names the callback.
//!
//! * [`PostPolicy`] is one upload: built from checked values, signed into an [`UploadToken`] (signature version 4, or 1).
//! * [`OssPolicyService`] hands such tokens out: an [`Authorize`] of yours answers with a [`Grant`], and what the client
//!   asked for narrows it. CORS is not its business: put a `tower_http::cors::CorsLayer` around it.
//! * [`CallbackDirective`] says whom OSS calls after the upload, and with which [`CallbackBody`].
//! * [`CredentialsProvider`] gives the AccessKey to sign with: a pair, the environment, or STS.
//!
//! Sources: the [PostObject] page, and [signature version 4] and [1].
//!
//! [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
//! [signature version 4]: https://www.alibabacloud.com/help/en/oss/developer-reference/signature-version-4-recommend
//! [1]: https://alibabacloud.com/help/en/oss/developer-reference/signature-version-1

mod authorize;
mod builder;
mod condition;
mod content_types;
mod credentials;
mod denied;
mod destination;
mod directive;
mod document;
mod error;
mod field;
mod form;
mod grant;
mod mint;
mod moment;
mod object_name;
mod post_policy;
mod refusal;
mod requested;
mod service;
mod template;
mod terms;
mod upload_key;
mod upload_token;

pub use authorize::Authorize;
pub use builder::PostPolicyBuilder;
pub use condition::Condition;
pub use credentials::{
    Credentials, CredentialsError, CredentialsProvider, CredentialsProviderError, EnvironmentError,
    RefreshingCredentials,
};
pub use directive::{
    CallbackBody, CallbackDirective, CallbackDirectiveError, CallbackFieldError,
    CallbackFieldErrorKind,
};
pub use error::{FieldProblem, PolicyError};
pub use grant::Grant;
pub use object_name::unique_key;
pub use post_policy::PostPolicy;
pub use refusal::Refusal;
pub use requested::{RequestedFile, RequestedFiles};
pub use service::{OssPolicyService, PolicyBody, PolicyFuture, PublicDemo, TokenFormat};
pub use upload_key::UploadKey;
pub use upload_token::UploadToken;

pub use crate::sign::SignatureVersion;
