//! OSS on your own machine: uploads with their signatures, their policies and their signed callbacks.
//!
//! Callbacks need a public address and a bucket that costs money. The emulator needs neither. It takes forms as
//! `PostObject` takes them, checks signature and policy as strictly as OSS, stores the object, and calls your server
//! back with a request signed as OSS signs them, by a key that [`OssCallbackLayer`](tower_aliyun_oss::OssCallbackLayer) is given
//! with [`Emulator::key_source`]. What servers and SDKs do is there as well, see [below](self#operations).
//!
//! ```
//! use tokio::net::TcpListener;
//! use aliyun_oss_emulator::{AccessKey, CorsRule, Emulator, HostedBucket};
//! use tower_aliyun_oss::OssCallbackLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let emulator = Emulator::builder()
//!     .bucket(HostedBucket::new("examplebucket".parse()?).cors(CorsRule::any_origin()))
//!     .access_key(AccessKey::new("test-id", "test-secret"))
//!     .allow_private_callbacks()
//!     .build()?;
//! let layer = OssCallbackLayer::new().key_source(emulator.key_source());
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! // Forms go to http://examplebucket.localhost:PORT/ or http://127.0.0.1:PORT/examplebucket/
//! println!("http://{}/examplebucket/", listener.local_addr()?);
//! let server = tokio::spawn(emulator.serve(listener));
//! # server.abort();
//! # let _ = layer;
//! # Ok(())
//! # }
//! ```
//!
//! [`Emulator`] is also a [`tower`](https://docs.rs/tower) service, for tests without sockets.
//!
//! # Operations
//!
//! | operation | what of it |
//! |---|---|
//! | `PostObject` | all but signatures of version 2 and encryption |
//! | `PutObject` | with `x-oss-callback` or `callback`, and their `-var`; no copying |
//! | `InitiateMultipartUpload`, `UploadPart`, `ListParts`, `CompleteMultipartUpload`, `AbortMultipartUpload` | the last but one with a callback, and with `x-oss-complete-all`; parts end with the process, whatever the store |
//! | `GetObject`, `HeadObject`, `GetObjectMeta` | ranges; no conditions, no `response-*` |
//! | `DeleteObject`, `ListObjectsV2` | |
//! | `PutBucketCors`, `GetBucketCors`, `DeleteBucketCors`, `OPTIONS` | the rules are those of the builder until they are put |
//!
//! Requests are signed with version 1 or 4, in a header or in their URL, with a key of STS or without. Whoever has signed
//! may do everything. Anything else is answered with `NotImplemented`.
//!
//! # What the SDKs have shown
//!
//! Alibaba's SDKs for Python (`oss2` 2.19, `alibabacloud-oss-v2` 1.4) and JavaScript (`ali-oss` 6.23) upload to it unchanged:
//! see `e2e/sdk` in the repository. What only their code told:
//!
//! * Times in listings are whole seconds, `.000Z`, or `oss2` cannot read them (`oss2/utils.py`, `iso8601_to_unixtime`).
//! * An answer to `HEAD` has its error in `x-oss-err`, Base64 of the XML (`oss2/exceptions.py`, `make_exception`; `ali-oss`
//!   `lib/client.js`), and `object_exists` asks with `GetObjectMeta`.
//! * With version 1, `alibabacloud-oss-v2` sends the token of STS as `security-token` (`signer/v1.py`), unsigned.
//! * A `+` in a query is a space: the HTTP client under `oss2` writes what was signed as `%20` so.
//! * Given an IP address as endpoint they put the bucket into the path, or, `ali-oss`, into a `Host` of its own making
//!   (`lib/common/utils/createRequest.js`): see [`EmulatorBuilder::domain`].
//! * An ETag in `CompleteMultipartUpload` comes with quotes or without.
//! * A failed callback, 203, is no error to either SDK for Python; `ali-oss` throws `CallbackFailed`.
//!
//! # What is checked of a form, in this order
//!
//! 1. The form: multipart, field sizes, `key` before `file`.
//! 2. The signature, version 1 or 4, with the security token of STS if the key has one.
//! 3. That neither policy nor signature nor token has expired.
//! 4. Every condition of the policy. An altered callback is refused here, with 403, if the policy names it.
//! 5. The parameters of the callback, and that its hosts are public, unless
//!    [`allow_private_callbacks`](EmulatorBuilder::allow_private_callbacks).
//! 6. Name, ACL and metadata of the object.
//! 7. The size of the file, while it streams in.
//!
//! Refusals are the XML of OSS, with its codes, messages and EC where they are documented.
//!
//! # Where OSS is not documented
//!
//! The emulator takes the stricter reading: a condition on a field that is not sent fails, whatever it says; a field
//! that comes twice must hold both times; a policy of version 4 must pin the security token; a callback must be
//! answered with a JSON object or list; a callback without URL is refused. Fields after `file` are refused, but for the
//! `submit` of the samples. `success_action_redirect` is answered with 303, as S3 does, and a callback's answer comes
//! before either success field. A name in `callback-var` that does not begin with `x:` is refused. A redirect or another status is not relayed from the application server.
//!
//! # What it is not
//!
//! Not a store for anything you want to keep, and not for the internet: everybody who can reach it can fill it.
//! Version 2 signatures, versions and server-side encryption are not there.
//! Callbacks to `https` URLs need a [`CallbackNetwork`] that speaks TLS.
//!
//! Sources: [PostObject], [Callback] and the [EC pages].
//!
//! [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
//! [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
//! [EC pages]: https://help.aliyun.com/en/oss/user-guide/0006-00000227

