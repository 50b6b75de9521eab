//! Feature `metrics`: what is recorded of callbacks, tokens and key fetches, and their spans.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::CallbackErrorKind,
    policy::{Grant, Refusal},
    ticket::{MemoryStore, Tickets},
};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::{
    support::{
        FORM, Log, Signer, send,
        tokens::{everybody, token_request, tokens},
    },
    tickets::support::{TARGET, exact, form, keys, mint},
};

/// Runs a future with a recorder, and returns the text that Prometheus would scrape.
pub(crate) fn recorded(future: impl Future<Output = ()>) -> String {
    let recorder: PrometheusRecorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(future));
    let scraped = recorder.handle().render();
    assert_labels_are_documented(&scraped);
    scraped
}

/// Every series has exactly the labels that the table of the documentation has for its metric.
#[track_caller]
fn assert_labels_are_documented(scraped: &str) {
    let rows = include_str!("../../docs/metrics.md").lines();
    let documented: BTreeMap<&str, BTreeSet<&str>> = rows
        .filter_map(|row| {
            row.strip_prefix("| `aliyun_oss_")
                .and(row.strip_prefix("| `"))
        })
        .filter_map(|row| {
            let (name, row) = row.split_once('`')?;
            let labels = row.split('|').nth(2)?;
            Some((name, labels.split('`').skip(1).step_by(2).collect()))
        })
        .collect();
    let lines = scraped
        .lines()
        .filter(|line| line.starts_with("aliyun_oss_"));
    for line in lines {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = name.trim_end_matches("_count").trim_end_matches("_sum");
        let labels = labels.trim_end_matches('}').split(',');
        let labels: BTreeSet<&str> = labels
            .filter_map(|label| Some(label.split_once('=')?.0))
            .filter(|&label| label != "quantile")
            .collect();
        assert_eq!(documented.get(name), Some(&labels), "{line}");
    }
}

/// Returns the value of the line that starts with this name and these labels.
#[track_caller]
pub(crate) fn value(scraped: &str, name: &str) -> f64 {
    let line = scraped
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("{name} is missing:\n{scraped}"));
    line.parse().unwrap()
}

fn callbacks(scraped: &str, outcome: &str) -> f64 {
    value(
        scraped,
        &format!("aliyun_oss_callbacks_total{{origin=\"Oss\",outcome=\"{outcome}\"}}"),
    )
}

fn stage(scraped: &str, stage: &str) -> f64 {
    let name = "aliyun_oss_callback_stage_duration_seconds_count";
    value(scraped, &format!("{name}{{stage=\"{stage}\"}}"))
}

fn callback() -> Request<Full<Bytes>> {
    Signer::with_512_bits().request(TARGET, FORM, b"a=b")
}

#[test]
fn callbacks_are_counted_by_outcome_and_timed_by_stage() {
    let scraped = recorded(async {
        let layer = Signer::with_512_bits().layer();
        for _ in 0..3 {
            send(&layer, callback()).await.assert_accepted();
        }
        let mut forged = callback();
        *forged.uri_mut() = "/elsewhere".parse().unwrap();
        send(&layer, forged)
            .await
            .assert_refused(403, CallbackErrorKind::SignatureMismatch);
        let mut without = callback();
        without.headers_mut().remove("authorization");
        send(&layer, without)
            .await
            .assert_refused(400, CallbackErrorKind::MissingHeader);
        let teapot = service_fn(|_| async {
            let response = Response::builder().status(StatusCode::IM_A_TEAPOT);
            response.body(Full::<Bytes>::default())
        });
        layer.layer(teapot).oneshot(callback()).await.unwrap();
        let fails = service_fn(|_| async { Err::<Response<Full<Bytes>>, _>("no") });
        layer.layer(fails).oneshot(callback()).await.unwrap_err();
    });
    assert_eq!(callbacks(&scraped, "Accepted"), 3.0);
    assert_eq!(callbacks(&scraped, "SignatureMismatch"), 1.0);
    assert_eq!(callbacks(&scraped, "MissingHeader"), 1.0);
    assert_eq!(callbacks(&scraped, "HandlerFailed"), 2.0);
    // What has not happened yet is there too, so that a rate of it exists from the start.
    assert_eq!(callbacks(&scraped, "Canceled"), 0.0);
    assert_eq!(callbacks(&scraped, "NotConfirmed"), 0.0);
    // At least the first one is timed, and perhaps others that come a millisecond later.
    for name in ["body", "signature", "handler"] {
        assert!((1.0..=6.0).contains(&stage(&scraped, name)), "{name}");
    }
    for name in ["ticket", "key", "store", "confirm"] {
        assert_eq!(stage(&scraped, name), 0.0, "{name}");
    }
}

