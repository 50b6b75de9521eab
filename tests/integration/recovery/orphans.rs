//! Objects outside of their grant.

use tower_aliyun_oss::recovery::{self, Orphan, OrphanAction};

use super::*;

impl World {
    async fn deletes(&self) -> RecoverySummary {
        let recovery = self.recovery().on_orphan(recovery::delete);
        recovery.tick().await.unwrap()
    }

    fn large(&self) -> ObjectMetadata {
        ObjectMetadata::new(1001)
            .with_etag("A1")
            .with_content_type("image/png")
            .with_last_modified(self.clock.now())
    }
}

#[tokio::test]
async fn rv_08_an_object_outside_of_its_grant_is_kept_unless_told_otherwise() {
    let world = World::new();
    let log = crate::support::Log::default();
    let guard = log.listen();
    world.grant("a.png").await;
    world.storage.put("a.png", world.large());
    world.pass_until_due();
    world.passes(|summary| summary.orphans_kept = 1).await;
    let keeps = world.recovery().on_orphan(recovery::keep);
    world.grant("b.png").await;
    world.storage.put("b.png", world.large());
    world.pass_until_due();
    assert_eq!(keeps.tick().await.unwrap().orphans_kept, 1);
    drop(guard);
    assert_eq!(world.storage.deleted(), Vec::<String>::new());
    assert_eq!((world.open().await, world.app.runs().len()), (0, 0));
    assert_eq!(log.count("WARN", "is outside of its grant, and is kept"), 2);
}

#[tokio::test]
async fn rv_08_a_hook_decides_about_each_orphan() {
    let world = World::new();
    let sizes = [
        ("a.png", 0, "image/png"),
        ("b.png", 5, "text/html"),
        ("c.png", 1001, "image/png"),
    ];
    for (key, size, content_type) in sizes {
        world.grant(key).await;
        let found = ObjectMetadata::new(size)
            .with_etag("A1")
            .with_content_type(content_type)
            .with_last_modified(world.clock.now());
        world.storage.put(key, found);
    }
    world.pass_until_due();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let recovery = world.recovery().on_orphan(move |orphan: Orphan| {
        let key = orphan.upload().key().to_string();
        kept.lock()
            .unwrap()
            .push(format!("{key} {}", orphan.metadata().size()));
        async move {
            match &*key {
                "b.png" => OrphanAction::Keep,
                _ => OrphanAction::Delete,
            }
        }
    });
    let summary = recovery.tick().await.unwrap();
    assert_eq!((summary.orphans_deleted, summary.orphans_kept), (2, 1));
    let (mut deleted, mut seen) = (world.storage.deleted(), seen.lock().unwrap().clone());
    deleted.sort();
    seen.sort();
    assert_eq!(deleted, ["a.png", "c.png"]);
    assert_eq!(seen, ["a.png 0", "b.png 5", "c.png 1001"]);
    assert_eq!((world.open().await, world.app.runs().len()), (0, 0));
}

/// What a callback reports, even one that OSS signed, never leads to a deletion.
#[tokio::test]
async fn rv_09_a_forged_callback_never_deletes() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    for (from, to) in [
        ("size=5", "size=1001"),
        ("size=5", "size=0"),
        ("image%2Fpng", "text%2Fhtml"),
        ("D41D", "FFFF"),
        ("object=a.png", "object=b.png"),
    ] {
        let forged = form("a.png", &grant.ticket).replace(from, to);
        world.app.fails(1);
        send(world.service(), signed(forged)).await;
        world.app.acts.lock().unwrap().clear();
        world.clock.pass(MINUTE);
        let summary = world.deletes().await;
        assert_eq!(
            (summary.orphans_deleted, summary.orphans_kept),
            (0, 0),
            "{to}"
        );
    }
    world.pass_until_due();
    world.deletes().await;
    assert_eq!(world.storage.deleted(), Vec::<String>::new());
    // The object is delivered as OSS reports it.
    let runs = world.app.runs();
    let recovered: Vec<_> = runs
        .iter()
        .filter(|run| run.origin() == Origin::Recovered)
        .collect();
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].event().unwrap().etag(), Some("D41D"));
}

/// A forged callback makes the row due early. The uploader can still replace the object.
#[tokio::test]
async fn rv_10_nothing_is_an_orphan_while_it_can_be_replaced() {
    let world = World::new();
    let grant = world.grant("a.png").await;
    world.storage.put("a.png", world.large());
    world.app.fails(1);
    send(world.service(), grant.callback()).await;
    world.clock.pass(MINUTE);
    assert_eq!(world.deletes().await.deferred, 1);
    world.put("a.png");
    world.pass_until_due();
    assert_eq!(world.deletes().await.recovered, 1);
    assert_eq!(world.storage.deleted(), Vec::<String>::new());
}

#[tokio::test]
async fn rv_10_an_object_of_a_settled_key_is_no_orphan() {
    let world = World::new();
    let first = world.stored("a.png").await;
    send(world.service(), first.callback()).await.assert_ok();
    world.grant("a.png").await;
    world.clock.pass(Duration::from_secs(1));
    world.storage.put("a.png", world.large());
    world.pass_until_due();
    assert_eq!(world.deletes().await.dropped, 1);
    assert_eq!(world.storage.deleted(), Vec::<String>::new());
}

