//! What the client is handed.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    credentials::Credentials,
    directive::CallbackDirective,
    document::{self, Condition},
    error::PolicyError,
    signature,
};
use crate::protocol::{ObjectPrefix, SizeRange, UploadUrl};

/// What every token of a service has in common.
#[derive(Clone, Debug)]
pub(super) struct Issue {
    pub(super) credentials: Credentials,
    pub(super) host: UploadUrl,
    pub(super) prefix: ObjectPrefix,
    pub(super) callback: CallbackDirective,
    pub(super) size: SizeRange,
    pub(super) lifetime: Duration,
}

/// The token of Alibaba's sample application servers, with its names and in its order.
#[derive(Serialize)]
struct LegacyToken<'a> {
    accessid: &'a str,
    host: &'a str,
    policy: &'a str,
    signature: &'a str,
    /// In Unix seconds, the same instant as in the policy.
    expire: i64,
    dir: &'a str,
    callback: &'a str,
}

impl Issue {
    /// A token as JSON.
    pub(super) fn token(&self, now: SystemTime) -> Result<Vec<u8>, PolicyError> {
        let expire = expiry(now, self.lifetime)?;
        let conditions = [
            Condition::StartsWith("key", self.prefix.as_str()),
            Condition::ContentLengthRange(self.size),
            // OSS does not check a field that the policy leaves out.
            Condition::Equals("callback", self.callback.encoded()),
        ];
        let policy = document::encode(expire, &conditions)?;
        let signature = signature::v1(&self.credentials, &policy)?;
        let token = LegacyToken {
            accessid: self.credentials.access_key_id(),
            host: self.host.as_str(),
            policy: &policy,
            signature: &signature,
            expire: expire.as_second(),
            dir: self.prefix.as_str(),
            callback: self.callback.encoded(),
        };
        serde_json::to_vec(&token).map_err(|_| PolicyError::Serialize)
    }
}

/// A whole second, so that the policy and the token name the same instant.
fn expiry(now: SystemTime, lifetime: Duration) -> Result<Timestamp, PolicyError> {
    let since_1970 = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|now| now.checked_add(lifetime))
        .ok_or(PolicyError::Clock)?;
    let seconds = i64::try_from(since_1970.as_secs()).map_err(|_| PolicyError::Clock)?;
    let expiry = Timestamp::from_second(seconds).map_err(|_| PolicyError::Clock)?;
    Ok(expiry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pl_11_expiry_is_an_exact_instant_or_an_error() {
        let at = |seconds: u64, nanos: u32| {
            SystemTime::UNIX_EPOCH
                .checked_add(Duration::new(seconds, nanos))
                .unwrap()
        };
        let text =
            |now, lifetime| expiry(now, Duration::from_secs(lifetime)).map(|t| format!("{t:.3}"));
        assert_eq!(text(at(0, 0), 30).unwrap(), "1970-01-01T00:00:30.000Z");
        // A second before midnight, in a leap year, across the end of the year.
        assert_eq!(
            text(at(1_709_164_799, 999_999_999), 1).unwrap(),
            "2024-02-29T00:00:00.000Z"
        );
        assert_eq!(
            text(at(1_735_689_599, 0), 1).unwrap(),
            "2025-01-01T00:00:00.000Z"
        );
        assert_eq!(
            text(at(253_402_207_200, 0), 0).unwrap(),
            "9999-12-30T22:00:00.000Z"
        );
        assert_eq!(text(at(253_402_300_800, 0), 0), Err(PolicyError::Clock));
        assert_eq!(
            text(at(i64::MAX as u64, 0), u64::MAX),
            Err(PolicyError::Clock)
        );
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(text(before_1970, 30), Err(PolicyError::Clock));
    }
}
