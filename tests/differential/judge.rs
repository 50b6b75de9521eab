//! Verifies each callback on standard input. `differential.py` compares the verdicts with OpenSSL
//! and a model.
//!
//! An input line contains `authorization`, `target` and the body in hex, separated by tabs. The
//! output is one letter per line of input: `y` for verified, `n` for a signature that does not
//! match, `r` for a request that is rejected before its signature is checked.

use std::{
    env,
    error::Error,
    fs,
    io::{self, BufRead as _, BufWriter, Write as _},
};

use bytes::Bytes;
use http::{Request, Uri};
use tower_aliyun_oss::{
    callback::{CallbackErrorKind, CallbackVerifier, VerifierConfig},
    key::PublicKey,
};

/// Base64 of `https://gosspublic.alicdn.com/callback_pub_key_v1.pem`.
const KEY_URL: &str = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0=";

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: judge PUBLIC_KEY_FILE")?;
    let key = PublicKey::from_pem(&fs::read(path)?)?;
    let rules = VerifierConfig::new();
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap_or_default();
        let (authorization, target, body) = (field(), field(), field());
        let verdict = judge(&key, &rules, authorization, target, body).unwrap_or('r');
        write!(out, "{verdict}")?;
    }
    Ok(out.flush()?)
}

/// Returns `None` if the request is rejected before its signature is checked.
fn judge(
    key: &PublicKey,
    rules: &VerifierConfig,
    authorization: &str,
    target: &str,
    body: &str,
) -> Option<char> {
    let body = body.as_bytes().chunks_exact(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    let body: Bytes = body.collect::<Option<Vec<u8>>>()?.into();
    let request = Request::post(Uri::try_from(target).ok()?)
        .header("authorization", authorization)
        .header("x-oss-pub-key-url", KEY_URL)
        .header("content-type", "application/json")
        .body(())
        .ok()?;
    let (mut parts, ()) = request.into_parts();
    let mut verifier = CallbackVerifier::check_rewriting(&mut parts, rules).ok()?;
    verifier.update(body).ok()?;
    match verifier.verify(key) {
        Ok(_) => Some('y'),
        Err(error) if error.kind() == CallbackErrorKind::SignatureMismatch => Some('n'),
        Err(_) => None,
    }
}
