//! What is known of a callback once its signature has been verified.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;

use super::{
    bond::Granted,
    event::{self, EventError, UploadEvent},
};
use crate::{
    key::{KeyUrl, PublicKey},
    protocol::{
        CallbackBodyType, CallbackTarget,
        header::{X_OSS_BUCKET, X_OSS_OWNER, X_OSS_REQUEST_ID, X_OSS_REQUESTER},
    },
    ticket::{CheckedTicket, TicketError, store::TextDigest},
};

/// A callback that OSS has signed, as the layer puts it into the extensions of the request.
///
/// It proves that OSS sent this body to this target for somebody. It does **not** prove that your bucket received
/// anything, or that you asked for it: one key signs for every customer of OSS, anybody can have OSS send any body to
/// any URL, and a signed callback can be sent again at any time. That it was granted, and is handled once, is proved by
/// its [`ticket`](Self::ticket), when the layer [asks for one](super::OssCallbackLayer::tickets).
///
/// Only a verification makes one. With feature `axum` it is an extractor:
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn app() -> axum::Router {
/// use axum::{Router, routing::post};
/// use tower_aliyun_oss::{OssCallbackLayer, callback::{CallbackReply, VerifiedCallback}};
///
/// async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
///     println!("{} bytes for {}", callback.body().len(), callback.target());
///     CallbackReply::ok()
/// }
///
/// Router::new().route("/oss/callback", post(on_upload).route_layer(OssCallbackLayer::new()))
/// # }
/// ```
#[derive(Clone)]
pub struct VerifiedCallback {
    body: Bytes,
    body_type: CallbackBodyType,
    target: CallbackTarget,
    key_url: KeyUrl,
    key: PublicKey,
    unauthenticated: Unauthenticated,
    granted: Option<Arc<Granted>>,
}

impl VerifiedCallback {
    pub(super) fn new(
        body: Bytes,
        body_type: CallbackBodyType,
        target: CallbackTarget,
        key_url: KeyUrl,
        key: PublicKey,
        unauthenticated: Unauthenticated,
        granted: Option<Arc<Granted>>,
    ) -> Self {
        Self {
            body,
            body_type,
            target,
            key_url,
            key,
            unauthenticated,
            granted,
        }
    }

    /// The signed body, byte for byte; it need not be UTF-8, and need not be what the content type says.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How the body is to be read. The content type itself is not signed: the layer takes only the two that OSS
    /// sends, and [`content_types`](super::OssCallbackLayer::content_types) narrows it to the one you asked for.
    #[must_use]
    pub fn body_type(&self) -> CallbackBodyType {
        self.body_type
    }

    /// What the body says, by the names that OSS gives its variables. See the
    /// [module](super#reading-the-body) for what is read how.
    ///
    /// ```
    /// use tower_aliyun_oss::callback::{EventError, VerifiedCallback};
    ///
    /// fn pixels(callback: &VerifiedCallback) -> Result<Option<u64>, EventError> {
    ///     let event = callback.event()?;
    ///     let sides = event.image_width().zip(event.image_height());
    ///     Ok(sides.map(|(width, height)| u64::from(width) * u64::from(height)))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8, is not JSON although its content type says so, gives a name twice at the top
    /// level, or when a variable is not of its kind: a number of OSS that is none, an `x:` variable that is no string.
    pub fn event(&self) -> Result<UploadEvent, EventError> {
        match &self.granted {
            Some(granted) => Ok(granted.event.clone()),
            None => event::read_event(self.body_type, &self.body),
        }
    }

    /// The body as a type of yours. See the [module](super#reading-the-body) for what is read how.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_aliyun_oss::callback::{EventError, VerifiedCallback};
    ///
    /// // callbackBody: {"key":${object},"width":${imageInfo.width},"uid":${x:uid}}
    /// #[derive(Deserialize)]
    /// struct Upload {
    ///     key: String,
    ///     width: Option<u32>,
    ///     uid: Option<String>,
    /// }
    ///
    /// fn upload(callback: &VerifiedCallback) -> Result<Upload, EventError> {
    ///     callback.event_as()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8, is not JSON although its content type says so, gives a name twice at the top
    /// level (also one that `T` has no use for), or does not fit `T`.
    pub fn event_as<T: DeserializeOwned>(&self) -> Result<T, EventError> {
        event::read(self.body_type, &self.body)
    }

    /// What was said about the grant when it was given, such as whose upload it is. Authentic, and readable by the
    /// uploader.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_aliyun_oss::{callback::VerifiedCallback, ticket::TicketError};
    ///
    /// #[derive(Deserialize)]
    /// struct Claims {
    ///     user: u64,
    /// }
    ///
    /// fn whose(callback: &VerifiedCallback) -> Result<u64, TicketError> {
    ///     callback.claims::<Claims>().map(|claims| claims.user)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TicketError::Absent`] when the callback has no [ticket](Self::ticket), [`TicketError::Claims`] when the claims
    /// do not fit `T`; a ticket without claims has JSON's `null`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, TicketError> {
        self.ticket().ok_or(TicketError::Absent)?.claims()
    }

    /// The ticket, which is one of ours, has not expired, and grants what the body says. `None` when the layer does not
    /// ask for tickets, or took this callback [without one](crate::ticket::Tickets::dangerous_accept_without_ticket_until).
    #[must_use]
    pub fn ticket(&self) -> Option<&CheckedTicket> {
        self.granted.as_deref().map(|granted| &granted.ticket)
    }

    pub(super) fn granted(&self) -> Option<&Arc<Granted>> {
        self.granted.as_ref()
    }

    /// By what a store of used tickets tells this callback from others of the same ticket: the SHA-256 of what OSS
    /// signed. There is one when there is a ticket. The layer has seen to it already that it is handled once.
    #[must_use]
    pub fn text_digest(&self) -> Option<TextDigest> {
        self.granted.as_deref().map(|granted| granted.digest)
    }

    /// The signed target: the path and query that OSS called.
    #[must_use]
    pub fn target(&self) -> &CallbackTarget {
        &self.target
    }

    /// The URL under which the key is known.
    #[must_use]
    pub fn key_url(&self) -> &KeyUrl {
        &self.key_url
    }

    /// The key that verified the signature.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What OSS says in headers. **Nothing of it is signed**: whoever sent the request could have written it. Use it
    /// in logs, never to decide anything.
    #[must_use]
    pub fn unauthenticated(&self) -> &Unauthenticated {
        &self.unauthenticated
    }
}

