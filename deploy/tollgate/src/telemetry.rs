//! What this process tells about itself: log lines on standard output and, where a collector is named, spans,
//! metrics and logs by OTLP.

mod collector;
mod lines;
mod metrics;
mod records;
mod sampling;
mod settings;
mod sql;

use crate::settings::Common;
use anyhow::{Context, Result};
use collector::{Client, grpc_tls};
use data_plane::Propagator;
use data_plane::access_log::RecordSink;
use lines::{Lines, Writer};
use metrics::Export;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use prometheus::proto::MetricFamily;
use settings::{Protocol, Settings, Way};
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, filter};

/// How long a stopping process waits for its last spans, metrics and logs to be taken, each.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Logging has begun. [`Telemetry::end`] sends what is left.
pub(crate) struct Telemetry {
    settings: Settings,
    resource: Resource,
    spans: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    metrics: Option<Export>,
    lines: Writer,
    /// How traces of callers go on through a node.
    pub(crate) propagators: Vec<Propagator>,
}

impl Telemetry {
    /// Inside a runtime, which does the exporting. `service` is the name of this process for the collector unless
    /// the environment has one.
    pub(crate) fn start(common: &Common, service: &'static str) -> Result<Self> {
        let filter = || {
            EnvFilter::try_new(&common.log)
                .with_context(|| format!("TOLLGATE_LOG cannot be `{}`", common.log))
        };
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut settings = Settings::read(names, |name| std::env::var(name).ok())?;
        let mut resource = Resource::builder();
        if !settings.named {
            resource = resource.with_service_name(service);
        }
        let resource = resource.build();
        let spans = settings.traces.as_ref().map(|way| provider(way, &settings, &resource));
        let spans = spans.transpose()?;
        let logs = settings.logs.as_ref().map(|way| records::provider(way, &resource));
        let logs = logs.transpose()?;

        // Spans are for the collector alone: a line names its request by itself.
        let (out, lines) = Lines::start()?;
        let printed = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(out)
            .with_filter(filter()?);
        let exported = match &logs {
            // What exporting says of itself would be exported in turn.
            Some(logs) => Some(
                OpenTelemetryTracingBridge::new(logs)
                    .with_filter(filter::filter_fn(|it| !is_of_exporting(it.target())))
                    .with_filter(filter()?),
            ),
            None => None,
        };
        let traced = spans.as_ref().map(|provider| {
            let tracer = provider.tracer("tollgate");
            let ours =
                filter::filter_fn(|it| it.is_span() && it.target().starts_with("control_plane"));
            let spans = tracing_opentelemetry::layer()
                .with_tracer(tracer.clone())
                .with_location(false)
                .with_target(false)
                .with_threads(false)
                .with_level(false)
                .with_tracked_inactivity(false)
                .with_filter(ours);
            spans.and_then(sql::Queries(tracer).with_filter(filter::filter_fn(sql::is_query)))
        });
        tracing_subscriber::registry().with(traced).with(exported).with(printed).init();

        // The control plane's callers are our console and programs: it takes `traceparent` alone.
        if settings.propagators.contains(&Propagator::TraceContext) {
            opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        }
        for variable in std::mem::take(&mut settings.unsupported) {
            tracing::warn!(variable, "this variable is not supported: it has no effect");
        }
        let propagators = settings.propagators.clone();
        Ok(Self { settings, resource, spans, logs, metrics: None, lines, propagators })
    }

    pub(crate) fn tracer(&self) -> Option<SdkTracer> {
        self.spans.as_ref().map(|provider| provider.tracer("tollgate"))
    }

    /// Whether a caller's decision about its trace is followed.
    pub(crate) fn callers_decide(&self) -> bool {
        self.settings.sampling.parent_based
    }

    /// Sends what `gather` gives, from now on.
    pub(crate) fn export_metrics(
        &mut self,
        gather: impl Fn() -> Vec<MetricFamily> + Send + 'static,
    ) -> Result<()> {
        let Some(way) = &self.settings.metrics else { return Ok(()) };
        let export = Export::start(way, self.settings.interval, &self.resource, gather);
        self.metrics = Some(export.context("metrics cannot be exported")?);
        Ok(())
    }

    /// The access log's way to the collector.
    pub(crate) fn access_log(&self) -> Result<Box<dyn RecordSink>> {
        let way = self.settings.logs.as_ref().context(
            "TOLLGATE_ACCESS_LOG names otlp, and no collector takes logs: set \
             OTEL_EXPORTER_OTLP_ENDPOINT, or leave otlp out",
        )?;
        let room = self.settings.logs_queue_len_max;
        Ok(Box::new(records::Records::new(way, &self.resource, room)?))
    }

    /// Sends what is left, within a bound of time.
    pub(crate) async fn end(self) {
        let Self { spans, logs, metrics, lines, .. } = self;
        if let Some(metrics) = metrics {
            metrics.end(FLUSH_WITHIN).await;
        }
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(Err(error)) = spans.map(|it| it.shutdown_with_timeout(FLUSH_WITHIN)) {
                tracing::warn!(%error, "the last spans were not taken");
            }
            if let Some(Err(error)) = logs.map(|it| it.shutdown_with_timeout(FLUSH_WITHIN)) {
                tracing::warn!(%error, "the last log lines were not taken");
            }
            lines.end(FLUSH_WITHIN);
        });
        let _ = ended.await;
    }
}

fn is_of_exporting(target: &str) -> bool {
    ["opentelemetry", "hyper", "h2", "tonic", "tower", "rustls"]
        .iter()
        .any(|library| target.starts_with(library))
}

fn provider(way: &Way, settings: &Settings, resource: &Resource) -> Result<SdkTracerProvider> {
    let exporter = match way.protocol {
        Protocol::Grpc if way.endpoint.starts_with("https:") => {
            SpanExporter::builder().with_tonic().with_tls_config(grpc_tls(way)?).build()
        }
        Protocol::Grpc => SpanExporter::builder().with_tonic().build(),
        Protocol::Http => {
            SpanExporter::builder().with_http().with_http_client(Client::new(way)?).build()
        }
    };
    let exporter = exporter.context("spans cannot be exported as OTEL_EXPORTER_OTLP_… says")?;
    let mut provider = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_sampler(sampling::Ruled(settings.sampling.sampler()))
        .with_span_processor(sampling::Kept(BatchSpanProcessor::builder(exporter).build()));
    let limits = &settings.limits;
    if let Some(count) = limits.attributes {
        provider = provider.with_max_attributes_per_span(count);
    }
    if let Some(count) = limits.event_attributes {
        provider = provider.with_max_attributes_per_event(count);
    }
    if let Some(count) = limits.link_attributes {
        provider = provider.with_max_attributes_per_link(count);
    }
    Ok(provider.build())
}
