//! A client that signs with `reqsign-aliyun-oss`, which is independent of this crate.

use std::time::{Duration, SystemTime};

use aliyun_oss_emulator::{AccessKey, Emulator, EmulatorBuilder};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use reqsign_aliyun_oss::{Credential, RequestSigner, SigningVersion};
use reqsign_core::{Context, SignRequest as _};

use super::support::{Answer, BUCKET, HOST, ID, SECRET, builder, send};

pub const TEMPORARY: (&str, &str, &str) = ("STS.temporary", "temporary-secret", "token+/=");

/// An emulator with the system clock, because the signer uses no other.
pub fn today() -> EmulatorBuilder {
    let hour = Duration::from_secs(3600);
    let temporary = AccessKey::new(TEMPORARY.0, TEMPORARY.1)
        .with_security_token(TEMPORARY.2, SystemTime::now() + hour);
    builder().clock(SystemTime::now).access_key(temporary)
}

/// A way to sign a request.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub version: SigningVersion,
    pub temporary: bool,
    pub in_url: bool,
}

pub fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for version in [SigningVersion::V1, SigningVersion::V4] {
        for temporary in [false, true] {
            ways.extend([false, true].map(|in_url| Way {
                version,
                temporary,
                in_url,
            }));
        }
    }
    ways
}

impl Way {
    pub const V4: Self = Self {
        version: SigningVersion::V4,
        temporary: false,
        in_url: false,
    };

    pub async fn sign(self, request: Request<Bytes>) -> Request<Full<Bytes>> {
        let life = self.in_url.then_some(Duration::from_secs(60));
        self.sign_in("cn-hangzhou", life, request).await
    }

    /// Signs for a region, in the headers or with this lifetime in the URL.
    pub async fn sign_in(
        self,
        region: &str,
        life: Option<Duration>,
        request: Request<Bytes>,
    ) -> Request<Full<Bytes>> {
        let mut credential = Credential {
            access_key_id: ID.to_owned(),
            access_key_secret: SECRET.to_owned(),
            security_token: None,
            expires_in: None,
        };
        if self.temporary {
            credential.access_key_id = TEMPORARY.0.to_owned();
            credential.access_key_secret = TEMPORARY.1.to_owned();
            credential.security_token = Some(TEMPORARY.2.to_owned());
        }
        let signer = RequestSigner::new(BUCKET)
            .with_region(region)
            .with_signing_version(self.version);
        let (mut parts, body) = request.into_parts();
        signer
            .sign_request(&Context::new(), &mut parts, Some(&credential), life)
            .await
            .unwrap();
        Request::from_parts(parts, body.into())
    }
}

/// Builds an unsigned request to the bucket.
pub fn to(method: Method, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Request<Bytes> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{HOST}{target}"))
        .header("content-length", body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::copy_from_slice(body)).unwrap()
}

pub async fn ask(
    emulator: &Emulator,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let request = Way::V4.sign(to(method, target, headers, body)).await;
    send(emulator, request).await
}

pub async fn put(
    emulator: &Emulator,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    ask(emulator, Method::PUT, target, headers, body).await
}

pub async fn read(emulator: &Emulator, target: &str) -> Answer {
    ask(emulator, Method::GET, target, &[], b"").await
}