impl fmt::Debug for VerifiedCallback {
    /// Leaves body and query out: they can hold what does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCallback")
            .field("path", &self.target.path())
            .field("body_type", &self.body_type)
            .field("body_len", &self.body.len())
            .field("key_url", &self.key_url)
            .field("nonce", &self.ticket().map(CheckedTicket::nonce))
            .finish_non_exhaustive()
    }
}

/// The headers of a callback that the signature does not cover.
///
/// A header that is repeated, or that holds anything but visible ASCII, counts as absent.
#[derive(Clone, Debug, Default)]
pub struct Unauthenticated {
    bucket: Option<HeaderValue>,
    owner: Option<HeaderValue>,
    requester: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
}

impl Unauthenticated {
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let one = |name| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none()).cloned()
        };
        Self {
            bucket: one(X_OSS_BUCKET),
            owner: one(X_OSS_OWNER),
            requester: one(X_OSS_REQUESTER),
            request_id: one(X_OSS_REQUEST_ID),
        }
    }

    /// `x-oss-bucket`: the bucket the object is said to be in.
    #[must_use]
    pub fn bucket(&self) -> Option<&str> {
        text(self.bucket.as_ref())
    }

    /// `x-oss-owner`: the account that is said to own the bucket.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        text(self.owner.as_ref())
    }

    /// `x-oss-requester`: the account that is said to have uploaded the object.
    #[must_use]
    pub fn requester(&self) -> Option<&str> {
        text(self.requester.as_ref())
    }

    /// `x-oss-request-id`: the id the upload is said to have had; what Alibaba's support asks for.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        text(self.request_id.as_ref())
    }
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value?.to_str().ok()
}
