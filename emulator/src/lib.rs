//! Alibaba Cloud OSS on one machine: uploads with signatures, policies and signed callbacks.
//!
//! To receive callbacks from OSS you need a bucket, which costs money, and a public address. The
//! emulator needs neither. It accepts forms as `PostObject` does, checks signature and policy as
//! strictly as OSS, stores the object, and calls your server back. It signs callbacks as OSS does,
//! with a key that [`OssCallbackLayer`](tower_aliyun_oss::OssCallbackLayer) trusts through
//! [`Emulator::key_source`]. It also implements the operations that servers and SDKs use: see
//! [below](self#operations).
//!
//! # Testing your app
//!
//! [`Emulator::spawn`] starts an emulator for one test. Callbacks reach the application in memory:
//!
//! ```
//! use aliyun_oss_emulator::Emulator;
//! use axum::{Router, routing::post};
//! use http::request::Parts;
//! use tower_aliyun_oss::{
//!     CallbackReply, ContentType, Grant, OssUploads, Refusal, SizeRange, TicketKey,
//!     VerifiedCallback, policy::UploadToken,
//! };
//!
//! // The application.
//! fn app(uploads: &OssUploads) -> Router {
//!     async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
//!         let size = SizeRange::new(1, 1 << 20)?;
//!         Ok(Grant::under("photos/".parse()?, size).content_types(ContentType::IMAGES))
//!     }
//!     async fn on_upload(_: VerifiedCallback) -> CallbackReply {
//!         CallbackReply::ok()
//!     }
//!     Router::new()
//!         .route_service("/oss/policy", uploads.policy_service(authorize))
//!         .route("/oss/callback", post(on_upload).route_layer(uploads.callback_layer()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The test.
//! let oss = Emulator::spawn().await?;
//! let uploads = oss.uploads("https://app.example/oss/callback");
//! let app = app(&uploads.ticket_key(TicketKey::generate()?).build()?);
//! oss.route_callbacks(app.clone());
//!
//! # use http_body_util::BodyExt as _;
//! # use tower::ServiceExt as _;
//! # async fn get(app: &Router, path: &str) -> Result<UploadToken, Box<dyn std::error::Error>> {
//! #     let request = http::Request::get(path).body(axum::body::Body::empty())?;
//! #     let body = app.clone().oneshot(request).await?.into_body().collect().await?.to_bytes();
//! #     Ok(serde_json::from_slice(&body)?)
//! # }
//! let token: UploadToken = get(&app, "/oss/policy?filename=a.png&size=5").await?;
//! let upload = oss.upload(&token, "photo").await?;
//! assert_eq!(upload.status(), 200);
//! assert_eq!(upload.body(), r#"{"Status":"OK"}"#);
//! assert_eq!(oss.object(token.key()).await?.unwrap(), "photo");
//! # Ok(())
//! # }
//! ```
//!
//! # As a server
//!
//! ```
//! use tokio::net::TcpListener;
//! use aliyun_oss_emulator::{AccessKey, CorsRule, Emulator, HostedBucket};
//! use tower_aliyun_oss::{Credentials, OssUploads, TicketKey, protocol::Endpoint};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let emulator = Emulator::builder()
//!     .bucket(HostedBucket::new("examplebucket".parse()?).cors(CorsRule::any_origin()))
//!     .access_key(AccessKey::new("test-id", "test-secret"))
//!     .allow_private_callbacks()
//!     .build()?;
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! // Forms go to http://examplebucket.localhost:PORT/ or http://127.0.0.1:PORT/examplebucket/
//! let url = format!("http://{}/examplebucket/", listener.local_addr()?);
//! let credentials = Credentials::new("test-id", "test-secret")?;
//! let uploads = OssUploads::builder("examplebucket".parse()?, credentials)
//!     .region("cn-hangzhou".parse()?)
//!     .endpoint(Endpoint::custom(url.parse()?))
//!     .key_source(emulator.key_source())
//!     .callback_url("http://127.0.0.1:8080/oss/callback")
//!     .ticket_key(TicketKey::generate()?)
//!     .build()?;
//! let server = tokio::spawn(emulator.serve(listener));
//! # server.abort();
//! # let _ = uploads;
//! # Ok(())
//! # }
//! ```
//!
//! [`Emulator`] is also a [`tower`](https://docs.rs/tower) service, for tests without sockets.
//!
//! # As a program
//!
//! The feature `cli`, on by default, is the program `oss-emulator`: the emulator for tests in any
//! language, with an access log and with endpoints that a test asks what happened. The README of
//! this package describes it. It includes the feature `image`. A library user disables it:
//! `default-features = false`.
//!
//! # Operations
//!
//! | operation | support |
//! |---|---|
//! | `PostObject` | complete, except signatures of version 2 |
//! | `PutObject` | with `x-oss-callback` or `callback`, and their `-var` |
//! | `CopyObject` | with directives for metadata and tags, conditions, onto itself and between buckets |
//! | `AppendObject`, `SealAppendObject` | |
//! | `InitiateMultipartUpload`, `UploadPart`, `ListParts`, `AbortMultipartUpload` | also `sequential`; a folder keeps uploads across a restart; [`drop_idle_uploads`](EmulatorBuilder::drop_idle_uploads) |
//! | `UploadPartCopy` | with ranges and conditions |
//! | `CompleteMultipartUpload` | with a callback, and with `x-oss-complete-all` |
//! | `ListMultipartUploads` | |
//! | `GetObject`, `HeadObject`, `GetObjectMeta` | with ranges, conditions, `response-*` and gzip |
//! | `GetObject` with `x-oss-process` | with feature `image`: resize, crop, rotate by quarters of a turn, quality, format and info, for JPEG, PNG, WebP and GIF |
//! | `PutObjectACL`, `GetObjectACL` | |
//! | `RestoreObject`, `CleanRestoredObject` | a restoration takes a minute, whatever the storage class and the priority |
//! | `PutSymlink`, `GetSymlink` | |
//! | `DeleteObject`, `DeleteMultipleObjects` | without versions |
//! | `ListObjects`, `ListObjectsV2` | |
//! | `ListObjectVersions`, `GetBucketVersioning` | there are no versions: each object has one, whose ID is `null` |
//! | `PutObjectTagging`, `GetObjectTagging`, `DeleteObjectTagging` | also `x-oss-tagging` of an upload, as a header or a form field |
//! | `ProcessObject` | `trigger/callback`, which calls back for an existing object, and, with feature `image`, `image/…` with `sys/saveas` |
//! | `ListBuckets` | also by tags |
//! | `CreateBucket`, `DeleteBucket` | with [`create_buckets`](EmulatorBuilder::create_buckets); a bucket has an ACL, a storage class, a redundancy type and an encryption |
//! | `PutBucketAcl`, `GetBucketAcl`, `GetBucketInfo`, `GetBucketLocation`, `GetBucketStat` | `GetBucketStat` is up to date at any time |
//! | `HeadBucket` | `HEAD` of a bucket, which the reference does not contain: the region |
//! | `PutBucketCallbackPolicy`, `GetBucketCallbackPolicy`, `DeleteBucketCallbackPolicy` | callbacks use a policy with `{"callbackPolicy":"NAME"}` |
//! | `PutBucketPublicAccessBlock`, `GetBucketPublicAccessBlock`, `DeleteBucketPublicAccessBlock` | off for new buckets, unlike on OSS |
//! | `PutPublicAccessBlock`, `GetPublicAccessBlock`, `DeletePublicAccessBlock` | for all buckets; a folder does not keep it |
//! | `ListLiveChannel`, `ListCname` | always empty |
//! | `PutBucketEncryption`, `GetBucketEncryption`, `DeleteBucketEncryption` | responses show the encryption; nothing is encrypted |
//! | `PutBucketReferer`, `GetBucketReferer` | checked for objects, without an `Authorization` header |
//! | `PutBucketRequestPayment`, `GetBucketRequestPayment` | all keys are of the owner; without a signature, a bucket that requesters pay for is closed |
//! | `PutBucketTransferAcceleration`, `GetBucketTransferAcceleration`, `DeleteBucketTransferAcceleration` | the setting is shown; there is one endpoint |
//! | `PutBucketTags`, `GetBucketTags`, `DeleteBucketTags` | |
//! | `PutBucketCors`, `GetBucketCors`, `DeleteBucketCors`, `OPTIONS` | the rules of the builder apply until `PutBucketCors` replaces them |
//!
//! `x-oss-traffic-limit` slows uploads and `GetObject` down to the limit, and has no effect on
//! copies.
//!
//! Requests are signed with version 1, 2 or 4, in a header or in the URL, with a long-term key or a
//! temporary key of STS. A signed request may do everything. Every other operation fails with
//! `NotImplemented` and changes nothing: a query parameter that names an operation, or that has no
//! value and is unknown, is not ignored. The message names it. Neither are encryption keys of the
//! client ignored. A `POST` that is neither a form nor one of these operations fails with
//! `MethodNotAllowed`.
//!
//! Settings of buckets belong to the store: a folder keeps them across a restart. What requests
//! have set takes precedence over the builder.
//!
//! Alibaba Cloud switches version 1 off:
//! [`reject_signature_v1`](EmulatorBuilder::reject_signature_v1) shows what remains.
//!
//! # Compatibility with the SDKs
//!
//! Alibaba's SDKs for Python (`oss2` 2.19, `alibabacloud-oss-v2` 1.4) and JavaScript (`ali-oss`
//! 6.23) upload to the emulator unchanged: see `e2e/sdk` in the repository. These details are not
//! in the reference, only in the code of the SDKs:
//!
//! * Times in listings have whole seconds, `.000Z`. `oss2` cannot parse others
//!   (`oss2/utils.py`, `iso8601_to_unixtime`).
//! * A response to `HEAD` carries its error in `x-oss-err`, as Base64 of the XML
//!   (`oss2/exceptions.py`, `make_exception`; `ali-oss` `lib/client.js`). `object_exists` calls
//!   `GetObjectMeta`.
//! * With version 1, `alibabacloud-oss-v2` sends the STS token as `security-token`, unsigned
//!   (`signer/v1.py`).
//! * `+` in a query is a space: the HTTP client of `oss2` sends `+` where `oss2` signed `%20`.
//! * If the endpoint is an IP address, the SDKs for Python put the bucket into the path. `ali-oss`
//!   puts it into a `Host` that it derives itself (`lib/common/utils/createRequest.js`): see
//!   [`EmulatorBuilder::domain`].
//! * ETags in `CompleteMultipartUpload` come with or without quotes.
//! * The ETag of an object of parts is the MD5 of the ETags of the parts as text
//!   (`aliyun-oss-java-sdk` `TestUtils`). A list without parts creates an empty object.
//! * A signature of version 4 in a header may have `Date` in place of `x-oss-date`
//!   (`aliyun-oss-go-sdk` `oss/auth.go`).
//! * `+` in the path of an object is a space (test of the Ruby SDK). A plus is `%2B`.
//! * A wrong token, key or signature is reported before an unknown bucket.
//! * Creating a bucket again succeeds (`oss2` `tests/test_bucket.py`), and `PutBucketAcl` creates a
//!   bucket that does not exist (`ali-oss` `test/node/bucket.test.js`).
//! * An object inherits the storage class of its bucket (`oss2` `tests/test_bucket.py`).
//! * `ListMultipartUploads` orders by name and ID, ignores `upload-id-marker` without `key-marker`
//!   (`ali-oss` `test/node/multipart.test.js`), and has `NextKeyMarker` and `NextUploadIdMarker` on
//!   every page (`oss2/xml_utils.py`).
//! * `DeleteMultipleObjects` requires `Content-MD5` (EC 0016-00000606), and with `Quiet` returns no
//!   document (`alibabacloud-oss-go-sdk-v2` `client_mock_test.go`).
//! * A range whose last byte lies behind the object is ignored, unless the request has
//!   `x-oss-range-behavior: standard` (tests of the SDKs for Java and Go).
//! * `PreconditionFailed` names the condition without the prefix `x-oss-copy-source-`. `ali-oss`
//!   sends the conditions of a copy with and without it.
//! * Only the first append describes an object. A later one sets its ACL (test of the SDK for Go).
//! * A symbolic link may point to nothing, and to itself. Reading it then fails with
//!   `SymlinkTargetNotExist` or `InvalidTargetType` (test of the SDK for Java).
//! * A failed callback, status 203, is not an error in either SDK for Python. `ali-oss` throws
//!   `CallbackFailed`.
//!
//! # Checks on a form, in order
//!
//! 1. The form: multipart, field sizes, `key` before `file`.
//! 2. The signature, version 1, 2 or 4, with the STS token if the key has one.
//! 3. The expiration of policy, signature and token.
//! 4. Every condition of the policy. If the policy has a condition on `callback`, an altered
//!    callback fails here, with 403.
//! 5. The parameters of the callback. Its hosts must be public, unless
//!    [`allow_private_callbacks`](EmulatorBuilder::allow_private_callbacks) is set.
//! 6. Name, ACL and metadata of the object.
//! 7. The size of the file, while it is received.
//! 8. The expiration of the policy again, once the whole request has arrived: a policy must outlive
//!    the upload.
//!
//! Errors are the XML of OSS, with its codes, and with its messages and EC where they are
//! documented.
//!
//! # What only captures and clients show
//!
//! The documentation does not contain these details, or contradicts them:
//!
//! | behavior | source |
//! |---|---|
//! | A part whose `Content-Type` comes before its `Content-Disposition` fails with `MalformedPOSTRequest`, EC 0006-00000109. | captured responses: dart-lang/http#676 and #1772, cfug/dio#534, mpflutter#396 |
//! | In a part head, a blank follows each semicolon, and names are quoted. Otherwise OSS does not find the name, or reads a longer one. | repaired clients: ZLMediaKit#2293; reports of .NET and React Native clients |
//! | `${filename}` is empty if the file has only `filename*`, or a name that is not UTF-8. The object is then named like the prefix. | reports |
//! | A `POST` to a bucket that is not multipart, and one to an object, fail with `MethodNotAllowed`, 405, with `Method` and `ResourceType`. | captured responses: aliyun/aliyun-oss-csharp-sdk#121, hujinchen/Image_upload_aliyun#2 |
//! | A condition on `content-type` applies to the type of the object if the form has no such field. | two pairs of server and client in production; no capture |
//! | In JSON callbacks `crc64` is a number, which may exceed 2<sup>63</sup>, and an empty `vpcId` is `null`. | captured callbacks of 2024 and 2025: alphasnow/aliyun-oss-appserver-go |
//! | `trigger/callback`, whose variables need no `x:`. | the SDKs for iOS and Android, and their tests |
//! | Additional headers of a callback must not have one of nine reserved names. | [announcement](https://developer.aliyun.com/article/229339) |
//! | Successful responses carry `x-oss-server-time`, in milliseconds. | captured responses; tests of the C# SDK |
//!
//! JavaScript numbers are exact up to 2<sup>53</sup> only, so `JSON.parse` changes most values of
//! `crc64`.
//!
//! [`lenient_multipart`](EmulatorBuilder::lenient_multipart) turns the first two rows off.
//!
//! # Where OSS is not documented
//!
//! The emulator takes the stricter reading:
//!
//! * A condition on a field that is not sent fails, whatever the condition. `content-type` is the
//!   exception, see above.
//! * If a field repeats, each value must satisfy the conditions.
//! * A policy of version 4 must have a condition on the security token.
//! * The response to a callback must be a JSON object or array, or XML with the type
//!   `application/xml`.
//! * A callback without a URL is refused.
//! * Fields after `file` are refused, except `submit`, which the samples send.
//! * Any header of a part before `Content-Disposition` is refused, not only `Content-Type`. A
//!   quoted boundary is refused: the C# SDK removes the quotes for OSS. A file name without quotes
//!   counts as absent, like a name without quotes.
//! * `success_action_redirect` responds with 303, as S3 does. With a callback, both `success_*`
//!   fields are ignored.
//! * A name in `callback-var` that does not begin with `x:` is refused, except with
//!   `trigger/callback`.
//! * Requests for tags require a signature, whatever the ACL of the bucket.
//! * Headers of `CreateBucket` for settings that the emulator does not have are refused.
//! * `trigger/callback` requires a signature, even in a public bucket. `${operation}` is empty in
//!   its callback, and its response carries no checksums.
//! * `response-*` of a request without a signature is refused, with a code and words of the
//!   emulator. So is `x-oss-process` of a `HEAD`.
//! * Redirects and other statuses of the application server are not relayed.
//!
//! Where no reading is stricter, it takes one that loses nothing:
//!
//! * `charset` before the boundary, as in `multipart/form-data; charset=utf-8; boundary=…`, is
//!   accepted.
//! * In form bodies of callbacks, everything but letters, digits and `-._~` is percent-encoded: a
//!   space is `%20`, and `*'()` are encoded. OSS may send `+` for a space. In JSON bodies, only
//!   what JSON requires is escaped.
//! * Several conditions of a read or a copy combine as in RFC 9110 section 13.2.2. `PutObject` and
//!   `UploadPart` have none: `x-oss-forbid-overwrite` is what OSS documents for them.
//! * A copy keeps the ETag of its source, and `Multipart` as its type. A copy of an appendable
//!   object is `Normal`, except onto itself. The ETag of an appendable object and that of a
//!   symbolic link are values of the emulator.
//! * Of a JPEG, `quality,q_…` is relative to the quality that its tables show. WebP is written
//!   without loss, whatever the quality. `info` shows no EXIF data. Animations of WebP and PNG
//!   become their first frame.
//! * The message and the code for version 1, if it is rejected, and the message for a reserved
//!   header are those of the emulator.
//!
//! # Limits
//!
//! An image is processed if its file has at most 20 MB and each of its frames 64 megapixels. Two
//! images are processed at a time.
//!
//! The emulator is not a durable store, and it must not be reachable from the internet: anyone who
//! reaches it can fill it. Requests cannot create more than 100 buckets. Signatures of version 2
//! and object versions are not implemented, and neither is version 2.0 of the callback signature,
//! which Alibaba Cloud offers by invitation. Nothing is encrypted, although responses repeat the
//! encryption that a request names. Callbacks to `https` URLs need `CallbackTls`, feature `tls`.
//!
//! Sources: [PostObject], [Callback] and the [EC pages].
//!
//! [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
//! [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
//! [EC pages]: https://help.aliyun.com/en/oss/user-guide/0006-00000227

