//! An emulator on a port of this machine, and signed requests to it.

use aliyun_oss_emulator::{AccessKey, Emulator, HostedBucket};
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    policy::{
        Credentials,
        internal::{ToSign, sign_headers},
    },
    protocol::Endpoint,
    storage::OssClient,
};

pub const ID: &str = "test-id";
pub const SECRET: &str = "test-secret";
pub const BUCKET: &str = "examplebucket";
/// A bucket of somebody else.
pub const OTHER: &str = "attacker";
pub const REGION: &str = "cn-hangzhou";

pub fn credentials() -> Credentials {
    Credentials::new(ID, SECRET).unwrap()
}

pub struct Oss {
    pub emulator: Emulator,
    port: u16,
}

/// A response to an upload.
#[derive(Debug)]
pub struct Stored {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Stored {
    #[track_caller]
    pub fn assert_stored(&self) {
        assert_eq!(self.status, 200, "{:?}", self.body);
    }
}

impl Oss {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let emulator = Emulator::builder()
            .bucket(HostedBucket::new(BUCKET.parse().unwrap()))
            .bucket(HostedBucket::new(OTHER.parse().unwrap()))
            .access_key(AccessKey::new(ID, SECRET))
            .allow_private_callbacks()
            .build()
            .unwrap();
        tokio::spawn(emulator.clone().serve(listener));
        Self { emulator, port }
    }

    pub fn endpoint(&self) -> Endpoint {
        let url = format!("http://127.0.0.1:{}/{BUCKET}/", self.port);
        Endpoint::custom(url.parse().unwrap())
    }

    pub fn client(&self) -> OssClient {
        OssClient::new(REGION.parse().unwrap(), credentials()).endpoint(self.endpoint())
    }

    /// Uploads an object (`PutObject`).
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> Stored {
        let named = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        let mut signed: HeaderMap = headers.iter().map(named).collect();
        let bucket = bucket.parse().unwrap();
        let to_sign = ToSign {
            at: std::time::SystemTime::now(),
            region: &REGION.parse().unwrap(),
            method: &Method::PUT,
            bucket: &bucket,
            key,
            query: &[],
            additional: &[],
        };
        let done = sign_headers(&credentials(), &to_sign, &mut signed);
        done.unwrap().unwrap();
        let path = to_sign.url("unused").unwrap().path().to_owned();
        let mut request = Request::put(format!("/{bucket}{path}"))
            .header("host", format!("127.0.0.1:{}", self.port))
            .header("content-length", body.len())
            .body(Full::from(body))
            .unwrap();
        request.headers_mut().extend(signed);
        let response: Response<_> = self.emulator.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Stored {
            status: parts.status,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }
}
