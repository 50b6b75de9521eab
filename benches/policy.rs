//! Compares the cost of an upload token with its lower bound: serializing the same document to
//! JSON, encoding it as Base64 and computing its HMAC-SHA256.
//!
//! ```text
//! cargo bench -p benches --bench policy
//! ```
//!
//! Uses neither sockets nor a runtime. The signing key of the day is precomputed on both sides.
//! Only the ratio within one run is meaningful.
//!
//! The group `service` is the whole service, from the request to the response: one token without
//! and with a ticket, and a batch of 100 tokens with tickets. Each has a unique name, a callback
//! and one content type.

mod samples;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, Response, request::Parts};
use http_body::Body;
use http_body_util::Full;
use serde_json::Value;
use sha2::Sha256;
use tower::{Service, service_fn};
use tower_aliyun_oss::{
    OssPolicyService,
    policy::{
        Authorize, CallbackDirective, CallbackTemplate, Credentials, Grant, PostPolicy, Refusal,
        UploadToken, unique_key,
    },
    protocol::{CallbackBodyType, SizeRange},
    ticket::{TicketKey, TicketKeys, Tickets},
};

const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/policy");

type Error = Box<dyn std::error::Error>;

fn at() -> std::time::SystemTime {
    std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_570)
}

/// Parses the policy document of a token, so that serializing it again measures serde alone.
fn document(token: &UploadToken) -> Result<Value, Error> {
    let text = STANDARD.decode(token.field("policy").unwrap_or_default())?;
    Ok(serde_json::from_slice(&text)?)
}

/// Does the work that every token requires: JSON, Base64 and HMAC.
fn must(document: &Value, key: &Hmac<Sha256>) -> Option<(String, [u8; 32])> {
    let text = STANDARD.encode(serde_json::to_vec(document).ok()?);
    let mut mac = key.clone();
    mac.update(text.as_bytes());
    Some((text, mac.finalize().into_bytes().into()))
}

fn bench(criterion: &mut Criterion) -> Result<(), Error> {
    let callback = CallbackDirective::new("https://app.example/oss/callback")?
        .body(CallbackTemplate::standard(CallbackBodyType::Json))?;
    let credentials = Credentials::new("LTAI5tExample", "a-secret-of-thirty-letters-0123")?;
    let prefix = "user/7/".parse()?;
    let template = PostPolicy::builder(
        "examplebucket".parse()?,
        "cn-hangzhou".parse()?,
        unique_key(&prefix, None, at())?,
        SizeRange::new(1, 10 * 1024 * 1024)?,
        callback,
    );
    let policy = template.clone().build()?;
    let token = policy.sign(&credentials, at())?;
    let document = document(&token)?;
    let key = Hmac::<Sha256>::new_from_slice(&[7; 32])?;
    let (text, _) = must(&document, &key).ok_or("failed to serialize the document")?;
    let signed = token.field("policy").unwrap_or_default();
    assert_eq!(
        text.len(),
        signed.len(),
        "both sides must encode the same document"
    );

    let mut group = criterion.benchmark_group("token");
    group.bench_function("json, base64 and hmac", |bencher| {
        bencher.iter(|| must(black_box(&document), &key));
    });
    group.bench_function("sign", |bencher| {
        bencher.iter(|| policy.sign(black_box(&credentials), at()));
    });
    group.bench_function("name, build and sign", |bencher| {
        bencher.iter(|| {
            let key = unique_key(&prefix, Some("a.png"), at()).ok()?;
            let policy = template.clone().key(key).build().ok()?;
            policy.sign(&credentials, at()).ok()
        });
    });
    group.finish();
    Ok(())
}

/// Returns the same grant for every request.
struct Everybody(Grant);

impl Authorize for Everybody {
    type Granted = Grant;

    fn authorize(&self, _: &Parts) -> impl Future<Output = Result<Grant, Refusal>> + Send {
        ready(Ok(self.0.clone()))
    }
}

