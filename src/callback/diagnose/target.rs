//! The targets that OSS may have signed.

use std::{
    fmt::{self, Write as _},
    str,
};

use super::change::{Known, Target, TargetChange};
use crate::callback::config::VerifierConfig;
use http::{HeaderMap, HeaderName, request::Parts};

/// A target that OSS may have signed: its origin, and the change applied to it.
pub(super) struct Candidate {
    pub(super) origin: TargetOrigin,
    pub(super) change: Option<TargetChange>,
    /// The text that OSS signs for this target.
    pub(super) text: Vec<u8>,
}

/// Where the target of a [`Diagnosis::WouldMatch`](super::Diagnosis::WouldMatch) comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TargetOrigin {
    /// The verified target: the result of [`target_uri`](crate::OssCallbackLayer::target_uri), or
    /// else axum's `OriginalUri`, or else the URI of the request.
    Verified,
    /// The URI of the request, if it is not the verified target.
    RequestUri,
    /// axum's `OriginalUri`, if it is not the verified target.
    OriginalUri,
    /// A target that [`OssUploads`](crate::OssUploads) issues callbacks for.
    Issued,
    /// The path and query in this header.
    Header(HeaderName),
    /// The path in this header, with the query of the request.
    HeaderPath(HeaderName),
    /// The path of the request, with the query in this header.
    HeaderQuery(HeaderName),
    /// The target of the request after the prefix in `x-forwarded-prefix`.
    ForwardedPrefix,
    /// The target of the request after this prefix of
    /// [`diagnose_proxy_prefix`](crate::OssCallbackLayer::diagnose_proxy_prefix).
    PrefixAdded(Box<str>),
    /// The target of the request without this prefix of
    /// [`diagnose_proxy_prefix`](crate::OssCallbackLayer::diagnose_proxy_prefix).
    PrefixStripped(Box<str>),
}

impl fmt::Display for TargetOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified => f.write_str("the target that the layer verified"),
            Self::RequestUri => f.write_str("the URI of the request"),
            Self::OriginalUri => f.write_str("axum's OriginalUri"),
            Self::Issued => f.write_str("the target of the configured callback URL"),
            Self::Header(name) => write!(f, "the target in the header {name}"),
            Self::HeaderPath(name) => {
                write!(f, "the path in the header {name} with the received query")
            }
            Self::HeaderQuery(name) => {
                write!(f, "the received path with the query in the header {name}")
            }
            Self::ForwardedPrefix => {
                f.write_str("the received target after the prefix in the header x-forwarded-prefix")
            }
            Self::PrefixAdded(prefix) => {
                let prefix = Escaped(prefix.as_bytes());
                write!(f, "the received target after the prefix {prefix}")
            }
            Self::PrefixStripped(prefix) => {
                let prefix = Escaped(prefix.as_bytes());
                write!(f, "the received target without the prefix {prefix}")
            }
        }
    }
}

/// Formats bytes of a request for a log: escaped, in quotes, and truncated.
pub(super) struct Escaped<'t>(pub(super) &'t [u8]);

impl Escaped<'_> {
    /// The most characters that are shown.
    const MAX_CHARS: usize = 160;
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A character has at most four bytes.
        let start = self.0.get(..Self::MAX_CHARS * 4).unwrap_or(self.0);
        let text = String::from_utf8_lossy(start);
        f.write_char('"')?;
        for char in text.chars().take(Self::MAX_CHARS) {
            write!(f, "{}", char.escape_debug())?;
        }
        f.write_char('"')?;
        let cut = start.len() < self.0.len() || text.chars().nth(Self::MAX_CHARS).is_some();
        f.write_str(if cut { " (cut)" } else { "" })
    }
}

/// The most targets that are tried.
const MAX_TARGETS: usize = 64;

/// The most prefixes of [`VerifierConfig::diagnose_proxy_prefix`] that are tried.
const MAX_PREFIXES: usize = 16;

/// The longest header value that is tried, in bytes.
const MAX_HEADER_LEN: usize = 8 * 1024;

/// The headers in which proxies forward the target that they received. In this order: Traefik and
/// Caddy in authorization subrequests, nginx by convention, IIS and Azure, IIS URL Rewrite, Envoy,
/// Traefik's ReplacePath, Kong.
const TARGET_HEADERS: [HeaderName; 7] = [
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-replaced-path"),
    HeaderName::from_static("x-forwarded-path"),
];

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Returns the targets that OSS may have signed, the most likely first, and whether a limit omitted
/// some.
pub(super) fn candidates(parts: &Parts, config: &VerifierConfig) -> (Vec<Candidate>, bool) {
    let own = own(parts, config);
    let mut bases = own.clone();
    bases.extend(config.issued_targets().iter().map(|issued| {
        let target = Target::split(&issued.raw);
        (TargetOrigin::Issued, target)
    }));
    for (_, target) in &own {
        from_headers(&parts.headers, target, &mut bases);
        from_prefixes(&parts.headers, target, config, &mut bases);
    }
    let known = Known::of(bases.iter().map(|(_, target)| target));
    let mut all = Candidates {
        list: Vec::new(),
        cut: config.diagnose_proxy_prefixes().len() > MAX_PREFIXES,
    };
    // Unchanged targets come before changed ones, so that the simplest explanation is found first.
    for (origin, target) in &bases {
        all.push(origin, None, target.signed());
    }
    for (origin, target) in &bases {
        if all.list.len() == MAX_TARGETS {
            all.cut = true;
            break;
        }
        target.changes(&known, |change, text| {
            all.push(origin, Some(change), text);
        });
    }
    (all.list, all.cut)
}

