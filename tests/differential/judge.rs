//! Verifies each callback on standard input. `differential.py` compares the verdicts with OpenSSL,
//! a model, and the official samples.
//!
//! An input line contains `authorization`, `target`, the body in hex, the path that `only_path`
//! names or nothing, and further headers as `name=value`, separated by tabs. The output is one
//! letter per line of input: `y` for verified, `n` for a signature that does not match, and
//! otherwise the reason of the rejection, see [`reason`].

use std::{
    env,
    error::Error,
    fs,
    io::{self, BufRead as _, BufWriter, Write as _},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use tower_aliyun_oss::{
    callback::{CallbackError, CallbackErrorKind as Kind, CallbackVerifier, VerifierConfig},
    key::PublicKey,
    protocol::TargetError,
};

/// Base64 of `https://gosspublic.alicdn.com/callback_pub_key_v1.pem`.
const KEY_URL: &str = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0=";

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: judge PUBLIC_KEY_FILE")?;
    let key = PublicKey::from_pem(&fs::read(path)?)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let verdict = match judge(&key, &line) {
            Some(Ok(())) => 'y',
            Some(Err(error)) => reason(&error),
            // Not a request: the `http` crate rejects it before a layer sees it.
            None => 'h',
        };
        write!(out, "{verdict}")?;
    }
    Ok(out.flush()?)
}

/// Returns `None` for what cannot be a request.
fn judge(key: &PublicKey, line: &str) -> Option<Result<(), CallbackError>> {
    let mut fields = line.split('\t');
    let mut field = || fields.next().unwrap_or_default();
    let (authorization, target, body, named) = (field(), field(), field(), field());
    let mut config = VerifierConfig::new();
    if !named.is_empty() {
        config = config.only_path(named).ok()?;
    }
    let mut headers = HeaderMap::new();
    headers.insert("authorization", authorization.parse().ok()?);
    headers.insert("x-oss-pub-key-url", HeaderValue::from_static(KEY_URL));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    for header in fields {
        let (name, value) = header.split_once('=')?;
        headers.insert(name.parse::<HeaderName>().ok()?, value.parse().ok()?);
    }
    let mut request = Request::post(Uri::try_from(target).ok()?).body(()).ok()?;
    *request.headers_mut() = headers;
    Some(verify(key, request, &config, bytes(body)?))
}

fn verify(
    key: &PublicKey,
    request: Request<()>,
    config: &VerifierConfig,
    body: Bytes,
) -> Result<(), CallbackError> {
    let (mut parts, ()) = request.into_parts();
    let mut verifier = CallbackVerifier::check_rewriting(&mut parts, config)?;
    verifier.update(body)?;
    verifier.verify(key).map(drop)
}

fn bytes(hex: &str) -> Option<Bytes> {
    let body = hex.as_bytes().chunks_exact(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    Some(body.collect::<Option<Vec<u8>>>()?.into())
}

/// `n` for a signature that does not match, and `r` for a reason without a letter.
fn reason(error: &CallbackError) -> char {
    let target = error.source().and_then(|source| source.downcast_ref());
    match (error.kind(), target) {
        (Kind::SignatureMismatch, _) => 'n',
        (Kind::InvalidHeader, _) => 'i',
        (Kind::KeyUrlRejected, _) => 'l',
        (Kind::UnsupportedSignatureVersion, _) => 'v',
        (Kind::UnsupportedContentType | Kind::UnsupportedContentEncoding, _) => 't',
        (Kind::NonCanonicalTarget, Some(why)) => match why {
            TargetError::Plus => 'p',
            TargetError::Encoded => 'e',
            TargetError::Character => 'c',
            TargetError::EmptySegment => 's',
            TargetError::Control => 'k',
            TargetError::NotUtf8 => 'u',
            TargetError::Escape => 'x',
            TargetError::DotSegment => 'd',
            TargetError::NotOriginForm => 'o',
            _ => 'r',
        },
        _ => 'r',
    }
}
