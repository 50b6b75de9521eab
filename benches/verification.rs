//! Compares the cost of a verification with its lower bound: RSA and MD5 on the same bytes.
//!
//! ```text
//! cargo bench -p benches --bench verification
//! ```
//!
//! Uses neither sockets nor a runtime. At the end it prints the relevant ratios next to their
//! targets. Only ratios within one run are meaningful.

mod samples;

use std::{
    convert::Infallible,
    future::{Future as _, Ready, ready},
    hint::black_box,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use md5::{Digest as _, Md5};
use rsa::BoxedUint;
use tower::{Layer as _, Service, service_fn};
use tower_aliyun_oss::{
    Lookup, OssCallbackLayer,
    callback::{CallbackVerifier, VerifierConfig},
    key::{KeyError, KeySource, KeyTable, KeyUrl, PinnedKeys, PublicKey},
};

const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/verification");

/// The example on the Callback page of the OSS API reference, signed by OSS.
const TARGET: &str = "/index.php?id=1&index=2";
const BODY: &str = "bucket=yonghu-test";
const SIGNATURE: &str =
    "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==";

/// Base64 of `https://gosspublic.alicdn.com/callback_pub_key_v1.pem`.
const KEY_URL: &str = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0=";

const BODY_SIZES: [usize; 6] = [100, 1_000, 10_000, 100_000, 1 << 20, 2 << 20];

type Callback = Request<Full<Bytes>>;
type Change = fn(&mut Callback);

/// Changes for which the layer rejects a request before it reads the body.
const REFUSALS: [(&str, Change); 7] = [
    ("method", |request| {
        *request.method_mut() = http::Method::GET
    }),
    ("no signature", |request| {
        request.headers_mut().remove("authorization");
    }),
    ("signature not base64", |request| {
        set(request, "authorization", "not base64")
    }),
    ("key url not allowed", |request| {
        set(request, "x-oss-pub-key-url", "aHR0cDovL2V2aWwuZXhhbXBsZS8=");
    }),
    ("target not canonical", |request| {
        *request.uri_mut() = http::Uri::from_static("/index%2Ephp?id=1&index=2");
    }),
    ("length announced", |request| {
        set(request, "content-length", "65537")
    }),
    ("content type", |request| {
        set(request, "content-type", "text/plain")
    }),
];

fn set(request: &mut Callback, name: &'static str, value: &'static str) {
    request
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}

fn callback(target: &'static str, signature: &str, body: Bytes) -> Callback {
    // A server parses header values as slices of a shared buffer; do the same.
    let value = |text: &str| {
        let buffer = Bytes::from([text, "\r\n"].concat());
        HeaderValue::from_maybe_shared(buffer.slice(..text.len()))
    };
    let built = Request::post(target)
        .header(
            "authorization",
            value(signature).unwrap_or(HeaderValue::from_static("")),
        )
        .header("x-oss-pub-key-url", HeaderValue::from_static(KEY_URL))
        .header(
            "content-type",
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        )
        .header("content-length", body.len())
        .body(Full::new(body));
    built.unwrap_or_default()
}

fn genuine() -> Callback {
    callback(TARGET, SIGNATURE, Bytes::from_static(BODY.as_bytes()))
}

fn answer<B>(_: Request<B>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("{}"))))
}

/// Polls the call once: nothing in it waits.
fn call<S, B>(service: &mut S, request: Callback) -> StatusCode
where
    S: Service<Callback, Response = Response<B>, Error = Infallible>,
{
    match pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => black_box(response).status(),
        Poll::Pending => StatusCode::IM_A_TEAPOT,
    }
}

/// Returns the published key as a key of the crate `rsa`.
fn official_key() -> Option<rsa::PublicKey> {
    use rsa::pkcs8::der::Decode as _;
    let pem = include_str!("../src/key/callback_pub_key_v1.pem");
    let (_, document) = rsa::pkcs8::Document::from_pem(pem).ok()?;
    let spki = rsa::pkcs8::SubjectPublicKeyInfoRef::from_der(document.as_bytes()).ok()?;
    let key = rsa::pkcs1::RsaPublicKeyRef::from_der(spki.subject_public_key.raw_bytes()).ok()?;
    let n = BoxedUint::from_be_slice_vartime(key.modulus.as_bytes());
    let e = BoxedUint::from_be_slice_vartime(key.public_exponent.as_bytes());
    rsa::PublicKey::new_with_size_limits(n, e, 512..=4096).ok()
}

fn on_requests<S, B>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    make: impl Fn() -> Callback,
    mut service: S,
    expected: StatusCode,
) where
    S: Service<Callback, Response = Response<B>, Error = Infallible>,
{
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            &make,
            |request| assert_eq!(call(&mut service, request), expected),
            BatchSize::SmallInput,
        );
    });
}

