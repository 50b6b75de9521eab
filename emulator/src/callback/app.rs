//! The network of a [`SpawnedEmulator`](crate::SpawnedEmulator): the application under test, in
//! memory, and the URLs that the test names.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{DuplexStream, duplex};
use tower_service::Service;

#[cfg(feature = "tls")]
use super::tls::CallbackTls;
use super::{
    connection::{Connection, Destination},
    network::{CallbackNetwork, SystemNetwork, host_and_port},
};
use crate::body::{BoxError, EmulatorBody};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Serves one connection with the application.
type App = Arc<dyn Fn(DuplexStream) + Send + Sync>;

/// How much of a callback is buffered between the two ends, in bytes.
const BUFFER: usize = 64 * 1024;

/// Stands for the application, which has no address. Reserved for documentation (RFC 5737).
const IN_MEMORY: [u8; 4] = [198, 51, 100, 1];

/// Connects callbacks to the application under test, and to nothing that the test did not name.
#[derive(Default)]
pub(crate) struct AppNetwork {
    app: RwLock<Option<App>>,
    /// Hosts and ports.
    allowed: RwLock<Vec<(String, u16)>>,
    system: RwLock<SystemNetwork>,
}

impl AppNetwork {
    /// Sends every callback to this service, whatever the host of its URL.
    pub(crate) fn route_to<S, B>(&self, app: S)
    where
        S: Service<Request<EmulatorBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        // Not every service is `Sync`.
        let app = Mutex::new(app);
        let serve = move |io: DuplexStream| {
            let app = app.lock().unwrap_or_else(PoisonError::into_inner).clone();
            tokio::spawn(serve(app, io));
        };
        *self.app.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(serve));
    }

    /// Allows connections to the host and the port of this URL.
    pub(crate) fn allow(&self, url: &str) -> io::Result<()> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("not a URL: {url:?}"));
        let named = host_and_port(url).ok_or_else(invalid)?;
        let mut allowed = self.allowed.write().unwrap_or_else(PoisonError::into_inner);
        allowed.push(named);
        Ok(())
    }

    /// Sets the TLS of connections to `https` URLs.
    #[cfg(feature = "tls")]
    pub(crate) fn use_tls(&self, tls: CallbackTls) {
        let mut system = self.system.write().unwrap_or_else(PoisonError::into_inner);
        *system = SystemNetwork::with_tls(tls);
    }

    fn system(&self) -> SystemNetwork {
        let system = self.system.read().unwrap_or_else(PoisonError::into_inner);
        system.clone()
    }

    fn app(&self) -> Option<App> {
        let app = self.app.read().unwrap_or_else(PoisonError::into_inner);
        app.clone()
    }

    fn check(&self, host: &str, port: u16) -> io::Result<()> {
        let allowed = self.allowed.read().unwrap_or_else(PoisonError::into_inner);
        let host = host.to_ascii_lowercase();
        if allowed.iter().any(|one| *one == (host.clone(), port)) {
            return Ok(());
        }
        tracing::warn!(
            host,
            port,
            "a callback was not sent, because the test names no application for it; call \
             `route_callbacks` or `allow_callbacks_to`"
        );
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

impl CallbackNetwork for AppNetwork {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        if self.app().is_some() {
            return Box::pin(async move { Ok(vec![SocketAddr::from((IN_MEMORY, port))]) });
        }
        match self.check(host, port) {
            Ok(()) => {
                let system = self.system();
                Box::pin(async move { system.resolve(host, port).await })
            }
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
        if let Some(app) = self.app() {
            return Box::pin(async move {
                let (near, far) = duplex(BUFFER);
                app(far);
                Ok(Connection::new(near))
            });
        }
        // An IPv4 address in the URL is not resolved, so it is checked here.
        match self.check(to.host(), to.address().port()) {
            Ok(()) => {
                let system = self.system();
                Box::pin(async move { system.connect(to).await })
            }
            Err(error) => Box::pin(async { Err(error) }),
        }
    }
}

impl fmt::Debug for AppNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppNetwork")
            .field("app", &self.app().is_some())
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// Serves one connection.
async fn serve<S, B>(app: S, io: DuplexStream)
where
    S: Service<Request<EmulatorBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let app = app.clone();
        async move { call(app, request).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection to the application failed");
    }
}

// `io::Error` instead of a boxed error: the compiler cannot prove that a future is `Send` in which
// a boxed error is converted to itself.
async fn call<S, B>(
    mut app: S,
    request: Request<Incoming>,
) -> io::Result<Response<UnsyncBoxBody<B::Data, io::Error>>>
where
    S: Service<Request<EmulatorBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?;
    let ready = poll_fn(|cx| app.poll_ready(cx)).await;
    ready.map_err(|error| io::Error::other(error.into()))?;
    let request = Request::from_parts(parts, body.to_bytes().into());
    let response = app.call(request).await;
    let response = response.map_err(|error| io::Error::other(error.into()))?;
    Ok(response.map(|body| {
        body.map_err(|error| io::Error::other(error.into()))
            .boxed_unsync()
    }))
}
