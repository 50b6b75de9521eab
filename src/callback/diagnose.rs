//! Finds out why a signature does not match: which other text OSS signed.
//!
//! `diagnose/target.rs` lists the targets that OSS may have signed, with the changes of
//! `diagnose/change.rs`, and `diagnose/body.rs` the bodies. This file tries their combinations and
//! turns the result into advice.

mod body;
mod change;
mod target;

use std::fmt;

use bytes::Bytes;
use http::request::Parts;
use md5::{Digest as _, Md5};

pub use body::BodyCandidate;
pub use change::TargetChange;
pub use target::TargetOrigin;

use self::target::{Candidate, Escaped};
use super::{config::VerifierConfig, verifier::signature};
use crate::key::PublicKey;

/// The most texts that are hashed for one diagnosis.
const MAX_TEXTS: usize = 256;

/// The most bytes that are hashed for one diagnosis, over all texts: about ten milliseconds.
const MAX_HASHED: usize = 4 * 1024 * 1024;

/// Searches for the text that OSS signed when the signature of a request does not match. The most
/// common causes are a proxy that rewrites the path, and a body that was parsed and serialized
/// before the layer received it.
///
/// `key` is the key that the callback names, `config` and `body` are those that the request was
/// verified with. A signature contains the MD5 of the signed text, so candidates can be compared
/// without sending a request:
///
/// * targets:
///   * the target according to `config`, the URI of the request, and axum's `OriginalUri`;
///   * the targets of the callback URLs, if the layer comes from [`OssUploads`](crate::OssUploads);
///   * the values of `X-Forwarded-Uri`, `X-Original-URI`, `X-Original-URL`, `X-Rewrite-URL`,
///     `X-Envoy-Original-Path`, `X-Replaced-Path` and `X-Forwarded-Path`;
///   * the target after `X-Forwarded-Prefix`, after each prefix of
///     [`diagnose_proxy_prefix`](VerifierConfig::diagnose_proxy_prefix), and without each of these prefixes;
///   * each of them with the changes of [`TargetChange`]: among others without one parameter of its
///     query, with a parameter or the fragment of another one, and without its fragment;
/// * bodies: those of [`BodyCandidate`].
///
/// [`OssCallbackLayer`](crate::OssCallbackLayer) calls this function for each signature that does
/// not match, and logs the result, if the level of the target `tower_aliyun_oss::diagnose` is
/// `DEBUG`.
///
/// **A diagnosis is a hint for the reader of a log. Never accept a request because of it.** Most
/// candidates come from headers, which anybody can write.
///
/// # Limits
///
/// At most 64 targets, 256 texts and 4 MiB of text are hashed for any request. Headers longer than
/// 8 KiB are ignored, and a body longer than 16 KiB is tried only as received. Nothing is hashed
/// unless the signature was made with the key, so an attacker needs a signature of OSS to cause a
/// search.
///
/// ```
/// use http::Request;
/// use tower_aliyun_oss::callback::{Diagnosis, VerifierConfig, diagnose};
/// use tower_aliyun_oss::key::PublicKey;
///
/// // https://gosspublic.alicdn.com/callback_pub_key_v1.pem
/// let key = PublicKey::from_pem(b"-----BEGIN PUBLIC KEY-----
/// MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs
/// C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==
/// -----END PUBLIC KEY-----
/// ")?;
/// // OSS signed /index.php?id=1&index=2, and a proxy dropped the query.
/// let request = Request::post("/index.php")
///     .header("authorization", "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==")
///     .header("x-original-uri", "/index.php?id=1&index=2")
///     .body(())?;
/// let (parts, ()) = request.into_parts();
///
/// let diagnosis = diagnose(&parts, b"bucket=yonghu-test", &key, &VerifierConfig::new());
/// assert!(matches!(diagnosis, Diagnosis::WouldMatch { .. }));
/// assert!(diagnosis.to_string().contains("x-original-uri"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn diagnose(parts: &Parts, body: &[u8], key: &PublicKey, config: &VerifierConfig) -> Diagnosis {
    let Ok(signature) = signature(&parts.headers) else {
        return Diagnosis::NoSignature;
    };
    // The public key decrypts an RSA signature to the digest of the signed text. A forged signature
    // decrypts to garbage, so it costs one RSA operation and no search.
    match key.recover_md5(signature.as_bytes()) {
        Some(digest) => Search::new(digest).run(parts, body, config),
        None => Diagnosis::OtherKey,
    }
}

/// The result of [`diagnose()`]. Its [`Display`](fmt::Display) output is a sentence that names the
/// cause and the remedy.
///
/// The only part of the request that the sentence contains is the signed target, escaped and
/// truncated to 160 characters.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum Diagnosis {
    /// The request has no signature: `authorization` is absent, repeated or not Base64.
    NoSignature,
    /// The signature was not made with this key.
    OtherKey,
    /// The signature matches the request as received. If the request was rejected, the reason is
    /// another one.
    Matches,
    /// The signature was made with this key over this target and this body.
    #[non_exhaustive]
    WouldMatch {
        /// The text that was signed for the target: the decoded path, and the query as sent,
        /// including its `?`. It may come from a header and can contain anything, so escape it
        /// before showing it, as [`Display`](fmt::Display) and [`Debug`](fmt::Debug) do.
        target: Bytes,
        /// Where the target comes from.
        origin: TargetOrigin,
        /// The change applied to the target, or `None` if it is exactly as it came from its origin.
        change: Option<TargetChange>,
        /// The body that was signed.
        body: BodyCandidate,
    },
    /// The signature was made with this key, but over none of the texts that were tried.
    #[non_exhaustive]
    NoCandidate {
        /// The number of texts that were tried.
        texts: usize,
        /// Whether a limit left candidates untried.
        cut: bool,
    },
}

