//! Measures how long a redemption waits for the store in memory: while it grows, and while what has
//! expired is freed.
//!
//! ```text
//! cargo bench -p benches --bench store
//! ```
//!
//! Each round fills a store with 10⁴, 10⁵ or 10⁶ tickets, lets all of them expire, and redeems as
//! many again. The clock is paused and set forward in between. Of the calls with the same place in
//! all rounds, the shortest counts: the others were interrupted by another process.

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

const ROUNDS: usize = 3;

type Error = Box<dyn std::error::Error>;

/// The shortest time of each call in one phase, over all rounds.
struct Calls(Vec<Duration>);

impl Calls {
    fn new(tickets: u32) -> Self {
        Self((0..tickets).map(|_| Duration::MAX).collect())
    }

    fn report(&self) -> String {
        let calls = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let mean = self.0.iter().sum::<Duration>() / calls.max(1);
        let worst = self.0.iter().max().copied().unwrap_or_default();
        format!("{mean:?} on average and {worst:?} at worst")
    }
}

/// Redeems one ticket for each call.
async fn redeem(
    store: &MemoryStore,
    first: u128,
    now: SystemTime,
    calls: &mut Calls,
) -> Result<(), Error> {
    let reply = StoredReply::new(StatusCode::OK, None, "{}")?;
    let until = now + Duration::from_secs(60);
    for (n, least) in (first..).zip(&mut calls.0) {
        // The same in each round, and as different as random ones.
        let nonce = n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let nonce = Nonce::from_bytes(nonce.to_be_bytes());
        let attempt = Attempt::new(nonce, [7; 32], UseLimit::Once, until, now)?;
        let start = Instant::now();
        let begun = store.begin(&attempt).await?;
        *least = start.elapsed().min(*least);
        let Begin::Fresh(lease) = begun else {
            return Err("a new ticket is fresh".into());
        };
        store.finish(&lease, &reply).await?;
    }
    Ok(())
}

/// Measures the calls while a store grows, and while it frees as many records.
async fn round(growing: &mut Calls, freeing: &mut Calls) -> Result<(), Error> {
    let store = MemoryStore::new();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    redeem(&store, 0, now, growing).await?;
    let later = Duration::from_secs(60 * 60);
    time::advance(later).await;
    redeem(&store, 1 << 64, now + later, freeing).await
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
        let (mut growing, mut freeing) = (Calls::new(tickets), Calls::new(tickets));
        for _ in 0..ROUNDS {
            runtime.block_on(round(&mut growing, &mut freeing))?;
        }
        println!(
            "{tickets:>7} tickets: growing {}, freeing {} (at most 1 ms)",
            growing.report(),
            freeing.report()
        );
    }
    Ok(())
}
