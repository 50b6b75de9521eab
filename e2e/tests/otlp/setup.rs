use std::error::Error;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{filter::LevelFilter, prelude::*};

pub fn export_spans(collector: &str) -> Result<SdkTracerProvider, Box<dyn Error>> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(collector)
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("uploads").build())
        .with_batch_exporter(exporter)
        .build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("uploads"));
    tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(spans)
        .try_init()?;
    Ok(provider)
}
