//! Types that the token side and the callback side share. Parsing is the only way to create them,
//! so a value is always valid.
//!
//! Nothing in this module reads a clock, the network or random numbers, and nothing depends on
//! tower.
//!
//! | type | meaning |
//! |---|---|
//! | [`Bucket`], [`Region`], [`Endpoint`], [`UploadUrl`] | where an upload goes |
//! | [`ObjectKey`], [`ObjectPrefix`] | the names that your server gives to objects |
//! | [`ReceivedName`] | a name that an uploader chose |
//! | [`SizeRange`], [`ContentType`], [`ObjectAcl`] | its size and type, and who may read it |
//! | [`CallbackTarget`], [`CallbackBodyType`] | the request that OSS sends afterwards |
//! | [`SystemVariable`] | the values that OSS can insert into the callback body |
//! | [`header`] | the header names of a callback |
//!
//! Sources: the [Callback] and [PostObject] pages of the OSS API reference.
//!
//! [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
//! [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject

mod bucket;
mod callback_body;
pub mod header;
mod object;
pub(crate) mod percent;
mod target;

pub use bucket::{Bucket, Endpoint, EndpointError, Region, UploadUrl};
pub(crate) use callback_body::CUSTOM_PREFIX;
pub use callback_body::{CallbackBodyType, SystemVariable, TICKET_FIELD};
pub use object::{
    ContentType, ObjectAcl, ObjectError, ObjectKey, ObjectPrefix, ReceivedName, SizeRange,
};
#[cfg(feature = "testing")]
pub(crate) use target::signed_parts;
pub use target::{CallbackTarget, TargetError};
pub(crate) use target::{Spelling, paths_coincide};
