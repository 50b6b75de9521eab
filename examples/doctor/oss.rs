//! Requests to OSS, signed with the AccessKey of the environment.

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqsign_aliyun_oss::{Credential, RequestSigner, SigningVersion};
use reqsign_core::{Context, SignRequest as _};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use crate::settings::Settings;

/// Longer than any limit of OSS for a small request.
const TIMEOUT: Duration = Duration::from_secs(15);

/// More than the largest error document.
const MAX_BODY: usize = 1024 * 1024;

const IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// How a request is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Signature {
    None,
    V1,
    V4,
}

/// Sends requests.
pub(crate) struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http {
    pub(crate) fn new() -> Result<Self, Unreachable> {
        let tls = tls().map_err(|error| Unreachable(error.to_string()))?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Unreachable> {
        let exchange = async {
            let response = self.0.request(request).await.map_err(Unreachable::of)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await;
            let body = body.map_err(|error| Unreachable(chain(&*error)))?;
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.to_bytes(),
            })
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Unreachable(format!("no answer within {TIMEOUT:?}"))),
        }
    }
}

/// The TLS settings: the provider of the process or the built-in one, and the certificates of the
/// machine.
fn tls() -> Result<ClientConfig, Box<dyn Error>> {
    let provider =
        crate::tls::provider().ok_or("the processor lacks what the built-in TLS needs")?;
    // A broken certificate does not matter beside usable ones.
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this machine has no root certificates".into());
    }
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The bucket.
pub(crate) struct Oss<'a> {
    pub(crate) http: Http,
    pub(crate) settings: &'a Settings,
    pub(crate) signature: Signature,
}

impl<'a> Oss<'a> {
    pub(crate) fn new(http: Http, settings: &'a Settings) -> Self {
        let signature = match settings.region {
            Some(_) => Signature::V4,
            None => Signature::V1,
        };
        Self {
            http,
            settings,
            signature,
        }
    }

    /// Starts a request to an object, or with an empty key to the bucket.
    pub(crate) fn request(&self, method: Method, key: &str) -> OssRequest<'_> {
        OssRequest {
            oss: self,
            signature: self.signature,
            method,
            key: key.to_owned(),
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }
}

/// A request to the bucket.
pub(crate) struct OssRequest<'a> {
    oss: &'a Oss<'a>,
    signature: Signature,
    method: Method,
    key: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

impl OssRequest<'_> {
    pub(crate) fn signature(mut self, signature: Signature) -> Self {
        self.signature = signature;
        self
    }

    pub(crate) fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn headers(
        mut self,
        headers: impl Iterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        self.headers.extend(headers);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Result<Answer, Unreachable> {
        let key = utf8_percent_encode(&self.key, IN_A_PATH).to_string();
        let query = match &*self.query {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let (oss, settings) = (self.oss, self.oss.settings);
        let mut request = Request::builder()
            .method(self.method)
            .body(Full::new(self.body));
        if let Ok(request) = &mut request {
            *request.headers_mut() = self.headers;
        }
        let mut request = request.map_err(|error| Unreachable(error.to_string()))?;
        if self.signature != Signature::None {
            // What is signed names the bucket in the path, whatever host serves it.
            *request.uri_mut() = uri(&format!("http://oss/{}/{key}{query}", settings.bucket))?;
            request = sign(request, settings, self.signature).await?;
        }
        *request.uri_mut() = uri(&format!("{}/{key}{query}", settings.url.as_str()))?;
        oss.http.send(request).await
    }
}

fn uri(text: &str) -> Result<Uri, Unreachable> {
    text.parse()
        .map_err(|error| Unreachable(format!("not a URL: {error}")))
}

async fn sign(
    request: Request<Full<Bytes>>,
    settings: &Settings,
    signature: Signature,
) -> Result<Request<Full<Bytes>>, Unreachable> {
    let credential = Credential {
        access_key_id: settings.id.clone(),
        access_key_secret: settings.secret.clone(),
        security_token: settings.token.clone(),
        expires_in: None,
    };
    let mut signer = RequestSigner::new(settings.bucket.as_str());
    if let (Signature::V4, Some(region)) = (signature, &settings.region) {
        signer = signer
            .with_region(region.as_str())
            .with_signing_version(SigningVersion::V4);
    }
    let (mut parts, body) = request.into_parts();
    signer
        .sign_request(&Context::new(), &mut parts, Some(&credential), None)
        .await
        .map_err(|error| Unreachable(format!("the request could not be signed: {error}")))?;
    Ok(Request::from_parts(parts, body))
}

/// No answer came.
#[derive(Debug)]
pub(crate) struct Unreachable(pub(crate) String);

impl Unreachable {
    fn of(error: impl Error) -> Self {
        Self(chain(&error))
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer: {}", self.0)
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The members of an error document that contain no secret: not `StringToSign`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct OssError {
    pub(crate) code: String,
    pub(crate) message: String,
    request_id: String,
    #[serde(rename = "EC")]
    pub(crate) ec: String,
    pub(crate) endpoint: String,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads the error document; an answer without one has empty members.
    pub(crate) fn error(&self) -> OssError {
        let text = String::from_utf8_lossy(&self.body);
        let mut error: OssError = quick_xml::de::from_str(&text).unwrap_or_default();
        for (member, header) in [
            (&mut error.ec, "x-oss-ec"),
            (&mut error.request_id, "x-oss-request-id"),
        ] {
            if member.is_empty() {
                *member = self.header(header).unwrap_or_default().to_owned();
            }
        }
        error
    }

    /// Describes the answer in one line.
    pub(crate) fn describe(&self) -> String {
        let OssError {
            code,
            message,
            request_id,
            ec,
            ..
        } = self.error();
        let mut text = self.status.as_u16().to_string();
        if !code.is_empty() {
            text.push_str(&format!(" {}", printable(&code)));
        }
        if !ec.is_empty() {
            text.push_str(&format!(", EC {}", printable(&ec)));
        }
        if !message.is_empty() {
            text.push_str(&format!(": {}", printable(&message)));
        }
        if !request_id.is_empty() {
            text.push_str(&format!(" (request {})", printable(&request_id)));
        }
        text
    }
}

/// Returns a URL or a request target without its query, which may contain a secret.
pub(crate) fn without_query(url: &str) -> String {
    printable(url.split('?').next().unwrap_or_default())
}

/// Remote text, without control characters, and not longer than a line.
pub(crate) fn printable(text: &str) -> String {
    const MOST: usize = 200;
    let mut printable: String = text
        .chars()
        .filter(|char| !char.is_control())
        .take(MOST)
        .collect();
    if text.chars().count() > MOST {
        printable.push('…');
    }
    printable
}
