//! The trace that a call belongs to, and the node's spans of it where spans are exported.
//!
//! A node without a tracer continues the traces that callers bring and starts none: a backend would take an
//! unsampled `traceparent` of ours for a decision that nobody made.

mod propagation;
pub(crate) mod sampling;

use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{SdkTracer, Span};

pub(crate) use self::propagation::Parent;
pub use self::{
    propagation::Propagator,
    sampling::{Head, Tail},
};
use crate::{exchange::Exchange, gateway_response::Kind};

/// In `tracestate`: it is left to us whether the trace is kept.
const UNDECIDED: (&str, &str) = ("tollgate", "undecided");

/// On each span of a trace that was kept when its call was over: `error` or `latency`.
pub const KEPT_FOR: &str = "sampling.kept_for";

/// A call's place in its trace.
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// Ours, which the access log names.
    pub(crate) span: SpanId,
    pub(crate) flags: TraceFlags,
    /// Whether anybody has decided if the trace is kept.
    decided: bool,
    /// What the stage's rules decided; `None`: there are none.
    head: Option<Head>,
    spans: Option<Box<Spans>>,
}

/// The node's spans of one call. Dropped, they end.
struct Spans {
    request: Span,
    upstream: Option<Span>,
    /// When the backend's answer began, of a call that is watched: its spans end together.
    answered: Option<SystemTime>,
}

/// The caller's trace, as the last of `propagators` that finds one has it.
pub(crate) fn parent(propagators: &[Propagator], headers: &mut HeaderMap) -> Option<Parent> {
    // Each is asked: what cannot be used must not go on.
    propagators.iter().fold(None, |parent: Option<Parent>, propagator| {
        let taken = propagator.take(headers);
        taken.or(parent)
    })
}

impl Trace {
    /// Continues the caller's trace; without one, begins one where there is a `tracer`. Its sampler decides unless the
    /// stage's rules did.
    pub(crate) fn begin(
        tracer: Option<&SdkTracer>,
        parent: Option<Parent>,
        head: Option<Head>,
        started: Instant,
    ) -> Option<Self> {
        let span = || SpanId::from(rand::random::<u64>().max(1));
        let Some(tracer) = tracer else {
            let Parent { trace: id, flags, decided, .. } = parent?;
            return Some(Self { id, span: span(), flags, decided, head: None, spans: None });
        };
        if head == Some(Head::Drop) {
            let id = parent.map(|parent| parent.trace);
            let id = id.unwrap_or_else(|| TraceId::from(rand::random::<u128>().max(1)));
            let flags = TraceFlags::default();
            return Some(Self { id, span: span(), flags, decided: true, head, spans: None });
        }
        let context = parent.map_or_else(Context::new, |parent| {
            // The field itself passes through as it came.
            let state = if parent.decided { None } else { Some(UNDECIDED) };
            let state = TraceState::from_key_value(state).unwrap_or_default();
            let Parent { trace, span, flags, .. } = parent;
            Context::new()
                .with_remote_span_context(SpanContext::new(trace, span, flags, true, state))
        });
        let request = tracer.span_builder("request").with_kind(SpanKind::Server);
        let request = match SystemTime::now().checked_sub(started.elapsed()) {
            Some(started) => request.with_start_time(started),
            None => request,
        };
        let request = request.start_with_context(tracer, &ruled(context, head));
        let ours = request.span_context();
        let (id, span, flags) = (ours.trace_id(), ours.span_id(), ours.trace_flags());
        let spans = request
            .is_recording()
            .then(|| Box::new(Spans { request, upstream: None, answered: None }));
        Some(Self { id, span, flags, decided: true, head, spans })
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
                .start_with_context(tracer, &ruled(context, self.head));
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
        let Some(spans) = &mut self.spans else { return };
        let Some(mut upstream) = spans.upstream.take() else { return };
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
        if let Some(Head::Watch(_)) = self.head {
            spans.answered = Some(SystemTime::now());
            spans.upstream = Some(upstream);
        } else {
            upstream.end();
        }
    }

    /// The call is over. Names, counts and times only, as in the access log.
    pub(crate) fn end(&mut self, exchange: &Exchange, aborted: bool) {
        let Some(spans) = self.spans.take() else { return };
        let Spans { request: mut span, upstream, answered } = *spans;
        if let Some(Head::Watch(tail)) = self.head {
            let took = exchange.started.elapsed();
            // Spans without a reason are not exported.
            let Some(reason) = tail.keeps(exchange.status, took) else { return };
            span.set_attribute(KeyValue::new(KEPT_FOR, reason));
            if let Some(mut upstream) = upstream {
                upstream.set_attribute(KeyValue::new(KEPT_FOR, reason));
                upstream.end_with_timestamp(answered.unwrap_or_else(SystemTime::now));
            }
        }
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

/// Tells the tracer's sampler what was decided.
fn ruled(context: Context, head: Option<Head>) -> Context {
    match head {
        Some(head) => context.with_value(head),
        None => context,
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
