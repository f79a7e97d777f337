//! `HTTP_PROXY` to a backend that is spoken to in HTTP/2 (RFC 9113), gRPC's among them: a stream for each call, on
//! connections that calls share.
//!
//! h2 is used as it is, and not hyper's client over it: that takes a stream which its backend cancels for one that
//! ended, and gives a request's body away before it is known whether the backend takes the request.

mod answer;
mod sending;
mod session;
mod sessions;

use std::{future::Future, future::poll_fn, pin::Pin, rc::Rc, task::Poll, time::Instant};

use h2::{Reason, RecvStream, client::ResponseFuture};
use http::{
    HeaderMap, Method, Request, Response, Uri,
    header::{CONTENT_LENGTH, HOST},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use upstream::answer::FIELDS_MAX;

pub(super) use self::{answer::Answer, sessions::Sessions};
use self::{
    answer::Held,
    sending::{Body, Sending, Stopped},
    sessions::Unconnected,
};
use super::{
    BoxError,
    download::Source,
    http_proxy::{self, Answered, Outgoing, Way},
    upload::{Progress, Upload},
};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    snapshot::served::{HttpProxy, Timeouts},
    telemetry::Phase,
};

/// Why there is no answer.
enum Failed {
    Stream(h2::Error),
    /// The request's body failed on our side of it.
    Upload(BoxError),
}

/// Sends the request and waits for the head of the answer. A request that surely had no effect is sent once more: one
/// that the backend says it did not look at, or one that repeats safely and whose connection turned out dead.
pub(super) async fn exchange(
    node: &Node,
    way: &Way<'_>,
    exchange: &mut Exchange,
    outgoing: Outgoing,
) -> Result<Answered, GatewayResponse> {
    let Way { tenant, proxy, .. } = *way;
    let Outgoing { method, target, fields, upload, progress, repeats_safely } = outgoing;
    let head = head(proxy, method, target, fields, &upload)?;
    let mut body = Body::new(upload);
    let mut connect_by = Instant::now() + proxy.timeouts.connect;
    let mut place = http_proxy::enter(node, way, exchange, connect_by).await?;
    let mut repeated = false;
    loop {
        let policy = &tenant.egress;
        let entered = sessions::enter(node, &place, &proxy.target, policy, connect_by).await;
        let slot = match entered {
            Ok(slot) => slot,
            Err(error) => {
                place.judge(node, true);
                connect_by = Instant::now() + proxy.timeouts.connect;
                // Nothing was sent: another target of a VPC link may have the call.
                if !http_proxy::move_on(node, way, exchange, &mut place, connect_by).await? {
                    return Err(not_connected(error));
                }
                continue;
            }
        };
        progress.start();
        let began = Instant::now();
        let is_whole = body.is_end_stream();
        let (error, unprocessed) = match slot.begin(head.clone(), is_whole) {
            Err(error) => (Failed::Stream(error), true),
            Ok((response, stream)) => {
                let mut sending = Sending::new(stream, body);
                let mut left = (!is_whole).then_some(&mut sending);
                let answered = first_byte(response, &mut left, &progress, proxy.timeouts).await;
                let is_sent = left.is_none();
                match answered {
                    Some(Ok(response)) => {
                        node.metrics.phase(Phase::UpstreamFirstByte, began.elapsed());
                        sending.answered();
                        place.judge(node, response.status().is_server_error());
                        let idle = proxy.timeouts.idle;
                        let rest = (!is_sent).then_some((sending, progress, idle));
                        return answered_with(response, Held { slot, _place: place }, rest);
                    }
                    Some(Err(error)) => {
                        let unprocessed =
                            matches!(&error, Failed::Stream(error) if is_unprocessed(error));
                        body = sending.into_body();
                        (error, unprocessed)
                    }
                    None if progress.awaits_caller() => {
                        return Err(http_proxy::caller_timed_out());
                    }
                    None => {
                        slot.doubt();
                        place.judge(node, true);
                        return Err(http_proxy::timed_out());
                    }
                }
            }
        };
        let dead = slot.reused && matches!(&error, Failed::Stream(error) if error.is_io());
        let harmless = unprocessed || dead && repeats_safely;
        if !(harmless && !repeated && body.rewind() && place.endpoint.retries.retry()) {
            if matches!(&error, Failed::Stream(_)) {
                place.judge(node, true);
            }
            return Err(not_answered(error, exchange, &progress));
        }
        repeated = true;
        connect_by = Instant::now() + proxy.timeouts.connect;
    }
}

