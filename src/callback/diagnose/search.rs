//! The search for the text that was signed.

use http::request::Parts;
use md5::{Digest as _, Md5};

use super::{
    body::{self, BodyCandidate},
    diagnosis::Diagnosis,
    target::{TargetCandidate, TargetOrigin},
    targets,
};
use crate::{
    callback::{config::Rules, verifier::signature},
    key::PublicKey,
};

/// The most texts that are hashed for one diagnosis.
const MAX_TEXTS: usize = 256;

/// The most bytes that are hashed for one diagnosis, all texts together: about ten milliseconds.
const MAX_HASHED: usize = 4 * 1024 * 1024;

/// Says why the signature of a request does not match, or that it does: most often a proxy has rewritten the path,
/// or the body was parsed and written again before it came here.
///
/// `key` is the key the callback says it was signed with, `rules` and `body` are what it was verified with. A
/// signature holds the MD5 of the text that OSS has signed, so that texts can be tried without asking anybody:
///
/// * targets: what the rules say; the URI of the request and axum's `OriginalUri`; what `X-Forwarded-Uri`,
///   `X-Original-URI`, `X-Original-URL`, `X-Rewrite-URL`, `X-Envoy-Original-Path`, `X-Replaced-Path` and
///   `X-Forwarded-Path` say; `X-Forwarded-Prefix` and the prefixes of
///   [`diagnose_prefix`](Rules::diagnose_prefix) before the path, and the latter stripped from it; and each of them
///   with the changes of [`TargetChange`](super::TargetChange);
/// * bodies: those of [`BodyCandidate`].
///
/// [`OssCallbackLayer`](crate::OssCallbackLayer) does this by itself for each signature that does not match, and
/// logs it, when the level of the target `tower_aliyun_oss::diagnose` is `DEBUG`.
///
/// **A diagnosis is a hint for the reader of a log, and never a reason to accept a request.** Most of what it tries
/// comes from headers, which anybody can write.
///
/// # Limits
///
/// At most 64 targets, 256 texts and 4 MiB of text are hashed, whatever the request looks like; a header is looked at
/// up to 8 KiB, and a body of more than 16 KiB is tried only as received. Nothing is hashed when the signature was
/// not made with the key at all; whoever wants to make a server search has to have a signature of OSS.
///
/// ```
/// use http::Request;
/// use tower_aliyun_oss::callback::{Diagnosis, Rules, diagnose};
/// use tower_aliyun_oss::key::PublicKey;
///
/// // https://gosspublic.alicdn.com/callback_pub_key_v1.pem
/// let key = PublicKey::from_pem(b"-----BEGIN PUBLIC KEY-----
/// MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs
/// C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==
/// -----END PUBLIC KEY-----
/// ")?;
/// // OSS called /index.php?id=1&index=2, and the query got lost.
/// let request = Request::post("/index.php")
///     .header("authorization", "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==")
///     .header("x-original-uri", "/index.php?id=1&index=2")
///     .body(())?;
/// let (parts, ()) = request.into_parts();
///
/// let diagnosis = diagnose(&parts, b"bucket=yonghu-test", &key, &Rules::new());
/// assert!(matches!(diagnosis, Diagnosis::WouldMatch { .. }));
/// assert!(diagnosis.to_string().contains("x-original-uri"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn diagnose(parts: &Parts, body: &[u8], key: &PublicKey, rules: &Rules) -> Diagnosis {
    let Ok(signature) = signature(&parts.headers) else {
        return Diagnosis::NoSignature;
    };
    match key.recover_md5(signature.as_bytes()) {
        Some(digest) => Search::new(digest).run(parts, body, rules),
        None => Diagnosis::OtherKey,
    }
}

struct Search {
    digest: [u8; 16],
    texts: usize,
    hashed: usize,
    /// Whether there was more to try than may be tried.
    cut: bool,
}

impl Search {
    fn new(digest: [u8; 16]) -> Self {
        Self {
            digest,
            texts: 0,
            hashed: 0,
            cut: false,
        }
    }

    fn run(mut self, parts: &Parts, body: &[u8], rules: &Rules) -> Diagnosis {
        let (targets, cut_targets) = targets::candidates(parts, rules);
        // Mostly it is only one of the two that was changed, and mostly the target.
        for target in &targets {
            if self.tries(target, body) {
                return found(target.clone(), BodyCandidate::AsReceived);
            }
        }
        let (bodies, cut_bodies) = body::candidates(body);
        for target in &targets {
            for (candidate, text) in &bodies {
                if self.tries(target, text) {
                    return found(target.clone(), *candidate);
                }
            }
        }
        Diagnosis::NoCandidate {
            texts: self.texts,
            cut: self.cut || cut_targets || cut_bodies,
        }
    }

    fn tries(&mut self, target: &TargetCandidate, body: &[u8]) -> bool {
        let len = target.as_bytes().len() + 1 + body.len();
        let hashed = self.hashed.saturating_add(len);
        // The first is what was verified, and is at most as long as that.
        if self.texts == MAX_TEXTS || (hashed > MAX_HASHED && self.texts > 0) {
            self.cut = true;
            return false;
        }
        self.texts += 1;
        self.hashed = hashed;
        let mut text = Md5::new();
        text.update(target.as_bytes());
        text.update(b"\n");
        text.update(body);
        <[u8; 16]>::from(text.finalize()) == self.digest
    }
}

fn found(target: TargetCandidate, body: BodyCandidate) -> Diagnosis {
    match (target.origin(), target.change(), body) {
        (TargetOrigin::Verified, None, BodyCandidate::AsReceived) => Diagnosis::Matches,
        _ => Diagnosis::WouldMatch { target, body },
    }
}
