//! Getting the file a key stands in.

mod connect;
mod error;
mod https;
mod resolve;
mod response;
mod service;
mod tls;

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;

use super::KeyUrl;

pub use error::{FetchError, FetchErrorKind};
pub use https::{HttpsFetcher, HttpsFetcherBuilder, HttpsFetcherError};
pub use service::ServiceFetcher;

/// Gets the bytes of the file that stands at a [`KeyUrl`]: one PEM block.
///
/// [`FetchedKeys`](super::FetchedKeys) asks for one path at a time, in a task of its own, which it gives up after its
/// time limit; it decodes what it is given and decides when to ask again. A fetcher has to see to it that the answer
/// comes from the host of the URL, and stays small: see [`HttpsFetcher`] for what that takes.
pub trait FetchKey: Send + Sync {
    /// The bytes that stand at `url`.
    fn fetch(
        &self,
        url: &KeyUrl,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>>;
}

impl<F: FetchKey + ?Sized> FetchKey for Arc<F> {
    fn fetch(
        &self,
        url: &KeyUrl,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>> {
        (**self).fetch(url)
    }
}

/// The largest file taken, in bytes. The published one has 182, that of a key of 4,096 bits 800.
const MAX_FILE_LEN: usize = 16 * 1024;
