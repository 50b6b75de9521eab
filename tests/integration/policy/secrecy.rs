//! No `Debug` output, response or log line contains the secret, the STS token, the signing key of
//! the day, the ticket key or a form value.
//!
//! Only one test, because subscribers of other threads affect what a thread logs.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use crate::support::Log;
use bytes::Bytes;
use http::{Request, request::Parts};
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    OssPolicyService,
    policy::{
        Authorize, CallbackDirective, CallbackTemplate, Condition, Credentials, Grant, PostPolicy,
        Refusal, RequestedFiles, TokenFormat, UploadKey,
    },
    protocol::{CallbackBodyType, ObjectKey, SizeRange},
    ticket::{TicketKey, TicketKeys, Tickets},
};

/// Must appear nowhere.
const SECRETS: [&str; 2] = ["canary-secret", "canary-ticket-key"];
/// Must appear only in the token.
const VALUES: [&str; 5] = [
    "canary-token",
    "canary-field",
    "canary-variable",
    "canary-condition",
    "canary-claim",
];

fn credentials() -> Credentials {
    Credentials::new("STS.id", "canary-secret")
        .and_then(|pair| pair.with_security_token("canary-token"))
        .unwrap()
}

fn grant() -> Grant {
    Grant::under("a/".parse().unwrap(), SizeRange::new(1, 1000).unwrap())
        .field("Expires", "canary-field")
        .variable("x:uid", "canary-variable")
        .condition(Condition::equals("x-oss-meta-a", "canary-condition"))
        .claims(&"canary-claim")
}

async fn good(parts: &Parts) -> Result<Grant, Refusal> {
    tracing::trace!(?parts, "asked");
    Ok(grant())
}

async fn refusing(_: &Parts) -> Result<Grant, Refusal> {
    Err(Refusal::unauthorized())
}

async fn wrong(_: &Parts) -> Result<Grant, Refusal> {
    Ok(grant()
        .variable("uid", "canary-variable")
        .field("key", "canary-field"))
}

async fn panicking(_: &Parts) -> Result<Grant, Refusal> {
    panic!("panic in authorize")
}

fn tickets() -> Tickets {
    let key = TicketKey::from_bytes(b"canary-ticket-key-of-32-and-more-bytes").unwrap();
    Tickets::in_memory(TicketKeys::new(1, key))
}

fn service<A: Authorize>(authorize: A) -> OssPolicyService<A> {
    OssPolicyService::new(
        authorize,
        credentials(),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        CallbackDirective::new("https://app.example/cb").unwrap(),
    )
    .and_then(|service| service.tickets(tickets()))
    .unwrap()
}

/// Requests a token. Appends all `Debug` output to `shown`, and returns the response body.
async fn ask<A: Authorize>(service: OssPolicyService<A>, shown: &mut Vec<String>) -> String {
    shown.push(format!("{service:?} {service:#?}"));
    let request = Request::get("/?filename=a.png").body(Full::<Bytes>::default());
    let future = service.oneshot(request.unwrap());
    shown.push(format!("{future:?}"));
    let response = future.await.unwrap();
    shown.push(format!("{response:?} {response:#?}"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn pl_20_no_type_answer_panic_or_log_shows_what_is_secret() {
    let log = Log::default();
    let _guard = log.listen();
    let mut shown = Vec::new();
    let mut given = vec![ask(service(good), &mut shown).await];
    assert!(given[0].contains("canary-token") && given[0].contains("canary-field"));
    given.push(ask(service(refusing), &mut shown).await);
    given.push(ask(service(wrong), &mut shown).await);
    let legacy = service(good).format(TokenFormat::Legacy).unwrap();
    given.push(ask(legacy, &mut shown).await);
    let ended = OssPolicyService::new(
        good,
        credentials().with_expiry(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        CallbackDirective::new("https://app.example/cb").unwrap(),
    );
    let ended = ended.and_then(|service| service.tickets(tickets()));
    given.push(ask(ended.unwrap(), &mut shown).await);

    // A panic propagates with its own message only.
    let panicked = tokio::spawn(async { ask(service(panicking), &mut Vec::new()).await }).await;
    let panic = panicked.unwrap_err().into_panic();
    shown.push(format!("{:?}", panic.downcast_ref::<&str>()));
    let caught = catch_unwind(AssertUnwindSafe(|| {
        Credentials::new("", "canary-secret").unwrap()
    }));
    let caught = caught.unwrap_err();
    shown.push(format!("{:?}", caught.downcast_ref::<String>()));

    let body = CallbackTemplate::standard(CallbackBodyType::Json)
        .custom("x:uid", "canary-variable")
        .and_then(|body| body.constant("note", "canary-claim"))
        .unwrap();
    let directive = CallbackDirective::new("https://app.example/cb")
        .and_then(|directive| directive.body(body.clone()))
        .unwrap();
    let key: ObjectKey = "a".parse().unwrap();
    let builder = PostPolicy::builder(
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        key.clone(),
        SizeRange::new(1, 2).unwrap(),
        directive.clone(),
    )
    .field("Expires", "canary-field")
    .condition(Condition::none_of("x-oss-meta-a", ["canary-condition"]));
    let policy = builder.clone().build().unwrap();
    let token = policy.sign(&credentials(), SystemTime::now()).unwrap();
    given.push(serde_json::to_string(&token).unwrap());
    shown.push(format!(
        "{body:?} {directive:?} {builder:?} {policy:?} {token:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        credentials(),
        grant(),
        tickets(),
        UploadKey::from(key),
        Condition::equals("a", "canary-condition"),
        OssPolicyService::public_demo(
            credentials(),
            "https://h.example".parse().unwrap(),
            "a/".parse().unwrap(),
            CallbackDirective::new("https://app.example/cb").unwrap(),
        )
        .unwrap(),
    ));
    let asked: Option<RequestedFiles> = None;
    shown.push(format!("{asked:?}"));

    for text in &shown {
        for canary in SECRETS.iter().chain(&VALUES) {
            assert!(!text.contains(canary), "{text}");
        }
    }
    for text in &given {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{text}");
        }
    }
    for canary in SECRETS.iter().chain(&VALUES) {
        assert_eq!(log.count("", canary), 0, "{canary}");
    }
    // The log was captured, and contains the causes of the failures.
    assert!(log.count("TRACE", "asked") > 0);
    assert_eq!(
        log.count("ERROR", "what was granted cannot be put into a policy"),
        2
    );
    assert_eq!(
        log.count("ERROR", "no credentials to sign a policy with"),
        1
    );
}
