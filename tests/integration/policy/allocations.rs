//! Allocations of the service per token.
//!
//! Only one test, because the counter covers only the current thread.

use std::{
    future::{Future, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header::CONTENT_TYPE, request::Parts};
use http_body_util::Full;
use tower::Service as _;
use tower_aliyun_oss::{
    OssPolicyService,
    policy::{Authorize, CallbackDirective, CallbackTemplate, Credentials, Grant, Refusal},
    protocol::{CallbackBodyType, SizeRange},
    ticket::{TicketKey, TicketKeys, Tickets},
};

/// Returns a copy of one grant.
struct Everybody(Grant);

impl Authorize for Everybody {
    type Granted = Grant;

    fn authorize(&self, _: &Parts) -> impl Future<Output = Result<Grant, Refusal>> + Send {
        ready(Ok(self.0.clone()))
    }
}

fn service() -> OssPolicyService<Everybody> {
    let size = SizeRange::new(1, 10 << 20).unwrap();
    let grant = Grant::under("user/7/".parse().unwrap(), size)
        .content_type("image/png".parse().unwrap())
        .max_files(100);
    let callback = CallbackDirective::new("https://app.example/oss/callback")
        .and_then(|callback| callback.body(CallbackTemplate::standard(CallbackBodyType::Json)))
        .unwrap();
    OssPolicyService::new(
        Everybody(grant),
        Credentials::new("LTAI5tExample", "secret").unwrap(),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        callback,
    )
    .unwrap()
}

fn one() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    let uri = "/oss/policy?filename=holiday.png&size=1048576&type=image%2Fpng";
    *request.uri_mut() = Uri::from_static(uri);
    request
}

fn hundred() -> Request<Full<Bytes>> {
    let file = r#"{"filename":"holiday.png","size":1048576,"type":"image/png"}"#;
    let body = format!(r#"{{"files":[{}]}}"#, [file; 100].join(","));
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    request
}

/// Counts the allocations from the request to the response.
fn allocations(
    service: &mut OssPolicyService<Everybody>,
    request: impl Fn() -> Request<Full<Bytes>>,
) -> u64 {
    let mut answer = |request| {
        let call = pin!(service.call(request));
        match call.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => assert_eq!(response.unwrap().status(), 200),
            Poll::Pending => panic!("nothing waits"),
        }
    };
    // A subscriber of another test would allocate the spans.
    let _guard = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new());
    // The key of the day is derived before, and one-time set-up is not counted.
    answer(request());
    let request = request();
    allocation_counter::measure(|| answer(request)).count_total
}

#[test]
fn a_token_costs_at_most_this_many_allocations() {
    let keys = TicketKeys::new(1, TicketKey::generate().unwrap());
    let mut without = service();
    let mut with = service().tickets(Tickets::in_memory(keys)).unwrap();
    let plain = allocations(&mut without, one);
    let ticket = allocations(&mut with, one);
    let batch = allocations(&mut with, hundred);
    println!("{plain} without a ticket, {ticket} with one, {batch} for 100 with tickets");
    assert!(plain > 0, "the allocation counter must work");
    assert!(plain <= 32, "{plain}");
    assert!(ticket <= 56, "{ticket}");
    assert!(batch <= 3_600, "{batch}");
}
