//! The call itself.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;

use super::{
    answer, network::CallbackNetwork, parameters::Directive, template::Value, url::CallbackUrl,
};
use crate::{
    catalogue::{CALLBACK_BAD_LENGTH, CALLBACK_CONNECT, CALLBACK_TIMEOUT, INTERNAL},
    error::OssError,
    object::Record,
    report::Exchange,
};
use tower_aliyun_oss::protocol::{
    Bucket, CallbackBodyType, SystemVariable as Var, header::X_OSS_ADDITIONAL_HEADERS,
};
use tower_aliyun_oss::testing::CallbackSigner;

/// How long one URL may take; OSS cannot be told otherwise.
const DEADLINE: Duration = Duration::from_secs(5);

/// Who calls.
pub(crate) struct Caller {
    pub(crate) signer: CallbackSigner,
    pub(crate) network: Arc<dyn CallbackNetwork>,
    pub(crate) owner: Box<str>,
}

/// What is told.
pub(crate) struct Upload<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) record: &'a Record,
    pub(crate) operation: &'static str,
    pub(crate) request_id: &'a str,
    pub(crate) client: &'a str,
    pub(crate) at: SystemTime,
}

/// Calls one URL after the other until one answers as it must; the last failure is the one the uploader sees.
pub(crate) async fn run(
    caller: &Caller,
    directive: &Directive,
    upload: &Upload<'_>,
    exchanges: &mut Vec<Exchange>,
) -> Result<(Bytes, &'static str), OssError> {
    let body = Bytes::from(body(directive, upload));
    let mut failure = CALLBACK_CONNECT;
    for (url, address) in &directive.urls {
        let request = request(caller, directive, upload, url, &body)?;
        let mut exchange = Exchange::new(url.as_str(), request.headers(), body.clone());
        let destination = url.destination(*address, directive.sni);
        let call = async {
            let connection = match caller.network.connect(&destination).await {
                Ok(connection) => connection,
                // What OSS says when TLS fails.
                Err(_) if url.is_https() => return Err(answer::of_status(502)),
                Err(_) => return Err(CALLBACK_CONNECT),
            };
            let io = TokioIo::new(connection);
            let (mut sender, driver) = hyper::client::conn::http1::handshake(io)
                .await
                .map_err(|error| of_transport(&error))?;
            let _driver = Abort(tokio::spawn(async move { drop(driver.await) }));
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| of_transport(&error))?;
            exchange.answered(response.status());
            let (answer, result) = answer::check(response).await;
            exchange.with_answer(answer.clone());
            result.map(|content_type| (answer, content_type))
        };
        let result = match tokio::time::timeout(DEADLINE, call).await {
            Ok(result) => result,
            Err(_) => Err(CALLBACK_TIMEOUT),
        };
        exchanges.push(exchange);
        match result {
            Ok(answer) => return Ok(answer),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Ends the task that drives a connection, whatever becomes of the call.
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that closed before it answered is what OSS shows as 502.
fn of_transport(error: &hyper::Error) -> OssError {
    // There is no other way to ask: a length that is no number is one of many errors of the parser.
    if error.is_parse() && error.to_string().contains("content-length") {
        CALLBACK_BAD_LENGTH
    } else {
        answer::of_status(502)
    }
}

fn request(
    caller: &Caller,
    directive: &Directive,
    upload: &Upload<'_>,
    url: &CallbackUrl,
    body: &Bytes,
) -> Result<Request<Full<Bytes>>, OssError> {
    let callback = caller
        .signer
        .callback(url.as_str())
        .bucket(upload.bucket.as_str())
        .owner(&caller.owner)
        .requester(&caller.owner)
        .request_id(upload.request_id)
        .time(upload.at);
    let callback = match directive.body_type {
        CallbackBodyType::Json => callback.json(body.clone()),
        CallbackBodyType::Form => callback.form(body.clone()),
        // A body type that this version cannot render must not go out under another name.
        _ => return Err(INTERNAL),
    };
    let mut request = callback.request().map_err(|_| INTERNAL)?;
    let headers = request.headers_mut();
    if let Some(host) = &directive.host {
        headers.insert(header::HOST, host.clone());
    }
    add(headers, directive);
    Ok(request)
}

/// Adds the headers of the uploader's own; none of them replaces one of the callback.
fn add(headers: &mut HeaderMap, directive: &Directive) {
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

fn body(directive: &Directive, upload: &Upload<'_>) -> String {
    let content = &upload.record.content;
    let description = &upload.record.description;
    let image = content.image.as_ref();
    let (etag, crc64) = (content.etag(), content.crc64.to_string());
    let md5 = content.md5_base64();
    directive.template.render(directive.body_type, |name| {
        if name == "imageInfo" {
            return Value::Image(image);
        }
        let Some(variable) = Var::from_name(name) else {
            // What is not known, and what was not sent, is empty.
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
            Var::Crc64 => &crc64,
            Var::ContentMd5 => &md5,
            Var::VpcId => "",
            Var::ClientIp => upload.client,
            Var::ReqId => upload.request_id,
            Var::Operation => upload.operation,
            // Unknown variables are empty, as an image's are for any other object.
            _ => "",
        })
    })
}
