//! A verified callback, as the handler receives it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;

use super::{
    event::{self, EventError, Plus, SealedUpload, UploadEvent},
    recovered::RecoveredUpload,
    text::text_digest,
};
use crate::{
    key::{KeyUrl, PublicKey},
    protocol::{
        CallbackBodyType, CallbackTarget,
        header::{X_OSS_BUCKET, X_OSS_OWNER, X_OSS_REQUEST_ID, X_OSS_REQUESTER},
    },
    storage::ObjectMetadata,
    ticket::{TicketError, internal::CheckedTicket, store::Nonce},
};

/// A callback that OSS signed. The layer puts it into the extensions of the request.
///
/// It proves that OSS sent this body to this target for somebody. It does **not** prove that your
/// bucket received an object, or that you asked for the callback: one key signs for all customers
/// of OSS, anyone can have OSS send any body to any URL, and a signed callback can be replayed at
/// any time.
///
/// If the layer [requires tickets](super::OssCallbackLayer::tickets), it proves that you granted an
/// upload like this one, and that it is handled once:
///
/// * The bucket, the claims, the constants and the custom variables are the granted ones, and so is
///   the object, unless the grant is for a prefix. Every field has the variable that the template
///   gave it. The [file name](Self::requested_filename) is the one of the request.
/// * Size and content type are within the grant.
/// * Nothing else that OSS reports is proven against the holder of the ticket, not even that the
///   object exists. Each method of [`UploadEvent`] tells what holds for its value.
///
/// If the layer also [confirms](super::OssCallbackLayer::confirm) uploads, the object exists, and
/// [`confirmed`](Self::confirmed) returns what OSS itself reports about it.
///
/// Only a successful verification creates this type. With feature `axum` it is an extractor:
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn app() -> Result<axum::Router, Box<dyn std::error::Error>> {
/// use axum::{Router, routing::post};
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     CallbackReply, ContentType, Credentials, Grant, ObjectPrefix, OssUploads, Refusal, SizeRange,
///     TicketKey, VerifiedCallback,
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let user: u64 = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
///     let prefix = ObjectPrefix::from_segments(["user", &user.to_string()])?;
///     let size = SizeRange::new(1, 10 << 20)?;
///     Ok(Grant::under(prefix, size).content_types(ContentType::IMAGES).claims(&user))
/// }
///
/// async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
///     println!("{:?} by user {:?}", callback.event(), callback.claims::<u64>());
///     CallbackReply::ok()
/// }
///
/// let uploads = OssUploads::builder("examplebucket".parse()?, Credentials::from_env()?)
///     .region("cn-hangzhou".parse()?)
///     .callback_url("https://app.example/oss/callback")
///     .ticket_key(TicketKey::from_env("OSS_TICKET_KEY")?) // openssl rand -base64 32
///     .build()?;
/// Ok(Router::new()
///     .route_service("/oss/policy", uploads.policy_service(authorize))
///     .route("/oss/callback", post(on_upload).route_layer(uploads.callback_layer())))
/// # }
/// ```
#[derive(Clone)]
pub struct VerifiedCallback {
    pub(super) body: Bytes,
    pub(super) body_type: CallbackBodyType,
    pub(super) target: CallbackTarget,
    pub(super) proven: Proven,
    pub(super) unauthenticated: Unauthenticated,
    pub(super) granted: Option<Arc<Granted>>,
    /// What OSS itself reports, if the layer asked it.
    pub(super) confirmed: Option<Arc<ObjectMetadata>>,
}

/// Returns the [identifier](VerifiedCallback::upload_id) of the upload with a ticket for one
/// object.
pub(crate) fn upload_id(nonce: Nonce) -> String {
    base16ct::lower::encode_string(nonce.as_bytes())
}

/// What proved the callback.
#[derive(Clone)]
pub(super) enum Proven {
    Signature { key_url: KeyUrl, key: PublicKey },
    Recovery(RecoveredUpload),
}

/// Where a callback comes from, see [`VerifiedCallback::origin`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// OSS sent and signed it.
    Oss,
    /// This application made it, because OSS did not call back, or the handler failed: see
    /// [`recovery`](crate::recovery).
    Recovered,
}

