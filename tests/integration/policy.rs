//! Tokens: policies, credentials, and the service that issues tokens.

mod allocations;
mod authorize;
mod credentials;
mod credentials_secrecy;
mod directive;
#[cfg(feature = "axum")]
mod hosts;
mod post_policy;
mod presign;
mod sample;
mod secrecy;
mod service;
