//! Why no policy can be issued.

use std::{error::Error, fmt};

/// Why no policy can be issued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PolicyError {
    /// A lifetime under one second or over seven days.
    Lifetime,
    /// The clock says a time that no policy can carry (before 1970 or after 9999).
    Clock,
    /// The policy could not be written as JSON.
    Serialize,
    /// The policy could not be signed.
    Sign,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lifetime => "a policy lives between one second and seven days",
            Self::Clock => "the clock says a time before 1970 or after 9999; set it right",
            Self::Serialize => "the policy could not be written as json",
            Self::Sign => "the policy could not be signed",
        })
    }
}

impl Error for PolicyError {}