struct Candidates {
    list: Vec<Candidate>,
    cut: bool,
}

impl Candidates {
    fn push(&mut self, origin: &TargetOrigin, change: Option<TargetChange>, text: Vec<u8>) {
        // The first origin of a text is the most likely one, and the one that the advice names.
        if self.list.iter().any(|known| known.text == text) {
            return;
        }
        if self.list.len() == MAX_TARGETS {
            self.cut = true;
            return;
        }
        self.list.push(Candidate {
            origin: origin.clone(),
            change,
            text,
        });
    }
}

/// Returns the targets that come from the request itself. The verified target, if there is
/// one, comes first.
fn own(parts: &Parts, config: &VerifierConfig) -> Vec<(TargetOrigin, Target)> {
    let verified = config.signed_target(parts);
    #[cfg(feature = "axum")]
    let original = parts.extensions.get::<axum::extract::OriginalUri>();
    let all = [
        (TargetOrigin::Verified, verified.as_deref()),
        (TargetOrigin::RequestUri, parts.uri.path_and_query()),
        #[cfg(feature = "axum")]
        (
            TargetOrigin::OriginalUri,
            original.and_then(|original| original.0.path_and_query()),
        ),
    ];
    let mut own: Vec<(TargetOrigin, Target)> = Vec::new();
    for (origin, target) in all {
        let target = target.map(|target| Target::split(target.as_str()));
        match target {
            Some(target) if own.iter().all(|(_, known)| *known != target) => {
                own.push((origin, target));
            }
            _ => {}
        }
    }
    own
}

fn from_headers(headers: &HeaderMap, own: &Target, bases: &mut Vec<(TargetOrigin, Target)>) {
    for name in TARGET_HEADERS {
        let Some(theirs) = text(headers, &name).and_then(in_origin_form) else {
            continue;
        };
        let theirs = Target::split(theirs);
        let path = Target::new(&*theirs.path, &*own.query);
        let query = Target::new(&*own.path, &*theirs.query);
        bases.push((TargetOrigin::Header(name.clone()), theirs));
        bases.push((TargetOrigin::HeaderPath(name.clone()), path));
        // Several of these headers contain only a path, so a missing query means nothing.
        if !query.query.is_empty() {
            bases.push((TargetOrigin::HeaderQuery(name), query));
        }
    }
}

fn from_prefixes(
    headers: &HeaderMap,
    own: &Target,
    config: &VerifierConfig,
    bases: &mut Vec<(TargetOrigin, Target)>,
) {
    if let Some(prefixes) = text(headers, &X_FORWARDED_PREFIX) {
        // Each proxy of a chain appends its prefix, the outermost first.
        let mut path = String::new();
        for prefix in prefixes
            .split(',')
            .map(|prefix| prefix.trim().trim_matches('/'))
        {
            if !prefix.is_empty() {
                path.push('/');
                path.push_str(prefix);
            }
        }
        path.push_str(&own.path);
        bases.push((
            TargetOrigin::ForwardedPrefix,
            Target::new(path, &*own.query),
        ));
    }
    for prefix in config.diagnose_proxy_prefixes().iter().take(MAX_PREFIXES) {
        let added = Target::new(format!("{prefix}{}", own.path), &*own.query);
        bases.push((TargetOrigin::PrefixAdded(prefix.clone()), added));
        // Only whole segments are stripped: `/g` is not a prefix of `/gway`.
        let rest = match own.path.strip_prefix(&**prefix) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => continue,
        };
        let stripped = Target::new(rest, &*own.query);
        bases.push((TargetOrigin::PrefixStripped(prefix.clone()), stripped));
    }
}

/// Returns the first value of a header, if it is UTF-8 and not too long.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let value = headers.get(name)?.as_bytes();
    // `HeaderValue::to_str` accepts only ASCII, but a proxy may have decoded the target.
    str::from_utf8(value)
        .ok()
        .filter(|text| text.len() <= MAX_HEADER_LEN)
}

/// Returns the path and query of a target that may be an absolute URL.
fn in_origin_form(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (_, rest) = target.split_once("://")?;
    rest.find('/').and_then(|at| rest.get(at..))
}