fn bench_callback(criterion: &mut Criterion, key: &rsa::PublicKey) {
    let mut group = criterion.benchmark_group("callback");
    let signature = STANDARD.decode(SIGNATURE).unwrap_or_default();
    let text = format!("{TARGET}\n{BODY}");
    group.bench_function("rsa and md5", |bencher| {
        bencher.iter(|| {
            let digest = Md5::digest(black_box(&text));
            key.pkcs1v15_verify_prehash::<Md5>(&digest, &signature)
        });
    });
    let rules = VerifierConfig::new();
    let keys = PinnedKeys::official();
    group.bench_function("core", |bencher| {
        bencher.iter_batched(
            || genuine().into_parts().0,
            |parts| {
                let mut verifier = CallbackVerifier::check(&parts, &rules)?;
                let body = Bytes::from_static(BODY.as_bytes());
                verifier.update(body)?;
                match keys.key(verifier.key_url()) {
                    Lookup::Ready(Ok(key)) => verifier.verify(&key).map(drop),
                    _ => Ok(()),
                }
            },
            BatchSize::SmallInput,
        );
    });
    let ok = StatusCode::OK;
    on_requests(&mut group, "without layer", genuine, service_fn(answer), ok);
    let layered = OssCallbackLayer::new().layer(service_fn(answer));
    on_requests(&mut group, "with layer", genuine, layered, ok);
    group.finish();
}

/// A key source without keys: the layer reads and hashes the body and then stops.
struct NoKeys(KeyTable);

impl KeySource for NoKeys {
    fn table(&self) -> &KeyTable {
        &self.0
    }

    fn key(&self, _: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        Lookup::Ready(Err(KeyError::Unknown))
    }
}

fn bench_bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body");
    let layer = OssCallbackLayer::new()
        .key_source(NoKeys(KeyTable::official()))
        .body_limit(2 << 20);
    for size in [0].into_iter().chain(BODY_SIZES) {
        let body = Bytes::from(vec![b'x'; size]);
        if size > 0 {
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(format!("md5 {size}"), |bencher| {
                bencher.iter(|| Md5::digest(black_box(&body)));
            });
        }
        on_requests(
            &mut group,
            &format!("layer {size}"),
            || callback(TARGET, SIGNATURE, body.clone()),
            layer.layer(service_fn(answer)),
            StatusCode::SERVICE_UNAVAILABLE,
        );
    }
    group.finish();
}

fn bench_refusals(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refusal");
    for (name, change) in REFUSALS {
        let make = || {
            let mut request = genuine();
            change(&mut request);
            request
        };
        let mut service = OssCallbackLayer::new().layer(service_fn(answer));
        let status = call(&mut service, make());
        assert!(status.is_client_error(), "{name}: {status}");
        on_requests(&mut group, name, make, service, status);
    }
    group.finish();
}

fn report() -> Option<()> {
    let least = |group: &str, name: &str| samples::least(OUTPUT, group, name);
    let callback = |name| least("callback", name);
    let must = callback("rsa and md5")?;
    let layer = callback("with layer")? - callback("without layer")?;
    println!("\nrsa and md5: {must:.0} ns; the layer adds {layer:.0} ns to a service without it");
    println!(
        "more than rsa and md5: {:.0} ns (at most 2000)",
        layer - must
    );
    println!("layer ÷ (rsa and md5): {:.2}", layer / must);
    let empty = least("body", "layer 0")?;
    for size in BODY_SIZES {
        let md5 = least("body", &format!("md5 {size}"))?;
        let body = least("body", &format!("layer {size}"))? - empty;
        println!(
            "body of {size} bytes ÷ md5: {:.2} (at most 1.1)",
            body / md5
        );
    }
    let genuine = callback("with layer")?;
    for (name, _) in REFUSALS {
        let refusal = least("refusal", name)?;
        println!(
            "refusal, {name} ÷ genuine: {:.3} (less than 0.1)",
            refusal / genuine
        );
    }
    Some(())
}

fn main() {
    let mut criterion = Criterion::default()
        .output_directory(Path::new(OUTPUT))
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .without_plots()
        .configure_from_args();
    let Some(official) = official_key() else {
        return eprintln!("error: failed to read the published key");
    };
    bench_callback(&mut criterion, &official);
    bench_bodies(&mut criterion);
    bench_refusals(&mut criterion);
    criterion.final_summary();
    if report().is_none() {
        println!("some benchmarks were skipped, so no ratios are reported");
    }
}
