//! Token formats: the JSON that clients receive.

use bytes::Bytes;
use serde::Serialize;

use crate::{
    policy::{conditions::FieldSet, document::to_json, upload_token::UploadToken},
    sign::SignatureVersion,
};

/// The JSON format of a token. The guide lists [the fields that a client must
/// send](crate::guide::clients) for each, with snippets.
///
/// The clients of [`V4`](Self::V4) and [`Legacy`](Self::Legacy) send a fixed set of fields.
/// Policies in these formats therefore only have conditions on bucket, key, size,
/// `success_action_status` (200) and callback, and for version 4 on the `x-oss-*` fields of the
/// signature and of STS. A requested `type` is ignored, and an uploader can choose content type and
/// ACL, and replace objects. These formats require a grant for [any name under a
/// prefix](crate::policy::Grant::any_name_under). A grant with further conditions is an error,
/// because every upload would fail.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TokenFormat {
    /// `{"method","url","fields","key","expires"}`, see [`UploadToken`]: for a `FormData`, uppy,
    /// and every client of S3 form uploads. Signed with version 4.
    #[default]
    Fields,
    /// `{"version","x_oss_signature_version","policy","x_oss_credential","x_oss_date","signature","security_token","dir","host","callback"}`,
    /// the format of Alibaba's current samples. Signed with version 4. Without STS,
    /// `security_token` is empty.
    ///
    /// The samples disagree on one name. Clients of the Java sample read `version`; those of the
    /// Python, Go and PHP samples and of the mini-program read `x_oss_signature_version`. Both
    /// members have the same value.
    V4,
    /// `{"accessid","host","policy","signature","expire","dir","callback"}`, the format of the
    /// first samples. Signed with [version 1](SignatureVersion::V1), which Alibaba Cloud is
    /// switching off for new accounts (since 2025-03-01) and new buckets (since 2025-09-01; 403, EC
    /// 0002-00000080): use it only for clients that you cannot change. Its clients do not send an
    /// STS token, so credentials with one are an error.
    Legacy,
}

impl TokenFormat {
    pub(super) fn field_set(self) -> FieldSet {
        match self {
            Self::Fields => FieldSet::Full,
            Self::V4 | Self::Legacy => FieldSet::Reduced,
        }
    }

    /// Returns the signature version of the format, or the chosen one if the format permits a
    /// choice.
    pub(super) fn signature_version(self, chosen: SignatureVersion) -> SignatureVersion {
        match self {
            Self::Fields => chosen,
            Self::V4 => SignatureVersion::V4,
            Self::Legacy => SignatureVersion::V1,
        }
    }

    pub(super) fn token(self, token: &UploadToken) -> Bytes {
        let field = |name| token.field(name).unwrap_or_default();
        let json = match self {
            Self::Fields => {
                let mut json = String::with_capacity(token.json_len());
                token.push_json(&mut json);
                return json.into();
            }
            Self::V4 => to_json(&V4 {
                version: field("x-oss-signature-version"),
                x_oss_signature_version: field("x-oss-signature-version"),
                policy: field("policy"),
                x_oss_credential: field("x-oss-credential"),
                x_oss_date: field("x-oss-date"),
                signature: field("x-oss-signature"),
                security_token: field("x-oss-security-token"),
                dir: token.dir(),
                host: token.url().as_str(),
                callback: token.field("callback"),
            }),
            Self::Legacy => to_json(&Legacy {
                accessid: field("OSSAccessKeyId"),
                host: token.url().as_str(),
                policy: field("policy"),
                signature: field("Signature"),
                expire: token.expires_unix(),
                dir: token.dir(),
                callback: token.field("callback"),
            }),
        };
        json.into()
    }
}

/// Returns the response to a request for several files.
pub(super) fn batch(uploads: &[UploadToken]) -> Bytes {
    let len: usize = uploads.iter().map(|token| token.json_len() + 1).sum();
    let mut json = String::with_capacity(len + 16);
    let mut separator = "{\"uploads\":[";
    for token in uploads {
        json.push_str(separator);
        token.push_json(&mut json);
        separator = ",";
    }
    json.push_str(if uploads.is_empty() {
        "{\"uploads\":[]}"
    } else {
        "]}"
    });
    json.into()
}

/// The members have the order of the samples: some of their clients display the response as it is.
#[derive(Serialize)]
struct V4<'a> {
    version: &'a str,
    x_oss_signature_version: &'a str,
    policy: &'a str,
    x_oss_credential: &'a str,
    x_oss_date: &'a str,
    signature: &'a str,
    security_token: &'a str,
    dir: &'a str,
    host: &'a str,
    // Absent for a grant without a callback: an empty field may be an error for OSS.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<&'a str>,
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
    // Absent for a grant without a callback: an empty field may be an error for OSS.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What serde writes for the same tokens, as the service did before.
    #[derive(Serialize)]
    struct Batch<'a> {
        uploads: &'a [UploadToken],
    }

    #[test]
    fn a_batch_is_written_as_serde_writes_it() {
        use crate::{
            policy::{CallbackDirective, Credentials, PostPolicy},
            protocol::{ObjectKey, SizeRange},
        };

        let key: ObjectKey = "a/\"b\"\u{e9}".parse().unwrap();
        let policy = PostPolicy::builder(
            "examplebucket".parse().unwrap(),
            "cn-hangzhou".parse().unwrap(),
            key,
            SizeRange::new(1, 10).unwrap(),
            CallbackDirective::new("https://app.example/cb").unwrap(),
        );
        let credentials = Credentials::new("id\"\\", "secret").unwrap();
        let at = std::time::SystemTime::UNIX_EPOCH;
        let token = policy.build().unwrap().sign(&credentials, at).unwrap();
        assert_eq!(TokenFormat::Fields.token(&token), to_json(&token));
        for count in 0..3 {
            let uploads = vec![token.clone(); count];
            assert_eq!(batch(&uploads), to_json(&Batch { uploads: &uploads }));
        }
    }
}
