//! What an operation knows about its request.
//!
//! [`Shared`] holds the checked settings and the state that all requests have in common.
//! [`ServiceContext`] borrows it for one request and adds what was parsed from the request head.
//! Authentication takes it, and so do the operations that need no bucket. [`RequestContext`] adds
//! the bucket and reads the body; all other operations take it.

use std::{
    collections::HashSet,
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header, request::Parts};
use md5::{Digest as _, Md5};
use tokio::sync::Mutex;

use crate::{
    access_key::AccessKey,
    address::Address,
    body::{Inbound, InboundError, MAX_BODY},
    callback::{AllowedPrivate, Caller},
    errors::{self, OssError},
    form::FormRoom,
    object::NewObject,
    query::Query,
    report::UploadReport,
    request_report::RequestReport,
    store::{BucketState, ObjectStore, Sealed, StoreError, Upload},
    traffic_limit::{self, TrafficLimit},
};
use tower_aliyun_oss::protocol::{Bucket, Region};

pub(crate) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;
pub(crate) type RequestIds = Arc<dyn Fn(SystemTime) -> String + Send + Sync>;
pub(crate) type Observer = Arc<dyn Fn(UploadReport) + Send + Sync>;
pub(crate) type RequestObserver = Arc<dyn Fn(RequestReport) + Send + Sync>;

/// The client address that replaces `${clientIp}` in callback bodies, as a request extension.
///
/// [`Emulator::serve`](crate::Emulator::serve) sets it. If you run the service on another server,
/// insert it into the request extensions yourself; without it `${clientIp}` is empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "a marker for one value")]
pub struct ClientAddress(pub SocketAddr);

/// The checked settings, and the state that requests change.
pub(crate) struct Shared {
    pub(crate) region: Region,
    pub(crate) domains: Vec<Box<str>>,
    pub(crate) keys: Vec<AccessKey>,
    pub(crate) store: ObjectStore,
    /// The buckets as they were when the emulator was built, for a reset.
    pub(crate) at_start: Vec<Arc<BucketState>>,
    pub(crate) caller: Caller,
    pub(crate) allowed_private: AllowedPrivate,
    pub(crate) lenient_multipart: bool,
    pub(crate) form_room: FormRoom,
    pub(crate) reject_v1: bool,
    pub(crate) refuse_foreign_origins: bool,
    pub(crate) create_buckets: bool,
    /// Whether Block Public Access is on for the account, and so for all buckets.
    pub(crate) blocks_public_access: AtomicBool,
    pub(crate) foreign_buckets: HashSet<Bucket>,
    /// Held while a part is added to a sequential upload.
    pub(crate) sequence: Mutex<()>,
    /// How long a multipart upload may be idle before it is dropped.
    pub(crate) idle_uploads: Option<Duration>,
    pub(crate) clock: Clock,
    pub(crate) request_ids: RequestIds,
    pub(crate) observer: Option<Observer>,
    pub(crate) request_observer: Option<RequestObserver>,
}

impl Shared {
    pub(crate) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    pub(crate) fn request_id(&self, now: SystemTime) -> String {
        (self.request_ids)(now)
    }

    pub(crate) fn observe(&self, report: UploadReport) {
        if let Some(observer) = &self.observer {
            observer(report);
        }
    }
}

/// One request: its parsed head, its body, and the emulator that received it.
#[derive(Clone, Copy)]
pub(crate) struct ServiceContext<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) address: &'a Address,
    pub(crate) parts: &'a Parts,
    pub(crate) query: &'a Query,
    pub(crate) inbound: &'a Inbound,
    pub(crate) request_id: &'a str,
    /// The clock is read once per request, so that all checks of one request agree.
    pub(crate) now: SystemTime,
}

