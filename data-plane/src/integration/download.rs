//! A backend's body on its way to a caller.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::{
    BoxError,
    pool::{Place, Sender},
};
use crate::{node::Node, snapshot::served::Timeouts, telemetry::Phase};

/// Read to its end, its connection waits for the next request;
/// dropped before, the connection is closed and the backend learns of it.
pub(crate) struct Download {
    body: Incoming,
    connection: Option<(Sender, Place)>,
    node: Rc<Node>,
    idle: Duration,
    deadline: Option<Instant>,
    began: Instant,
    moved_at: Instant,
    /// Armed when the backend first keeps us waiting.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Download {
    pub(super) fn new(
        body: Incoming,
        sender: Sender,
        place: Place,
        node: Rc<Node>,
        timeouts: Timeouts,
        deadline: Option<Instant>,
    ) -> Self {
        let began = Instant::now();
        let mut download = Self {
            body,
            connection: Some((sender, place)),
            node,
            idle: timeouts.idle,
            deadline,
            began,
            moved_at: began,
            alarm: None,
        };
        if download.body.is_end_stream() {
            download.done();
        }
        download
    }

    fn done(&mut self) {
        if let Some((sender, place)) = self.connection.take() {
            self.node.metrics.phase(Phase::UpstreamBody, self.began.elapsed());
            self.node.pools.give_back(sender, &place);
        }
    }

    /// Whether nothing came for too long, or the whole takes too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let idle = self.moved_at + self.idle;
            let due = self.deadline.map_or(idle, |deadline| deadline.min(idle));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            let alarm =
                self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            match alarm.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                // It was set before the last piece came.
                Poll::Ready(()) => alarm.as_mut().reset(due.into()),
            }
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                std::task::ready!(self.poll_late(cx));
                self.connection = None;
                Poll::Ready(Some(Err("the backend stopped sending".into())))
            }
            Poll::Ready(None) => {
                self.done();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.moved_at = Instant::now();
                if self.body.is_end_stream() {
                    self.done();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.connection = None;
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
