//! Feature `metrics`: what is recorded of a recovery.

use std::sync::atomic::AtomicBool;

use tokio::time::sleep;

use super::{faulty::Faulty, *};
use crate::metrics::{recorded, value};

fn rows(scraped: &str, outcome: &str) -> f64 {
    let name = format!("aliyun_oss_recovery_rows_total{{outcome=\"{outcome}\"}}");
    value(scraped, &name)
}

fn passes(scraped: &str, outcome: &str) -> f64 {
    let name = format!("aliyun_oss_recovery_passes_total{{outcome=\"{outcome}\"}}");
    value(scraped, &name)
}

fn callbacks(scraped: &str, origin: &str, outcome: &str) -> f64 {
    let labels = format!("origin=\"{origin}\",outcome=\"{outcome}\"");
    value(scraped, &format!("aliyun_oss_callbacks_total{{{labels}}}"))
}

fn due(scraped: &str) -> f64 {
    value(scraped, "aliyun_oss_recovery_due_total")
}

fn open(scraped: &str) -> f64 {
    value(scraped, "aliyun_oss_ledger_open_rows")
}

#[test]
fn a_pass_without_rows_registers_all_outcomes() {
    let scraped = recorded(async {
        World::new().passes(|_| {}).await;
    });
    for outcome in [
        "Recovered",
        "Dropped",
        "OrphanKept",
        "OrphanDeleted",
        "Deferred",
        "Unknown",
        "Failed",
        "DeadLetter",
        "Lost",
    ] {
        assert_eq!(rows(&scraped, outcome), 0.0, "{outcome}");
    }
    assert_eq!(passes(&scraped, "Completed"), 1.0);
    assert_eq!((due(&scraped), open(&scraped)), (0.0, 0.0));
}

#[test]
fn due_rows_are_counted_by_what_becomes_of_them() {
    let scraped = recorded(async {
        let world = World::new();
        world.stored("recovered.png").await;
        world.grant("dropped.png").await;
        world.grant("orphan.png").await;
        let large = ObjectMetadata::new(1001)
            .with_etag("A1")
            .with_content_type("image/png")
            .with_last_modified(world.clock.now());
        world.storage.put("orphan.png", large);
        world.pass_until_due();
        let summary = world.tick().await;
        assert_eq!(
            (summary.recovered, summary.dropped, summary.orphans_kept),
            (1, 1, 1)
        );
        world.stored("failed.png").await;
        world.app.fails(1);
        world.pass_until_due();
        world.passes(|summary| summary.failed = 1).await;
    });
    for (outcome, count) in [
        ("Recovered", 1.0),
        ("Dropped", 1.0),
        ("OrphanKept", 1.0),
        ("Failed", 1.0),
        ("DeadLetter", 0.0),
    ] {
        assert_eq!(rows(&scraped, outcome), count, "{outcome}");
    }
    assert_eq!(passes(&scraped, "Completed"), 2.0);
    assert_eq!((due(&scraped), open(&scraped)), (4.0, 1.0));
}

#[test]
fn a_storage_that_cannot_tell_and_a_dead_letter_are_counted() {
    let scraped = recorded(async {
        let world = World::new();
        world.stored("a.png").await;
        world.pass_until_due();
        world.storage.fail(StorageErrorKind::Denied);
        world.passes(|summary| summary.deferred = 1).await;
        world.storage.fail(None);
        world.clock.pass(10 * MINUTE);
        world.app.fails(1);
        let recovery = world.recovery().max_attempts(1);
        assert_eq!(recovery.tick().await.unwrap().dead_letters, 1);
    });
    assert_eq!(rows(&scraped, "Unknown"), 1.0);
    assert_eq!(rows(&scraped, "Deferred"), 0.0);
    assert_eq!(rows(&scraped, "DeadLetter"), 1.0);
    assert_eq!((due(&scraped), open(&scraped)), (2.0, 0.0));
}

#[test]
fn rows_that_expire_without_a_recovery_are_counted() {
    let expired = "aliyun_oss_ledger_expired_rows_total";
    let scraped = recorded(async { World::new().passes(|_| {}).await });
    assert_eq!(value(&scraped, expired), 0.0);
    let scraped = recorded(async {
        let world = World::new();
        world.stored("a.png").await;
        world.stored("b.png").await;
        world.clock.pass(10 * 24 * HOUR);
        world.passes(|_| {}).await;
        assert_eq!(world.open().await, 0);
    });
    assert_eq!(value(&scraped, expired), 2.0);
}

#[test]
fn recovered_callbacks_are_told_from_those_of_oss() {
    let scraped = recorded(async {
        let world = World::new();
        for key in ["a.png", "b.png"] {
            world.stored(key).await;
        }
        world.pass_until_due();
        world.app.fails(1);
        let summary = world.tick().await;
        assert_eq!((summary.recovered, summary.failed), (1, 1));
        // A request that only claims to be a recovery has no signature.
        let request = Request::post(TARGET).body(Full::<Bytes>::default());
        let mut service = world.service();
        let refused = service.call(request.unwrap()).await.unwrap();
        assert_eq!(refused.status(), 400);
    });
    assert_eq!(callbacks(&scraped, "Recovered", "Accepted"), 1.0);
    assert_eq!(callbacks(&scraped, "Recovered", "HandlerFailed"), 1.0);
    assert_eq!(callbacks(&scraped, "Oss", "Accepted"), 0.0);
    assert_eq!(callbacks(&scraped, "Oss", "MissingHeader"), 1.0);
    assert_eq!(callbacks(&scraped, "Recovered", "MissingHeader"), 0.0);
}

#[test]
fn a_pass_without_a_ledger_is_counted_by_its_error() {
    let scraped = recorded(async {
        let world = World::new();
        let faulty = Faulty::down_while(&world.ledger, &Arc::new(AtomicBool::new(true)));
        let world = world.with_ledger(faulty);
        world.recovery().tick().await.unwrap_err();
    });
    assert_eq!(passes(&scraped, "Unavailable"), 1.0);
    assert_eq!(passes(&scraped, "Completed"), 0.0);
    assert!(!scraped.contains("aliyun_oss_ledger_open_rows"));
}

/// The number of open rows that a recovery reports which runs for some seconds. One is granted
/// after its first pass.
fn open_after(seconds: u64) -> f64 {
    let scraped = recorded(async {
        let world = World::new();
        let recovery = world.recovery().interval(Duration::from_secs(10));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let run = recovery.run(async { drop(stopped.await) });
        let grant = async {
            sleep(Duration::from_secs(5)).await;
            world.grant("a.png").await;
            sleep(Duration::from_secs(seconds - 5)).await;
            drop(stop);
        };
        tokio::join!(run, grant);
    });
    assert!(passes(&scraped, "Completed") >= 2.0, "{scraped}");
    open(&scraped)
}

#[test]
fn open_rows_are_counted_once_a_minute() {
    assert_eq!(open_after(50), 0.0);
    assert_eq!(open_after(80), 1.0);
}
