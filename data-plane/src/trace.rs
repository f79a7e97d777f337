//! The trace that a call belongs to, and the node's spans of it where spans are exported.
//!
//! A node without a tracer continues the traces that callers bring and starts none: a backend would take an
//! unsampled `traceparent` of ours for a decision that nobody made.

mod propagation;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use self::propagation::Parent;
pub use self::propagation::Propagator;
use crate::{exchange::Exchange, gateway_response::Kind};

/// In `tracestate`: it is left to us whether the trace is kept.
const UNDECIDED: (&str, &str) = ("tollgate", "undecided");

/// A call's place in its trace.
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// Ours, which the access log names.
    pub(crate) span: SpanId,
    pub(crate) flags: TraceFlags,
    /// Whether anybody has decided if the trace is kept.
    decided: bool,
    spans: Option<Box<Spans>>,
}

/// The node's spans of one call. Dropped, they end.
struct Spans {
    request: Span,
    upstream: Option<Span>,
}

impl Trace {
    /// Continues the caller's trace, as the last of `propagators` that finds one has it; without a usable one, begins one where
    /// there is a `tracer`.
    pub(crate) fn begin(
        tracer: Option<&SdkTracer>,
        propagators: &[Propagator],
        headers: &mut HeaderMap,
    ) -> Option<Self> {
        // Each is asked: what cannot be used must not go on.
        let parent = propagators.iter().fold(None, |parent: Option<Parent>, propagator| {
            let taken = propagator.take(headers);
            taken.or(parent)
        });
        let Some(tracer) = tracer else {
            let Parent { trace, flags, decided, .. } = parent?;
            let span = SpanId::from(rand::random::<u64>().max(1));
            return Some(Self { id: trace, span, flags, decided, spans: None });
        };
        let context = parent.map_or_else(Context::new, |parent| {
            // The field itself passes through as it came.
            let state = if parent.decided { None } else { Some(UNDECIDED) };
            let state = TraceState::from_key_value(state).unwrap_or_default();
            let Parent { trace, span, flags, .. } = parent;
            Context::new()
                .with_remote_span_context(SpanContext::new(trace, span, flags, true, state))
        });
        let request = tracer.span_builder("request").with_kind(SpanKind::Server);
        let request = request.start_with_context(tracer, &context);
        let ours = request.span_context();
        let (id, span, flags) = (ours.trace_id(), ours.span_id(), ours.trace_flags());
        let spans = request.is_recording().then(|| Box::new(Spans { request, upstream: None }));
        Some(Self { id, span, flags, decided: true, spans })
    }

    /// Gives the backend its parent, and begins the span of its call.
    pub(crate) fn forward(
        &mut self,
        tracer: Option<&SdkTracer>,
        propagators: &[Propagator],
        authority: &HeaderValue,
        method: &Method,
        headers: &mut HeaderMap,
    ) {
        let mut span = self.span;
        if let (Some(spans), Some(tracer)) = (&mut self.spans, tracer) {
            let context =
                Context::new().with_remote_span_context(spans.request.span_context().clone());
            let authority = authority.to_str().unwrap_or_default().to_owned();
            let upstream = tracer
                .span_builder(known(method))
                .with_kind(SpanKind::Client)
                .with_attributes([
                    KeyValue::new("http.request.method", known(method)),
                    KeyValue::new("server.address", authority),
                ])
                .start_with_context(tracer, &context);
            span = upstream.span_context().span_id();
            spans.upstream = Some(upstream);
        }
        let Self { id: trace, flags, decided, .. } = *self;
        for propagator in propagators {
            propagator.give(&Parent { trace, span, flags, decided }, headers);
        }
    }

    /// The backend's answer has begun, or will not come.
    pub(crate) fn answered(&mut self, answer: Result<StatusCode, &'static str>) {
        let upstream = self.spans.as_mut().and_then(|spans| spans.upstream.take());
        let Some(mut upstream) = upstream else { return };
        match answer {
            Ok(status) => {
                let code = i64::from(status.as_u16());
                upstream.set_attribute(KeyValue::new("http.response.status_code", code));
                if status.is_client_error() || status.is_server_error() {
                    upstream.set_status(Status::error(""));
                }
            }
            Err(code) => {
                upstream.set_attribute(KeyValue::new("error.type", code));
                upstream.set_status(Status::error(""));
            }
        }
        upstream.end();
    }

    /// The call is over. Names, counts and times only, as in the access log.
    pub(crate) fn end(&mut self, exchange: &Exchange, aborted: bool) {
        let Some(spans) = self.spans.take() else { return };
        let mut span = spans.request;
        let method = known(&exchange.head.method);
        // A route's name is its method and its path's template.
        let route = exchange.route().map(|route| route.name.clone());
        let template = route.as_deref().map(|name| name.split_once(' ').map_or(name, |it| it.1));
        span.update_name(
            template.map_or(method.to_owned(), |template| format!("{method} {template}")),
        );
        span.set_attribute(KeyValue::new("http.request.method", method));
        let status = i64::from(exchange.status);
        span.set_attribute(KeyValue::new("http.response.status_code", status));
        let version = if exchange.head.version == Version::HTTP_2 { "2" } else { "1.1" };
        span.set_attribute(KeyValue::new("network.protocol.version", version));
        span.set_attribute(KeyValue::new("request.id", exchange.id.clone()));
        if let Some(template) = template {
            span.set_attribute(KeyValue::new("http.route", template.to_owned()));
        }
        if let Some(stage) = &exchange.stage {
            span.set_attribute(KeyValue::new("tenant.id", stage.tenant_id.clone()));
            span.set_attribute(KeyValue::new("api.id", stage.api_id.clone()));
            span.set_attribute(KeyValue::new("stage", stage.name.clone()));
        }
        let failure = exchange.refused.map(Kind::code).or(aborted.then_some("aborted"));
        if let Some(code) = failure {
            span.set_attribute(KeyValue::new("error.type", code));
        }
        if exchange.status >= 500 || aborted {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// Callers may make methods up; spans know these.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "_OTHER",
    }
}
