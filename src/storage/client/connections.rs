//! Connections to the endpoint, kept and shared.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Builder, Client, Error as ClientError},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{
    https::{self, Connector, Failure, Resolver, Roots},
    protocol::Endpoint,
    storage::error::{StorageError, StorageErrorKind as Kind},
};

/// What a response can have beside its body. hyper buffers up to this much of it.
const MAX_HEAD_LEN: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;

/// Shorter than the time after which OSS and the proxies in front of it close an idle connection.
const IDLE: Duration = Duration::from_secs(15);
const MAX_IDLE: usize = 64;

/// The connections of one client.
pub(super) enum Connections {
    Https(Client<HttpsConnector<Connector>, Full<Bytes>>),
    /// Only for an endpoint that starts with `http://`.
    Http(Client<Connector, Full<Bytes>>),
}

impl Connections {
    pub(super) async fn new(
        endpoint: &Endpoint,
        roots: &Roots,
        connect_timeout: Duration,
    ) -> Result<Self, StorageError> {
        let tcp = Connector::new(Resolver::default(), connect_timeout);
        if endpoint.is_plain_http() {
            return Ok(Self::Http(builder().build(tcp)));
        }
        let connector = https::connector(tcp, roots).await;
        let connector = connector.map_err(|why| StorageError::with_source(Kind::Tls, why))?;
        Ok(Self::Https(builder().build(connector)))
    }

    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<
        Response<impl Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>>,
        StorageError,
    > {
        let response = match self {
            Self::Https(client) => client.request(request).await,
            Self::Http(client) => client.request(request).await,
        };
        response.map_err(|why| {
            let kind = match Failure::of(&why) {
                Failure::Tls => Kind::Tls,
                Failure::Timeout => Kind::TimedOut,
                Failure::Resolve | Failure::Connect | Failure::Interrupted => Kind::Unavailable,
            };
            StorageError::with_source(kind, why)
        })
    }
}

/// Whether a connection was there and broke.
pub(super) fn is_broken(error: &StorageError) -> bool {
    let cause = error.source().and_then(|why| why.downcast_ref());
    cause.is_some_and(|why: &ClientError| Failure::of(why) == Failure::Interrupted)
}

fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MAX_IDLE)
        .http1_max_buf_size(MAX_HEAD_LEN)
        .http1_max_headers(MAX_HEADERS);
    builder
}
