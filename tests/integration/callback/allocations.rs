//! Allocations of the layer per callback.
//!
//! Only one test, because the counter covers only the current thread.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::Poll,
};

use crate::support::{Case, full};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tower::{Layer as _, Service, service_fn};
use tower_aliyun_oss::OssCallbackLayer;

/// Upper bound: the extensions for the verified callback, and the headers kept in it. The signature
/// takes none.
const MOST: u64 = 5;

fn allocations(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

fn answer<B>(_: Request<B>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("{}"))))
}

fn call<S, B>(service: &mut S, request: Request<Full<Bytes>>) -> http::StatusCode
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    let mut call = std::pin::pin!(service.call(request));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match call.as_mut().poll(&mut context) {
        Poll::Ready(response) => response.unwrap().status(),
        Poll::Pending => panic!("the layer must not wait for a ready body"),
    }
}

/// Builds the callback with every header of OSS. All values are slices of one buffer, as in a
/// server.
fn as_received(case: &Case) -> Request<Full<Bytes>> {
    let mut request = case
        .builder()
        .header("x-oss-bucket", "examplebucket")
        .header("x-oss-owner", "1234567890123456")
        .header("x-oss-requester", "1234567890123456")
        .header("x-oss-request-id", "5CF3E7820000000000000001")
        .header("x-oss-signature-version", "1.0")
        .body(full(case.body.clone()))
        .unwrap();
    for value in request.headers_mut().values_mut() {
        let padded = Bytes::from([value.as_bytes(), b"\r\n"].concat());
        *value = HeaderValue::from_maybe_shared(padded.slice(..value.len())).unwrap();
    }
    request
}

#[test]
fn a_verified_callback_costs_at_most_five_allocations() {
    let mut bare = service_fn(answer);
    let mut verified = OssCallbackLayer::new().layer(service_fn(answer));
    for case in Case::genuine() {
        // Warm up, so that one-time set-up such as the registration of log events is not counted.
        call(&mut verified, as_received(&case));

        let request = as_received(&case);
        let without = allocations(|| {
            assert_eq!(call(&mut bare, request), 200);
        });
        let request = as_received(&case);
        let with = allocations(|| {
            assert_eq!(call(&mut verified, request), 200);
        });
        println!("{}: {with} with the layer, {without} without", case.name);
        assert!(with > without, "the allocation counter must work");
        assert!(with <= without + MOST, "{}", case.name);
    }
}
