//! TCP connections: name resolution, proxy and time limit.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http::Uri;
#[cfg(feature = "fetch")]
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Resolves and connects within one time limit. The limit of [`HttpConnector`] itself applies to
/// each address family separately, and starts only after the name is resolved.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    tcp: HttpConnector<Resolver>,
    limit: Duration,
    #[cfg(feature = "fetch")]
    proxy: Option<Uri>,
}

impl Connector {
    pub(crate) fn new(resolver: Resolver, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        // The connector accepts only `http` URLs otherwise.
        tcp.enforce_http(false);
        // Divided among the addresses, so that one which does not respond leaves time for the next.
        tcp.set_connect_timeout(Some(limit));
        tcp.set_nodelay(true);
        Self {
            tcp,
            limit,
            #[cfg(feature = "fetch")]
            proxy: None,
        }
    }

    /// Connects through an HTTP proxy, with `CONNECT`.
    #[cfg(feature = "fetch")]
    pub(crate) fn through(self, proxy: Option<Uri>) -> Self {
        Self { proxy, ..self }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        #[cfg(feature = "fetch")]
        if let Some(proxy) = self.proxy.clone() {
            let mut tunnel = Tunnel::new(proxy, self.clone().through(None));
            return Box::pin(async move { Ok(tunnel.call(to).await?) });
        }
        let connecting = timeout(self.limit, self.tcp.call(to));
        Box::pin(async move { Ok(connecting.await??) })
    }
}

type Resolve = dyn Fn(&str) -> BoxFuture<Vec<SocketAddr>, io::Error> + Send + Sync;

/// The resolver of the system or a custom one.
#[derive(Clone, Default)]
pub(crate) struct Resolver(Option<Arc<Resolve>>);

#[cfg(feature = "fetch")]
impl Resolver {
    pub(crate) fn custom<F, Fut>(resolve: F) -> Self
    where
        F: Fn(&str) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Some(Arc::new(move |host| Box::pin(resolve(host)))))
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = BoxFuture<Self::Response, NoAddress>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let custom = self.0.clone();
        Box::pin(async move {
            let found = match custom {
                Some(resolve) => resolve(name.as_str()).await,
                None => GaiResolver::new().call(name).await.map(Iterator::collect),
            };
            let mut addresses = found.map_err(|why| NoAddress(Some(why)))?;
            keep_few(&mut addresses);
            match addresses.is_empty() {
                true => Err(NoAddress(None)),
                false => Ok(addresses.into_iter()),
            }
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Custom" } else { "System" })
    }
}

/// The host has no address.
#[derive(Debug, thiserror::Error)]
#[error("the host name could not be resolved to an address")]
pub(crate) struct NoAddress(#[source] Option<io::Error>);

/// Keeps at most four addresses, two of each family if there are both.
///
/// The addresses of a family share the time limit, so twenty of them would leave each too little.
fn keep_few(addresses: &mut Vec<SocketAddr>) {
    let v4 = addresses.iter().any(SocketAddr::is_ipv4);
    let v6 = addresses.iter().any(SocketAddr::is_ipv6);
    let most = if v4 && v6 { 2 } else { 4 };
    let mut kept = [0; 2];
    addresses.retain(|address| {
        let [v4, v6] = &mut kept;
        let kept = if address.is_ipv4() { v4 } else { v6 };
        *kept += 1;
        *kept <= most
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "fetch")]
    #[test]
    fn says_what_it_is() {
        let custom = Resolver::custom(|_| std::future::ready(Ok(Vec::new())));
        assert_eq!(format!("{custom:?}"), "Custom");
        assert_eq!(format!("{:?}", Resolver::default()), "System");
        let unknown = NoAddress(Some(io::ErrorKind::NotFound.into()));
        assert!(unknown.to_string().contains("could not be resolved"));
        assert!(unknown.source().is_some());
        assert!(NoAddress(None).source().is_none());
    }

    #[tokio::test]
    async fn connections_send_small_segments_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connector = Connector::new(Resolver::default(), Duration::from_secs(5));
        let to = format!("http://{address}/").parse().unwrap();
        let stream = connector.call(to).await.unwrap();
        assert!(stream.inner().nodelay().unwrap());
    }

    #[test]
    fn few_addresses_are_tried_and_of_both_families() {
        let few = |addresses: &[&str]| {
            let mut addresses: Vec<SocketAddr> = (addresses.iter())
                .map(|address| SocketAddr::new(address.parse().unwrap(), 0))
                .collect();
            keep_few(&mut addresses);
            let kept = addresses.iter().map(|address| address.ip().to_string());
            kept.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(few(&[]), "");
        assert_eq!(
            few(&["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5"]),
            "1.0.0.1 1.0.0.2 1.0.0.3 1.0.0.4"
        );
        assert_eq!(few(&["::1", "::2", "::3", "::4", "::5"]), "::1 ::2 ::3 ::4");
        assert_eq!(
            few(&["::1", "1.0.0.1", "::2", "::3", "1.0.0.2", "1.0.0.3"]),
            "::1 1.0.0.1 ::2 1.0.0.2"
        );
        assert_eq!(few(&["1.0.0.1", "::1"]), "1.0.0.1 ::1");
    }
}
