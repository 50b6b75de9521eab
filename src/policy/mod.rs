//! Outbound: what an uploader is handed so that it can post a form to OSS by itself.
//!
//! OSS does not check a form field that the policy leaves out. Without a condition on `callback`, the uploader could
//! send another callback, or none. So every policy made here names the callback.
//!
//! * [`PostPolicy`] is one upload: built from checked values, signed into an [`UploadToken`] (signature version 4, or 1).
//! * [`OssPolicyService`] answers a `GET` with the token of Alibaba's sample application servers: `accessid`, `host`,
//!   `policy`, `signature`, `expire`, `dir` and `callback`. CORS is not its business: put a
//!   `tower_http::cors::CorsLayer` around it.
//!
//! Sources: the [PostObject] page, and [signature version 4] and [1].
//!
//! [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
//! [signature version 4]: https://www.alibabacloud.com/help/en/oss/developer-reference/signature-version-4-recommend
//! [1]: https://alibabacloud.com/help/en/oss/developer-reference/signature-version-1

mod builder;
mod condition;
mod content_types;
mod credentials;
mod directive;
mod document;
mod error;
mod field;
mod form;
mod moment;
mod post_policy;
mod service;
mod signature;
mod token;
mod upload_key;
mod upload_token;

pub use builder::PostPolicyBuilder;
pub use condition::Condition;
pub use credentials::{
    Credentials, CredentialsError, CredentialsLookup, CredentialsProvider,
    CredentialsProviderError, EnvironmentError, RefreshingCredentials,
};
pub use directive::{
    CallbackBody, CallbackDirective, CallbackDirectiveError, CallbackFieldError,
    CallbackFieldErrorKind,
};
pub use error::{FieldProblem, PolicyError};
pub use post_policy::PostPolicy;
pub use service::{OssPolicyService, PolicyBody, PolicyFuture};
pub use signature::SignatureVersion;
pub use upload_key::UploadKey;
pub use upload_token::UploadToken;
