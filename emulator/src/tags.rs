//! Tags of objects and buckets: their XML document, the header `x-oss-tagging`, and their limits.
//!
//! Sources: [PutObjectTagging], [PutBucketTags], and the SDK tests that the error cases come from.
//!
//! [PutObjectTagging]: https://www.alibabacloud.com/help/en/oss/developer-reference/putobjecttagging
//! [PutBucketTags]: https://www.alibabacloud.com/help/en/oss/developer-reference/putbuckettags

use serde::{Deserialize, Serialize};

/// A tag: a name and a value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}
