//! The trace that a call belongs to (W3C Trace Context), and the node's spans of it where spans are exported.
//!
//! A node without a tracer continues the traces that callers bring and starts none: a backend would take an
//! unsampled `traceparent` of ours for a decision that nobody made.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use crate::{exchange::Exchange, gateway_response::Kind};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// `{version}-{trace id}-{parent id}-{flags}` of version 00.
const TRACEPARENT_BYTES: usize = 55;
/// The flags that have a meaning: sampled, and random trace id (Trace Context level 2).
const FLAGS: u8 = 0b11;

/// A call's place in its trace.
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// Ours, which the access log names.
    pub(crate) span: SpanId,
    pub(crate) flags: TraceFlags,
    spans: Option<Box<Spans>>,
}

/// The node's spans of one call. Dropped, they end.
struct Spans {
    request: Span,
    upstream: Option<Span>,
}

/// Where a caller's trace stands.
#[derive(Debug, PartialEq)]
struct Parent {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl Trace {
    /// Continues the caller's trace; without a usable one, begins one where there is a `tracer`. A `traceparent`
    /// that is not usable goes, and its `tracestate` with it.
    pub(crate) fn begin(tracer: Option<&SdkTracer>, headers: &mut HeaderMap) -> Option<Self> {
        let parent = parent(headers);
        if parent.is_none() {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
        let Some(tracer) = tracer else {
            let Parent { trace, flags, .. } = parent?;
            let span = SpanId::from(rand::random::<u64>().max(1));
            return Some(Self { id: trace, span, flags, spans: None });
        };
        let context = parent.map_or_else(Context::new, |Parent { trace, span, flags }| {
            let state = TraceState::default(); // the field passes through as it came
            Context::new()
                .with_remote_span_context(SpanContext::new(trace, span, flags, true, state))
        });
        let request = tracer.span_builder("request").with_kind(SpanKind::Server);
        let request = request.start_with_context(tracer, &context);
        let ours = request.span_context();
        let (id, span, flags) = (ours.trace_id(), ours.span_id(), ours.trace_flags());
        let spans = request.is_recording().then(|| Box::new(Spans { request, upstream: None }));
        Some(Self { id, span, flags, spans })
    }

    /// Gives the backend its parent, and begins the span of its call.
    pub(crate) fn forward(
        &mut self,
        tracer: Option<&SdkTracer>,
        authority: &HeaderValue,
        method: &Method,
        headers: &mut HeaderMap,
    ) {
        let mut parent = self.span;
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
            parent = upstream.span_context().span_id();
            spans.upstream = Some(upstream);
        }
        let text = format!("00-{}-{parent}-{:02x}", self.id, self.flags.to_u8() & FLAGS);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
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

/// The caller's, if there is exactly one and it can be used.
fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let only = values.next()?;
    if values.next().is_some() {
        return None;
    }
    parse(only.as_bytes())
}

/// Reads a `traceparent` (Trace Context §3.2): lower-case hexadecimal, no id all zero, not version ff. A version
/// after 00 may go on after its flags.
fn parse(value: &[u8]) -> Option<Parent> {
    let (known, rest) = value.split_at_checked(TRACEPARENT_BYTES)?;
    let [version @ .., b'-'] = &known[..3] else { return None };
    let ([trace @ .., b'-'], [span @ .., b'-']) = (&known[3..36], &known[36..53]) else {
        return None;
    };
    let goes_on = match hex(version)? {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let (trace, span) = (hex(trace)?, u64::try_from(hex(span)?).ok()?);
    let flags = u8::try_from(hex(&known[53..])?).ok()?;
    (goes_on && trace != 0 && span != 0).then(|| Parent {
        trace: TraceId::from(trace),
        span: SpanId::from(span),
        flags: TraceFlags::new(flags & FLAGS),
    })
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_traceparent_is_taken_strictly() {
        let taken = |text: &str| parse(text.as_bytes()).is_some();
        let good = format!("00-{TRACE}-{SPAN}-01");
        let parsed = parse(good.as_bytes()).unwrap();
        assert_eq!(
            (parsed.trace.to_string(), parsed.span.to_string()),
            (TRACE.into(), SPAN.into())
        );
        assert_eq!(parsed.flags, TraceFlags::SAMPLED);
        assert_eq!(parse(format!("00-{TRACE}-{SPAN}-ff").as_bytes()).unwrap().flags.to_u8(), FLAGS);

        assert!(taken(&format!("01-{TRACE}-{SPAN}-00")));
        assert!(taken(&format!("cc-{TRACE}-{SPAN}-00-what-comes")));
        for refused in [
            String::new(),
            format!("{good}-more"),
            format!("{good} "),
            good[..54].to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-00more"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
        ] {
            assert!(!taken(&refused), "{refused}");
        }
    }

    #[test]
    fn two_traceparents_are_none() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            let value = HeaderValue::try_from(format!("00-{TRACE}-{SPAN}-01")).unwrap();
            headers.append(TRACEPARENT, value);
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        assert!(Trace::begin(None, &mut headers).is_none());
        assert!(headers.is_empty());
    }
}
