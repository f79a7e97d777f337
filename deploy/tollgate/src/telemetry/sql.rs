//! Queries as spans. The driver tells of each query when it has ended, inside the span that asked.

use opentelemetry::trace::{Span, SpanKind, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;

/// Makes a span of each query of a sampled trace.
pub(super) struct Queries(pub(super) SdkTracer);

/// What the driver tells. The text holds places for values, never values.
#[derive(Default)]
struct Query {
    /// How it begins, or all of it.
    beginning: String,
    text: String,
    seconds: f64,
}

pub(super) fn is_query(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.target() == "sqlx::query"
}

impl<S: Subscriber> Layer<S> for Queries {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let now = SystemTime::now();
        let context = Context::current();
        if !context.span().span_context().is_sampled() {
            return;
        }
        let mut query = Query::default();
        event.record(&mut query);
        let took = Duration::try_from_secs_f64(query.seconds).unwrap_or_default();
        // The text is empty where its beginning is all of it.
        let text = query.text.trim();
        let text = if text.is_empty() { query.beginning } else { text.to_owned() };
        let summary = summary(&text);
        let span = self.0.span_builder(summary.clone()).with_kind(SpanKind::Client);
        let attributes = [
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.query.summary", summary),
            KeyValue::new("db.query.text", text),
        ];
        span.with_start_time(now.checked_sub(took).unwrap_or(now))
            .with_attributes(attributes)
            .start_with_context(&self.0, &context)
            .end_with_timestamp(now);
    }
}

/// What is done, and to which table: `insert consumer` (OpenTelemetry's `db.query.summary`).
fn summary(text: &str) -> String {
    let other = |it: char| !it.is_alphanumeric() && it != '_';
    let mut words = text.split(other).filter(|word| !word.is_empty()).map(str::to_lowercase);
    let operation = words.next().unwrap_or_default();
    let before = match &*operation {
        "update" => Some("update"),
        "insert" => Some("into"),
        "select" | "delete" => Some("from"),
        _ => None,
    };
    let target = match before {
        Some("update") => words.next(),
        Some(before) => words.skip_while(|word| word != before).nth(1),
        None => None,
    };
    match target {
        Some(target) if target != "select" => format!("{operation} {target}"),
        _ => operation,
    }
}

impl Visit for Query {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.seconds = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.beginning),
            "db.statement" => value.clone_into(&mut self.text),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn a_query_is_called_by_what_it_does_to_which_table() {
        for (text, name) in [
            ("insert into consumer (id, name)\n values ($1, $2)", "insert consumer"),
            ("select id,\n  name from consumer where id = $1", "select consumer"),
            ("UPDATE cell set version = $2", "update cell"),
            ("delete from session where id = $1", "delete session"),
            ("select count(*) from (select 1 from api) as counted", "select"),
            ("select set_config('app.tenant_id', $1, true)", "select"),
            ("with due as (delete from job returning id) select id from due", "with"),
            ("BEGIN", "begin"),
            ("", ""),
        ] {
            assert_eq!(summary(text), name, "{text}");
        }
    }
}
