//! The source of `CopyObject` and `UploadPartCopy`: the header `x-oss-copy-source`.

use form_urlencoded::parse;
use tower_aliyun_oss::protocol::Bucket;

use super::{
    conditions::{Conditions, Verdict},
    find::no_such_source,
};
use crate::{
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    object::ObjectKind,
    store::Source,
};

pub(super) const HEADER: &str = "x-oss-copy-source";

/// What a copy reads: `/bucket/key`, percent-encoded.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct CopySource {
    pub(super) bucket: Bucket,
    pub(super) key: String,
}

impl CopySource {
    /// Reads the header. `invalid` differs between both operations.
    pub(super) fn of(context: &RequestContext<'_>, invalid: OssError) -> Result<Self, OssError> {
        Self::parse(context.header(HEADER).unwrap_or_default(), invalid)
    }

    fn parse(header: &str, invalid: OssError) -> Result<Self, OssError> {
        let (path, query) = match header.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (header, None),
        };
        match query.map(|query| parse(query.as_bytes()).next()) {
            None => {}
            // The only version of an object in a bucket without versions.
            Some(Some((name, version))) if name == "versionId" && version == "null" => {}
            Some(Some((name, version))) if name == "versionId" => {
                return Err(match version.is_empty() {
                    true => errors::COPY_SOURCE_VERSION,
                    false => errors::VERSIONS,
                });
            }
            Some(_) => return Err(invalid),
        }
        let path = path.strip_prefix('/').ok_or_else(|| invalid.clone())?;
        let (bucket, key) = path.split_once('/').ok_or_else(|| invalid.clone())?;
        let bucket = bucket.parse().map_err(|_| errors::INVALID_BUCKET_NAME)?;
        // `+` is a space: `url.QueryEscape` of Go writes it so.
        let key = key.replace('+', " ");
        let key = percent_encoding::percent_decode_str(&key).decode_utf8();
        let key = key.map_err(|_| errors::OBJECT_NAME_ENCODING)?.into_owned();
        match key.is_empty() {
            true => Err(invalid),
            false => Ok(Self { bucket, key }),
        }
    }

    /// Takes the source, if the request may read it and its conditions hold.
    ///
    /// Returns `None` if the response is 304.
    pub(super) async fn take(
        &self,
        context: &RequestContext<'_>,
        signed: bool,
    ) -> Result<Option<Source>, OssError> {
        if context.shared.foreign_buckets.contains(&self.bucket) {
            return Err(errors::BUCKET_FOREIGN);
        }
        let store = &context.shared.store;
        let bucket = store.buckets().get(&self.bucket);
        let bucket = bucket
            .ok_or_else(|| errors::NO_SUCH_BUCKET.argument("BucketName", self.bucket.as_str()))?;
        let found = store.source(&self.bucket, &self.key).await;
        let found = found.map_err(|error| store_refusal(&error.into()))?;
        let source = found.ok_or_else(|| no_such_source(signed, bucket.open_acl(), &self.key))?;
        if !signed && (bucket.requester_pays || !bucket.lets_read(&source.record.description)) {
            return Err(errors::NO_RIGHT);
        }
        let conditions = Conditions::of_copy(context.headers());
        let etag = source.record.content.etag();
        Ok(match conditions.check(&etag, source.record.stored())? {
            Verdict::Met if source.record.is_frozen(context.now) => {
                return Err(errors::OBJECT_STATE.detail("ObjectName", &*self.key));
            }
            Verdict::Met => Some(source),
            Verdict::NotModified => None,
        })
    }

    /// Takes the object that a symbolic link points to, or the object itself.
    pub(super) async fn take_target(
        &self,
        context: &RequestContext<'_>,
        signed: bool,
    ) -> Result<Option<Source>, OssError> {
        let Some(source) = self.take(context, signed).await? else {
            return Ok(None);
        };
        let ObjectKind::Symlink { target, .. } = &source.record.kind else {
            return Ok(Some(source));
        };
        let target = Self {
            bucket: self.bucket.clone(),
            key: target.clone(),
        };
        match target.take(context, signed).await? {
            Some(found) if matches!(found.record.kind, ObjectKind::Symlink { .. }) => {
                Err(errors::SYMLINK_TARGET_TYPE)
            }
            found => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let parse = |header| CopySource::parse(header, errors::COPY_SOURCE);
        for (header, bucket, key) in [
            ("/examplebucket/a", "examplebucket", "a"),
            ("/examplebucket/a/b%20c", "examplebucket", "a/b c"),
            ("/examplebucket/a%2Fb+c%2B", "examplebucket", "a/b c+"),
            ("/examplebucket/%E4%B8%AD%3F", "examplebucket", "中?"),
            ("/examplebucket/a?versionId=null", "examplebucket", "a"),
        ] {
            let source = parse(header).unwrap();
            assert_eq!((source.bucket.as_str(), &*source.key), (bucket, key));
        }
        for (header, code, ec) in [
            ("", "InvalidArgument", Some("0016-00000304")),
            ("examplebucket/a", "InvalidArgument", Some("0016-00000304")),
            ("/examplebucket", "InvalidArgument", Some("0016-00000304")),
            ("/examplebucket/", "InvalidArgument", Some("0016-00000304")),
            (
                "/examplebucket/a?unknown=x",
                "InvalidArgument",
                Some("0016-00000304"),
            ),
            (
                "/examplebucket/a?versionId=",
                "InvalidArgument",
                Some("0016-00000305"),
            ),
            ("/examplebucket/a?versionId=1", "NotImplemented", None),
            ("/-/a", "InvalidBucketName", None),
            ("/examplebucket/%FF", "InvalidArgument", None),
        ] {
            let error = parse(header).unwrap_err();
            assert_eq!((error.code(), error.ec()), (code, ec), "{header}");
        }
    }
}
