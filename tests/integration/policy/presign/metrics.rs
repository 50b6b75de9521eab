//! Feature `metrics`: what is recorded of requests for signed URLs.

use super::{
    support::{raw_request, send},
    *,
};
use crate::metrics::{recorded, spans, value};

fn presigns(scraped: &str, action: &str, outcome: &str) -> f64 {
    let labels = format!("action=\"{action}\",outcome=\"{outcome}\"");
    value(
        scraped,
        &format!("aliyun_oss_presign_requests_total{{{labels}}}"),
    )
}

#[test]
fn requests_are_counted_by_action_and_outcome() {
    let scraped = recorded(async {
        let service = service(Always(videos()));
        let created = create(&service, "a.mp4", 20 << 20, "video/mp4").await;
        let handle = &created["handle"];
        let parts = json!({"action": "parts", "handle": handle, "uploadId": "U", "parts": [1, 2]});
        answer(&service, &parts).await;
        answer(&service, &parts).await;
        for action in ["list", "complete", "abort"] {
            let body = json!({"action": action, "handle": handle, "uploadId": "U"});
            answer(&service, &body).await;
        }
        answer(&service, &json!({"action": "put", "handle": handle})).await;
        let forged = json!({"action": "put", "handle": "forged"});
        assert_eq!(ask(&service, &forged).await.0, 400);
        let private = json!({"action": "get", "key": "elsewhere/a.mp4"});
        assert_eq!(ask(&service, &private).await.0, 403);
        // The name of an unknown action is no label.
        assert_eq!(
            ask(&service, &json!({"action": "steal", "uploadId": "U"}))
                .await
                .0,
            400
        );
        assert_eq!(send(&service, raw_request("{")).await.0, 400);
        let mut read = raw_request("");
        *read.method_mut() = Method::GET;
        assert_eq!(send(&service, read).await.0, 405);
    });
    for (action, outcome, count) in [
        ("create", "Answered", 1.0),
        ("parts", "Answered", 2.0),
        ("list", "Answered", 1.0),
        ("complete", "Answered", 1.0),
        ("abort", "Answered", 1.0),
        ("put", "Answered", 1.0),
        ("put", "InvalidHandle", 1.0),
        ("get", "NotGranted", 1.0),
        ("unknown", "InvalidAsk", 2.0),
        ("unknown", "MethodNotAllowed", 1.0),
    ] {
        assert_eq!(presigns(&scraped, action, outcome), count, "{action}");
    }
    assert!(!scraped.contains("steal"), "{scraped}");
    assert_eq!(
        scraped
            .matches("aliyun_oss_presign_requests_total{")
            .count(),
        10
    );
    // Signed URLs are no upload tokens. A handle has one ticket, however often it is sent.
    assert_eq!(value(&scraped, "aliyun_oss_tickets_issued_total"), 1.0);
    assert!(!scraped.contains("aliyun_oss_tokens_total"), "{scraped}");
}

#[test]
fn a_request_is_one_span() {
    let log = spans(async {
        let service = service(Always(videos()));
        create(&service, "a.mp4", 20 << 20, "video/mp4").await;
    });
    let span = "oss.presign{action=\"create\" outcome=\"Answered\" otel.status_code=\"OK\"}";
    assert_eq!(log.count("close", span), 1);
}
