//! A caller's connection over our own HTTP/1.1 (`downstream`), from its first request to its end.
//!
//! What it costs while it waits is its task and no buffer. Nothing here is seen by another task, but for a request's body,
//! which whoever sends it on may read while the answer goes out.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use downstream::{
    Alarm, Asked, Call, Connection, HeadError, Length, Limits, Rest, SendError, Sending, Writer,
};
use http::{Request, Response, StatusCode, Version, header::CONNECTION};
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio_util::either::Either;
use uuid::Uuid;

use super::{
    body::RequestBody,
    client_io::{ClientStream, HeadClock, Serving},
    connection::Peer,
    pace::Watch,
    splice::Splice,
    unserved::Unserved,
};
use crate::{config, node::Node, response::Followed, serve};

/// What a request line may have beside its target: a method, and the version.
const LINE_EXTRA_BYTES: usize = 1024;
/// How long a caller who still sends after its last answer is listened to.
const LINGER: Duration = Duration::from_secs(2);

struct Caller {
    node: Rc<Node>,
    peer: Peer,
    connection: Connection<ClientStream>,
    /// Its socket takes answers as they are: there is no TLS between.
    is_plain: bool,
    clock: Rc<HeadClock>,
    pace: Watch,
    alarm: Alarm,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// All that was to say was said.
    Said,
    /// The caller is told that no more comes, and may still be sending.
    Refused,
    /// In the middle of an answer, or with nobody to say it to.
    Broken,
}

/// `read` came already. `drained` ends a connection that waits for a request.
pub(super) async fn serve(
    node: Rc<Node>,
    stream: ClientStream,
    read: &[u8],
    peer: Peer,
    drained: impl Future<Output = ()>,
) {
    let limits = bounds(&node.shared.config.limits);
    let is_plain = matches!(stream, Either::Left(_));
    let connection = Connection::new(stream, read, limits, node.pools.buffers.clone());
    let clock = Rc::<HeadClock>::default();
    let pace = Watch::new(clock.clone());
    let alarm = Alarm::default();
    let mut caller = Caller { node, peer, connection, is_plain, clock, pace, alarm };
    let mut drained = pin!(drained);
    let end = loop {
        match caller.next(drained.as_mut()).await {
            Ok(call) => {
                if let Some(end) = caller.answer(call).await {
                    break end;
                }
            }
            Err(None) => break End::Said,
            Err(Some(unserved)) => break caller.refuse(unserved).await,
        }
    };
    caller.close(end).await;
}

/// The parser's bounds leave room for the pipeline to refuse what is a little larger with its Api's looks.
fn bounds(limits: &config::Limits) -> Limits {
    Limits {
        line_bytes_max: (limits.uri_bytes_max * 2 + LINE_EXTRA_BYTES).min(usize::from(u16::MAX)),
        head_bytes_max: limits.head_bytes_max(),
    }
}

