//! `SealAppendObject`: ends the appends to an object.
//!
//! Source: the [reference], and the tests of the SDKs for Go and Python.
//!
//! [reference]: https://www.alibabacloud.com/help/en/oss/developer-reference/sealappendobject

use http::{HeaderName, Response, StatusCode};

use super::append_object::position;
use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    object::{ObjectKind, Record},
    response,
};

/// Seals an object of the size that `position` names. Sealing it again keeps the time.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let (position, now) = (position(context)?, context.now);
    let can_be_sealed = move |record: &Record| match record.kind {
        ObjectKind::Appendable if record.content.size == position => Ok(()),
        ObjectKind::Appendable => Err(errors::position(record.content.size)),
        _ => Err(errors::NOT_APPENDABLE),
    };
    let store = &context.shared.store;
    let updated = store.update(&context.bucket.name, key, move |record| {
        // An append may be faster than this request.
        if can_be_sealed(record).is_ok() {
            record.seal(now);
        }
    });
    let updated = updated.await;
    let record = updated.map_err(|error| store_refusal(&error.into()))?;
    let record = record.ok_or_else(|| errors::NO_SUCH_KEY.argument("Key", key))?;
    can_be_sealed(&record)?;
    let mut response = response::empty(StatusCode::OK);
    if let Some(sealed) = record.sealed() {
        let name = HeaderName::from_static("x-oss-sealed-time");
        response::insert(response.headers_mut(), name, &response::http_date(sealed));
    }
    Ok(response)
}
