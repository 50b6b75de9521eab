//! Measures how long a redemption waits for the store in memory: while it grows, and while what has
//! expired is freed.
//!
//! ```text
//! cargo bench -p benches --bench store
//! ```
//!
//! Each round fills a store with 10⁴, 10⁵ or 10⁶ tickets, lets all of them expire, and redeems as
//! many again. The clock is paused and set forward in between. The worst call of a round includes
//! every interruption by another process, so the least of the worst calls counts.

use std::{
    env,
    time::{Duration, Instant, SystemTime},
};

use http::StatusCode;
use tokio::{runtime::Builder, time};
use tower_aliyun_oss::ticket::{
    MemoryStore,
    store::{Attempt, Begin, Nonce, ReplayStore, StoredReply, UseLimit},
};

const ROUNDS: usize = 5;

type Error = Box<dyn std::error::Error>;

/// The time that the calls of one phase took.
#[derive(Clone, Copy, Default)]
struct Calls {
    mean: Duration,
    worst: Duration,
}

impl Calls {
    /// Takes the smaller of each.
    fn or_less(self, other: Self) -> Self {
        Self {
            mean: self.mean.min(other.mean),
            worst: self.worst.min(other.worst),
        }
    }
}

/// Redeems this many tickets.
async fn redeem(store: &MemoryStore, tickets: u32, now: SystemTime) -> Result<Calls, Error> {
    let reply = StoredReply::new(StatusCode::OK, None, "{}")?;
    let until = now + Duration::from_secs(60);
    let mut calls = Calls::default();
    let mut total = Duration::ZERO;
    for _ in 0..tickets {
        let attempt = Attempt::new(Nonce::random()?, [7; 32], UseLimit::Once, until, now)?;
        let start = Instant::now();
        let begun = store.begin(&attempt).await?;
        let elapsed = start.elapsed();
        total += elapsed;
        calls.worst = calls.worst.max(elapsed);
        let Begin::Fresh(lease) = begun else {
            return Err("a new ticket is fresh".into());
        };
        store.finish(&lease, &reply).await?;
    }
    calls.mean = total / tickets;
    Ok(calls)
}

/// Returns the calls while a store grows, and while it frees as many records.
async fn round(tickets: u32) -> Result<(Calls, Calls), Error> {
    let store = MemoryStore::new();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let growing = redeem(&store, tickets, now).await?;
    let later = Duration::from_secs(60 * 60);
    time::advance(later).await;
    let freeing = redeem(&store, tickets, now + later).await?;
    Ok((growing, freeing))
}

fn main() -> Result<(), Error> {
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    for tickets in [10_000, 100_000, 1_000_000] {
        let (mut growing, mut freeing) = runtime.block_on(round(tickets))?;
        for _ in 1..ROUNDS {
            let (more, less) = runtime.block_on(round(tickets))?;
            growing = growing.or_less(more);
            freeing = freeing.or_less(less);
        }
        println!(
            "{tickets:>7} tickets: growing {:?} on average and {:?} at worst, freeing {:?} and {:?} \
             (at most 1 ms)",
            growing.mean, growing.worst, freeing.mean, freeing.worst
        );
    }
    Ok(())
}