fn service(tickets: bool) -> Result<OssPolicyService<Everybody>, Error> {
    let grant = Grant::under("user/7/".parse()?, SizeRange::new(1, 10 * 1024 * 1024)?)
        .content_type("image/png".parse()?)
        .max_files(100);
    let callback = CallbackDirective::new("https://app.example/oss/callback")?
        .body(CallbackTemplate::standard(CallbackBodyType::Json))?;
    let service = OssPolicyService::new(
        Everybody(grant),
        Credentials::new("LTAI5tExample", "a-secret-of-thirty-letters-0123")?,
        "examplebucket".parse()?,
        "cn-hangzhou".parse()?,
        callback,
    )?;
    if !tickets {
        return Ok(service);
    }
    let keys = TicketKeys::new(1, TicketKey::generate()?);
    Ok(service.tickets(Tickets::in_memory(keys))?)
}

/// A request for one token.
fn one() -> Request<Full<Bytes>> {
    let uri = "/oss/policy?filename=holiday.png&size=1048576&type=image%2Fpng";
    let mut request = Request::new(Full::default());
    *request.uri_mut() = http::Uri::from_static(uri);
    request
}

/// A request for 100 tokens.
fn hundred(body: &Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static("/oss/policy");
    let json = http::HeaderValue::from_static("application/json");
    request
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    request
}

/// Calls a service that is always ready, and returns the length of the body.
fn call<S, B>(service: &mut S, request: Request<Full<Bytes>>) -> Option<u64>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    B: Body,
{
    let future = pin!(service.call(request));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) if response.status() == 200 => {
            black_box(response).body().size_hint().exact()
        }
        _ => None,
    }
}

fn empty(_: Request<Full<Bytes>>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("{}"))))
}

fn bench_service(criterion: &mut Criterion) -> Result<(), Error> {
    let (mut bare, mut plain, mut ticket) = (service_fn(empty), service(false)?, service(true)?);
    let file = r#"{"filename":"holiday.png","size":1048576,"type":"image/png"}"#;
    let body = Bytes::from(format!(r#"{{"files":[{}]}}"#, [file; 100].join(",")));
    let length = call(&mut ticket, one()).ok_or("no token")?;
    call(&mut plain, one()).ok_or("no token without a ticket")?;
    let lengths = call(&mut ticket, hundred(&body)).ok_or("no tokens")?;
    assert!(lengths > 99 * length, "100 tokens in {lengths} bytes");

    let mut group = criterion.benchmark_group("service");
    let small = BatchSize::SmallInput;
    group.bench_function("empty", |bencher| {
        bencher.iter_batched(one, |request| call(&mut bare, request), small);
    });
    group.bench_function("no ticket", |bencher| {
        bencher.iter_batched(one, |request| call(&mut plain, request), small);
    });
    group.bench_function("ticket", |bencher| {
        bencher.iter_batched(one, |request| call(&mut ticket, request), small);
    });
    group.bench_function("100 with tickets", |bencher| {
        bencher.iter_batched(
            || hundred(&body),
            |request| call(&mut ticket, request),
            small,
        );
    });
    group.finish();
    Ok(())
}

fn report() -> Option<()> {
    let least = |name| samples::least(OUTPUT, "token", name);
    let must = least("json, base64 and hmac")?;
    let sign = least("sign")?;
    println!(
        "sign: {sign:.0} ns; ÷ (json, base64 and hmac): {:.2} (at most 2); \
         {:.0} ns more (at most 5000)",
        sign / must,
        sign - must
    );
    println!(
        "with a random name from the operating system and all checks: {:.0} ns",
        least("name, build and sign")?
    );
    let least = |name| samples::least(OUTPUT, "service", name);
    let empty = least("empty")?;
    println!(
        "service, beyond an empty one: {:.0} ns without a ticket, {:.0} ns with one \
         (at most 8000), {:.0} ns each in a batch of 100",
        least("no ticket")? - empty,
        least("ticket")? - empty,
        (least("100 with tickets")? - empty) / 100.0
    );
    Some(())
}

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default()
        .output_directory(Path::new(OUTPUT))
        .configure_from_args();
    bench(&mut criterion)?;
    bench_service(&mut criterion)?;
    criterion.final_summary();
    report();
    Ok(())
}
