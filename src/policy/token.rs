//! What the client is handed.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{
    credentials::Credentials,
    directive::CallbackDirective,
    document::{self, Clause},
    error::PolicyError,
    moment::expiry,
    signature::v1,
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
            Clause::StartsWith("key", self.prefix.as_str()),
            Clause::ContentLengthRange(self.size),
            // OSS does not check a field that the policy leaves out.
            Clause::Is("callback", self.callback.encoded()),
        ];
        let policy = document::encode(expire, &conditions)?;
        let signature = v1::sign(&self.credentials, &policy)?;
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