impl<'a> ServiceContext<'a> {
    pub(crate) fn headers(&self) -> &'a HeaderMap {
        &self.parts.headers
    }

    /// Returns the first value of a header, or an empty text if it is not UTF-8.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        let value = self.parts.headers.get(name)?;
        Some(std::str::from_utf8(value.as_bytes()).unwrap_or_default())
    }

    /// Returns how fast the request wants to be served.
    pub(crate) fn traffic_limit(&self) -> Result<Option<TrafficLimit>, OssError> {
        let in_query = self.query.get(traffic_limit::NAME);
        TrafficLimit::of(self.header(traffic_limit::NAME), in_query)
    }

    /// The error if the bucket that the request names does not exist.
    pub(crate) fn no_such_bucket(&self) -> OssError {
        let name = match &self.address.bucket {
            Some(Ok(bucket)) => bucket.as_str(),
            _ => "",
        };
        errors::NO_SUCH_BUCKET.argument("BucketName", name)
    }

    /// Returns the IP address of the client, or an empty text if it is unknown.
    pub(crate) fn client_ip(&self) -> String {
        let client = self.parts.extensions.get::<ClientAddress>();
        client.map_or_else(String::new, |client| client.0.ip().to_string())
    }

    /// Checks the announced length of the body against the 5 GiB limit of OSS.
    ///
    /// `too_large` differs between forms and other uploads.
    pub(crate) fn check_length(&self, too_large: OssError) -> Result<(), OssError> {
        let length = self.parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if length > MAX_BODY => Err(too_large),
            Some(_) => Ok(()),
            None if self.parts.headers.contains_key(header::TRANSFER_ENCODING) => Ok(()),
            // A body that is not empty here is a stream of HTTP/2 or of a direct call.
            None if self.inbound.is_empty() => Err(errors::NO_LENGTH),
            None => Ok(()),
        }
    }

    /// Checks the `Content-MD5` header, if there is one, against the MD5 of the received body.
    ///
    /// `received` is Base64.
    pub(crate) fn check_content_md5(&self, received: &str) -> Result<(), OssError> {
        match self.parts.headers.get("content-md5") {
            Some(announced) if announced.as_bytes() != received.as_bytes() => {
                Err(errors::INVALID_DIGEST)
            }
            _ => Ok(()),
        }
    }

    /// Reads the whole body into memory: at most `limit` bytes, or else the error `too_large`.
    pub(crate) async fn read_document(
        &self,
        limit: usize,
        too_large: OssError,
    ) -> Result<Vec<u8>, OssError> {
        let document = self.inbound.collect(limit).await;
        let document = document.map_err(|error| match error {
            InboundError::Allowance => too_large,
            error => body_refusal(&error),
        })?;
        self.check_content_md5(&STANDARD.encode(Md5::digest(&document)))?;
        Ok(document)
    }
}

/// One request to a bucket.
#[derive(Clone, Copy)]
pub(crate) struct RequestContext<'a> {
    pub(crate) request: ServiceContext<'a>,
    /// The bucket as it was when the request arrived.
    pub(crate) bucket: &'a BucketState,
}

impl<'a> Deref for RequestContext<'a> {
    type Target = ServiceContext<'a>;

    fn deref(&self) -> &ServiceContext<'a> {
        &self.request
    }
}

impl RequestContext<'_> {
    /// Reads what the headers say about the object that the path names.
    pub(crate) fn new_object(&self) -> Result<NewObject, OssError> {
        let encryption = self.bucket.encryption.as_ref();
        NewObject::of_request(self.address.key()?, self.headers(), encryption)
    }

    /// Streams the body into the store as the content of an object or of a part.
    pub(crate) async fn read_object(&self) -> Result<Sealed, OssError> {
        self.check_length(errors::TOO_LARGE)?;
        self.inbound.allow(u64::MAX);
        let upload = self.shared.store.begin(&self.bucket.name).await;
        let mut upload = upload.map_err(|_| errors::INTERNAL)?;
        if let Err(error) = self.receive_into(&mut upload).await {
            upload.discard().await;
            return Err(error);
        }
        let sealed = upload.seal().await.map_err(|e| store_refusal(&e))?;
        self.check_content_md5(&sealed.content().md5_base64())?;
        Ok(sealed)
    }

    /// Changes the settings of the bucket.
    pub(crate) async fn change_bucket(
        &self,
        change: impl FnOnce(&mut BucketState) + Send + 'static,
    ) -> Result<(), OssError> {
        let buckets = self.shared.store.buckets();
        match buckets.change(&self.bucket.name, change).await {
            Ok(true) => Ok(()),
            // Deleted since the request arrived.
            Ok(false) => Err(self.no_such_bucket()),
            Err(error) => Err(store_refusal(&error.into())),
        }
    }

    async fn receive_into(&self, upload: &mut Upload) -> Result<(), OssError> {
        let mut pace = self.traffic_limit()?.map(TrafficLimit::begin);
        while let Some(data) = self.inbound.chunk().await.map_err(|e| body_refusal(&e))? {
            if let Some(pace) = &mut pace {
                self.inbound.delayed(pace.wait(data.len()).await);
            }
            upload.write(data).await.map_err(|e| store_refusal(&e))?;
        }
        Ok(())
    }
}

/// Maps an error of a body that is not a form. Forms have codes of their own:
/// [`InboundError::refusal`].
fn body_refusal(error: &InboundError) -> OssError {
    match error {
        InboundError::Whole | InboundError::Allowance => errors::TOO_LARGE,
        InboundError::Idle => errors::IDLE,
        InboundError::Read(_) => errors::INCOMPLETE_BODY,
    }
}

/// Maps an error of the store. I/O errors are logged, because the response does not show them.
pub(crate) fn store_refusal(error: &StoreError) -> OssError {
    match error {
        StoreError::Exists => errors::ALREADY_EXISTS,
        StoreError::Full => errors::STORE_FULL,
        StoreError::NoBucket => errors::NO_SUCH_BUCKET,
        StoreError::NotAppendable => errors::NOT_APPENDABLE,
        StoreError::Sealed => errors::SEALED,
        StoreError::Position(size) => errors::position(*size),
        StoreError::Io(error) => {
            tracing::error!(%error, "failed to access the object folder");
            errors::INTERNAL
        }
    }
}
