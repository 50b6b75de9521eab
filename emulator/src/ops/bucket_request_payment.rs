//! `PutBucketRequestPayment` and `GetBucketRequestPayment`: who pays for requests.
//!
//! Each key of the emulator is one of the owner, who never needs `x-oss-request-payer`. Of a bucket
//! that requesters pay for, one effect remains: it has no anonymous requests.
//!
//! Source: [PutBucketRequestPayment].
//!
//! [PutBucketRequestPayment]: https://www.alibabacloud.com/help/en/oss/developer-reference/putbucketrequestpayment

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::{self, OssError},
    response, xml,
};

/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

#[derive(Clone, Copy, Deserialize, Serialize)]
enum Payer {
    BucketOwner,
    Requester,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RequestPaymentConfiguration {
    payer: Payer,
}

/// `PutBucketRequestPayment`: sets who pays.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let configuration: RequestPaymentConfiguration = xml::parse(&document)?;
    let requester_pays = matches!(configuration.payer, Payer::Requester);
    context
        .change_bucket(move |bucket| bucket.requester_pays = requester_pays)
        .await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetBucketRequestPayment`: returns who pays, which is the owner unless a request has changed it.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let payer = match context.bucket.requester_pays {
        true => Payer::Requester,
        false => Payer::BucketOwner,
    };
    let configuration = RequestPaymentConfiguration { payer };
    xml::response("RequestPaymentConfiguration", &configuration)
}
