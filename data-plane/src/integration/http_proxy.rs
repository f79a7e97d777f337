//! `HTTP_PROXY`: passes a call through to a backend and its answer back, both as streams.

use std::{
    future::{Future, poll_fn},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use egress::ConnectError;
use http::{Method, Response, StatusCode, header::CONTENT_LENGTH, uri::PathAndQuery};
use http_body::Body;
use proto::inquiry::v1::Level;
use upstream::{Answer, Error, Full, Length, Sending, request};

use super::{
    AnswerBody,
    connect::connect,
    download::{Download, Source},
    early::Early,
    pool::{Line, Loan},
    upload::{Progress, Upload, is_gone},
};
use crate::{
    exchange::Exchange,
    explain::Decision,
    gateway_response::{GatewayResponse, Kind},
    listener::limits,
    node::Node,
    response::headers,
    snapshot::{
        Snapshot,
        served::{HttpProxy, Timeouts},
    },
    telemetry::{Bound, Phase},
};

pub(super) async fn call(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    proxy: &Arc<HttpProxy>,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let deadline = proxy.timeouts.total.map(|total| Instant::now() + total);
    let answered = within(deadline, exchange_with_backend(node, snapshot, exchange, proxy)).await;
    let answered = answered.ok_or_else(timed_out).flatten();
    if let Some(trace) = &mut exchange.trace {
        let answer = answered.as_ref();
        trace.answered(answer.map(|it| it.0.status).map_err(|refused| refused.kind.code()));
    }
    let (mut answer, source) = answered?;
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(
            Kind::IntegrationFailure.because("The backend switched protocols without being asked.")
        );
    }
    headers::remove_hop_by_hop(&mut answer.headers);
    if proxy.method == Some(Method::HEAD) && exchange.head.method != Method::HEAD {
        answer.headers.remove(CONTENT_LENGTH); // of a body that this caller asked for, and does not get
    }
    exchange.serving.pace().whole_by(deadline);
    let download = Download::new(source, exchange.node.clone(), proxy.timeouts, deadline);
    let mut response = Response::new(AnswerBody::Download(Box::new(download)));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

/// Sends the request and waits for the head of the answer. A request that surely had no effect is sent once
/// more, on a new connection: one that was not sent at all, or one that repeats safely and whose waiting
/// connection turned out dead.
async fn exchange_with_backend(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    proxy: &Arc<HttpProxy>,
) -> Result<(Answer, Source), GatewayResponse> {
    let stage = exchange.stage.clone();
    let tenant = stage.as_deref().and_then(|stage| snapshot.tenant(&stage.tenant_id));
    let tenant = tenant.ok_or_else(|| Kind::Internal.because("The API has no tenant."))?;
    let bytes_max = limits::body_bytes_max(exchange);
    let (upload, progress) = Upload::new(
        exchange.body.take(),
        exchange.serving.clone(),
        exchange.bytes_in.clone(),
        bytes_max,
    );
    let method = proxy.method.clone().unwrap_or_else(|| exchange.head.method.clone());
    let repeats_safely = is_idempotent(&method) && upload.is_end_stream();
    let mut request = request(node, exchange, proxy, &method, upload)?;
    let mut connect_by = Instant::now() + proxy.timeouts.connect;
    let limits = &node.shared.config.limits;
    let entering = node.pools.enter(&tenant.id, &proxy.target, limits);
    let place = within(Some(connect_by), entering).await.ok_or_else(timed_out)?;
    let place = place.map_err(|Full| too_many(node, exchange))?;
    let mut fresh = false;
    loop {
        let mut line = connect(node, &place, &proxy.target, &tenant.egress, connect_by, fresh)
            .await
            .map_err(|error| not_connected(&error))?;
        line.connection.begin(node.pools.buffers.take());
        progress.start();
        let began = Instant::now();
        let is_head = method == Method::HEAD;
        let answered = first_byte(&mut line, &mut request, is_head, &progress, proxy.timeouts);
        let error = match answered.await? {
            Ok(answer) => {
                node.metrics.phase(Phase::UpstreamFirstByte, began.elapsed());
                let loan = Loan { line, place };
                if request.is_sent() {
                    node.pools.buffers.give_back(request.into_buffer());
                    return Ok((answer, Source::Whole(loan)));
                }
                let idle = proxy.timeouts.idle;
                let early = Early::start(&exchange.node, loan, request, progress, idle);
                return Ok((answer, Source::Early(early)));
            }
            Err(error) => error,
        };
        // Only a connection that was used before can be dead without anyone's knowing.
        let dead = line.reused && !fresh && matches!(error, Error::Unanswered(_));
        let may_repeat = || repeats_safely && place.endpoint.retries.retry();
        if !(dead && (request.is_unsent() || may_repeat()) && request.rewind()) {
            return Err(not_answered(&error, exchange, &progress));
        }
        fresh = true;
        connect_by = Instant::now() + proxy.timeouts.connect;
    }
}

/// The request as the backend gets it.
fn request(
    node: &Node,
    exchange: &mut Exchange,
    proxy: &HttpProxy,
    method: &Method,
    upload: Upload,
) -> Result<Sending<Upload>, GatewayResponse> {
    let is_default =
        matches!(exchange.route().map(|route| &route.key), Some(plan::RouteKey::Default));
    // A catch-all whose URI has no place for the path passes the whole of it on.
    let whole_path = (is_default && !proxy.uri.has_parameters()).then_some(exchange.path.as_str());
    let query = exchange.head.uri.query();
    let uri = proxy.uri.render(|name| exchange.parameter(name), whole_path, query);
    let target = PathAndQuery::try_from(uri).map_err(|_| {
        Kind::BadRequestParameters.because("The path does not fit into the integration's URI.")
    })?;
    headers::prepare_request(exchange, proxy);
    let fields = std::mem::take(&mut exchange.head.headers);
    let length = match upload.size_hint().exact() {
        _ if upload.is_end_stream() => Length::None,
        Some(bytes) => Length::Exact(bytes),
        None => Length::Chunked,
    };
    let mut head = node.pools.buffers.take();
    request::encode(&mut head, method, &target, &fields, length);
    Ok(Sending::new(head, upload, length))
}

/// Sends, and waits for an answer's head. The backend's time starts when it has the whole request; until then bytes
/// must keep moving.
async fn first_byte(
    line: &mut Line,
    request: &mut Sending<Upload>,
    is_head: bool,
    progress: &Rc<Progress>,
    timeouts: Timeouts,
) -> Result<Result<Answer, Error>, GatewayResponse> {
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = line.connection.poll_answer(cx, request, is_head) {
            return Poll::Ready(Some(answered));
        }
        let limit = if progress.awaits_caller() { timeouts.idle } else { timeouts.first_byte };
        line.alarm.poll_due(cx, progress.moved_at() + limit).map(|()| None)
    });
    answered.await.ok_or_else(|| {
        if progress.awaits_caller() {
            Kind::RequestTimeout.because("The request's body did not come in time.")
        } else {
            timed_out()
        }
    })
}