mod access_key;
mod address;
mod body;
mod bucket;
mod builder;
mod call;
mod callback;
mod cors;
mod cors_settings;
mod encoding;
mod errors;
mod form;
mod get;
mod listing;
mod multipart;
mod object;
mod policy;
mod put;
mod query;
mod report;
mod route;
mod server;
mod service;
mod shared;
mod signature;
mod store;
mod storing;
mod success;
mod upload;
mod xml;

// Former paths of modules that were merged, until every `use` names the new ones.
use errors::{self as catalogue, self as error};
mod documents {
    pub(crate) use crate::{
        encoding::{Encoding, PATH as NAME},
        xml::{parse, response},
    };
}
mod inbound {
    pub(crate) use crate::body::{BoxError, Inbound, InboundError, MAX_BODY};
}
mod summary {
    pub(crate) use crate::store::ObjectSummary;
}

use std::{fmt, sync::Arc};

pub use access_key::AccessKey;
pub use body::EmulatorBody;
pub use bucket::{Acl, HostedBucket};
pub use builder::{EmulatorBuilder, EmulatorError};
pub use call::ClientAddress;
pub use callback::{CallbackNetwork, Connection, Destination, SystemNetwork};
pub use cors::CorsRule;
pub use report::{Exchange, UploadReport, UploadStep};
pub use service::EmulatorFuture;
pub use store::{ObjectStore, ObjectSummary};

use shared::Shared;
use tower_aliyun_oss::key::PinnedKeys;

/// OSS on your own machine; a service, and a server with [`serve`](Self::serve). Clones share everything.
#[derive(Clone)]
pub struct Emulator(Arc<Shared>);

impl Emulator {
    /// Begins an emulator.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::new()
    }

    /// A source that knows the key callbacks are signed with, for
    /// [`OssCallbackLayer::key_source`](tower_aliyun_oss::OssCallbackLayer::key_source).
    #[must_use]
    pub fn key_source(&self) -> PinnedKeys {
        self.0.caller.signer.key_source()
    }

    /// Where the objects are.
    #[must_use]
    pub fn store(&self) -> &ObjectStore {
        &self.0.store
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("region", &self.0.region)
            .field("buckets", &self.0.buckets.keys())
            .field("keys", &self.0.keys)
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}
