//! A form that is posted to the emulator: it is refused, and nothing of it is stored.
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
    builder.enable_all().build().expect("a runtime")
});
static EMULATOR: LazyLock<Emulator> = LazyLock::new(|| {
    Emulator::builder()
        .bucket(HostedBucket::new(
            "examplebucket".parse().expect("a bucket"),
        ))
        .access_key(AccessKey::new("id", "secret"))
        .build()
        .expect("an emulator")
});

fuzz_target!(|data: &[u8]| {
    let request = Request::post("/examplebucket/")
        .header("host", "127.0.0.1")
        .header("content-type", "multipart/form-data; boundary=x")
        .header("content-length", data.len())
        .body(Full::new(Bytes::copy_from_slice(data)))
        .expect("a request");
    RUNTIME.block_on(async {
        let response = EMULATOR.clone().oneshot(request).await.expect("infallible");
        let status = response.status();
        assert!(status.is_client_error(), "{status}");
        let body = response.into_body().collect().await;
        assert!(body.is_ok_and(|body| !body.to_bytes().is_empty()));
    });
});
