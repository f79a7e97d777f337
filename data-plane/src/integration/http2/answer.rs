//! The body of an answer that comes on a stream, with its trailers, and what is left of its request beside it.

use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;
use upstream::Alarm;

use super::{
    sending::{Sending, Stopped},
    session::Slot,
};
use crate::{
    integration::{BoxError, pool::Place, upload::Progress},
    response::headers,
};

/// Dropped before its end, its stream is reset and the backend learns of it.
pub(in crate::integration) struct Answer {
    body: RecvStream,
    /// What is to come of it, where its head said so.
    left: Option<u64>,
    ended: bool,
    alarm: Alarm,
    rest: Option<Rest>,
    held: Rc<Held>,
}

/// What a call has of its backend until both its sides are through.
pub(super) struct Held {
    pub(super) slot: Slot,
    pub(super) _place: Place,
}

/// What was not sent of the request when the answer came: it gets a task of its own, for whoever takes the answer may
/// send its request first, and take nothing until then.
struct Rest {
    task: AbortHandle,
    answered: Rc<Cell<bool>>,
}

impl Answer {
    /// `sending`: what is not sent yet of the request, and how long it may stand still once the answer has ended.
    pub(super) fn new(
        fields: &HeaderMap,
        body: RecvStream,
        held: Held,
        sending: Option<(Sending, Rc<Progress>, Duration)>,
    ) -> Self {
        let length = fields.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let left = if body.is_end_stream() { Some(0) } else { length };
        let held = Rc::new(held);
        let rest = sending.map(|(sending, progress, idle)| {
            let answered = Rc::<Cell<bool>>::default();
            let rest = send_rest(sending, progress, idle, answered.clone(), held.clone());
            Rest { task: tokio::task::spawn_local(rest).abort_handle(), answered }
        });
        Self { body, left, ended: false, alarm: Alarm::default(), rest, held }
    }

    pub(in crate::integration) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match ready!(self.body.poll_data(cx)) {
            Some(Ok(data)) => {
                // Of a stream that is reset meanwhile there is no window to open.
                let _ = self.body.flow_control().release_capacity(data.len());
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Err(error)) => Err(error),
            None => ready!(self.body.poll_trailers(cx)),
        };
        self.ended = true;
        Poll::Ready(match next {
            Ok(trailers) => trailers.map(|mut trailers| {
                headers::keep_trailing(&mut trailers);
                Ok(Frame::trailers(trailers))
            }),
            // Said in words: what the backend's code means to its client, it does not mean to ours.
            Err(error) => Some(Err(format!("the backend broke off: {error}").into())),
        })
    }

    pub(in crate::integration) fn poll_due(
        &mut self,
        cx: &mut Context<'_>,
        due: Instant,
    ) -> Poll<()> {
        ready!(self.alarm.poll_due(cx, due));
        self.held.slot.doubt();
        Poll::Ready(())
    }

    pub(in crate::integration) fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    pub(in crate::integration) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// All of it was read. What is left of the request goes out, unless it stands still.
    pub(in crate::integration) fn answered(mut self) {
        self.ended = true;
        if let Some(rest) = self.rest.take() {
            rest.answered.set(true);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(rest) = &self.rest {
            rest.task.abort();
        }
    }
}

async fn send_rest(
    mut sending: Sending,
    progress: Rc<Progress>,
    idle: Duration,
    answered: Rc<Cell<bool>>,
    _held: Rc<Held>,
) {
    let (mut alarm, mut since) = (Alarm::default(), Instant::now());
    let sent = poll_fn(|cx| {
        if let Poll::Ready(sent) = sending.poll_send(cx) {
            return Poll::Ready(Some(sent));
        }
        loop {
            // While the answer comes it is for others to say how long that takes.
            since = since.max(progress.moved_at());
            ready!(alarm.poll_due(cx, since + idle));
            if answered.get() {
                return Poll::Ready(None);
            }
            since = Instant::now();
        }
    });
    if let Some(Err(Stopped::Upload(_))) | None = sent.await {
        sending.cancel(); // whoever takes the answer learns of it by that
    }
}
