//! How much one call does, and what remains of a store whose records have expired.

use std::{future::IntoFuture as _, slice};

use super::*;
use crate::{
    policy::CallbackTemplate,
    protocol::{CallbackBodyType, TICKET_FIELD},
    ticket::{
        ledger::{CallbackCall, GrantedUpload, SettledObject, UploadLedger as _},
        store::Nonce,
    },
};

/// Twice the records that a shard has on average in a full store.
const MOST_TOUCHED: usize = 512;

/// Redeems this many tickets, and returns the most records that one call visited or freed.
fn redeem(store: &MemoryStore, from: u128, tickets: usize, at: SystemTime) -> usize {
    let empty = reply("");
    let mut most = 0;
    for n in (from..).take(tickets) {
        let until = at + 5 * MINUTE;
        let attempt = Attempt::new(nonce(n), digest(1), UseLimit::Once, until, at).unwrap();
        let before = store.touched.load(Ordering::Relaxed);
        let lease = fresh(store, &attempt);
        most = most.max(store.touched.load(Ordering::Relaxed) - before);
        store.try_finish(&lease, &empty).unwrap();
    }
    most
}

/// Fills a store, lets everything expire, and fills it again.
async fn no_call_sweeps_more_than_one_shard(tickets: usize) {
    let store = MemoryStore::with_capacity(tickets, tickets * 100);
    let growing = redeem(&store, 0, tickets, now());
    assert_eq!(store.len(), tickets);
    let fullest = store.shards.entries().max().unwrap();
    advance(60 * MINUTE).await;
    let freeing = redeem(&store, 1 << 64, tickets, now() + 60 * MINUTE);
    println!(
        "{tickets} tickets in {} shards of at most {fullest}: a call visits at most {growing} \
         while the store grows, {freeing} while it frees as many",
        store.shards.len()
    );
    assert_eq!(growing, 0, "nothing has expired");
    assert!(freeing > 0 && freeing <= MOST_TOUCHED, "{freeing}");
    assert_eq!(store.len(), tickets, "all that expired is gone");
}

#[tokio::test(start_paused = true)]
async fn rp_08_no_call_sweeps_more_than_one_shard() {
    no_call_sweeps_more_than_one_shard(10_000).await;
}

mod soak {
    use super::*;

    #[tokio::test(start_paused = true)]
    #[ignore = "soak: two million tickets in a debug build"]
    async fn rp_08_a_call_does_as_little_with_a_million_tickets() {
        no_call_sweeps_more_than_one_shard(100_000).await;
        no_call_sweeps_more_than_one_shard(1_000_000).await;
    }
}

#[test]
fn rp_08_the_shards_grow_with_the_capacity() {
    for (capacity, shards) in [
        (0, 16),
        (1, 16),
        (10_000, 39),
        (1_000_000, 3_906),
        (16_777_216, 65_536),
        (usize::MAX, 65_536),
    ] {
        let store = MemoryStore::with_capacity(capacity, 0);
        assert_eq!(store.shards.len(), shards, "{capacity}");
    }
    let empty = allocation_counter::measure(|| drop(MemoryStore::new()));
    println!(
        "an empty store of a million takes {} bytes",
        empty.bytes_max
    );
    assert!(empty.bytes_max <= 3_906 * 64);
}

#[tokio::test(start_paused = true)]
async fn rp_08_a_store_shrinks_once_its_records_have_expired() {
    const TICKETS: usize = 20_000;
    let store = MemoryStore::with_capacity(TICKETS, TICKETS * 100);
    let full = allocation_counter::measure(|| {
        redeem(&store, 0, TICKETS, now());
    });
    advance(60 * MINUTE).await;
    // As few calls as there are shards.
    let shards = store.shards.len();
    let freed = allocation_counter::measure(|| {
        redeem(&store, 1 << 64, shards, now() + 60 * MINUTE);
    });
    assert_eq!(store.len(), shards);
    let (full, left) = (full.bytes_current, full.bytes_current + freed.bytes_current);
    println!("{full} bytes for {TICKETS} tickets, {left} for the {shards} that are left");
    let most = i64::try_from(shards).unwrap() * 600;
    assert!(full > 20 * most / 10 && left <= most, "{left}");
}

