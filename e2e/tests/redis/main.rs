//! The store on Redis, with a `redis-server` of its own for each test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod certificate;
mod chaos;
mod layer;
mod server;
mod store;
#[path = "../../../tests/integration/support/tickets.rs"]
mod support;
