//! Compares the cost of an upload token with its lower bound: serializing the same document to
//! JSON, encoding it as Base64 and computing its HMAC-SHA256.
//!
//! ```text
//! cargo bench -p benches --bench policy
//! ```
//!
//! Uses neither sockets nor a runtime. The signing key of the day is precomputed on both sides.
//! Only the ratio within one run is meaningful.

mod samples;

use std::{hint::black_box, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use criterion::Criterion;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tower_aliyun_oss::{
    policy::{
        CallbackDirective, CallbackTemplate, Credentials, PostPolicy, UploadToken, unique_key,
    },
    protocol::{CallbackBodyType, SizeRange},
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
