//! Fetching through a client of your own.

use std::{error::Error, fmt, future::Future, future::poll_fn, marker::PhantomData, pin::Pin};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    FetchKey,
    error::{FetchError, FetchErrorKind as Kind},
    response,
};
use crate::key::KeyUrl;

/// Fetches through a [`tower::Service`](tower_service::Service), say a client with timeouts, metrics or a proxy of its
/// own. Each fetch is one `GET https://host/path`, answered with status 200, at most 16 KiB and no coding, or refused.
///
/// What the service does itself cannot be seen from here. It must check the certificate of the host, follow no
/// redirects and decompress nothing, and it had better keep no cookies.
///
/// ```
/// use std::convert::Infallible;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{Empty, Full};
/// use tower_aliyun_oss::{OssCallbackLayer, key::{FetchedKeys, ServiceFetcher}};
///
/// # let pem = Bytes::new();
/// let client = tower::service_fn(move |request: Request<Empty<Bytes>>| {
///     // Here your client would send it.
///     assert_eq!(request.uri().host(), Some("gosspublic.alicdn.com"));
///     let response = Response::new(Full::new(pem.clone()));
///     async move { Ok::<_, Infallible>(response) }
/// });
/// let keys = FetchedKeys::builder().fetcher(ServiceFetcher::new(client)).build();
/// let layer = OssCallbackLayer::new().key_source(keys);
/// ```
pub struct ServiceFetcher<S, B> {
    service: S,
    body: PhantomData<fn() -> B>,
}

impl<S, B> ServiceFetcher<S, B> {
    /// Fetches through clones of this service. `B` is the body of its requests; it is sent empty.
    pub fn new<R>(service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        Self {
            service,
            body: PhantomData,
        }
    }
}

impl<S, B, R> FetchKey for ServiceFetcher<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
    B: Default + Send + 'static,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn fetch(
        &self,
        url: &KeyUrl,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>> {
        let request = response::request(url);
        let mut service = self.service.clone();
        Box::pin(async move {
            let request = request?;
            let failed = |error: S::Error| FetchError::with_source(Kind::Connect, error);
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
            let response = service.call(request).await.map_err(failed)?;
            response::read(response).await
        })
    }
}

impl<S: Clone, B> Clone for ServiceFetcher<S, B> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            body: PhantomData,
        }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for ServiceFetcher<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceFetcher")
            .field(&self.service)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_service() {
        #[derive(Debug)]
        struct Client;

        let fetcher = ServiceFetcher::<_, ()> {
            service: Client,
            body: PhantomData,
        };
        assert_eq!(format!("{fetcher:?}"), "ServiceFetcher(Client)");
    }
}
