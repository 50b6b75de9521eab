//! What a diagnosis says.

use std::fmt;

use super::{
    body::BodyCandidate,
    target::{TargetCandidate, TargetOrigin},
};

/// What [`diagnose`](super::diagnose()) has found out about a signature; its [`Display`](fmt::Display) is a sentence
/// that says what to change.
///
/// The sentence holds nothing of the request but the signed target, escaped and cut to 160 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Diagnosis {
    /// There is no signature: `authorization` is absent, repeated or not Base64.
    NoSignature,
    /// The signature was not made with this key at all.
    OtherKey,
    /// The signature matches the request as it is. If it was refused, then for another reason.
    Matches,
    /// The signature was made with this key over this target and this body.
    #[non_exhaustive]
    WouldMatch {
        /// The target that was signed.
        target: TargetCandidate,
        /// The body that was signed.
        body: BodyCandidate,
    },
    /// The signature was made with this key, but over none of the texts that were tried.
    #[non_exhaustive]
    NoCandidate {
        /// How many texts were tried.
        texts: usize,
        /// Whether there were more than may be tried.
        cut: bool,
    },
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSignature => {
                f.write_str("there is no authorization header with a signature in base64")
            }
            Self::OtherKey => f.write_str(
                "the signature was not made with this key: the request is not from oss, its signature was changed on \
                 the way, or the key source has the wrong key for its key url",
            ),
            Self::Matches => f.write_str("the signature matches the request as it is"),
            Self::WouldMatch { target, body } => {
                write!(f, "the signature was made over the target {target}, and {body}")?;
                advise_on_target(f, target)?;
                match body {
                    BodyCandidate::AsReceived => Ok(()),
                    _ => f.write_str(
                        "; something writes the body anew before the layer gets it, which needs the bytes oss has sent",
                    ),
                }
            }
            Self::NoCandidate { texts, cut } => {
                write!(
                    f,
                    "the signature was made with this key, but over none of the {texts} texts that were tried: \
                     something on the way changes the path, the query or the body, or reads the body before the layer"
                )?;
                f.write_str(if *cut { " (there was more to try)" } else { "" })
            }
        }
    }
}

fn advise_on_target(f: &mut fmt::Formatter<'_>, target: &TargetCandidate) -> fmt::Result {
    f.write_str(match target.origin() {
        TargetOrigin::Verified => match target.change() {
            None => "",
            Some(_) => {
                "; have it handed on as it comes, write callbackUrl as it arrives here, or give the signed uri with \
                 target_uri"
            }
        },
        TargetOrigin::RequestUri => "; let target_uri give the uri of the request",
        TargetOrigin::OriginalUri => "; let target_uri give the OriginalUri",
        TargetOrigin::Header(_) | TargetOrigin::HeaderPath(_) | TargetOrigin::HeaderQuery(_) => {
            "; a proxy rewrites the target: have it handed on as it comes, or give the signed uri with target_uri"
        }
        TargetOrigin::ForwardedPrefix => "; a proxy strips the prefix: put it back with target_uri",
        TargetOrigin::PrefixStripped(_) => "; a proxy adds the prefix: take it off with target_uri",
        TargetOrigin::PrefixAdded(prefix) => {
            return write!(
                f,
                "; a proxy strips the prefix: put it back with \
                 target_uri(|parts| format!(\"{}{{}}\", parts.uri.path_and_query()?).parse().ok())",
                prefix.escape_debug()
            );
        }
    })
}
