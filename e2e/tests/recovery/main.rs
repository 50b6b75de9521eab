//! Uploads whose callback does not arrive, from the token to the recovery, with the emulator.
//!
//! The tests in `chaos` require `redis-server` (`apt-get install redis-server`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub
)]

#[allow(dead_code)]
#[path = "../redis/certificate.rs"]
mod certificate;
mod chaos;
mod differential;
mod emulator;
mod replica;
#[allow(dead_code)]
#[path = "../redis/server.rs"]
mod server;
mod soak;
mod world;
