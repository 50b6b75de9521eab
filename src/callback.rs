//! Verifies upload callbacks from OSS.
//!
//! After an upload, OSS posts a callback to the URL that the upload named, and forwards the
//! response to the uploader. The operation `trigger/callback` has OSS call back for an object that
//! exists already. [`OssCallbackLayer`] passes a request to the inner service only if OSS
//! signed it. The inner service receives exactly the bytes that were verified, and a
//! [`VerifiedCallback`] in the request extensions.
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn app() -> Result<axum::Router, Box<dyn std::error::Error>> {
//! use axum::{Router, routing::post};
//! use http::request::Parts;
//! use tower_aliyun_oss::{
//!     CallbackReply, ContentType, Credentials, Grant, ObjectPrefix, OssUploads, Refusal, SizeRange,
//!     TicketKey, VerifiedCallback,
//! };
//!
//! async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
//!     let user: u64 = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
//!     let prefix = ObjectPrefix::from_segments(["user", &user.to_string()])?;
//!     let size = SizeRange::new(1, 10 << 20)?;
//!     Ok(Grant::under(prefix, size).content_types(ContentType::IMAGES).claims(&user))
//! }
//!
//! async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
//!     println!("{:?} by user {:?}", callback.event(), callback.claims::<u64>());
//!     CallbackReply::ok()
//! }
//!
//! let uploads = OssUploads::builder("examplebucket".parse()?, Credentials::from_env()?)
//!     .region("cn-hangzhou".parse()?)
//!     .callback_url("https://app.example/oss/callback")
//!     .ticket_key(TicketKey::from_env("OSS_TICKET_KEY")?) // openssl rand -base64 32
//!     .build()?;
//! Ok(Router::new()
//!     .route_service("/oss/policy", uploads.policy_service(authorize))
//!     .route("/oss/callback", post(on_upload).route_layer(uploads.callback_layer())))
//! # }
//! ```
//!
//! `OssCallbackLayer::new()` alone accepts every callback that OSS signed, for any customer.
//!
//! `post(handler).route_layer(layer)` answers other paths with 404 and other methods with 405, as
//! it does without the layer.
//!
//! # What is checked
//!
//! The checks run in this order. Checks 1 to 5 need no byte of the body:
//!
//! 1. The method is `POST`; otherwise 405.
//! 2. `authorization` and `x-oss-pub-key-url` occur once and are strict Base64 (otherwise 400). The
//!    key URL is in the table of the key source (otherwise 403). `x-oss-signature-version` is
//!    absent or `1.0` (otherwise 400).
//! 3. The path of the request is equivalent to its [canonical](crate::protocol::CallbackTarget)
//!    spelling or to an [`only_path`](OssCallbackLayer::only_path); otherwise 400. The inner
//!    service sees the canonical spelling. With tickets, check 7 decides on an ambiguous path.
//! 4. `content-length` does not exceed the [`body_limit`](OssCallbackLayer::body_limit); otherwise
//!    413.
//! 5. The content type is one of [`content_types`](OssCallbackLayer::content_types), without
//!    parameters except `charset=utf-8`, and there is no content encoding; otherwise 415.
//! 6. The body arrives in time (otherwise 408), completely (otherwise 400), and within the limit
//!    (otherwise 413).
//! 7. With [`tickets`](OssCallbackLayer::tickets): the body contains a ticket that is authentic,
//!    has not expired, and was issued for this target and body type; otherwise 403.
//! 8. The public key is available before the [`deadline`](OssCallbackLayer::deadline); otherwise
//!    503.
//! 9. The signature (RSASSA-PKCS1-v1_5 with MD5) verifies with that key over the decoded path, the
//!    query, a line feed and the body; otherwise 403.
//! 10. With tickets: the body has exactly the fields that the ticket seals, with its constants and
//!     custom variables, and bucket, object, size and content type are within what the ticket
//!     grants; otherwise 403.
//! 11. With tickets: the ticket was neither used for a different body nor used up (otherwise 403),
//!     and the store responds before the deadline (otherwise 503). A repeated callback receives the
//!     stored response, and the inner service does not run.
//! 12. With [`confirm`](OssCallbackLayer::confirm): OSS reports the object with the size, ETag and
//!     type of the callback (otherwise 403), and responds in time (otherwise 503).
//!
//! A [recovery](crate::recovery) calls the same service, in this process. In place of its checks 2,
//! 8 and 9, the request has an extension that only this crate can create, and that is valid for
//! this target and body only. Its ticket may have expired. Every other check applies.
//!
//! A rejection is JSON with a constant text and an exact length. Its extensions contain the
//! [`CallbackError`]. Errors of the inner service pass through unchanged. No error is answered with
//! 200.
//!
//! # Accept only what was granted
//!
//! Checks 1 to 9 prove only that OSS sent this body to this target for *somebody*: one key signs
//! for all customers, and anyone can have OSS sign any body for your URL.
//! [Tickets](OssCallbackLayer::tickets) prove that you granted the upload.
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
//!     // The claims that `authorize` attached to the grant.
//!     let claims: Claims = callback.claims().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
//!     println!("upload by user {}", claims.user);
//!     Ok(CallbackReply::ok())
//! }
//!
//! // Create the key with: openssl rand -base64 32
//! let key = TicketKey::from_base64(&std::env::var("OSS_TICKET_KEY")?)?;
//! let tickets = Tickets::in_memory(TicketKeys::new(1, key));
//! let layer = OssCallbackLayer::new().tickets(tickets);
//! Ok(Router::new().route("/oss/callback", post(on_upload).route_layer(layer)))
//! # }
//! ```
//!
//! # Any tower server
//!
//! Without a router, dispatch on the path. Inside of the layer, a request has the body
//! [`RequestBody`], and the extension says that it is verified. This service runs in hyper with
//! `TowerToHyperService`:
//!
//! ```
//! use std::{convert::Infallible, error::Error};
//! use http::{Request, Response, StatusCode, request::Parts};
//! use http_body::Body;
//! use http_body_util::Full;
//! use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
//! use tower_aliyun_oss::{
//!     CallbackReply, ContentType, Credentials, Grant, OssUploads, Refusal, SizeRange, TicketKey,
//!     VerifiedCallback, callback::RequestBody,
//! };
//! # use bytes::Bytes;
//!
//! async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
//!     // Identify the user first.
//!     let size = SizeRange::new(1, 10 << 20)?;
//!     Ok(Grant::under("user/7/".parse()?, size).content_types(ContentType::IMAGES))
//! }
//!
//! async fn on_upload<B>(request: Request<RequestBody<B>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     // Without the extension, the request is not verified: the layer is missing, or `only_path`
//!     // let the request pass.
//!     let Some(callback) = request.extensions().get::<VerifiedCallback>() else {
//!         let mut response = Response::default();
//!         *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
//!         return Ok(response);
//!     };
//!     println!("{:?}", callback.event());
//!     Ok(CallbackReply::ok().into())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn Error>> {
//! let uploads = OssUploads::builder("examplebucket".parse()?, Credentials::new("id", "secret")?)
//!     .region("cn-hangzhou".parse()?)
//!     .callback_url("https://app.example/oss/callback")
//!     .ticket_key(TicketKey::generate()?) // in production: `TicketKey::from_env`
//!     .build()?;
//! let tokens = uploads.policy_service(authorize);
//! let callbacks = uploads.callback_layer().layer(service_fn(on_upload));
//! let service = service_fn(move |request: Request<Full<Bytes>>| {
//!     let (tokens, callbacks) = (tokens.clone(), callbacks.clone());
//!     async move {
//!         match request.uri().path() {
//!             "/oss/callback" => Ok(callbacks.oneshot(request).await?.map(boxed)),
//!             _ => tokens.oneshot(request).await.map(|response| response.map(boxed)),
//!         }
//!     }
//! });
//! # use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
//! # fn boxed<B>(body: B) -> UnsyncBoxBody<Bytes, BoxError>
//! # where B: Body<Data = Bytes> + Send + 'static, B::Error: Into<BoxError> {
//! #     body.map_err(Into::into).boxed_unsync()
//! # }
//! let request = Request::get("/oss/policy?type=image/png").body(Full::default())?;
//! assert_eq!(service.clone().oneshot(request).await?.status(), 200);
//! let request = Request::post("/oss/callback").body(Full::default())?;
//! assert_eq!(service.oneshot(request).await?.status(), 400);
//! # Ok(())
//! # }
//! ```
//!
//! In tonic, add the routes of the first example to the server:
//! `Server::builder().accept_http1(true).add_routes(Routes::from(router).add_service(greeter))`.
//! `examples/hyper.rs` and `examples/tonic` are complete servers.
//!
//! # Reading the body
//!
//! `callbackBody` decides what a body contains. [`VerifiedCallback::event`] reads the variables
//! that keep their OSS names. [`VerifiedCallback::event_as`] deserializes the body into
//! your own type:
//!
//! ```
//! use serde::Deserialize;
//! use tower_aliyun_oss::callback::{EventError, VerifiedCallback};
//!
//! // callbackBody: bucket=${bucket}&object=${object}&size=${size}&x:uid=${x:uid}
//! fn with_oss_names(callback: &VerifiedCallback) -> Result<(), EventError> {
//!     let event = callback.event()?;
//!     println!("{:?}, {:?} bytes, user {:?}", event.object(), event.size(), event.custom("uid"));
//!     Ok(())
//! }
//!
//! // callbackBody of Alibaba's sample servers and of `CallbackDirective::new`:
//! // filename=${object}&size=${size}&mimeType=${mimeType}
//! //     &height=${imageInfo.height}&width=${imageInfo.width}
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
//! fn with_own_names(callback: &VerifiedCallback) -> Result<Upload, EventError> {
//!     callback.event_as()
//! }
//! ```
//!
//! In the sample body, `event` finds only `size` and `mimeType`: nothing in the body marks
//! `filename` as the object. Both methods follow the same rules:
//!
//! * The [body type](VerifiedCallback::body_type) decides how the body is parsed; it is never
//!   guessed from the body. In a form, `+` and `%20` are spaces, and every byte sequence is a valid
//!   set of fields.
//! * A field that OSS leaves empty is `None` in an `Option`. Empty means: no value after the `=` in
//!   a form, `null` for a string in JSON, and a missing number in JSON (`"imageInfo.height":,`),
//!   which no JSON parser accepts and which is repaired before parsing. In a form, an empty value
//!   that is not an `Option` is an empty `String`, and an error for a number.
//! * A repeated name is an error, in any spelling (`%61` in a form and `\u0061` in JSON are `a`),
//!   because two parsers could pick different values. This applies to all names at the top level,
//!   whether `T` has the field or not; your type decides about deeper levels of JSON.
//! * Bytes that are not UTF-8 are an error in every field.
//! * In `event`, a variable whose value is its own placeholder (`${object}`) is an error: OSS
//!   inserts nothing if `callbackBody` was percent-encoded as a whole.
//! * Unknown fields are ignored unless your type denies them. All values of a form are text, so
//!   `#[serde(flatten)]` and untagged enums find no numbers there.
//! * JSON may be nested at most 128 levels deep when it is read into `T`. Parsing takes linear time
//!   in the length of the body, which [`body_limit`](OssCallbackLayer::body_limit) bounds. The
//!   repair inserts at most 349 values, more than OSS can leave out.
//!
//! With a ticket, both read what was granted: the body has the sealed fields and no others, the
//! content type has the spelling of the grant, and `event` finds a variable under any name that the
//! template gave it. OSS does not document how it writes a `+` or a space in a form. If the sealed
//! texts match only when `+` is a plus sign, it is one in the whole body.
//!
//! # When the signature never matches
//!
//! Something between OSS and the layer rewrites the path, the query or the body. A warning reports
//! the first signature that OSS made for another text, and one an hour after that. Set the log
//! level of the target `tower_aliyun_oss::diagnose` to `DEBUG`
//! (`RUST_LOG=tower_aliyun_oss::diagnose=debug`). Each mismatch then starts a search for the text
//! that OSS signed, and the log names that text and what to change. Without tower, call
//! [`diagnose()`]. The search never changes a response and takes about ten milliseconds at most.
//! Disable it once the signature matches, because anyone can replay a signature of OSS to a
//! different path.
//!
//! # Deployment caveat
//!
//! * The layer needs a tokio runtime with the timer enabled as soon as it has to wait for a body, a
//!   key or a store.
//! * The server limits the time until the request head is complete. `axum::serve` (0.8) sets no
//!   limit, see `examples/appserver.rs`.
//! * Compression removes the length from a response, and OSS rejects such a response: disable it on
//!   this route.
//!
#![doc = include_str!("callback/mounting.md")]

#[cfg(feature = "axum")]
mod axum;
mod body;
mod config;
mod confirm;
mod diagnose;
mod error;
mod event;
mod future;
mod layer;
mod log;
mod prefix;
mod recovered;
mod redemption;
mod reply;
mod service;
mod settlement;
mod text;
mod verified;
mod verifier;

#[cfg(test)]
mod tests;

#[cfg(feature = "axum")]
pub use self::axum::{ConfirmedUpload, NotVerified};
pub use body::{RequestBody, ResponseBody};
pub(crate) use config::IssuedTarget;
pub use config::VerifierConfig;
pub use diagnose::{BodyCandidate, Diagnosis, TargetChange, TargetOrigin, diagnose};
pub use error::{CallbackError, CallbackErrorKind};
pub(crate) use event::find_ticket;
pub use event::{EventError, UploadEvent};
pub use future::ResponseFuture;
pub use layer::{ConfirmError, OssCallbackLayer};
pub(crate) use recovered::RecoveredUpload;
pub(crate) use redemption::HandlerRuns;
pub use reply::{CallbackReply, ReplyError};
pub use service::OssCallback;
pub(crate) use verified::upload_id;
pub use verified::{Origin, VerifiedCallback};
pub use verifier::CallbackVerifier;