/// The request's head as the backend gets it.
fn head(
    proxy: &HttpProxy,
    method: Method,
    target: PathAndQuery,
    mut fields: HeaderMap,
    upload: &Upload,
) -> Result<Request<()>, GatewayResponse> {
    let unfit = |what| Kind::BadRequestParameters.because(what);
    let host = fields.remove(HOST).unwrap_or_else(|| proxy.authority.clone());
    let authority = Authority::try_from(host.as_bytes())
        .map_err(|_| unfit("The host does not fit into an HTTP/2 request."))?;
    let says_empty = fields.remove(CONTENT_LENGTH).is_some();
    match upload.size_hint().exact() {
        Some(bytes) if !upload.is_end_stream() => {
            fields.insert(CONTENT_LENGTH, bytes.into());
        }
        _ if says_empty && upload.is_end_stream() => {
            fields.insert(CONTENT_LENGTH, 0.into());
        }
        _ => {}
    }
    let scheme = match proxy.target.scheme {
        egress::Scheme::Http => Scheme::HTTP,
        egress::Scheme::Https => Scheme::HTTPS,
    };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build();
    let uri = uri.map_err(|_| unfit("The path does not fit into an HTTP/2 request."))?;
    if method == Method::CONNECT {
        return Err(unfit("CONNECT makes a tunnel, not a request."));
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = fields;
    Ok(request)
}

/// Sends what is `left`, which is taken once that is done, and waits for an answer's head. The backend's time starts when
/// it has the whole request; until then bytes must keep moving. `None`: it is over.
async fn first_byte(
    mut response: ResponseFuture,
    left: &mut Option<&mut Sending>,
    progress: &Progress,
    timeouts: Timeouts,
) -> Option<Result<Response<RecvStream>, Failed>> {
    let (mut alarm, mut stopped) = (upstream::Alarm::default(), false);
    poll_fn(|cx| {
        if let Some(sending) = left.as_mut().filter(|_| !stopped)
            && let Poll::Ready(sent) = sending.poll_send(cx)
        {
            match sent {
                Ok(()) => *left = None,
                // It may have answered before it stopped listening.
                Err(Stopped::Stream) => stopped = true,
                Err(Stopped::Upload(error)) => {
                    return Poll::Ready(Some(Err(Failed::Upload(error))));
                }
            }
        }
        if let Poll::Ready(answered) = Pin::new(&mut response).poll(cx) {
            return Poll::Ready(Some(answered.map_err(Failed::Stream)));
        }
        let limit = if progress.awaits_caller() { timeouts.idle } else { timeouts.first_byte };
        alarm.poll_due(cx, progress.moved_at() + limit).map(|()| None)
    })
    .await
}

fn answered_with(
    response: Response<RecvStream>,
    held: Held,
    rest: Option<(Sending, Rc<Progress>, std::time::Duration)>,
) -> Result<Answered, GatewayResponse> {
    let (parts, body) = response.into_parts();
    if parts.headers.len() > FIELDS_MAX {
        let why = format!("The backend's answer has more than {FIELDS_MAX} fields.");
        return Err(Kind::IntegrationFailure.because(why));
    }
    let source = Source::Stream(Box::new(Answer::new(&parts.headers, body, held, rest)));
    Ok(Answered { status: parts.status, headers: parts.headers, source })
}

/// Whether the backend says that it did nothing for the request (RFC 9113 §8.7): it refused the stream, or its GOAWAY
/// names an earlier one as the last that it looked at. h2 ends no other stream with a GOAWAY that came.
fn is_unprocessed(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || refused)
}

fn not_connected(error: Unconnected) -> GatewayResponse {
    match error {
        Unconnected::Connect(error) => http_proxy::not_connected(&error),
        Unconnected::NotHttp2(error) => {
            if let Some(error) = error {
                tracing::debug!(%error, "a backend does not speak HTTP/2");
            }
            Kind::IntegrationFailure.because(
                "The backend does not speak HTTP/2, which is the integration's protocolVersion.",
            )
        }
    }
}

fn not_answered(error: Failed, exchange: &mut Exchange, progress: &Progress) -> GatewayResponse {
    if let Some(fault) = progress.fault.get() {
        return fault.refusal(exchange);
    }
    let error = match error {
        Failed::Upload(why) => return http_proxy::upload_failed(&why, exchange),
        Failed::Stream(error) => error,
    };
    tracing::debug!(%error, "a backend did not answer");
    let reason = error.reason();
    Kind::IntegrationFailure.because(match reason {
        Some(why) if error.is_remote() && error.is_go_away() => {
            format!("The backend closed its connection before it answered: {why}.")
        }
        Some(why) if error.is_remote() => {
            format!("The backend reset the stream before it answered: {why}.")
        }
        Some(why) => format!("The backend does not keep to HTTP/2: {why}."),
        None => "The backend broke off before it answered.".to_owned(),
    })
}
