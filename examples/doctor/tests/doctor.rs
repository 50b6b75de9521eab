//! The doctor against the emulator: a set-up that works, and broken ones that it must name.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::HashMap,
    future::IntoFuture as _,
    pin::Pin,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use aliyun_oss_emulator::{AccessKey, CorsRule, Emulator, EmulatorBuilder, HostedBucket};
use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Redirect, Response},
    routing::post,
};
use doctor::{Options, Outcome, Report, examine};
use http::{HeaderValue, Method, StatusCode, header::DATE};
use jiff::{Timestamp, fmt::rfc2822};
use tokio::net::TcpListener;
use tower_aliyun_oss::{
    callback::{CallbackReply, OssCallbackLayer},
    key::PinnedKeys,
    protocol::Bucket,
    ticket::{TicketKey, TicketKeys, Tickets},
};

const SECRET: &str = "a-secret-of-the-test";
const TICKET_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const EMULATOR_KEY: &str = include_str!("../../../src/testing/public_key.pem");
const AN_HOUR: Duration = Duration::from_secs(60 * 60);
const ORIGIN: &str = "https://app.example";

/// A set-up: the emulator, what stands in front of it, the application, and the environment.
struct SetUp {
    emulator: EmulatorBuilder,
    in_front: fn(Request, Next) -> Answered,
    app: fn(PinnedKeys, Tickets) -> Router,
    environment: HashMap<&'static str, String>,
    bucket_in_url: &'static str,
}

type Answered = Pin<Box<dyn Future<Output = Response> + Send>>;

impl SetUp {
    fn new() -> Self {
        let bucket: Bucket = "examplebucket".parse().unwrap();
        let environment = [
            ("OSS_ACCESS_KEY_ID", "test-id"),
            ("OSS_ACCESS_KEY_SECRET", SECRET),
            ("OSS_BUCKET", "examplebucket"),
            ("OSS_REGION", "cn-hangzhou"),
            ("OSS_UPLOAD_DIR", "user-dir-prefix/"),
        ];
        Self {
            emulator: Emulator::builder()
                .bucket(HostedBucket::new(bucket).cors(CorsRule::any_origin()))
                .access_key(AccessKey::new("test-id", SECRET))
                .allow_private_callbacks(),
            in_front: |request, next| Box::pin(next.run(request)),
            app: |keys, tickets| {
                let layer = OssCallbackLayer::new().key_source(keys).tickets(tickets);
                let handler = post(async || CallbackReply::ok());
                Router::new().route("/oss/callback", handler.route_layer(layer))
            },
            environment: environment.map(|(name, value)| (name, value.into())).into(),
            bucket_in_url: "examplebucket",
        }
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.environment.insert(name, value.into());
        self
    }

    fn unset(mut self, name: &'static str) -> Self {
        self.environment.remove(name);
        self
    }

    fn emulator(mut self, change: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        self.emulator = change(self.emulator);
        self
    }

    fn in_front(mut self, answer: fn(Request, Next) -> Answered) -> Self {
        self.in_front = answer;
        self
    }

    fn app(mut self, app: fn(PinnedKeys, Tickets) -> Router) -> Self {
        self.app = app;
        self
    }

    async fn examine(self) -> Report {
        let options = Options::default();
        self.examine_with(options).await
    }

    async fn examine_with(mut self, mut options: Options) -> Report {
        let emulator = self.emulator.build().unwrap();
        let (oss, app) = (listener().await, listener().await);
        let url = format!(
            "http://{}/{}",
            oss.local_addr().unwrap(),
            self.bucket_in_url
        );
        let callback_url = format!("http://{}/oss/callback", app.local_addr().unwrap());
        let key = TicketKey::from_base64(TICKET_KEY).unwrap();
        for (name, value) in [
            ("OSS_HOST", url),
            ("OSS_CALLBACK_URL", callback_url),
            ("OSS_TICKET_KEY", TICKET_KEY.into()),
            ("OSS_CALLBACK_PUBLIC_KEY", EMULATOR_KEY.into()),
        ] {
            self.environment.entry(name).or_insert(value);
        }
        let tickets = Tickets::in_memory(TicketKeys::new(1, key));
        let router = (self.app)(emulator.key_source(), tickets);
        let oss_router = Router::new()
            .fallback_service(emulator)
            .layer(from_fn(self.in_front));
        tokio::spawn(axum::serve(oss, oss_router).into_future());
        tokio::spawn(axum::serve(app, router).into_future());
        options.origin = Some(ORIGIN.into());
        options.listen.get_or_insert_with(|| "127.0.0.1:0".into());
        examine(|name| self.environment.get(name).cloned(), options).await
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn failed(report: &Report) -> Vec<&'static str> {
    outcome(report, Outcome::Failed)
}

fn outcome(report: &Report, outcome: Outcome) -> Vec<&'static str> {
    let findings = report.findings().iter();
    findings
        .filter(|finding| finding.outcome == outcome)
        .map(|finding| finding.check)
        .collect()
}

