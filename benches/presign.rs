//! Compares the cost of a signed part URL with its lower bound: the SHA-256 of the canonical
//! request and the HMAC-SHA256 of the string to sign.
//!
//! ```text
//! cargo bench -p benches --bench presign
//! ```
//!
//! Measures the whole service, from the request to the response: parsing the JSON, opening the
//! handle, signing, and writing the answer. Uses neither sockets nor a runtime. The signing key of
//! the day is precomputed on both sides. Only the ratio within one run is meaningful.
//!
//! The cost of one URL is a 99th of the difference between an ask for 100 parts and one for a
//! single part: what an ask costs beside its parts is in both.

mod samples;

use std::{
    future::{Future, ready},
    hint::black_box,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, request::Parts};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::Service as _;
use tower_aliyun_oss::{
    OssUploads,
    policy::{Authorize, Credentials, Grant, OssPresignService, Refusal},
    protocol::SizeRange,
    ticket::TicketKey,
};

const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/presign");

type Error = Box<dyn std::error::Error>;

/// Returns the same grant for every request.
struct Everybody(Grant);

impl Authorize for Everybody {
    type Granted = Grant;

    fn authorize(&self, _: &Parts) -> impl Future<Output = Result<Grant, Refusal>> + Send {
        ready(Ok(self.0.clone()))
    }
}

fn service() -> Result<OssPresignService<Everybody>, Error> {
    let credentials = Credentials::new("LTAI5tExample", "a-secret-of-thirty-letters-0123")?;
    let uploads = OssUploads::builder("examplebucket".parse()?, credentials)
        .region("cn-hangzhou".parse()?)
        .callback_url("https://app.example/oss/callback")
        .ticket_key(TicketKey::generate()?)
        .build()?;
    let grant = Grant::under("video/7/".parse()?, SizeRange::new(1, 80 << 30)?)
        .content_type("video/mp4".parse()?)
        .claims(&7);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_570);
    Ok(uploads.presign_service(Everybody(grant))?.clock(move || at))
}

fn request(body: &Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = http::Method::POST;
    let json = http::HeaderValue::from_static("application/json");
    request
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    request
}

/// Asks the service, which is always ready. Returns the body of a success.
fn ask(service: &mut OssPresignService<Everybody>, request: Request<Full<Bytes>>) -> Option<Bytes> {
    let mut context = Context::from_waker(Waker::noop());
    let future = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = future.poll(&mut context) else {
        return None;
    };
    if response.status() != 200 {
        return None;
    }
    let body = pin!(response.into_body().collect());
    match body.poll(&mut context) {
        Poll::Ready(Ok(body)) => Some(body.to_bytes()),
        _ => None,
    }
}

fn json_of(service: &mut OssPresignService<Everybody>, ask_for: &Value) -> Result<Value, Error> {
    let body = ask(service, request(&ask_for.to_string().into())).ok_or("no answer")?;
    Ok(serde_json::from_slice(&body)?)
}

/// The canonical request of a signed part URL, as OSS computes it.
fn canonical(url: &str, length: u64) -> Option<String> {
    let (base, query) = url.split_once('?')?;
    let (query, _) = query.split_once("&x-oss-signature=")?;
    let (_, path) = base.split_once("aliyuncs.com")?;
    Some(format!(
        "PUT\n/examplebucket{path}\n{query}\ncontent-length:{length}\n\ncontent-length\n\
         UNSIGNED-PAYLOAD"
    ))
}

/// Does the work that every signature requires. `text` is the string to sign without its digest.
fn must(canonical: &str, text: &str, key: &Hmac<Sha256>) -> [u8; 32] {
    let digest = Sha256::digest(canonical);
    let mut mac = key.clone();
    mac.update(text.as_bytes());
    // Hex takes twice the length.
    mac.update(&digest);
    mac.update(&digest);
    mac.finalize().into_bytes().into()
}

fn bench(criterion: &mut Criterion) -> Result<(), Error> {
    let mut service = service()?;
    let create = json!({
        "action": "create", "filename": "a.mp4", "size": 2_000 << 20, "type": "video/mp4"
    });
    let created = json_of(&mut service, &create)?;
    let id = "0004B9894A22E5B1888A1E29F8236E2D";
    let parts = |numbers: Vec<u16>| {
        json!({
            "action": "parts", "handle": created["handle"], "uploadId": id, "parts": numbers
        })
    };
    let (one, hundred) = (parts(vec![1]), parts((1..=100).collect()));
    let answer = json_of(&mut service, &hundred)?;
    let canonicals: Vec<String> = answer["parts"]
        .as_array()
        .ok_or("no parts")?
        .iter()
        .filter_map(|part| canonical(part["request"]["url"].as_str()?, part["size"].as_u64()?))
        .collect();
    assert_eq!(canonicals.len(), 100, "every URL has a canonical request");
    let text = "OSS4-HMAC-SHA256\n20241231T235930Z\n20241231/cn-hangzhou/oss/aliyun_v4_request\n";
    let key = Hmac::<Sha256>::new_from_slice(&[7; 32])?;
    let small = BatchSize::SmallInput;

    let mut group = criterion.benchmark_group("parts");
    group.bench_function("sha256 and hmac", |bencher| {
        bencher.iter(|| must(black_box(&canonicals[0]), black_box(text), &key));
    });
    group.bench_function("100 sha256 and hmac", |bencher| {
        bencher.iter(|| {
            for canonical in &canonicals {
                black_box(must(black_box(canonical), black_box(text), &key));
            }
        });
    });
    for (name, body) in [("one", &one), ("hundred", &hundred)] {
        let body = Bytes::from(body.to_string());
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || request(&body),
                |request| ask(&mut service, request),
                small,
            );
        });
    }
    for action in ["list", "complete", "put"] {
        let body = json!({"action": action, "handle": created["handle"], "uploadId": id});
        let body = Bytes::from(body.to_string());
        group.bench_function(action, |bencher| {
            bencher.iter_batched(
                || request(&body),
                |request| ask(&mut service, request),
                small,
            );
        });
    }
    let body = Bytes::from(create.to_string());
    group.bench_function("create", |bencher| {
        bencher.iter_batched(
            || request(&body),
            |request| ask(&mut service, request),
            small,
        );
    });
    group.finish();
    Ok(())
}

fn report() -> Option<()> {
    let least = |name| samples::least(OUTPUT, "parts", name);
    let (must, must_hundred) = (least("sha256 and hmac")?, least("100 sha256 and hmac")?);
    let (one, hundred) = (least("one")?, least("hundred")?);
    let each = (hundred - one) / 99.0;
    println!(
        "a part URL: {each:.0} ns; ÷ (sha256 and hmac): {:.2} (at most 2)",
        each / must
    );
    println!(
        "100 in one ask, with its JSON and its handle: {hundred:.0} ns; ÷ 100 bare signatures: \
         {:.2} (at most 1.5)",
        hundred / must_hundred
    );
    println!(
        "one ask: {one:.0} ns for a part, {:.0} ns for list, {:.0} ns for complete, {:.0} ns for \
         put, {:.0} ns for create",
        least("list")?,
        least("complete")?,
        least("put")?,
        least("create")?
    );
    Some(())
}

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default()
        .output_directory(Path::new(OUTPUT))
        .configure_from_args();
    bench(&mut criterion)?;
    criterion.final_summary();
    report();
    Ok(())
}
