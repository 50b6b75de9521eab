//! The cost of a recovery of many rows.

use std::{sync::atomic::Ordering, time::Instant};

use super::world::World;

/// Resident memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// `RECOVERY_ROWS=100000` for the long run, with `--release`.
#[ignore = "soak: 2,000 rows, or RECOVERY_ROWS"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_due_grants_are_recovered() {
    let rows: u32 = std::env::var("RECOVERY_ROWS").map_or(2_000, |text| text.parse().unwrap());
    let world = World::start().await;
    world.app.down.store(true, Ordering::SeqCst);
    let empty = resident();
    // Half of the tokens were used.
    for n in 0..rows {
        let token = world.token("filename=a.png&size=5").await;
        if n % 2 == 0 {
            assert_eq!(
                world.oss.upload(&token, "photo").await.unwrap().status(),
                203
            );
        }
    }
    let before = resident();
    world.pass_until_due();
    let start = Instant::now();
    let recovery = world.recovery().batch(256).concurrency(16);
    let summary = recovery.tick().await.unwrap();
    let (elapsed, after) = (start.elapsed(), resident());
    println!(
        "{rows} rows in {:.1} s, {:.0} rows/s; {} requests to OSS; memory {empty} KiB empty, \
         {before} KiB before, {after} KiB after; {summary}",
        elapsed.as_secs_f64(),
        f64::from(rows) / elapsed.as_secs_f64(),
        summary.storage_requests,
    );
    let rows = u64::from(rows);
    assert_eq!(
        (summary.recovered, summary.dropped),
        (rows - rows / 2, rows / 2)
    );
    assert_eq!((summary.storage_requests, world.open().await), (rows, 0));
}
