//! The body of a caller's request, read where it is wanted and no sooner.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http1::Piece;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{connection::Line, error::BodyError};

/// While somebody has it, its connection reads no other request. Dropped before its end, the rest is nobody's.
#[derive(Debug)]
pub struct Body<S: AsyncRead + AsyncWrite + Unpin> {
    line: Rc<RefCell<Line<S>>>,
    serial: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Body<S> {
    pub(crate) fn new(line: Rc<RefCell<Line<S>>>, serial: u64) -> Self {
        Self { line, serial }
    }

    /// Looks at the connection, while this is its request.
    fn with<T>(&self, look: impl FnOnce(&Line<S>) -> T) -> Option<T> {
        let line = self.line.borrow();
        (line.serial == self.serial).then(|| look(&line))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HttpBody for Body<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut line = self.line.borrow_mut();
        if line.serial != self.serial {
            return Poll::Ready(None);
        }
        Poll::Ready(ready!(line.poll_body(cx)).map(|piece| {
            piece.map(|piece| match piece {
                Piece::Data(data) => Frame::data(data),
                Piece::Trailers(trailers) => Frame::trailers(trailers),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.with(Line::is_ended).unwrap_or(true)
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.with(Line::left).unwrap_or(Some(0));
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Body<S> {
    fn drop(&mut self) {
        let mut line = self.line.borrow_mut();
        if line.serial == self.serial {
            line.let_go();
        }
    }
}
