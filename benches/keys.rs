//! Measures the overhead of fetched keys: without a fetch, during a refresh, and under a flood of
//! forgeries.
//!
//! ```text
//! cargo bench -p benches --bench keys
//! ```
//!
//! Runs in the layer, without sockets, with bodies of 1 KiB, a key of 512 bits (the size of the
//! published key) and an in-memory key host that responds after a second. Only ratios within one
//! run are meaningful.

mod samples;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    path::Path,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkGroup, Criterion, measurement::WallTime};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use md5::Md5;
use rsa::{
    PrivateKey,
    pkcs1::DecodeRsaPrivateKey as _,
    pkcs8::{EncodePublicKey as _, LineEnding},
};
use tower::{Layer as _, Service, service_fn};
use tower_aliyun_oss::{
    OssCallbackLayer,
    key::{FetchError, FetchKey, FetchedKeys, KeyUrl, PinnedKeys, PublicKey},
};

const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/keys");
const GROUP: &str = "keys";
const TARGET: &str = "/oss/callback";
const BODY_SIZE: usize = 1024;
const PATH: &str = "/callback_pub_key_v2.pem";
const SECOND: Duration = Duration::from_secs(1);
/// How long a fetched key is fresh. It is refreshed after four fifths of this time.
const FRESH: Duration = Duration::from_secs(5);

type Error = Box<dyn std::error::Error>;

/// A key host that responds after a second.
struct Host(Bytes);

impl FetchKey for Host {
    fn fetch(&self, _: &KeyUrl) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>> {
        let pem = self.0.clone();
        Box::pin(async move {
            tokio::time::sleep(SECOND).await;
            Ok(pem)
        })
    }
}

struct Bench {
    private: PrivateKey,
    public: PublicKey,
    pem: Bytes,
}

impl Bench {
    fn new() -> Result<Self, Error> {
        let private = PrivateKey::from_pkcs1_pem(include_str!("../tests/keys/rsa_512.pem"))?;
        let pem = rsa::PublicKey::from(&private).to_public_key_pem(LineEnding::LF)?;
        Ok(Self {
            public: PublicKey::from_pem(pem.as_bytes())?,
            private,
            pem: pem.into(),
        })
    }

    /// Returns a key source with the same key twice: version 1 is pinned, version 2 is fetched.
    fn keys(&self, fresh: Duration) -> FetchedKeys {
        FetchedKeys::builder()
            .pinned(self.pinned())
            .fetcher(Host(self.pem.clone()))
            .fresh_for(fresh)
            .build()
    }

    fn pinned(&self) -> PinnedKeys {
        PinnedKeys::official().with_version(1, self.public.clone())
    }

    fn callback(&self, version: u16, genuine: bool) -> Result<Request<Full<Bytes>>, Error> {
        let body = vec![b'a'; BODY_SIZE];
        let text = [TARGET.as_bytes(), b"\n", &body].concat();
        let mut signature = self.private.pkcs1v15_sign::<Md5>(&text)?;
        if !genuine && let Some(last) = signature.last_mut() {
            *last ^= 1;
        }
        let url = format!("https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem");
        Ok(Request::post(TARGET)
            .header("authorization", STANDARD.encode(signature))
            .header("x-oss-pub-key-url", STANDARD.encode(url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::from(body))?)
    }
}

fn answer<B>(_: Request<B>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("{}"))))
}

/// Polls a call once and returns the status if the response is ready.
fn call<S, B>(service: &mut S, request: Request<Full<Bytes>>) -> Option<StatusCode>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
{
    let mut answer = pin!(service.call(request));
    match answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(Ok(response)) => Some(response.status()),
        _ => None,
    }
}

/// Measures genuine and forged callbacks with pinned and fetched keys.
fn floods(criterion: &mut Criterion, bench: &Bench, fetched: &FetchedKeys) -> Result<(), Error> {
    let mut group = criterion.benchmark_group(GROUP);
    let pinned = OssCallbackLayer::new().key_source(bench.pinned());
    let layer = OssCallbackLayer::new().key_source(fetched.clone());
    for (name, layer, version, genuine) in [
        ("pinned genuine", &pinned, 1, true),
        ("pinned forged", &pinned, 1, false),
        ("of fetched pinned forged", &layer, 1, false),
        ("fetched genuine", &layer, 2, true),
        ("fetched forged", &layer, 2, false),
    ] {
        flood(
            &mut group,
            name,
            layer,
            &bench.callback(version, genuine)?,
            genuine,
        );
    }
    Ok(())
}

