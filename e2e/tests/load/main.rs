//! Mixed load on a real server: nothing is answered wrongly, lost or run twice, and memory is flat.
//!
//! The server is a child process, so that the memory of the clients does not count. `LOAD_SECONDS`
//! sets the duration; it defaults to 20.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::or_fun_call
)]

mod classes;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the file belongs to another test"
)]
#[path = "../../../tests/integration/support/oss.rs"]
mod model;
mod oss;
mod server;
mod soak;
mod wire;
