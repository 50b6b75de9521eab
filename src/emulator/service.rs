//! The tower service.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request::Parts};
use http_body::Body;
use tower_service::Service;

use super::{
    Emulator,
    address::Address,
    body::EmulatorBody,
    bucket::HostedBucket,
    call::Call,
    catalogue, cors, cors_settings,
    error::OssError,
    get,
    inbound::{BoxError, Inbound},
    listing, multipart, put,
    query::Query,
    report::UploadReport,
    route::Operation,
    shared::Shared,
    signature::{self, SignedRequest},
    upload,
};
use crate::protocol::header::http_date;

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
        // Any other body is an object, whose MD5 is worked out where it is stored.
        let is_form = parts.method == Method::POST;
        let with_digest = is_form && parts.headers.contains_key("content-md5");
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

        let query = Query::of(&parts.uri);
        let answer = match &bucket {
            Err(error) => Err(error.clone()),
            Ok(bucket) => {
                let call = Call {
                    shared,
                    bucket,
                    address: &address,
                    parts: &parts,
                    query: &query,
                    inbound: &inbound,
                    request_id: &request_id,
                    now,
                };
                call.answer().await
            }
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
            let rules = shared.cors(&bucket.name);
            headers.extend(cors::simple(&rules, &parts.method, &parts.headers));
        }
        common(
            headers,
            &request_id,
            &http_date(shared.now()).unwrap_or_default(),
        );
        response
    }
}

impl Call<'_> {
    /// Whether the request may do what it asks for, and whether somebody has signed it.
    fn admit(&self) -> Result<(Operation, bool), OssError> {
        let parts = self.parts;
        let of_bucket = self.address.key()?.is_empty();
        let signed = match parts.method {
            // A preflight is signed by nobody, and a form by its fields.
            Method::OPTIONS => false,
            Method::POST if of_bucket => false,
            _ => signature::verify_request(&SignedRequest {
                parts,
                address: self.address,
                query: self.query,
                keys: &self.shared.keys,
                region: &self.shared.region,
                now: self.now,
            })?,
        };
        let operation = Operation::of(&parts.method, of_bucket, self.query)?;
        if !signed && !operation.is_open(self.bucket.acl) {
            return Err(catalogue::NO_RIGHT);
        }
        Ok((operation, signed))
    }

    /// Tells of an upload that is refused before it begins.
    fn refused(&self, error: &OssError) {
        let key = self.address.key().unwrap_or_default();
        let operation = match Operation::of(&self.parts.method, key.is_empty(), self.query) {
            Ok(Operation::PutObject) => put::OPERATION,
            Ok(Operation::CompleteMultipartUpload) => multipart::COMPLETE,
            _ => return,
        };
        let mut report = UploadReport::new(operation, self.request_id, &self.bucket.name);
        report.refused(error);
        self.shared.observe(report);
    }

    async fn answer(&self) -> Result<Response<EmulatorBody>, OssError> {
        let parts = self.parts;
        let admitted = self.admit().inspect_err(|error| self.refused(error));
        let (operation, signed) = admitted?;
        match operation {
            Operation::Preflight => {
                let rules = self.shared.cors(&self.bucket.name);
                let mut response = Response::new(EmulatorBody::empty());
                *response.headers_mut() = cors::preflight(&rules, &parts.headers)?;
                Ok(response)
            }
            Operation::PostObject => upload::post(self).await,
            Operation::GetObject => {
                get::object(&self.shared.store, self.bucket, self.address, parts, signed).await
            }
            Operation::PutObject => put::put(self).await,
            Operation::DeleteObject => put::delete(self).await,
            Operation::InitiateMultipartUpload => multipart::initiate(self),
            Operation::UploadPart => multipart::upload_part(self).await,
            Operation::ListParts => multipart::list(self),
            Operation::CompleteMultipartUpload => multipart::complete(self).await,
            Operation::AbortMultipartUpload => multipart::abort(self),
            Operation::ListObjects => listing::list(self).await,
            Operation::PutBucketCors => cors_settings::put(self).await,
            Operation::GetBucketCors => cors_settings::get(self),
            Operation::DeleteBucketCors => Ok(cors_settings::delete(self)),
        }
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
    let mut response = Response::new(EmulatorBody::empty());
    if *method == Method::HEAD {
        // An answer to HEAD has no body to say it in.
        if let Ok(error) = STANDARD.encode(&document).parse() {
            response.headers_mut().insert("x-oss-err", error);
        }
    } else {
        *response.body_mut() = document.into();
    }
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    let xml = HeaderValue::from_static("application/xml");
    headers.insert(header::CONTENT_TYPE, xml);
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Some(ec) = error.ec() {
        headers.insert("x-oss-ec", HeaderValue::from_static(ec));
    }
    if error.code() == catalogue::METHOD_NOT_ALLOWED.code() {
        let allowed = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, POST, PUT");
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