/// The ticket of a callback that is within the grant.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) ticket: CheckedTicket,
    pub(super) digest: [u8; 32],
    /// Already read for the check of the grant.
    pub(super) upload: SealedUpload,
}

impl VerifiedCallback {
    /// Returns the signed body, byte for byte. Without a ticket, it may be invalid UTF-8, and may
    /// not match its content type.
    ///
    /// [`event`](Self::event) and [`event_as`](Self::event_as) read it as the ticket was checked;
    /// another parser can decode a `+` or the case of a content type differently.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns how to parse the body.
    ///
    /// OSS does not sign the content type. The layer accepts only the two types that OSS sends, and
    /// [`content_types`](super::OssCallbackLayer::content_types) restricts it to the one that you
    /// configured.
    #[must_use]
    pub fn body_type(&self) -> CallbackBodyType {
        self.body_type
    }

    /// Reads the variables of OSS from the body, under the names that OSS uses. See the
    /// [module docs](super#reading-the-body) for the rules.
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
    /// Fails if the body is not UTF-8, if its content type is JSON and the body is not, or if a
    /// name at the top level is repeated. Fails if a variable has the wrong type: a numeric
    /// variable that is not a number, or an `x:` variable that is not a string. Fails if OSS did
    /// not replace a variable. With a ticket it never fails, because the layer has read the event.
    pub fn event(&self) -> Result<UploadEvent, EventError> {
        match &self.granted {
            Some(granted) => Ok(granted.upload.event.clone()),
            None => event::read_event(self.body_type, &self.body),
        }
    }

    /// Like [`event`](Self::event), but also reads the names of Alibaba's sample servers:
    /// `filename` as the object, and `height`, `width` and `format` as those of the image. A
    /// variable that is present under its own name keeps that value.
    ///
    /// For the `callbackBody` of the samples, which [`CallbackDirective::new`] sends too:
    /// `filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=…`.
    /// Without a ticket, do not use it for other templates: a `filename` there may be something
    /// else. With a ticket, each variable is already known under the name that the template gave
    /// it.
    ///
    /// ```
    /// use tower_aliyun_oss::callback::{EventError, VerifiedCallback};
    ///
    /// fn name(callback: &VerifiedCallback) -> Result<Option<String>, EventError> {
    ///     Ok(callback.event_of_sample()?.object().map(str::to_owned))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails for the reasons of [`event`](Self::event), for the additional names too.
    ///
    /// [`CallbackDirective::new`]: crate::policy::CallbackDirective::new
    pub fn event_of_sample(&self) -> Result<UploadEvent, EventError> {
        match &self.granted {
            Some(granted) => Ok(granted.upload.event.clone()),
            None => event::read_event_of_sample(self.body_type, &self.body),
        }
    }

    /// Deserializes the body into your own type. See the [module docs](super#reading-the-body) for
    /// the rules.
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
    /// Fails if the body is not UTF-8, if its content type is JSON and the body is not, if a name
    /// at the top level is repeated (even one that `T` does not have), or if the body does not
    /// match `T`.
    pub fn event_as<T: DeserializeOwned>(&self) -> Result<T, EventError> {
        let (plus, body) = match self.granted.as_deref() {
            Some(Granted { upload, .. }) => {
                (upload.plus, upload.respelled.as_ref().unwrap_or(&self.body))
            }
            None => (Plus::default(), &self.body),
        };
        event::read(self.body_type, plus, body)
    }

