//! Why a signature does not match: which other text it was made over.

mod body;
mod diagnosis;
mod json;
mod percent;
mod search;
mod target;
mod targets;

pub use body::BodyCandidate;
pub use diagnosis::Diagnosis;
pub use search::diagnose;
pub use target::{TargetCandidate, TargetChange, TargetOrigin};