impl Caller {
    /// Waits for the next request: between two a connection may be silent, once a head has begun it must end in time.
    /// None comes where the caller leaves or is silent for too long, or what it says is no request.
    async fn next(
        &mut self,
        mut drained: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Call<ClientStream>, Option<Unserved>> {
        let limits = &self.node.shared.config.limits;
        let since = Instant::now();
        let mut head_since = None;
        poll_fn(|cx| {
            if let Poll::Ready(came) = self.connection.poll_call(cx) {
                return Poll::Ready(match came {
                    Ok(call) => call.ok_or(None),
                    Err(HeadError::Refused(error)) => Err(Some(Unserved::Refused(error))),
                    Err(HeadError::CutOff(_)) => Err(Some(Unserved::Incomplete)),
                });
            }
            if self.connection.has_begun() {
                let due = *head_since.get_or_insert_with(Instant::now) + limits.header_timeout;
                ready!(self.alarm.poll_due(cx, due));
                return Poll::Ready(Err(Some(Unserved::Late)));
            }
            if drained.as_mut().poll(cx).is_pending() {
                ready!(self.alarm.poll_due(cx, since + limits.keep_alive_timeout));
            }
            Poll::Ready(Err(None))
        })
        .await
    }

    /// Serves a request and sends its answer. `None`: another may follow.
    async fn answer(&mut self, call: Call<ClientStream>) -> Option<End> {
        let Call { request, body } = call;
        let asked = Asked::new(&request.head.method, request.head.version);
        let (keep_alive, takes_trailers) = (request.keep_alive, request.takes_trailers);
        let body = body.map_or(RequestBody::None, RequestBody::Http1);
        let request = Request::from_parts(request.head, body);
        let Some(response) = self.served(request).await else { return Some(End::Broken) };

        let (head, body) = response.into_parts();
        let keep_alive = keep_alive
            && self.connection.may_follow()
            && !self.node.shared.is_draining()
            // Who was too slow with its body is not waited for again.
            && head.status != StatusCode::REQUEST_TIMEOUT
            && !head.headers.contains_key(CONNECTION);
        let mut out = self.node.pools.buffers.take();
        let length =
            asked.encode(&mut out, head.status, &head.headers, &body.size_hint(), keep_alive);
        drop(head);
        let mut sending = Sending::new(out, body, length);
        if !takes_trailers {
            sending = sending.without_trailers();
        }
        if !self.sent(&mut sending).await {
            return Some(End::Broken);
        }
        self.node.pools.buffers.give_back(sending.into_buffer());
        if !keep_alive || length == Length::UntilClose {
            return Some(End::Said);
        }
        self.rest().await
    }

    /// `None`: the caller left meanwhile.
    async fn served(&mut self, request: Request<RequestBody>) -> Option<Response<Followed>> {
        let serving = Serving::begin(self.clock.clone());
        // Not a part of the connection, which would be as large while it waits. Made where it stays, not copied there.
        let place = Box::new_uninit();
        let mut serving = Box::into_pin(Box::write(
            place,
            serve::serve(self.node.clone(), self.peer, serving, request),
        ));
        poll_fn(|cx| {
            if let Poll::Ready(response) = serving.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            self.connection.poll_gone(cx).map(|()| None)
        })
        .await
    }

    /// Sends an answer, unless it breaks off, or the caller takes it too slowly or leaves.
    async fn sent(&mut self, answer: &mut Sending<Followed>) -> bool {
        let write_timeout = self.node.shared.config.limits.write_timeout;
        let mut writer = self.connection.writer();
        let mut splice = Splice::new(self.node.clone(), self.is_plain);
        poll_fn(|cx| {
            if let Poll::Ready(sent) = splice.poll_send(cx, answer, &mut writer) {
                if let Err(SendError::Body(error)) = &sent {
                    tracing::debug!(%error, "an answer broke off");
                }
                return Poll::Ready(sent.is_ok());
            }
            let is_late =
                self.pace.poll_late(cx).is_ready() || self.poll_stuck(cx, write_timeout).is_ready();
            if is_late {
                self.node.shared.metrics.callers_cut.inc();
                return Poll::Ready(false);
            }
            self.connection.poll_gone(cx).map(|()| false)
        })
        .await
    }

    /// Ready where the caller takes nothing for so long.
    fn poll_stuck(&mut self, cx: &mut Context<'_>, timeout: Duration) -> Poll<()> {
        match self.connection.stuck_since() {
            Some(since) => self.alarm.poll_due(cx, since + timeout),
            None => Poll::Pending,
        }
    }

    /// Waits until nothing is left of a request: whoever has its body goes on with it, and what nobody wants is read
    /// here, where it is little and comes soon.
    async fn rest(&mut self) -> Option<End> {
        let header_timeout = self.node.shared.config.limits.header_timeout;
        let mut since = None;
        poll_fn(|cx| {
            if let Poll::Ready(rest) = self.connection.poll_rest(cx) {
                return Poll::Ready((rest == Rest::Unread).then_some(End::Said));
            }
            if self.connection.is_held() {
                return Poll::Pending;
            }
            let due = *since.get_or_insert_with(Instant::now) + header_timeout;
            self.alarm.poll_due(cx, due).map(|()| Some(End::Said))
        })
        .await
    }

    /// Says why there is no request, as far as the caller takes that.
    async fn refuse(&mut self, unserved: Unserved) -> End {
        let id = Uuid::now_v7();
        let answer = unserved.answer(id);
        unserved.record_as(id, &self.node, self.peer, Version::HTTP_11);
        if answer.is_empty() {
            return End::Broken;
        }
        let mut rest = answer.as_bytes();
        let written = self.in_time(|writer, cx| {
            while !rest.is_empty() {
                match ready!(Pin::new(&mut *writer).poll_write(cx, rest)) {
                    Ok(bytes) if bytes > 0 => rest = &rest[bytes..],
                    _ => return Poll::Ready(false),
                }
            }
            Pin::new(writer).poll_flush(cx).map(|flushed| flushed.is_ok())
        });
        match written.await {
            false => End::Broken,
            true if unserved == Unserved::Late => End::Said,
            true => End::Refused,
        }
    }

    /// Closes the connection, and has whoever still sends read what it was told: closed with bytes unread, the kernel
    /// would take the last answer back.
    async fn close(mut self, end: End) {
        if end == End::Broken {
            return;
        }
        let told =
            self.in_time(|writer, cx| Pin::new(writer).poll_shutdown(cx).map(|shut| shut.is_ok()));
        if !told.await || end == End::Said && !self.connection.has_unread() {
            return;
        }
        let due = Instant::now() + LINGER;
        poll_fn(|cx| {
            let gone = self.connection.poll_linger(cx);
            if gone.is_ready() { gone } else { self.alarm.poll_due(cx, due) }
        })
        .await;
    }

    /// Does something with the way out, for as long as a caller may take nothing.
    async fn in_time(
        &mut self,
        mut work: impl FnMut(&mut Writer<ClientStream>, &mut Context<'_>) -> Poll<bool>,
    ) -> bool {
        let due = Instant::now() + self.node.shared.config.limits.write_timeout;
        let mut writer = self.connection.writer();
        poll_fn(|cx| {
            let done = work(&mut writer, cx);
            if done.is_ready() { done } else { self.alarm.poll_due(cx, due).map(|()| false) }
        })
        .await
    }
}
