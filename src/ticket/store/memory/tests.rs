use std::{num::NonZeroU16, sync::Arc, time::SystemTime};

use http::StatusCode;
use tokio::time::advance;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn nonce(n: u128) -> Nonce {
    // Like random nonces, these vary in the first byte, which selects the shard.
    Nonce::from_bytes(
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
            .to_be_bytes(),
    )
}

fn digest(n: u8) -> TextDigest {
    TextDigest::from_bytes([n; 32])
}

fn once(n: u128, text: u8) -> Attempt {
    Attempt::new(
        nonce(n),
        digest(text),
        UseLimit::Once,
        now() + 5 * MINUTE,
        now(),
    )
}

fn up_to(max: u16, n: u128, text: u8) -> Attempt {
    let limit = UseLimit::Texts(NonZeroU16::new(max).unwrap());
    Attempt::new(nonce(n), digest(text), limit, now() + 5 * MINUTE, now())
}

fn reply(text: &str) -> StoredReply {
    StoredReply::new(StatusCode::OK, None, text.to_owned()).unwrap()
}

#[track_caller]
fn fresh(store: &MemoryStore, attempt: &Attempt) -> Lease {
    match store.try_begin(attempt) {
        Ok(Begin::Fresh(lease)) => lease,
        other => panic!("not fresh: {other:?}"),
    }
}

#[track_caller]
fn stored(store: &MemoryStore, attempt: &Attempt) -> StoredReply {
    match store.try_begin(attempt) {
        Ok(Begin::Stored(reply)) => reply,
        other => panic!("not stored: {other:?}"),
    }
}

#[track_caller]
fn running(store: &MemoryStore, attempt: &Attempt) -> impl Future<Output = ()> + use<> {
    match store.try_begin(attempt) {
        Ok(Begin::Running(wait)) => wait,
        other => panic!("not running: {other:?}"),
    }
}

