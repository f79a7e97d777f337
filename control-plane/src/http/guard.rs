//! The layers around every answer.

use std::any::Any;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_http::HeaderExtractor;
use tracing::Instrument;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::app::App;
use crate::error::Error;
use crate::rest::request_id;
use crate::telemetry;

/// From the head of a request to the head of its answer, the body's arrival included.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Only our own files and calls, no frame, nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

const FOR_BROWSERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), browsing-topics=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
         magnetometer=(), microphone=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Counts and times the request, and writes its one log line. Neither holds a path as it was sent, a query, a
/// header or a body: any of them may carry a secret.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());

    let template = route.as_ref().map_or("-", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        otel.name = format!("{method} {template}"),
        otel.status_code = Empty,
        request.id = request_id::current(),
        http.request.method = method,
        http.route = template,
        http.response.status_code = Empty,
    );
    // Unless spans are exported there is nobody to continue a trace for.
    if !span.is_disabled() {
        let headers = HeaderExtractor(request.headers());
        let parent = opentelemetry::global::get_text_map_propagator(|it| it.extract(&headers));
        let _ = span.set_parent(parent); // it cannot have begun yet
    }

    let mut response = next.run(request).instrument(span.clone()).await;

    if let Some(trace) = trace_of(&span) {
        response.headers_mut().insert(TRACERESPONSE, trace);
    }
    let route = template;
    let (status, took) = (response.status().as_u16(), started.elapsed());
    span.record("http.response.status_code", status);
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    telemetry::answered(method, route, status, took);
    let (address, request_id) = (address.map(tracing::field::display), request_id::current());
    let duration_ms = took.as_secs_f64() * 1000.0;
    tracing::info!(
        target: "access",
        {
            request.id = request_id,
            client.address = address,
            http.method = method,
            http.route = route,
            http.status = status,
            duration_ms,
        },
        "request"
    );
    response
}

/// The trace that the request has become a part of, where traces are exported: a caller can look it up, and our console
/// knows that it is of use to begin one (W3C Trace Context, level 2).
fn trace_of(span: &tracing::Span) -> Option<HeaderValue> {
    let context = span.context();
    let ours = context.span().span_context().clone();
    let (trace, span, flags) = (ours.trace_id(), ours.span_id(), ours.trace_flags().to_u8());
    let text = ours.is_valid().then(|| format!("00-{trace}-{span}-{flags:02x}"))?;
    HeaderValue::try_from(text).ok()
}

/// Clients may make methods up; labels and logs know these.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

pub(super) async fn add_headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in FOR_BROWSERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if app.config.public_url.starts_with("https:") {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

pub(super) async fn bound_time(
    State(within): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    let answer = tokio::time::timeout(within, next.run(request)).await;
    answer.unwrap_or_else(|_| Error::Timeout.into_response())
}

/// A panic is one request's failure. The hook has written where; the caller learns only that there was one.
#[expect(clippy::needless_pass_by_value, reason = "the layer calls it with a box")]
pub(super) fn answer_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "a panic without a message".to_owned());
    Error::internal(format!("a handler panicked: {text}")).into_response()
}
