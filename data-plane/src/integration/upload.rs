//! A caller's body on its way to a backend: counted, bounded, and watched for who keeps whom waiting.

use std::{
    cell::Cell,
    error::Error,
    io::{
        self,
        ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset},
    },
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};

use super::BoxError;
use crate::listener::{body::RequestBody, client_io::Serving};

/// `None`: the request has no body.
pub(crate) struct Upload {
    body: Option<RequestBody>,
    /// While there may be more of it, the caller's connection is not between two requests.
    _serving: Rc<Serving>,
    progress: Rc<Progress>,
}

/// What is known of an upload from outside.
pub(crate) struct Progress {
    /// Of the whole request.
    bytes: Rc<Cell<u64>>,
    /// Up to which the body may bring them.
    bytes_max: u64,
    moved_at: Cell<Instant>,
    /// All of it has been handed over.
    done: Cell<bool>,
    /// The caller has not sent the next piece yet.
    awaits_caller: Cell<bool>,
    pub(crate) too_large: Cell<bool>,
}

impl Upload {
    /// `bytes` counts what came, on top of what it says; beyond `bytes_max` of a body the upload fails.
    pub(crate) fn new(
        body: Option<RequestBody>,
        serving: Rc<Serving>,
        bytes: Rc<Cell<u64>>,
        bytes_max: u64,
    ) -> (Self, Rc<Progress>) {
        let body = body.filter(|body| !body.is_end_stream());
        let progress = Rc::new(Progress {
            bytes_max: bytes.get().saturating_add(bytes_max),
            bytes,
            moved_at: Cell::new(Instant::now()),
            done: Cell::new(body.is_none()),
            awaits_caller: Cell::new(false),
            too_large: Cell::new(false),
        });
        (Self { body, _serving: serving, progress: progress.clone() }, progress)
    }

    /// One that is at hand, and counted already.
    pub(super) fn of(body: Bytes, serving: Rc<Serving>) -> (Self, Rc<Progress>) {
        let bytes_max = body.len() as u64;
        Self::new(Some(RequestBody::Whole(Some(body))), serving, Rc::default(), bytes_max)
    }
}

impl Progress {
    /// There is a connection now; time counts from here.
    pub(crate) fn start(&self) {
        self.moved_at.set(Instant::now());
    }

    /// When a byte last moved; with the upload done, when the backend's turn began.
    pub(crate) fn moved_at(&self) -> Instant {
        self.moved_at.get()
    }

    /// Whether the one who is waited for is the caller.
    pub(crate) fn awaits_caller(&self) -> bool {
        !self.done.get() && self.awaits_caller.get()
    }

    fn finish(&self) {
        self.done.set(true);
        self.moved_at.set(Instant::now());
    }
}

/// Whether whoever sends a body cannot be answered any more: the connection broke, or HTTP/2's stream, which ends in no
/// other way before its time. Over HTTP/1.1 one who merely stops sending still reads.
pub(super) fn is_gone(error: &BoxError, version: Version) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&**error);
    let mut broke = false;
    while let Some(error) = cause {
        broke |= error.downcast_ref::<io::Error>().is_some_and(|error| {
            let kind = error.kind();
            matches!(kind, ConnectionReset | ConnectionAborted | BrokenPipe)
        });
        cause = error.source();
    }
    broke || version == Version::HTTP_2
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        let ended = self.body.as_ref().is_none_or(Body::is_end_stream);
        let progress = &self.progress;
        if polled.is_pending() && !progress.awaits_caller.get() {
            // The caller's time begins: until now it was the backend that took nothing.
            progress.moved_at.set(Instant::now());
        }
        progress.awaits_caller.set(polled.is_pending());
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                progress.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes =
                    progress.bytes.get() + frame.data_ref().map_or(0, |data| data.len() as u64);
                progress.bytes.set(bytes);
                progress.moved_at.set(Instant::now());
                if bytes > progress.bytes_max {
                    progress.too_large.set(true);
                    return Poll::Ready(Some(Err("the request body is too large".into())));
                }
                if ended {
                    progress.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
