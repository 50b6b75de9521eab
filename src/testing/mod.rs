//! Callbacks as OSS sends them, signed with a key that is yours: for tests.
//!
//! [`CallbackSigner`] makes requests with the full set of headers that OSS sets, signed for a [`PinnedKeys`](crate::key::PinnedKeys) that knows
//! its key in the place of the published one:
//!
//! ```
//! use http_body_util::Full;
//! use bytes::Bytes;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_aliyun_oss::{OssCallbackLayer, callback::{CallbackBody, CallbackReply}, testing::CallbackSigner};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let handler = service_fn(|_: http::Request<CallbackBody<Full<Bytes>>>| async {
//!     Ok::<http::Response<Full<Bytes>>, std::convert::Infallible>(CallbackReply::ok().into())
//! });
//! let signer = CallbackSigner::new();
//! let app = OssCallbackLayer::new().key_source(signer.key_source()).layer(handler);
//!
//! let callback = signer
//!     .callback("https://app.example/oss/callback?from=oss")
//!     .json(r#"{"bucket":"examplebucket","object":"a.png","size":5}"#)
//!     .request()?;
//! assert_eq!(app.oneshot(callback).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! The built-in key is public knowledge. Nothing trusts it but a layer that was given [`CallbackSigner::key_source`]: keep
//! that in your tests, and this feature in your dev-dependencies.
//!
//! Source of the headers and the signature: the [Callback] page and requests captured from OSS.
//!
//! [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback

mod request;
mod signer;

pub use request::{CallbackBuilder, SignError};
pub use signer::{CallbackSigner, SignerKeyError};