// Not derived, because the target is escaped and truncated here as well.
impl fmt::Debug for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSignature => f.write_str("NoSignature"),
            Self::OtherKey => f.write_str("OtherKey"),
            Self::Matches => f.write_str("Matches"),
            Self::WouldMatch {
                target,
                origin,
                change,
                body,
            } => f
                .debug_struct("WouldMatch")
                .field("target", &format_args!("{}", Escaped(target)))
                .field("origin", origin)
                .field("change", change)
                .field("body", body)
                .finish(),
            Self::NoCandidate { texts, cut } => f
                .debug_struct("NoCandidate")
                .field("texts", texts)
                .field("cut", cut)
                .finish(),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSignature => f.write_str(
                "the request has no single authorization header with a Base64 signature",
            ),
            Self::OtherKey => f.write_str(
                "the signature was not made with this key: the request is not from OSS, the \
                 signature was changed on the way, or the key source returned the wrong key for \
                 this key URL",
            ),
            Self::Matches => f.write_str("the signature matches the request as received"),
            Self::WouldMatch {
                target,
                origin,
                change,
                body,
            } => {
                let target = Escaped(target);
                write!(
                    f,
                    "the signature was made over the target {target}, which is {origin}"
                )?;
                if let Some(change) = change {
                    write!(f, " {change}")?;
                }
                write!(f, ", and {body}")?;
                advise_on_target(f, origin, *change)?;
                match body {
                    BodyCandidate::AsReceived => Ok(()),
                    _ => f.write_str(
                        "; something rewrites the body before the layer, which needs the bytes \
                         that OSS sent",
                    ),
                }
            }
            Self::NoCandidate { texts, cut } => {
                write!(
                    f,
                    "the signature was made with this key, but over none of the {texts} texts that \
                     were tried: something changes the path, the query or the body on the way, or \
                     reads the body before the layer"
                )?;
                f.write_str(if *cut {
                    " (not everything was tried)"
                } else {
                    ""
                })
            }
        }
    }
}

fn advise_on_target(
    f: &mut fmt::Formatter<'_>,
    origin: &TargetOrigin,
    change: Option<TargetChange>,
) -> fmt::Result {
    f.write_str(match origin {
        TargetOrigin::Verified => match change {
            None => "",
            Some(_) => {
                "; forward the target unchanged, write callbackUrl as it arrives here, or return \
                 the signed URI from target_uri"
            }
        },
        TargetOrigin::RequestUri => "; return the URI of the request from target_uri",
        TargetOrigin::OriginalUri => "; return the OriginalUri from target_uri",
        TargetOrigin::Issued => {
            "; something rewrites the target on the way: forward it unchanged, or set the prefix \
             that a proxy strips with proxy_prefix"
        }
        TargetOrigin::Header(_) | TargetOrigin::HeaderPath(_) | TargetOrigin::HeaderQuery(_) => {
            "; a proxy rewrites the target: forward it unchanged, or return the signed URI from \
             target_uri"
        }
        TargetOrigin::ForwardedPrefix => "; a proxy strips the prefix: put it back with target_uri",
        TargetOrigin::PrefixStripped(_) => "; a proxy adds the prefix: remove it with target_uri",
        TargetOrigin::PrefixAdded(prefix) => {
            return write!(
                f,
                "; a proxy strips the prefix: put it back with target_uri(|parts| \
                 format!(\"{}{{}}\", parts.uri.path_and_query()?).parse().ok())",
                prefix.escape_debug()
            );
        }
    })
}

struct Search {
    digest: [u8; 16],
    texts: usize,
    hashed: usize,
    /// Whether a limit stopped the search before all candidates were tried.
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

    fn run(mut self, parts: &Parts, body: &[u8], config: &VerifierConfig) -> Diagnosis {
        let (targets, cut_targets) = target::candidates(parts, config);
        // In most cases only one of the two was changed, and more often the target, so those texts
        // come first.
        for target in &targets {
            if self.tries(target, body) {
                return found(target, BodyCandidate::AsReceived);
            }
        }
        let (bodies, cut_bodies) = body::candidates(body);
        for target in &targets {
            for (candidate, text) in &bodies {
                if self.tries(target, text) {
                    return found(target, *candidate);
                }
            }
        }
        Diagnosis::NoCandidate {
            texts: self.texts,
            cut: self.cut || cut_targets || cut_bodies,
        }
    }

    fn tries(&mut self, target: &Candidate, body: &[u8]) -> bool {
        let len = target.text.len() + 1 + body.len();
        let hashed = self.hashed.saturating_add(len);
        // The first text is always hashed: it is at most as long as the one that was verified.
        if self.texts == MAX_TEXTS || (hashed > MAX_HASHED && self.texts > 0) {
            self.cut = true;
            return false;
        }
        self.texts += 1;
        self.hashed = hashed;
        // The text that the verifier hashes. Candidates are bytes, because they need not be valid
        // `CallbackTarget`s.
        let mut text = Md5::new();
        text.update(&target.text);
        text.update(b"\n");
        text.update(body);
        <[u8; 16]>::from(text.finalize()) == self.digest
    }
}

fn found(target: &Candidate, body: BodyCandidate) -> Diagnosis {
    match (&target.origin, target.change, body) {
        (TargetOrigin::Verified, None, BodyCandidate::AsReceived) => Diagnosis::Matches,
        (origin, change, body) => Diagnosis::WouldMatch {
            target: Bytes::copy_from_slice(&target.text),
            origin: origin.clone(),
            change,
            body,
        },
    }
}
