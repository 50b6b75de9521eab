//! Tests of the emulator against the reference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations
)]

mod buckets;
mod callbacks;
mod captures;
mod client;
mod clients;
mod objects;
mod parts;
mod policies;
mod processes;
mod puts;
mod refusals;
mod sdk_facts;
mod signatures;
mod spawned;
mod support;
mod your_app;
