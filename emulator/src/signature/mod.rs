//! Who signed: a form by its fields, any other request by a header or in its URL.
//!
//! Written from the reference alone, and without the code that makes policies: what that gets wrong, this must notice.
//! The signers of published crates cannot be asked: they sign as of their own clock, and what is to be compared was
//! signed as of the caller's.
//!
//! Sources: [version 4] and [1] in headers, [version 4 in URLs], and the SDKs that `e2e/sdk` runs.
//!
//! [version 4]: https://www.alibabacloud.com/help/en/oss/developer-reference/recommend-to-use-signature-version-4
//! [1]: https://www.alibabacloud.com/help/en/oss/developer-reference/include-signatures-in-the-authorization-header
//! [version 4 in URLs]: https://www.alibabacloud.com/help/en/oss/developer-reference/add-signatures-to-urls

mod form;
mod key;
mod request;
mod v1;
mod v4;
mod verify;

use jiff::SignedDuration;

pub(super) use form::verify as verify_form;
pub(super) use request::SignedRequest;
pub(super) use verify::verify as verify_request;

/// How far the date of a signature may lie in the future, and that of a header in the past.
const SKEW: SignedDuration = SignedDuration::from_mins(15);
/// How long version 4 is good for.
const MAX_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