#[track_caller]
fn refused(store: &MemoryStore, attempt: &Attempt) -> StoreErrorKind {
    store.try_begin(attempt).unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn rp_04_the_same_ticket_twice() {
    let store = MemoryStore::new();
    let lease = fresh(&store, &once(1, 1));
    store.try_finish(&lease, &reply("first")).unwrap();
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
    assert!(matches!(store.try_begin(&once(1, 2)), Ok(Begin::OtherText)));
    // Finishing twice changes nothing.
    store.try_finish(&lease, &reply("again")).unwrap();
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
    // A finished text cannot be abandoned.
    store.try_abandon(&lease);
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rp_04_a_thousand_at_once() {
    let store = Arc::new(MemoryStore::new());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut attempt = once(1, 1);
            loop {
                match store.begin(&attempt).await.unwrap() {
                    Begin::Fresh(lease) => {
                        tokio::task::yield_now().await;
                        store.finish(&lease, &reply("first")).await.unwrap();
                        return true;
                    }
                    Begin::Stored(answer) => {
                        assert_eq!(answer, reply("first"));
                        return false;
                    }
                    Begin::Running(wait) => wait.await,
                    other => panic!("{other:?}"),
                }
                attempt = attempt.again(now());
            }
        });
    }
    let runs = tasks.join_all().await;
    assert_eq!(runs.iter().filter(|ran| **ran).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn rp_04_a_prefix_takes_each_text_once_and_so_many() {
    let store = MemoryStore::new();
    for text in 1..=3 {
        let lease = fresh(&store, &up_to(3, 1, text));
        store.try_finish(&lease, &reply(&text.to_string())).unwrap();
    }
    assert!(matches!(
        store.try_begin(&up_to(3, 1, 4)),
        Ok(Begin::Exhausted)
    ));
    for text in 1..=3 {
        assert_eq!(stored(&store, &up_to(3, 1, text)), reply(&text.to_string()));
    }
    assert_eq!(store.len(), 3);
    // Another ticket is not affected.
    fresh(&store, &up_to(3, 2, 4));
}

#[tokio::test(start_paused = true)]
async fn rp_05_who_waits_is_woken_when_the_first_is_done() {
    for abandon in [false, true] {
        let store = MemoryStore::new();
        let lease = fresh(&store, &once(1, 1));
        let waits = [running(&store, &once(1, 1)), running(&store, &once(1, 1))];
        let dropped = running(&store, &once(1, 1));
        drop(dropped);
        // Before any waiter is polled: none misses it.
        if abandon {
            store.try_abandon(&lease);
            assert!(store.is_empty());
        } else {
            store.try_finish(&lease, &reply("first")).unwrap();
        }
        let start = Instant::now();
        for wait in waits {
            wait.await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        if abandon {
            fresh(&store, &once(1, 1));
        } else {
            assert_eq!(stored(&store, &once(1, 1)), reply("first"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rp_05_a_lease_that_ends_frees_the_text_and_fences_its_holder() {
    let store = MemoryStore::new();
    let lost = fresh(&store, &once(1, 1));
    let wait = running(&store, &once(1, 1));
    advance(Attempt::DEFAULT_LEASE - Duration::from_millis(1)).await;
    drop(running(&store, &once(1, 1)));
    // Woken when the lease expires, although the holder never returns.
    let start = Instant::now();
    wait.await;
    assert!(start.elapsed() <= Duration::from_millis(2));

    let held = fresh(&store, &once(1, 1));
    assert_ne!(lost.fence(), held.fence());
    let late = store.try_finish(&lost, &reply("late")).unwrap_err();
    assert_eq!(late.kind(), StoreErrorKind::LeaseLost);
    store.try_abandon(&lost);
    drop(running(&store, &once(1, 1)));
    store.try_finish(&held, &reply("held")).unwrap();
    assert_eq!(stored(&store, &once(1, 1)), reply("held"));
    let late = store.try_finish(&lost, &reply("late")).unwrap_err();
    assert_eq!(late.kind(), StoreErrorKind::LeaseLost);
    assert_eq!(store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rp_05_a_late_holder_that_nobody_replaced_may_finish() {
    let store = MemoryStore::new();
    let lease = fresh(&store, &once(1, 1));
    advance(3 * Attempt::DEFAULT_LEASE).await;
    store.try_finish(&lease, &reply("late")).unwrap();
    assert_eq!(stored(&store, &once(1, 1)), reply("late"));
}

#[tokio::test(start_paused = true)]
async fn rp_05_what_a_holder_left_behind_keeps_no_other_text_out() {
    let store = MemoryStore::new();
    let lost = fresh(&store, &once(1, 1));
    assert!(matches!(store.try_begin(&once(1, 2)), Ok(Begin::OtherText)));
    advance(Attempt::DEFAULT_LEASE).await;
    let held = fresh(&store, &once(1, 2));
    let late = store.try_finish(&lost, &reply("late")).unwrap_err();
    assert_eq!(late.kind(), StoreErrorKind::LeaseLost);
    store.try_finish(&held, &reply("held")).unwrap();
    assert_eq!(store.len(), 1);

    // For a prefix, the lapsed use becomes available again.
    let answered = fresh(&store, &up_to(2, 2, 1));
    store.try_finish(&answered, &reply("1")).unwrap();
    fresh(&store, &up_to(2, 2, 2));
    assert!(matches!(
        store.try_begin(&up_to(2, 2, 3)),
        Ok(Begin::Exhausted)
    ));
    advance(Attempt::DEFAULT_LEASE).await;
    fresh(&store, &up_to(2, 2, 3));
    assert!(matches!(
        store.try_begin(&up_to(2, 2, 2)),
        Ok(Begin::Exhausted)
    ));
    assert_eq!(stored(&store, &up_to(2, 2, 1)), reply("1"));
    assert_eq!(store.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn rp_06_a_full_store_refuses_and_keeps_what_has_not_expired() {
    let store = MemoryStore::with_capacity(2, 1024);
    for n in 1..=2 {
        let lease = fresh(&store, &once(n, 1));
        store.try_finish(&lease, &reply("first")).unwrap();
    }
    assert_eq!(refused(&store, &once(3, 1)), StoreErrorKind::Full);
    advance(4 * MINUTE).await;
    let later = |attempt: Attempt, time| attempt.again(now() + time);
    assert_eq!(
        refused(&store, &later(once(3, 1), 4 * MINUTE)),
        StoreErrorKind::Full
    );
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
    advance(2 * MINUTE).await;
    fresh(&store, &later(once(3, 1), 6 * MINUTE));
    assert_eq!(store.len(), 1, "what has expired is gone");
}

#[tokio::test(start_paused = true)]
async fn rp_06_a_text_whose_answer_found_no_room_never_runs_again() {
    let store = MemoryStore::with_capacity(10, 1000);
    let lease = fresh(&store, &once(1, 1));
    store.try_finish(&lease, &reply(&"x".repeat(1000))).unwrap();
    assert_eq!(refused(&store, &once(1, 1)), StoreErrorKind::ReplyNotKept);
    advance(4 * MINUTE).await;
    assert_eq!(refused(&store, &once(1, 1)), StoreErrorKind::ReplyNotKept);
    let lease = fresh(&store, &once(2, 1));
    store.try_finish(&lease, &reply("short")).unwrap();
    assert_eq!(stored(&store, &once(2, 1)), reply("short"));
    // Expiry releases the room.
    advance(6 * MINUTE).await;
    assert!(store.sweep_all(Clocks::new(store.milliseconds(), now() + 10 * MINUTE)));
    assert!(store.is_empty());
    assert_eq!(store.replies.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn rp_08_what_is_abandoned_takes_no_memory() {
    let store = MemoryStore::new();
    for n in 0..1000 {
        store.try_abandon(&fresh(&store, &once(n, 1)));
    }
    let entries = store.shards.iter().map(|shard| lock(shard).entries.len());
    assert_eq!((store.len(), entries.sum::<usize>()), (0, 0));
    // Other texts of the ticket are kept.
    let (first, second) = (
        fresh(&store, &up_to(2, 1, 1)),
        fresh(&store, &up_to(2, 1, 2)),
    );
    store.try_finish(&first, &reply("first")).unwrap();
    store.try_abandon(&second);
    assert_eq!(stored(&store, &up_to(2, 1, 1)), reply("first"));
    assert_eq!(store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rp_08_a_store_that_is_not_full_forgets_what_has_expired() {
    let store = MemoryStore::new();
    // All in one shard.
    let once = |n: u8, at| {
        let mut bytes = [0; 16];
        bytes[15] = n;
        let nonce = Nonce::from_bytes(bytes);
        let until = if n == 1 { 5 } else { 60 };
        let until = now() + until * MINUTE;
        Attempt::new(nonce, digest(1), UseLimit::Once, until, at)
    };
    let lease = fresh(&store, &once(1, now()));
    store.try_finish(&lease, &reply("first")).unwrap();
    assert!(store.replies.get() > 5);
    // The wall clock counts whole seconds, the monotonic clock milliseconds. A record expires when
    // the last of each is over.
    let (last, over) = (
        now() + 5 * MINUTE,
        now() + 5 * MINUTE + Duration::from_secs(1),
    );
    advance(5 * MINUTE).await;
    fresh(&store, &once(2, over));
    assert_eq!(store.len(), 2, "the last millisecond is not over");
    advance(MINUTE).await;
    fresh(&store, &once(3, last));
    assert_eq!(store.len(), 3, "the last second is not over");
    advance(MINUTE / 4).await;
    fresh(&store, &once(4, over));
    assert_eq!(store.len(), 4, "a shard is searched every 30 s");
    advance(MINUTE / 4).await;
    fresh(&store, &once(5, over));
    assert_eq!(store.len(), 4);
    assert_eq!(store.replies.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn rp_06_answers_are_counted_to_the_byte() {
    use http::HeaderValue;

    assert_eq!(MemoryStore::DEFAULT_REPLY_BYTES, 67_108_864);
    let json = HeaderValue::from_static("application/json");
    let reply = StoredReply::new(StatusCode::OK, Some(json), "{}").unwrap();
    let size = size_of::<Finished>() + "application/json".len() + "{}".len();
    let store = MemoryStore::with_capacity(10, size);
    let lease = fresh(&store, &once(1, 1));
    store.try_finish(&lease, &reply).unwrap();
    assert_eq!(store.replies.get(), size);
    assert_eq!(stored(&store, &once(1, 1)), reply);
    let store = MemoryStore::with_capacity(10, size - 1);
    let lease = fresh(&store, &once(1, 1));
    store.try_finish(&lease, &reply).unwrap();
    assert_eq!(refused(&store, &once(1, 1)), StoreErrorKind::ReplyNotKept);
}

#[tokio::test(start_paused = true)]
async fn rp_08_a_ticket_takes_at_most_128_bytes_beside_its_answer() {
    // One million is slow in a debug build. This number fills the table of each shard to the same
    // degree, because both are the same multiple of a power of two.
    const TICKETS: u128 = 62_500;
    let store = MemoryStore::new();
    let (mut leases, empty) = (Vec::new(), reply(""));
    leases.reserve(TICKETS as usize);
    let running = allocation_counter::measure(|| {
        for n in 0..TICKETS {
            leases.push(fresh(&store, &once(n, 1)));
        }
    });
    let per_ticket = running.bytes_current / i64::try_from(TICKETS).unwrap();
    println!("{per_ticket} bytes a ticket while its handler runs");
    assert!(per_ticket <= 144, "{per_ticket}");
    let finished = allocation_counter::measure(|| {
        for lease in &leases {
            store.try_finish(lease, &empty).unwrap();
        }
    });
    let answers = i64::try_from(size_of::<Finished>()).unwrap();
    let per_ticket = (running.bytes_current + finished.bytes_current)
        / i64::try_from(TICKETS).unwrap()
        - answers;
    println!("{per_ticket} bytes a ticket beside an answer of {answers}");
    assert!(per_ticket <= 128, "{per_ticket}");
    assert_eq!(store.len(), usize::try_from(TICKETS).unwrap());
    println!(
        "entry {}, use {}",
        size_of::<Entry>(),
        size_of::<Redemption>()
    );
}

#[tokio::test(start_paused = true)]
async fn rp_11_a_clock_that_jumps_revives_no_ticket() {
    let hour = 60 * MINUTE;
    let store = MemoryStore::new();
    let lease = fresh(&store, &once(1, 1));
    store.try_finish(&lease, &reply("first")).unwrap();
    let sweep = |wall| store.sweep_all(Clocks::new(store.milliseconds(), wall));

    // The wall clock jumps an hour ahead and back, but no monotonic time has passed.
    assert!(sweep(now() + hour));
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
    // The wall clock is an hour behind: the ticket is still accepted, so its record must stay.
    advance(6 * MINUTE).await;
    assert!(sweep(now() + 6 * MINUTE - hour));
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
    assert!(!sweep(now()), "all shards are not searched twice a second");
    // Now it has expired on both clocks.
    advance(hour).await;
    assert!(sweep(now() + 6 * MINUTE));
    assert!(store.is_empty());
    // Before 1970, and the latest representable time.
    let early = SystemTime::UNIX_EPOCH - hour;
    let lease = fresh(&store, &once(2, 1).again(early));
    store.try_abandon(&lease);
    let over = Attempt::new(nonce(3), digest(1), UseLimit::Once, early, now());
    fresh(&store, &over);
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX.unsigned_abs());
    let far = Attempt::new(nonce(4), digest(1), UseLimit::Once, far, early).lease(Duration::MAX);
    fresh(&store, &far);
    advance(hour).await;
    let mut wait = tokio_test::task::spawn(running(&store, &far));
    assert!(wait.poll().is_pending());
}
