//! A client that signs with version 1 in the URL and names the bucket in the path, so that it
//! addresses any bucket, and none.

use std::path::Path;

use aliyun_oss_emulator::{Emulator, EmulatorBuilder, ObjectStore};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;

use super::support::{Answer, ID, NOW, SECRET, builder, send};

/// Some tests move the clock by days.
const LIFE: u64 = 30 * 24 * 60 * 60;

/// How a store is opened, in memory or in a folder.
pub fn stores() -> Vec<(Option<tempfile::TempDir>, EmulatorBuilder)> {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = builder().store(ObjectStore::folder(folder.path()).unwrap());
    vec![(None, builder()), (Some(folder), in_folder)]
}

pub fn reopen(folder: &Path) -> EmulatorBuilder {
    builder().store(ObjectStore::folder(folder).unwrap())
}

/// Signs with version 1 in the URL. `resource` is what is signed, and `more` further parameters.
pub fn signed(
    method: &Method,
    resource: &str,
    more: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Request<Full<Bytes>> {
    let value = |wanted| {
        let found = headers.iter().find(|(name, _)| *name == wanted);
        found.map_or("", |(_, value)| *value)
    };
    let mut oss: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-oss-"))
        .collect();
    oss.sort_unstable();
    let oss: String = oss
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let (md5, kind, expires) = (value("content-md5"), value("content-type"), NOW + LIFE);
    let text = format!("{method}\n{md5}\n{kind}\n{expires}\n{oss}{resource}");
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
    let separator = if resource.contains('?') { '&' } else { '?' };
    let more = if more.is_empty() {
        String::new()
    } else {
        format!("&{more}")
    };
    let target = format!(
        "{}{separator}OSSAccessKeyId={ID}&Expires={expires}&Signature={signature}{more}",
        resource.replace('"', "%22")
    );
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "127.0.0.1:9000")
        .header("content-length", body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

pub async fn ask_with(
    emulator: &Emulator,
    method: Method,
    resource: &str,
    more: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let body = Bytes::copy_from_slice(body);
    send(emulator, signed(&method, resource, more, headers, body)).await
}

pub async fn ask(emulator: &Emulator, method: Method, resource: &str) -> Answer {
    ask_with(emulator, method, resource, "", &[], b"").await
}

pub async fn get(emulator: &Emulator, resource: &str, more: &str) -> Answer {
    ask_with(emulator, Method::GET, resource, more, &[], b"").await
}

pub async fn put(
    emulator: &Emulator,
    resource: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    ask_with(emulator, Method::PUT, resource, "", headers, body).await
}

/// Sends without a signature.
pub async fn anonymous(emulator: &Emulator, method: Method, target: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "127.0.0.1:9000")
        .header("content-length", 0);
    send(emulator, request.body(Full::default()).unwrap()).await
}

/// Returns the texts of all elements with this name.
pub fn all(answer: &Answer, name: &str) -> Vec<String> {
    let open = format!("<{name}>");
    let rest = answer.text().split(&*open).skip(1);
    rest.map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect()
}

#[track_caller]
pub fn ok(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
}
