//! `HTTP_PROXY`: passes a call through to a backend and its answer back, both as streams.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Instant,
};

use bytes::Bytes;
use egress::{ConnectError, Protocol};
use futures_util::{FutureExt, future::Either};
use http::{HeaderMap, Method, Response, StatusCode, header::CONTENT_LENGTH, uri::PathAndQuery};
use http_body::Body;
use proto::inquiry::v1::Level;
use tokio::time::{Sleep, timeout_at};
use upstream::{Answer, Error, Full, Length, Sending, request};

use super::{
    AnswerBody, BoxError,
    balance::{Choice, Pick},
    breaker, buffered,
    connect::connect,
    download::{Download, Source},
    early::Early,
    hedge, http2,
    pool::{Line, Loan, Place},
    retry::Tries,
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
        served::{HttpProxy, Tenant, Timeouts},
    },
    telemetry::{Bound, Phase},
};

/// The path and query that are asked for, and the fields.
type Head = Result<(PathAndQuery, HeaderMap), GatewayResponse>;

/// What of a call goes to the backend.
pub(super) struct Asks {
    pub(super) head: fn(&mut Exchange, &HttpProxy) -> Head,
    /// In the place of the caller's body, which was read.
    pub(super) body: Option<Bytes>,
}

/// All of it, as it is.
pub(super) const ALL: Asks = Asks { head: all, body: None };

pub(super) async fn call(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    proxy: &HttpProxy,
    asks: Asks,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let deadline = deadline(snapshot, exchange, proxy.timeouts);
    let pass = breaker::enter(node, exchange, proxy)?;
    let answered = exchange_with_backend(node, snapshot, exchange, proxy, asks);
    let answered = within(deadline, answered).await.ok_or_else(timed_out).flatten();
    breaker::leave(node, pass, answered.as_ref().map(|it| it.status).map_err(|it| it.kind));
    if let Some(trace) = &mut exchange.trace {
        let answer = answered.as_ref();
        trace.answered(answer.map(|it| it.status).map_err(|refused| refused.kind.code()));
    }
    let Answered { status, mut headers, source } = answered?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(
            Kind::IntegrationFailure.because("The backend switched protocols without being asked.")
        );
    }
    headers::prepare_answer(&mut headers, exchange.dialect().headers);
    if proxy.method == Some(Method::HEAD) && exchange.head.method != Method::HEAD {
        headers.remove(CONTENT_LENGTH); // of a body that this caller asked for, and does not get
    }
    let download = Download::new(source, exchange.node.clone(), proxy.timeouts, deadline);
    let body = delivered(node, exchange, proxy, download, deadline).await?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// A backend's body as the integration's callers get it: whole, or as it comes.
pub(super) async fn delivered(
    node: &Node,
    exchange: &Exchange,
    proxy: &HttpProxy,
    download: Download,
    deadline: Option<Instant>,
) -> Result<AnswerBody, GatewayResponse> {
    if let Some(stage) = exchange.stage.as_ref().filter(|_| proxy.buffered) {
        // On the heap: calls whose answers stream carry no room for it.
        return Box::pin(buffered::read(node, &stage.tenant_id, download)).await;
    }
    exchange.serving.pace().whole_by(deadline);
    Ok(AnswerBody::Download(Box::new(download)))
}

/// When the exchange with a backend must be over: by its integration, and by what its tenant may take at most.
pub(super) fn deadline(
    snapshot: &Snapshot,
    exchange: &Exchange,
    timeouts: Timeouts,
) -> Option<Instant> {
    let tenant = exchange.stage.as_deref().and_then(|stage| snapshot.tenant(&stage.tenant_id));
    let limits = [timeouts.total, tenant.and_then(|tenant| tenant.integration_timeout)];
    limits.into_iter().flatten().min().map(|limit| Instant::now() + limit)
}

/// The head of an answer, and where its body comes from.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) source: Source,
}

/// What goes to the backend.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) fields: HeaderMap,
    pub(super) upload: Upload,
    pub(super) progress: Rc<Progress>,
    /// Whether it may be sent twice.
    pub(super) repeats_safely: bool,
}

