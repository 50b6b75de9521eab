//! What the metrics add to a callback. Two runs are compared:
//!
//! ```text
//! cargo bench -p benches --bench metrics
//! cargo bench -p benches --bench metrics --features metrics
//! ```
//!
//! The first is without the feature, the second with it and with a recorder, that of
//! `metrics-exporter-prometheus`. Each prints the least time of a callback and its allocations.

mod callbacks;

use std::{
    env,
    time::{Instant, SystemTime},
};

use tower::{Layer as _, service_fn};
use tower_aliyun_oss::{OssCallbackLayer, protocol::CallbackBodyType};

use callbacks::{Bench, Callback, Error, answer, call};

const CALLBACKS: usize = 100;
const ROUNDS: usize = 2_001;

/// Signs this many callbacks.
type Signed<'a> = &'a dyn Fn(usize) -> Result<Vec<Callback>, Error>;

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

fn main() -> Result<(), Error> {
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    #[cfg(feature = "metrics")]
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new()
        // As a server would: without buckets, the exporter keeps every value until it is scraped.
        .set_buckets(&[0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0])?
        .install_recorder()?;
    let bench = Bench::new()?;
    let type_ = CallbackBodyType::Form;
    let signed = bench.callback(type_, &bench.ticket(&bench.keys, type_, SystemTime::now())?)?;
    let tickets = |count| -> Result<Vec<Callback>, Error> {
        let one = |_| bench.callback(type_, &bench.ticket(&bench.keys, type_, SystemTime::now())?);
        (0..count).map(one).collect()
    };
    let repeat = |count| Ok(vec![signed.clone(); count]);
    let cases: [(&str, OssCallbackLayer, Signed<'_>); 2] = [
        ("the signature alone", bench.layer(), &repeat),
        ("with a ticket", bench.with_tickets(), &tickets),
    ];
    for (name, layer, requests) in cases {
        run(&layer, requests(CALLBACKS)?);
        let several = requests(CALLBACKS)?;
        let counted = allocation_counter::measure(|| {
            run(&layer, several);
        });
        let mut least = f64::INFINITY;
        for _ in 0..ROUNDS {
            least = least.min(run(&layer, requests(CALLBACKS)?));
            #[cfg(feature = "metrics")]
            recorder.run_upkeep();
        }
        println!(
            "{name}: {least:.0} ns, {:.2} allocations",
            counted.count_total as f64 / CALLBACKS as f64
        );
    }
    Ok(())
}
