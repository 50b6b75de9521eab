//! The metrics of the library, in the format that Prometheus scrapes.

use std::{error::Error, time::Duration};

use axum::{Router, routing::get};
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

/// How often recorded values are moved into their buckets. They need memory until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// Buckets from a signature to the time that OSS waits for a response, in seconds.
const BUCKETS: [f64; 12] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
];

/// Installs the recorder, and returns the route of its metrics.
///
/// Anyone can read them here. A server in production serves them on another address.
pub(crate) fn router() -> Result<Router, Box<dyn Error>> {
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .install_recorder()?;
    let kept = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            kept.run_upkeep();
        }
    });
    let scrape = get(|| async move {
        let type_ = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
        (type_, metrics.render())
    });
    Ok(Router::new().route("/metrics", scrape))
}
