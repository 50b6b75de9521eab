//! The client that sends callbacks and validates the response of the application server.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use quick_xml::{Reader, events::Event};
use serde::de::IgnoredAny;

use super::{
    connection::Destination, network::CallbackNetwork, parameters::Directive, template::Value,
};
use crate::{
    body::Inbound,
    errors::{
        CALLBACK_ANSWER, CALLBACK_BAD_LENGTH, CALLBACK_CONNECT, CALLBACK_LONG, CALLBACK_NO_LENGTH,
        CALLBACK_STATUS, CALLBACK_TIMEOUT, INTERNAL, OssError,
    },
    object::Record,
    report::Exchange,
};
use tower_aliyun_oss::{
    protocol::{Bucket, CallbackBodyType, SystemVariable as Var, header::X_OSS_ADDITIONAL_HEADERS},
    testing::CallbackSigner,
};

/// How long one URL may take. OSS has no parameter for it.
const DEADLINE: Duration = Duration::from_secs(5);
/// The longest response that is relayed to the uploader, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// The sender of callbacks.
pub(crate) struct Caller {
    pub(crate) signer: CallbackSigner,
    pub(crate) network: Arc<dyn CallbackNetwork>,
    pub(crate) owner: Box<str>,
}

/// The upload that a callback is about.
pub(crate) struct Upload<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) record: &'a Record,
    /// Empty if the name that OSS uses is not known.
    pub(crate) operation: &'static str,
    pub(crate) request_id: &'a str,
    pub(crate) client: &'a str,
    pub(crate) at: SystemTime,
}

/// Tries the URLs in order until one returns a valid response, and returns its body and its type.
///
/// If every URL fails, the uploader sees the last error. Every attempt is added to `exchanges`.
pub(crate) async fn run(
    caller: &Caller,
    directive: &Directive,
    upload: &Upload<'_>,
    exchanges: &mut Vec<Exchange>,
) -> Result<(Bytes, &'static str), OssError> {
    let body = Bytes::from(render(directive, upload));
    let mut failure = CALLBACK_CONNECT;
    for target in &directive.targets {
        let request = request(caller, directive, upload, &target.url, &body)?;
        let mut exchange = Exchange::new(&target.url, request.headers(), body.clone());
        let call = call(caller, &target.destination, request, &mut exchange);
        let result = tokio::time::timeout(DEADLINE, call).await;
        let result = result.unwrap_or_else(|_| {
            exchange.set_failure(format!("no response within {} s", DEADLINE.as_secs()));
            Err(CALLBACK_TIMEOUT)
        });
        // After a timeout too: the report then shows how far the attempt got.
        exchanges.push(exchange);
        match result {
            Ok(answer) => return Ok(answer),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Sends one request and records what comes back.
async fn call(
    caller: &Caller,
    destination: &Destination,
    request: Request<Full<Bytes>>,
    exchange: &mut Exchange,
) -> Result<(Bytes, &'static str), OssError> {
    let connection = match caller.network.connect(destination).await {
        Ok(connection) => connection,
        Err(error) => {
            exchange.set_failure(text(&error));
            // OSS reports a failed TLS handshake as 502.
            return Err(match destination.is_https() {
                true => status_error(502),
                false => CALLBACK_CONNECT,
            });
        }
    };
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection))
        .await
        .map_err(|error| transport_error(&error, exchange))?;
    // The connection is used once. Without the guard, an application server that keeps it open
    // would keep the task alive.
    let _driver = Abort(tokio::spawn(async move { drop(driver.await) }));
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| transport_error(&error, exchange))?;
    exchange.set_status(response.status());
    let answer = read(response).await?;
    exchange.set_answer(answer.body.clone());
    let content_type = answer.content_type().ok_or(CALLBACK_ANSWER)?;
    Ok((answer.body, content_type))
}

/// Aborts the connection task when the call ends, also if it is cancelled.
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn status_error(status: u16) -> OssError {
    CALLBACK_STATUS.with_message(format!("Error status : {status}."))
}

/// OSS reports a connection that closed before the response as 502.
fn transport_error(error: &hyper::Error, exchange: &mut Exchange) -> OssError {
    exchange.set_failure(text(error));
    // hyper has no predicate for an invalid length, so this depends on its text.
    if error.is_parse() && error.to_string().contains("content-length") {
        CALLBACK_BAD_LENGTH
    } else {
        status_error(502)
    }
}

/// Returns the text of an error and of its causes.
fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let error_text = error.to_string();
        // Some errors repeat their cause.
        if !text.ends_with(&error_text) {
            text = format!("{text}: {error_text}");
        }
        cause = error.source();
    }
    text
}

fn request(
    caller: &Caller,
    directive: &Directive,
    upload: &Upload<'_>,
    url: &str,
    body: &Bytes,
) -> Result<Request<Full<Bytes>>, OssError> {
    let callback = caller
        .signer
        .callback(url)
        .bucket(upload.bucket.as_str())
        .owner(&caller.owner)
        .requester(&caller.owner)
        .request_id(upload.request_id)
        .time(upload.at);
    let callback = match directive.body_type {
        CallbackBodyType::Json => callback.json(body.clone()),
        CallbackBodyType::Form => callback.form(body.clone()),
        // Fail rather than send a new body type under the wrong `Content-Type`.
        _ => return Err(INTERNAL),
    };
    let mut request = callback.request().map_err(|_| INTERNAL)?;
    let headers = request.headers_mut();
    if let Some(host) = &directive.host {
        // `callbackHost` changes the header only. The connection goes to the host of the URL.
        headers.insert(header::HOST, host.clone());
    }
    add_headers(headers, directive);
    Ok(request)
}