async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work).await.ok(),
        None => Some(work.await),
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

fn not_connected(error: &ConnectError) -> GatewayResponse {
    tracing::debug!(%error, "no connection to a backend");
    match error {
        ConnectError::Timeout => timed_out(),
        ConnectError::Forbidden(_) | ConnectError::Own => {
            Kind::ApiConfigurationError.because(format!("The backend cannot be called: {error}."))
        }
        _ => Kind::IntegrationFailure.because(format!("The backend cannot be reached: {error}.")),
    }
}

fn too_many(node: &Node, exchange: &mut Exchange) -> GatewayResponse {
    node.metrics.shed(Bound::Backend);
    let max = node.shared.config.limits.backend_in_flight_max;
    exchange.decision = Some(Decision::of_share("backend-share", Level::Backend, max));
    Kind::TenantOverloaded
        .because("As many calls wait for this backend as may.")
        .with(http::header::RETRY_AFTER, "1")
}

fn not_answered(error: &Error, exchange: &mut Exchange, progress: &Progress) -> GatewayResponse {
    tracing::debug!(%error, "a backend did not answer");
    if progress.too_large.get() {
        return Kind::RequestTooLarge.because("The request's body is larger than this API takes.");
    }
    match error {
        Error::Upload(why) if is_gone(why, exchange.head.version) => {
            exchange.end(true); // nobody gets this answer
            Kind::BadRequestBody.because("The caller left.")
        }
        Error::Upload(_) => Kind::BadRequestBody.because("The request's body broke off."),
        Error::Answer(why) => {
            Kind::IntegrationFailure.because(format!("The backend does not speak HTTP/1.1: {why}."))
        }
        _ => Kind::IntegrationFailure.because("The backend broke off before it answered."),
    }
}

fn timed_out() -> GatewayResponse {
    Kind::IntegrationTimeout.because("The backend did not answer in time.")
}