mod access_key;
mod address;
mod auth;
mod body;
mod bucket;
mod builder;
mod callback;
#[cfg(feature = "cli")]
pub mod cli;
mod compression;
mod context;
mod cors;
mod encoding;
mod encryption;
mod errors;
mod form;
#[cfg(feature = "image")]
mod imaging;
mod object;
mod ops;
mod pending;
mod policy;
mod query;
mod referer;
mod report;
mod request_report;
mod reset;
mod response;
mod restoration;
mod server;
mod service;
mod spawned;
mod store;
mod tags;
#[cfg(feature = "tls")]
mod tls;
mod traffic_limit;
mod xml;

pub use access_key::AccessKey;
pub use body::EmulatorBody;
pub use bucket::{Acl, HostedBucket};
pub use builder::{EmulatorBuilder, EmulatorError};
pub use callback::{CallbackNetwork, Connection, Destination, SystemNetwork};
#[cfg(feature = "tls")]
pub use callback::{CallbackTls, RootCertificateError};
pub use context::ClientAddress;
pub use cors::CorsRule;
pub use report::{Exchange, UploadReport, UploadStep};
pub use request_report::RequestReport;
pub use service::{Emulator, EmulatorFuture};
pub use spawned::{SpawnedEmulator, UploadResponse};
pub use store::{ObjectStore, ObjectSummary};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

// Here and not in `service`, which does not depend on the builder.
impl Emulator {
    /// Creates a builder without buckets or keys.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::new()
    }
}
