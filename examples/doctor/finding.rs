//! The result of a check: its request, the answer, and the remedy.

use serde::Serialize;

/// The result of a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// It works.
    Passed,
    /// It works, with a restriction that matters to some applications.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be checked.
    Skipped,
}

impl Outcome {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// The result of a check, with its evidence.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The name of the check, which is stable.
    pub check: &'static str,
    /// The result.
    pub outcome: Outcome,
    /// What was done.
    pub did: String,
    /// What came back.
    pub got: String,
    /// What to change; empty if nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub change: String,
}

impl Finding {
    pub(crate) fn passed(
        check: &'static str,
        did: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self::new(check, Outcome::Passed, did, got, "")
    }

    pub(crate) fn warning(
        check: &'static str,
        did: impl Into<String>,
        got: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self::new(check, Outcome::Warning, did, got, change)
    }

    pub(crate) fn failed(
        check: &'static str,
        did: impl Into<String>,
        got: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self::new(check, Outcome::Failed, did, got, change)
    }

    /// Creates the finding for a check that was not made, because of `got`.
    pub(crate) fn skipped(
        check: &'static str,
        got: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self::new(check, Outcome::Skipped, "nothing", got, change)
    }

    fn new(
        check: &'static str,
        outcome: Outcome,
        did: impl Into<String>,
        got: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self {
            check,
            outcome,
            did: did.into(),
            got: got.into(),
            change: change.into(),
        }
    }
}
