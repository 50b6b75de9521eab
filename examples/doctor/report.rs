//! The output: a list for people, and a file to attach to an issue.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::{
    finding::{Finding, Outcome},
    observations::Observation,
};

/// What the doctor found.
#[derive(Serialize)]
pub struct Report {
    version: &'static str,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observations: Vec<Observation>,
    #[serde(skip)]
    secrets: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        findings: Vec<Finding>,
        observations: Vec<Observation>,
        secrets: Vec<String>,
    ) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            findings,
            observations,
            secrets,
        }
    }

    /// Returns the findings, in the order of the checks.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns the observations; empty unless they were asked for.
    #[must_use]
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// Returns whether no check failed.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.outcome != Outcome::Failed)
    }

    /// Returns the report as JSON, without secrets.
    ///
    /// # Errors
    ///
    /// Fails if the report cannot be written as JSON, which is a fault of this program.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(self.without_secrets(text))
    }

    /// Removes the secret and the security token, wherever OSS or an application repeated them.
    fn without_secrets(&self, mut text: String) -> String {
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret.as_str(), "[removed]");
        }
        text
    }

    fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        for finding in &self.findings {
            writeln!(text, "{:<8} {}", finding.outcome.label(), finding.check)?;
            writeln!(text, "         did: {}", finding.did)?;
            writeln!(text, "         got: {}", finding.got)?;
            if !finding.change.is_empty() {
                writeln!(text, "         change: {}", finding.change)?;
            }
        }
        for observation in &self.observations {
            writeln!(text, "observed {}", observation.question)?;
            writeln!(text, "         sent: {}", observation.sent)?;
            writeln!(text, "         got: {}", observation.answer)?;
            for callback in &observation.callbacks {
                writeln!(text, "         callback: {callback}")?;
            }
        }
        Ok(self.without_secrets(text))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text()?)
    }
}

impl fmt::Debug for Report {
    /// Omits the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("findings", &self.findings)
            .field("observations", &self.observations)
            .finish_non_exhaustive()
    }
}
