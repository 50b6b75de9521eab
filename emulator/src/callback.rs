//! The callback of an upload: its parameters, its body, and the request to the application server.

mod app;
mod client;
mod network;
mod parameters;
mod template;

pub(crate) use app::AppNetwork;
pub(crate) use client::{Caller, Upload, run};
pub(crate) use network::AllowedPrivate;
pub use network::{CallbackNetwork, Connection, Destination, SystemNetwork};
pub(crate) use parameters::{Directive, of_request, unprefixed_variables, variables};