/// Asserts that exactly this check fails, and that its remedy contains `change`.
async fn names(set_up: SetUp, check: &str, change: &str) {
    let report = set_up.examine().await;
    assert_eq!(failed(&report), [check], "{report}");
    let finding = report
        .findings()
        .iter()
        .find(|finding| finding.check == check)
        .unwrap();
    assert!(finding.change.contains(change), "{report}");
    assert!(!report.is_healthy());
}

#[tokio::test]
async fn a_set_up_that_works_passes_every_check() {
    let report = SetUp::new().examine().await;
    assert_eq!(failed(&report), [""; 0], "{report}");
    assert_eq!(outcome(&report, Outcome::Warning), [""; 0], "{report}");
    assert_eq!(outcome(&report, Outcome::Skipped), [""; 0], "{report}");
    assert!(report.is_healthy());
    assert_eq!(report.findings().len(), 16, "{report}");
}

#[tokio::test]
async fn observations_show_what_oss_sends() {
    let mut options = Options::default();
    options.observe = true;
    let report = SetUp::new().examine_with(options).await;
    let observed = report.observations();
    assert_eq!(observed.len(), 4, "{report}");
    for observation in observed {
        assert_eq!(observation.callbacks.len(), 1, "{report}");
        assert!(observation.callbacks[0].ends_with("(verified)"), "{report}");
    }
}

#[tokio::test]
async fn nothing_is_left_in_the_bucket() {
    static STORED: AtomicI64 = AtomicI64::new(0);
    let set_up = SetUp::new().in_front(|request, next| {
        let change = match *request.method() {
            Method::PUT | Method::POST => 1,
            Method::DELETE => -1,
            _ => 0,
        };
        Box::pin(async move {
            let response = next.run(request).await;
            if response.status().is_success() {
                STORED.fetch_add(change, Relaxed);
            }
            response
        })
    });
    let mut options = Options::default();
    options.observe = true;
    let report = set_up.examine_with(options).await;
    assert!(report.is_healthy(), "{report}");
    assert_eq!(STORED.load(Relaxed), 0);
}

#[tokio::test]
async fn missing_variables() {
    let report = examine(|_| None, Options::default()).await;
    assert_eq!(failed(&report).len(), 4, "{report}");
    assert!(
        report
            .to_string()
            .contains("set OSS_HOST to the URL of the bucket"),
        "{report}"
    );
}