fn flood(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    layer: &OssCallbackLayer,
    request: &Request<Full<Bytes>>,
    genuine: bool,
) {
    let mut service = layer.layer(service_fn(answer));
    let expected = if genuine {
        StatusCode::OK
    } else {
        StatusCode::FORBIDDEN
    };
    assert_eq!(
        call(&mut service, request.clone()),
        Some(expected),
        "{name}"
    );
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || request.clone(),
            |request| call(&mut service, request),
            BatchSize::SmallInput,
        );
    });
}

/// Calls the layer for 0.9 s. Returns the median and the 99th percentile of the latencies in ns,
/// and the number of calls.
fn second(layer: &OssCallbackLayer, request: &Request<Full<Bytes>>) -> (u128, u128, usize) {
    let mut service = layer.layer(service_fn(answer));
    let begun = Instant::now();
    let mut all = Vec::with_capacity(200_000);
    while begun.elapsed() < SECOND * 9 / 10 {
        let request = request.clone();
        let start = Instant::now();
        let status = call(&mut service, request);
        all.push(start.elapsed().as_nanos());
        assert_eq!(status, Some(StatusCode::OK));
    }
    all.sort_unstable();
    let at = |share: usize| {
        all.get(all.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    (at(50), at(99), all.len())
}

/// Compares the latencies before a refresh is due with those during the refresh.
fn refresh(bench: &Bench, runtime: &tokio::runtime::Runtime) -> Result<(), Error> {
    let keys = bench.keys(FRESH);
    let layer = OssCallbackLayer::new().key_source(keys.clone());
    let request = bench.callback(2, true)?;
    runtime.block_on(keys.warm_up([PATH]))?;
    let fetched = Instant::now();
    let _inside = runtime.enter();
    second(&layer, &request);
    let quiet = second(&layer, &request);
    let before = keys.stats().fetches;
    while keys.stats().fetches == before && fetched.elapsed() < FRESH {
        second(&layer, &request);
    }
    let busy = second(&layer, &request);
    println!(
        "\nbefore the refresh: {} calls in 0.9 s, p50 {} ns, p99 {} ns",
        quiet.2, quiet.0, quiet.1
    );
    println!(
        "during the refresh: {} calls in 0.9 s, p50 {} ns, p99 {} ns",
        busy.2, busy.0, busy.1
    );
    println!(
        "fetches during it: {} (exactly 1)",
        keys.stats().fetches - before
    );
    Ok(())
}

fn report(fetched: &FetchedKeys) -> Option<()> {
    let least = |name| samples::least(OUTPUT, GROUP, name);
    let pinned = least("pinned genuine")?;
    let rate = |name| Some(1e9 / least(name)?);
    println!(
        "\nfetched ÷ pinned, genuine: {:.3}",
        least("fetched genuine")? / pinned
    );
    let forged = least("fetched forged")? / least("pinned forged")?;
    println!("fetched ÷ pinned, forged: {forged:.3}");
    let beside = least("of fetched pinned forged")? / least("pinned forged")?;
    println!("pinned key in `FetchedKeys` ÷ pinned, forged: {beside:.3}");
    println!(
        "genuine per second and core: {:.0} (at least 80000)",
        rate("fetched genuine")?
    );
    println!("forged per second and core: {:.0}", rate("fetched forged")?);
    println!(
        "fetches in all floods: {} (exactly 1)",
        fetched.stats().fetches
    );
    Some(())
}

fn main() -> Result<(), Error> {
    let bench = Bench::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()?;
    let fetched = bench.keys(SECOND * 3600);
    runtime.block_on(fetched.warm_up([PATH]))?;
    let mut criterion = Criterion::default()
        .output_directory(Path::new(OUTPUT))
        .warm_up_time(SECOND)
        .measurement_time(SECOND * 3)
        .without_plots()
        .configure_from_args();
    {
        let _inside = runtime.enter();
        floods(&mut criterion, &bench, &fetched)?;
    }
    criterion.final_summary();
    if report(&fetched).is_none() {
        println!("some benchmarks were skipped, so no ratios are reported");
    }
    refresh(&bench, &runtime)
}
