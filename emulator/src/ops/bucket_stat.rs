//! `GetBucketStat`.

use std::{collections::HashMap, time::SystemTime};

use http::Response;
use serde::Serialize;

use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    errors::OssError,
    xml,
};

/// The size that OSS bills for a smaller object of an infrequent class, in bytes.
const MIN_BILLED: u64 = 64 * 1024;

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BucketStat {
    storage: u64,
    object_count: u64,
    multipart_upload_count: usize,
    live_channel_count: u64,
    /// Seconds since the Unix epoch; 0 without objects.
    last_modified_time: u64,
    standard_storage: u64,
    standard_object_count: u64,
    infrequent_access_storage: u64,
    infrequent_access_real_storage: u64,
    infrequent_access_object_count: u64,
    archive_storage: u64,
    archive_real_storage: u64,
    archive_object_count: u64,
    cold_archive_storage: u64,
    cold_archive_real_storage: u64,
    cold_archive_object_count: u64,
    deep_cold_archive_storage: u64,
    deep_cold_archive_real_storage: u64,
    deep_cold_archive_object_count: u64,
    multipart_part_count: usize,
    delete_marker_count: u64,
}

/// What the objects of a storage class add up to.
#[derive(Clone, Copy, Default)]
struct Sum {
    real: u64,
    billed: u64,
    count: u64,
}

/// Counts objects and parts. OSS updates its counts once an hour, the emulator at once.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let store = &context.shared.store;
    let objects = store.list(&context.bucket.name).await;
    let objects = objects.map_err(|error| store_refusal(&error.into()))?;
    let uploads = store.sessions().of_bucket(&context.bucket.name);
    let mut sums: HashMap<&str, Sum> = HashMap::new();
    for object in &objects {
        let sum = sums.entry(object.storage_class()).or_default();
        sum.real += object.size();
        sum.billed += object.size().max(MIN_BILLED);
        sum.count += 1;
    }
    let of = |class| sums.get(class).copied().unwrap_or_default();
    let (standard, infrequent) = (of("Standard"), of("IA"));
    let (archive, cold, deep) = (of("Archive"), of("ColdArchive"), of("DeepColdArchive"));
    let last = objects.iter().map(|object| object.last_modified()).max();
    let last = last.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let stat = BucketStat {
        storage: objects.iter().map(|object| object.size()).sum(),
        object_count: objects.len() as u64,
        multipart_upload_count: uploads.len(),
        last_modified_time: last.unwrap_or_default().as_secs(),
        standard_storage: standard.real,
        standard_object_count: standard.count,
        infrequent_access_storage: infrequent.billed,
        infrequent_access_real_storage: infrequent.real,
        infrequent_access_object_count: infrequent.count,
        archive_storage: archive.billed,
        archive_real_storage: archive.real,
        archive_object_count: archive.count,
        cold_archive_storage: cold.billed,
        cold_archive_real_storage: cold.real,
        cold_archive_object_count: cold.count,
        deep_cold_archive_storage: deep.billed,
        deep_cold_archive_real_storage: deep.real,
        deep_cold_archive_object_count: deep.count,
        multipart_part_count: uploads.iter().map(|upload| upload.parts).sum(),
        ..BucketStat::default()
    };
    xml::response("BucketStat", &stat)
}
