//! Which attempts count, and when the next one is due.

use tokio::time::sleep;

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
        matches!(name, "fail" | "failed").then_some(Fault::Late(Duration::from_secs(10)))
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