async fn exchange_with_backend(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    proxy: &HttpProxy,
    asks: Asks,
) -> Result<Answered, GatewayResponse> {
    let bytes_max = limits::body_bytes_max(exchange);
    let (upload, progress) = match asks.body {
        Some(body) => Upload::of(body, exchange.serving.clone()),
        None => Upload::new(
            exchange.body.take(),
            exchange.decompress.take(),
            exchange.serving.clone(),
            exchange.bytes_in.clone(),
            bytes_max,
        ),
    };
    let method = proxy.method.clone().unwrap_or_else(|| exchange.head.method.clone());
    let repeats_safely = is_idempotent(&method) && upload.is_end_stream();
    let (target, fields) = (asks.head)(exchange, proxy)?;
    let outgoing = Outgoing { method, target, fields, upload, progress, repeats_safely };
    send(node, snapshot, exchange, proxy, outgoing).await
}

/// Sends what goes out to the backend in its protocol, and waits for the head of the answer.
pub(super) async fn send(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    proxy: &HttpProxy,
    outgoing: Outgoing,
) -> Result<Answered, GatewayResponse> {
    let stage = exchange.stage.clone();
    let tenant = stage.as_deref().and_then(|stage| snapshot.tenant(&stage.tenant_id));
    let tenant = tenant.ok_or_else(|| Kind::Internal.because("The API has no tenant."))?;
    if let Some(id) = &proxy.lacks_certificate {
        let why = format!("The client certificate {id} is not on this node.");
        return Err(Kind::ApiConfigurationError.because(why));
    }
    let way = Way { tenant, proxy, choice: choice(snapshot, tenant, exchange, proxy, &outgoing)? };
    match proxy.protocol {
        Protocol::Http1 => over_http1(node, &way, exchange, outgoing).await,
        // On the heap: calls over HTTP/1.1 carry no room for it.
        Protocol::Http2 => Box::pin(http2::exchange(node, &way, exchange, outgoing)).await,
    }
}

/// Whose call goes where.
pub(super) struct Way<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) proxy: &'a HttpProxy,
    /// Among the targets of a VPC link.
    choice: Option<Box<Choice>>,
}

/// On the heap: calls that go through no VPC link carry no room for it.
fn choice(
    snapshot: &Snapshot,
    tenant: &Tenant,
    exchange: &Exchange,
    proxy: &HttpProxy,
    outgoing: &Outgoing,
) -> Result<Option<Box<Choice>>, GatewayResponse> {
    let Some(id) = &proxy.vpc_link_id else { return Ok(None) };
    let link = snapshot.vpc_link(&tenant.id, id).ok_or_else(|| {
        Kind::ApiConfigurationError.because(format!("The VPC link {id} is not on this node."))
    })?;
    let timeouts = proxy.timeouts;
    let patience = timeouts.total.map_or(timeouts.first_byte, |it| it.min(timeouts.first_byte));
    Ok(Some(Box::new(Choice::new(link.clone(), exchange, &outgoing.fields, Some(patience)))))
}

