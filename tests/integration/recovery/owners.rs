//! Several grants of one key, and objects that are older than their grant.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ids(world: &World) -> Vec<String> {
    world
        .app
        .runs()
        .iter()
        .map(VerifiedCallback::upload_id)
        .collect()
}

#[tokio::test]
async fn rv_15_the_newest_grant_before_the_object_owns_it() {
    // Grants at 0, 10 and 20 s, and an object in between.
    for (stored, owner) in [
        (0, Some(0)),
        (9, Some(0)),
        (10, Some(1)),
        (15, Some(1)),
        (25, Some(2)),
    ] {
        let world = World::new();
        let mut grants = Vec::new();
        for second in 0..30 {
            if second % 10 == 0 {
                grants.push(world.grant("a.png").await);
            }
            if second == stored {
                world.put("a.png");
            }
            world.clock.pass(SECOND);
        }
        world.pass_until_due();
        let summary = world.tick().await;
        assert_eq!((summary.recovered, summary.dropped), (1, 2), "{stored}");
        let owner = owner.map(|at: usize| grants[at].upload_id());
        assert_eq!(ids(&world), Vec::from_iter(owner), "{stored}");
        assert_eq!(world.open().await, 0);
    }
}

/// The uploader asked for two tokens, and used the first. Whichever grant owns the object, it is
/// delivered once.
#[tokio::test]
async fn rv_15_a_newer_grant_that_is_not_due_owns_the_object() {
    for late in [false, true] {
        let world = World::new();
        let first = world.grant("a.png").await;
        world.clock.pass(10 * MINUTE);
        let second = world.grant("a.png").await;
        world.clock.pass(MINUTE);
        world.put("a.png");
        world.clock.pass(HOUR - 10 * MINUTE);
        assert_eq!(world.tick().await.dropped, 1);
        if late {
            // The callback of the first grant comes after all, just before its ticket expires.
            send(world.service(), first.callback()).await.assert_ok();
        }
        world.pass_until_due();
        let summary = world.tick().await;
        let expected = match late {
            true => ((0, 1), first.upload_id()),
            false => ((1, 0), second.upload_id()),
        };
        assert_eq!(
            ((summary.recovered, summary.dropped), ids(&world)[0].clone()),
            expected
        );
        assert_eq!((ids(&world).len(), world.open().await), (1, 0));
    }
}

#[tokio::test]
async fn rv_15_an_object_that_another_grant_has_settled_is_not_delivered_again() {
    let world = World::new();
    let first = world.stored("a.png").await;
    let second = world.grant("a.png").await;
    send(world.service(), first.callback()).await.assert_ok();
    world.pass_until_due();
    assert_eq!(world.tick().await.dropped, 1);
    assert_eq!(ids(&world), [first.upload_id()]);

    // But one that replaces it is.
    let third = world.grant("a.png").await;
    world.clock.pass(SECOND);
    world.storage.put("a.png", world.object().with_etag("D41E"));
    world.pass_until_due();
    assert_eq!(world.tick().await.recovered, 1);
    assert_eq!(ids(&world), [first.upload_id(), third.upload_id()]);
    assert_ne!(second.upload_id(), third.upload_id());
}

#[tokio::test]
async fn rv_16_an_object_older_than_its_grant_is_not_delivered() {
    let world = World::new();
    world.put("a.png");
    world.clock.pass(6 * SECOND);
    world.grant("a.png").await;
    world.pass_until_due();
    assert_eq!(world.tick().await.dropped, 1);
    assert_eq!(ids(&world), Vec::<String>::new());
}

/// The clock of the application runs ahead of that of OSS.
#[tokio::test]
async fn rv_16_a_difference_of_the_clocks_is_tolerated() {
    for (ahead, tolerated, delivered) in [
        (5, None, 1),
        (6, None, 0),
        (60, Some(60), 1),
        (1, Some(0), 0),
    ] {
        let world = World::new();
        world.put("a.png");
        world.clock.pass(SECOND * ahead);
        world.grant("a.png").await;
        world.pass_until_due();
        let mut recovery = world.recovery();
        if let Some(seconds) = tolerated {
            recovery = recovery.clock_difference(SECOND * seconds);
        }
        let summary = recovery.tick().await.unwrap();
        assert_eq!(
            (summary.recovered, summary.dropped),
            (delivered, 1 - delivered),
            "{ahead}"
        );
    }
}

/// A grant that is open when the object was stored has precedence over one within the tolerance.
#[tokio::test]
async fn rv_16_a_tolerance_does_not_take_an_object_from_its_owner() {
    let world = World::new();
    let owner = world.grant("a.png").await;
    world.clock.pass(SECOND);
    world.put("a.png");
    world.clock.pass(SECOND);
    world.grant("a.png").await;
    world.pass_until_due();
    let summary = world.tick().await;
    assert_eq!((summary.recovered, summary.dropped), (1, 1));
    assert_eq!(ids(&world), [owner.upload_id()]);
}
