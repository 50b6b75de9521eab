//! Why the two halves cannot be built.

use std::{error::Error, fmt};

use crate::policy::{CallbackDirectiveError, PolicyError};

/// Why the two halves cannot be built.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OssUploadsError {
    /// No region.
    NoRegion,
    /// No callback URL.
    NoCallback,
    /// No ticket key.
    NoTicketKey,
    /// A callback URL is not under the prefix that the proxy strips.
    ProxyPrefix,
    /// The callback is none that OSS would call, or that the layer would take.
    Callback(CallbackDirectiveError),
    /// No policy can be made with these settings.
    Policy(PolicyError),
}

impl fmt::Display for OssUploadsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRegion => "name the region that policies are signed for, such as cn-hangzhou",
            Self::NoCallback => "name the url that oss calls after an upload",
            Self::NoTicketKey => {
                "give a ticket key: without tickets anybody can have oss sign a callback for your url"
            }
            Self::ProxyPrefix => {
                "every callback url must be under the prefix that the proxy strips: oss calls the proxy"
            }
            Self::Callback(_) => "the callback cannot be asked for",
            Self::Policy(_) => "no policy can be made with these settings",
        })
    }
}

impl Error for OssUploadsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Callback(why) => Some(why),
            Self::Policy(why) => Some(why),
            _ => None,
        }
    }
}

impl From<PolicyError> for OssUploadsError {
    fn from(why: PolicyError) -> Self {
        Self::Policy(why)
    }
}
