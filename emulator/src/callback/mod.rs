//! The callback of an upload: what the form asks for, and what becomes of it.

mod answer;
mod client;
mod headers;
mod network;
mod parameters;
mod request;
mod template;
mod url;

pub(super) use client::{Caller, Upload, run};
pub use network::{CallbackNetwork, Connection, Destination, SystemNetwork};
pub(super) use parameters::{Directive, variables};
pub(super) use request::of_request;
