//! `GetBucketVersioning`. The emulator keeps no versions, so no bucket has a state.

use http::Response;
use serde::Serialize;

use crate::{body::EmulatorBody, errors::OssError, xml};

#[derive(Serialize)]
struct VersioningConfiguration {}

/// Returns the document of a bucket whose versioning was never set.
pub(super) fn get() -> Result<Response<EmulatorBody>, OssError> {
    xml::response("VersioningConfiguration", &VersioningConfiguration {})
}
