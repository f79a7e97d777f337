//! A caller's connection: reads heads, knows what is unread, and whether another request may follow.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http1::{Buffers, Framing, Piece, ReadBuffer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    body::Body,
    error::{BodyError, HeadError, RequestError},
    request::{self, Limits, Progress, Request},
    writer::Writer,
};

/// Of a body that nobody wants, what is read so that its connection can serve on.
const UNWANTED_BYTES_MAX: u64 = 64 * 1024;
/// What is read of a caller who still sends after the last answer, so that it gets to read that.
const LINGER_BYTES_MAX: u64 = 256 * 1024;

/// Dropped, it is closed. A request's [`Body`] shares it.
#[derive(Debug)]
pub struct Connection<S> {
    line: Rc<RefCell<Line<S>>>,
}

/// A request, and its body where it has one.
#[derive(Debug)]
pub struct Call<S: AsyncRead + AsyncWrite + Unpin> {
    pub request: Request,
    pub body: Option<Body<S>>,
}

/// What the connection, a request's body and the way out share.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a connection")]
pub(crate) struct Line<S> {
    pub(crate) io: S,
    buffer: ReadBuffer,
    buffers: Rc<Buffers>,
    limits: Limits,
    progress: Progress,
    /// Of the current request's body.
    framing: Framing,
    /// Of the current request: a body of an earlier one must not read this one's.
    pub(crate) serial: u64,
    /// Somebody has its body.
    is_held: bool,
    /// Who waits until nobody has, or until it was read.
    waiter: Option<Waker>,
    /// The caller waits to be told to go on.
    expects: bool,
    /// What is left to say of that.
    pub(crate) interim: &'static [u8],
    /// The answer has begun.
    pub(crate) answering: bool,
    /// The body, or the connection within it, broke: where the next request begins is not known.
    broken: bool,
    /// Unwanted bytes that were read.
    discarded: u64,
    /// Since when the caller takes nothing of what is on its way out.
    pub(crate) stuck_since: Option<Instant>,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Another request may follow.
    Read,
    /// It must end.
    Unread,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// `read` came already. Memory is taken from `buffers`, and given back while nothing is read.
    pub fn new(io: S, read: &[u8], limits: Limits, buffers: Rc<Buffers>) -> Self {
        let mut bytes = BytesMut::new();
        if !read.is_empty() {
            bytes = buffers.take();
            bytes.extend_from_slice(read);
        }
        let line = Line {
            io,
            buffer: ReadBuffer::new(bytes),
            buffers,
            limits,
            progress: Progress::default(),
            framing: Framing::Length(0),
            serial: 0,
            is_held: false,
            waiter: None,
            expects: false,
            interim: b"",
            answering: false,
            broken: false,
            discarded: 0,
            stuck_since: None,
        };
        Self { line: Rc::new(RefCell::new(line)) }
    }

    /// The next request; `None` where the caller left between two.
    pub fn poll_call(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Call<S>>, HeadError>> {
        let line = &mut *self.line.borrow_mut();
        loop {
            if let Some(request) = line.parse()? {
                line.begin(&request);
                let body = line.is_held.then(|| Body::new(self.line.clone(), line.serial));
                return Poll::Ready(Ok(Some(Call { request, body })));
            }
            match ready!(line.poll_quiet(cx)) {
                Ok(bytes) if bytes > 0 => {}
                ended if line.buffer.bytes.is_empty() => {
                    line.broken = true;
                    drop(ended); // between two requests nobody misses it
                    return Poll::Ready(Ok(None));
                }
                ended => {
                    line.broken = true;
                    return Poll::Ready(Err(HeadError::CutOff(ended.err())));
                }
            }
        }
    }

    /// Whether some of a head has come.
    pub fn has_begun(&self) -> bool {
        !self.line.borrow().buffer.bytes.is_empty()
    }

    /// Ready where the caller left while it was served. What it asks meanwhile is kept, up to a read's length.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let line = &mut *self.line.borrow_mut();
        if line.is_held && !line.framing.is_ended() {
            line.waiter = Some(cx.waker().clone());
        }
        if line.broken || !line.framing.is_ended() || !line.buffer.bytes.is_empty() {
            return Poll::Pending;
        }
        match ready!(line.poll_quiet(cx)) {
            Ok(bytes) if bytes > 0 => Poll::Pending,
            _ => {
                line.broken = true;
                Poll::Ready(())
            }
        }
    }

    /// Whether another request may follow, as far as this one's body goes: it was or is being read, or what is left of
    /// it is little. Whoever waits to be told to go on, and is not, may send its body or not.
    pub fn may_follow(&self) -> bool {
        let line = &mut *self.line.borrow_mut();
        if !line.is_held && !line.expects {
            line.discard_read();
        }
        let is_little = || line.framing.left().is_some_and(|left| left <= UNWANTED_BYTES_MAX);
        !line.broken && (line.framing.is_ended() || !line.expects && (line.is_held || is_little()))
    }

    /// The way out.
    pub fn writer(&self) -> Writer<S> {
        Writer::new(self.line.clone())
    }

    /// Since when the caller takes nothing of what is on its way out.
    pub fn stuck_since(&self) -> Option<Instant> {
        self.line.borrow().stuck_since
    }

