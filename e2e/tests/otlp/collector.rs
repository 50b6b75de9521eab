//! A collector of spans: the gRPC service of OTLP on a free port.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, Status, span::Event, status::StatusCode},
};
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};

/// A span, as the collector received it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The attribute `service.name` of the resource.
    pub service: String,
    pub span: Span,
}

impl Received {
    /// Returns the text of an attribute.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        text(&self.span.attributes, key)
    }

    pub fn status(&self) -> StatusCode {
        self.span
            .status
            .as_ref()
            .map_or(StatusCode::Unset, Status::code)
    }

    /// Returns the names of the events in the span.
    pub fn events(&self) -> Vec<&str> {
        self.span
            .events
            .iter()
            .map(|Event { name, .. }| name.as_str())
            .collect()
    }

    pub fn is_child_of(&self, parent: &Self) -> bool {
        let (child, parent) = (&self.span, &parent.span);
        child.parent_span_id == parent.span_id && child.trace_id == parent.trace_id
    }

    /// Returns whether the span started and ended within the other one.
    pub fn is_during(&self, outer: &Self) -> bool {
        let (inner, outer) = (&self.span, &outer.span);
        inner.start_time_unix_nano >= outer.start_time_unix_nano
            && inner.end_time_unix_nano >= inner.start_time_unix_nano
            && inner.end_time_unix_nano <= outer.end_time_unix_nano
    }
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let mut found = attributes.iter().filter(|attribute| attribute.key == key);
    let value = found.next()?.value.as_ref()?.value.as_ref();
    assert!(
        found.next().is_none(),
        "{key} is there twice: {attributes:?}"
    );
    match value {
        Some(Value::StringValue(text)) => Some(text),
        other => panic!("{key} is no text: {other:?}"),
    }
}

#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<Received>>>);

impl Collector {
    /// Starts the collector. Returns its URL, too.
    pub async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self::default();
        let service = TraceServiceServer::new(collector.clone());
        let server = Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(async move { server.await.unwrap() });
        (collector, url)
    }

    /// Returns what was received so far.
    pub fn received(&self) -> Vec<Received> {
        self.0.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        for of_resource in request.into_inner().resource_spans {
            let attributes = of_resource.resource.unwrap_or_default().attributes;
            let service = text(&attributes, "service.name").unwrap_or_default();
            let spans = of_resource
                .scope_spans
                .into_iter()
                .flat_map(|of_scope| of_scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| Received {
                service: service.to_owned(),
                span,
            }));
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
