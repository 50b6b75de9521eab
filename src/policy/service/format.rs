//! How a token is written.

use bytes::Bytes;
use serde::Serialize;

use crate::{
    policy::{error::PolicyError, template::Template, terms::Profile, upload_token::UploadToken},
    sign::SignatureVersion,
};

/// How a token is written.
///
/// The clients of [`V4`](Self::V4) and [`Legacy`](Self::Legacy) know the fields they send, so their policies name only
/// bucket, key, size, `success_action_status` (200) and callback, and for version 4 the `x-oss-*` of the signature and
/// of STS. What a client asks for as `type` counts for nothing there, and an uploader chooses type and ACL and can replace
/// objects. Under these two a grant must be [one for any name under a prefix](super::super::Grant::any_name_under), and
/// one that asks for more is an error: the uploads would fail.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TokenFormat {
    /// `{"method","url","fields","key","expires"}`, see [`UploadToken`]: for a `FormData`, uppy, and every client that
    /// knows the posts of S3. Signed with version 4.
    #[default]
    Fields,
    /// `{"version","policy","x_oss_credential","x_oss_date","signature","security_token","dir","host","callback"}`, as
    /// Alibaba's current samples have it. Signed with version 4; without STS, `security_token` is empty.
    V4,
    /// `{"accessid","host","policy","signature","expire","dir","callback"}`, as the first samples have it. Signed with
    /// version 1; its clients send no token of STS, so with one it is an error.
    Legacy,
}

impl TokenFormat {
    pub(super) fn shape(self, template: &mut Template) {
        let (profile, version) = match self {
            Self::Fields => (Profile::Full, SignatureVersion::V4),
            Self::V4 => (Profile::Reduced, SignatureVersion::V4),
            Self::Legacy => (Profile::Reduced, SignatureVersion::V1),
        };
        template.profile = profile;
        template.signature = version;
    }

    pub(super) fn token(self, token: &UploadToken) -> Result<Bytes, PolicyError> {
        let field = |name| token.field(name).unwrap_or_default();
        let json = match self {
            Self::Fields => serde_json::to_vec(token),
            Self::V4 => serde_json::to_vec(&V4 {
                version: field("x-oss-signature-version"),
                policy: field("policy"),
                x_oss_credential: field("x-oss-credential"),
                x_oss_date: field("x-oss-date"),
                signature: field("x-oss-signature"),
                security_token: field("x-oss-security-token"),
                dir: token.dir(),
                host: token.url().as_str(),
                callback: field("callback"),
            }),
            Self::Legacy => serde_json::to_vec(&Legacy {
                accessid: field("OSSAccessKeyId"),
                host: token.url().as_str(),
                policy: field("policy"),
                signature: field("Signature"),
                expire: token.expires_unix(),
                dir: token.dir(),
                callback: field("callback"),
            }),
        };
        json.map(Bytes::from).map_err(|_| PolicyError::Serialize)
    }

    pub(super) fn batch(self, uploads: &[UploadToken]) -> Result<Bytes, PolicyError> {
        let json = serde_json::to_vec(&Batch { uploads });
        json.map(Bytes::from).map_err(|_| PolicyError::Serialize)
    }
}

/// In the order of the samples: some of their clients have been seen to print it.
#[derive(Serialize)]
struct V4<'a> {
    version: &'a str,
    policy: &'a str,
    x_oss_credential: &'a str,
    x_oss_date: &'a str,
    signature: &'a str,
    security_token: &'a str,
    dir: &'a str,
    host: &'a str,
    callback: &'a str,
}

#[derive(Serialize)]
struct Legacy<'a> {
    accessid: &'a str,
    host: &'a str,
    policy: &'a str,
    signature: &'a str,
    /// In Unix seconds, the same instant as in the policy.
    expire: i64,
    dir: &'a str,
    callback: &'a str,
}

#[derive(Serialize)]
struct Batch<'a> {
    uploads: &'a [UploadToken],
}
