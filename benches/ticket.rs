//! Compares the cost of a request without a valid ticket with that of a genuine one. The target is
//! less than a fifth.
//!
//! ```text
//! cargo bench -p benches --bench ticket
//! ```
//!
//! Runs in the layer, without sockets or a runtime, with bodies of 1 KiB and a key of 512 bits, the
//! size of the published key. Only ratios within one run are meaningful.

mod callbacks;
mod samples;

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use criterion::{BatchSize, BenchmarkGroup, Criterion, measurement::WallTime};
use tower::{Layer as _, service_fn};
use tower_aliyun_oss::{OssCallbackLayer, protocol::CallbackBodyType};

use callbacks::{BODY_SIZE, Bench, Callback, Error, HOUR, answer, call};

const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/ticket");
const TYPES: [CallbackBodyType; 2] = [CallbackBodyType::Form, CallbackBodyType::Json];

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    layer: &OssCallbackLayer,
    expected: u16,
    make: impl Fn() -> Result<Callback, Error>,
) {
    let mut service = layer.layer(service_fn(answer));
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || make().unwrap_or_default(),
            |request| assert_eq!(call(&mut service, request), expected),
            BatchSize::SmallInput,
        );
    });
}

const REFUSALS: [&str; 4] = ["no ticket", "not base64", "forged", "expired"];

fn name(body_type: CallbackBodyType) -> &'static str {
    if body_type == CallbackBodyType::Form {
        "form"
    } else {
        "json"
    }
}

fn bench(criterion: &mut Criterion, bench: &Bench) -> Result<(), Error> {
    let now = SystemTime::now();
    for body_type in TYPES {
        let mut group = criterion.benchmark_group(name(body_type));
        let layer = bench.with_tickets();
        measure(&mut group, "genuine", &layer, 200, || {
            let ticket = bench.ticket(&bench.keys, body_type, now)?;
            bench.callback(body_type, &ticket)
        });
        let known = bench.callback(body_type, &bench.ticket(&bench.keys, body_type, now)?)?;
        let known = || Ok(known.clone());
        measure(&mut group, "by signature alone", &bench.layer(), 200, known);
        measure(&mut group, "replay", &layer, 200, known);
        let long_ago = now - 48 * HOUR;
        let forged = bench.ticket(&bench.others, body_type, now)?;
        let expired = bench.ticket(&bench.keys, body_type, long_ago)?;
        for (refusal, ticket) in REFUSALS.into_iter().zip(["", "%%%", &forged, &expired]) {
            let request = bench.callback(body_type, ticket)?;
            measure(&mut group, refusal, &layer, 403, || Ok(request.clone()));
        }
        group.finish();
    }
    Ok(())
}

fn report() -> Option<()> {
    let least = |group: &str, name: &str| samples::least(OUTPUT, group, name);
    for group in TYPES.map(name) {
        let genuine = least(group, "genuine")?;
        let alone = least(group, "by signature alone")?;
        let replay = least(group, "replay")?;
        println!(
            "\n{group} of {BODY_SIZE} bytes: {genuine:.0} ns with a ticket, {alone:.0} ns with a \
             signature alone"
        );
        println!("replay ÷ genuine: {:.2}", replay / genuine);
        for refusal in REFUSALS {
            let refused = least(group, refusal)?;
            println!(
                "{refusal} ÷ genuine: {:.3} (less than 0.2)",
                refused / genuine
            );
        }
    }
    Some(())
}

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default()
        .output_directory(Path::new(OUTPUT))
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .without_plots()
        .configure_from_args();
    bench(&mut criterion, &Bench::new()?)?;
    criterion.final_summary();
    if report().is_none() {
        println!("some benchmarks were skipped, so no ratios are reported");
    }
    Ok(())
}
