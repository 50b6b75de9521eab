//! What the storage client sends, compared with a signer from crates.io.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations
)]

mod client;
mod confirm;
#[path = "../support/random.rs"]
mod random;
mod signatures;
mod support;
