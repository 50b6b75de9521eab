//! Rows that expire before their upload is recovered.

use tower_aliyun_oss::recovery::DeadLetterReason;

use super::*;

impl World {
    /// Until this time before the row expires.
    fn pass_until_before(&self, grant: &Granted, left: Duration) {
        let left = grant.row.until() - left;
        self.clock
            .pass(left.duration_since(self.clock.now()).unwrap());
    }

    fn letter(&self) -> DeadLetter {
        let letters = self.letters.lock().unwrap().clone();
        let [letter] = &letters[..] else {
            panic!("one letter: {letters:?}")
        };
        letter.clone()
    }
}

/// The row is due a few seconds before it expires, and the next pass is later.
#[tokio::test]
async fn rv_35_a_row_that_expires_between_two_passes_is_a_dead_letter() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    world.storage.fail(StorageErrorKind::Unavailable);
    world.pass_until_before(&grant, 7 * MINUTE);
    world.passes(|summary| summary.deferred = 1).await;
    world.clock.pass(8 * MINUTE);
    world.passes(|summary| summary.dead_letters = 1).await;
    let letter = world.letter();
    assert_eq!(letter.upload(), &grant.row);
    assert!(
        matches!(letter.reason(), DeadLetterReason::Storage(_)),
        "{letter:?}"
    );
    assert_eq!(world.open().await, 0);
    world.passes(|_| {}).await;
}

/// The record of its ticket expires with the row, so the handler could run a second time.
#[tokio::test]
async fn rv_35_the_handler_of_an_expired_row_does_not_run() {
    for late in [Duration::from_secs(1), HOUR, 47 * HOUR] {
        let world = World::new();
        let grant = world.stored("a.png").await;
        world.pass_until_before(&grant, Duration::ZERO);
        world.clock.pass(late);
        world.passes(|summary| summary.dead_letters = 1).await;
        let letter = world.letter();
        let reason = letter.reason().to_string();
        assert!(reason.contains("expired"), "{reason}");
        assert_eq!((letter.attempts(), world.app.runs().len()), (0, 0));
        assert_eq!(world.open().await, 0);
    }
}

/// A recovery that did not run for days must not report tokens that were never used.
#[tokio::test]
async fn rv_35_an_expired_row_without_an_object_is_dropped() {
    let world = World::new();
    let unused = world.grant("unused.png").await;
    let settled = world.stored("settled.png").await;
    let other = world.grant("settled.png").await;
    assert_eq!(send(world.service(), settled.callback()).await.status, 200);
    world.pass_until_before(&unused, Duration::ZERO);
    world.clock.pass(24 * HOUR);
    world.passes(|summary| summary.dropped = 2).await;
    assert_eq!(world.open().await, 0);
    drop(other);
}

#[tokio::test]
async fn rv_35_a_hook_that_fails_for_an_expired_row_is_called_again() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    world.pass_until_before(&grant, Duration::ZERO);
    let recovery = world
        .recovery()
        .on_dead_letter(async |_| panic!("the hook panics"));
    for _ in 0..3 {
        world.clock.pass(HOUR);
        assert_eq!(recovery.tick().await.unwrap().lost, 1);
    }
    world.clock.pass(HOUR);
    world.passes(|summary| summary.dead_letters = 1).await;
}

/// Nothing is reported without a recovery, but the log and the metrics show it.
#[tokio::test]
async fn rv_35_rows_that_expire_without_a_recovery_are_logged_once() {
    let world = World::new();
    for n in 0..100 {
        world.stored(&format!("{n}.png")).await;
    }
    let last = world.grant("last.png").await;
    world.pass_until_before(&last, Duration::ZERO);
    world.clock.pass(3 * 24 * HOUR);
    let log = crate::support::Log::default();
    let guard = log.listen();
    // Each call frees some rows of one part.
    for n in 0..1500 {
        world.stored(&format!("new/{n}.png")).await;
    }
    drop(guard);
    assert_eq!(log.count("WARN", "expired before a recovery"), 1);
    assert_eq!(world.open().await, 1500);
}
