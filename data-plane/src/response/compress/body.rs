//! An answer's body while it is compressed: a piece at a time, when the [`super::desk`] says so.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{
    Coding,
    desk::Place,
    encode::{self, Encoder},
};
use crate::integration::{AnswerBody, BoxError};

/// So much is compressed at once: 0.1 to 0.4 ms of a core, as the codings are set.
pub(super) const PIECE_BYTES_MAX: usize = 8 << 10;

/// Nothing of it is whole in memory: a piece is taken from the backend when the one before it has left.
pub(crate) struct Compressed {
    inner: AnswerBody,
    coding: Coding,
    /// Made when the first byte comes; gone with the last.
    state: State,
    /// Came, and is not compressed yet.
    input: Bytes,
    /// Nothing more comes.
    ended: bool,
    trailers: Option<HeaderMap>,
    /// Whether what came so far is brought out whenever nothing more is there: nobody knows when the rest comes.
    flushes: bool,
    /// Something was compressed that may not have come out.
    unflushed: bool,
    place: Place,
}

enum State {
    Begins,
    Goes(Encoder),
    Ended,
}

impl Compressed {
    pub(super) fn new(inner: AnswerBody, coding: Coding, place: Place) -> Self {
        let flushes = inner.size_hint().exact().is_none();
        Self {
            inner,
            coding,
            state: State::Begins,
            input: Bytes::new(),
            ended: false,
            trailers: None,
            flushes,
            unflushed: false,
            place,
        }
    }

    /// Gets something to compress, unless that is there. `Pending`: nothing is, and nothing is to be flushed.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        while self.input.is_empty() && !self.ended {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.input = data,
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending if self.flushes && self.unflushed => break,
                Poll::Pending => return Poll::Pending,
            }
            // A small body is one piece, its end with it.
            self.ended |= self.inner.is_end_stream();
        }
        Poll::Ready(Ok(()))
    }

    /// Compresses so many bytes at most; gives what came out.
    fn step(&mut self, bytes_max: usize) -> std::io::Result<Bytes> {
        let mut encoder = match std::mem::replace(&mut self.state, State::Ended) {
            State::Begins => Encoder::new(self.coding)?,
            State::Goes(encoder) => encoder,
            State::Ended => return Ok(Bytes::new()),
        };
        let piece = self.input.split_to(self.input.len().min(bytes_max));
        if piece.is_empty() && !self.ended {
            encoder.flush()?;
            self.unflushed = false;
        } else {
            encoder.write(&piece)?;
            self.unflushed = true;
        }
        if self.ended && self.input.is_empty() {
            return encoder.finish();
        }
        let out = encoder.take();
        self.state = State::Goes(encoder);
        Ok(out)
    }
}

impl Body for Compressed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        while !matches!(this.state, State::Ended) {
            if let Err(error) = ready!(this.poll_input(cx)) {
                return Poll::Ready(Some(Err(error)));
            }
            let bytes_max = ready!(this.place.poll_turn(cx)).min(PIECE_BYTES_MAX);
            let waiting = this.input.len();
            let out = this.step(bytes_max);
            this.place.spend(waiting - this.input.len());
            match out {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended) && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// What a body of this coding holds while it lasts.
pub(super) fn held_bytes_max(coding: Coding) -> usize {
    encode::bytes_max(coding)
}
