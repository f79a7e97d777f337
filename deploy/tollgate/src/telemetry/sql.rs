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
    summary: String,
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
        // The text is empty where the summary is all of it.
        let text = query.text.trim();
        let text = if text.is_empty() { query.summary.clone() } else { text.to_owned() };
        let span = self.0.span_builder(query.summary).with_kind(SpanKind::Client);
        let attributes =
            [KeyValue::new("db.system.name", "postgresql"), KeyValue::new("db.query.text", text)];
        span.with_start_time(now.checked_sub(took).unwrap_or(now))
            .with_attributes(attributes)
            .start_with_context(&self.0, &context)
            .end_with_timestamp(now);
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
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.text),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
