//! Tests the ticket store on Redis, with a separate server for each test.
//!
//! Requires `redis-server` (`apt-get install redis-server`), or another server, such as
//! `valkey-server`, in the environment variable `REDIS_SERVER`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod certificate;
mod chaos;
mod layer;
mod ledger;
mod recovery;
mod round_trips;
mod server;
mod store;
#[path = "../../../tests/integration/support/tickets.rs"]
mod support;
mod topologies;
