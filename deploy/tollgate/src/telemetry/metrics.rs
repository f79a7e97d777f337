//! The counts of `/metrics`, sent by OTLP under the same names. They are read where they are; there is no second
//! set of instruments.

use super::collector::{Client, grpc_tls};
use super::settings::{Protocol, Way};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use opentelemetry_http::HttpClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use prost::Message;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{MetadataKey, MetadataValue};
use tonic::transport::Channel;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Sends until it is told to end, and then once more.
pub(super) struct Export {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Where to, by either protocol.
enum Collector {
    Http { client: Client, way: Way },
    Grpc { client: MetricsServiceClient<Channel>, way: Way },
}

/// What all points of a process share.
struct Source {
    resource: Vec<KeyValue>,
    /// When the counts began.
    since: u64,
}

impl Export {
    /// Inside a runtime.
    pub(super) fn start(
        way: &Way,
        interval: Duration,
        resource: &opentelemetry_sdk::Resource,
        gather: impl Fn() -> Vec<MetricFamily> + Send + 'static,
    ) -> Result<Self> {
        let mut collector = Collector::new(way)?;
        let resource = resource.iter().map(|(name, value)| text(name.as_str(), &value.as_str()));
        let source = Source { resource: resource.collect(), since: nanos() };
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut failing = false;
            loop {
                let last = tokio::time::timeout(interval, &mut ended).await.is_ok();
                let sent = collector.send(source.request(&gather())).await;
                // Once, until it works again.
                if let Err(error) = &sent
                    && !failing
                {
                    tracing::warn!(error = format!("{error:#}"), "metrics were not taken");
                }
                failing = sent.is_err();
                if last {
                    return;
                }
            }
        });
        Ok(Self { end, task })
    }

    /// Sends what there is now, at most so long.
    pub(super) async fn end(self, within: Duration) {
        let _ = self.end.send(());
        let _ = tokio::time::timeout(within, self.task).await;
    }
}

impl Collector {
    fn new(way: &Way) -> Result<Self> {
        let way = way.clone();
        if way.protocol == Protocol::Http {
            return Ok(Self::Http { client: Client::new(&way)?, way });
        }
        let unusable = "the endpoint for metrics is not usable";
        let mut channel =
            Channel::from_shared(way.endpoint.clone()).context(unusable)?.timeout(way.timeout);
        if way.endpoint.starts_with("https:") {
            channel = channel.tls_config(grpc_tls(&way)?).context(unusable)?;
        }
        let mut client = MetricsServiceClient::new(channel.connect_lazy());
        if way.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        Ok(Self::Grpc { client, way })
    }

    async fn send(&mut self, request: ExportMetricsServiceRequest) -> Result<()> {
        match self {
            Self::Http { client, way } => {
                let mut body = request.encode_to_vec();
                let mut post = http::Request::post(&way.endpoint)
                    .header("content-type", "application/x-protobuf");
                if way.gzip {
                    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                    encoder.write_all(&body)?;
                    body = encoder.finish()?;
                    post = post.header("content-encoding", "gzip");
                }
                for (name, value) in &way.headers {
                    post = post.header(name, value);
                }
                let post = post.header("content-length", body.len()).body(Bytes::from(body))?;
                let answer = client.send_bytes(post).await.map_err(|it| anyhow::anyhow!(it))?;
                ensure!(answer.status().is_success(), "the collector answers {}", answer.status());
            }
            Self::Grpc { client, way } => {
                let mut request = tonic::Request::new(request);
                for (name, value) in &way.headers {
                    let name = MetadataKey::from_bytes(name.as_bytes())?;
                    request.metadata_mut().insert(name, MetadataValue::try_from(value)?);
                }
                client.export(request).await?;
            }
        }
        Ok(())
    }
}

impl Source {
    fn request(&self, families: &[MetricFamily]) -> ExportMetricsServiceRequest {
        let now = nanos();
        let scope = InstrumentationScope { name: "tollgate".to_owned(), ..Default::default() };
        let metrics = families.iter().filter_map(|family| metric(family, self.since, now));
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(Resource {
                    attributes: self.resource.clone(),
                    ..Default::default()
                }),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics: metrics.collect(),
                    ..Default::default()
                }],
                ..Default::default()
            }],
        }
    }
}

/// None for kinds that nothing here counts by.
fn metric(family: &MetricFamily, since: u64, now: u64) -> Option<Metric> {
    let number = |labels: &[LabelPair], value: f64| NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: since,
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..Default::default()
    };
    let points = family.get_metric().iter();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: points
                .map(|it| number(it.get_label(), it.get_counter().get_value()))
                .collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: points
                .map(|it| number(it.get_label(), it.get_gauge().get_value()))
                .collect(),
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: points.map(|it| histogram(it, since, now)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        data: Some(data),
        ..Default::default()
    })
}

fn histogram(point: &prometheus::proto::Metric, since: u64, now: u64) -> HistogramDataPoint {
    let histogram = point.get_histogram();
    let finite: Vec<_> =
        histogram.get_bucket().iter().filter(|it| it.upper_bound().is_finite()).collect();
    // Prometheus counts everything below a bound, OTLP what is between two.
    let mut below = 0;
    let mut counts: Vec<u64> = finite
        .iter()
        .map(|bucket| {
            let count = bucket.cumulative_count() - below;
            below = bucket.cumulative_count();
            count
        })
        .collect();
    let count = histogram.get_sample_count();
    counts.push(count.saturating_sub(below));
    HistogramDataPoint {
        attributes: attributes(point.get_label()),
        start_time_unix_nano: since,
        time_unix_nano: now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: finite.iter().map(|bucket| bucket.upper_bound()).collect(),
        ..Default::default()
    }
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    labels.iter().map(|label| text(label.name(), label.value())).collect()
}

fn text(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..Default::default() }
}

/// Unix time.
fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{HistogramOpts, Opts, Registry};

    #[test]
    fn families_keep_their_names_labels_and_counts() {
        let registry = Registry::new();
        let calls = prometheus::IntCounterVec::new(Opts::new("calls", "Calls"), &["how"]).unwrap();
        let buckets = HistogramOpts::new("took", "Seconds").buckets(vec![0.1, 1.0]);
        let took = prometheus::Histogram::with_opts(buckets).unwrap();
        registry.register(Box::new(calls.clone())).unwrap();
        registry.register(Box::new(took.clone())).unwrap();
        calls.with_label_values(&["well"]).inc_by(3);
        for seconds in [0.05, 0.5, 0.6, 7.0] {
            took.observe(seconds);
        }
        let source = Source { resource: vec![text("service.name", "test")], since: 1 };
        let mut request = source.request(&registry.gather());
        let metrics = &mut request.resource_metrics[0].scope_metrics[0].metrics;
        let [calls, took] = &metrics[..] else { panic!("{metrics:?}") };
        let Some(Data::Sum(sum)) = &calls.data else { panic!("{calls:?}") };
        let point = &sum.data_points[0];
        assert_eq!((&*calls.name, &point.attributes), ("calls", &vec![text("how", "well")]));
        assert_eq!(point.value, Some(number_data_point::Value::AsDouble(3.0)));
        assert!(sum.is_monotonic && point.start_time_unix_nano == 1);
        let Some(Data::Histogram(histogram)) = &took.data else { panic!("{took:?}") };
        let point = &histogram.data_points[0];
        assert_eq!(
            (&*point.bucket_counts, &*point.explicit_bounds),
            (&[1, 2, 1][..], &[0.1, 1.0][..])
        );
        assert_eq!((point.count, point.sum), (4, Some(8.15)));
    }
}
