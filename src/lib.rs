//! Tower middleware for direct uploads to Alibaba Cloud OSS.
//!
//! Browsers and apps upload straight to OSS; your server hands out the permission and is called back afterwards:
//!
//! ```text
//!  browser ── ask for a token ──▶ OssPolicyService        (your server)
//!  browser ── form + token ─────▶ OSS
//!  OSS ────── POST callback ────▶ OssCallbackLayer ──▶ your handler
//!  browser ◀─ your answer ─────── OSS
//! ```
//!
//! * [`OssCallbackLayer`] verifies that a callback was signed by OSS before an inner service sees it. See
//!   [`callback`].
//! * [`OssPolicyService`] answers token requests. See [`policy`].
//!
//! Both are plain [`tower`](https://docs.rs/tower) and work in axum, tonic, hyper and everything else that takes a
//! tower service.
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn app() -> Result<axum::Router, Box<dyn std::error::Error>> {
//! use axum::{Router, routing::post};
//! use http::request::Parts;
//! use tower_aliyun_oss::callback::{CallbackReply, OssCallbackLayer, VerifiedCallback};
//! use tower_aliyun_oss::policy::{CallbackDirective, Credentials, Grant, OssPolicyService, Refusal};
//! use tower_aliyun_oss::protocol::SizeRange;
//!
//! async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
//!     // Whoever your session layer has put there.
//!     let user: u64 = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
//!     let prefix = format!("user/{user}/").parse().map_err(|_| Refusal::forbidden())?;
//!     let size = SizeRange::new(1, 10 * 1024 * 1024).map_err(|_| Refusal::forbidden())?;
//!     Ok(Grant::under(prefix, size))
//! }
//!
//! async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
//!     println!("oss says: {}", String::from_utf8_lossy(callback.body()));
//!     CallbackReply::ok()
//! }
//!
//! let tokens = OssPolicyService::new(
//!     authorize,
//!     Credentials::new("LTAI5tExample", "secret")?,
//!     "examplebucket".parse()?,
//!     "cn-hangzhou".parse()?,
//!     CallbackDirective::new("https://app.example/oss/callback")?,
//! )?;
//! let app = Router::new()
//!     .route_service("/oss/policy", tokens)
//!     .route("/oss/callback", post(on_upload).route_layer(OssCallbackLayer::new()));
//! # Ok(app)
//! # }
//! ```
//!
//! # What a verified callback means
//!
//! That OSS sent this body to this path, for somebody. One 512-bit RSA key signs the callbacks of all customers, over
//! MD5, without a time: anybody can have OSS sign any body for your URL, and what was signed once can be sent again
//! for ever. Read the section "Security" of the README before you rely on it.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `axum` | [`callback::VerifiedCallback`] as an extractor, [`callback::CallbackReply`] as a response, and axum's `OriginalUri` taken for the signed path without configuration |
//! | `fetch` | [`key::FetchedKeys`]: keys that are not pinned, over https from the one host that has them |
//! | `redis` | [`ticket::RedisStore`]: a ticket is used once, on however many machines |
//! | `testing` | [`testing::CallbackSigner`]: callbacks as OSS sends them, signed with a key of your own |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod callback;
pub mod key;
mod lookup;
pub mod policy;
pub mod protocol;
mod sign;
#[cfg(feature = "testing")]
pub mod testing;
pub mod ticket;
mod uploads;

pub use callback::OssCallbackLayer;
pub use lookup::{Lookup, LookupFuture};
pub use policy::OssPolicyService;
pub use uploads::{OssUploads, OssUploadsBuilder, OssUploadsError};

/// The examples of the README compile.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
pub struct ReadmeDoctests;
