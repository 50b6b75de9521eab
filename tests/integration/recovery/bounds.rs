//! How long an attempt, a hook and a shutdown take.

use tokio::time::{Instant, sleep};

use super::{
    faulty::{Fault, Faulty},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

/// What a recovery does beside the attempt takes at most ten seconds.
#[tokio::test(start_paused = true)]
async fn rv_37_an_attempt_and_its_hook_have_one_limit() {
    for fails_at_once in [false, true] {
        let world = World::new();
        world.stored("a.png").await;
        world.pass_until_due();
        let (_end, until) = tokio::sync::oneshot::channel();
        world.app.does(match fails_at_once {
            true => Act::Fail,
            false => Act::Wait(until),
        });
        let recovery = world
            .recovery()
            .max_attempts(1)
            .on_dead_letter(async |_| std::future::pending().await);
        let start = Instant::now();
        assert_eq!(recovery.tick().await.unwrap().lost, 1);
        assert_eq!(start.elapsed().as_secs(), 38);
        assert_eq!(world.open().await, 1);
    }
}

/// A shutdown does not wait for a ledger that hangs while it claims rows.
#[tokio::test(start_paused = true)]
async fn rv_37_a_ledger_that_hangs_does_not_hold_a_shutdown() {
    let world = World::new();
    let ledger = Faulty::new(&world.ledger, |name| {
        (name == "due").then_some(Fault::Late(1000 * HOUR))
    });
    let world = world.with_ledger(ledger);
    let start = Instant::now();
    world.recovery().run(sleep(MINUTE)).await;
    assert_eq!(start.elapsed().as_secs(), 70);
}

/// A claim begins with its call. Rows whose claim is nearly over are released, and not claimed
/// again and again.
#[tokio::test(start_paused = true)]
async fn rv_37_a_ledger_that_claims_slowly_ends_the_pass() {
    let world = World::new();
    let ledger = Faulty::new(&world.ledger, |name| {
        (name == "due").then_some(Fault::Late(31 * SECOND))
    });
    let world = world.with_ledger(ledger);
    world.stored("a.png").await;
    world.pass_until_due();
    let log = crate::support::Log::default();
    let guard = log.listen();
    let slow = world.recovery().batch(1);
    assert_eq!(slow.tick().await.unwrap().deferred, 1);
    drop(guard);
    assert_eq!(log.count("WARN", "increase the batch"), 1);
    // With the default batch, a claim lasts long enough.
    world.passes(|summary| summary.recovered = 1).await;
}

/// A ledger that never answers must not keep the recovery from ending.
#[tokio::test(start_paused = true)]
async fn rv_37_a_ledger_that_hangs_does_not_hold_an_attempt() {
    for call in ["defer", "close"] {
        let world = World::new();
        let hangs = move |name: &str| (name == call).then_some(Fault::Late(1000 * HOUR));
        let ledger = Faulty::new(&world.ledger, hangs);
        let world = world.with_ledger(ledger);
        match call {
            "defer" => drop(world.stored("a.png").await),
            _ => drop(world.grant("a.png").await),
        }
        world.pass_until_due();
        world.app.fails(1);
        let start = Instant::now();
        let summary = world.recovery().tick().await.unwrap();
        assert_eq!((summary.lost, start.elapsed().as_secs()), (1, 40), "{call}");
    }
}

/// The rows that are not started are released at the same time.
#[tokio::test(start_paused = true)]
async fn rv_37_a_shutdown_does_not_wait_for_one_row_after_the_other() {
    for (late, released) in [(SECOND, 999), (1000 * HOUR, 0)] {
        let world = World::new();
        let ledger = Faulty::new(&world.ledger, move |name| {
            (name == "defer").then_some(Fault::Late(late))
        });
        let world = world.with_ledger(ledger);
        for n in 0..1000 {
            world.stored(&format!("{n}.png")).await;
        }
        world.clock.pass(2 * HOUR);
        let (end, until) = tokio::sync::oneshot::channel();
        world.app.does(Act::Wait(until));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let recovery = world.recovery().batch(1000).concurrency(1);
        let task = tokio::spawn(async move { recovery.run(async { drop(stopped.await) }).await });
        while world.app.runs().is_empty() {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        drop(stop);
        // While the handler still runs.
        sleep(SECOND).await;
        drop(end);
        task.await.unwrap();
        let elapsed = start.elapsed().as_secs();
        assert!(elapsed <= 11, "{elapsed}");
        let due = world.ledger.due(world.clock.now(), 1000, MINUTE);
        assert_eq!(due.await.unwrap().len(), released);
    }
}

/// How long the claim of a row lasts after its hook has ended.
#[derive(Clone)]
struct Left {
    claimed: Arc<Mutex<Option<(Instant, Duration)>>>,
    least: Arc<Mutex<Vec<Duration>>>,
}

impl Drop for Left {
    fn drop(&mut self) {
        let (since, visibility) = self.claimed.lock().unwrap().unwrap();
        let left = visibility.saturating_sub(since.elapsed());
        self.least.lock().unwrap().push(left);
    }
}

/// Until its claim has expired, no other process calls the hook of the same row.
#[tokio::test(start_paused = true)]
async fn rv_37_a_hook_does_not_outlive_the_claim() {
    for attempt in [SECOND, 30 * SECOND, 120 * SECOND, HOUR, 24 * HOUR] {
        for (rows, concurrency) in [(1, 1), (2, 1), (5, 2), (40, 1)] {
            let world = World::new();
            let ledger = Faulty::new(&world.ledger, |_| None);
            let claimed = Arc::clone(&ledger.claimed);
            let world = world.with_ledger(ledger);
            let mut ends = Vec::new();
            for n in 0..rows {
                world.stored(&format!("{n}.png")).await;
                let (end, until) = tokio::sync::oneshot::channel();
                world.app.does(Act::Wait(until));
                ends.push(end);
            }
            world.clock.pass(2 * HOUR);
            let least = Arc::<Mutex<Vec<Duration>>>::default();
            let hooks = Arc::clone(&least);
            let recovery = world
                .recovery()
                .attempt_timeout(attempt)
                .batch(rows)
                .concurrency(concurrency)
                .max_attempts(1)
                .on_dead_letter(move |_| {
                    let left = Left {
                        claimed: Arc::clone(&claimed),
                        least: Arc::clone(&hooks),
                    };
                    async move {
                        let _left = left;
                        std::future::pending().await
                    }
                });
            // Rows that are released are claimed again in the same pass.
            let summary = recovery.tick().await.unwrap();
            let least = least.lock().unwrap().clone();
            assert_eq!((summary.lost, least.len()), (rows as u64, rows));
            let least = least.iter().min().unwrap();
            assert!(
                *least >= 30 * SECOND,
                "{least:?} left, {rows} rows, {attempt:?}"
            );
        }
    }
}
