//! Keys over the network.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::or_fun_call,
    clippy::needless_pass_by_value
)]

#[path = "../support/mod.rs"]
mod support;

mod fake;
mod faults;
mod floods;
mod https;
mod layers;
mod limits;
mod rotation;
mod site;
