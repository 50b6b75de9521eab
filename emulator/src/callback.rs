//! The callback of an upload: its parameters, its body, and the request to the application server.

mod app;
mod client;
mod connection;
mod network;
mod parameters;
mod policies;
mod template;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use app::AppNetwork;
pub(crate) use client::{Caller, Upload, run};
pub use connection::{Connection, Destination};
pub(crate) use network::AllowedPrivate;
pub use network::{CallbackNetwork, SystemNetwork};
pub(crate) use parameters::{Directive, of_request, variables};
pub(crate) use policies::CallbackPolicy;
#[cfg(feature = "tls")]
pub use tls::{CallbackTls, RootCertificateError};
