//! Passes, tasks and processes.

use std::sync::atomic::AtomicBool;

use tokio::time::{Instant, sleep};
use tower_aliyun_oss::{recovery::RecoveryError, ticket::store::StoreErrorKind};

use super::{faulty::Faulty, *};

impl World {
    async fn many(&self, count: usize) -> Vec<String> {
        for n in 0..count {
            self.stored(&format!("{n:03}.png")).await;
        }
        self.clock.pass(2 * HOUR);
        (0..count).map(|n| format!("{n:03}.png")).collect()
    }
}

#[tokio::test]
async fn rv_17_a_pass_recovers_everything_that_is_due() {
    let world = World::new();
    let keys = world.many(200).await;
    let summary = world
        .recovery()
        .batch(7)
        .concurrency(3)
        .tick()
        .await
        .unwrap();
    assert_eq!((summary.claimed, summary.recovered), (200, 200));
    assert_eq!(summary.storage_requests, 200);
    assert_eq!(world.app.objects(), keys);
    assert_eq!(world.open().await, 0);
}

#[tokio::test]
async fn rv_17_no_more_handlers_run_than_allowed() {
    let world = World::new();
    world.many(20).await;
    let mut ends = Vec::new();
    for _ in 0..20 {
        let (end, until) = tokio::sync::oneshot::channel();
        world.app.does(Act::Wait(until));
        ends.push(end);
    }
    let recovery = world.recovery().concurrency(4);
    let pass = tokio::spawn(async move { recovery.tick().await });
    while world.app.runs().len() < 4 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.app.runs().len(), 4);
    drop(ends);
    assert_eq!(pass.await.unwrap().unwrap().recovered, 20);
    assert_eq!(world.app.most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn rv_18_a_handler_that_panics_does_not_end_the_recovery() {
    let world = World::new();
    world.many(10).await;
    world.app.does(Act::Panic);
    let summary = world.tick().await;
    assert_eq!((summary.recovered, summary.failed), (9, 1));
    world.clock.pass(2 * MINUTE);
    world.passes(|summary| summary.recovered = 1).await;
    assert_eq!(world.open().await, 0);
}

#[tokio::test(start_paused = true)]
async fn rv_18_a_handler_that_hangs_is_given_up() {
    let world = World::new();
    world.stored("a.png").await;
    world.pass_until_due();
    let (_end, until) = tokio::sync::oneshot::channel();
    world.app.does(Act::Wait(until));
    let start = Instant::now();
    world.passes(|summary| summary.failed = 1).await;
    assert_eq!(start.elapsed().as_secs(), 30);
    world.clock.pass(2 * MINUTE);
    world.passes(|summary| summary.recovered = 1).await;
}

#[tokio::test(start_paused = true)]
async fn rv_18_a_storage_that_hangs_tells_nothing() {
    #[derive(Clone)]
    struct Hanging;
    impl ObjectStorage for Hanging {
        fn head(&self, _: &Bucket, _: &str) -> Lookup<ObjectMetadata, StorageError> {
            Lookup::pending(std::future::pending())
        }
        fn list(&self, _: &Bucket, _: &str, _: Option<&str>) -> Lookup<ObjectPage, StorageError> {
            Lookup::pending(std::future::pending())
        }
        fn delete(&self, _: &Bucket, _: &str) -> Lookup<(), StorageError> {
            Lookup::pending(std::future::pending())
        }
    }
    let world = World::new();
    world.stored("a.png").await;
    world.pass_until_due();
    let recovery = Recovery::new(&world.uploads(), Hanging, world.service()).unwrap();
    let start = Instant::now();
    assert_eq!(recovery.tick().await.unwrap().deferred, 1);
    assert_eq!((start.elapsed().as_secs(), world.open().await), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn rv_19_a_task_recovers_until_it_is_stopped() {
    let world = Arc::new(World::new());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let recovery = world.recovery().interval(Duration::from_secs(100));
    let task = tokio::spawn(async move { recovery.run(async { drop(stopped.await) }).await });
    let start = Instant::now();
    for n in 0..5 {
        let key = format!("{n}.png");
        world.stored(&key).await;
        world.clock.pass(2 * HOUR);
        while world.app.runs().len() <= n {
            sleep(Duration::from_secs(1)).await;
        }
    }
    let elapsed = start.elapsed().as_secs();
    // The first pass does not wait.
    assert!((4 * 75..=5 * 126).contains(&elapsed), "{elapsed}");
    drop(stop);
    task.await.unwrap();
    // During a pause, it stops at once.
    assert_eq!(start.elapsed().as_secs(), elapsed);
    world.stored("last.png").await;
    world.clock.pass(2 * HOUR);
    sleep(Duration::from_secs(1000)).await;
    assert_eq!(world.app.runs().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn rv_19_a_task_that_is_stopped_completes_what_it_has_begun() {
    let world = Arc::new(World::new());
    world.many(20).await;
    let mut ends = Vec::new();
    for _ in 0..20 {
        let (end, until) = tokio::sync::oneshot::channel();
        world.app.does(Act::Wait(until));
        ends.push(end);
    }
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let recovery = world.recovery().concurrency(4);
    let task = tokio::spawn(async move { recovery.run(async { drop(stopped.await) }).await });
    while world.app.runs().len() < 4 {
        tokio::task::yield_now().await;
    }
    drop(stop);
    sleep(Duration::from_secs(1)).await;
    assert!(!task.is_finished());
    drop(ends);
    task.await.unwrap();
    assert_eq!((world.app.runs().len(), world.open().await), (4, 16));
    // The others are released: another process need not wait for the claims to expire.
    world.app.acts.lock().unwrap().clear();
    world.passes(|summary| summary.recovered = 16).await;
    // And no attempt is counted for them.
    assert_eq!(world.open().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rv_20_several_processes_share_the_rows() {
    let world = World::new();
    let keys = world.many(300).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let recovery = world.recovery().batch(5);
        tasks.spawn(async move { recovery.tick().await.unwrap() });
    }
    let summaries = tasks.join_all().await;
    let recovered: u64 = summaries.iter().map(|summary| summary.recovered).sum();
    assert_eq!(recovered, 300);
    assert_eq!(world.app.objects(), keys);
}

/// A process that dies loses its claims.
#[tokio::test(start_paused = true)]
async fn rv_20_the_rows_of_a_dead_process_are_recovered_by_another() {
    let world = World::new();
    world.many(3).await;
    let (_end, until) = tokio::sync::oneshot::channel();
    world.app.does(Act::Wait(until));
    let recovery = world.recovery().concurrency(1);
    let pass = tokio::spawn(async move { recovery.tick().await });
    while world.app.runs().is_empty() {
        tokio::task::yield_now().await;
    }
    pass.abort();
    assert!(pass.await.unwrap_err().is_cancelled());
    world.passes(|_| {}).await;
    world.clock.pass(HOUR);
    world.passes(|summary| summary.recovered = 3).await;
}

/// Each time, the process dies with everything that it has claimed.
#[tokio::test]
async fn rv_26_an_upload_that_kills_its_processes_does_not_take_others_along() {
    let world = World::new();
    world.many(40).await;
    let reached = Arc::new(tokio::sync::Notify::new());
    for _ in 0..20 {
        let (app, deadly) = (world.app.clone(), Arc::clone(&reached));
        let handler = tower::service_fn(move |request: Request<RequestBody<_>>| {
            let callback = request.extensions().get::<VerifiedCallback>().unwrap();
            let kills = callback.event().unwrap().object() == Some("000.png");
            let (mut app, deadly) = (app.clone(), Arc::clone(&deadly));
            async move {
                if kills {
                    deadly.notify_one();
                    std::future::pending::<()>().await;
                }
                app.call(request).await
            }
        });
        let recovery = world.recovery_with(world.layer().layer(handler));
        let pass = tokio::spawn(async move { recovery.concurrency(1).tick().await });
        reached.notified().await;
        pass.abort();
        assert!(pass.await.unwrap_err().is_cancelled());
        world.clock.pass(HOUR);
    }
    world.passes(|summary| summary.dead_letters = 1).await;
    assert_eq!(world.app.runs().len(), 39);
}

#[tokio::test(start_paused = true)]
async fn rv_23_a_ledger_that_fails_stops_nothing_for_good() {
    let world = World::new();
    let down = Arc::new(AtomicBool::new(false));
    let faulty = Faulty::down_while(&world.ledger, &down);
    let world = world.with_ledger(faulty);
    world.many(3).await;
    down.store(true, Ordering::SeqCst);
    let error = world.recovery().tick().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);

    let log = crate::support::Log::default();
    let guard = log.listen();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let recovery = world.recovery();
    let run = recovery.run(async { drop(stopped.await) });
    let faults = async {
        sleep(Duration::from_secs(300)).await;
        down.store(false, Ordering::SeqCst);
        sleep(Duration::from_secs(300)).await;
        drop(stop);
    };
    tokio::join!(run, faults);
    drop(guard);
    assert_eq!(
        log.count("WARN", "the ledger fails; nothing is recovered"),
        1
    );
    assert_eq!((world.app.runs().len(), world.open().await), (3, 0));
}

/// The ledger fails after the rows were claimed. The handlers run or do not, and none is lost.
#[tokio::test]
async fn rv_23_a_ledger_that_fails_in_a_pass_loses_nothing() {
    let world = World::new();
    let down = Arc::new(AtomicBool::new(false));
    let faulty = Faulty::down_while(&world.ledger, &down);
    let world = world.with_ledger(faulty);
    let keys = world.many(3).await;
    let (end, until) = tokio::sync::oneshot::channel();
    world.app.does(Act::Wait(until));
    let recovery = world.recovery().concurrency(1);
    let pass = tokio::spawn(async move { recovery.tick().await });
    while world.app.runs().is_empty() {
        tokio::task::yield_now().await;
    }
    down.store(true, Ordering::SeqCst);
    drop(end);
    assert!(pass.await.unwrap().is_err());
    down.store(false, Ordering::SeqCst);
    world.clock.pass(HOUR);
    world.tick().await;
    world.clock.pass(HOUR);
    world.tick().await;
    let mut objects = world.app.objects();
    objects.dedup();
    assert_eq!((objects, world.open().await), (keys, 0));
}

/// The largest value of a setting means "without a limit".
#[tokio::test(start_paused = true)]
async fn rv_25_no_setting_is_too_large() {
    let world = Arc::new(World::new());
    world.many(30).await;
    world.app.fails(1);
    let recovery = world
        .recovery()
        .interval(Duration::MAX)
        .attempt_timeout(Duration::MAX)
        .storage_timeout(Duration::MAX)
        .clock_difference(Duration::MAX)
        .back_off(Duration::from_secs(1), Duration::MAX)
        .concurrency(usize::MAX)
        .batch(usize::MAX)
        .max_attempts(u32::MAX);
    let summary = recovery.tick().await.unwrap();
    assert_eq!((summary.recovered, summary.failed), (29, 1));
    world.clock.pass(MINUTE);
    // One at a time, because the pause is random.
    for _ in 0..20 {
        recovery.run(std::future::ready(())).await;
        let stop = sleep(Duration::from_secs(1));
        recovery.run(stop).await;
    }
    assert_eq!(world.open().await, 0);
}

/// A process that claims more than it can recover in time must not keep the rows of others, nor use
/// up their attempts.
#[tokio::test(start_paused = true)]
async fn rv_25_a_large_batch_does_not_hold_its_rows_for_days() {
    let world = World::new();
    world.many(1000).await;
    let (_end, until) = tokio::sync::oneshot::channel();
    world.app.does(Act::Wait(until));
    let recovery = world.recovery().batch(usize::MAX).concurrency(1);
    let pass = tokio::spawn(async move { recovery.tick().await });
    while world.app.runs().is_empty() {
        tokio::task::yield_now().await;
    }
    // The process dies.
    pass.abort();
    assert!(pass.await.unwrap_err().is_cancelled());
    world.clock.pass(2 * HOUR);
    world.passes(|summary| summary.recovered = 1000).await;
}

#[test]
fn a_recovery_needs_a_ledger() {
    let world = World::new();
    let without = World {
        tickets: Tickets::in_memory(keys()),
        ..world
    };
    let error = Recovery::new(&without.uploads(), Storage::default(), without.service());
    let error = error.map(drop).unwrap_err();
    assert_eq!(error, RecoveryError::NoLedger);
    assert!(error.to_string().contains("OssUploadsBuilder::ledger"));
}

#[test]
fn a_recovery_can_be_spawned_and_shows_no_secret() {
    fn can_be_spawned(_: &(impl Send + 'static)) {}
    let recovery = World::new().recovery();
    let shown = format!("{recovery:?}");
    assert!(shown.contains("max_attempts: 20"), "{shown}");
    can_be_spawned(&async move { recovery.run(std::future::pending()).await });
}
