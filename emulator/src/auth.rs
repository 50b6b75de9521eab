//! Authentication: which key has signed a request, in signature version 1, 2 or 4.
//!
//! | file | what it verifies |
//! |---|---|
//! | this | selects the version of a request signed in a header or in its URL |
//! | `v1` | `Authorization: OSS …`, and `Signature` in the URL |
//! | `v2` | `Authorization: OSS2 …`, and `x-oss-signature` in the URL |
//! | `v4` | `Authorization: OSS4-HMAC-SHA256 …`, and `x-oss-signature` in the URL |
//! | `form` | the fields of a form, in versions 1 and 4 |
//! | `canonical` | what versions 2 and 4 sign in the same way |
//! | `key` | access keys, security tokens, credential scopes, derived keys |
//!
//! This code follows the reference of OSS and shares nothing with the signing code of
//! `tower_aliyun_oss`, on purpose: it is the independent judge of what that code signs. Published
//! signers cannot take its place, because they use the system clock, and the emulator has a clock
//! of its own.
//!
//! Sources: [version 4] and [version 1] in headers, [version 4 in URLs], and the SDKs that
//! `e2e/sdk` runs.
//!
//! [version 4]: https://www.alibabacloud.com/help/en/oss/developer-reference/recommend-to-use-signature-version-4
//! [version 1]: https://www.alibabacloud.com/help/en/oss/developer-reference/include-signatures-in-the-authorization-header
//! [version 4 in URLs]: https://www.alibabacloud.com/help/en/oss/developer-reference/add-signatures-to-urls

mod canonical;
mod form;
mod key;
mod v1;
mod v2;
mod v4;

pub(crate) use form::verify as verify_form;
pub(crate) use v1::RESOURCE;

use crate::{
    context::ServiceContext,
    errors::{self, OssError},
};
use key::ALGORITHM;

type Verify = fn(&ServiceContext<'_>) -> Result<(), OssError>;

/// Verifies the signature in the `Authorization` header or in the URL.
///
/// Returns `false` if the request carries no part of a signature.
///
/// # Errors
///
/// Fails if the signature is incomplete, malformed, expired, of an unknown key, or does not match,
/// and if there are two.
pub(crate) fn verify_request(context: &ServiceContext<'_>) -> Result<bool, OssError> {
    let in_query = match context.query.get("x-oss-signature-version") {
        Some(ALGORITHM) => Some(v4::in_query as Verify),
        Some(v2::VERSION) => Some(v2::in_query as Verify),
        Some(_) => return Err(errors::SIGNATURE_VERSION),
        None => {
            // One of the three is enough, so that an incomplete signature is an error and not an
            // anonymous request.
            let names = ["OSSAccessKeyId", "Signature", "Expires"];
            let any = names.into_iter().any(|name| context.query.has(name));
            any.then_some(v1::in_query as Verify)
        }
    };
    let authorization = context.header("authorization");
    match (authorization, in_query) {
        (None, None) => return Ok(false),
        (Some(_), Some(_)) => return Err(errors::TWO_SIGNATURES),
        (None, Some(verify)) => verify(context)?,
        (Some(text), None) => match text.split_once(' ') {
            Some(("OSS", rest)) => v1::in_header(context, rest)?,
            Some((ALGORITHM, rest)) => v4::in_header(context, rest)?,
            Some((v2::VERSION, rest)) => v2::in_header(context, rest)?,
            _ => return Err(errors::AUTHORIZATION),
        },
    }
    Ok(true)
}
