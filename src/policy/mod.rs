//! Outbound: what an uploader is handed so that it can post a form to OSS by itself.
//!
//! [`OssPolicyService`] answers a `GET` with the token of Alibaba's sample application servers: `accessid`, `host`,
//! `policy`, `signature`, `expire`, `dir` and `callback`. Unlike the samples it names the callback in the policy: OSS
//! does not check a form field that the policy leaves out, and without this the uploader could send another callback,
//! or none.
//!
//! CORS is not its business: put a `tower_http::cors::CorsLayer` around it.
//!
//! Sources: the [PostObject] page, and [signature version 1].
//!
//! [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
//! [signature version 1]: https://alibabacloud.com/help/en/oss/developer-reference/signature-version-1

mod credentials;
mod directive;
mod document;
mod error;
mod service;
mod signature;
mod token;

pub use credentials::{Credentials, CredentialsError};
pub use directive::{CallbackDirective, CallbackDirectiveError};
pub use error::PolicyError;
pub use service::{OssPolicyService, PolicyBody, PolicyFuture};
