//! Spans of the feature `metrics`, exported with OpenTelemetry to a collector in this process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations
)]

mod app;
mod collector;
mod setup;

use http::Request;
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};

use app::exported;
use collector::Received;

/// Returns the only span with this name.
#[track_caller]
fn one<'a>(spans: &'a [Received], name: &str) -> &'a Received {
    let mut found = spans.iter().filter(|received| received.span.name == name);
    let one = found
        .next()
        .unwrap_or_else(|| panic!("no {name}: {spans:#?}"));
    assert!(found.next().is_none(), "two of {name}: {spans:#?}");
    one
}

/// Returns the span of the application for the request with this path.
#[track_caller]
fn request<'a>(spans: &'a [Received], path: &str) -> &'a Received {
    let of_path = |received: &&Received| received.attribute("path") == Some(path);
    let mut found = spans.iter().filter(of_path);
    let root = found
        .next()
        .unwrap_or_else(|| panic!("no {path}: {spans:#?}"));
    assert!(found.next().is_none(), "two of {path}: {spans:#?}");
    assert_eq!(
        (&*root.span.name, &*root.span.parent_span_id),
        ("request", &[][..])
    );
    root
}

#[track_caller]
fn assert_within(child: &Received, parent: &Received) {
    assert!(
        child.is_child_of(parent) && child.is_during(parent),
        "{child:#?}\n{parent:#?}"
    );
}

#[test]
fn an_upload_is_traced_from_the_application_to_the_handler() {
    let mut id = String::new();
    let spans = exported(async |app| {
        let stored = app.upload().await;
        assert_eq!(stored.status(), 200);
        id = stored.headers()["x-oss-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
    });
    assert_eq!(spans.len(), 5, "{spans:#?}");
    assert!(spans.iter().all(|received| received.service == "uploads"));

    let (outer, token) = (request(&spans, "/oss/policy"), one(&spans, "oss.token"));
    assert_within(token, outer);
    assert_eq!(token.attribute("target"), Some("tower_aliyun_oss::token"));
    assert_eq!(token.attribute("outcome"), Some("Issued"));
    assert_eq!(token.status(), StatusCode::Ok);

    let (outer, callback) = (
        request(&spans, "/oss/callback"),
        one(&spans, "oss.callback"),
    );
    assert_within(callback, outer);
    assert_eq!(
        callback.attribute("target"),
        Some("tower_aliyun_oss::callback")
    );
    assert_eq!(callback.attribute("oss.request_id"), Some(&*id));
    assert_eq!(callback.attribute("origin"), Some("Oss"));
    assert_eq!(callback.attribute("outcome"), Some("Accepted"));
    assert_eq!(callback.status(), StatusCode::Ok);
    assert_eq!(callback.span.kind(), SpanKind::Internal);
    // What the handler logs, and the span that it opens.
    assert_eq!(callback.events(), ["uploaded"]);
    assert_within(one(&spans, "save"), callback);
    // Nothing carries the trace of the token over OSS.
    assert_ne!(token.span.trace_id, callback.span.trace_id);
}

#[test]
fn a_refused_token_and_a_rejected_callback_are_errors() {
    let spans = exported(async |app| {
        let anonymous = Request::get("/oss/policy?filename=a.png").body("").unwrap();
        assert_eq!(app.send(anonymous).await.0, 403);
        let forged = Request::post("/oss/callback")
            .header("x-oss-request-id", "two words")
            .body("a=b");
        assert_eq!(app.send(forged.unwrap()).await.0, 400);
    });
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let token = one(&spans, "oss.token");
    assert_within(token, request(&spans, "/oss/policy"));
    assert_eq!(token.attribute("outcome"), Some("Refused"));
    assert_eq!(token.status(), StatusCode::Error);
    let callback = one(&spans, "oss.callback");
    assert_within(callback, request(&spans, "/oss/callback"));
    assert_eq!(callback.attribute("outcome"), Some("MissingHeader"));
    assert_eq!(callback.status(), StatusCode::Error);
    assert_eq!(callback.attribute("oss.request_id"), None);
}

#[test]
fn a_signed_url_is_traced_with_its_action() {
    let spans = exported(async |app| {
        let create =
            r#"{"action":"create","filename":"a.png","size":5,"type":"application/octet-stream"}"#;
        let request = Request::post("/oss/presign")
            .header("authorization", "Bearer 7")
            .header("content-type", "application/json")
            .body(create);
        let (status, body) = app.send(request.unwrap()).await;
        assert_eq!(status, 200, "{body:?}");
    });
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let presign = one(&spans, "oss.presign");
    assert_within(presign, request(&spans, "/oss/presign"));
    assert_eq!(presign.attribute("action"), Some("create"));
    assert_eq!(presign.attribute("outcome"), Some("Answered"));
    assert_eq!(presign.status(), StatusCode::Ok);
}

/// The set-up that these tests use is the one of the documentation.
#[test]
fn the_set_up_is_that_of_the_documentation() {
    let documented = include_str!("../../../docs/metrics.md");
    let used = include_str!("setup.rs");
    assert!(
        documented.contains(used),
        "copy setup.rs to docs/metrics.md:\n{used}"
    );
}
