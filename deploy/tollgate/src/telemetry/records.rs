//! Log lines, and the access log where its sinks name `otlp`, as OTLP's log records.

use super::collector::{Client, grpc_tls};
use super::settings::{Protocol, Way};
use anyhow::{Context, Result};
use data_plane::access_log::{Record, RecordSink, Value};
use opentelemetry::logs::{LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry_otlp::{LogExporter, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, SdkLogger, SdkLoggerProvider};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a sink waits before it looks again for room.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) fn provider(way: &Way, resource: &Resource) -> Result<SdkLoggerProvider> {
    let exporter = exporter(way)?;
    let provider = SdkLoggerProvider::builder().with_resource(resource.clone());
    Ok(provider.with_batch_exporter(exporter).build())
}

fn exporter(way: &Way) -> Result<LogExporter> {
    let exporter = match way.protocol {
        Protocol::Grpc if way.endpoint.starts_with("https:") => {
            LogExporter::builder().with_tonic().with_tls_config(grpc_tls(way)?).build()
        }
        Protocol::Grpc => LogExporter::builder().with_tonic().build(),
        Protocol::Http => {
            LogExporter::builder().with_http().with_http_client(Client::new(way)?).build()
        }
    };
    exporter.context("logs cannot be exported as OTEL_EXPORTER_OTLP_… says")
}

/// The access log's records. The SDK drops in silence what it has no room for, so it is never given more than it
/// has room for: what does not fit waits in the access log's own queue, which counts.
pub(super) struct Records {
    provider: SdkLoggerProvider,
    logger: SdkLogger,
    sent: Arc<Sent>,
    given: u64,
    /// Of `sent.failed`, what was told.
    told: u64,
    room: u64,
}

/// What became of records, by the exporter's word.
#[derive(Debug, Default)]
struct Sent {
    ended: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
struct Counting(LogExporter, Arc<Sent>);

impl Records {
    /// Inside a runtime.
    pub(super) fn new(way: &Way, resource: &Resource, room: u64) -> Result<Self> {
        let sent = Arc::<Sent>::default();
        let provider = SdkLoggerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(Counting(exporter(way)?, sent.clone()))
            .build();
        let logger = provider.logger("access");
        Ok(Self { provider, logger, sent, given: 0, told: 0, room })
    }

    fn give(&mut self, record: &Record) {
        while self.given - self.sent.ended.load(Ordering::Acquire) >= self.room {
            std::thread::sleep(PAUSE);
        }
        self.given += 1;
        let mut log = self.logger.create_log_record();
        log.set_timestamp(record.at());
        log.set_observed_timestamp(record.at());
        log.set_severity_number(Severity::Info);
        log.set_severity_text("INFO");
        log.set_target("access");
        log.set_body("request".into());
        if let Some((trace, span, flags)) = record.trace() {
            log.set_trace_context(trace, span, Some(flags));
        }
        log.add_attribute("client.address", record.client().to_string());
        record.fields(|name, value| match value {
            Value::Text(text) => log.add_attribute(name, text.to_owned()),
            Value::Id(id) => log.add_attribute(name, id.to_string()),
            Value::Count(count) => {
                log.add_attribute(name, i64::try_from(count).unwrap_or(i64::MAX));
            }
            Value::Millis(time) => log.add_attribute(name, time.as_secs_f64() * 1000.0),
            Value::Flag(flag) => log.add_attribute(name, flag),
        });
        self.logger.emit(log);
    }
}

impl RecordSink for Records {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn write(&mut self, records: &[Arc<Record>]) -> u64 {
        for record in records {
            self.give(record);
        }
        let failed = self.sent.failed.load(Ordering::Acquire);
        failed - std::mem::replace(&mut self.told, failed)
    }

    fn end(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(super::FLUSH_WITHIN) {
            tracing::warn!(%error, "the last records of the access log were not taken");
        }
    }
}

impl opentelemetry_sdk::logs::LogExporter for Counting {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = u64::try_from(batch.iter().count()).unwrap_or(u64::MAX);
        let sent = self.0.export(batch).await;
        if sent.is_err() {
            self.1.failed.fetch_add(count, Ordering::Release);
        }
        self.1.ended.fetch_add(count, Ordering::Release);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
