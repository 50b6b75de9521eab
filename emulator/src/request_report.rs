//! Reports of requests, for
//! [`EmulatorBuilder::request_observer`](crate::EmulatorBuilder::request_observer).

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, Uri};

use crate::errors::OssError;

/// One request, from its head to the status of the response.
///
/// `Debug` does not show the target, because the query of a signed URL contains its signature.
#[derive(Clone)]
pub struct RequestReport {
    pub(crate) request_id: String,
    pub(crate) received: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) method: Method,
    pub(crate) host: String,
    pub(crate) target: Uri,
    pub(crate) bucket: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) operation: Option<&'static str>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Clone)]
pub(crate) struct Refusal {
    code: &'static str,
    message: String,
    ec: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn of(error: &OssError) -> Self {
        Self {
            code: error.code(),
            message: error.message().to_owned(),
            ec: error.ec(),
        }
    }
}

impl RequestReport {
    /// Returns the request ID. The response contains it too.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Returns when the head of the request had arrived.
    #[must_use]
    pub fn received(&self) -> SystemTime {
        self.received
    }

    /// Returns the time from the head of the request to the head of the response.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns the address of the client, if the server has inserted a
    /// [`ClientAddress`](crate::ClientAddress).
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        self.client
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the requested host in lower case, without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the target as sent. The query of a signed URL contains its signature.
    #[must_use]
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// Returns the bucket that the request names, if its name is valid.
    #[must_use]
    pub fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }

    /// Returns the object that the path names. A form names its object in a field: see
    /// [`UploadReport`](crate::UploadReport).
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Returns the operation as the reference of OSS names it, such as `PutObject`, or `None` if
    /// the emulator does not know it.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.operation
    }

    /// Returns the status of the response, or `None` if the client disconnected before there was
    /// one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Returns `Code` and `Message` of the response if the request or its callback failed.
    #[must_use]
    pub fn refusal(&self) -> Option<(&str, &str)> {
        let refusal = self.refusal.as_ref();
        refusal.map(|refusal| (refusal.code, &*refusal.message))
    }

    /// Returns the EC of the response, if it has one.
    #[must_use]
    pub fn ec(&self) -> Option<&str> {
        self.refusal.as_ref().and_then(|refusal| refusal.ec)
    }
}

impl fmt::Debug for RequestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestReport")
            .field("request_id", &self.request_id)
            .field("method", &self.method)
            .field("bucket", &self.bucket)
            .field("key", &self.key)
            .field("operation", &self.operation)
            .field("status", &self.status)
            .field("code", &self.refusal.as_ref().map(|refusal| refusal.code))
            .field("ec", &self.ec())
            .finish_non_exhaustive()
    }
}
