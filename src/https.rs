//! HTTPS connections, to the key host and to OSS.
//!
//! `key` fetches one file over a connection of its own, `storage` keeps connections. Both resolve,
//! connect and verify the host in the same way.

mod connect;
mod tls;

use std::{error::Error, io};

use hyper_util::client::legacy::Error as ClientError;
use tokio::time::error::Elapsed;

pub(crate) use self::{
    connect::{Connector, NoAddress, Resolver},
    tls::{Roots, connector},
};

/// The user agent of every request.
pub(crate) const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Why a request got no response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The host has no usable address.
    Resolve,
    /// No connection could be established.
    Connect,
    /// The host could not be verified.
    Tls,
    /// A time limit was exceeded while connecting.
    Timeout,
    /// The connection broke, or does not carry HTTP/1.1.
    Interrupted,
}

impl Failure {
    pub(crate) fn of(error: &ClientError) -> Self {
        // The specific causes first: hyper reports all of them as errors of connecting.
        if find_source::<rustls::Error>(error).is_some() {
            Self::Tls
        } else if find_source::<NoAddress>(error).is_some() {
            Self::Resolve
        } else if find_source::<Elapsed>(error).is_some() {
            Self::Timeout
        } else if error.is_connect() {
            Self::Connect
        } else {
            Self::Interrupted
        }
    }
}

/// Finds an error of type `E` in a chain of sources.
fn find_source<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref() {
            return Some(found);
        }
        // `io::Error::source` skips the error that it wraps and returns the source of that one.
        let wrapped = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => current.source(),
        };
    }
    None
}
