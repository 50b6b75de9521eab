//! Integration tests of the crate, in one binary: it links once, and its support code compiles once.
//!
//! Tests of the catalogue carry the name of their case; `docs/testing.md` explains them.
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
mod policy;
#[cfg(feature = "testing")]
mod tickets;
#[cfg(all(feature = "axum", feature = "testing"))]
mod uploads;
