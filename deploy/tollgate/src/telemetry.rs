//! What this process tells about itself: log lines on standard output and, where a collector is named, spans by
//! OTLP. The `OTEL_…` variables are OpenTelemetry's; those that its SDK leaves to the program are read here.

mod collector;
mod sql;

use crate::settings::Common;
use anyhow::{Context, Result, bail};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, filter};

/// The share of traces begun here that are kept, unless the environment says another.
const SAMPLED: f64 = 0.01;
/// How long a stopping process waits for its last spans to be taken.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);
/// Every collector gets one of these, unless the variables say another.
const PROTOCOL: &str = "http/protobuf";

/// Logging has begun. [`Telemetry::end`] sends what is left.
pub(crate) struct Telemetry {
    provider: Option<SdkTracerProvider>,
    /// Whether traces of callers go on.
    pub(crate) trace_context: bool,
}

/// The `OTEL_…` variables that the SDK does not read by itself.
#[derive(Debug, PartialEq)]
struct Settings {
    /// Where spans are exported.
    protocol: Option<Protocol>,
    trace_context: bool,
    /// None: the environment names a sampler, which the SDK reads.
    sampled: Option<f64>,
    named: bool,
    timeout: Duration,
    /// Signals that were asked for by OTLP and are not sent so.
    not_sent: Vec<&'static str>,
}

#[derive(Debug, PartialEq)]
enum Protocol {
    Grpc,
    Http,
}

impl Telemetry {
    /// Inside a runtime, which does the exporting. `service` is the name of this process in traces unless the
    /// environment has one.
    pub(crate) fn start(common: &Common, service: &'static str) -> Result<Self> {
        let logged = EnvFilter::try_new(&common.log)
            .with_context(|| format!("TOLLGATE_LOG cannot be `{}`", common.log))?;
        let settings = Settings::read(|name| std::env::var(name).ok())?;
        let provider = settings.provider(service)?;

        // Spans are for the collector alone: a line names its request by itself.
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false);
        let spans = provider.as_ref().map(|provider| {
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
        tracing_subscriber::registry().with(spans).with(lines.with_filter(logged)).init();

        if settings.trace_context {
            opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        }
        for signal in settings.not_sent {
            tracing::warn!("{signal} are not sent by OTLP: /metrics and the log lines have them");
        }
        Ok(Self { provider, trace_context: settings.trace_context })
    }

    pub(crate) fn tracer(&self) -> Option<SdkTracer> {
        self.provider.as_ref().map(|provider| provider.tracer("tollgate"))
    }

    /// Sends what is left, within a bound of time.
    pub(crate) async fn end(self) {
        let Some(provider) = self.provider else { return };
        let ended =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_WITHIN));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the last spans were not taken");
        }
    }
}

impl Settings {
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        // Set and empty counts as unset.
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let either = |signal: &str, all: &str| get(signal).or_else(|| get(all));

