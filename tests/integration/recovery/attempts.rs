//! Which attempts count, and when the next one is due.

use std::future::IntoFuture as _;

use tokio::time::sleep;
use tower_aliyun_oss::ticket::store::{Attempt, Begin, Lease, ReplayStore as _, UseLimit};

use super::{
    faulty::{Fault, Faulty},
    *,
};

/// The layer releases the ticket of a failed handler in a task of its own, which the store can
/// execute after the recovery has deferred the row.
#[tokio::test(start_paused = true)]
async fn rv_34_a_late_release_does_not_shorten_the_pause() {
    let world = World::new();
    let released = |name: &str| {
        matches!(name, "fail" | "fail_upload").then_some(Fault::Late(Duration::from_secs(10)))
    };
    let ledger = Faulty::new(&world.ledger, released);
    let world = world.with_ledger(ledger);
    world.stored("a.png").await;
    world.pass_until_due();
    for _ in 0..3 {
        world.app.fails(1);
        let recovery = world.recovery().back_off(HOUR, HOUR);
        assert_eq!(recovery.tick().await.unwrap().failed, 1);
        sleep(2 * MINUTE).await;
        // At most a quarter earlier.
        for _ in 0..44 {
            world.clock.pass(MINUTE);
            world.passes(|_| {}).await;
        }
        world.clock.pass(32 * MINUTE);
    }
    world.passes(|summary| summary.recovered = 1).await;
    assert_eq!(world.app.runs().len(), 4);
}

/// A callback can arrive until its ticket expires, and its handler fails as well.
#[tokio::test]
async fn rv_34_a_callback_that_fails_does_not_shorten_the_pause() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    world.app.fails(3);
    send(world.service(), grant.callback()).await;
    world.clock.pass(MINUTE);
    let recovery = world.recovery().back_off(HOUR, HOUR);
    assert_eq!(recovery.tick().await.unwrap().failed, 1);
    assert_eq!(send(world.service(), grant.callback()).await.status, 500);
    for _ in 0..44 {
        world.clock.pass(MINUTE);
        world.passes(|_| {}).await;
    }
    world.clock.pass(32 * MINUTE);
    world.passes(|summary| summary.recovered = 1).await;
}

/// An attempt to redeem the ticket of an upload for another text.
fn attempt(world: &World, grant: &Granted) -> Attempt {
    let (nonce, now) = (grant.row.nonce(), world.clock.now());
    Attempt::new(nonce, [9; 32], UseLimit::Once, grant.row.until(), now).unwrap()
}

