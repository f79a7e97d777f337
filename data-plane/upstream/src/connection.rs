//! A connection that sends a request, reads its answer, and knows whether another may follow.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use http1::{BoxError, Framing, Piece, ReadBuffer, SendError, Sending};

use crate::{
    answer::{self, Answer, INTERIM_COUNT_MAX},
    error::{AnswerError, Error},
};

/// Dropped, it is closed. Whoever polls it is told when it can go on; the request and the answer may be polled by two.
#[derive(Debug)]
pub struct Connection<S> {
    io: S,
    buffer: ReadBuffer,
    scanned: usize,
    interim: usize,
    /// The answer's body, once there is an answer.
    framing: Option<Framing>,
    /// The request went out whole.
    sent: bool,
    /// The answer leaves the connection open.
    keep_alive: bool,
    /// Why it takes no more of the request.
    refusal: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(io: S) -> Self {
        Self {
            io,
            buffer: ReadBuffer::default(),
            scanned: 0,
            interim: 0,
            framing: None,
            sent: false,
            keep_alive: false,
            refusal: None,
        }
    }

    /// What it runs over.
    pub fn io(&self) -> &S {
        &self.io
    }

    /// Takes it apart.
    pub fn into_io(self) -> S {
        self.io
    }

    /// Makes it ready for a request; `buffer` is what answers are read into.
    pub fn begin(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        self.buffer = ReadBuffer::new(buffer);
        (self.scanned, self.interim) = (0, 0);
        (self.framing, self.sent, self.keep_alive) = (None, false, false);
    }

    /// Whether the exchange left it clean: all was sent, all was read and nothing more came.
    pub fn is_reusable(&self) -> bool {
        self.sent
            && self.keep_alive
            && self.buffer.bytes.is_empty()
            && self.framing.as_ref().is_some_and(Framing::is_ended)
    }

    /// Takes the buffer out; a connection that waits has none.
    pub fn rest(&mut self) -> BytesMut {
        std::mem::take(&mut self.buffer.bytes)
    }

    /// Whether the other side has said nothing since, not even good-bye. Asks the kernel only where something came.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Sends on what it takes of the request. Ready when all of it went, or nothing more will.
    pub fn poll_send<B>(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Sending<B>,
    ) -> Poll<Result<(), SendError>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let sent = ready!(request.poll_send(cx, &mut self.io));
        self.sent = sent.is_ok();
        Poll::Ready(sent)
    }

    /// Sends the request and reads the answer's head, which may come before all of the request went.
    pub fn poll_answer<B>(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Sending<B>,
        is_head: bool,
    ) -> Poll<Result<Answer, Error>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        if !self.sent && self.refusal.is_none() {
            match self.poll_send(cx, request) {
                Poll::Ready(Err(SendError::Body(error))) => {
                    return Poll::Ready(Err(Error::Upload(error)));
                }
                // It may have answered before it closed its ear.
                Poll::Ready(Err(SendError::Connection(error))) => self.refusal = Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            while !self.buffer.bytes.is_empty() {
                let Some(answer) = answer::parse(&mut self.buffer.bytes, &mut self.scanned)? else {
                    break;
                };
                if answer.is_interim() {
                    self.interim += 1;
                    if self.interim > INTERIM_COUNT_MAX {
                        return Poll::Ready(Err(AnswerError::TooManyInterim.into()));
                    }
                    continue;
                }
                let framing = answer.framing(is_head);
                self.keep_alive = answer.keep_alive && !answer.status.is_informational();
                self.framing = Some(framing);
                return Poll::Ready(Ok(answer));
            }
            match ready!(self.buffer.poll_read(&mut self.io, cx)) {
                Ok(bytes) if bytes > 0 => {}
                ended => {
                    let cause = self.refusal.take().or(ended.err());
                    let began = !self.buffer.bytes.is_empty() || self.interim > 0;
                    let error = if began { Error::CutOff } else { Error::Unanswered };
                    return Poll::Ready(Err(error(cause)));
                }
            }
        }
    }

    /// The next piece of the answer's body.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            let Some(framing) = &mut self.framing else { return Poll::Ready(None) };
            match framing.take(&mut self.buffer.bytes)? {
                Some(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Piece::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                None if framing.is_ended() => return Poll::Ready(None),
                None => {}
            }
            match ready!(self.buffer.poll_read(&mut self.io, cx)) {
                Ok(bytes) if bytes > 0 => {}
                Ok(_) if matches!(self.framing, Some(Framing::UntilClose)) => {
                    self.keep_alive = false;
                    self.framing = Some(Framing::Length(0));
                    return Poll::Ready(None);
                }
                ended => return Poll::Ready(Some(Err(Error::CutOff(ended.err())))),
            }
        }
    }

    /// How much of the answer's body may be taken off the connection itself: what is left of one with a length, once
    /// nothing that was read waits; else 0.
    pub fn unread(&self) -> u64 {
        match self.framing {
            Some(Framing::Length(left)) if self.buffer.bytes.is_empty() => left,
            _ => 0,
        }
    }

    /// Has `take` take bytes of the answer's body off the connection itself, no more than it is told, for whoever moves
    /// them without reading them. It says how many, 0 at the connection's end. `None`: there is nothing [unread].
    ///
    /// [unread]: Self::unread
    pub fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut S, &mut Context<'_>, u64) -> Poll<io::Result<u64>>,
    ) -> Poll<Option<Result<u64, Error>>> {
        let left = self.unread();
        if left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match ready!(take(&mut self.io, cx, left)) {
            Ok(0) => Err(Error::CutOff(None)),
            Ok(taken) => {
                self.framing = Some(Framing::Length(left.saturating_sub(taken)));
                Ok(taken)
            }
            Err(error) => Err(Error::CutOff(Some(error))),
        }))
    }

    /// Whether all of the answer's body was taken.
    pub fn is_end_stream(&self) -> bool {
        self.framing.as_ref().is_none_or(Framing::is_ended)
    }

    /// How much of the answer's body is to come, where that is known.
    pub fn size_hint(&self) -> SizeHint {
        let left = self.framing.as_ref().map_or(Some(0), Framing::left);
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
