//! The emulator as a tower service: from a request to a response.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
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
    context::{RequestContext, ServiceContext, Shared},
    cors::{self, CorsRules},
    errors::{self, OssError},
    object::is_not_implemented,
    ops::{Operation, Resource, public_access_block},
    pending::Pending,
    query::Query,
    report::UploadReport,
    response::{self, http_date},
    store::{BucketState, ObjectStore},
    traffic_limit,
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
        let query = Query::of(&parts.uri);
        let context = ServiceContext {
            shared,
            address: &address,
            parts: &parts,
            query: &query,
            inbound: &inbound,
            request_id: &request_id,
            now,
        };
        let mut pending = Pending::new(&context, || select(&context).ok());
        let result = run(&context).await;
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
                pending.refused(&error);
                error_response(&error, &parts.method, &request_id, &address.host)
            }
        };
        pending.answered(response.status());
        let headers = response.headers_mut();
        // Errors carry CORS headers too, or a page cannot read them. `OPTIONS` has set its own.
        if let (Some(bucket), true) = (bucket_of(&context), parts.method != Method::OPTIONS) {
            let vary = headers.remove(header::VARY);
            headers.extend(cors::simple(&bucket.cors, &parts.method, &parts.headers));
            if let Some(vary) = vary {
                headers.append(header::VARY, vary);
            }
        }
        // The clock is read again: an upload may take minutes.
        let responded = shared.now();
        insert_common(headers, &request_id, &http_date(responded));
        if succeeded {
            let taken = responded.duration_since(now).unwrap_or_default();
            let taken = taken.as_millis().to_string();
            let name = HeaderName::from_static("x-oss-server-time");
            response::insert(headers, name, &taken);
            insert_delay(headers, &context);
        }
        response
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("region", &self.0.region)
            .field("buckets", &BucketNames(&self.0.store))
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

/// Shows the names of the buckets.
struct BucketNames<'a>(&'a ObjectStore);

impl fmt::Debug for BucketNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets = self.0.buckets().all();
        let names = buckets.iter().map(|bucket| bucket.name.as_str());
        f.debug_list().entries(names).finish()
    }
}

/// Returns the bucket of the request, if it exists, with what the account says about all buckets.
fn bucket_of(context: &ServiceContext<'_>) -> Option<Arc<BucketState>> {
    let shared = context.shared;
    let name = context.address.bucket().ok()?;
    let mut bucket = shared.store.buckets().get(name)?;
    if shared.blocks_public_access.load(Ordering::Relaxed) {
        Arc::make_mut(&mut bucket).blocks_public_access = true;
    }
    Some(bucket)
}

/// Whether the request names a bucket of another account.
fn is_foreign(context: &ServiceContext<'_>) -> bool {
    let foreign = &context.shared.foreign_buckets;
    context
        .address
        .bucket()
        .is_ok_and(|name| foreign.contains(name))
}

fn resource(context: &ServiceContext<'_>) -> Result<Resource, OssError> {
    Ok(match &context.address.bucket {
        None => Resource::Service,
        Some(_) if context.address.key()?.is_empty() => Resource::Bucket,
        Some(_) => Resource::Object,
    })
}

