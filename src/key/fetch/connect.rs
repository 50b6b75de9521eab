//! A TCP connection to the key host.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

use super::resolve::Resolver;

type BoxError = Box<dyn Error + Send + Sync>;

/// Looks up and connects within a limit. That of the connector alone is for each family of addresses, and after the name
/// was resolved.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector<Resolver>,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(resolver: Resolver, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        // Divided among the addresses, so that one that is dead does not keep us from the next one.
        tcp.set_connect_timeout(Some(limit));
        Self { tcp, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = timeout(self.limit, self.tcp.call(to));
        Box::pin(async move { Ok(connecting.await??) })
    }
}
