//! Inbound: a request that claims to come from OSS.
//!
//! After an upload OSS posts to the callback URL that the upload named, and hands your answer to the uploader.
//! [`OssCallbackLayer`] lets only requests through that OSS has signed; the inner service gets exactly the bytes that
//! were verified, and a [`VerifiedCallback`] in the extensions.
//!
//! # What is checked
//!
//! In this order, and everything up to the fifth before a byte of the body is taken in:
//!
//! 1. The method is `POST`; else 405.
//! 2. `authorization` and `x-oss-pub-key-url` stand once and are strict Base64 (else 400), and the key URL is in the
//!    table of the key source (else 403); `x-oss-signature-version` is `1.0` or absent (else 400).
//! 3. The request target is spelled [canonically](crate::protocol::CallbackTarget), or its raw path is the one of
//!    [`only_path`](OssCallbackLayer::only_path); else 400.
//! 4. The announced length is within [`body_limit`](OssCallbackLayer::body_limit); else 413.
//! 5. The content type is one of [`content_types`](OssCallbackLayer::content_types), without parameters but
//!    `charset=utf-8`, and there is no content encoding; else 415.
//! 6. The body arrives in time (else 408), whole (else 400), and is not larger than the limit (else 413).
//! 7. With [`tickets`](OssCallbackLayer::tickets): the body bears one that is authentic, has not expired, and is for
//!    this target and body type; else 403.
//! 8. The key is at hand before the [`deadline`](OssCallbackLayer::deadline); else 503.
//! 9. The signature (RSASSA-PKCS1-v1_5 with MD5) was made with that key over the decoded path, the query, a line feed
//!    and the body; else 403.
//! 10. With tickets: `bucket`, `object`, `size` and `mimeType` are within what the ticket grants; else 403.
//! 11. With tickets: the ticket was not used for another body, or as often as it may (else 403), and the store can tell
//!     before the deadline (else 503). What was answered before is answered again, and the inner service does not run.
//!
//! Rejections are JSON of a constant text, with an exact length and the [`CallbackError`] in their extensions; an
//! error of the inner service passes through as it is. No error is answered with 200.
//!
//! # axum
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn app() -> axum::Router {
//! use axum::{Router, routing::post};
//! use tower_aliyun_oss::{OssCallbackLayer, callback::{CallbackReply, VerifiedCallback}};
//!
//! async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
//!     println!("{} bytes for {}", callback.body().len(), callback.target());
//!     CallbackReply::ok()
//! }
//!
//! Router::new().route("/oss/callback", post(on_upload).route_layer(OssCallbackLayer::new()))
//! # }
//! ```
//!
//! `post(handler).route_layer(layer)` answers other paths with 404 and other methods with 405, as without the layer.
//!
//! # Only what was granted
//!
//! The first nine lines of that list prove that OSS sent this body to this target for *somebody*: one key signs for every
//! customer, and anybody can have OSS sign any body for your URL. [Tickets](OssCallbackLayer::tickets) prove the rest.
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn app() -> Result<axum::Router, Box<dyn std::error::Error>> {
//! use axum::{Router, http::StatusCode, routing::post};
//! use serde::{Deserialize, Serialize};
//! use tower_aliyun_oss::{OssCallbackLayer, callback::{CallbackReply, VerifiedCallback}};
//! use tower_aliyun_oss::ticket::{TicketKey, TicketKeys, Tickets};
//!
//! #[derive(Deserialize, Serialize)]
//! struct Claims {
//!     user: u64,
//! }
//!
//! async fn on_upload(callback: VerifiedCallback) -> Result<CallbackReply, StatusCode> {
//!     // Whose upload it is, as it was said when it was granted.
//!     let claims: Claims = callback.claims().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
//!     println!("an upload of user {}", claims.user);
//!     Ok(CallbackReply::ok())
//! }
//!
//! // openssl rand -base64 32
//! let key = TicketKey::from_base64(&std::env::var("OSS_TICKET_KEY")?)?;
//! let tickets = Tickets::in_memory(TicketKeys::new(1, key));
//! let layer = OssCallbackLayer::new().tickets(tickets);
//! Ok(Router::new().route("/oss/callback", post(on_upload).route_layer(layer)))
//! # }
//! ```
//!
//! # Any tower server
//!
//! ```
//! use std::convert::Infallible;
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_aliyun_oss::{OssCallbackLayer, callback::{CallbackBody, CallbackReply, VerifiedCallback}};
//!
//! async fn on_upload(request: Request<CallbackBody<Full<Bytes>>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     // Without it nothing is verified, and nothing is OK: the layer was left out, or `only_path` let it pass.
//!     let Some(callback) = request.extensions().get::<VerifiedCallback>() else {
//!         let mut response = Response::default();
//!         *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
//!         return Ok(response);
//!     };
//!     println!("{} verified bytes", callback.body().len());
//!     Ok(CallbackReply::ok().into())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new().layer(OssCallbackLayer::new()).service(service_fn(on_upload));
//! let response = service.oneshot(Request::new(Full::default())).await.unwrap();
//! assert_eq!(response.status(), 405);
//! # }
//! ```
//!
//! # Reading the body
//!
//! What a body looks like is up to `callbackBody`. [`VerifiedCallback::event`] finds the variables that keep the
//! names OSS gives them; [`VerifiedCallback::event_as`] reads the body into a type of yours:
//!
//! ```
//! use serde::Deserialize;
//! use tower_aliyun_oss::callback::{EventError, VerifiedCallback};
//!
//! // callbackBody: bucket=${bucket}&object=${object}&size=${size}&x:uid=${x:uid}
//! fn by_the_names_of_oss(callback: &VerifiedCallback) -> Result<(), EventError> {
//!     let event = callback.event()?;
//!     println!("{:?}, {:?} bytes, of user {:?}", event.object(), event.size(), event.custom("uid"));
//!     Ok(())
//! }
//!
//! // callbackBody, as Alibaba's sample servers and `CallbackDirective::new` have it:
//! // filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}
//! #[derive(Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! struct Upload {
//!     filename: String,
//!     size: u64,
//!     mime_type: Option<String>,
//!     height: Option<u32>,
//!     width: Option<u32>,
//! }
//!
//! fn by_your_own_names(callback: &VerifiedCallback) -> Result<Upload, EventError> {
//!     callback.event_as()
//! }
//! ```
//!
//! Of the sample body, `event` finds `size` and `mimeType` only: that `filename` is an object, nothing in the body
//! says. Both methods go by the same rules:
//!
//! * The [body type](VerifiedCallback::body_type) says how the body is read; it is not guessed from the body. In a
//!   form, `+` and `%20` are spaces, and anything at all is some set of fields.
//! * A field that OSS leaves empty is `None` in an `Option`: nothing behind the `=` in a form, `null` for a string in
//!   JSON, and nothing at all for a number in JSON (`"imageInfo.height":,`), which no parser of JSON takes and which
//!   is filled in here first. Elsewhere an empty value of a form is an empty `String`, and no number.
//! * A name that stands twice is an error, in whatever spelling (`%61` in a form and `\u0061` in JSON are `a`),
//!   because two readers could go by two values. That goes for every name of the top level, asked for or not; deeper
//!   in JSON it is up to your type.
//! * Bytes that are not UTF-8 are an error, in whatever field.
//! * Other fields do no harm, unless your type denies them. In a form all values are text: `#[serde(flatten)]` and
//!   untagged enums find no numbers there.
//! * JSON that is read into `T` is nested at most 128 deep. The time is linear in the length of the body, which
//!   [`body_limit`](OssCallbackLayer::body_limit) bounds.
//!
//! # When the signature never matches
//!
//! Then something between OSS and the layer rewrites the path, the query or the body. Raise the log level of the target
//! `tower_aliyun_oss::diagnose` to `DEBUG` (`RUST_LOG=tower_aliyun_oss::diagnose=debug`): each mismatch is then
//! followed by a search for the text that was signed, and the log says which it was and what to change. Without tower,
//! call [`diagnose()`]. The search never changes an answer, and costs about ten milliseconds at worst; switch it off
//! again when all is well, since anybody can replay a signature of OSS to another path.
//!
//! # Deployment caveat
//!
//! * The layer needs a tokio runtime with its timer enabled as soon as a body comes in pieces.
//! * The time until the request head is complete is the server's business: `axum::serve` (0.8) sets no limit, see
//!   `examples/appserver.rs`.
//! * Compression turns an answer into one without length, which OSS refuses: keep it off this route.
//!
#![doc = include_str!("mounting.md")]

#[cfg(feature = "axum")]
mod axum;
mod body;
mod bond;
mod claim;
mod claiming;
mod config;
mod diagnose;
mod error;
mod event;
mod future;
mod keeping;
mod layer;
mod reply;
mod report;
mod rules;
mod service;
mod signature;
mod timer;
mod verified;
mod verifier;
mod verifying;

#[cfg(feature = "axum")]
pub use self::axum::NotVerified;
pub use body::{CallbackBody, ResponseBody};
pub use diagnose::{
    BodyCandidate, Diagnosis, TargetCandidate, TargetChange, TargetOrigin, diagnose,
};
pub use error::{CallbackError, CallbackErrorKind};
pub use event::{EventError, EventErrorKind, UploadEvent};
pub use future::ResponseFuture;
pub use layer::OssCallbackLayer;
pub use reply::{CallbackReply, ReplyError};
pub use rules::Rules;
pub use service::OssCallback;
pub use verified::{Unauthenticated, VerifiedCallback};
pub use verifier::Preflight;

#[cfg(test)]
mod tests;
