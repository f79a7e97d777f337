//! `AWS_PROXY`: makes AWS's Lambda proxy event of a call, POSTs it to an HTTP backend or invokes a Lambda function with it, and
//! makes the answer of the JSON that comes back. Both are whole in memory, within Lambda's bounds and [`memory`]'s, but for an
//! answer that [`stream`]s.

mod answer;
mod event;
mod event_v1;
mod event_v2;
pub(super) mod lambda;
pub(crate) mod memory;
pub(crate) mod stream;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response,
    header::{CONTENT_TYPE, HOST},
    uri::PathAndQuery,
};
use http_body::Body as _;

pub(crate) use self::answer::{head, read};
use self::{event::Call, memory::Held};
use super::{
    AnswerBody, BoxError, breaker,
    decompress::{self, Fault},
    download::{Download, Source, Stalled},
    http_proxy::{self, Answered, Outgoing, within},
    media,
    upload::Upload,
};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    listener::limits,
    node::Node,
    response::headers,
    snapshot::{
        Snapshot,
        served::{Function, Invocation, Timeouts},
    },
};

/// Lambda's bound on what is invoked synchronously: of the event, and of what the function answers.
const PAYLOAD_BYTES_MAX: usize = 6 << 20;
/// Says that the function failed, and that the answer is its error.
pub(super) const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// What ties the function's request to its call, as its event does.
pub(super) const TRACE_FIELDS: [HeaderName; 5] = [
    headers::REQUEST_ID,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("b3"),
    HeaderName::from_static("x-amzn-trace-id"),
];

pub(super) async fn call(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    function: &Arc<Function>,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let deadline = http_proxy::deadline(snapshot, exchange, function.backend.timeouts);
    let pass = breaker::enter(node, exchange, &function.backend)?;
    let invoking = invoke(node, snapshot, exchange, function, deadline);
    let answered = within(deadline, invoking).await.ok_or_else(http_proxy::timed_out).flatten();
    breaker::leave(node, pass, answered.as_ref().map(Response::status).map_err(|it| it.kind));
    if let Some(trace) = &mut exchange.trace {
        let status = answered.as_ref().map(Response::status);
        trace.answered(status.map_err(|refused| refused.kind.code()));
    }
    let mut response = answered?;
    headers::remap(response.headers_mut(), exchange.dialect().headers);
    Ok(response)
}

async fn invoke(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    function: &Function,
    deadline: Option<Instant>,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let backend = &function.backend;
    let tenant_id = exchange.stage.as_ref().map(|stage| stage.tenant_id.clone());
    let tenant_id = tenant_id.ok_or_else(|| Kind::Internal.because("The API has no tenant."))?;
    let mut held = node.functions.enter(&tenant_id);
    let body = body(exchange, backend.timeouts.idle, PAYLOAD_BYTES_MAX, &mut held).await?;
    let target = backend.uri.render(|name| exchange.parameter(name), None, None);
    let target = PathAndQuery::try_from(target).map_err(|_| {
        Kind::BadRequestParameters.because("The path does not fit into the integration's URI.")
    })?;
    let decodes = media::decodes_answer(exchange);
    headers::prepare_request(exchange, backend);
    forward_port(exchange);
    let event = Call::of(exchange, &function.stage_variables, &body)
        .and_then(|call| call.event(function.format).ok())
        .ok_or_else(|| Kind::Internal.because("The call cannot be told to a function."))?;
    let invocation = function.lambda.as_deref().map(|lambda| lambda.invocation);
    if event.len() > invocation.map_or(PAYLOAD_BYTES_MAX, lambda::event_bytes_max) {
        return Err(too_large());
    }
    held.grow(event.len()).map_err(|memory::Full| full())?;
    drop(body);
    let mut fields = fields(exchange, backend.authority.clone());
    let target = match function.lambda.as_deref() {
        None => target,
        Some(lambda) => {
            lambda::prepare(snapshot, &tenant_id, lambda, &target, &event, &mut fields)?
        }
    };
    let (upload, progress) = Upload::of(event.into(), exchange.serving.clone());
    let outgoing = Outgoing {
        method: Method::POST,
        target,
        fields,
        upload,
        progress,
        repeats_safely: false, // a function may have done what it was asked
    };
    let answered = http_proxy::send(node, snapshot, exchange, backend, outgoing).await?;
    if function.lambda.is_some() && !answered.status.is_success() {
        return Err(lambda::refused(answered.status, &answered.headers));
    }
    let source = succeeded(answered)?;
    if !backend.buffered {
        let download = Download::new(source, exchange.node.clone(), backend.timeouts, deadline);
        let by_lambda = function.lambda.is_some();
        return stream::read(exchange, function.format, download, by_lambda, deadline).await;
    }
    let bytes = payload(exchange, backend.timeouts, source, &mut held).await?;
    if invocation == Some(Invocation::Event) {
        return Ok(lambda::accepted(exchange).map(AnswerBody::whole));
    }
    let response = answer::read(function.format, decodes, &bytes).map_err(|why| {
        if why.is_of_base64() && exchange.dialect().converts_media {
            return Kind::ApiConfigurationError.because("The function's body is not base64.");
        }
        failed(format!("The function's answer is malformed: {}.", why.0))
    })?;
    Ok(response.map(|body| AnswerBody::whole(held.keep(body))))
}

