//! What a successful upload is answered with.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Uri, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    address::Address,
    body::EmulatorBody,
    documents::{Encoding, NAME},
    form::Form,
    get,
    object::Record,
    xml,
};
use tower_aliyun_oss::protocol::Bucket;

const POST: &str = "PostResponse";

/// What the request asks for.
///
/// A redirect comes before a status. How OSS redirects is not documented: this does as S3 does, with 303 and
/// `bucket`, `key` and `etag` added to the query.
pub(crate) struct Success {
    asked: Asked,
    origin: String,
    path_style: bool,
}

enum Asked {
    Redirect(String),
    Status(StatusCode),
    Document(&'static str, Encoding),
}

impl Success {
    /// Status 200 without a body.
    pub(crate) fn of_put(address: &Address) -> Self {
        Self::answering(Asked::Status(StatusCode::OK), address)
    }

    /// A document, as after the last part.
    pub(crate) fn of_complete(address: &Address, encoding: Encoding) -> Self {
        let asked = Asked::Document("CompleteMultipartUploadResult", encoding);
        Self::answering(asked, address)
    }

    pub(crate) fn of_form(form: &Form, address: &Address) -> Self {
        let redirect = form
            .get("success_action_redirect")
            .filter(|url| is_absolute(url));
        let asked = match (redirect, form.get("success_action_status")) {
            (Some(url), _) => Asked::Redirect(url.to_owned()),
            (None, Some("200")) => Asked::Status(StatusCode::OK),
            (None, Some("201")) => Asked::Document(POST, Encoding::default()),
            // 204, none, and any that is not one of the three.
            (None, _) => Asked::Status(StatusCode::NO_CONTENT),
        };
        Self::answering(asked, address)
    }

    fn answering(asked: Asked, address: &Address) -> Self {
        Self {
            asked,
            origin: address.origin.clone(),
            path_style: address.path_style,
        }
    }

    pub(crate) fn response(&self, bucket: &Bucket, record: &Record) -> Response<EmulatorBody> {
        let etag = format!("\"{}\"", record.content.etag());
        let key = &*record.description.key;
        let mut response = match &self.asked {
            Asked::Status(status) => {
                let mut response = Response::new(EmulatorBody::empty());
                *response.status_mut() = *status;
                response
            }
            Asked::Document(root, encoding) => {
                let path = utf8_percent_encode(key, NAME);
                let location = if self.path_style {
                    format!("{}/{bucket}/{path}", self.origin)
                } else {
                    format!("{}/{path}", self.origin)
                };
                let key = encoding.text(key);
                let mut elements = vec![
                    ("Bucket", bucket.as_str()),
                    ("ETag", &etag),
                    ("Key", &key),
                    ("Location", &location),
                ];
                elements.extend(encoding.name().map(|name| ("EncodingType", name)));
                let document = xml::document(root, &elements);
                let mut response = of_type(document, "application/xml");
                if *root == POST {
                    *response.status_mut() = StatusCode::CREATED;
                }
                response
            }
            Asked::Redirect(url) => {
                let separator = if url.contains('?') { '&' } else { '?' };
                let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
                let tag = utf8_percent_encode(&etag, NON_ALPHANUMERIC);
                let location = format!("{url}{separator}bucket={bucket}&key={key}&etag={tag}");
                let mut response = Response::new(EmulatorBody::empty());
                *response.status_mut() = StatusCode::SEE_OTHER;
                if let Ok(location) = location.parse() {
                    response.headers_mut().insert(header::LOCATION, location);
                }
                response
            }
        };
        with_sums(&mut response, record);
        response
    }

    /// The answer of the application server, as it is: with a callback, neither status nor redirect counts.
    pub(crate) fn relay(
        answer: Bytes,
        content_type: &'static str,
        record: &Record,
    ) -> Response<EmulatorBody> {
        let mut response = of_type(answer, content_type);
        with_sums(&mut response, record);
        response
    }
}

fn is_absolute(url: &str) -> bool {
    let uri = url.parse::<Uri>();
    uri.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
}

fn of_type(body: Bytes, content_type: &'static str) -> Response<EmulatorBody> {
    let mut response = Response::new(EmulatorBody::from(body));
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

fn with_sums(response: &mut Response<EmulatorBody>, record: &Record) {
    let headers = response.headers_mut();
    get::sums(headers, record);
    get::content_md5(headers, record);
}
