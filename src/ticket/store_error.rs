//! Why a store cannot say.

use std::{error::Error, fmt, sync::Arc};

/// A store that cannot say. The callback is answered with 503: never with success.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error with its cause.
    pub fn with_source(
        kind: StoreErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(Arc::from(source.into())),
        }
    }

    /// What kind of error it is.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => {
                "the store of used tickets cannot be reached; is it running?"
            }
            StoreErrorKind::TimedOut => {
                "the store of used tickets did not answer in time; is it overloaded?"
            }
            StoreErrorKind::Full => {
                "the store of used tickets is full, and nothing in it has expired; give it a larger capacity"
            }
            StoreErrorKind::LeaseLost => {
                "the handler took longer than its lease, and another holder has the text now; give it a longer lease"
            }
            StoreErrorKind::AnswerNotKept => {
                "the handler has run for this text, and there was no room to keep its answer; give the store more \
                 room for answers"
            }
            StoreErrorKind::Unreadable => {
                "the store of used tickets holds something unreadable; does something else write to it?"
            }
            StoreErrorKind::Url => "the url of the store of used tickets is none that can be used",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Why a store cannot say.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Not reachable, or it refused.
    Unavailable,
    /// Reachable, and too slow.
    TimedOut,
    /// No room, and nothing in it has expired.
    Full,
    /// Another holder has the text now.
    LeaseLost,
    /// The handler has run, and its answer could not be kept.
    AnswerNotKept,
    /// What it holds cannot be read.
    Unreadable,
    /// The URL it stands at is none.
    Url,
}
