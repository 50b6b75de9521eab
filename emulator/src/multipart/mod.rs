//! Uploads in parts.
//!
//! | file | what it does |
//! |---|---|
//! | this | `InitiateMultipartUpload`, `UploadPart`, `AbortMultipartUpload` |
//! | `complete` | `CompleteMultipartUpload` |
//! | `list` | `ListParts` |
//!
//! Source: the [multipart upload] pages.
//!
//! [multipart upload]: https://www.alibabacloud.com/help/en/oss/developer-reference/initiatemultipartupload

mod complete;
mod list;

use std::collections::BTreeMap;

use http::Response;
use serde::Serialize;

use super::{
    body::EmulatorBody,
    call::Call,
    catalogue,
    documents::{self, Encoding},
    error::OssError,
    get,
    object::{Plan, Record},
    put::no_content,
    store::Session,
};

pub(super) use complete::{OPERATION as COMPLETE, complete};
pub(super) use list::list;

/// The largest number of a part.
const MAX_PART: u16 = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    bucket: &'a str,
    key: String,
    upload_id: &'a str,
}

/// `InitiateMultipartUpload`: what the object will be, besides its bytes.
pub(super) fn initiate(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = call.address.key()?;
    let encoding = Encoding::of(call.query)?;
    let plan = Plan::of_request(key, &call.parts.headers)?;
    // Nobody can guess it: whoever knows the id of an upload may add to it.
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| catalogue::INTERNAL)?;
    let id = base16ct::upper::encode_string(&id);
    let session = Session {
        bucket: call.bucket.name.clone(),
        description: plan.description,
        forbid_overwrite: plan.forbid_overwrite,
        parts: BTreeMap::new(),
    };
    if !call.shared.store.sessions().begin(&id, session) {
        return Err(catalogue::TOO_MANY_UPLOADS);
    }
    let initiated = Initiated {
        encoding_type: encoding.name(),
        bucket: call.bucket.name.as_str(),
        key: encoding.text(key),
        upload_id: &id,
    };
    documents::response("InitiateMultipartUploadResult", &initiated)
}

/// `UploadPart`: the body is the part, and replaces one of the same number.
pub(super) async fn upload_part(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let number = call.query.get("partNumber").unwrap_or_default();
    let number = number.parse().ok().filter(|n| (1..=MAX_PART).contains(n));
    let number = number.ok_or(catalogue::PART_NUMBER)?;
    if call.parts.headers.contains_key("x-oss-copy-source") {
        return Err(catalogue::NOT_IMPLEMENTED);
    }
    let (id, session) = call.session()?;
    let part = call.body().await?.into_part(call.now);
    let mut response = Response::new(EmulatorBody::empty());
    let record = Record::new(session.description, part.content.clone(), call.now);
    get::sums(response.headers_mut(), &record);
    get::content_md5(response.headers_mut(), &record);
    if !call.shared.store.sessions().add(id, number, part) {
        return Err(catalogue::NO_SUCH_UPLOAD);
    }
    Ok(response)
}

/// `AbortMultipartUpload`: the parts are gone.
pub(super) fn abort(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let (id, _) = call.session()?;
    let (bucket, key) = (&call.bucket.name, call.address.key()?);
    let taken = call.shared.store.sessions().take(id, bucket, key);
    taken.map(|_| no_content()).ok_or(catalogue::NO_SUCH_UPLOAD)
}

impl<'a> Call<'a> {
    /// The upload that the request names, for the object it names.
    fn session(&self) -> Result<(&'a str, Session), OssError> {
        let id = self.query.get("uploadId").unwrap_or_default();
        let (bucket, key) = (&self.bucket.name, self.address.key()?);
        let session = self.shared.store.sessions().get(id, bucket, key);
        session
            .map(|session| (id, session))
            .ok_or_else(|| catalogue::NO_SUCH_UPLOAD.detail("UploadId", id))
    }
}
