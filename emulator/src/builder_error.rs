//! Why there is no emulator.

use std::{error::Error, fmt};

use tower_aliyun_oss::protocol::Bucket;

/// Why the settings are not those of an emulator.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EmulatorError {
    /// There is no bucket.
    NoBucket,
    /// There are two of this name.
    DuplicateBucket(Bucket),
    /// This bucket has more than ten rules of CORS.
    CorsRules(Bucket),
}

impl fmt::Display for EmulatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBucket => f.write_str("the emulator has no bucket: add one with .bucket(…)"),
            Self::DuplicateBucket(name) => write!(f, "the bucket {name} was added twice"),
            Self::CorsRules(name) => {
                write!(
                    f,
                    "the bucket {name} has more than ten rules of cors, and oss takes ten"
                )
            }
        }
    }
}

impl Error for EmulatorError {}
