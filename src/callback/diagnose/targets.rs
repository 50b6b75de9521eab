//! The targets that are tried.

use std::str;

use http::{HeaderMap, HeaderName, request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::{
    percent,
    target::{TargetCandidate, TargetChange as Change, TargetOrigin as Origin},
};
use crate::callback::config::Rules;

/// The most targets that are tried.
const MAX_TARGETS: usize = 64;

/// The most prefixes of the rules that are tried.
const MAX_PREFIXES: usize = 16;

/// The longest header that is looked at, in bytes.
const MAX_HEADER_LEN: usize = 8 * 1024;

/// In which proxies say what they were asked for, in this order: Traefik and Caddy when they ask for permission,
/// nginx by custom, IIS and Azure, IIS rewriting, Envoy, Traefik replacing a path, Kong.
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

/// What a query that was decoded on the way looked like before: all but its structure is encoded.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'?')
    .remove(b'&')
    .remove(b'=')
    .remove(b'%')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The targets that OSS may have signed, the most likely first, and whether there were more.
pub(super) fn candidates(parts: &Parts, rules: &Rules) -> (Vec<TargetCandidate>, bool) {
    let own = own(parts, rules);
    let mut bases = own.clone();
    for (_, target) in &own {
        from_headers(&parts.headers, target, &mut bases);
        from_prefixes(&parts.headers, target, rules, &mut bases);
    }
    let mut all = Candidates {
        list: Vec::new(),
        cut: rules.diagnose_prefixes().len() > MAX_PREFIXES,
    };
    for (origin, target) in &bases {
        all.push(origin, None, target.signed());
    }
    for (origin, target) in &bases {
        if all.list.len() == MAX_TARGETS {
            all.cut = true;
            break;
        }
        target.changes(|change, text| all.push(origin, Some(change), text));
    }
    (all.list, all.cut)
}

struct Candidates {
    list: Vec<TargetCandidate>,
    cut: bool,
}

impl Candidates {
    fn push(&mut self, origin: &Origin, change: Option<Change>, text: Vec<u8>) {
        if self.list.iter().any(|known| known.as_bytes() == text) {
            return;
        }
        if self.list.len() == MAX_TARGETS {
            self.cut = true;
            return;
        }
        let candidate = TargetCandidate::new(origin.clone(), change, text);
        self.list.push(candidate);
    }
}

/// A path and a query with its `?`, as they were written.
#[derive(Clone, Eq, PartialEq)]
struct Target {
    path: String,
    query: String,
}

impl Target {
    fn new(path: impl Into<String>, query: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            query: query.into(),
        }
    }

    fn split(target: &str) -> Self {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        Self::new(path, query)
    }

    fn decoded(&self) -> Vec<u8> {
        percent_decode(self.path.as_bytes()).collect()
    }

    fn signed(&self) -> Vec<u8> {
        [&*self.decoded(), self.query.as_bytes()].concat()
    }

    fn changes(&self, mut take: impl FnMut(Change, Vec<u8>)) {
        let decoded = self.decoded();
        let query = self.query.as_bytes();
        if query.is_empty() {
            take(Change::QuestionMarkAdded, [&*decoded, b"?"].concat());
        } else {
            take(Change::QueryDropped, decoded.clone());
        }
        match decoded.strip_suffix(b"/") {
            Some(shorter) if !shorter.is_empty() => {
                take(Change::SlashRemoved, [shorter, query].concat());
            }
            _ => take(Change::SlashAdded, [&*decoded, b"/", query].concat()),
        }
        take(Change::SlashDoubled, [b"/", &*decoded, query].concat());
        take(
            Change::PathNotDecoded,
            [self.path.as_bytes(), query].concat(),
        );
        let twice: Vec<u8> = percent_decode(&decoded).collect();
        take(Change::PathDecodedTwice, [&*twice, query].concat());
        let spaced = replace(&decoded, b'+', b' ');
        take(Change::PathPlusAsSpace, [&*spaced, query].concat());
        let plussed = replace(&decoded, b' ', b'+');
        take(Change::PathSpaceAsPlus, [&*plussed, query].concat());
        for (change, query) in [
            (Change::QueryDecoded, percent_decode(query).collect()),
            (
                Change::QueryEncoded,
                percent_encode(query, QUERY).to_string().into_bytes(),
            ),
            (
                Change::QueryPlusAsPercent20,
                self.query.replace('+', "%20").into_bytes(),
            ),
            (
                Change::QueryPercent20AsPlus,
                self.query.replace("%20", "+").into_bytes(),
            ),
            (
                Change::QueryHexCase,
                percent::with_case(query, u8::to_ascii_uppercase),
            ),
            (
                Change::QueryHexCase,
                percent::with_case(query, u8::to_ascii_lowercase),
            ),
        ] {
            take(change, [&*decoded, &*query].concat());
        }
    }
}

/// What the request itself says.
fn own(parts: &Parts, rules: &Rules) -> Vec<(Origin, Target)> {
    let verified = rules.signed_target(parts);
    #[cfg(feature = "axum")]
    let original = parts.extensions.get::<axum::extract::OriginalUri>();
    let all = [
        (Origin::Verified, verified.as_ref()),
        (Origin::RequestUri, parts.uri.path_and_query()),
        #[cfg(feature = "axum")]
        (
            Origin::OriginalUri,
            original.and_then(|original| original.0.path_and_query()),
        ),
    ];
    let mut own: Vec<(Origin, Target)> = Vec::new();
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

fn from_headers(headers: &HeaderMap, own: &Target, bases: &mut Vec<(Origin, Target)>) {
    for name in TARGET_HEADERS {
        let Some(theirs) = text(headers, &name).and_then(in_origin_form) else {
            continue;
        };
        let theirs = Target::split(theirs);
        let path = Target::new(&*theirs.path, &*own.query);
        let query = Target::new(&*own.path, &*theirs.query);
        bases.push((Origin::Header(name.clone()), theirs));
        bases.push((Origin::HeaderPath(name.clone()), path));
        // Many of them hold a path alone, which says nothing of the query.
        if !query.query.is_empty() {
            bases.push((Origin::HeaderQuery(name), query));
        }
    }
}

fn from_prefixes(
    headers: &HeaderMap,
    own: &Target,
    rules: &Rules,
    bases: &mut Vec<(Origin, Target)>,
) {
    if let Some(prefixes) = text(headers, &X_FORWARDED_PREFIX) {
        // Several proxies in a row append to it, the outermost first.
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
        bases.push((Origin::ForwardedPrefix, Target::new(path, &*own.query)));
    }
    for prefix in rules.diagnose_prefixes().iter().take(MAX_PREFIXES) {
        let added = Target::new(format!("{prefix}{}", own.path), &*own.query);
        bases.push((Origin::PrefixAdded(prefix.clone()), added));
        let rest = match own.path.strip_prefix(&**prefix) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => continue,
        };
        let stripped = Target::new(rest, &*own.query);
        bases.push((Origin::PrefixStripped(prefix.clone()), stripped));
    }
}

/// The first value of a header, if it is text and not too long.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let value = headers.get(name)?.as_bytes();
    // A target that was decoded on the way can be UTF-8.
    str::from_utf8(value)
        .ok()
        .filter(|text| text.len() <= MAX_HEADER_LEN)
}

/// Path and query of what may be a whole URL.
fn in_origin_form(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (_, rest) = target.split_once("://")?;
    rest.find('/').and_then(|at| rest.get(at..))
}

fn replace(text: &[u8], from: u8, to: u8) -> Vec<u8> {
    text.iter()
        .map(|&byte| if byte == from { to } else { byte })
        .collect()
}