/// Redeems a ticket, as a callback does that then asks OSS for minutes, or whose process ends.
async fn hold(world: &World, attempt: &Attempt) -> Lease {
    match world.ledger.begin(attempt).into_future().await.unwrap() {
        Begin::Fresh(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// Redeems a ticket, as a callback does whose process ends in an at-most-once handler.
async fn start_and_die(world: &World, grant: &Granted) {
    let lease = hold(world, &attempt(world, grant).at_most_once()).await;
    world.ledger.start(&lease).into_future().await.unwrap();
}

#[tokio::test]
async fn rv_36_an_at_most_once_handler_whose_process_ends_is_a_dead_letter() {
    let world = World::at_most_once();
    let grant = world.stored("a.png").await;
    start_and_die(&world, &grant).await;
    world.pass_until_due();
    for _ in 0..4 {
        world.passes(|summary| summary.deferred = 1).await;
        world.passes(|_| {}).await;
        world.clock.pass(2 * MINUTE);
    }
    world.passes(|summary| summary.dead_letters = 1).await;
    let letters = world.letters.lock().unwrap().clone();
    assert_eq!((letters.len(), letters[0].attempts()), (1, 5));
    let reason = letters[0].reason().to_string();
    assert!(
        reason.contains("at-most-once handler was started"),
        "{reason}"
    );
    assert_eq!((world.app.runs().len(), world.open().await), (0, 0));
}

/// The recovered request has the same text again, so the layer waits for the other run.
#[tokio::test(start_paused = true)]
async fn rv_36_the_handler_of_a_recovery_whose_process_ends_is_a_dead_letter() {
    let world = World::at_most_once();
    world.stored("a.png").await;
    world.pass_until_due();
    let (_end, until) = tokio::sync::oneshot::channel();
    world.app.does(Act::Wait(until));
    let dead = world.recovery().attempt_timeout(24 * HOUR);
    let _pass = tokio::spawn(async move { dead.tick().await });
    while world.app.runs().is_empty() {
        tokio::task::yield_now().await;
    }
    // Its claim expires.
    world.clock.pass(26 * HOUR);
    for _ in 0..3 {
        world.passes(|summary| summary.deferred = 1).await;
        world.clock.pass(2 * MINUTE);
    }
    world.passes(|summary| summary.dead_letters = 1).await;
    let letters = world.letters.lock().unwrap().clone();
    let reason = letters[0].reason().to_string();
    assert!(
        reason.contains("at-most-once handler was started"),
        "{reason}"
    );
    assert_eq!((world.app.runs().len(), world.open().await), (1, 0));
}

/// A failure of the store tells nothing about the handler.
#[tokio::test(start_paused = true)]
async fn rv_36_a_store_out_of_reach_uses_up_no_attempt() {
    for fault in ["begin", "start"] {
        for late in [false, true] {
            let world = World::new();
            let ledger = Faulty::new(&world.ledger, move |name| {
                (name == fault).then_some(match late {
                    true => Fault::Late(MINUTE),
                    false => Fault::Unavailable,
                })
            });
            let world = world.with_ledger(ledger);
            let tickets = world.tickets.clone().on_failure(OnFailure::AtMostOnce);
            let world = World { tickets, ..world };
            world.stored("a.png").await;
            world.pass_until_due();
            for _ in 0..30 {
                world.passes(|summary| summary.deferred = 1).await;
                // Until what was under way has ended.
                sleep(3 * MINUTE).await;
                world.clock.pass(2 * MINUTE);
            }
            let at = world.clock.clone();
            let works = Tickets::with_ledger(keys(), Arc::clone(&world.ledger))
                .clock(move || at.now())
                .on_failure(OnFailure::AtMostOnce);
            let world = World {
                tickets: works,
                ..world
            };
            world.passes(|summary| summary.recovered = 1).await;
        }
    }
}

/// An at-least-once ticket is free again once the other run has failed, however long it takes.
#[tokio::test]
async fn rv_36_an_at_least_once_handler_that_runs_uses_up_no_attempt() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    drop(hold(&world, &attempt(&world, &grant)).await);
    world.pass_until_due();
    for _ in 0..30 {
        world.passes(|summary| summary.deferred = 1).await;
        world.clock.pass(2 * MINUTE);
    }
    assert_eq!(world.letters.lock().unwrap().len(), 0);
    assert_eq!(world.open().await, 1);
}

/// The ledger does not say to whom the object belongs, so nothing is known of the upload.
#[tokio::test]
async fn rv_38_a_ledger_that_fails_uses_up_no_attempt() {
    let world = World::new();
    let ledger = Faulty::new(&world.ledger, |name| {
        (name == "object").then_some(Fault::Unavailable)
    });
    let world = world.with_ledger(ledger);
    world.stored("a.png").await;
    world.pass_until_due();
    for _ in 0..30 {
        world.passes(|summary| summary.deferred = 1).await;
        world.passes(|_| {}).await;
        world.clock.pass(2 * MINUTE);
    }
    let due = world.ledger.due(world.clock.now(), 1, MINUTE);
    let claim = due.await.unwrap().remove(0).claim;
    assert_eq!(claim.attempts(), 1);
    assert_eq!(world.letters.lock().unwrap().len(), 0);
}

/// The row is due again after a pause, although it expires before.
#[tokio::test]
async fn rv_39_a_pass_does_not_find_an_expired_row_again_that_it_has_deferred() {
    let world = World::new();
    let ledger = Faulty::new(&world.ledger, |name| {
        (name == "object").then_some(Fault::Unavailable)
    });
    let world = world.with_ledger(ledger);
    let grant = world.stored("a.png").await;
    let left = grant.row.until().duration_since(world.clock.now()).unwrap();
    world.clock.pass(left - Duration::from_secs(30));
    for _ in 0..5 {
        let asked = world.storage.heads();
        world.passes(|summary| summary.deferred = 1).await;
        world.passes(|_| {}).await;
        assert_eq!(world.storage.heads(), asked + 1);
        world.clock.pass(2 * MINUTE);
    }
    // The ledger works again.
    let at = world.clock.clone();
    let works = Tickets::with_ledger(keys(), Arc::clone(&world.ledger)).clock(move || at.now());
    let world = World {
        tickets: works,
        ..world
    };
    world.passes(|summary| summary.dead_letters = 1).await;
    assert_eq!(world.letters.lock().unwrap().len(), 1);
}

/// Nothing has run, and the ticket is free again when the lease ends.
#[tokio::test]
async fn rv_40_an_at_most_once_ticket_that_is_only_held_uses_up_no_attempt() {
    let world = World::at_most_once();
    let grant = world.stored("a.png").await;
    let lease = hold(&world, &attempt(&world, &grant).at_most_once()).await;
    world.pass_until_due();
    for _ in 0..30 {
        world.passes(|summary| summary.deferred = 1).await;
        world.clock.pass(2 * MINUTE);
    }
    world.ledger.abandon(&lease).into_future().await.unwrap();
    world.passes(|summary| summary.recovered = 1).await;
    assert_eq!(world.letters.lock().unwrap().len(), 0);
}

/// It is unknown whether the handler was started.
#[tokio::test(start_paused = true)]
async fn rv_40_a_store_that_does_not_tell_what_is_used_up_uses_up_no_attempt() {
    for late in [false, true] {
        let world = World::new();
        let ledger = Faulty::new(&world.ledger, move |name| {
            (name == "is_used_up").then_some(match late {
                true => Fault::Late(HOUR),
                false => Fault::Unavailable,
            })
        });
        let world = world.with_ledger(ledger);
        let tickets = world.tickets.clone().on_failure(OnFailure::AtMostOnce);
        let world = World { tickets, ..world };
        let grant = world.stored("a.png").await;
        start_and_die(&world, &grant).await;
        world.pass_until_due();
        for _ in 0..10 {
            world.passes(|summary| summary.deferred = 1).await;
            world.clock.pass(2 * MINUTE);
        }
        assert_eq!(world.letters.lock().unwrap().len(), 0);
    }
}
