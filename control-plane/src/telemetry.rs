//! What this replica counts, for Prometheus. Other modules register their own counts beside these, in the
//! default registry; labels are only ever taken from fixed lists and route templates.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder,
    register_histogram_vec, register_int_counter, register_int_counter_vec, register_int_gauge,
    register_int_gauge_vec,
};

use crate::app::App;

pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "tollgate_http_requests_total",
        "Requests to the management listener, by route template and status class.",
        &["method", "route", "status"]
    )
    .expect("registered once")
});

static DURATIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "tollgate_http_request_duration_seconds",
        "From the head of a request to the head of its answer.",
        &["route"],
        vec![0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]
    )
    .expect("registered once")
});

static LOG_INS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("tollgate_log_ins_total", "Log-ins, by how they ended.", &["result"])
        .expect("registered once")
});

static MAIL: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "tollgate_mail_total",
        "Tries to hand a letter to the mail server, by what became of them.",
        &["result"]
    )
    .expect("registered once")
});

static UNLOGGED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "tollgate_management_requests_lost_total",
        "Requests that the log of requests lost: too many waited to be written, or the database would not have them."
    )
    .expect("registered once")
});

static PARTITIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "tollgate_usage_partitions_total",
        "Partitions of usage that were made ahead, or dropped with minutes that are no longer kept.",
        &["result"]
    )
    .expect("registered once")
});

static PARTITIONS_UNTIL: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "tollgate_usage_partitions_until_time_seconds",
        "Up to when usage by minute has partitions, Unix time."
    )
    .expect("registered once")
});

static SEALED_UNTIL: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "tollgate_usage_sealed_until_time_seconds",
        "Up to when the hours of the ledger have their roots, Unix time; 0: none has."
    )
    .expect("registered once")
});

static QUARANTINED: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "tollgate_usage_quarantined_open",
        "Segments of usage that the ledger did not take, or not whole, and that the operator has not settled."
    )
    .expect("registered once")
});

static DRIFT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "tollgate_usage_drift_requests",
        "How many calls the ledger and what is counted beside it are apart, of the last 24 hours, by where they are counted.",
        &["kind"]
    )
    .expect("registered once")
});

static COMPARED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "tollgate_usage_compared_requests",
        "Calls of the ledger that were held against what is counted beside it, of the last 24 hours.",
        &["kind"]
    )
    .expect("registered once")
});

static CONNECTIONS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "tollgate_database_connections",
        "Connections to PostgreSQL, by role and state.",
        &["role", "state"]
    )
    .expect("registered once")
});

/// How a log-in ended.
#[derive(Clone, Copy)]
pub enum LogIn {
    Succeeded,
    Failed,
    /// Not tried: too many had failed.
    Slowed,
}

pub fn logged_in(how: LogIn) {
    let result = match how {
        LogIn::Succeeded => "succeeded",
        LogIn::Failed => "failed",
        LogIn::Slowed => "slowed",
    };
    LOG_INS.with_label_values(&[result]).inc();
}

/// What became of a try to send a letter.
#[derive(Clone, Copy)]
pub enum Mailed {
    Sent,
    /// It will be tried again.
    Delayed,
    /// It was refused for good, or could not be sent for a day.
    GivenUp,
}

pub fn mailed(how: Mailed) {
    let result = match how {
        Mailed::Sent => "sent",
        Mailed::Delayed => "delayed",
        Mailed::GivenUp => "given_up",
    };
    MAIL.with_label_values(&[result]).inc();
}

/// What became of a partition of usage.
#[derive(Clone, Copy)]
pub enum Partitions {
    Made,
    Dropped,
}

pub fn partitions(what: Partitions, count: i32) {
    let result = match what {
        Partitions::Made => "made",
        Partitions::Dropped => "dropped",
    };
    PARTITIONS.with_label_values(&[result]).inc_by(u64::try_from(count).unwrap_or_default());
}

/// Usage by minute has partitions up to then.
pub fn partitions_until(until: Option<DateTime<Utc>>) {
    PARTITIONS_UNTIL.set(until.map_or(0, |until| until.timestamp()));
}

/// The hours of the ledger before then have their roots.
pub fn sealed_until(until: Option<DateTime<Utc>>) {
    SEALED_UNTIL.set(until.map_or(0, |until| until.timestamp()));
}

/// So many segments of usage wait for the operator.
pub fn quarantined(open: i64) {
    QUARANTINED.set(open);
}

/// What is counted there (`ACCESS_LOG`, `QUOTA`) is so many calls apart from the ledger, of so many.
pub fn drift(kind: &str, (drift, compared): (i64, i64)) {
    let kind = kind.to_lowercase();
    DRIFT.with_label_values(&[&kind]).set(drift);
    COMPARED.with_label_values(&[&kind]).set(compared);
}

/// So many requests are not in the log.
pub fn unlogged(requests: usize) {
    UNLOGGED.inc_by(requests as u64);
}

/// One request of the management listener was answered.
pub fn answered(method: &str, route: &str, status: u16, took: Duration) {
    let class = match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    REQUESTS.with_label_values(&[method, route, class]).inc();
    DURATIONS.with_label_values(&[route]).observe(took.as_secs_f64());
}

/// All counts, in Prometheus's text format.
pub fn render(app: &App) -> prometheus::Result<String> {
    look_at(app);
    TextEncoder::new().encode_to_string(&prometheus::gather())
}

/// Brings what is looked up, not counted, up to date. Whoever gathers without rendering sees it as it was a moment ago.
pub(crate) fn look_at(app: &App) {
    // What has not happened yet stands at 0, so that the first time is a change.
    for result in ["sent", "delayed", "given_up"] {
        MAIL.with_label_values(&[result]);
    }
    LazyLock::force(&UNLOGGED);
    for result in ["made", "dropped"] {
        PARTITIONS.with_label_values(&[result]);
    }
    LazyLock::force(&PARTITIONS_UNTIL);
    LazyLock::force(&QUARANTINED);
    for (role, pool) in app.pools() {
        let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
        CONNECTIONS.with_label_values(&[role, "idle"]).set(idle);
        CONNECTIONS.with_label_values(&[role, "busy"]).set(i64::from(pool.size()) - idle);
    }
}
