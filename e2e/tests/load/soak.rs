//! The soak test: starts the server and the clients, and adds up what they counted.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use crate::{
    classes::{ACCEPTED_FOR, Class, Load, Random},
    server::{self, CHILD},
};

/// Clients at once. Most of them are in the middle of something slow at any time.
const CLIENTS: usize = 96;

/// The time between two rounds: 250 a second, which two busy cores manage. With a steady pace, the
/// number of records does not depend on what else the machine does.
const PACE: Duration = Duration::from_millis(4);

/// Memory that the server may grow by after the warm-up, for reasons other than its records:
/// fragmentation, and buffers of connections. In ten minutes, 20 bytes per request exceed it.
const SLACK: u64 = 8 << 20;

/// Memory of one record of the store: at most 128 bytes and a reply of less than 300 bytes, with
/// what the allocator and the hash table add.
const BYTES_PER_RECORD: u64 = 768;

/// How long the store keeps a record at most: until its ticket is no longer accepted, and the next
/// sweep, which happens every 30 s.
const RECORDED_FOR: Duration = ACCEPTED_FOR.saturating_add(Duration::from_secs(40));

#[ignore = "soak: 20 s, or LOAD_SECONDS"]
#[test]
fn df_31_nothing_is_wrong_lost_or_run_twice_under_mixed_load() {
    let seconds = env::var("LOAD_SECONDS").map_or(20, |text| text.parse().unwrap());
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&server, Duration::from_secs(seconds)));
}

async fn run(server: &Server, duration: Duration) {
    let load = Arc::new(Load::new(server.address, server.default_address));
    let started = Instant::now();
    let end = started + duration;
    // If there is time for it, until the number of records no longer grows.
    let warm = started + RECORDED_FOR.min(duration / 4);

    let mut pace = interval(PACE);
    // Rounds that were missed are not made up for.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pace = Arc::new(Mutex::new(pace));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (load, pace) = (Arc::clone(&load), Arc::clone(&pace));
        clients.spawn(async move {
            let mut random = Random::new();
            while pace.lock().await.tick().await < end {
                let class = Class::choose(&mut random);
                load.round(class, &mut random).await;
            }
        });
    }
    let mut samples = vec![Sample::take(server, &load).await];
    let mut next = started;
    while next < end {
        next = end.min(next + Duration::from_secs(1));
        sleep_until(next).await;
        samples.push(Sample::take(server, &load).await);
    }
    // Panics here if a client panicked.
    clients.join_all().await;
    // A handler that still runs would be one too many.
    sleep(Duration::from_secs(1)).await;
    let rest = Sample::take(server, &load).await;

    print(&format!(
        "load of {} s, {CLIENTS} clients",
        duration.as_secs()
    ));
    let mut sums = [0; 5];
    for (class, _) in Class::ALL {
        let tally = load.tally(class);
        let counters = [
            &tally.rounds,
            &tally.requests,
            &tally.wrong,
            &tally.lost,
            &tally.double,
        ];
        let counts = counters.map(|counter| counter.load(Ordering::Relaxed));
        print_counts(&format!("{class:?}"), counts);
        for example in tally.examples.lock().unwrap().iter() {
            print(&format!("    {example}"));
        }
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    print_counts("all", sums);
    let first = &samples[0];
    let at = |time| samples.iter().rfind(|sample| sample.at <= time);
    let (warm, last) = (at(warm).unwrap_or(first), samples.last().unwrap_or(first));
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    // A line for every tenth of the time.
    for sample in samples
        .iter()
        .step_by(samples.len().div_ceil(10))
        .chain([last, &rest])
    {
        print(&format!(
            "{:5} s: {:5.1} MiB, {} records, {} commits",
            (sample.at - started).as_secs(),
            mib(sample.memory),
            sample.status.records,
            sample.status.commits,
        ));
    }
    let late = load.late.load(Ordering::Relaxed);
    print(&format!(
        "{late} slow requests were late, because the machine is busy"
    ));

    let [rounds, _, wrong, lost, double] = sums;
    assert_eq!((wrong, lost, double), (0, 0, 0), "wrong, lost, double");
    // A handler that ran after its runs were taken has run twice.
    assert_eq!(
        rest.status.untaken, 0,
        "objects with runs that no client expects"
    );
    assert_eq!(rest.status.panics, 0, "panics that no plan asked for");
    assert!(rounds > 0 && rest.status.commits > 0);

    // The store has no records except those of the last minutes.
    let before = last.at.checked_sub(RECORDED_FOR).and_then(at);
    let recorded = last.status.commits - before.map_or(0, |sample| sample.status.commits);
    let running = CLIENTS as u64;
    assert!(
        last.status.records <= recorded + running,
        "{} records of {recorded} commits",
        last.status.records
    );
    // More records than before are all that takes more memory. The allocator keeps what is freed.
    let most = |until| {
        let samples = samples.iter().filter(|sample| sample.at <= until);
        samples.map(|sample| sample.status.records).max()
    };
    let added = most(last.at).unwrap_or(0) - most(warm.at).unwrap_or(0);
    let bound = warm.memory + SLACK + added * BYTES_PER_RECORD;
    assert!(
        last.memory <= bound,
        "{:.1} MiB after {:?}, and {:.1} at the end exceed {:.1}",
        mib(warm.memory),
        warm.at - started,
        mib(last.memory),
        mib(bound)
    );
}

/// Prints a line although the test succeeds: the harness captures only what macros print.
#[expect(clippy::explicit_write, reason = "`println!` is captured")]
fn print(line: &str) {
    writeln!(std::io::stdout(), "{line}").unwrap();
}

fn print_counts(name: &str, [rounds, requests, wrong, lost, double]: [u64; 5]) {
    print(&format!(
        "{name:16} {rounds:8} rounds {requests:8} requests {wrong:3} wrong {lost:3} lost {double:3} double"
    ));
}

struct Sample {
    at: Instant,
    /// In bytes.
    memory: u64,
    status: server::Status,
}

impl Sample {
    async fn take(server: &Server, load: &Load) -> Self {
        let status = load.read("/status".into()).await;
        Self {
            at: Instant::now(),
            memory: server.memory(),
            status: serde_json::from_value(status).expect("the server returns its status"),
        }
    }
}

struct Server {
    child: Child,
    /// Stays open: the harness of the child prints a line after a minute.
    _stdout: BufReader<ChildStdout>,
    address: SocketAddr,
    default_address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "server::a_process_that_serves"])
            .args(["--ignored", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let addresses: Vec<SocketAddr> = stdout
            .by_ref()
            .lines()
            .map(|line| line.unwrap())
            .find_map(|line| {
                let addresses = line.strip_prefix("serving ")?;
                Some(
                    addresses
                        .split(' ')
                        .map(|text| text.parse().unwrap())
                        .collect(),
                )
            })
            .unwrap();
        Self {
            child,
            _stdout: stdout,
            address: addresses[0],
            default_address: addresses[1],
        }
    }

    /// Returns the resident memory in bytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kib * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
