//! The catalogue of attacks and faults. Each test is named after its case.

mod bodies;
mod collisions;
mod genuine;
mod key_urls;
mod known_limits;
mod order;
mod public_keys;
mod signatures;
mod targets;
mod unsigned;