        let disabled = get("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let collector =
            either("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT").is_some();
        let wanted = match get("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => true,
            Some("none") => false,
            Some(other) => bail!("OTEL_TRACES_EXPORTER can be otlp or none, not `{other}`"),
        };
        let protocol = either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        let protocol = match protocol.as_deref().unwrap_or(PROTOCOL) {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::Http,
            other => {
                bail!("OTEL_EXPORTER_OTLP_PROTOCOL can be grpc or http/protobuf, not `{other}`")
            }
        };
        let mut trace_context = true;
        if let Some(propagators) = get("OTEL_PROPAGATORS") {
            trace_context = false;
            for propagator in propagators.split(',').map(str::trim) {
                match propagator {
                    "tracecontext" => trace_context = true,
                    // Baggage passes through a node as any field does.
                    "baggage" | "none" => {}
                    other => bail!(
                        "OTEL_PROPAGATORS can hold tracecontext, baggage and none, not `{other}`"
                    ),
                }
            }
        }
        let sampled = match (get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG")) {
            (Some(_), _) => None,
            (None, None) => Some(SAMPLED),
            (None, Some(ratio)) => {
                let ratio = ratio.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
                Some(ratio.context("OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1")?)
            }
        };
        let timeout = either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
        let timeout = timeout.as_deref().unwrap_or("10000").parse();
        let timeout =
            timeout.context("OTEL_EXPORTER_OTLP_TIMEOUT is not a number of milliseconds")?;
        let named = get("OTEL_SERVICE_NAME").is_some()
            || get("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|it| it.contains("service.name="));
        let signals = [("OTEL_METRICS_EXPORTER", "metrics"), ("OTEL_LOGS_EXPORTER", "logs")];
        let not_sent = signals.into_iter().filter(|(name, _)| get(name).as_deref() == Some("otlp"));
        Ok(Self {
            protocol: (collector && wanted && !disabled).then_some(protocol),
            trace_context,
            sampled,
            named,
            timeout: Duration::from_millis(timeout),
            not_sent: not_sent.map(|(_, signal)| signal).collect(),
        })
    }

    fn provider(&self, service: &'static str) -> Result<Option<SdkTracerProvider>> {
        let exporter = match self.protocol {
            None => return Ok(None),
            Some(Protocol::Grpc) => SpanExporter::builder().with_tonic().build(),
            Some(Protocol::Http) => SpanExporter::builder()
                .with_http()
                .with_http_client(collector::Client::new(self.timeout))
                .build(),
        };
        let exporter = exporter.context("spans cannot be exported as OTEL_EXPORTER_OTLP_… says")?;
        let mut resource = Resource::builder();
        if !self.named {
            resource = resource.with_service_name(service);
        }
        let mut provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter);
        if let Some(sampled) = self.sampled {
            let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sampled)));
            provider = provider.with_sampler(sampler);
        }
        Ok(Some(provider.build()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(|name| {
            let known = variables.iter().find(|(known, _)| *known == name);
            known.map(|(_, value)| (*value).to_owned())
        })
    }

    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    #[test]
    fn nothing_is_exported_unless_a_collector_is_named_and_nobody_says_no() {
        let exports = |variables: &[_]| read(variables).unwrap().protocol.is_some();
        assert!(!exports(&[]));
        assert!(!exports(&[(COLLECTOR.0, "")]));
        assert!(exports(&[COLLECTOR]));
        assert!(exports(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", COLLECTOR.1)]));
        assert!(exports(&[COLLECTOR, ("OTEL_SDK_DISABLED", "false")]));
        assert!(!exports(&[COLLECTOR, ("OTEL_SDK_DISABLED", "True")]));
        assert!(!exports(&[COLLECTOR, ("OTEL_TRACES_EXPORTER", "none")]));
    }

    #[test]
    fn a_variable_that_cannot_be_honoured_is_an_error() {
        for refused in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_PROPAGATORS", "tracecontext,b3"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ] {
            assert!(read(&[COLLECTOR, refused]).is_err(), "{refused:?}");
        }
        let asked = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_LOGS_EXPORTER", "none")];
        assert_eq!(read(&asked).unwrap().not_sent, ["metrics"]);
    }

    #[test]
    fn one_trace_in_a_hundred_is_kept_unless_another_share_is_asked_for() {
        let sampled = |variables: &[_]| read(variables).unwrap().sampled;
        assert_eq!(sampled(&[]), Some(0.01));
        assert_eq!(sampled(&[("OTEL_TRACES_SAMPLER_ARG", "0.5")]), Some(0.5));
        assert_eq!(sampled(&[("OTEL_TRACES_SAMPLER", "always_on")]), None);
    }

    #[test]
    fn traces_of_callers_go_on_unless_the_propagators_leave_them_out() {
        let goes_on = |value| read(&[("OTEL_PROPAGATORS", value)]).unwrap().trace_context;
        assert!(read(&[]).unwrap().trace_context && goes_on("baggage, tracecontext"));
        assert!(!goes_on("none") && !goes_on("baggage"));
    }
}