    /// Deserializes the claims of the ticket: what you attached to the grant, such as the user who
    /// uploads. Claims are authentic, and the uploader can read them.
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
    /// fn uploader(callback: &VerifiedCallback) -> Result<u64, TicketError> {
    ///     callback.claims::<Claims>().map(|claims| claims.user)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`TicketError::Absent`] if the callback has no [ticket](Self::ticket), and with
    /// [`TicketError::Claims`] if the claims do not match `T`. A ticket without claims contains
    /// JSON `null`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, TicketError> {
        self.ticket().ok_or(TicketError::Absent)?.claims()
    }

    /// Returns the name of the file that the client requested the token for: the `filename` that
    /// the authoriser also finds in
    /// [`RequestedFile::filename`](crate::policy::RequestedFile::filename). It tells the files of a
    /// batch apart, and is what a user expects to see in a list of uploads.
    ///
    /// The ticket seals the name, so the holder of the token cannot change it. Nothing confirms
    /// that the uploaded file has this name, and with a grant for [any name under a
    /// prefix](crate::policy::Grant::any_name_under), several uploads can have the same. `None` if
    /// the client sent no name or an empty one, if the upload is [not from a
    /// client](crate::OssUploads::callback_for), or if the callback has no ticket.
    ///
    /// **It is hostile text** of 1 to 1,023 bytes. It can contain `../`, HTML, line breaks, and
    /// marks that display text in another order than it is stored in. Never use it as a path,
    /// escape it in pages, and log it with `{:?}`, which escapes control characters and these
    /// marks.
    ///
    /// ```
    /// use tower_aliyun_oss::{CallbackReply, VerifiedCallback};
    ///
    /// async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
    ///     // "Holiday in 中国.jpg" is stored as "user/7/0190….jpg".
    ///     println!("{:?}: {:?}", callback.requested_filename(), callback.event());
    ///     CallbackReply::ok()
    /// }
    /// ```
    #[must_use]
    pub fn requested_filename(&self) -> Option<&str> {
        self.ticket()?.filename()
    }

    /// Returns the nonce of the ticket, which is unique to the token that was issued. The ticket is
    /// authentic, has not expired, seals the fields of the body, and grants what they report.
    ///
    /// `None` if the layer does not require tickets, or accepted this callback
    /// [without one](crate::ticket::Tickets::dangerous_accept_without_ticket_until).
    #[must_use]
    pub fn ticket_nonce(&self) -> Option<Nonce> {
        self.ticket().map(CheckedTicket::nonce)
    }

    /// Returns the ticket, of which applications need the [claims](Self::claims) and the
    /// [nonce](Self::ticket_nonce).
    #[doc(hidden)]
    #[must_use]
    pub fn ticket(&self) -> Option<&CheckedTicket> {
        self.granted.as_deref().map(|granted| &granted.ticket)
    }

    /// Returns the SHA-256 of the signed text, by which a store distinguishes callbacks with the
    /// same ticket. `None` if the callback has no ticket. The layer already ensured that this
    /// callback is handled once.
    #[must_use]
    pub fn text_digest(&self) -> Option<[u8; 32]> {
        self.granted.as_deref().map(|granted| granted.digest)
    }

    /// Returns what OSS itself reports about the object, if the layer
    /// [confirms](super::OssCallbackLayer::confirm) uploads. It was read after the callback was
    /// verified, and agrees with [`event`](Self::event).
    ///
    /// `None` if the layer does not confirm, or accepted this callback
    /// [without a ticket](crate::ticket::Tickets::dangerous_accept_without_ticket_until). A handler
    /// that must not run then takes a `ConfirmedUpload` (feature `axum`).
    #[must_use]
    pub fn confirmed(&self) -> Option<&ObjectMetadata> {
        self.confirmed.as_deref()
    }

    /// Returns the signed target: the path and query that OSS called.
    #[must_use]
    pub fn target(&self) -> &CallbackTarget {
        &self.target
    }

    /// Returns where the callback comes from.
    ///
    /// A [recovered](Origin::Recovered) callback is not signed. It has the body that OSS would have
    /// sent, as far as OSS reports it afterwards: it lacks what only the upload itself showed, such
    /// as the request ID, the IP address of the uploader and the size of an image. It always is
    /// [confirmed](Self::confirmed).
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self.proven {
            Proven::Signature { .. } => Origin::Oss,
            Proven::Recovery(_) => Origin::Recovered,
        }
    }

    /// Returns an identifier of the upload, which is the same for its callback, for each repetition
    /// of it, and for its [recovery](crate::recovery). No two uploads have the same.
    ///
    /// Write it under a unique key, in the transaction of the handler: the upload then takes effect
    /// once, whatever fails in between.
    ///
    /// It consists of lower-case hex digits and `-`, at most 65 characters. With a ticket for one
    /// object, it is the [nonce](Self::ticket_nonce) of the ticket. With a ticket for several
    /// objects, which is not recovered, half of the [text digest](Self::text_digest) follows.
    /// Without a ticket it is the text digest.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use tower_aliyun_oss::VerifiedCallback;
    ///
    /// // In SQL: `INSERT INTO uploads (upload_id, …) VALUES ($1, …) ON CONFLICT DO NOTHING`.
    /// fn insert(uploads: &mut HashMap<String, String>, callback: &VerifiedCallback, object: String) {
    ///     uploads.entry(callback.upload_id()).or_insert(object);
    /// }
    /// ```
    #[must_use]
    pub fn upload_id(&self) -> String {
        let hex = base16ct::lower::encode_string;
        let Some(granted) = self.granted.as_deref() else {
            return hex(&text_digest(&self.target, &self.body));
        };
        let nonce = upload_id(granted.ticket.nonce());
        if granted.ticket.is_exact() {
            return nonce;
        }
        let (half, _) = granted.digest.split_at(16);
        format!("{nonce}-{}", hex(half))
    }

    /// Returns the URL of the key. `None` if the callback is [recovered](Origin::Recovered).
    #[must_use]
    pub fn key_url(&self) -> Option<&KeyUrl> {
        match &self.proven {
            Proven::Signature { key_url, .. } => Some(key_url),
            Proven::Recovery(_) => None,
        }
    }

    /// Returns the key that verified the signature. `None` if the callback is
    /// [recovered](Origin::Recovered).
    #[must_use]
    pub fn key(&self) -> Option<&PublicKey> {
        match &self.proven {
            Proven::Signature { key, .. } => Some(key),
            Proven::Recovery(_) => None,
        }
    }

    /// Returns `x-oss-bucket`: the alleged bucket of the object.
    ///
    /// **OSS does not sign this header**: the sender of the request can choose its value. Use it in
    /// logs, never for a decision. `None` if the header is absent or repeated, or contains
    /// characters other than visible ASCII.
    #[must_use]
    pub fn unauthenticated_bucket(&self) -> Option<&str> {
        text(self.unauthenticated.bucket.as_ref())
    }

    /// Returns `x-oss-owner`: the account that allegedly owns the bucket.
    ///
    /// **OSS does not sign this header**: the sender of the request can choose its value. Use it in
    /// logs, never for a decision. `None` if the header is absent or repeated, or contains
    /// characters other than visible ASCII.
    #[must_use]
    pub fn unauthenticated_owner(&self) -> Option<&str> {
        text(self.unauthenticated.owner.as_ref())
    }

    /// Returns `x-oss-requester`: the account that allegedly uploaded the object.
    ///
    /// **OSS does not sign this header**: the sender of the request can choose its value. Use it in
    /// logs, never for a decision. `None` if the header is absent or repeated, or contains
    /// characters other than visible ASCII.
    #[must_use]
    pub fn unauthenticated_requester(&self) -> Option<&str> {
        text(self.unauthenticated.requester.as_ref())
    }

    /// Returns `x-oss-request-id`: the alleged ID of the upload request. Alibaba's support asks
    /// for it.
    ///
    /// **OSS does not sign this header**: the sender of the request can choose its value. Use it in
    /// logs, never for a decision. `None` if the header is absent or repeated, or contains
    /// characters other than visible ASCII.
    #[must_use]
    pub fn unauthenticated_request_id(&self) -> Option<&str> {
        text(self.unauthenticated.request_id.as_ref())
    }
}

impl fmt::Debug for VerifiedCallback {
    /// Omits the body and the query: they can contain data that must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCallback")
            .field("path", &self.target.path())
            .field("body_type", &self.body_type)
            .field("body_len", &self.body.len())
            .field("origin", &self.origin())
            .field("key_url", &self.key_url())
            .field("nonce", &self.ticket_nonce())
            .finish_non_exhaustive()
    }
}

/// Headers of a callback that the signature does not cover. A repeated header counts as absent.
#[derive(Clone, Debug, Default)]
pub(super) struct Unauthenticated {
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
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value?.to_str().ok()
}
