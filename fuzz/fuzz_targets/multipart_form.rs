//! Fuzzes a form posted to the emulator. Without a valid signature it must be rejected.
#![no_main]

use std::sync::LazyLock;

use aliyun_oss_emulator::{AccessKey, Emulator, HostedBucket};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .expect("failed to start the runtime")
});
static EMULATOR: LazyLock<Emulator> = LazyLock::new(|| {
    Emulator::builder()
        .bucket(HostedBucket::new(
            "examplebucket".parse().expect("the bucket name is valid"),
        ))
        .access_key(AccessKey::new("id", "secret"))
        .build()
        .expect("the configuration is valid")
});

fuzz_target!(|data: &[u8]| {
    let request = Request::post("/examplebucket/")
        .header("host", "127.0.0.1")
        .header("content-type", "multipart/form-data; boundary=x")
        .header("content-length", data.len())
        .body(Full::new(Bytes::copy_from_slice(data)))
        .expect("the request is valid");
    RUNTIME.block_on(async {
        let response = EMULATOR
            .clone()
            .oneshot(request)
            .await
            .expect("the service is infallible");
        let status = response.status();
        assert!(status.is_client_error(), "{status}");
        let body = response.into_body().collect().await;
        assert!(body.is_ok_and(|body| !body.to_bytes().is_empty()));
    });
});