/// One ticket can have more texts than a shard has tickets.
#[tokio::test(start_paused = true)]
async fn rp_23_a_used_up_ticket_is_freed_in_steps() {
    const TEXTS: u16 = 5_000;
    let store = MemoryStore::new();
    for n in 0..TEXTS {
        let mut text = [0; 32];
        text[..2].copy_from_slice(&n.to_be_bytes());
        let limit = UseLimit::Texts(NonZeroU16::new(TEXTS).unwrap());
        let until = now() + 5 * MINUTE;
        let attempt = Attempt::new(nonce(1), text, limit, until, now()).unwrap();
        let lease = fresh(&store, &attempt);
        store.try_finish(&lease, &reply("first")).unwrap();
    }
    assert_eq!(store.len(), usize::from(TEXTS));
    advance(60 * MINUTE).await;
    let mut calls = 0;
    while store.len() > calls {
        let most = redeem(&store, 2 + calls as u128, 1, now() + 60 * MINUTE);
        assert!(most <= MOST_TOUCHED, "{most}");
        calls += 1;
    }
    println!("{TEXTS} texts freed by {calls} calls");
    assert_eq!(calls, usize::from(TEXTS).div_ceil(256));
    let room: usize = calls * Finished::size_of(&reply("").compact());
    assert_eq!(store.replies.get(), room);
}

/// A row as a service with the standard body issues it.
fn row(n: usize) -> GrantedUpload {
    let key = format!("user/7/01900000-0000-7000-8000-{n:012}.jpg");
    let (bucket, key) = ("examplebucket".parse().unwrap(), key.parse().unwrap());
    let random = (n as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let nonce = Nonce::for_object(&bucket, &key, random.to_be_bytes());
    let template = CallbackTemplate::standard(CallbackBodyType::Form);
    let template = template.constant(TICKET_FIELD, &"A".repeat(400)).unwrap();
    let call = CallbackCall::new(
        "/oss/callback",
        "app.example",
        CallbackBodyType::Form,
        template.template(),
    );
    GrantedUpload::new(nonce, bucket, key, now(), now() + 75 * MINUTE, call)
}

/// The memory that the guide states.
#[test]
fn lg_04_a_row_takes_the_stated_memory() {
    const ROWS: usize = 20_000;
    let store = MemoryStore::new();
    let rows: Vec<_> = (0..ROWS).map(row).collect();
    let len = rows[0].to_bytes().unwrap().len();
    let open = allocation_counter::measure(|| {
        for row in &rows {
            tokio_test::block_on(store.granted(slice::from_ref(row)).into_future()).unwrap();
        }
    });
    let settled = allocation_counter::measure(|| {
        for row in &rows {
            let text = digest(1);
            let attempt =
                Attempt::new(row.nonce(), text, UseLimit::Once, row.until(), now()).unwrap();
            let lease = fresh(&store, &attempt);
            let object = SettledObject::new(row.bucket().clone(), row.key().as_str())
                .with_etag("D41D8CD98F00B204E9800998ECF8427E");
            let until = now() + 60 * MINUTE;
            let done = store.settled(&lease, &reply("{}"), &object, until);
            tokio_test::block_on(done.into_future()).unwrap();
        }
    });
    let open = open.bytes_current / ROWS as i64;
    let settled = open + settled.bytes_current / ROWS as i64;
    println!("a row: {len} bytes; open {open} bytes in memory, settled {settled} bytes");
    assert!(open <= len as i64 + 450, "{open}");
    assert!(settled <= 600, "{settled}");
}

/// The record of a settled ticket is freed long before that of a failed one.
#[tokio::test(start_paused = true)]
async fn lg_03_a_settled_record_lives_as_long_as_its_ticket() {
    for (settles, later, freed) in [
        (true, 50 * MINUTE, false),
        (true, 75 * MINUTE, true),
        (false, 75 * MINUTE, false),
    ] {
        let store = MemoryStore::new();
        let row = row(1);
        store.granted(slice::from_ref(&row)).await.unwrap();
        let attempt =
            |at| Attempt::new(row.nonce(), digest(1), UseLimit::Once, row.until(), at).unwrap();
        let lease = fresh(&store, &attempt(now()));
        let until = now() + 60 * MINUTE;
        if settles {
            let object = SettledObject::new(row.bucket().clone(), row.key().as_str());
            let done = store.settled(&lease, &reply("{}"), &object, until);
            done.await.unwrap();
        } else {
            store.fail_upload(&lease, now() + MINUTE).await.unwrap();
        }
        advance(later).await;
        // Any call frees what has expired for a while.
        let other = Attempt::new(
            nonce(9),
            digest(1),
            UseLimit::Once,
            row.until(),
            now() + later,
        );
        fresh(&store, &other.unwrap());
        assert_eq!(
            store.len(),
            if freed { 1 } else { 2 },
            "{settles} {later:?}"
        );
    }
}
