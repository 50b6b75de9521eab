//! A client that sends exactly the bytes of a test, and OSS as far as it calls back.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub
)]

#[path = "../../../../tests/integration/support/oss.rs"]
mod oss;

use std::{collections::HashMap, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tower_aliyun_oss::{
    protocol::{CallbackBodyType, SystemVariable},
    testing::CallbackSigner,
};

/// Returns the callback that OSS sends for an upload with this token.
pub fn callback(signer: &CallbackSigner, token: &Value) -> Request<Bytes> {
    let parameters = STANDARD
        .decode(token["fields"]["callback"].as_str().unwrap())
        .unwrap();
    let parameters: Value = serde_json::from_slice(&parameters).unwrap();
    let system = [
        (SystemVariable::Bucket, "examplebucket"),
        (SystemVariable::Object, token["key"].as_str().unwrap()),
        (SystemVariable::Size, "5"),
        (SystemVariable::MimeType, "image/png"),
        (SystemVariable::Etag, "D41D8CD98F00B204E9800998ECF8427E"),
        (SystemVariable::ReqId, "5CF3E7820000000000000001"),
    ];
    let system: HashMap<_, _> = system.map(|(name, value)| (name, value.to_owned())).into();
    let oss = oss::Oss {
        body_type: CallbackBodyType::Form,
        system: &system,
        custom: HashMap::new(),
        habits: oss::HABITS[0],
    };
    let body = oss.fill(parameters["callbackBody"].as_str().unwrap());
    let url = parameters["callbackUrl"].as_str().unwrap();
    signer.callback(url).form(body).request().unwrap()
}

/// Returns the head of a request, to any target.
pub fn head(request: &Request<Bytes>, target: &str) -> String {
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    head + "\r\n"
}

/// Sends a request, and returns the status and the body of the answer.
pub async fn send(server: SocketAddr, request: &Request<Bytes>, target: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut bytes = head(request, target).into_bytes();
    bytes.extend_from_slice(request.body());
    stream.write_all(&bytes).await.unwrap();
    answer(stream).await
}

/// Reads an answer up to the end of the connection.
pub async fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_default().parse();
    let body = answer.split_once("\r\n\r\n").unwrap_or_default().1;
    (status.unwrap(), body.to_owned())
}
