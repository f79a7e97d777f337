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

use super::{
    BoxError,
    decompress::{Decompress, Fault},
};
use crate::listener::{body::RequestBody, client_io::Serving};

/// `None`: the request has no body.
pub(crate) struct Upload {
    body: Option<RequestBody>,
    /// What undoes the body's codings.
    decompress: Option<Box<Decompress>>,
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
    /// What is wrong with it.
    pub(crate) fault: Cell<Option<Fault>>,
}

/// A body as it comes, its codings with it.
pub(super) struct Came<'a> {
    body: &'a mut RequestBody,
    progress: &'a Progress,
}

impl Upload {
    /// `bytes` counts what came, on top of what it says; beyond `bytes_max` of a body the upload fails.
    pub(crate) fn new(
        body: Option<RequestBody>,
        decompress: Option<Box<Decompress>>,
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
            fault: Cell::new(None),
        });
        let decompress = decompress.filter(|_| body.is_some());
        (Self { body, decompress, _serving: serving, progress: progress.clone() }, progress)
    }

    /// One that is at hand, and counted already.
    pub(super) fn of(body: Bytes, serving: Rc<Serving>) -> (Self, Rc<Progress>) {
        let bytes_max = body.len() as u64;
        Self::new(Some(RequestBody::Whole(Some(body))), None, serving, Rc::default(), bytes_max)
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

impl Came<'_> {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let progress = self.progress;
        let polled = Pin::new(&mut *self.body).poll_frame(cx);
        if polled.is_pending() && !progress.awaits_caller.get() {
            // The caller's time begins: until now it was the backend that took nothing.
            progress.moved_at.set(Instant::now());
        }
        progress.awaits_caller.set(polled.is_pending());
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = progress.bytes.get() + frame.data_ref().map_or(0, |data| data.len() as u64);
            progress.bytes.set(bytes);
            progress.moved_at.set(Instant::now());
            if bytes > progress.bytes_max {
                return Poll::Ready(Some(Err(self.fail(Fault::TooLarge))));
            }
        }
        polled
    }

    /// The upload's error, with what is wrong left where it is looked for.
    pub(super) fn fail(&mut self, fault: Fault) -> BoxError {
        self.progress.fault.set(Some(fault));
        "the request body is not passed on".into()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let mut came = Came { body, progress: &this.progress };
        let polled = match &mut this.decompress {
            None => came.poll_frame(cx),
            Some(decompress) => decompress.poll_frame(cx, came),
        };
        match &polled {
            Poll::Ready(None) => this.progress.finish(),
            Poll::Ready(Some(Ok(_))) if this.is_end_stream() => this.progress.finish(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.decompress {
            None => self.body.as_ref().is_none_or(Body::is_end_stream),
            Some(decompress) => decompress.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.decompress) {
            (None, _) => SizeHint::with_exact(0),
            (Some(body), None) => body.size_hint(),
            // Nobody knows what it unpacks to.
            (Some(_), Some(_)) => SizeHint::default(),
        }
    }
}
