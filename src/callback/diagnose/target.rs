//! A target that may have been signed.

use std::fmt::{self, Write as _};

use http::HeaderName;

/// A target that OSS may have signed: where it comes from, and what was done to it.
#[derive(Clone, Eq, PartialEq)]
pub struct TargetCandidate {
    origin: TargetOrigin,
    change: Option<TargetChange>,
    text: Vec<u8>,
}

impl TargetCandidate {
    pub(super) fn new(origin: TargetOrigin, change: Option<TargetChange>, text: Vec<u8>) -> Self {
        Self {
            origin,
            change,
            text,
        }
    }

    /// Where it comes from.
    #[must_use]
    pub fn origin(&self) -> &TargetOrigin {
        &self.origin
    }

    /// What was changed in it, if it is not as it comes from there.
    #[must_use]
    pub fn change(&self) -> Option<TargetChange> {
        self.change
    }

    /// What OSS signs of it: the decoded path, and the query with its `?` as it is.
    ///
    /// It may have been in a header, and can hold anything: escape it before it is shown to anybody.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }
}

impl fmt::Debug for TargetCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetCandidate")
            .field("origin", &self.origin)
            .field("change", &self.change)
            .field("text", &format_args!("{}", Escaped(&self.text)))
            .finish()
    }
}

/// The text in quotes, escaped and not too long; then where it comes from.
impl fmt::Display for TargetCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which is {}", Escaped(&self.text), self.origin)?;
        match self.change {
            Some(change) => write!(f, " {change}"),
            None => Ok(()),
        }
    }
}

/// Where a [`TargetCandidate`] comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TargetOrigin {
    /// What was verified: the answer of [`target_uri`](crate::OssCallbackLayer::target_uri), else axum's
    /// `OriginalUri`, else the URI of the request.
    Verified,
    /// The URI of the request, where something else was verified.
    RequestUri,
    /// axum's `OriginalUri`, where something else was verified.
    OriginalUri,
    /// Path and query of this header.
    Header(HeaderName),
    /// The path of this header, with the query of the request.
    HeaderPath(HeaderName),
    /// The path of the request, with the query of this header.
    HeaderQuery(HeaderName),
    /// The target of the request behind what `x-forwarded-prefix` says.
    ForwardedPrefix,
    /// The target of the request behind this prefix of [`diagnose_prefix`](crate::OssCallbackLayer::diagnose_prefix).
    PrefixAdded(Box<str>),
    /// The target of the request without this prefix of
    /// [`diagnose_prefix`](crate::OssCallbackLayer::diagnose_prefix).
    PrefixStripped(Box<str>),
}

impl fmt::Display for TargetOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified => f.write_str("the target that was verified"),
            Self::RequestUri => f.write_str("the uri of the request"),
            Self::OriginalUri => f.write_str("axum's OriginalUri"),
            Self::Header(name) => write!(f, "the target in the header {name}"),
            Self::HeaderPath(name) => {
                write!(f, "the path in the header {name} with the query received")
            }
            Self::HeaderQuery(name) => {
                write!(f, "the path received with the query in the header {name}")
            }
            Self::ForwardedPrefix => f.write_str(
                "the target received behind the prefix in the header x-forwarded-prefix",
            ),
            Self::PrefixAdded(prefix) => {
                let prefix = Escaped(prefix.as_bytes());
                write!(f, "the target received behind the prefix {prefix}")
            }
            Self::PrefixStripped(prefix) => {
                let prefix = Escaped(prefix.as_bytes());
                write!(f, "the target received without the prefix {prefix}")
            }
        }
    }
}

macro_rules! changes {
    ($($(#[$doc:meta])* $change:ident, $text:literal;)*) => {
        /// What was done to a target, to get what was signed.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum TargetChange {
            $($(#[$doc])* $change,)*
        }

        impl fmt::Display for TargetChange {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$change => $text,)*
                })
            }
        }
    };
}

changes! {
    /// The query left out: something in front adds it.
    QueryDropped, "without its query";
    /// A `?` added with nothing behind it, which many proxies drop.
    QuestionMarkAdded, "with a ? and nothing behind it";
    /// A slash added at the end of the path.
    SlashAdded, "with a slash at the end of the path";
    /// The slash at the end of the path left out.
    SlashRemoved, "without the slash at the end of the path";
    /// A slash added at the start of the path, where a proxy makes one of two.
    SlashDoubled, "with two slashes at the start of the path";
    /// The path as it stands, without decoding it: something in front decodes it.
    PathNotDecoded, "with the path not decoded, which something in front has done already";
    /// The path decoded twice: something in front encodes it.
    PathDecodedTwice, "with the path decoded twice, because something in front encodes it";
    /// A space in the path for each `+`.
    PathPlusAsSpace, "with a space for each + in the path";
    /// A `+` in the path for each space.
    PathSpaceAsPlus, "with a + for each space in the path";
    /// The query decoded: something in front encodes it.
    QueryDecoded, "with the query decoded, because something in front encodes it";
    /// The query encoded: something in front decodes it.
    QueryEncoded, "with the query encoded, because something in front decodes it";
    /// `%20` in the query for each `+`.
    QueryPlusAsPercent20, "with %20 for each + in the query";
    /// `+` in the query for each `%20`.
    QueryPercent20AsPlus, "with + for each %20 in the query";
    /// The escapes of the query in the other case, upper or lower.
    QueryHexCase, "with the escapes of the query in the other case";
}

/// Bytes of a request as they may stand in a log: escaped, in quotes, and cut when they are long.
pub(super) struct Escaped<'t>(pub(super) &'t [u8]);

impl Escaped<'_> {
    /// A character more than this is not shown.
    const MAX_CHARS: usize = 160;
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No character has more than four bytes.
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
