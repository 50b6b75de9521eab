//! The emulator as a tower service: from a request to a response.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request::Parts};
use http_body::Body;
use tower_service::Service;

use crate::{
    address::Address,
    auth,
    body::{BoxError, EmulatorBody, Inbound},
    bucket::HostedBucket,
    context::{RequestContext, Shared},
    cors,
    errors::{self, OssError},
    object::is_not_implemented,
    ops::Operation,
    query::Query,
    report::UploadReport,
    response::{self, http_date},
    store::ObjectStore,
};
use tower_aliyun_oss::key::PinnedKeys;

/// OSS on one machine: a tower service, and a server with [`serve`](Self::serve).
///
/// Clones share settings, objects and CORS rules. Build one with [`Emulator::builder`].
#[derive(Clone)]
pub struct Emulator(pub(crate) Arc<Shared>);

impl Emulator {
    /// Returns a key source that trusts the key with which this emulator signs callbacks.
    ///
    /// Pass it to [`OssCallbackLayer::key_source`](tower_aliyun_oss::OssCallbackLayer::key_source).
    #[must_use]
    pub fn key_source(&self) -> PinnedKeys {
        self.0.caller.signer.key_source()
    }

    /// Returns the store that holds the objects.
    #[must_use]
    pub fn store(&self) -> &ObjectStore {
        &self.0.store
    }

    async fn respond(&self, parts: Parts, inbound: Inbound) -> Response<EmulatorBody> {
        let shared = &self.0;
        let now = shared.now();
        let request_id = shared.request_id(now);
        let address = Address::of(&parts, &shared.domains);
        let bucket = bucket_of(shared, &address);

        let query = Query::of(&parts.uri);
        let context_of = |bucket| RequestContext {
            shared,
            bucket,
            address: &address,
            parts: &parts,
            query: &query,
            inbound: &inbound,
            request_id: &request_id,
            now,
        };
        let result = match &bucket {
            Ok(bucket) => run(&context_of(bucket)).await,
            Err(error) => Err(match address.bucket() {
                // A wrong key or signature is reported before an unknown bucket.
                Ok(name) => {
                    let unknown = HostedBucket::new(name.clone());
                    authenticate(&context_of(&unknown)).map_or_else(|e| e, |_| error.clone())
                }
                Err(_) => error.clone(),
            }),
        };
        let succeeded = result.is_ok();
        let mut response = match result {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(
                    request_id,
                    code = error.code(),
                    ec = error.ec(),
                    "request refused"
                );
                // A client that is still sending sees a reset instead of the response if the
                // connection closes under it.
                inbound.drain().await;
                error_response(&error, &parts.method, &request_id, &address.host)
            }
        };
        let headers = response.headers_mut();
        // Errors carry CORS headers too, or a page cannot read them. `OPTIONS` has set its own.
        if let (Ok(bucket), true) = (&bucket, parts.method != Method::OPTIONS) {
            let rules = shared.cors(&bucket.name);
            headers.extend(cors::simple(&rules, &parts.method, &parts.headers));
        }
        // The clock is read again: an upload may take minutes.
        let responded = shared.now();
        insert_common(headers, &request_id, &http_date(responded));
        if succeeded {
            let taken = responded.duration_since(now).unwrap_or_default();
            let taken = taken.as_millis().to_string();
            let name = HeaderName::from_static("x-oss-server-time");
            response::insert(headers, name, &taken);
        }
        response
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("region", &self.0.region)
            .field("buckets", &self.0.buckets.keys())
            .field("keys", &self.0.keys)
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}

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
        // `Content-MD5` of a form covers the whole multipart body, which nothing else hashes. Any
        // other body is the object itself, which the store hashes.
        let is_form = parts.method == Method::POST;
        let with_digest = is_form && parts.headers.contains_key("content-md5");
        let inbound = Inbound::new(body, with_digest);
        let emulator = self.clone();
        EmulatorFuture(Box::pin(
            async move { emulator.respond(parts, inbound).await },
        ))
    }
}

/// Response future of [`Emulator`].
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

fn bucket_of<'a>(shared: &'a Shared, address: &Address) -> Result<&'a HostedBucket, OssError> {
    let bucket = address.bucket()?;
    let known = shared.buckets.get(bucket);
    known.ok_or_else(|| errors::NO_SUCH_BUCKET.argument("BucketName", bucket.as_str()))
}

async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let authorized = authorize(context).inspect_err(|error| report_refused(context, error));
    let (operation, signed) = authorized?;
    operation.run(context, signed).await
}

/// Selects the operation and checks that the request may run it.
///
/// Returns whether a known key has signed the request.
fn authorize(context: &RequestContext<'_>) -> Result<(Operation, bool), OssError> {
    // Before the operation is selected, so that an invalid signature is reported first.
    let signed = authenticate(context)?;
    let method = &context.parts.method;
    let of_bucket = context.address.key()?.is_empty();
    let operation = Operation::of(method, of_bucket, context.query)?;
    if context
        .headers()
        .keys()
        .any(|name| is_not_implemented(name.as_str()))
    {
        return Err(errors::NOT_IMPLEMENTED);
    }
    if !signed && !operation.is_open(context.bucket.acl) {
        return Err(errors::NO_RIGHT);
    }
    Ok((operation, signed))
}

/// Returns whether a known key has signed the request.
fn authenticate(context: &RequestContext<'_>) -> Result<bool, OssError> {
    let of_bucket = context.address.key()?.is_empty();
    match context.parts.method {
        // Browsers do not sign preflights. A form carries its signature in its fields.
        Method::OPTIONS => Ok(false),
        Method::POST if of_bucket => Ok(false),
        _ => auth::verify_request(context),
    }
}

/// Reports an upload that is refused before its operation runs, which reports all others.
fn report_refused(context: &RequestContext<'_>, error: &OssError) {
    let of_bucket = context.address.key().unwrap_or_default().is_empty();
    let operation = Operation::of(&context.parts.method, of_bucket, context.query);
    if let Some(name) = operation.ok().and_then(Operation::upload_name) {
        let mut report = UploadReport::new(name, context.request_id, &context.bucket.name);
        report.refused(error);
        context.shared.observe(report);
    }
}

fn error_response(
    error: &OssError,
    method: &Method,
    request_id: &str,
    host: &str,
) -> Response<EmulatorBody> {
    let document = error.document(request_id, host);
    let length = document.len();
    let mut response = response::empty(error.status());
    if *method == Method::HEAD {
        // A response to HEAD has no body. The SDKs read the document from this header.
        if let Ok(error) = STANDARD.encode(&document).parse() {
            response.headers_mut().insert("x-oss-err", error);
        }
    } else {
        *response.body_mut() = document.into();
    }
    let headers = response.headers_mut();
    let xml = HeaderValue::from_static("application/xml");
    headers.insert(header::CONTENT_TYPE, xml);
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Some(ec) = error.ec() {
        headers.insert("x-oss-ec", HeaderValue::from_static(ec));
    }
    if error.code() == errors::METHOD_NOT_ALLOWED.code() {
        // As captured. RFC 9110 section 10.2.1 has commas here.
        let allowed = HeaderValue::from_static("GET DELETE HEAD PUT POST OPTIONS");
        headers.insert(header::ALLOW, allowed);
    }
    response
}

/// Inserts the headers that every response of OSS carries.
fn insert_common(headers: &mut HeaderMap, request_id: &str, date: &str) {
    headers.insert(header::SERVER, HeaderValue::from_static("AliyunOSS"));
    let name = HeaderName::from_static("x-oss-request-id");
    response::insert(headers, name, request_id);
    response::insert(headers, header::DATE, date);
}