#[tokio::test]
async fn a_region_with_a_prefix() {
    names(
        SetUp::new().set("OSS_REGION", "oss-cn-hangzhou"),
        "settings",
        "correct OSS_REGION",
    )
    .await;
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves() {
    let closed = listener().await.local_addr().unwrap();
    let set_up = SetUp::new().set("OSS_HOST", &format!("http://{closed}/examplebucket"));
    names(set_up, "endpoint", "correct OSS_HOST").await;
}

#[tokio::test]
async fn a_wrong_secret() {
    names(
        SetUp::new().set("OSS_ACCESS_KEY_SECRET", "wrong"),
        "credentials",
        "OSS_ACCESS_KEY_SECRET",
    )
    .await;
}

#[tokio::test]
async fn an_unknown_access_key() {
    names(
        SetUp::new().set("OSS_ACCESS_KEY_ID", "unknown"),
        "credentials",
        "OSS_ACCESS_KEY_ID is unknown",
    )
    .await;
}

#[tokio::test]
async fn a_security_token_of_another_key() {
    names(
        SetUp::new().set("OSS_SESSION_TOKEN", "bogus"),
        "credentials",
        "OSS_SESSION_TOKEN",
    )
    .await;
}

#[tokio::test]
async fn a_bucket_that_does_not_exist() {
    let mut set_up = SetUp::new().set("OSS_BUCKET", "otherbucket");
    set_up.bucket_in_url = "otherbucket";
    names(set_up, "bucket", "there is no bucket otherbucket").await;
}

#[tokio::test]
async fn another_region() {
    names(
        SetUp::new().set("OSS_REGION", "cn-beijing"),
        "region",
        "set OSS_REGION",
    )
    .await;
}

#[tokio::test]
async fn a_clock_that_is_wrong() {
    const AHEAD: Duration = Duration::from_secs(20 * 60);
    let set_up = SetUp::new()
        .emulator(|builder| builder.clock(|| SystemTime::now() + AHEAD))
        .in_front(|request, next| {
            Box::pin(async move {
                let mut response = next.run(request).await;
                let date = Timestamp::now() + AHEAD;
                let date = rfc2822::DateTimePrinter::new()
                    .timestamp_to_rfc9110_string(&date)
                    .unwrap();
                response
                    .headers_mut()
                    .insert(DATE, HeaderValue::try_from(date).unwrap());
                response
            })
        });
    let report = set_up.examine().await;
    assert_eq!(failed(&report), ["clock", "credentials"], "{report}");
    let changes = report
        .findings()
        .iter()
        .filter(|finding| finding.outcome == Outcome::Failed);
    for finding in changes {
        assert!(finding.change.contains("clock"), "{report}");
    }
}

#[tokio::test]
async fn a_bucket_without_cors_rules() {
    let set_up = SetUp::new();
    let bucket: Bucket = "examplebucket".parse().unwrap();
    let set_up = set_up.emulator(|_| {
        Emulator::builder()
            .bucket(HostedBucket::new(bucket))
            .access_key(AccessKey::new("test-id", SECRET))
            .allow_private_callbacks()
    });
    names(set_up, "CORS rules", "add a CORS rule").await;
}

#[tokio::test]
async fn version_1_is_switched_off() {
    let set_up = SetUp::new()
        .unset("OSS_REGION")
        .emulator(EmulatorBuilder::reject_signature_v1);
    names(set_up, "signature version 1", "set OSS_REGION").await;
}

#[tokio::test]
async fn the_default_domain_is_forbidden() {
    let set_up = SetUp::new().in_front(|request, next| {
        if request.headers().contains_key("authorization") {
            Box::pin(async {
                error(
                    StatusCode::BAD_REQUEST,
                    "PublicEndpointForbidden",
                    "0048-00000401",
                    "",
                )
            })
        } else {
            Box::pin(next.run(request))
        }
    });
    names(set_up, "bucket", "bind a custom domain").await;
}

#[tokio::test]
async fn a_user_without_the_permission_to_upload() {
    let set_up = SetUp::new().in_front(|request, next| refuse(request, next, &Method::PUT));
    names(set_up, "permission oss:PutObject", "grant oss:PutObject").await;
}

#[tokio::test]
async fn permissions_that_not_every_application_needs() {
    let set_up = SetUp::new().in_front(|request, next| refuse(request, next, &Method::DELETE));
    let report = set_up.examine().await;
    assert!(report.is_healthy(), "{report}");
    assert_eq!(
        outcome(&report, Outcome::Warning),
        ["permission oss:DeleteObject"],
        "{report}"
    );
}

#[tokio::test]
async fn an_application_that_verifies_nothing() {
    let report = SetUp::new()
        .app(|_, _| Router::new().route("/oss/callback", post(async || CallbackReply::ok())))
        .examine()
        .await;
    let form = "form upload with the callback of the application";
    assert_eq!(failed(&report), ["callback URL", form], "{report}");
}

#[tokio::test]
async fn an_application_without_tickets() {
    let set_up = SetUp::new().app(|keys, _| {
        let layer = OssCallbackLayer::new().key_source(keys);
        let handler = post(async || CallbackReply::ok());
        Router::new().route("/oss/callback", handler.route_layer(layer))
    });
    let check = "form upload with the callback of the application";
    names(set_up, check, "accepts callbacks without a ticket").await;
}

#[tokio::test]
async fn a_callback_url_that_the_application_does_not_have() {
    let report = SetUp::new().app(|_, _| Router::new()).examine().await;
    let findings = report.findings().iter();
    let stranger = findings
        .clone()
        .find(|finding| finding.check == "callback URL")
        .unwrap();
    assert!(stranger.change.contains("correct the path"), "{report}");
}

#[tokio::test]
async fn a_callback_url_that_redirects() {
    let report = SetUp::new()
        .app(|_, _| {
            Router::new().fallback(async || Redirect::permanent("/elsewhere").into_response())
        })
        .examine()
        .await;
    let findings = report.findings().iter();
    let stranger = findings
        .clone()
        .find(|finding| finding.check == "callback URL")
        .unwrap();
    assert!(stranger.change.contains("behind the redirect"), "{report}");
}

#[tokio::test]
async fn a_key_that_did_not_sign() {
    // The key of the emulator is another one.
    let official = include_str!("../../../src/key/callback_pub_key_v1.pem");
    let set_up = SetUp::new().set("OSS_CALLBACK_PUBLIC_KEY", official);
    names(
        set_up,
        "callback to this machine",
        "OSS_CALLBACK_PUBLIC_KEY",
    )
    .await;
}

#[tokio::test]
async fn an_oss_that_calls_no_private_address() {
    let bucket: Bucket = "examplebucket".parse().unwrap();
    let set_up = SetUp::new().emulator(|_| {
        Emulator::builder()
            .bucket(HostedBucket::new(bucket).cors(CorsRule::any_origin()))
            .access_key(AccessKey::new("test-id", SECRET))
    });
    let report = set_up.examine().await;
    let form = "form upload with the callback of the application";
    assert_eq!(
        failed(&report),
        [form, "callback to this machine"],
        "{report}"
    );
    let last = report.findings().last().unwrap();
    assert!(last.change.contains("tunnel"), "{report}");
}

#[tokio::test]
async fn no_report_contains_the_query_of_a_callback_url() {
    let report = loop {
        let free = listener().await.local_addr().unwrap();
        let mut options = Options::default();
        options.observe = true;
        options.listen = Some(free.to_string());
        options.public_url = Some(format!("http://{free}/oss/callback?token=in-the-query"));
        let report = SetUp::new().examine_with(options).await;
        // Another process may have taken the port meanwhile.
        if outcome(&report, Outcome::Skipped).is_empty() {
            break report;
        }
    };
    assert_eq!(failed(&report), [""; 0], "{report}");
    assert_eq!(report.observations().len(), 4, "{report}");
    for text in [
        report.to_string(),
        report.to_json().unwrap(),
        format!("{report:?}"),
    ] {
        assert!(text.contains("/oss/callback"), "{text}");
        assert!(!text.contains("in-the-query"), "{text}");
    }
}

#[tokio::test]
async fn no_report_contains_a_secret() {
    let set_up = SetUp::new()
        .set("OSS_SESSION_TOKEN", "the-token-of-the-test")
        .in_front(|request, next| {
            if request.method() == Method::PUT {
                let message = format!("{SECRET} the-token-of-the-test");
                return Box::pin(
                    async move { error(StatusCode::FORBIDDEN, "Strange", "", &message) },
                );
            }
            Box::pin(next.run(request))
        });
    let bucket: Bucket = "examplebucket".parse().unwrap();
    let set_up = set_up.emulator(|_| {
        let key = AccessKey::new("test-id", SECRET)
            .with_security_token("the-token-of-the-test", SystemTime::now() + AN_HOUR);
        Emulator::builder()
            .bucket(HostedBucket::new(bucket).cors(CorsRule::any_origin()))
            .access_key(key)
            .allow_private_callbacks()
    });
    let report = set_up.examine().await;
    for text in [
        report.to_string(),
        report.to_json().unwrap(),
        format!("{report:?}"),
    ] {
        assert!(text.contains("Strange"), "{text}");
    }
    for text in [report.to_string(), report.to_json().unwrap()] {
        assert!(
            !text.contains(SECRET) && !text.contains("the-token-of-the-test"),
            "{text}"
        );
    }
}

fn refuse(request: Request, next: Next, method: &Method) -> Answered {
    if request.method() == *method {
        let message = "You have no right to access this object.";
        return Box::pin(async {
            error(
                StatusCode::FORBIDDEN,
                "AccessDenied",
                "0003-00000001",
                message,
            )
        });
    }
    Box::pin(next.run(request))
}

fn error(status: StatusCode, code: &str, ec: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message>\
         <RequestId>1</RequestId><EC>{ec}</EC></Error>"
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}
