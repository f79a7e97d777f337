//! A backend's body on its way to a caller.

use std::{
    io::ErrorKind,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use egress::Stream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{BoxError, early::Early, http2, pool::Loan};
use crate::{node::Node, pipe::Pipe, snapshot::served::Timeouts, telemetry::Phase};

/// Read to its end, its connection waits for the next request;
/// dropped before, the connection is closed, or the stream reset, and the backend learns of it.
pub(crate) struct Download {
    source: Source,
    node: Rc<Node>,
    idle: Duration,
    deadline: Option<Instant>,
    began: Instant,
    moved_at: Instant,
    /// What of it was read before its caller gets any: it comes first.
    kept: Option<Box<Kept>>,
}

/// Read, and not given to the caller yet.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) bytes: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// Nothing came for too long.
#[derive(Debug, thiserror::Error)]
#[error("the backend stopped sending")]
pub(super) struct Stalled;

/// Where the body comes from.
pub(super) enum Source {
    Whole(Loan),
    /// The request is still on its way.
    Early(Early),
    /// HTTP/2's.
    Stream(Box<http2::Answer>),
    Ended,
    /// It broke off, of which the caller is to learn yet.
    Broken(Option<BoxError>),
}

impl Download {
    pub(super) fn new(
        source: Source,
        node: Rc<Node>,
        timeouts: Timeouts,
        deadline: Option<Instant>,
    ) -> Self {
        let began = Instant::now();
        let idle = timeouts.idle;
        let mut download =
            Self { source, node, idle, deadline, began, moved_at: began, kept: None };
        download.end_if_read();
        download
    }

    /// Puts back what was read of it.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.kept = Some(Box::new(kept));
    }

    /// How much of it a pipe may be filled with next.
    pub(super) fn unread(&self) -> u64 {
        if self.kept.is_some() { 0 } else { self.source.unread() }
    }

    /// Fills an empty pipe with what comes next of it; gives how many bytes that are.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<Option<Result<u64, BoxError>>> {
        let polled = self.source.poll_fill(cx, pipe);
        self.minded(cx, polled)
    }

    /// Minds what became of asking for more of it: a backend that is silent, one that breaks off, and its last byte.
    fn minded<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<Option<Result<T, BoxError>>>,
    ) -> Poll<Option<Result<T, BoxError>>> {
        let polled = match polled {
            Poll::Ready(polled) => polled,
            Poll::Pending => {
                ready!(self.poll_late(cx));
                Some(Err(Stalled.into()))
            }
        };
        match polled {
            Some(Err(error)) if !matches!(self.source, Source::Broken(_)) => {
                tracing::debug!(%error, "a backend's answer broke off");
                self.source = Source::Broken(Some(error));
                // Next time, so that what came before leaves before: an error ends the caller's connection at once.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Ok(_)) => {
                self.moved_at = Instant::now();
                self.end_if_read();
            }
            _ => self.end_if_read(),
        }
        Poll::Ready(polled)
    }

    /// Ends it with its last byte, so that the connection can serve before the caller has taken that.
    fn end_if_read(&mut self) {
        if !self.source.is_end_stream() {
            return;
        }
        self.node.metrics.phase(Phase::UpstreamBody, self.began.elapsed());
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Whole(loan) => self.node.pools.give_back(loan),
            Source::Early(early) => early.answered(&self.node),
            Source::Stream(answer) => answer.answered(),
            Source::Ended | Source::Broken(_) => {}
        }
    }

    /// Ready where nothing came for too long, or the whole takes too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.moved_at + self.idle;
        let due = self.deadline.map_or(idle, |deadline| deadline.min(idle));
        match &mut self.source {
            Source::Whole(loan) => loan.line.alarm.poll_due(cx, due),
            Source::Early(early) => early.poll_due(cx, due),
            Source::Stream(answer) => answer.poll_due(cx, due),
            Source::Ended | Source::Broken(_) => Poll::Ready(()),
        }
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Whole(loan) => loan.line.connection.poll_frame(cx).map_err(Into::into),
            Self::Early(early) => early.poll_frame(cx),
            Self::Stream(answer) => answer.poll_frame(cx),
            Self::Ended => Poll::Ready(None),
            Self::Broken(error) => Poll::Ready(error.take().map(Err)),
        }
    }

    /// Only what comes in plain text, and with no request on its way out beside it, may go past this process's memory.
    fn unread(&self) -> u64 {
        match self {
            Self::Whole(loan) if matches!(loan.line.connection.io(), Stream::Plain(_)) => {
                loan.line.connection.unread()
            }
            _ => 0,
        }
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<Option<Result<u64, BoxError>>> {
        let Self::Whole(loan) = self else { return Poll::Ready(None) };
        let taken = loan.line.connection.poll_take(cx, |stream, cx, left| match stream {
            Stream::Plain(socket) => pipe.poll_fill(cx, socket, left),
            Stream::Tls(_) => Poll::Ready(Err(ErrorKind::Unsupported.into())),
        });
        taken.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(loan) => loan.line.connection.is_end_stream(),
            Self::Early(early) => {
                early.with(|loan| loan.line.connection.is_end_stream()).unwrap_or_default()
            }
            Self::Stream(answer) => answer.is_end_stream(),
            Self::Ended => true,
            Self::Broken(_) => false,
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
        if let Some(mut kept) = self.kept.take() {
            if !kept.bytes.is_empty() {
                let bytes = std::mem::take(&mut kept.bytes);
                self.kept = kept.trailers.is_some().then_some(kept);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(trailers) = kept.trailers {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        }
        let polled = self.source.poll_frame(cx);
        self.minded(cx, polled)
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_none() && matches!(self.source, Source::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        if self.kept.is_some() {
            return SizeHint::default();
        }
        match &self.source {
            Source::Whole(loan) => loan.line.connection.size_hint(),
            Source::Early(early) => {
                early.with(|loan| loan.line.connection.size_hint()).unwrap_or_default()
            }
            Source::Stream(answer) => answer.size_hint(),
            Source::Ended => SizeHint::with_exact(0),
            Source::Broken(_) => SizeHint::default(),
        }
    }
}
