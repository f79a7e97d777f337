//! An OpenTelemetry collector: takes spans, metrics and logs by HTTP and remembers them.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Listens on a port of its own until it is dropped.
pub struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    points: Vec<Point>,
    logs: Vec<Log>,
}

/// One value of a metric as it arrived.
#[derive(Debug, Clone)]
pub struct Point {
    pub service: String,
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// Of a histogram, how many were observed.
    pub value: f64,
}

/// One log record as it arrived.
#[derive(Debug, Clone)]
pub struct Log {
    pub service: String,
    pub body: String,
    /// Empty where it belongs to no trace.
    pub trace: String,
    pub attributes: Vec<(String, String)>,
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
        let taken = Arc::<Mutex<Taken>>::default();
        let task = tokio::spawn(accept(listener, taken.clone()));
        Self { address, taken, task }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span that has arrived so far.
    pub fn spans(&self) -> Vec<Span> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// Every metric's values that have arrived so far, oldest first.
    pub fn points(&self) -> Vec<Point> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).points.clone()
    }

    /// Every log record that has arrived so far.
    pub fn logs(&self) -> Vec<Log> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).logs.clone()
    }
}

impl Span {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.attributes, name)
    }
}

impl Log {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.attributes, name)
    }
}

fn attribute<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|(known, _)| known == name);
    attribute.map(|(_, value)| value.as_str())
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, taken: Arc<Mutex<Taken>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let taken = taken.clone();
        let service = service_fn(move |request| take(taken.clone(), request));
        tokio::spawn(async move {
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn take(
    taken: Arc<Mutex<Taken>>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let body = body.unwrap_or_default();
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let read = match &*path {
        "/v1/traces" => {
            ExportTraceServiceRequest::decode(body).map(|batch| taken.spans.extend(spans(batch)))
        }
        "/v1/metrics" => ExportMetricsServiceRequest::decode(body)
            .map(|batch| taken.points.extend(points(batch))),
        "/v1/logs" => {
            ExportLogsServiceRequest::decode(body).map(|batch| taken.logs.extend(logs(batch)))
        }
        _ => Err(prost::DecodeError::new_unexpected_type_url(path, "a signal")),
    };
    let mut response = http::Response::new(Full::default());
    if read.is_err() {
        *response.status_mut() = http::StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

/// `service.name`
fn service(of: Option<Resource>) -> String {
    let of = of.map(|resource| texts(resource.attributes)).unwrap_or_default();
    attribute(&of, "service.name").unwrap_or_default().to_owned()
}

fn spans(batch: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in batch.resource_spans {
        let service = service(resource.resource);
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

fn points(batch: ExportMetricsServiceRequest) -> Vec<Point> {
    let mut points = Vec::new();
    for resource in batch.resource_metrics {
        let service = service(resource.resource);
        for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            let mut add = |attributes, value| {
                let (service, name) = (service.clone(), metric.name.clone());
                points.push(Point { service, name, attributes: texts(attributes), value });
            };
            let number = |value| match value {
                Some(number_data_point::Value::AsDouble(value)) => value,
                other => panic!("not a double: {other:?}"),
            };
            match metric.data {
                Some(Data::Sum(sum)) => {
                    sum.data_points.into_iter().for_each(|it| add(it.attributes, number(it.value)));
                }
                Some(Data::Gauge(gauge)) => {
                    let points = gauge.data_points.into_iter();
                    points.for_each(|it| add(it.attributes, number(it.value)));
                }
                Some(Data::Histogram(histogram)) => {
                    for it in histogram.data_points {
                        assert_eq!(it.bucket_counts.iter().sum::<u64>(), it.count);
                        let count = u32::try_from(it.count).expect("few are observed in a test");
                        add(it.attributes, f64::from(count));
                    }
                }
                other => panic!("a kind of metric that is not known here: {other:?}"),
            }
        }
    }
    points
}

fn logs(batch: ExportLogsServiceRequest) -> Vec<Log> {
    let mut logs = Vec::new();
    for resource in batch.resource_logs {
        let service = service(resource.resource);
        for log in resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            let body = log.body.and_then(|body| body.value).map(text).unwrap_or_default();
            logs.push(Log {
                service: service.clone(),
                body,
                trace: hex::encode(log.trace_id),
                attributes: texts(log.attributes),
            });
        }
    }
    logs
}

fn text(value: Value) -> String {
    match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

fn texts(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |it: KeyValue| it.value.and_then(|it| it.value).map(text).unwrap_or_default();
    attributes.into_iter().map(|it| (it.key.clone(), text(it))).collect()
}
