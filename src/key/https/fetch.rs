//! The [`FetchKey`] trait, the exchange of a request for a key file, and fetching through a
//! [`Service`].

use std::{
    error::Error,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, RETRY_AFTER, USER_AGENT},
};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tower_service::Service;

use super::error::{FetchError, FetchErrorKind as Kind};
use crate::{https, key::url::KeyUrl};

/// Fetches the file at a [`KeyUrl`], which contains one PEM block.
///
/// [`FetchedKeys`](crate::key::FetchedKeys) fetches one path at a time, in a task that it cancels
/// after its time limit. It decodes the file and decides when to fetch again. A fetcher must make
/// sure that the file comes from the host of the URL and is small; [`HttpsFetcher`] shows what that
/// takes.
///
/// [`HttpsFetcher`]: crate::key::HttpsFetcher
pub trait FetchKey: Send + Sync {
    /// Fetches the content of the file at `url`.
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

/// The maximum length of a key file, in bytes. The published one has 182 bytes, one with a key of
/// 4,096 bits has 800.
pub(super) const MAX_FILE_LEN: usize = 16 * 1024;

pub(super) fn request<B: Default>(url: &KeyUrl) -> Result<Request<B>, FetchError> {
    Request::get(url.to_string())
        .header(USER_AGENT, https::USER_AGENT)
        .header(ACCEPT_ENCODING, "identity")
        .body(B::default())
        .map_err(|why| FetchError::with_source(Kind::Connect, why))
}

/// Reads the body of a response. Accepts only status 200 and a small body without content coding.
pub(super) async fn read<B>(response: Response<B>) -> Result<Bytes, FetchError>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let error = FetchError::from_status(head.status);
        return Err(match retry_after(&head.headers) {
            Some(time) => error.with_retry_after(time),
            None => error,
        });
    }
    let mut codings = head.headers.get_all(CONTENT_ENCODING).iter();
    if codings.any(|coding| coding != "identity") {
        return Err(FetchError::new(Kind::Encoding));
    }
    // `Limited` fails only after reading that much; a declared length is rejected before.
    let limit = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX);
    if body.size_hint().lower() > limit {
        return Err(FetchError::new(Kind::TooLarge));
    }
    match Limited::new(body, MAX_FILE_LEN).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::new(Kind::TooLarge)),
        Err(error) => Err(FetchError::with_source(Kind::Interrupted, error)),
    }
}

/// Parses `retry-after` in seconds (RFC 9110 section 10.2.3). Ignores a date, which would depend on
/// the clocks of both hosts.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Creates a fetcher that calls clones of a [`tower::Service`](tower_service::Service), for example
/// a client with its own time limits, metrics or proxy. `B` is the type of its request bodies; the
/// default value is sent.
///
/// A fetch is one `GET https://host/path`. The response must have status 200, at most 16 KiB and no
/// content coding.
///
/// What the service does internally is its own responsibility: it must verify the certificate of
/// the host, must not follow redirects or decompress bodies, and should not store cookies.
///
/// ```
/// use std::convert::Infallible;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{Empty, Full};
/// use tower_aliyun_oss::{OssCallbackLayer, key::{FetchedKeys, service_fetcher}};
///
/// # let pem = Bytes::new();
/// let client = tower::service_fn(move |request: Request<Empty<Bytes>>| {
///     // Here your client sends the request.
///     assert_eq!(request.uri().host(), Some("gosspublic.alicdn.com"));
///     let response = Response::new(Full::new(pem.clone()));
///     async move { Ok::<_, Infallible>(response) }
/// });
/// let keys = FetchedKeys::builder().fetcher(service_fetcher(client)).build();
/// let layer = OssCallbackLayer::new().key_source(keys);
/// ```
pub fn service_fetcher<S, B, R>(service: S) -> impl FetchKey + 'static
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
    B: Default + Send + 'static,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    ServiceFetcher {
        service,
        body: PhantomData,
    }
}

struct ServiceFetcher<S, B> {
    service: S,
    // `fn() -> B`, because bodies need not be `Sync`.
    body: PhantomData<fn() -> B>,
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
        let request = request(url);
        let mut service = self.service.clone();
        Box::pin(async move {
            let request = request?;
            let failed = |error: S::Error| FetchError::with_source(Kind::Connect, error);
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
            let response = service.call(request).await.map_err(failed)?;
            read(response).await
        })
    }
}