#[test]
fn a_recorder_that_is_installed_later_records_too() {
    let layer = Signer::with_512_bits().layer();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    // Nothing is recorded yet.
    for _ in 0..2 {
        runtime.block_on(send(&layer, callback())).assert_accepted();
    }
    let scraped = recorded(async {
        for _ in 0..3 {
            send(&layer, callback()).await.assert_accepted();
        }
    });
    assert_eq!(callbacks(&scraped, "Accepted"), 3.0);
    assert_eq!(callbacks(&scraped, "KeyUnavailable"), 0.0);
}

/// A busy thread times few callbacks, and counts each.
#[test]
fn a_busy_layer_times_a_sample() {
    const CALLBACKS: u32 = 2_000;
    let mut spent = std::time::Duration::ZERO;
    let scraped = recorded(async {
        let layer = Signer::with_512_bits().layer();
        let request = callback();
        let started = std::time::Instant::now();
        for _ in 0..CALLBACKS {
            send(&layer, request.clone()).await.assert_accepted();
        }
        spent = started.elapsed();
    });
    assert_eq!(callbacks(&scraped, "Accepted"), f64::from(CALLBACKS));
    let timed = stage(&scraped, "signature");
    assert!(timed >= 1.0);
    assert!(timed <= spent.as_secs_f64() * 1_000.0 + 1.0, "{timed}");
}

#[test]
fn requests_that_are_not_callbacks_are_not_counted() {
    let scraped = recorded(async {
        let layer = Signer::with_512_bits().layer().only_path("/other").unwrap();
        let inner =
            service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
        layer.layer(inner).oneshot(callback()).await.unwrap();
    });
    assert!(!scraped.contains("aliyun_oss_callbacks_total"), "{scraped}");
}

#[test]
fn a_client_that_leaves_is_counted() {
    let scraped = recorded(async {
        let layer = Signer::with_512_bits().layer();
        let never =
            service_fn(|_| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>());
        let mut service = layer.layer(never);
        let mut response = Box::pin(service.call(callback()));
        let pending = response
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(pending, Poll::Pending));
    });
    assert_eq!(callbacks(&scraped, "Canceled"), 1.0);
    assert_eq!(callbacks(&scraped, "Accepted"), 0.0);
}

