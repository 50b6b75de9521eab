//! Integration tests of the crate, in one binary: linking and support code cost time only once.
//!
//! Tests of the catalogue start with the name of their case; see `docs/testing.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::or_fun_call,
    clippy::needless_pass_by_value
)]

mod support;

#[cfg(feature = "axum")]
mod appserver;
mod callback;
mod documented;
#[cfg(feature = "fetch")]
mod fetch;
mod messages;
#[cfg(all(feature = "metrics", feature = "testing"))]
mod metrics;
mod policy;
#[cfg(feature = "testing")]
mod recovery;
#[cfg(feature = "storage")]
mod storage;
#[cfg(feature = "testing")]
mod tickets;
#[cfg(all(feature = "axum", feature = "testing"))]
mod uploads;