    /// Whether somebody still reads the current request's body.
    pub fn is_held(&self) -> bool {
        self.line.borrow().is_held
    }

    /// After an answer: ready once the request's body was read, by whoever has it, or, where nobody wants it, here.
    pub fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<Rest> {
        let line = &mut *self.line.borrow_mut();
        loop {
            if line.broken || line.discarded > UNWANTED_BYTES_MAX {
                return Poll::Ready(Rest::Unread);
            }
            if line.framing.is_ended() {
                return Poll::Ready(Rest::Read);
            }
            if line.is_held {
                line.waiter = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if let Some(Ok(Piece::Data(data))) = ready!(line.poll_body(cx)) {
                line.discarded += data.len() as u64;
            }
        }
    }

    /// Whether the caller may still be sending what nobody reads: closed now, it might not get to read its answer.
    pub fn has_unread(&self) -> bool {
        let line = self.line.borrow();
        line.broken || !line.framing.is_ended() || !line.buffer.bytes.is_empty()
    }

    /// After the last answer: reads, and forgets, until the caller has closed its side too or has sent too much.
    pub fn poll_linger(&self, cx: &mut Context<'_>) -> Poll<()> {
        let line = &mut *self.line.borrow_mut();
        loop {
            line.discarded += line.buffer.bytes.len() as u64;
            line.buffer.bytes.clear();
            if line.discarded > LINGER_BYTES_MAX {
                return Poll::Ready(());
            }
            match ready!(line.poll_read(cx)) {
                Ok(bytes) if bytes > 0 => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Hands the connection over, to whoever speaks another protocol on it: with what was read and not used. `None`
    /// while somebody has the body of its request.
    pub fn into_parts(self) -> Option<(S, Bytes)> {
        let line = Rc::into_inner(self.line)?.into_inner();
        Some((line.io, line.buffer.bytes.freeze()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    fn begin(&mut self, request: &Request) {
        self.framing = request.framing();
        self.serial += 1;
        self.is_held = !self.framing.is_ended();
        self.expects = request.expects_continue;
        (self.answering, self.discarded) = (false, 0);
    }

    /// The next piece of the current request's body.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, BodyError>>> {
        if self.framing.is_ended() {
            return Poll::Ready(None);
        }
        if self.broken {
            return Poll::Ready(Some(Err(BodyError::CutOff(None))));
        }
        if std::mem::take(&mut self.expects) && !self.answering && self.buffer.bytes.is_empty() {
            self.interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        }
        if let Poll::Ready(Err(error)) = self.poll_interim(cx) {
            self.broken = true;
            return Poll::Ready(Some(Err(BodyError::CutOff(Some(error)))));
        }
        loop {
            let taken = self.framing.take(&mut self.buffer.bytes);
            if self.framing.is_ended() {
                // From now on it is the connection's to see whether the caller leaves.
                let waiter = self.waiter.take_if(|waiter| !waiter.will_wake(cx.waker()));
                waiter.into_iter().for_each(Waker::wake);
            }
            match taken {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(None) if self.framing.is_ended() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => {
                    self.broken = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
            match ready!(self.poll_read(cx)) {
                Ok(bytes) if bytes > 0 => {}
                ended => {
                    self.broken = true;
                    return Poll::Ready(Some(Err(BodyError::CutOff(ended.err()))));
                }
            }
        }
    }

    /// Until the caller was told to go on.
    pub(crate) fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.interim.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.interim.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, self.interim))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.interim = &self.interim[bytes..],
            }
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Nobody has the body any more.
    pub(crate) fn let_go(&mut self) {
        self.is_held = false;
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.framing.is_ended()
    }

    pub(crate) fn left(&self) -> Option<u64> {
        self.framing.left()
    }

    /// Takes off what came already of a body that nobody wants.
    fn discard_read(&mut self) {
        while !self.broken {
            match self.framing.take(&mut self.buffer.bytes) {
                Ok(Some(Piece::Data(data))) => self.discarded += data.len() as u64,
                Ok(Some(Piece::Trailers(_))) => {}
                Ok(None) => return,
                Err(_) => self.broken = true,
            }
        }
    }

    /// The head of a request, if all of it came. After one that is refused nothing is.
    fn parse(&mut self) -> Result<Option<Request>, RequestError> {
        if self.buffer.bytes.is_empty() {
            return Ok(None);
        }
        let parsed = request::parse(&mut self.buffer.bytes, &mut self.progress, self.limits);
        self.broken |= parsed.is_err();
        parsed
    }

    /// Reads what there is, where nothing is being written: what TLS has to say by itself to what it read leaves here.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = self.poll_read(cx);
        if read.is_pending()
            && let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        read
    }

    /// Reads what there is. While nothing comes, nothing is held for it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.bytes.capacity() == 0 {
            self.buffer = ReadBuffer::new(self.buffers.take());
        }
        let read = self.buffer.poll_read(&mut self.io, cx);
        if read.is_pending() && self.buffer.bytes.is_empty() {
            self.buffers.give_back(std::mem::take(&mut self.buffer.bytes));
        }
        read
    }
}
