//! Tests the ticket store on Redis, with a separate `redis-server` for each test.
//!
//! Requires `redis-server` (`apt-get install redis-server`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod certificate;
mod chaos;
mod layer;
mod ledger;
mod recovery;
mod server;
mod store;
#[path = "../../../tests/integration/support/tickets.rs"]
mod support;
mod topologies;
