//! Where a form is posted to, and which bucket it is for.

use crate::protocol::{Bucket, Endpoint, Region, UploadUrl};

/// The two are separate: a URL does not say which bucket it leads to.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    Bucket {
        bucket: Bucket,
        endpoint: Endpoint,
    },
    /// As the sample servers are configured: they know the URL, and may not know the bucket.
    Url {
        url: UploadUrl,
        bucket: Option<Bucket>,
    },
}

impl Destination {
    pub(super) fn bucket(bucket: Bucket, region: &Region) -> Self {
        let endpoint = Endpoint::public(region);
        Self::Bucket { bucket, endpoint }
    }

    pub(super) fn url(url: UploadUrl) -> Self {
        Self::Url { url, bucket: None }
    }

    pub(super) fn name_bucket(&mut self, name: Bucket) {
        match self {
            Self::Bucket { bucket, .. } => *bucket = name,
            Self::Url { bucket, .. } => *bucket = Some(name),
        }
    }

    pub(super) fn reach_through(&mut self, through: Endpoint) {
        match self {
            Self::Bucket { endpoint, .. } => *endpoint = through,
            // Whoever gave the URL has said it all.
            Self::Url { .. } => {}
        }
    }

    pub(super) fn bucket_known(&self) -> Option<&Bucket> {
        match self {
            Self::Bucket { bucket, .. } => Some(bucket),
            Self::Url { bucket, .. } => bucket.as_ref(),
        }
    }

    pub(super) fn upload_url(&self) -> UploadUrl {
        match self {
            Self::Bucket { bucket, endpoint } => endpoint.upload_url(bucket),
            Self::Url { url, .. } => url.clone(),
        }
    }
}
