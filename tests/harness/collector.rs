//! An OpenTelemetry collector: takes spans by HTTP and remembers them.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Listens on a port of its own until it is dropped.
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    task: JoinHandle<()>,
}

/// One span as it arrived. Ids are lower-case hexadecimal.
#[derive(Debug, Clone)]
pub struct Span {
    /// `service.name` of the process.
    pub service: String,
    pub trace: String,
    pub id: String,
    /// Empty for a trace's first.
    pub parent: String,
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

impl Collector {
    /// # Panics
    /// Where no port can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let task = tokio::spawn(accept(listener, spans.clone()));
        Self { address, spans, task }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that has arrived so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Span {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let attribute = self.attributes.iter().find(|(known, _)| known == name);
        attribute.map(|(_, value)| value.as_str())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, spans: Arc<Mutex<Vec<Span>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let spans = spans.clone();
        let service = service_fn(move |request| take(spans.clone(), request));
        tokio::spawn(async move {
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn take(
    spans: Arc<Mutex<Vec<Span>>>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let is_traces = request.uri().path() == "/v1/traces";
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let batch = ExportTraceServiceRequest::decode(body.unwrap_or_default());
    let mut response = http::Response::new(Full::default());
    match batch {
        Ok(batch) if is_traces => {
            spans.lock().unwrap_or_else(PoisonError::into_inner).extend(read(batch));
        }
        _ => *response.status_mut() = http::StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

fn read(batch: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in batch.resource_spans {
        let of = resource.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
        let service = of.into_iter().find(|(name, _)| name == "service.name");
        let service = service.map(|(_, value)| value).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: service.clone(),
                trace: hex::encode(span.trace_id),
                id: hex::encode(span.span_id),
                parent: hex::encode(span.parent_span_id),
                name: span.name,
                attributes: texts(span.attributes),
            });
        }
    }
    spans
}

fn texts(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = attributes.into_iter();
    pairs.map(|it| (it.key, text(it.value.and_then(|value| value.value)))).collect()
}
