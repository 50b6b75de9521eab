//! What one callback costs in the layer, in numbers that other work on the machine does not change.
//!
//! ```text
//! cargo bench -p benches --bench counts
//! ```
//!
//! prints the allocations and the least time of each case. With the name of a case and a number, it
//! runs this case so often, for tools that count instructions: `benches/locked.py` runs it in
//! callgrind and counts the instructions and the atomic operations of one callback. With
//! `--features metrics`, the layer records its metrics.

mod callbacks;

use std::{
    env,
    hint::black_box,
    time::{Instant, SystemTime},
};

use tower::{Layer as _, service_fn};
use tower_aliyun_oss::{OssCallbackLayer, callback::VerifiedCallback, protocol::CallbackBodyType};

use callbacks::{Bench, Callback, Error, HOUR, answer, call};

/// How many callbacks are measured per round, and how many rounds.
const CALLBACKS: usize = 100;
const ROUNDS: usize = 101;

/// A kind of callback, and the status that the layer responds with.
struct Case {
    name: &'static str,
    body_type: CallbackBodyType,
    kind: Kind,
    status: u16,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Without a layer.
    Bare,
    /// The signature alone.
    Signed,
    /// The signature alone, by a key of 1,024 bits.
    SignedLong,
    Genuine,
    /// As [`Self::Genuine`], with a handler that reads the event.
    Read,
    NoTicket,
    NotBase64,
    Forged,
    Expired,
    /// A genuine ticket, and a signature by another key.
    OtherKey,
}

fn cases() -> Vec<Case> {
    let kinds = [
        (Kind::Bare, 200, "bare form", "bare json"),
        (Kind::Signed, 200, "signed form", "signed json"),
        (
            Kind::SignedLong,
            200,
            "signed 1024 form",
            "signed 1024 json",
        ),
        (Kind::Genuine, 200, "form", "json"),
        (Kind::Read, 200, "read form", "read json"),
        (Kind::NoTicket, 403, "no ticket form", "no ticket json"),
        (Kind::NotBase64, 403, "not base64 form", "not base64 json"),
        (Kind::Forged, 403, "forged form", "forged json"),
        (Kind::Expired, 403, "expired form", "expired json"),
        (Kind::OtherKey, 403, "other key form", "other key json"),
    ];
    let case = |(kind, status, form, json)| {
        [
            (form, CallbackBodyType::Form),
            (json, CallbackBodyType::Json),
        ]
        .map(|(name, body_type)| Case {
            name,
            body_type,
            kind,
            status,
        })
    };
    kinds.into_iter().flat_map(case).collect()
}

impl Case {
    fn layer(&self, bench: &Bench) -> OssCallbackLayer {
        match self.kind {
            Kind::Signed | Kind::SignedLong => bench.layer(),
            // The published key signed none of these callbacks.
            Kind::OtherKey => bench
                .with_tickets()
                .key_source(tower_aliyun_oss::key::PinnedKeys::official()),
            _ => bench.with_tickets(),
        }
    }

    /// Builds so many callbacks, each with a ticket of its own where it is redeemed.
    fn requests(&self, bench: &Bench, count: usize) -> Result<Vec<Callback>, Error> {
        let now = SystemTime::now();
        let genuine = || bench.ticket(&bench.keys, self.body_type, now);
        let ticket = match self.kind {
            Kind::Genuine | Kind::Read => {
                let one = |_| bench.callback(self.body_type, &genuine()?);
                return (0..count).map(one).collect();
            }
            Kind::Bare | Kind::Signed | Kind::SignedLong | Kind::OtherKey => genuine()?,
            Kind::NoTicket => String::new(),
            Kind::NotBase64 => "%%%".to_owned(),
            Kind::Forged => bench.ticket(&bench.others, self.body_type, now)?,
            Kind::Expired => bench.ticket(&bench.keys, self.body_type, now - 48 * HOUR)?,
        };
        let request = bench.callback(self.body_type, &ticket)?;
        Ok(vec![request; count])
    }

    fn run(&self, bench: &Bench, requests: Vec<Callback>) {
        let layer = self.layer(bench);
        match self.kind {
            Kind::Bare => {
                let mut service = service_fn(answer);
                measured(requests, |request| {
                    assert_eq!(call(&mut service, request), self.status);
                });
            }
            Kind::Read => {
                let mut service = layer.layer(service_fn(|request: http::Request<_>| {
                    let event = request
                        .extensions()
                        .get::<VerifiedCallback>()
                        .and_then(|callback| callback.event().ok());
                    assert!(black_box(event).is_some());
                    answer(request)
                }));
                measured(requests, |request| {
                    assert_eq!(call(&mut service, request), self.status);
                });
            }
            _ => {
                let mut service = layer.layer(service_fn(answer));
                measured(requests, |request| {
                    assert_eq!(call(&mut service, request), self.status);
                });
            }
        }
    }
}

/// Sends the first callback, which sets up what a layer keeps, and then those that are counted.
fn measured(requests: Vec<Callback>, mut one: impl FnMut(Callback)) {
    let mut requests = requests.into_iter();
    if let Some(first) = requests.next() {
        one(first);
    }
    counted(requests.as_slice().len(), || {
        if let Some(request) = requests.next() {
            one(request);
        }
    });
}

/// What callgrind counts: nothing else in this program calls it.
#[inline(never)]
fn counted(times: usize, mut one: impl FnMut()) {
    for _ in 0..times {
        one();
    }
}

/// Returns the allocations of one callback, without those of the first ones, which set up what is
/// kept.
fn allocations(case: &Case, bench: &Bench) -> Result<u64, Error> {
    let count = |count| {
        let requests = case.requests(bench, count)?;
        let info = allocation_counter::measure(|| case.run(bench, requests));
        Ok::<_, Error>(info.count_total)
    };
    let (few, many) = (count(8)?, count(8 + 128)?);
    Ok(many.saturating_sub(few) / 128)
}

/// Returns the time of one callback in the fastest round, which other processes disturbed least.
fn nanoseconds(case: &Case, bench: &Bench) -> Result<f64, Error> {
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let requests = case.requests(bench, CALLBACKS)?;
        let started = Instant::now();
        case.run(bench, requests);
        least = least.min(started.elapsed().as_nanos() as f64 / CALLBACKS as f64);
    }
    Ok(least)
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    #[cfg(feature = "metrics")]
    callbacks::install_recorder()?;
    let (bench, long) = (
        Bench::new()?,
        Bench::with_key(include_str!("../tests/keys/rsa_1024.pem"))?,
    );
    let bench_of = |case: &Case| match case.kind {
        Kind::SignedLong => &long,
        _ => &bench,
    };
    let chosen = |case: &&Case| arguments.iter().any(|argument| argument == case.name);
    let cases = cases();
    if let Some(case) = cases.iter().find(chosen) {
        let count = arguments.iter().find_map(|argument| argument.parse().ok());
        let bench = bench_of(case);
        case.run(bench, case.requests(bench, count.unwrap_or(CALLBACKS))?);
        return Ok(());
    }
    for case in &cases {
        println!(
            "{}: {} allocations, {:.0} ns",
            case.name,
            allocations(case, bench_of(case))?,
            nanoseconds(case, bench_of(case))?
        );
    }
    Ok(())
}
