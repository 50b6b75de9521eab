//! The emulator, held to the reference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations
)]

mod callbacks;
mod objects;
mod policies;
mod processes;
mod refusals;
mod support;
