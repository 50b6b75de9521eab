mod bounds;
mod model;

use std::{num::NonZeroU16, sync::Arc, time::SystemTime};

use http::StatusCode;
use tokio::time::advance;

use super::{
    record::{KEPT_LONGER, Texts},
    *,
};
use crate::ticket::store::Nonce;

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

fn digest(n: u8) -> [u8; 32] {
    [n; 32]
}

fn once(n: u128, text: u8) -> Attempt {
    Attempt::new(
        nonce(n),
        digest(text),
        UseLimit::Once,
        now() + 5 * MINUTE,
        now(),
    )
    .unwrap()
}

fn up_to(max: u16, n: u128, text: u8) -> Attempt {
    let limit = UseLimit::Texts(NonZeroU16::new(max).unwrap());
    Attempt::new(nonce(n), digest(text), limit, now() + 5 * MINUTE, now()).unwrap()
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

/// Frees everything that has expired.
fn sweep_all(store: &MemoryStore, wall: SystemTime) {
    let now = Clocks::new(store.milliseconds(), wall);
    while store.sweep_one(now, Need::Room) {}
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
    store.release(&lease, false);
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
}

#[tokio::test(start_paused = true)]
async fn co_08_refusals_are_counted_apart_from_starts() {
    let store = MemoryStore::new();
    let refuse = |lease: &Lease| match store.refuse(lease) {
        Lookup::Ready(refused) => refused.unwrap(),
        Lookup::Pending(_) => panic!("the memory is at hand"),
    };
    for n in 0..Attempt::MAX_REFUSALS {
        let lease = fresh(&store, &once(1, n));
        refuse(&lease);
        // Repeated calls count once.
        refuse(&lease);
    }
    // One record of the ticket, and one tombstone for each call that was repeated.
    assert_eq!(store.len(), 1 + usize::from(Attempt::MAX_REFUSALS));
    for first in [true, false] {
        let spent = store.try_begin(&once(1, 1)).unwrap();
        assert!(matches!(spent, Begin::Spent { first: f } if f == first));
    }
    // A text that has finished still gets its reply.
    let lease = fresh(&store, &once(2, 1));
    refuse(&lease);
    let lease = fresh(&store, &once(2, 1));
    store.try_finish(&lease, &reply("first")).unwrap();
    refuse(&lease);
    assert_eq!(stored(&store, &once(2, 1)), reply("first"));
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
            store.release(&lease, false);
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

/// The holder lives in this process: as long as the store does.
#[tokio::test(start_paused = true)]
async fn rp_05_a_live_claim_does_not_expire() {
    for attempt in [once(1, 1), once(1, 1).at_most_once()] {
        let store = MemoryStore::new();
        let lease = fresh(&store, &attempt);
        store.try_start(&lease).unwrap();
        let wait = running(&store, &once(1, 1));
        advance(30 * Attempt::DEFAULT_LEASE).await;
        drop(running(&store, &once(1, 1)));
        assert!(matches!(store.try_begin(&once(1, 2)), Ok(Begin::OtherText)));
        store.try_finish(&lease, &reply("late")).unwrap();
        wait.await;
        assert_eq!(stored(&store, &once(1, 1)), reply("late"));
    }
}

#[tokio::test(start_paused = true)]
async fn rp_05_who_does_not_hold_a_text_has_no_say_in_it() {
    let store = MemoryStore::new();
    let lost = fresh(&store, &once(1, 1));
    store.release(&lost, false);
    let held = fresh(&store, &once(1, 1));
    assert_ne!(lost.fence(), held.fence());
    for _ in 0..2 {
        let late = store.try_finish(&lost, &reply("late")).unwrap_err();
        assert_eq!(late.kind(), StoreErrorKind::LeaseLost);
        let late = store.try_start(&lost).unwrap_err();
        assert_eq!(late.kind(), StoreErrorKind::LeaseLost);
        store.release(&lost, false);
        store.release(&lost, true);
    }
    drop(running(&store, &once(1, 1)));
    store.try_start(&held).unwrap();
    store.try_finish(&held, &reply("held")).unwrap();
    let late = store.try_finish(&lost, &reply("late")).unwrap_err();
    assert_eq!(late.kind(), StoreErrorKind::LeaseLost);
    assert_eq!(stored(&store, &once(1, 1)), reply("held"));
}

#[tokio::test(start_paused = true)]
async fn rp_21_starts_are_counted_per_ticket() {
    let store = MemoryStore::new();
    let attempt = |text| up_to(2, 1, text).starts(3);
    // Abandoned: the handler was not called.
    for _ in 0..10 {
        store.release(&fresh(&store, &attempt(1)), false);
    }
    assert!(store.is_empty());
    for text in 1..=3 {
        store.release(&fresh(&store, &attempt(text)), true);
        assert_eq!(store.len(), 1, "a ticket that only failed takes one record");
    }
    for first in [true, false, false] {
        let spent = store.try_begin(&attempt(4)).unwrap();
        assert!(matches!(spent, Begin::Spent { first: told } if told == first));
    }
    // Another ticket is not affected, and an at-most-once handler starts once per text.
    fresh(&store, &up_to(2, 2, 1).starts(3));
    for text in 1..=2 {
        fresh(&store, &up_to(2, 3, text).starts(1).at_most_once());
    }
    // What has an answer is answered, whatever failed since.
    let store = MemoryStore::new();
    let lease = fresh(&store, &attempt(1));
    store.try_finish(&lease, &reply("first")).unwrap();
    for _ in 0..2 {
        store.release(&fresh(&store, &attempt(2)), true);
    }
    assert!(matches!(
        store.try_begin(&attempt(2)),
        Ok(Begin::Spent { .. })
    ));
    assert_eq!(stored(&store, &attempt(1)), reply("first"));
    assert_eq!(store.len(), 1);
    advance(16 * MINUTE).await;
    sweep_all(&store, now() + 16 * MINUTE);
    assert!(store.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rp_22_an_attempt_abandoned_before_it_begins_changes_nothing() {
    let store = MemoryStore::new();
    let late = once(1, 1);
    store.release(&Lease::new(&late), false);
    store.release(&Lease::new(&late), false);
    assert_eq!(store.len(), 1);
    assert_eq!(refused(&store, &late), StoreErrorKind::LeaseLost);
    // Others are not held up.
    let held = fresh(&store, &once(1, 1));
    assert_eq!(refused(&store, &late), StoreErrorKind::LeaseLost);
    store.try_finish(&held, &reply("first")).unwrap();
    assert_eq!(store.len(), 2);
    // The mark is short-lived.
    advance(2 * TOMBSTONE).await;
    sweep_all(&store, now());
    assert_eq!(store.len(), 1);

    // In the other order: it began, and is undone.
    let begun = once(2, 1).at_most_once();
    let lease = fresh(&store, &begun);
    store.try_start(&lease).unwrap();
    store.release(&Lease::new(&begun), false);
    fresh(&store, &once(2, 1));
    // A call that is repeated, because its answer was lost, holds what it holds.
    let twice = once(3, 1);
    assert_eq!(fresh(&store, &twice).fence(), fresh(&store, &twice).fence());

    // Marks take the room of records, and no more.
    let store = MemoryStore::with_capacity(1, 0);
    for n in 0..10 {
        store.release(&Lease::new(&once(n, 1)), false);
    }
    assert_eq!(store.len(), 1);
}

/// A replay of a used-up ticket looks one text up and compares two numbers: no walk over the texts.
#[tokio::test(start_paused = true)]
async fn rp_23_a_used_up_ticket_costs_no_more_than_a_new_one() {
    let text = |n: u32| {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&n.to_be_bytes());
        digest
    };
    let limit = UseLimit::Texts(NonZeroU16::MAX);
    let attempt = |n| Attempt::new(nonce(1), text(n), limit, now() + 5 * MINUTE, now()).unwrap();
    let store = MemoryStore::new();
    for n in 0..65_535 {
        let lease = fresh(&store, &attempt(n));
        store.try_finish(&lease, &reply("")).unwrap();
    }
    {
        let locked = store.shards.lock(nonce(1));
        let texts = &locked.shard.entries[nonce(1).as_bytes()].texts;
        assert!(matches!(texts, Texts::Many(_)) && texts.len() == 65_535);
    }
    let start = std::time::Instant::now();
    for n in 0..1000 {
        let more = store.try_begin(&attempt(65_535 + n));
        assert!(matches!(more, Ok(Begin::Exhausted)));
        assert_eq!(stored(&store, &attempt(n)), reply(""));
    }
    println!(
        "{:?} for a replay and a refusal at 65,535 uses",
        start.elapsed() / 1000
    );
}

/// A handler answers with slices of buffers of 64 KiB, and the buffers are gone.
#[tokio::test(start_paused = true)]
async fn rp_24_what_is_kept_stays_within_its_bound() {
    use bytes::Bytes;
    use http::HeaderValue;

    const ROOM: usize = 256 * 1024;
    const TEXTS: usize = 2000;
    let store = MemoryStore::with_capacity(TEXTS, ROOM);
    let mut kept = 0;
    let sliced = |n: usize| {
        let buffer = Bytes::from(vec![b'x'; 65 * 1024]);
        let content_type = HeaderValue::from_maybe_shared(buffer.slice(..16)).unwrap();
        StoredReply::new(
            StatusCode::OK,
            Some(content_type),
            buffer.slice(n..n + 20 + n % 100),
        )
    };
    let measured = allocation_counter::measure(|| {
        for n in 0..TEXTS {
            let attempt = once(n as u128, 1);
            let lease = fresh(&store, &attempt);
            store.try_finish(&lease, &sliced(n).unwrap()).unwrap();
            // Repeated, as by a replay.
            match store.try_begin(&attempt) {
                Ok(Begin::Stored(_)) => kept += 1,
                other => assert_eq!(other.unwrap_err().kind(), StoreErrorKind::ReplyNotKept),
            }
        }
    });
    let live = usize::try_from(measured.bytes_current).unwrap();
    println!("{kept} answers of 20 to 119 bytes in {live} bytes");
    assert!(store.replies.get() <= ROOM && kept > 1000 && kept < TEXTS);
    // A text without an answer still takes the box that says so.
    let bound = ROOM + TEXTS * (128 + size_of::<Finished>());
    assert!(live <= bound, "{live} of {bound}");
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
    advance(12 * MINUTE).await;
    // The first frees both that have expired if they are in one shard, and otherwise one.
    for n in 3..=4 {
        fresh(&store, &later(once(n, 1), 16 * MINUTE));
        assert!(store.len() <= 2);
    }
    assert_eq!(store.len(), 2, "what has expired is gone");
    assert_eq!(
        refused(&store, &later(once(5, 1), 16 * MINUTE)),
        StoreErrorKind::Full
    );
}

/// A flood of callbacks to a full store does not search it each time.
#[tokio::test(start_paused = true)]
async fn rp_06_a_full_store_is_searched_once_a_second() {
    let store = MemoryStore::with_capacity(1, 1024);
    let lease = fresh(&store, &once(1, 1));
    store.try_finish(&lease, &reply("first")).unwrap();
    let other = || once(2, 1).again(now() + 16 * MINUTE);
    advance(5 * MINUTE + KEPT_LONGER - Duration::from_millis(500)).await;
    assert_eq!(refused(&store, &other()), StoreErrorKind::Full);
    advance(Duration::from_millis(900)).await;
    assert_eq!(refused(&store, &other()), StoreErrorKind::Full);
    advance(Duration::from_millis(100)).await;
    fresh(&store, &other());
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
    advance(16 * MINUTE).await;
    sweep_all(&store, now() + 16 * MINUTE);
    assert!(store.is_empty());
    assert_eq!(store.replies.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn rp_08_what_is_abandoned_takes_no_memory() {
    let store = MemoryStore::new();
    for n in 0..1000 {
        store.release(&fresh(&store, &once(n, 1)), false);
    }
    let entries = store.shards.entries().sum::<usize>();
    assert_eq!((store.len(), entries), (0, 0));
    // Other texts of the ticket are kept.
    let (first, second) = (
        fresh(&store, &up_to(2, 1, 1)),
        fresh(&store, &up_to(2, 1, 2)),
    );
    store.try_finish(&first, &reply("first")).unwrap();
    store.release(&second, false);
    assert_eq!(stored(&store, &up_to(2, 1, 1)), reply("first"));
    assert_eq!(store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rp_08_a_store_that_is_not_full_forgets_what_has_expired() {
    let store = MemoryStore::new();
    let later = |n, at| {
        let until = now() + 60 * MINUTE;
        Attempt::new(nonce(n), digest(1), UseLimit::Once, until, at).unwrap()
    };
    let lease = fresh(&store, &once(1, 1));
    store.try_finish(&lease, &reply("first")).unwrap();
    assert!(store.replies.get() > 5);
    // The wall clock counts whole seconds, the monotonic clock milliseconds. A record expires when
    // the last of each is over.
    let last = now() + 5 * MINUTE + KEPT_LONGER;
    let over = last + Duration::from_secs(1);
    advance(5 * MINUTE + KEPT_LONGER + MINUTE / 2).await;
    fresh(&store, &later(2, over));
    assert_eq!(store.len(), 2, "half a minute is not over");
    advance(MINUTE).await;
    fresh(&store, &later(3, last));
    assert_eq!(store.len(), 3, "the last second is not over");
    // The shard was swept in vain, and is swept again half a minute and a second later.
    advance(MINUTE / 2).await;
    fresh(&store, &later(4, over));
    assert_eq!(store.len(), 4);
    advance(Duration::from_millis(1001)).await;
    fresh(&store, &later(5, over));
    assert_eq!(store.len(), 4);
    assert_eq!(store.replies.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn rp_06_answers_are_counted_to_the_byte() {
    use http::HeaderValue;

    assert_eq!(MemoryStore::DEFAULT_REPLY_BYTES, 67_108_864);
    let json = HeaderValue::from_static("application/json");
    let reply = StoredReply::new(StatusCode::OK, Some(json), "{}").unwrap();
    let shared = 3 * size_of::<usize>();
    let size = size_of::<Finished>() + "application/json".len() + "{}".len() + shared;
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
    // One million is slow in a debug build. With this capacity, the shards are as full.
    const TICKETS: u128 = 62_500;
    let store = MemoryStore::with_capacity(62_500, MemoryStore::DEFAULT_REPLY_BYTES);
    let (mut leases, empty) = (Vec::new(), reply(""));
    leases.reserve(TICKETS as usize);
    let running = allocation_counter::measure(|| {
        for n in 0..TICKETS {
            leases.push(fresh(&store, &once(n, 1)));
        }
    });
    let per_ticket = running.bytes_current / i64::try_from(TICKETS).unwrap();
    println!("{per_ticket} bytes a ticket while its handler runs");
    assert!(per_ticket <= 160, "{per_ticket}");
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
    println!("entry {}, use {}", size_of::<Entry>(), size_of::<Texts>());
}

#[tokio::test(start_paused = true)]
async fn rp_11_a_clock_that_jumps_revives_no_ticket() {
    let hour = 60 * MINUTE;
    let store = MemoryStore::new();
    let lease = fresh(&store, &once(1, 1));
    store.try_finish(&lease, &reply("first")).unwrap();
    let sweep = |wall| sweep_all(&store, wall);

    // The wall clock jumps an hour ahead and back, but no monotonic time has passed.
    sweep(now() + hour);
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
    // The wall clock is an hour behind: the ticket is still accepted, so its record must stay.
    advance(6 * MINUTE).await;
    sweep(now() + 6 * MINUTE - hour);
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
    // Now it has expired on both clocks.
    advance(hour).await;
    sweep(now() + 16 * MINUTE);
    assert!(store.is_empty());
    // Before 1970, and the latest representable time.
    let early = SystemTime::UNIX_EPOCH - hour;
    let lease = fresh(&store, &once(2, 1).again(early));
    store.release(&lease, false);
    let over = Attempt::new(nonce(3), digest(1), UseLimit::Once, early, now()).unwrap();
    fresh(&store, &over);
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX.unsigned_abs());
    let far = || Attempt::new(nonce(4), digest(1), UseLimit::Once, far, early).unwrap();
    fresh(&store, &far());
    advance(hour).await;
    let mut wait = tokio_test::task::spawn(running(&store, &far()));
    assert!(wait.poll().is_pending());
}

#[tokio::test(start_paused = true)]
async fn rp_25_a_record_outlives_its_ticket() {
    let store = MemoryStore::new();
    let lease = fresh(&store, &once(1, 1));
    store.try_finish(&lease, &reply("first")).unwrap();
    let sweep = |wall| sweep_all(&store, now() + wall);
    advance(5 * MINUTE + KEPT_LONGER).await;
    sweep(5 * MINUTE + KEPT_LONGER);
    // The clock was ahead, and is set back by almost as long as the record is kept longer.
    assert_eq!(stored(&store, &once(1, 1)), reply("first"));
    advance(MINUTE).await;
    sweep(6 * MINUTE + KEPT_LONGER);
    assert!(store.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rp_25_a_text_whose_handler_runs_is_never_evicted() {
    let day = 24 * 60 * MINUTE;
    for second in [None, Some(2)] {
        let store = MemoryStore::new();
        let lease = fresh(&store, &up_to(3, 1, 1));
        if let Some(text) = second {
            let lease = fresh(&store, &up_to(3, 1, text));
            store.try_finish(&lease, &reply("second")).unwrap();
        }
        let mut wait = tokio_test::task::spawn(running(&store, &up_to(3, 1, 1)));
        advance(day).await;
        sweep_all(&store, now() + day);
        assert!(wait.poll().is_pending());
        drop(running(&store, &up_to(3, 1, 1).again(now() + day)));
        store.try_finish(&lease, &reply("late")).unwrap();
        assert!(wait.is_woken());
        advance(MINUTE).await;
        sweep_all(&store, now() + day);
        assert_eq!((store.len(), store.replies.get()), (0, 0));
    }
}
