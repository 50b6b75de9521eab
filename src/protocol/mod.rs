//! The words both halves share, each parsed once into a type that cannot hold a wrong value.
//!
//! Nothing here reads a clock, a network or a random number, and nothing here knows about tower.
//!
//! | type | what it is |
//! |---|---|
//! | [`Bucket`], [`Region`], [`Endpoint`], [`UploadUrl`] | where an upload goes |
//! | [`ObjectKey`], [`ObjectPrefix`] | what it may be called |
//! | [`SizeRange`], [`ContentType`], [`ObjectAcl`] | what it may be, and who may read it |
//! | [`CallbackTarget`], [`CallbackBodyType`] | what OSS calls afterwards, and in which form |
//! | [`SystemVariable`] | what OSS can fill into a callback body |
//! | [`header`] | the names of the headers of a callback |
//!
//! Sources: the [Callback] and [PostObject] pages of the OSS API reference.
//!
//! [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
//! [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject

mod acl;
mod bucket;
mod content_type;
mod endpoint;
pub mod header;
mod object;
mod size;
mod target;
mod variable;

pub use acl::ObjectAcl;
pub use bucket::{Bucket, BucketError, Region, RegionError};
pub use content_type::{CallbackBodyType, ContentType, ContentTypeError};
pub use endpoint::{Endpoint, UploadUrl, UploadUrlError};
pub use object::{ObjectKey, ObjectNameError, ObjectPrefix};
pub use size::{SizeRange, SizeRangeError};
pub use target::{CallbackTarget, TargetError};
pub(crate) use variable::CUSTOM_PREFIX;
pub use variable::{SystemVariable, TICKET_FIELD, VariableKind};
