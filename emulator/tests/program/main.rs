//! Tests of the program `oss-emulator`, as a process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations
)]

#[path = "../keys/certificates.rs"]
mod certificates;
mod console;
mod errors;
mod logs;
mod options;
mod processes;
mod seed;
mod support;
mod tls;
