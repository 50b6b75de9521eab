//! An HTTP/1.1 server for the emulator.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tower_service::Service as _;

use crate::{body::EmulatorBody, context::ClientAddress, service::Emulator};

/// Limit for receiving the headers of a request.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// The size of a read buffer, in bytes. It also limits the head of a request. The memory store
/// keeps buffers that are at least half full.
const BUFFER: usize = 128 * 1024;
/// The same for a connection beyond the first [`FEW`]: a thousand of them take 32 MiB and not 128.
const SMALL_BUFFER: usize = 32 * 1024;
/// How many connections have a large read buffer.
const FEW: usize = 64;
/// Delay before the next `accept` after one failed.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long a shutdown waits for open connections.
const GRACE: Duration = Duration::from_secs(10);

impl Emulator {
    /// Serves HTTP/1.1 on `listener` until the future is dropped.
    ///
    /// Bind the listener to a loopback address: the emulator is not hardened for a network.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no local address.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        self.serve_until(listener, std::future::pending()).await
    }

    /// Serves HTTP/1.1 on `listener` until `stop` completes, then waits up to ten seconds for
    /// requests in progress.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no local address.
    pub async fn serve_until(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        serve_connections(listener, stop, |stream, client, http| {
            let emulator = self.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ClientAddress(client));
                emulator.clone().call(request)
            });
            http.serve(stream, service)
        })
        .await
    }
}

/// Accepts connections until `stop` completes, and serves each on a task of its own. Then waits up
/// to ten seconds for those whose [`Http1`] is in use.
pub(crate) async fn serve_connections<C>(
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    serve: impl Fn(TcpStream, SocketAddr, Http1) -> C,
) -> io::Result<()>
where
    C: Future<Output = ()> + Send + 'static,
{
    // A listener without an address never accepts, so fail now.
    listener.local_addr()?;
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        // Reap finished connections, so that the set does not grow.
        while connections.try_join_next().is_some() {}
        let mut accept = pin!(accept(&listener));
        let accepted = std::future::poll_fn(|cx| {
            // Polled first, so that a flood of connections does not delay the shutdown.
            if stop.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(None);
            }
            accept.as_mut().poll(cx).map(Some)
        });
        match accepted.await {
            None => break,
            Some(Ok((stream, client))) => {
                let http = Http1 {
                    watcher: graceful.watcher(),
                    buffer: match connections.len() < FEW {
                        true => BUFFER,
                        false => SMALL_BUFFER,
                    },
                };
                connections.spawn(serve(stream, client, http));
            }
            Some(Err(error)) => {
                // The process may be out of file descriptors. Without a delay this loop spins.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    // Dropping the set aborts the connections that take longer.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

/// How to serve HTTP/1.1 on a connection.
pub(crate) struct Http1 {
    watcher: Watcher,
    /// The size of the read buffer, in bytes.
    buffer: usize,
}

impl Http1 {
    /// Serves a connection until it is closed, or until a shutdown finds it idle.
    pub(crate) async fn serve<S>(
        self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        service: S,
    ) where
        S: HttpService<Incoming, ResBody = EmulatorBody, Error = Infallible>,
    {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Headers only: an upload may take as long as it needs.
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(self.buffer)
            .serve_connection(TokioIo::new(io), service);
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%error, "connection failed");
        }
    }
}

/// Accepts a connection, with `TCP_NODELAY`.
///
/// The head and the content of a response are written separately. With Nagle's algorithm the
/// content of a small object waits for the delayed acknowledgement of the head: 40 ms on Linux.
async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, client) = listener.accept().await?;
    // Fails if the client has closed the connection already, which reading it reports.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    Ok((stream, client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_small_segments_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = accept(&listener).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }
}
