//! What the metrics add to a callback. Two runs are compared:
//!
//! ```text
//! cargo bench -p benches --bench metrics
//! cargo bench -p benches --bench metrics --features metrics
//! ```
//!
//! The first is without the feature, the second with it and with a recorder, that of
//! `metrics-exporter-prometheus`. Each prints the median and the least time of a callback and its
//! allocations. With the name of a case, such as `ticket`, it runs this case only, one round for
//! each line that it reads: `benches/alternate.py` runs both programs so, and compares their
//! rounds.

mod callbacks;

#[cfg(feature = "metrics")]
use std::time::Duration;
use std::{
    env, io,
    time::{Instant, SystemTime},
};

use tower::{Layer as _, service_fn};
use tower_aliyun_oss::{OssCallbackLayer, protocol::CallbackBodyType};

use callbacks::{Bench, Callback, Error, answer, call};

const CALLBACKS: usize = 100;
const ROUNDS: usize = 501;

/// How often recorded values are moved into their buckets, as in the demo.
#[cfg(feature = "metrics")]
const UPKEEP: Duration = Duration::from_secs(5);

/// Signs this many callbacks.
type Signed<'a> = &'a dyn Fn(usize) -> Result<Vec<Callback>, Error>;

/// Name, layer and callbacks.
type Case<'a> = (&'static str, OssCallbackLayer, Signed<'a>);

/// Sends these callbacks through the layer, and returns the time of one of them.
fn run(layer: &OssCallbackLayer, requests: Vec<Callback>) -> f64 {
    let mut service = layer.layer(service_fn(answer));
    let count = requests.len() as f64;
    let started = Instant::now();
    for request in requests {
        assert_eq!(call(&mut service, request), 200);
    }
    started.elapsed().as_nanos() as f64 / count
}

/// Runs one round for each line of the input, and prints its time before the next line is read.
fn steps(layer: &OssCallbackLayer, requests: Signed<'_>) -> Result<(), Error> {
    let mut next = requests(CALLBACKS)?;
    for line in io::stdin().lines() {
        line?;
        println!("{:.0}", run(layer, next));
        next = requests(CALLBACKS)?;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    #[cfg(feature = "metrics")]
    let recorder = callbacks::install_recorder()?;
    let bench = Bench::new()?;
    let type_ = CallbackBodyType::Form;
    let signed = bench.callback(type_, &bench.ticket(&bench.keys, type_, SystemTime::now())?)?;
    let tickets = |count| -> Result<Vec<Callback>, Error> {
        let one = |_| bench.callback(type_, &bench.ticket(&bench.keys, type_, SystemTime::now())?);
        (0..count).map(one).collect()
    };
    let repeat = |count| Ok(vec![signed.clone(); count]);
    let cases: [Case<'_>; 2] = [
        ("signature", bench.layer(), &repeat),
        ("ticket", bench.with_tickets(), &tickets),
    ];
    let arguments: Vec<String> = env::args().collect();
    let named = |(name, ..): &&Case<'_>| arguments.iter().any(|argument| argument == name);
    if let Some((_, layer, requests)) = cases.iter().find(named) {
        return steps(layer, requests);
    }
    for (name, layer, requests) in cases {
        run(&layer, requests(CALLBACKS)?);
        let several = requests(CALLBACKS)?;
        let counted = allocation_counter::measure(|| {
            run(&layer, several);
        });
        let mut times = Vec::with_capacity(ROUNDS);
        #[cfg(feature = "metrics")]
        let mut upkeep = Instant::now();
        for _ in 0..ROUNDS {
            times.push(run(&layer, requests(CALLBACKS)?));
            #[cfg(feature = "metrics")]
            if upkeep.elapsed() >= UPKEEP {
                recorder.run_upkeep();
                upkeep = Instant::now();
            }
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{name}: median {:.0} ns, least {:.0} ns, {:.2} allocations",
            times[ROUNDS / 2],
            times[0],
            counted.count_total as f64 / CALLBACKS as f64
        );
    }
    Ok(())
}
