//! The tower service.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request::Parts};
use http_body::Body;
use tower_service::Service;

use super::{
    Emulator,
    address::Address,
    body::EmulatorBody,
    bucket::HostedBucket,
    catalogue, cors,
    error::OssError,
    get,
    inbound::{BoxError, Inbound},
    shared::Shared,
    upload::Upload,
};

impl<B> Service<Request<B>> for Emulator
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<EmulatorBody>;
    type Error = Infallible;
    type Future = EmulatorFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> EmulatorFuture {
        let (parts, body) = request.into_parts();
        let with_digest = parts.headers.contains_key("content-md5");
        let inbound = Inbound::new(body, with_digest);
        let emulator = self.clone();
        EmulatorFuture(Box::pin(
            async move { emulator.answer(parts, inbound).await },
        ))
    }
}

impl Emulator {
    async fn answer(&self, parts: Parts, inbound: Inbound) -> Response<EmulatorBody> {
        let shared = &self.0;
        let now = shared.now();
        let request_id = shared.request_id(now);
        let address = Address::of(&parts, &shared.domains);
        let bucket = bucket_of(shared, &address);

        let answer = match &bucket {
            Err(error) => Err(error.clone()),
            Ok(bucket) => match parts.method {
                Method::OPTIONS => cors::preflight(&bucket.cors, &parts.headers).map(|headers| {
                    let mut response = Response::new(EmulatorBody::empty());
                    *response.headers_mut() = headers;
                    response
                }),
                Method::GET | Method::HEAD => {
                    get::object(&shared.store, bucket, &address, &parts).await
                }
                // The name of the object is a field; a form is posted to the bucket.
                Method::POST if address.key.as_deref() == Ok("") => {
                    let upload = Upload {
                        shared,
                        bucket,
                        address: &address,
                        parts: &parts,
                        inbound: &inbound,
                        request_id: &request_id,
                        now,
                    };
                    upload.answer().await
                }
                _ => Err(catalogue::METHOD_NOT_ALLOWED),
            },
        };
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(request_id, code = error.code(), ec = error.ec(), "refused");
                inbound.drain().await;
                refuse(&error, &parts.method, &request_id, &address.host)
            }
        };
        let headers = response.headers_mut();
        if let (Ok(bucket), true) = (&bucket, parts.method != Method::OPTIONS) {
            headers.extend(cors::simple(&bucket.cors, &parts.method, &parts.headers));
        }
        common(headers, &request_id, &get::http_date(shared.now()));
        response
    }
}

fn bucket_of<'a>(shared: &'a Shared, address: &Address) -> Result<&'a HostedBucket, OssError> {
    let bucket = address.bucket()?;
    let known = shared.buckets.get(bucket);
    known.ok_or_else(|| catalogue::NO_SUCH_BUCKET.argument("BucketName", bucket.as_str()))
}

fn refuse(
    error: &OssError,
    method: &Method,
    request_id: &str,
    host: &str,
) -> Response<EmulatorBody> {
    let document = error.document(request_id, host);
    let length = document.len();
    let body = if *method == Method::HEAD {
        EmulatorBody::empty()
    } else {
        document.into()
    };
    let mut response = Response::new(body);
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    let xml = HeaderValue::from_static("application/xml");
    headers.insert(header::CONTENT_TYPE, xml);
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Some(ec) = error.ec() {
        headers.insert("x-oss-ec", HeaderValue::from_static(ec));
    }
    if error.code() == catalogue::METHOD_NOT_ALLOWED.code() {
        let allowed = HeaderValue::from_static("GET, HEAD, OPTIONS, POST");
        headers.insert(header::ALLOW, allowed);
    }
    response
}

fn common(headers: &mut HeaderMap, request_id: &str, date: &str) {
    headers.insert(header::SERVER, HeaderValue::from_static("AliyunOSS"));
    let request_id = (HeaderName::from_static("x-oss-request-id"), request_id);
    for (name, value) in [request_id, (header::DATE, date)] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
}

/// The future of [`Emulator`].
pub struct EmulatorFuture(Pin<Box<dyn Future<Output = Response<EmulatorBody>> + Send>>);

impl Future for EmulatorFuture {
    type Output = Result<Response<EmulatorBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for EmulatorFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatorFuture").finish_non_exhaustive()
    }
}