async fn run(context: &ServiceContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    if context.address.bucket.is_some() {
        // A name that is not valid.
        let checked = context.address.bucket();
        checked.map_err(|error| match select(context) {
            Ok(Operation::CreateBucket) => errors::INVALID_BUCKET_NAME,
            _ => error,
        })?;
    }
    if is_foreign(context) {
        authenticate(context)?;
        return Err(match select(context) {
            // `PutBucketAcl` creates a bucket that does not exist.
            Ok(Operation::CreateBucket | Operation::PutBucketAcl) => errors::BUCKET_TAKEN,
            _ => errors::BUCKET_FOREIGN,
        });
    }
    let Some(bucket) = bucket_of(context) else {
        let selected = select(context);
        let creates = matches!(&selected, Ok(operation) if operation.creates_bucket());
        // As on OSS, an unknown bucket is reported before a wrong key or signature, except by the
        // operations that create it.
        if context.address.bucket.is_some() && !creates {
            check_origin(context, &CorsRules::default())?;
            return Err(context.no_such_bucket());
        }
        let signed = authenticate(context)?;
        check_origin(context, &CorsRules::default())?;
        public_access_block::check_new_bucket(context)?;
        return selected?.run_without_bucket(context, signed).await;
    };
    let context = &RequestContext {
        request: *context,
        bucket: &bucket,
    };
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
    check_origin(context, &context.bucket.cors)?;
    let operation = select(context)?;
    let is_of_object = resource(context)? == Resource::Object && operation != Operation::Preflight;
    if is_of_object && context.header("authorization").is_none() {
        context.bucket.referer.check(context.header("referer"))?;
    }
    let is_anonymous = !signed && operation != Operation::Preflight;
    if context.bucket.requester_pays && is_anonymous && operation != Operation::PostObject {
        return Err(errors::NO_RIGHT);
    }
    if context
        .headers()
        .keys()
        .any(|name| is_not_implemented(name.as_str()))
    {
        return Err(errors::NOT_IMPLEMENTED);
    }
    if !signed && !operation.is_open(context.bucket.open_acl()) {
        return Err(errors::NO_RIGHT);
    }
    public_access_block::check_headers(context)?;
    context.traffic_limit()?;
    Ok((operation, signed))
}

/// Refuses pages of foreign origins, if the emulator is set to do so.
fn check_origin(context: &ServiceContext<'_>, rules: &CorsRules) -> Result<(), OssError> {
    match context.shared.refuse_foreign_origins {
        true => cors::check_origin(rules, &context.parts.method, context.headers()),
        false => Ok(()),
    }
}

fn select(context: &ServiceContext<'_>) -> Result<Operation, OssError> {
    Operation::of(&context.parts.method, resource(context)?, context.query)
}

/// Returns whether a known key has signed the request.
fn authenticate(context: &ServiceContext<'_>) -> Result<bool, OssError> {
    let resource = resource(context)?;
    let method = &context.parts.method;
    // Browsers do not sign preflights. A form carries its signature in its fields.
    if *method == Method::OPTIONS || Operation::is_form(method, resource, context.query) {
        return Ok(false);
    }
    auth::verify_request(context)
}

/// Reports an upload that is refused before its operation runs, which reports all others.
fn report_refused(context: &RequestContext<'_>, error: &OssError) {
    if let Some(name) = select(context).ok().and_then(Operation::upload_name) {
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
    if let Some(position) = error.next_position() {
        headers.insert("x-oss-next-append-position", position.into());
    }
    if error.code() == errors::METHOD_NOT_ALLOWED.code() {
        // As captured. RFC 9110 section 10.2.1 has commas here.
        let allowed = HeaderValue::from_static("GET DELETE HEAD PUT POST OPTIONS");
        headers.insert(header::ALLOW, allowed);
    }
    response
}

/// Inserts the time by which the limit of an upload has delayed it, in milliseconds.
fn insert_delay(headers: &mut HeaderMap, context: &ServiceContext<'_>) {
    let limit = traffic_limit::NAME;
    let is_limited = context.query.has(limit) || context.headers().contains_key(limit);
    let delay = context.inbound.delay();
    let is_upload = [Method::POST, Method::PUT].contains(&context.parts.method);
    if is_upload && (is_limited || !delay.is_zero()) {
        let name = HeaderName::from_static("x-oss-qos-delay-time");
        response::insert(headers, name, &delay.as_millis().to_string());
    }
}

/// Inserts the headers that every response of OSS carries.
fn insert_common(headers: &mut HeaderMap, request_id: &str, date: &str) {
    headers.insert(header::SERVER, HeaderValue::from_static("AliyunOSS"));
    let name = HeaderName::from_static("x-oss-request-id");
    response::insert(headers, name, request_id);
    response::insert(headers, header::DATE, date);
}
