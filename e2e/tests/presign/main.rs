//! Uploads in parts with signed URLs: the service, the emulator and the callback layer together.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations
)]

mod abuse;
mod companion;
mod downloads;
mod flow;
mod ledger;
#[path = "../support/random.rs"]
mod random;
mod sdk;
mod support;
