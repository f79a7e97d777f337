//! What a node counts, for Prometheus.

use std::{cell::RefCell, time::Duration};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    local::{LocalHistogram, LocalIntCounter, LocalIntCounterVec},
};

use crate::{
    dialect::NATIVE, integration::metrics::BackendMetrics, policies::limit_metrics::LimitMetrics,
};

/// Every label has a handful of values: an Api or a key is never one.
pub struct Metrics {
    pub registry: Registry,
    requests: IntCounterVec,
    duration: Histogram,
    phases: HistogramVec,
    shed: IntCounterVec,
    pub in_flight: IntGauge,
    pub connections: IntGauge,
    pub tls_handshakes_failed: IntCounter,
    pub tls_certificate_expires: IntGauge,
    pub tls_certificates_refused: IntCounter,
    pub callers_cut: IntCounter,
    pub http2_floods: IntCounter,
    pub panics: IntCounter,
    pub(crate) limits: LimitMetrics,
    pub upstream_connects: IntCounter,
    pub(crate) backends: BackendMetrics,
    pub spliced_bytes: IntCounter,
    pub uncompressed: IntCounter,
    pub journal_full: IntCounter,
    canary_requests: IntCounter,
    pub config_loaded: IntGauge,
}

/// One data thread's share, written without touching another thread's memory; flushed each second.
pub(crate) struct ThreadMetrics {
    requests: RefCell<LocalIntCounterVec>,
    duration: LocalHistogram,
    phases: [LocalHistogram; PHASES.len()],
    shed: [LocalIntCounter; BOUNDS.len()],
    canary_requests: LocalIntCounter,
}

/// What had too much in progress for one more request.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// The data thread.
    Node,
    /// The tenant, on the data thread.
    Tenant,
    /// One backend of a tenant's, on the data thread.
    Backend,
}

/// In the order of [`Bound`].
const BOUNDS: [&str; 3] = ["node", "tenant", "backend"];

/// A part of the way that takes time of its own.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// A caller's TLS handshake, once a connection.
    Tls,
    /// Who calls, and by which plan.
    Auth,
    /// Throttles and quota, with what is asked of Redis.
    Limit,
    /// A new connection to a backend, with its TLS.
    UpstreamConnect,
    /// From the request's first byte to the answer's head.
    UpstreamFirstByte,
    /// From the answer's head to its last byte, as fast as the caller takes it.
    UpstreamBody,
}

/// In the order of [`Phase`].
const PHASES: [&str; 6] =
    ["tls", "auth", "limit", "upstream_connect", "upstream_first_byte", "upstream_body"];

impl Metrics {
    pub fn new(registry: Registry) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("tollgate_requests_total", "Requests answered, by dialect and status class"),
            &["dialect", "status_class"],
        )?;
        let duration = Histogram::with_opts(
            HistogramOpts::new(
                "tollgate_request_duration_seconds",
                "From a request's head to the last byte of its answer",
            )
            .buckets(vec![
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
                10.0, 30.0,
            ]),
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        let phases = HistogramVec::new(
            HistogramOpts::new(
                "tollgate_phase_duration_seconds",
                "What each part of the way takes",
            )
            .buckets(vec![
                0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ]),
            &["phase"],
        )?;
        registry.register(Box::new(phases.clone()))?;
        let shed = IntCounterVec::new(
            Opts::new(
                "tollgate_requests_shed_total",
                "Requests refused because too many were in progress on a data thread: in all, the tenant's, or with one backend",
            ),
            &["bound"],
        )?;
        registry.register(Box::new(shed.clone()))?;
        let gauge = |name, help| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let counter = |name, help| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        Ok(Self {
            in_flight: gauge("tollgate_requests_in_flight", "Requests in progress")?,
            connections: gauge("tollgate_connections", "Open connections of callers")?,
            config_loaded: gauge("tollgate_config_loaded", "1 once a configuration is served")?,
            uncompressed: counter(
                "tollgate_answers_uncompressed_total",
                "Answers that were not compressed because as many were being compressed as may be",
            )?,
            panics: counter("tollgate_panics_total", "Requests that ended in a panic of ours")?,
            tls_certificate_expires: gauge(
                "tollgate_tls_certificate_expires_time_seconds",
                "When the certificate that callers are shown ends, Unix time",
            )?,
            tls_certificates_refused: counter(
                "tollgate_tls_certificates_refused_total",
                "Changed certificate files that could not be used; the certificate before is shown on",
            )?,
            http2_floods: counter(
                "tollgate_http2_floods_total",
                "HTTP/2 connections ended because they sent frames that bring nothing",
            )?,
            callers_cut: counter(
                "tollgate_slow_callers_cut_total",
                "HTTP/1.1 connections and HTTP/2 streams or connections ended because their caller took its answer too slowly",
            )?,
            tls_handshakes_failed: counter(
                "tollgate_tls_handshakes_failed_total",
                "TLS handshakes of callers that came to nothing",
            )?,
            limits: LimitMetrics::new(&registry)?,
            upstream_connects: counter(
                "tollgate_upstream_connects_total",
                "Connections opened to backends",
            )?,
            backends: BackendMetrics::new(&registry)?,
            spliced_bytes: counter(
                "tollgate_spliced_bytes_total",
                "Bytes of answers that went from a backend's socket to a caller's without being copied",
            )?,
            canary_requests: counter(
                "tollgate_canary_requests_total",
                "Requests that went to the canary of their stage",
            )?,
            journal_full: counter(
                "tollgate_journal_full_total",
                "Requests refused because the usage journal was full",
            )?,
            requests,
            duration,
            phases,
            shed,
            registry,
        })
    }

    pub(crate) fn thread(&self) -> ThreadMetrics {
        ThreadMetrics {
            requests: RefCell::new(self.requests.local()),
            duration: self.duration.local(),
            phases: PHASES.map(|phase| self.phases.with_label_values(&[phase]).local()),
            shed: BOUNDS.map(|bound| self.shed.with_label_values(&[bound]).local()),
            canary_requests: self.canary_requests.local(),
        }
    }
}

impl ThreadMetrics {
    pub(crate) fn request(&self, dialect: &str, status: u16, seconds: f64) {
        let class = status_class(status);
        self.requests.borrow_mut().with_label_values(&[dialect, class]).inc();
        self.duration.observe(seconds);
    }

    pub(crate) fn phase(&self, phase: Phase, took: Duration) {
        self.phases[phase as usize].observe(took.as_secs_f64());
    }

    /// Refused, because of what is in progress.
    pub(crate) fn shed(&self, bound: Bound) {
        self.shed[bound as usize].inc();
    }

    /// It went to the canary of its stage.
    pub(crate) fn canary(&self) {
        self.canary_requests.inc();
    }

    /// One that ended before it was a request.
    pub(crate) fn unserved(&self, status: u16) {
        let class = status_class(status);
        self.requests.borrow_mut().with_label_values(&[NATIVE.name, class]).inc();
    }

    pub(crate) fn flush(&self) {
        self.requests.borrow_mut().flush();
        self.duration.flush();
        self.phases.iter().for_each(LocalHistogram::flush);
        self.shed.iter().for_each(LocalIntCounter::flush);
        self.canary_requests.flush();
    }
}

fn status_class(status: u16) -> &'static str {
    match status {
        0 => "none",
        1..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
