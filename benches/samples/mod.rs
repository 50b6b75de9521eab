//! Reads the samples that criterion stores.

use std::{fs, path::Path};

use serde_json::Value;

/// Returns the fastest sample of a benchmark below `output`, in nanoseconds per iteration. The
/// fastest sample is the one with the least noise from other processes.
pub(crate) fn least(output: &str, group: &str, name: &str) -> Option<f64> {
    let path = Path::new(output)
        .join(group)
        .join(name)
        .join("new/sample.json");
    let sample: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let numbers = |member: &str| Some(sample[member].as_array()?.iter().flat_map(Value::as_f64));
    let times = numbers("times")?.zip(numbers("iters")?);
    times
        .map(|(time, iterations)| time / iterations)
        .min_by(f64::total_cmp)
}