/// Sends the request and waits for the head of the answer. A request that surely had no effect is sent once
/// more, on a new connection: one that was not sent at all, or one that repeats safely and whose waiting
/// connection turned out dead. What else is sent again is for the integration's retry policy to say.
async fn over_http1(
    node: &Node,
    way: &Way<'_>,
    exchange: &mut Exchange,
    outgoing: Outgoing,
) -> Result<Answered, GatewayResponse> {
    let Way { tenant, proxy, .. } = *way;
    let Outgoing { method, target, fields, upload, progress, repeats_safely } = outgoing;
    let whole = upload.is_end_stream();
    let (mut request, mut progress) = (request(node, &method, &target, &fields, upload), progress);
    let mut tries = Tries::new(proxy.retry_policy.as_deref(), is_idempotent(&method), whole);
    let timeouts = tries.timeouts(proxy.timeouts);
    let mut connect_by = Instant::now() + timeouts.connect;
    let mut place = enter(node, way, exchange, connect_by).await?;
    let first = place.endpoint.clone(); // whose budget it is that a call is sent again by
    let retries = &first.retries;
    let mut fresh = false;
    loop {
        let connected = connect(node, &place, &proxy.target, &tenant.egress, connect_by, fresh);
        let mut line = match connected.await {
            Ok(line) => line,
            Err(error) => {
                place.judge(node, true);
                // Nothing was sent: another target of a VPC link may have the call at once.
                connect_by = Instant::now() + timeouts.connect;
                if move_on(node, way, exchange, &mut place, connect_by).await? {
                    continue;
                }
                let pause = if tries.unconnected(&error) { tries.again(retries) } else { None };
                let Some(pause) = pause else { return Err(not_connected(&error)) };
                connect_by = again(node, pause, timeouts).await;
                continue;
            }
        };
        line.connection.begin(node.pools.buffers.take());
        progress.start();
        let began = Instant::now();
        let (method, target, fields, budget) = (&method, &target, &fields, retries);
        let call = hedge::Call { node, way, method, target, fields, timeouts, budget };
        let own = hedge::Try {
            line: &mut line,
            place: &mut place,
            request: &mut request,
            progress: &mut progress,
        };
        let answered = hedge::first_byte(call, exchange, &mut tries, own).await;
        let error = match answered {
            Err(refusal) => {
                let is_late = !progress.awaits_caller();
                if is_late {
                    place.judge(node, true);
                }
                let pause = if is_late && tries.timed_out() { tries.again(retries) } else { None };
                let Some(pause) = pause.filter(|_| request.rewind()) else { return Err(refusal) };
                drop(line);
                connect_by = again(node, pause, timeouts).await;
                move_on(node, way, exchange, &mut place, connect_by).await?;
                continue;
            }
            Ok(Ok(Answer { status, headers, .. })) => {
                place.judge(node, status.is_server_error());
                if tries.answered(status)
                    && request.is_sent()
                    && let Some(pause) = tries.again(retries)
                    && request.rewind()
                {
                    node.pools.give_up(line, &place);
                    connect_by = again(node, pause, timeouts).await;
                    move_on(node, way, exchange, &mut place, connect_by).await?;
                    continue;
                }
                node.metrics.phase(Phase::UpstreamFirstByte, began.elapsed());
                let loan = Loan { line, place };
                let source = if request.is_sent() {
                    node.pools.buffers.give_back(request.into_buffer());
                    Source::Whole(loan)
                } else {
                    let idle = proxy.timeouts.idle;
                    Source::Early(Early::start(&exchange.node, loan, request, progress, idle))
                };
                return Ok(Answered { status, headers, source });
            }
            Ok(Err(error)) => error,
        };
        // Only a connection that was used before can be dead without anyone's knowing.
        let dead = line.reused && !fresh && matches!(error, Error::Unanswered(_));
        let may_repeat = || repeats_safely && place.endpoint.retries.retry();
        let repeats = dead && (request.is_unsent() || may_repeat());
        let pause = if !repeats && tries.unanswered(&error) { tries.again(retries) } else { None };
        if !repeats && !matches!(error, Error::Upload(_)) {
            place.judge(node, true);
        }
        if !((repeats || pause.is_some()) && request.rewind()) {
            return Err(not_answered(&error, exchange, &progress));
        }
        fresh = true;
        drop(line);
        connect_by = match pause {
            Some(pause) => {
                let connect_by = again(node, pause, timeouts).await;
                move_on(node, way, exchange, &mut place, connect_by).await?;
                connect_by
            }
            None => Instant::now() + timeouts.connect,
        };
    }
}

/// Counts a call that is sent again, once its pause is over; until when it may take to get a connection.
async fn again(node: &Node, pause: Pin<Box<Sleep>>, timeouts: Timeouts) -> Instant {
    node.shared.metrics.backends.retries.inc();
    pause.await;
    Instant::now() + timeouts.connect
}

/// A place at the backend, by `deadline`: of a VPC link at the target that is chosen.
pub(super) async fn enter(
    node: &Node,
    way: &Way<'_>,
    exchange: &mut Exchange,
    deadline: Instant,
) -> Result<Place, GatewayResponse> {
    let pick = match &way.choice {
        Some(choice) => Some(choice.pick(None).ok_or_else(|| {
            Kind::IntegrationFailure.because("No target of the VPC link takes calls.")
        })?),
        None => None,
    };
    enter_at(node, way, exchange, pick, deadline).await
}

/// Takes the call to another target of its VPC link, where there is one. On the heap: calls seldom do.
pub(super) async fn move_on(
    node: &Node,
    way: &Way<'_>,
    exchange: &mut Exchange,
    place: &mut Place,
    deadline: Instant,
) -> Result<bool, GatewayResponse> {
    let pick = way.choice.as_ref().and_then(|choice| choice.pick(place.pick.as_ref()));
    let Some(pick) = pick else { return Ok(false) };
    *place = Box::pin(enter_at(node, way, exchange, Some(pick), deadline)).await?;
    Ok(true)
}

