//! An HTTP/1.1 server that stops without losing a callback.
//!
//! `axum::serve` limits neither the time nor the size of a request head, and does not answer a
//! client that closes its sending half after the request. This server does, and serves any tower
//! service. `docs/deployment.md` contains this file, for copying.

use std::{convert::Infallible, error::Error, future::Future, pin::pin, time::Duration};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time};
use tower::Service;

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long running requests may take after `stop`: OSS waits 5 s for the answer to a callback.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts connections until `stop` completes, then answers the requests that have arrived.
pub(crate) async fn serve<S, B>(listener: TcpListener, app: S, stop: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        // Some clients close their sending half after the request, and wait for the response.
        .half_close(true)
        .max_headers(64)
        .max_buf_size(16 * 1024);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most likely out of file descriptors: wait until some are closed.
                tracing::error!(%error, "failed to accept a connection");
                time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Otherwise the body of a response may wait for the acknowledgement of its head.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY");
        }
        let app = TowerToHyperService::new(app.clone());
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), app));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection failed");
            }
        });
    }
    // New connections are refused while the running requests finish.
    drop(listener);
    let finished = time::timeout(SHUTDOWN_TIMEOUT, connections.shutdown()).await;
    if finished.is_err() {
        tracing::warn!("some requests did not finish within the shutdown timeout");
    }
}
