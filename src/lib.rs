//! Tower middleware for direct uploads to Alibaba Cloud OSS.
//!
//! Browsers and apps upload straight to OSS. Your server issues the permission and is called back
//! afterwards:
//!
//! ```text
//! client ── request a token ──▶ OssPolicyService      (your server)
//! client ── form + token ─────▶ OSS
//! OSS ───── POST callback ────▶ OssCallbackLayer ──▶ your handler
//! client ◀─ your response ───── OSS
//! ```
//!
//! [`OssUploads`] is both halves from one configuration, bound by tickets: a callback reaches the
//! handler only if this server granted the upload.
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # mod app {
//! use axum::{Router, routing::post};
//! use http::request::Parts;
//! use tower_aliyun_oss::{
//!     CallbackReply, ContentType, Credentials, Grant, ObjectPrefix, OssUploads, Refusal, SizeRange,
//!     TicketKey, VerifiedCallback,
//! };
//!
//! #[derive(Clone, Copy)]
//! struct UserId(u64); // set by your session layer
//!
//! async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
//!     let UserId(user) = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
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
//! fn app() -> Result<Router, Box<dyn std::error::Error>> {
//!     let uploads = OssUploads::builder("examplebucket".parse()?, Credentials::from_env()?)
//!         .region("cn-hangzhou".parse()?)
//!         .callback_url("https://app.example/oss/callback")
//!         .ticket_key(TicketKey::from_env("OSS_TICKET_KEY")?) // openssl rand -base64 32
//!         .build()?;
//!     Ok(Router::new()
//!         .route_service("/oss/policy", uploads.policy_service(authorize))
//!         .route("/oss/callback", post(on_upload).route_layer(uploads.callback_layer())))
//! }
//! # }
//! ```
//!
//! Each half also works alone: [`OssPolicyService`] answers token requests (see [`policy`]), and
//! [`OssCallbackLayer`] verifies that OSS signed a callback (see [`callback`]). Both are plain
//! [`tower`](https://docs.rs/tower) and work in axum, tonic, hyper and every other tower server:
//! [frameworks](guide::frameworks) has tested recipes for seven of them.
//!
//! # What a verified callback means
//!
//! OSS sent this body to this target, for *somebody*. One 512-bit RSA key signs the callbacks of
//! all customers of OSS, over MD5 and without a timestamp. Anyone can have OSS sign any body for
//! your URL, and a signed callback can be replayed. Tickets close that gap. Read
//! [what a verified callback proves](guide::security) before you rely on one.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `axum` | [`VerifiedCallback`] as an extractor, [`CallbackReply`] as a response, and axum's `OriginalUri` honoured as the signed path |
//! | `fetch` | `key::FetchedKeys`: keys that are not pinned, over HTTPS from the one host that has them |
//! | `metrics` | metrics for the recorder of the `metrics` crate, and a span for each callback and token, see [metrics](guide::metrics) |
//! | `redis` | `ticket::RedisStore`: single use of tickets across machines |
//! | `redis-tls` | `rediss://` URLs for `ticket::RedisStore`: TLS, without a C library |
//! | `storage` | `storage::OssClient`: asks OSS about an upload before the handler runs, see [`OssCallbackLayer::confirm`] |
//! | `testing` | `testing::CallbackSigner`: callbacks signed with your own key, for tests |
//!
//! The package `aliyun-oss-emulator` is OSS on one machine, for tests and development:
//! [testing your app](guide::testing_your_app).

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod callback;
mod causes;
#[cfg(any(feature = "fetch", feature = "storage"))]
mod https;
pub mod key;
mod lookup;
mod metrics;
pub mod policy;
pub mod protocol;
pub mod recovery;
mod sign;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;
pub mod ticket;
#[cfg(any(feature = "fetch", feature = "redis-tls", feature = "storage"))]
mod tls;
mod uploads;

/// Guides: frameworks, browser clients, Alibaba Cloud set-up, confirmed and recovered uploads,
/// deployment, security, tests of an application.
pub mod guide {
    #[doc = include_str!("../docs/alibaba-cloud.md")]
    pub mod alibaba_cloud {}
    #[doc = include_str!("../docs/browser.md")]
    pub mod browser {}
    #[doc = include_str!("../docs/checks.md")]
    pub mod checks {}
    #[doc = include_str!("../docs/clients.md")]
    pub mod clients {}
    #[doc = include_str!("../docs/comparison.md")]
    pub mod comparison {}
    #[doc = include_str!("../docs/confirm.md")]
    pub mod confirm {}
    #[doc = include_str!("../docs/deployment.md")]
    pub mod deployment {}
    #[doc = include_str!("../docs/frameworks.md")]
    pub mod frameworks {}
    #[doc = include_str!("../docs/ledger.md")]
    pub mod ledger {}
    #[doc = include_str!("../docs/presign.md")]
    pub mod presign {}
    #[doc = include_str!("../docs/sample-drop-in.md")]
    pub mod sample_drop_in {}
    #[doc = include_str!("../docs/metrics.md")]
    pub mod metrics {}
    #[doc = include_str!("../docs/security.md")]
    pub mod security {}
    #[doc = include_str!("../docs/testing.md")]
    pub mod testing {}
    #[doc = include_str!("../docs/testing-your-app.md")]
    pub mod testing_your_app {}
}

// What an application of twenty lines imports. Everything else has one path, in its module.
pub use callback::{CallbackReply, OssCallbackLayer, VerifiedCallback};
pub use lookup::{Lookup, LookupFuture};
pub use policy::{Credentials, Grant, OssPolicyService, Refusal};
pub use protocol::{ContentType, ObjectPrefix, SizeRange};
pub use ticket::TicketKey;
pub use uploads::{OssUploads, OssUploadsBuilder, OssUploadsError};

/// Compiles the examples of the README.
#[cfg(all(doctest, feature = "axum"))]
mod readme {
    #[doc = include_str!("../README.md")]
    struct English;
    #[doc = include_str!("../README.zh-CN.md")]
    struct Chinese;
}
