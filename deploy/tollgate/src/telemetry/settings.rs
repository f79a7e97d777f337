//! The `OTEL_…` variables. What the SDK reads by itself is only known here; what it leaves to the program is read
//! here; what nobody reads is said at the start.

use super::sampling::Sampling;
use anyhow::{Context, Result, bail};
use data_plane::Propagator;
use std::path::PathBuf;
use std::time::Duration;

/// Every collector gets one of these, unless the variables say another.
const PROTOCOL: &str = "http/protobuf";

/// What is exported, and how.
#[derive(Debug, PartialEq)]
pub(super) struct Settings {
    /// None: spans are not exported.
    pub(super) traces: Option<Way>,
    pub(super) metrics: Option<Way>,
    pub(super) logs: Option<Way>,
    /// How traces of callers go on; the last that finds one is believed.
    pub(super) propagators: Vec<Propagator>,
    pub(super) sampling: Sampling,
    /// Whether the environment has a name for this process.
    pub(super) named: bool,
    /// Between two exports of metrics.
    pub(super) interval: Duration,
    pub(super) limits: Limits,
    /// Records of logs that wait to be exported.
    pub(super) logs_queue_len_max: u64,
    /// Variables that are set and have no effect.
    pub(super) unsupported: Vec<String>,
}

/// The way of one signal to its collector.
#[derive(Debug, PartialEq, Clone)]
pub(super) struct Way {
    pub(super) protocol: Protocol,
    /// With the signal's path, where the protocol has one.
    pub(super) endpoint: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Duration,
    pub(super) gzip: bool,
    /// PEM files: authorities to trust in the place of public ones; our own certificate and its key.
    pub(super) authorities: Option<PathBuf>,
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, PartialEq, Clone, Copy)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// Bounds on a span that the SDK does not read.
#[derive(Debug, PartialEq, Default)]
pub(super) struct Limits {
    pub(super) attributes: Option<u32>,
    pub(super) event_attributes: Option<u32>,
    pub(super) link_attributes: Option<u32>,
}

/// Read by the SDK, or here.
const HONOURED: [&str; 24] = [
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_PROPAGATORS",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BLRP_SCHEDULE_DELAY",
    "OTEL_BLRP_MAX_QUEUE_SIZE",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    // Cumulative only, which is also what is sent.
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
];
/// The same for each signal: `OTEL_EXPORTER_OTLP_{X}` and `OTEL_EXPORTER_OTLP_{SIGNAL}_{X}`.
const EXPORTER: [&str; 9] = [
    "ENDPOINT",
    "PROTOCOL",
    "HEADERS",
    "TIMEOUT",
    "COMPRESSION",
    "CERTIFICATE",
    "CLIENT_CERTIFICATE",
    "CLIENT_KEY",
    "INSECURE",
];
const SIGNALS: [&str; 3] = ["TRACES", "METRICS", "LOGS"];

