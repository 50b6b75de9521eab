//! The callback that OSS would have sent, rendered from a row of the ledger.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request,
    header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, USER_AGENT},
    uri::PathAndQuery,
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use md5::{Digest as _, Md5};
use percent_encoding::utf8_percent_encode;
use serde_json::Value as Json;

use crate::{
    callback::RecoveredUpload,
    protocol::{
        CallbackBodyType, CallbackTarget, SystemVariable as Variable, TargetError,
        header::{X_OSS_BUCKET, X_OSS_TAG, http_date},
        percent::UNRESERVED,
    },
    storage::ObjectMetadata,
    ticket::ledger::GrantedUpload,
};

/// The request body of a recovered callback, in memory. The service of a
/// [`Recovery`](super::Recovery) takes it.
pub struct RecoveryBody(Full<Bytes>);

impl Body for RecoveryBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for RecoveryBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryBody")
    }
}

/// A callback, and what the layer accepts in place of its signature.
pub(super) struct Call {
    pub(super) request: Request<RecoveryBody>,
    pub(super) upload: RecoveredUpload,
}

/// Why a row cannot be rendered. Only a ledger that changes its rows causes this.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error("the callback target of the row is not valid")]
    Target(#[from] TargetError),
    #[error("the template of the row is not valid")]
    Template,
    #[error("the row contains characters that a request cannot contain")]
    Request(#[from] http::Error),
}

/// Renders the body of the callback for an object that OSS reports so.
///
/// # Errors
///
/// Fails if the template has a dollar that is not followed by a name in braces.
pub(super) fn render(upload: &GrantedUpload, found: &ObjectMetadata) -> Result<Bytes, RowError> {
    let call = upload.call();
    let mut body = String::with_capacity(call.template().len() + 256);
    let mut rest = call.template();
    while let Some((literal, after)) = rest.split_once('$') {
        let (name, after) = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'))
            .ok_or(RowError::Template)?;
        body.push_str(literal);
        write(&mut body, call.body_type(), &value(upload, found, name));
        rest = after;
    }
    body.push_str(rest);
    Ok(body.into())
}

/// Makes the request with this body. `prefix` is what a proxy strips from the path.
pub(super) fn call(
    upload: &GrantedUpload,
    found: Arc<ObjectMetadata>,
    body: Bytes,
    prefix: Option<&str>,
    now: SystemTime,
) -> Result<Call, RowError> {
    let call = upload.call();
    let (target, _) = CallbackTarget::parse_named(call.target())?;
    let recovered = RecoveredUpload::new(&target, &body, found);
    // The service is this side of the proxy.
    let stripped = prefix
        .and_then(|prefix| call.target().strip_prefix(prefix))
        .filter(|rest| rest.starts_with('/'));
    let target: PathAndQuery = stripped
        .unwrap_or_else(|| call.target())
        .parse()
        .map_err(http::Error::from)?;
    let md5 = STANDARD.encode(Md5::digest(&body));
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(target)
        .header(HOST, call.host())
        .header(CONTENT_LENGTH, body.len())
        .header(HeaderName::from_static("content-md5"), md5)
        .header(CONTENT_TYPE, call.body_type().as_str())
        .header(USER_AGENT, "aliyun-oss-callback")
        .header(X_OSS_BUCKET, upload.bucket().as_str())
        .header(X_OSS_TAG, "CALLBACK")
        .extension(recovered.clone());
    if let Some(date) = http_date(now) {
        request = request.header(
            DATE,
            HeaderValue::try_from(date).map_err(http::Error::from)?,
        );
    }
    Ok(Call {
        request: request.body(RecoveryBody(Full::new(body)))?,
        upload: recovered,
    })
}

enum Value<'a> {
    Text(&'a str),
    /// `None` is a number that is not known.
    Number(Option<u64>),
}

/// Returns the value of a variable. What only the upload showed is empty, as OSS writes it for an
/// object that is no image, or an upload that comes from no VPC.
fn value<'a>(upload: &'a GrantedUpload, found: &'a ObjectMetadata, name: &str) -> Value<'a> {
    let Some(variable) = Variable::from_name(name) else {
        let mut custom = upload.call().get_variables();
        let value = custom.find(|(known, _)| *known == name);
        return Value::Text(value.map_or("", |(_, value)| value));
    };
    Value::Text(match variable {
        Variable::Bucket => upload.bucket().as_str(),
        Variable::Object => upload.key().as_str(),
        Variable::Etag => found.etag().unwrap_or_default(),
        Variable::Size => return Value::Number(Some(found.size())),
        Variable::MimeType => found.content_type().unwrap_or_default(),
        Variable::Crc64 => return Value::Number(found.crc64()),
        Variable::ContentMd5 => found.content_md5().unwrap_or_default(),
        Variable::ImageHeight | Variable::ImageWidth => return Value::Number(None),
        Variable::ImageFormat
        | Variable::VpcId
        | Variable::ClientIp
        | Variable::ReqId
        | Variable::Operation => "",
    })
}

fn write(body: &mut String, body_type: CallbackBodyType, value: &Value<'_>) {
    match (body_type, value) {
        (_, Value::Number(None)) => {}
        (_, Value::Number(Some(number))) => body.push_str(&number.to_string()),
        (CallbackBodyType::Form, Value::Text(text)) => {
            body.extend(utf8_percent_encode(text, UNRESERVED));
        }
        (CallbackBodyType::Json, Value::Text("")) => body.push_str("null"),
        (CallbackBodyType::Json, Value::Text(text)) => {
            body.push_str(&Json::from(*text).to_string());
        }
    }
}