/// The caller's body, whole. Bytes must keep coming.
pub(super) async fn body(
    exchange: &mut Exchange,
    idle: Duration,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Bytes, GatewayResponse> {
    let bytes_max = limits::body_bytes_max(exchange).min(bytes_max as u64);
    let decompress = exchange.decompress.take();
    let is_decompressed = decompress.is_some();
    let (mut upload, progress) = Upload::new(
        exchange.body.take(),
        decompress,
        exchange.serving.clone(),
        exchange.bytes_in.clone(),
        bytes_max,
    );
    if upload.size_hint().lower() > bytes_max {
        return Err(too_large());
    }
    let mut alarm = upstream::Alarm::default();
    let mut body = BytesMut::new();
    loop {
        let frame = poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut upload).poll_frame(cx) {
                return Poll::Ready(Ok(frame));
            }
            alarm.poll_due(cx, progress.moved_at() + idle).map(|()| Err(()))
        });
        match frame.await {
            Err(()) => return Err(http_proxy::caller_timed_out()),
            Ok(None) => {
                if is_decompressed {
                    decompress::say_length(&mut exchange.head.headers, body.len());
                }
                return Ok(body.freeze());
            }
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue }; // an event has no trailers
                if (body.len() + data.len()) as u64 > bytes_max {
                    return Err(too_large()); // unpacked
                }
                held.grow(data.len()).map_err(|memory::Full| full())?;
                body.extend_from_slice(&data);
            }
            Ok(Some(Err(why))) => {
                return Err(match progress.fault.get() {
                    Some(Fault::TooLarge) => too_large(),
                    Some(fault) => fault.refusal(exchange),
                    None => http_proxy::upload_failed(&why, exchange),
                });
            }
        }
    }
}

/// As AWS tells it, for adapters that make URLs of it.
fn forward_port(exchange: &mut Exchange) {
    let fields = &mut exchange.head.headers;
    if exchange.peer.trusted && fields.contains_key(&FORWARDED_PORT) {
        return;
    }
    let host = fields.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let usual = if exchange.peer.tls { 443 } else { 80 };
    fields.insert(FORWARDED_PORT, port.unwrap_or(usual).into());
}

/// Those of the POST. The caller's are gone then.
fn fields(exchange: &mut Exchange, authority: HeaderValue) -> HeaderMap {
    let told = std::mem::take(&mut exchange.head.headers);
    let mut fields = HeaderMap::new();
    fields.insert(HOST, authority);
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for name in TRACE_FIELDS {
        if let Some(value) = told.get(&name) {
            fields.insert(name, value.clone());
        }
    }
    fields
}

/// Where the answer of a function comes from that did not fail.
fn succeeded(answered: Answered) -> Result<Source, GatewayResponse> {
    let Answered { status, headers, source } = answered;
    if headers.contains_key(&FUNCTION_ERROR) {
        return Err(failed("The function failed."));
    }
    if !status.is_success() {
        let code = status.as_u16();
        return Err(failed(format!("The function's host answered {code}, and no 2xx.")));
    }
    Ok(source)
}

/// What the function answered, whole.
pub(super) async fn payload(
    exchange: &Exchange,
    timeouts: Timeouts,
    source: Source,
    held: &mut Held,
) -> Result<Bytes, GatewayResponse> {
    let mut download = Download::new(source, exchange.node.clone(), timeouts, None);
    if download.size_hint().lower() > PAYLOAD_BYTES_MAX as u64 {
        return Err(answer_too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut download).poll_frame(cx)).await {
        let frame = frame.map_err(|why| broken_off(&why))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > PAYLOAD_BYTES_MAX {
            return Err(answer_too_large());
        }
        held.grow(data.len()).map_err(|memory::Full| full())?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

fn failed(why: impl Into<std::borrow::Cow<'static, str>>) -> GatewayResponse {
    Kind::FunctionFailure.because(why)
}

fn answer_too_large() -> GatewayResponse {
    failed("The function's answer is larger than 6 MiB.")
}

fn broken_off(why: &BoxError) -> GatewayResponse {
    if why.is::<Stalled>() {
        return http_proxy::timed_out();
    }
    failed("The function's answer broke off.")
}

fn too_large() -> GatewayResponse {
    Kind::RequestTooLarge
        .because("The request's body is larger than its integration takes, or this API.")
}

pub(super) fn full() -> GatewayResponse {
    Kind::TenantOverloaded
        .because("The calls of this API's owner hold as much memory here as may.")
        .with(http::header::RETRY_AFTER, "1")
}
