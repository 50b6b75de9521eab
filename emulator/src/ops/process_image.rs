//! `x-oss-process=image/…` of `GetObject`, and `image/…|sys/saveas,…` of `ProcessObject`.
//!
//! Without the feature `image` both fail with `NotImplemented`.

use http::Response;

use crate::{
    body::{EmulatorBody, Stored},
    errors::{self, OssError},
    object::Record,
};

#[cfg(feature = "image")]
mod with_feature {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use bytes::Bytes;
    use http::{HeaderValue, header};
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::{
        context::{RequestContext, store_refusal},
        imaging::{self, MAX_SOURCE, Processed},
        object::NewObject,
        ops::find::follow,
        response::{http_date, insert, typed},
    };

    /// Returns the processed object. OSS sends no checksums of it.
    pub(in crate::ops) async fn read(
        record: &Record,
        stored: Stored,
        process: &str,
    ) -> Result<Response<EmulatorBody>, OssError> {
        let processed = run(record, stored, process).await?;
        let mut response = typed(processed.content, processed.content_type);
        let headers = response.headers_mut();
        headers.extend(record.description.headers());
        let content_type = HeaderValue::from_static(processed.content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
        // That of the source has no meaning for what was made of it.
        headers.remove(header::CONTENT_ENCODING);
        insert(headers, header::LAST_MODIFIED, &http_date(record.stored()));
        Ok(response)
    }

    async fn run(record: &Record, stored: Stored, process: &str) -> Result<Processed, OssError> {
        let size = record.content.size;
        if size > MAX_SOURCE {
            return Err(errors::IMAGE_SOURCE);
        }
        let body = EmulatorBody::of(stored, 0, size);
        let source = body.collect().await.map_err(|_| errors::INTERNAL)?;
        imaging::process(source.to_bytes(), process).await
    }

    /// Processes an object and stores the result as an object. `process` is `image/…|sys/saveas,…`.
    pub(in crate::ops) async fn save(
        context: &RequestContext<'_>,
        process: &str,
    ) -> Result<Response<EmulatorBody>, OssError> {
        let (process, save) = process.split_once('|').ok_or(errors::PROCESS)?;
        let parameters = save.strip_prefix("sys/saveas,").ok_or(errors::PROCESS)?;
        let (mut key, mut bucket) = (None, None);
        for parameter in parameters.split(',') {
            match parameter.split_once('_') {
                Some(("o", name)) => key = Some(decoded(name)?),
                Some(("b", name)) => bucket = Some(decoded(name)?),
                _ => return Err(errors::ARGUMENT),
            }
        }
        let key = key.ok_or(errors::ARGUMENT)?;
        let target = match &bucket {
            None => context.bucket.name.clone(),
            Some(name) => name.parse().map_err(|_| errors::INVALID_BUCKET_NAME)?,
        };
        let found = follow(context, context.address.key()?, true).await?;
        found.check_state()?;
        let processed = run(&found.record, found.stored, process).await?;

        let mut headers = http::HeaderMap::new();
        let content_type = HeaderValue::from_static(processed.content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
        let store = &context.shared.store;
        let into = store.buckets().get(&target);
        let into =
            into.ok_or_else(|| errors::NO_SUCH_BUCKET.argument("BucketName", target.as_str()))?;
        let object = NewObject::of_request(&key, &headers, into.encryption.as_ref())?;
        let upload = store.begin(&target).await;
        let mut upload = upload.map_err(|error| store_refusal(&error.into()))?;
        let size = processed.content.len();
        let failed = |error| store_refusal(&error);
        upload.write(processed.content).await.map_err(failed)?;
        let sealed = upload.seal().await.map_err(failed)?;
        let record = Record::new(object.description, sealed.content().clone(), context.now);
        sealed.commit(record, true).await.map_err(failed)?;
        let saved = serde_json::json!({
            "bucket": bucket.unwrap_or_default(),
            "fileSize": size,
            "object": key,
            "status": "OK",
        });
        // With blanks, which `ImageProcessTest` of aliyun-oss-java-sdk looks for.
        let saved = serde_json::to_vec_pretty(&saved).map_err(|_| errors::INTERNAL)?;
        Ok(typed(Bytes::from(saved), "application/json"))
    }

    /// Decodes a name: Base64 of the alphabet for URLs, or of the other one.
    fn decoded(name: &str) -> Result<String, OssError> {
        let name = name
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_");
        let name = URL_SAFE_NO_PAD.decode(name);
        let name = name.ok().and_then(|name| String::from_utf8(name).ok());
        name.ok_or(errors::ARGUMENT)
    }
}

#[cfg(feature = "image")]
pub(super) use with_feature::{read, save};

#[cfg(not(feature = "image"))]
#[allow(clippy::unused_async, reason = "with the feature it waits")]
pub(super) async fn read(
    _: &Record,
    _: Stored,
    process: &str,
) -> Result<Response<EmulatorBody>, OssError> {
    Err(missing(process))
}

#[cfg(not(feature = "image"))]
#[allow(clippy::unused_async, reason = "with the feature it waits")]
pub(super) async fn save(
    _: &crate::context::RequestContext<'_>,
    process: &str,
) -> Result<Response<EmulatorBody>, OssError> {
    Err(missing(process))
}

#[cfg(not(feature = "image"))]
fn missing(process: &str) -> OssError {
    match process.starts_with("image/") {
        true => errors::IMAGE_FEATURE,
        false => errors::PROCESS,
    }
}
