//! `HTTP_PROXY`: passes a call through to a backend and its answer back, both as streams.

use std::{future::Future, pin::pin, rc::Rc, sync::Arc, time::Instant};

use egress::ConnectError;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header::TRANSFER_ENCODING,
};
use http_body::Body;
use hyper::body::Incoming;

use super::{
    AnswerBody,
    download::Download,
    pool::{self, Place, Sender},
    upload::{Progress, Upload},
};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    listener::limits,
    node::Node,
    response::headers,
    snapshot::{
        Snapshot,
        served::{HttpProxy, Timeouts},
    },
    telemetry::Phase,
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
        trace.answered(answer.map(|it| it.0.status()).map_err(|refused| refused.kind.code()));
    }
    let (answer, connection, place) = answered?;
    let (mut head, body) = answer.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(
            Kind::IntegrationFailure.because("The backend switched protocols without being asked.")
        );
    }
    headers::remove_hop_by_hop(&mut head.headers);
    head.version = Version::default();
    head.extensions.clear();
    exchange.serving.pace().whole_by(deadline);
    let node = exchange.node.clone();
    let download = Download::new(body, connection, place, node, proxy.timeouts, deadline);
    Ok(Response::from_parts(head, AnswerBody::Download(Box::new(download))))
}

type Answered = (Response<Incoming>, Sender, Place);

/// Sends the request and waits for the head of the answer. A request that surely had no effect is sent once
/// more, on a new connection: one that was not sent at all, or one that repeats safely and whose waiting
/// connection turned out dead.
async fn exchange_with_backend(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    proxy: &Arc<HttpProxy>,
) -> Result<Answered, GatewayResponse> {
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
    let repeats_safely = is_idempotent(&exchange.head.method) && upload.is_end_stream();
    let mut request = request(exchange, proxy, upload)?;
    let mut fresh = false;
    loop {
        let connect = proxy.timeouts.connect;
        let connection =
            pool::connect(node, &tenant.id, &proxy.target, &tenant.egress, connect, fresh)
                .await
                .map_err(|error| not_connected(&error))?;
        let (mut sender, place, reused) = (connection.sender, connection.place, connection.reused);
        // Only a connection that was used before can be dead without anyone's knowing.
        let again = (repeats_safely && reused && !fresh).then(|| copy(&request, &progress));
        progress.start();
        let began = Instant::now();
        let sent = first_byte(sender.try_send_request(request), &progress, proxy.timeouts).await?;
        let mut failed = match sent {
            Ok(answer) => {
                node.metrics.phase(Phase::UpstreamFirstByte, began.elapsed());
                return Ok((answer, sender, place));
            }
            Err(failed) => failed,
        };
        request = match (failed.take_message(), again) {
            (Some(unsent), _) if reused && !fresh => unsent,
            (None, Some(again)) if is_dead(failed.error()) => again,
            _ => return Err(not_answered(failed.error(), &progress)),
        };
        fresh = true;
    }
}

/// The same request once more; it has no body.
fn copy(request: &Request<Upload>, progress: &Rc<Progress>) -> Request<Upload> {
    let mut copy = Request::new(Upload::empty(progress));
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    copy
}

/// The request as the backend gets it.
fn request(
    exchange: &mut Exchange,
    proxy: &HttpProxy,
    upload: Upload,
) -> Result<Request<Upload>, GatewayResponse> {
    let is_default =
        matches!(exchange.route().map(|route| &route.key), Some(plan::RouteKey::Default));
    // A catch-all whose URI has no place for the path passes the whole of it on.
    let whole_path = (is_default && !proxy.uri.has_parameters()).then_some(exchange.path.as_str());
    let query = exchange.head.uri.query();
    let uri = proxy.uri.render(|name| exchange.parameter(name), whole_path, query);
    let uri = Uri::try_from(uri).map_err(|_| {
        Kind::BadRequestParameters.because("The path does not fit into the integration's URI.")
    })?;
    let is_of_unknown_length = !upload.is_end_stream() && upload.size_hint().exact().is_none();
    let mut request = Request::new(upload);
    *request.method_mut() = proxy.method.clone().unwrap_or_else(|| exchange.head.method.clone());
    *request.uri_mut() = uri;
    headers::prepare_request(exchange, proxy);
    *request.headers_mut() = std::mem::take(&mut exchange.head.headers);
    if is_of_unknown_length {
        // Unsaid, hyper sends none with a GET or a HEAD.
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Ok(request)
}

/// Waits for an answer's head. The backend's time starts when it has the whole request; until then bytes must
/// keep moving.
async fn first_byte<T>(
    answer: impl Future<Output = T>,
    progress: &Rc<Progress>,
    timeouts: Timeouts,
) -> Result<T, GatewayResponse> {
    let mut answer = pin!(answer);
    let deadline = || {
        let limit = if progress.awaits_caller() { timeouts.idle } else { timeouts.first_byte };
        progress.moved_at() + limit
    };
    // Who is waited for changes without this being told, so it looks as often as the shorter of both asks for.
    let look_after = timeouts.idle.min(timeouts.first_byte);
    loop {
        let look = deadline().min(Instant::now() + look_after);
        if let Some(answer) = within(Some(look), answer.as_mut()).await {
            return Ok(answer);
        }
        if deadline() <= Instant::now() {
            return Err(if progress.awaits_caller() {
                Kind::RequestTimeout.because("The request's body did not come in time.")
            } else {
                timed_out()
            });
        }
    }
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

/// Whether a connection broke before any byte of an answer.
fn is_dead(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_reset(error)
}

fn is_reset(error: &hyper::Error) -> bool {
    let source =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|error| {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
    })
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

fn not_answered(error: &hyper::Error, progress: &Progress) -> GatewayResponse {
    tracing::debug!(%error, "a backend did not answer");
    if progress.too_large.get() {
        Kind::RequestTooLarge.because("The request's body is larger than this API takes.")
    } else if progress.broken.get() {
        Kind::BadRequestBody.because("The request's body broke off.")
    } else {
        Kind::IntegrationFailure.because("The backend broke off before it answered.")
    }
}

fn timed_out() -> GatewayResponse {
    Kind::IntegrationTimeout.because("The backend did not answer in time.")
}
