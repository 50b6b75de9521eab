//! A small server around the service.

use std::{future::Future, io, pin::pin, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service as _;

use crate::{context::ClientAddress, service::Emulator};

/// How long a request may take to get its headers across.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// How long to wait before accepting again when the machine has run out of something.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a shutdown waits for uploads under way.
const GRACE: Duration = Duration::from_secs(10);

impl Emulator {
    /// Serves HTTP/1.1 on a listener, until this future is dropped.
    ///
    /// Listen on a loopback address: the emulator is for one machine.
    ///
    /// # Errors
    ///
    /// When the listener has no address, and so is none.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        self.serve_until(listener, std::future::pending()).await
    }

    /// Serves until `stop` is ready, then waits up to ten seconds for what is under way.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_until(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        listener.local_addr()?;
        let graceful = GracefulShutdown::new();
        let mut connections = tokio::task::JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            // What has ended is let go of, so that the set does not grow.
            while connections.try_join_next().is_some() {}
            let mut accept = pin!(listener.accept());
            let accepted = std::future::poll_fn(|cx| {
                if stop.as_mut().poll(cx).is_ready() {
                    return std::task::Poll::Ready(None);
                }
                accept.as_mut().poll(cx).map(Some)
            });
            match accepted.await {
                None => break,
                Some(Ok((stream, client))) => {
                    let connection = self.connection(stream, ClientAddress(client));
                    let connection = graceful.watch(connection);
                    connections.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection ended early");
                        }
                    });
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        // Those that take longer are cut off with the set.
        let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
        Ok(())
    }

    fn connection(
        &self,
        stream: TcpStream,
        client: ClientAddress,
    ) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + use<> {
        let emulator = self.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(client);
            emulator.clone().call(request)
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .serve_connection(TokioIo::new(stream), service)
    }
}
