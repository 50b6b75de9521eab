//! Tokens: policies, credentials, the service that issues them, and where servers mount it.

mod credentials;
mod credentials_secrecy;
mod directive;
#[cfg(feature = "axum")]
mod hosts;
mod post_policy;
mod sample;
mod secrecy;
mod service;