/// Adds `additionalHeaders`. They never replace a header of the callback, such as `Date`, which is
/// not reserved: what OSS does then is not documented.
fn add_headers(headers: &mut HeaderMap, directive: &Directive) {
    let mut names = Vec::new();
    for (name, value) in &directive.headers {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
            names.push(name.as_str());
        }
    }
    if let Ok(names) = names.join(";").parse() {
        headers.insert(X_OSS_ADDITIONAL_HEADERS, names);
    }
}

fn render(directive: &Directive, upload: &Upload<'_>) -> String {
    let content = &upload.record.content;
    let description = &upload.record.description;
    let image = content.image.as_ref();
    let etag = content.etag();
    let md5 = content.md5_base64();
    directive.template.render(directive.body_type, |name| {
        // The whole object, which `SystemVariable` does not list.
        if name == "imageInfo" {
            return Value::Image(image);
        }
        let Some(variable) = Var::from_name(name) else {
            // Unknown variables, and custom ones that the uploader did not send, are empty.
            let mut custom = directive.variables.iter();
            let value = custom.find(|(known, _)| known == name);
            return Value::Text(value.map_or("", |(_, value)| value));
        };
        Value::Text(match variable {
            Var::Bucket => upload.bucket.as_str(),
            Var::Object => &description.key,
            Var::Etag => &etag,
            Var::Size => return Value::Number(Some(content.size)),
            Var::MimeType => &description.content_type,
            Var::ImageHeight => return Value::Number(image.map(|image| image.height)),
            Var::ImageWidth => return Value::Number(image.map(|image| image.width)),
            Var::ImageFormat => image.map(|image| &*image.format).unwrap_or_default(),
            // Bare in JSON, and often beyond 2^63: captured callbacks of 2024 and 2025.
            Var::Crc64 => return Value::Number(Some(content.crc64)),
            Var::ContentMd5 => &md5,
            // Uploads to the emulator never come from a VPC.
            Var::VpcId => "",
            Var::ClientIp => upload.client,
            Var::ReqId => upload.request_id,
            Var::Operation => upload.operation,
            // Variables that a later version of the enum adds.
            _ => "",
        })
    })
}

/// A response with status 200 and a valid length.
struct Answer {
    body: Bytes,
    is_xml: bool,
}

/// Reads a response. It must have status 200, a `Content-Length`, and at most 1 MiB.
async fn read(response: Response<Incoming>) -> Result<Answer, OssError> {
    let (parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return Err(status_error(parts.status.as_u16()));
    }
    // hyper accepts a chunked response. OSS does not.
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.ok_or(CALLBACK_NO_LENGTH)?.to_str().ok();
    match length.and_then(|length| length.parse::<u64>().ok()) {
        None | Some(0) => return Err(CALLBACK_BAD_LENGTH),
        Some(length) if length > MAX_ANSWER as u64 => return Err(CALLBACK_LONG),
        Some(_) => {}
    }
    let body = Inbound::new(body, false).collect(MAX_ANSWER).await;
    // The connection closed before the end of the body.
    let body = body.map_err(|_| status_error(502))?;
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    Ok(Answer {
        body: body.into(),
        is_xml: content_type.is_some_and(|value| is_of_xml(value.as_bytes())),
    })
}

impl Answer {
    /// The media type for the uploader: JSON, or XML that is declared as such. Otherwise `None`.
    fn content_type(&self) -> Option<&'static str> {
        if is_json(&self.body) {
            Some("application/json")
        } else if self.is_xml && is_xml(&self.body) {
            Some("application/xml")
        } else {
            None
        }
    }
}

/// Whether a body is a JSON object or array.
///
/// It is not known whether OSS accepts a bare number or string. The stricter reading applies.
fn is_json(body: &[u8]) -> bool {
    let first = body.iter().find(|b| !b.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'[')) && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

fn is_of_xml(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next();
    essence.is_some_and(|essence| {
        let essence = essence.trim_ascii();
        essence.eq_ignore_ascii_case(b"application/xml")
    })
}

/// Whether a body has exactly one root element and its elements nest correctly.
fn is_xml(body: &[u8]) -> bool {
    let mut reader = Reader::from_reader(body);
    let mut depth = 0_usize;
    let mut roots = 0_usize;
    loop {
        match reader.read_event() {
            Ok(Event::Start(_)) => {
                roots += usize::from(depth == 0);
                depth += 1;
            }
            Ok(Event::Empty(_)) => roots += usize::from(depth == 0),
            // The reader rejects an end tag without a start tag.
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Eof) => return depth == 0 && roots == 1,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_json() {
        for good in ["{}", " [1]\n", r#"{"Status":"OK"}"#] {
            assert!(is_json(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "OK",
            "\u{feff}{}",
            "{",
            "{} {}",
            "\"ok\"",
            "1",
            "null",
            "<ok/>",
        ] {
            assert!(!is_json(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn what_counts_as_xml() {
        for good in ["<a/>", "<?xml version=\"1.0\"?><a><b>1</b></a>\n"] {
            assert!(is_xml(good.as_bytes()), "{good}");
        }
        for bad in ["", "OK", "<a>", "<a></b>", "</a>", "<a/><b/>", "<a"] {
            assert!(!is_xml(bad.as_bytes()), "{bad}");
        }
        assert!(is_of_xml(b"Application/XML; charset=utf-8") && !is_of_xml(b"text/xml"));
    }
}