/// A place for a second try beside that one: of a VPC link at another target, where there is one.
pub(super) async fn enter_beside(node: &Node, way: &Way<'_>, place: &Place) -> Option<Place> {
    let pick = match &way.choice {
        Some(choice) => Some(choice.pick(place.pick.as_ref()).or_else(|| choice.pick(None))?),
        None => None,
    };
    let limits = &node.shared.config.limits;
    node.pools.enter_beside(&way.tenant.id, way.proxy, pick, limits).await.ok()
}

async fn enter_at(
    node: &Node,
    way: &Way<'_>,
    exchange: &mut Exchange,
    pick: Option<Pick>,
    deadline: Instant,
) -> Result<Place, GatewayResponse> {
    let limits = &node.shared.config.limits;
    let entering = node.pools.enter(&way.tenant.id, way.proxy, pick, limits);
    let place = within(Some(deadline), entering).await.ok_or_else(timed_out)?;
    place.map_err(|Full| too_many(node, exchange))
}

/// The request as an HTTP/1.1 backend gets it.
pub(super) fn request(
    node: &Node,
    method: &Method,
    target: &PathAndQuery,
    fields: &HeaderMap,
    upload: Upload,
) -> Sending<Upload> {
    let length = match upload.size_hint().exact() {
        _ if upload.is_end_stream() => Length::None,
        Some(bytes) => Length::Exact(bytes),
        None => Length::Chunked,
    };
    let mut head = node.pools.buffers.take();
    request::encode(&mut head, method, target, fields, length);
    Sending::new(head, upload, length)
}

/// The caller's fields are gone then.
fn all(exchange: &mut Exchange, proxy: &HttpProxy) -> Head {
    let is_default =
        matches!(exchange.route().map(|route| &route.key), Some(plan::RouteKey::Default));
    // A catch-all whose URI has no place for the path passes the whole of it on.
    let whole_path = (is_default && !proxy.uri.has_parameters()).then_some(exchange.path.as_str());
    let target = target(exchange, proxy, whole_path, exchange.head.uri.query())?;
    headers::prepare_request(exchange, proxy);
    Ok((target, std::mem::take(&mut exchange.head.headers)))
}

/// The integration's URI with the route's parameters in it, and what else there is to it.
pub(super) fn target(
    exchange: &Exchange,
    proxy: &HttpProxy,
    whole_path: Option<&str>,
    query: Option<&str>,
) -> Result<PathAndQuery, GatewayResponse> {
    let uri = proxy.uri.render(|name| exchange.parameter(name), whole_path, query);
    PathAndQuery::try_from(uri).map_err(|_| unfit())
}

pub(super) fn unfit() -> GatewayResponse {
    Kind::BadRequestParameters.because("The path does not fit into the integration's URI.")
}

/// Sends, and waits for an answer's head. The backend's time starts when it has the whole request; until then bytes
/// must keep moving.
pub(super) async fn first_byte(
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
    answered
        .await
        .ok_or_else(|| if progress.awaits_caller() { caller_timed_out() } else { timed_out() })
}

/// Not an `async fn`, which would be twice as large as its work.
pub(super) fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = T>,
) -> impl Future<Output = Option<T>> {
    match deadline {
        Some(deadline) => Either::Left(timeout_at(deadline.into(), work).map(Result::ok)),
        None => Either::Right(work.map(Some)),
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

pub(super) fn not_connected(error: &ConnectError) -> GatewayResponse {
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
    if let Some(fault) = progress.fault.get() {
        return fault.refusal(exchange);
    }
    match error {
        Error::Upload(why) => upload_failed(why, exchange),
        Error::Answer(why) => {
            Kind::IntegrationFailure.because(format!("The backend does not speak HTTP/1.1: {why}."))
        }
        _ => Kind::IntegrationFailure.because("The backend broke off before it answered."),
    }
}

pub(super) fn upload_failed(why: &BoxError, exchange: &mut Exchange) -> GatewayResponse {
    if !is_gone(why, exchange.head.version) {
        return Kind::BadRequestBody.because("The request's body broke off.");
    }
    exchange.end(true); // nobody gets this answer
    Kind::BadRequestBody.because("The caller left.")
}

pub(super) fn too_large() -> GatewayResponse {
    Kind::RequestTooLarge.because("The request's body is larger than this API takes.")
}

pub(super) fn caller_timed_out() -> GatewayResponse {
    Kind::RequestTimeout.because("The request's body did not come in time.")
}

pub(super) fn timed_out() -> GatewayResponse {
    Kind::IntegrationTimeout.because("The backend did not answer in time.")
}