impl Settings {
    /// `names`: of every variable that is set.
    pub(super) fn read(
        names: impl IntoIterator<Item = String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        // Set and empty counts as unset.
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let number = |name: &str, default: u64| match get(name) {
            None => Ok(default),
            Some(text) => text.parse().with_context(|| format!("{name} is not a number")),
        };
        let limit = |name: &str| -> Result<Option<u32>> {
            let value = get(name).map(|text| text.parse()).transpose();
            value.with_context(|| format!("{name} is not a number"))
        };
        let spans_own = get("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT").is_some();
        let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        if let Some(other) = get(temporality).filter(|it| !it.eq_ignore_ascii_case("cumulative")) {
            bail!("{temporality} can be cumulative, not `{other}`");
        }
        let unsupported = names
            .into_iter()
            .filter(|name| name.starts_with("OTEL_") && !is_honoured(name) && get(name).is_some());
        Ok(Self {
            traces: Way::read("TRACES", get)?,
            metrics: Way::read("METRICS", get)?,
            logs: Way::read("LOGS", get)?,
            propagators: propagators(get("OTEL_PROPAGATORS").as_deref())?,
            sampling: Sampling::read(
                get("OTEL_TRACES_SAMPLER").as_deref(),
                get("OTEL_TRACES_SAMPLER_ARG").as_deref(),
            )?,
            named: get("OTEL_SERVICE_NAME").is_some()
                || get("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|it| it.contains("service.name=")),
            interval: Duration::from_millis(number("OTEL_METRIC_EXPORT_INTERVAL", 60_000)?.max(1)),
            limits: Limits {
                attributes: if spans_own { None } else { limit("OTEL_ATTRIBUTE_COUNT_LIMIT")? },
                event_attributes: limit("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT")?,
                link_attributes: limit("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT")?,
            },
            logs_queue_len_max: number("OTEL_BLRP_MAX_QUEUE_SIZE", 2048)?.max(1),
            unsupported: unsupported.collect(),
        })
    }
}

fn is_honoured(name: &str) -> bool {
    let of_exporter = name.strip_prefix("OTEL_EXPORTER_OTLP_").is_some_and(|rest| {
        let signal = SIGNALS.iter().find_map(|it| rest.strip_prefix(it)?.strip_prefix('_'));
        EXPORTER.contains(&signal.unwrap_or(rest))
    });
    of_exporter || HONOURED.contains(&name)
}

fn propagators(named: Option<&str>) -> Result<Vec<Propagator>> {
    let mut propagators = Vec::new();
    for name in named.unwrap_or("tracecontext").split(',').map(str::trim) {
        let propagator = match name {
            "tracecontext" => Propagator::TraceContext,
            "b3" => Propagator::B3,
            "b3multi" => Propagator::B3Multi,
            "xray" => Propagator::XRay,
            // Baggage passes through a node as any field does.
            "baggage" | "none" => continue,
            other => bail!(
                "OTEL_PROPAGATORS can hold tracecontext, b3, b3multi, xray, baggage and none, not `{other}`"
            ),
        };
        if !propagators.contains(&propagator) {
            propagators.push(propagator);
        }
    }
    Ok(propagators)
}

impl Way {
    fn read(signal: &str, get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let own = |what: &str| get(&format!("OTEL_EXPORTER_OTLP_{signal}_{what}"));
        let either = |what: &str| own(what).or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{what}")));

        let exporters = get(&format!("OTEL_{signal}_EXPORTER"));
        let exporters = exporters.as_deref().unwrap_or("otlp").split(',').map(str::trim);
        let mut wanted = false;
        for exporter in exporters {
            match exporter {
                "otlp" => wanted = true,
                "none" => {}
                // /metrics is always there.
                "prometheus" if signal == "METRICS" => {}
                other => bail!("OTEL_{signal}_EXPORTER can be otlp or none, not `{other}`"),
            }
        }
        let protocol = match either("PROTOCOL").as_deref().unwrap_or(PROTOCOL) {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::Http,
            other => {
                bail!("OTEL_EXPORTER_OTLP_PROTOCOL can be grpc or http/protobuf, not `{other}`")
            }
        };
        let timeout = either("TIMEOUT").as_deref().unwrap_or("10000").parse();
        let timeout =
            timeout.context("OTEL_EXPORTER_OTLP_TIMEOUT is not a number of milliseconds")?;
        let mut timeout = Duration::from_millis(timeout);
        if signal == "METRICS"
            && let Some(bound) = get("OTEL_METRIC_EXPORT_TIMEOUT")
        {
            let bound = bound.parse().context("OTEL_METRIC_EXPORT_TIMEOUT is not a number")?;
            timeout = timeout.min(Duration::from_millis(bound));
        }
        let gzip = match either("COMPRESSION").as_deref() {
            None | Some("none") => false,
            Some("gzip") => true,
            Some(other) => {
                bail!("OTEL_EXPORTER_OTLP_COMPRESSION can be gzip or none, not `{other}`")
            }
        };
        let headers = either("HEADERS").as_deref().map_or_else(|| Ok(Vec::new()), headers)?;
        let identity = match (either("CLIENT_CERTIFICATE"), either("CLIENT_KEY")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            _ => bail!(
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY go together"
            ),
        };
        let disabled = get("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let path = match protocol {
            Protocol::Grpc => String::new(),
            Protocol::Http => format!("/v1/{}", signal.to_lowercase()),
        };
        let endpoint = own("ENDPOINT").or_else(|| {
            let all = get("OTEL_EXPORTER_OTLP_ENDPOINT")?;
            Some(format!("{}{path}", all.trim_end_matches('/')))
        });
        let Some(mut endpoint) = endpoint.filter(|_| wanted && !disabled) else { return Ok(None) };
        if !endpoint.contains("://") {
            let insecure = either("INSECURE").is_some_and(|it| it.eq_ignore_ascii_case("true"));
            endpoint = format!("{}://{endpoint}", if insecure { "http" } else { "https" });
        }
        let authorities = either("CERTIFICATE").map(PathBuf::from);
        Ok(Some(Self { protocol, endpoint, headers, timeout, gzip, authorities, identity }))
    }
}

/// `name=value,name=value`, the values percent-encoded.
fn headers(text: &str) -> Result<Vec<(String, String)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .context("OTEL_EXPORTER_OTLP_HEADERS is not name=value, with commas between")?;
            Ok((name.trim().to_lowercase(), decoded(value.trim())))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|it| hex::decode(it).ok());
        if let Some(code) = code {
            bytes.extend(code);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        let names = variables.iter().map(|(name, _)| (*name).to_owned());
        Settings::read(names.collect::<Vec<_>>(), |name| {
            let known = variables.iter().find(|(known, _)| *known == name);
            known.map(|(_, value)| (*value).to_owned())
        })
    }

    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    #[test]
    fn nothing_is_exported_unless_a_collector_is_named_and_nobody_says_no() {
        let exports = |variables: &[_]| {
            let it = read(variables).unwrap();
            [it.traces, it.metrics, it.logs].map(|way| way.is_some())
        };
        assert_eq!(exports(&[]), [false; 3]);
        assert_eq!(exports(&[(COLLECTOR.0, "")]), [false; 3]);
        assert_eq!(exports(&[COLLECTOR]), [true; 3]);
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", COLLECTOR.1);
        assert_eq!(exports(&[traces]), [true, false, false]);
        assert_eq!(exports(&[COLLECTOR, ("OTEL_SDK_DISABLED", "false")]), [true; 3]);
        assert_eq!(exports(&[COLLECTOR, ("OTEL_SDK_DISABLED", "True")]), [false; 3]);
        assert_eq!(exports(&[COLLECTOR, ("OTEL_TRACES_EXPORTER", "none")]), [false, true, true]);
        assert_eq!(
            exports(&[COLLECTOR, ("OTEL_METRICS_EXPORTER", "prometheus")]),
            [true, false, true]
        );
        assert_eq!(exports(&[COLLECTOR, ("OTEL_LOGS_EXPORTER", "none")]), [true, true, false]);
    }

    /// Each variable of the specification: a value that changes what is read here, that is read by the SDK, or
    /// that is told of as having no effect.
    #[test]
    fn every_variable_has_an_effect_or_is_said_to_have_none() {
        let plain = read(&[COLLECTOR]).unwrap();
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_SERVICE_NAME", "edge"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=edge"),
            ("OTEL_PROPAGATORS", "none"),
            ("OTEL_TRACES_SAMPLER", "always_on"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "1000"),
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "9"),
            ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "9"),
            ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "9"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "9"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=b"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "ca.pem"),
            // Not set by what stands above, so told of.
            ("OTEL_LOG_LEVEL", "debug"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "1000"),
            ("OTEL_BLRP_EXPORT_TIMEOUT", "1000"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9"),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9"),
            ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "9"),
            ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9"),
            ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off"),
            ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit"),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", "9464"),
            ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://127.0.0.1"),
            ("OTEL_EXPERIMENTAL_CONFIG_FILE", "otel.yaml"),
        ] {
            assert_ne!(read(&[COLLECTOR, (name, value)]).unwrap(), plain, "{name}");
        }
        // These the SDK reads; what it does with them is its own tests' business.
        for name in [
            "OTEL_BSP_SCHEDULE_DELAY",
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            "OTEL_BLRP_SCHEDULE_DELAY",
            "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
            "OTEL_SPAN_LINK_COUNT_LIMIT",
        ] {
            assert_eq!(read(&[COLLECTOR, (name, "9")]).unwrap(), plain, "{name}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_honoured_is_an_error() {
        for refused in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_LOGS_EXPORTER", "console"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_PROPAGATORS", "tracecontext,jaeger"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no pair"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
        ] {
            assert!(read(&[COLLECTOR, refused]).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_signals_own_way_beats_the_way_of_all() {
        let read = read(&[
            COLLECTOR,
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, x-two=2"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://metrics.example/in"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
        ])
        .unwrap();
        let (metrics, logs) = (read.metrics.unwrap(), read.logs.unwrap());
        assert_eq!(read.traces.unwrap().endpoint, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(metrics.endpoint, "https://metrics.example/in");
        assert_eq!((&*logs.endpoint, logs.protocol), (COLLECTOR.1, Protocol::Grpc));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(metrics.headers, [pair("authorization", "Basic abc"), pair("x-two", "2")]);
    }

    #[test]
    fn traces_of_callers_go_on_unless_the_propagators_leave_them_out() {
        let goes_on = |value| read(&[("OTEL_PROPAGATORS", value)]).unwrap().propagators;
        assert_eq!(read(&[]).unwrap().propagators, [Propagator::TraceContext]);
        assert_eq!(goes_on("baggage, tracecontext"), [Propagator::TraceContext]);
        assert_eq!(goes_on("b3,b3"), [Propagator::B3]);
        assert_eq!(goes_on("xray,b3multi"), [Propagator::XRay, Propagator::B3Multi]);
        assert_eq!(goes_on("baggage"), []);
        assert_eq!(goes_on("none"), []);
    }
}
