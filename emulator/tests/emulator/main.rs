//! Tests of the emulator against the reference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations
)]

mod appends;
mod archives;
mod bucket_listings;
mod bucket_operations;
mod buckets;
mod callback_policies;
mod callbacks;
mod captures;
#[cfg(feature = "tls")]
#[path = "../keys/certificates.rs"]
mod certificates;
mod client;
mod clients;
mod compression;
mod copies;
mod encryption;
mod go_and_java;
#[cfg(feature = "image")]
mod images;
mod objects;
mod parts;
mod path_style;
mod policies;
mod processes;
mod public_access;
mod puts;
mod reads;
mod referers;
mod refusals;
mod requests;
mod restarts;
mod sdk_facts;
mod sequential;
mod signatures;
mod slow_forms;
mod spawned;
mod support;
mod tags;
#[cfg(feature = "tls")]
mod tls_callbacks;
mod traffic_limits;
mod version_2;
mod versions;
mod your_app;