#[tokio::test]
async fn rv_10_an_object_of_another_open_grant_is_no_orphan() {
    let world = World::new();
    world.grant("a.png").await;
    world.clock.pass(Duration::from_secs(1));
    world.storage.put("a.png", world.large());
    world.clock.pass(30 * MINUTE);
    world.grant("a.png").await;
    world.clock.pass(HOUR / 2 + MINUTE);
    assert_eq!(world.deletes().await.dropped, 1);
    assert_eq!((world.storage.deleted().len(), world.open().await), (0, 1));
    // The other one is not the grant of the object either.
    world.pass_until_due();
    assert_eq!(world.deletes().await.dropped, 1);
    assert_eq!((world.storage.deleted().len(), world.open().await), (0, 0));
}

#[tokio::test]
async fn rv_10_an_object_that_was_stored_before_is_no_orphan() {
    for seconds in [1, 3, 4000] {
        let world = World::new();
        world.storage.put("a.png", world.large());
        world.clock.pass(Duration::from_secs(seconds));
        world.grant("a.png").await;
        world.pass_until_due();
        assert_eq!(world.deletes().await.dropped, 1);
        assert_eq!(world.storage.deleted(), Vec::<String>::new());
    }
}

/// Deletes only what it has decided about.
#[tokio::test]
async fn rv_11_an_object_that_was_replaced_is_not_deleted() {
    type Replace = fn(ObjectMetadata) -> ObjectMetadata;
    let replaced: [(&str, Replace, bool); 8] = [
        ("the same", |found| found, true),
        ("another ETag", |found| found.with_etag("A2"), false),
        ("another version", |found| found.with_version_id("2"), false),
        (
            "another size",
            |_| ObjectMetadata::new(1002).with_etag("A1"),
            false,
        ),
        (
            "the same content again",
            |found| {
                let time = found.last_modified().unwrap() + Duration::from_secs(1);
                found.with_last_modified(time)
            },
            false,
        ),
        (
            "the ETag in another case",
            |found| found.with_etag("a1"),
            false,
        ),
        (
            "one within the grant",
            |found| {
                ObjectMetadata::new(5)
                    .with_etag("A2")
                    .with_content_type("image/png")
                    .with_last_modified(found.last_modified().unwrap())
            },
            false,
        ),
        (
            "no ETag",
            |found| ObjectMetadata::new(1001).with_last_modified(found.last_modified().unwrap()),
            false,
        ),
    ];
    for (name, replace, deleted) in replaced {
        let world = World::new();
        world.grant("a.png").await;
        let found = world.large();
        world.storage.put("a.png", found.clone());
        world.pass_until_due();
        let storage = world.storage.clone();
        let recovery = world.recovery().on_orphan(move |orphan: Orphan| {
            // While the hook runs.
            storage.put("a.png", replace(orphan.metadata().clone()));
            recovery::delete(orphan)
        });
        let summary = recovery.tick().await.unwrap();
        assert_eq!(summary.orphans_deleted == 1, deleted, "{name}");
        assert_eq!(
            world.storage.deleted().len(),
            usize::from(deleted),
            "{name}"
        );
        if !deleted {
            assert_eq!((summary.deferred, world.open().await), (1, 1), "{name}");
        }
    }
}

#[tokio::test]
async fn rv_11_versions_are_compared_if_there_are_any() {
    let world = World::new();
    world.grant("a.png").await;
    world
        .storage
        .put("a.png", world.large().with_version_id("1"));
    world.pass_until_due();
    let storage = world.storage.clone();
    let recovery = world.recovery().on_orphan(move |orphan: Orphan| {
        storage.put("a.png", orphan.metadata().clone().with_version_id("2"));
        recovery::delete(orphan)
    });
    assert_eq!(recovery.tick().await.unwrap().deferred, 1);
    world.clock.pass(MINUTE);
    assert_eq!(world.deletes().await.orphans_deleted, 1);
}

/// Without an ETag or a version, nothing tells whether it still is the same object.
#[tokio::test]
async fn rv_11_an_object_without_an_etag_is_not_deleted() {
    let world = World::new();
    world.grant("a.png").await;
    let bare = ObjectMetadata::new(1001).with_last_modified(world.clock.now());
    world
        .storage
        .put("a.png", bare.with_content_type("image/png"));
    world.pass_until_due();
    assert_eq!(world.deletes().await.orphans_deleted, 0);
    assert_eq!(world.storage.deleted(), Vec::<String>::new());
}

#[tokio::test]
async fn rv_11_a_grant_during_the_hook_saves_the_object() {
    let world = Arc::new(World::new());
    world.grant("a.png").await;
    world.storage.put("a.png", world.large());
    world.pass_until_due();
    let other = Arc::clone(&world);
    let recovery = world.recovery().on_orphan(move |orphan: Orphan| {
        let world = Arc::clone(&other);
        async move {
            world.grant("a.png").await;
            recovery::delete(orphan).await
        }
    });
    assert_eq!(recovery.tick().await.unwrap().deferred, 1);
    assert_eq!(world.storage.deleted(), Vec::<String>::new());
}

#[tokio::test]
async fn rv_12_a_storage_without_a_time_or_a_needed_type_is_an_error() {
    for found in [
        ObjectMetadata::new(5)
            .with_etag("D41D")
            .with_content_type("image/png"),
        ObjectMetadata::new(5)
            .with_etag("D41D")
            .with_last_modified(World::new().clock.now()),
    ] {
        let world = World::new();
        world.grant("a.png").await;
        world.storage.put("a.png", found);
        world.pass_until_due();
        let recovery = world.recovery().on_orphan(recovery::delete).max_attempts(1);
        assert_eq!(recovery.tick().await.unwrap().dead_letters, 1);
        let letters = world.letters.lock().unwrap();
        assert!(
            letters[0]
                .reason()
                .to_string()
                .contains("set them in ObjectMetadata")
        );
        assert_eq!(
            (world.storage.deleted().len(), world.app.runs().len()),
            (0, 0)
        );
    }
}