/// A panic is caught in front of the layer, or ends the task; the future is dropped in both cases.
#[test]
fn a_handler_that_panics_has_failed() {
    let scraped = recorded(async {
        let layer = Signer::with_512_bits().layer();
        let handler = service_fn(|_| async {
            tokio::task::yield_now().await;
            panic!("a fault of the handler");
            #[allow(unreachable_code, reason = "names the type")]
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        for _ in 0..2 {
            let task = tokio::spawn(layer.clone().layer(handler).oneshot(callback()));
            assert!(task.await.is_err_and(|error| error.is_panic()));
        }
        let mut service = layer.layer(handler);
        let mut response = Box::pin(service.call(callback()));
        let mut poll = || {
            let mut context = Context::from_waker(Waker::noop());
            let poll = AssertUnwindSafe(|| response.as_mut().poll(&mut context).is_pending());
            catch_unwind(poll)
        };
        assert!(poll().unwrap());
        assert!(poll().is_err());
    });
    assert_eq!(callbacks(&scraped, "HandlerFailed"), 3.0);
    assert_eq!(callbacks(&scraped, "Canceled"), 0.0);
}

#[test]
fn replays_and_their_stages_are_counted() {
    let scraped = recorded(async {
        let signer = Signer::with_512_bits();
        let layer = signer
            .layer()
            .tickets(Tickets::new(keys(), MemoryStore::new()));
        let body = form("a.png", &mint(&exact("a.png")));
        for _ in 0..3 {
            let request = signer.request(TARGET, FORM, body.as_bytes());
            assert_eq!(send(&layer, request).await.status, 200);
        }
        let body = form("b.png", &mint(&exact("a.png")));
        let request = signer.request(TARGET, FORM, body.as_bytes());
        send(&layer, request)
            .await
            .assert_refused(403, CallbackErrorKind::OutsideGrant);
    });
    assert_eq!(callbacks(&scraped, "Accepted"), 1.0);
    assert_eq!(callbacks(&scraped, "Replayed"), 2.0);
    assert_eq!(callbacks(&scraped, "OutsideGrant"), 1.0);
    assert!((1.0..=4.0).contains(&stage(&scraped, "ticket")));
    // The first one asks the store, and has its response saved.
    assert!((2.0..=4.0).contains(&stage(&scraped, "store")));
    assert_eq!(stage(&scraped, "handler"), 1.0);
}

#[test]
fn tokens_and_tickets_are_counted() {
    let scraped = recorded(async {
        let service = tokens(everybody)
            .tickets(Tickets::new(keys(), MemoryStore::new()))
            .unwrap();
        for _ in 0..2 {
            let response = service.clone().oneshot(token_request()).await.unwrap();
            assert_eq!(response.status(), 200);
        }
        let refuse = |_: &http::request::Parts| async { Err::<Grant, _>(Refusal::forbidden()) };
        tokens(refuse).oneshot(token_request()).await.unwrap();
        let delete = Request::delete("/oss/policy")
            .body(Empty::<Bytes>::new())
            .unwrap();
        tokens(everybody).oneshot(delete).await.unwrap();
    });
    let outcome = |outcome: &str| {
        value(
            &scraped,
            &format!("aliyun_oss_tokens_total{{outcome=\"{outcome}\"}}"),
        )
    };
    assert_eq!(outcome("Issued"), 2.0);
    assert_eq!(outcome("MethodNotAllowed"), 1.0);
    assert_eq!(outcome("Refused"), 1.0);
    assert_eq!(value(&scraped, "aliyun_oss_tickets_issued_total"), 2.0);
}

#[cfg(feature = "fetch")]
#[test]
fn key_fetches_are_counted_by_outcome() {
    use crate::fetch::fake::{Does, Host, get};

    let scraped = recorded(async {
        let host = Host::that(Does::Status(503));
        let keys = host.keys();
        get(&keys, 2).await.unwrap_err();
        host.does(Does::key(&Signer::with_512_bits()));
        get(&keys, 3).await.unwrap();
    });
    let outcome = |outcome: &str| {
        value(
            &scraped,
            &format!("aliyun_oss_key_fetches_total{{outcome=\"{outcome}\"}}"),
        )
    };
    assert_eq!((outcome("Fetched"), outcome("Status")), (1.0, 1.0));
}

/// Runs a future, and returns a line for each span that was closed.
pub(crate) fn spans(future: impl Future<Output = ()>) -> Log {
    let log = Log::default();
    let writer = log.clone();
    // Installs the subscriber that keeps callsites enabled for all threads.
    drop(Log::default().listen());
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut future = pin!(future);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(future.as_mut());
    log
}

#[test]
fn a_callback_is_one_span_with_its_request_id() {
    let log = spans(async {
        let layer = Signer::with_512_bits().layer();
        let inside = |layer: &OssCallbackLayer| {
            layer.layer(service_fn(|_| async {
                tracing::info!("in the handler");
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("{}")))
            }))
        };
        for id in [
            "5CF3E7820000000000000001",
            "line\tbreak",
            &"A".repeat(65),
            "",
        ] {
            let mut request = callback();
            request
                .headers_mut()
                .insert("x-oss-request-id", id.parse().unwrap());
            inside(&layer).oneshot(request).await.unwrap();
        }
        let mut forged = callback();
        *forged.uri_mut() = "/elsewhere".parse().unwrap();
        inside(&layer).oneshot(forged).await.unwrap();
    });
    let with_id = "oss.callback{oss.request_id=\"5CF3E7820000000000000001\" origin=\"Oss\"}: ";
    assert_eq!(log.count("in the handler", with_id), 1);
    assert_eq!(
        log.count("in the handler", "oss.callback"),
        4,
        "inside of the span"
    );
    assert_eq!(
        log.count("close", "outcome=\"Accepted\" otel.status_code=\"OK\""),
        4
    );
    assert_eq!(
        log.count(
            "close",
            "outcome=\"SignatureMismatch\" otel.status_code=\"ERROR\""
        ),
        1
    );
    assert_eq!(log.count("", "break"), 0);
    assert_eq!(log.count("", "AAAA"), 0);
}

#[test]
fn a_token_is_one_span() {
    let log = spans(async {
        tokens(everybody).oneshot(token_request()).await.unwrap();
    });
    assert_eq!(
        log.count(
            "close",
            "oss.token{outcome=\"Issued\" otel.status_code=\"OK\"}"
        ),
        1
    );
}

/// Each name is documented, and each documented name exists.
#[test]
fn the_names_are_those_of_the_documentation() {
    let source = include_str!("../../src/metrics.rs");
    let quoted = |text: &'static str, mark: char| {
        let names = text
            .split(mark)
            .filter(|name| name.starts_with("aliyun_oss_"));
        let names: BTreeSet<_> = names.collect();
        names
    };
    let documented = quoted(include_str!("../../docs/metrics.md"), '`');
    assert_eq!(quoted(source, '"'), documented);
    assert_eq!(documented.len(), 13);
    for file in [
        include_str!("../../docs/grafana-dashboard.json"),
        include_str!("../../docs/alerts.yml"),
    ] {
        for used in file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let base = used.trim_end_matches("_bucket").trim_end_matches("_count");
            let base = base.trim_end_matches("_sum");
            assert!(
                !used.starts_with("aliyun_oss_") || documented.contains(base),
                "{used}"
            );
        }
    }
}
