//! `PutBucketEncryption`, `GetBucketEncryption` and `DeleteBucketEncryption`.
//!
//! Sources: [PutBucketEncryption], and the tests of `oss2` and of the SDK for PHP.
//!
//! [PutBucketEncryption]: https://www.alibabacloud.com/help/en/oss/developer-reference/putbucketencryption

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    encryption::Encryption,
    errors::{self, OssError},
    response, xml,
};

/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

#[derive(Deserialize, Serialize)]
struct Rule {
    #[serde(rename = "ApplyServerSideEncryptionByDefault")]
    default: EncryptionElement,
}

/// An encryption, as several documents show it.
#[derive(Deserialize, Serialize)]
pub(super) struct EncryptionElement {
    #[serde(rename = "SSEAlgorithm")]
    method: String,
    #[serde(
        rename = "KMSMasterKeyID",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    key_id: Option<String>,
    #[serde(
        rename = "KMSDataEncryption",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    algorithm: Option<String>,
}

impl EncryptionElement {
    /// `None` for a bucket without encryption is a method of its own in `GetBucketInfo`.
    pub(super) fn of(encryption: Option<&Encryption>) -> Self {
        Self {
            method: encryption.map_or("None", |known| &known.method).to_owned(),
            key_id: encryption.and_then(|known| known.key_id.clone()),
            algorithm: encryption.and_then(|known| known.algorithm.clone()),
        }
    }
}

/// `PutBucketEncryption`: sets how new objects are encrypted.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let Rule { default: element } = xml::parse(&document)?;
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (algorithm, key_id) = (filled(&element.algorithm), filled(&element.key_id));
    let encryption = Encryption::new(&element.method, algorithm.as_deref(), key_id.as_deref())?;
    if let (false, Some(key_id)) = (encryption.method == "KMS", key_id) {
        return Err(errors::ENCRYPTION_KEY.argument("KMSMasterKeyID", key_id));
    }
    context
        .change_bucket(move |bucket| bucket.encryption = Some(encryption))
        .await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetBucketEncryption`: returns how new objects are encrypted.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let encryption = context.bucket.encryption.as_ref();
    let encryption = encryption.ok_or_else(|| {
        errors::NO_ENCRYPTION_RULE.detail("BucketName", context.bucket.name.as_str())
    })?;
    let rule = Rule {
        default: EncryptionElement::of(Some(encryption)),
    };
    xml::response("ServerSideEncryptionRule", &rule)
}

/// `DeleteBucketEncryption`: succeeds also if there is nothing to delete.
pub(super) async fn delete(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    context
        .change_bucket(|bucket| bucket.encryption = None)
        .await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}
