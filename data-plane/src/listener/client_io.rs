//! A caller's connection with a clock on each request's head.

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use uuid::Uuid;

use super::{pace::Pace, streams::Streams, unserved::Unserved};
use crate::config::Limits;

/// Whether a request's head is on its way. Between two requests a connection may be silent; once a head has
/// begun, it must end within the header timeout, or slow callers could hold connections for nothing.
#[derive(Default)]
pub(crate) struct HeadClock {
    serving: Cell<usize>,
    /// A request was taken up, and not all of its answer has left.
    answering: Cell<bool>,
    /// Of the request that the connection ends with, as it could not be served.
    unserved_id: OnceCell<Uuid>,
    deadline: Cell<Option<Instant>>,
    /// The deadline passed.
    late: Cell<bool>,
    /// The connection broke in the middle of a head.
    broken: Cell<bool>,
    /// How fast the answer is taken.
    pub(super) pace: Pace,
}

/// Plain, or inside TLS.
pub(crate) type ClientStream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

pub(crate) struct ClientIo {
    stream: ClientStream,
    /// Read already, to tell HTTP/2 from HTTP/1.1.
    prefix: Bytes,
    clock: Rc<HeadClock>,
    header_timeout: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
    /// How long the caller may take no byte that is on its way out.
    write_timeout: Duration,
    write_alarm: Option<Pin<Box<Sleep>>>,
    /// Since when it takes none.
    stuck_since: Option<Instant>,
    /// Of an HTTP/2 connection.
    streams: Option<Rc<RefCell<Streams>>>,
    /// The rest of an answer of ours, which hyper believes to be its own and written.
    own: Bytes,
}

/// A request whose head is complete, until its body and its answer's have both ended: a backend may answer
/// while it is still being sent to, and what comes then is no head.
pub(crate) struct Serving(Rc<HeadClock>);

impl Serving {
    pub(crate) fn begin(clock: Rc<HeadClock>) -> Rc<Self> {
        clock.deadline.set(None);
        clock.serving.set(clock.serving.get() + 1);
        clock.answering.set(true);
        Rc::new(Self(clock))
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.0.pace
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.set(self.0.serving.get() - 1);
        self.0.deadline.set(None);
    }
}

impl ClientIo {
    pub(crate) fn new(
        stream: ClientStream,
        prefix: Bytes,
        clock: Rc<HeadClock>,
        limits: &Limits,
    ) -> Self {
        if !prefix.is_empty() {
            clock.deadline.set(Some(Instant::now() + limits.header_timeout));
        }
        Self {
            stream,
            prefix,
            clock,
            header_timeout: limits.header_timeout,
            alarm: None,
            write_timeout: limits.write_timeout,
            write_alarm: None,
            stuck_since: None,
            streams: None,
            own: Bytes::new(),
        }
    }

    /// Counts the requests of an HTTP/2 connection.
    pub(super) fn following(mut self, streams: Rc<RefCell<Streams>>) -> Self {
        self.streams = Some(streams);
        self
    }

    /// Ends the wait for a caller who takes nothing.
    fn clocked<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck_since = None;
            return written;
        }
        let due = *self.stuck_since.get_or_insert_with(Instant::now) + self.write_timeout;
        let alarm = self.write_alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        std::task::ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the caller takes nothing")))
    }

    /// Puts our answer in the place of hyper's own to a head that it could not read, which has no id and no reason.
    ///
    /// Hyper writes by itself only while no request is served and all answers have left: what an Api answers, whatever it
    /// is, is never taken for hyper's.
    fn is_replaced(&mut self, bytes: &[u8]) -> bool {
        if self.streams.is_some() || self.clock.is_serving() || self.clock.answering.get() {
            return false;
        }
        let unserved = Unserved::answered(bytes);
        if let Some(unserved) = unserved {
            self.own = unserved.answer(self.clock.unserved_id()).into();
        }
        unserved.is_some()
    }

    /// Until nothing of our own answer is left.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.own);
            match std::task::ready!(self.clocked(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.own.advance(bytes),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn went(&self, bytes: &[u8]) {
        if let Some(streams) = &self.streams {
            streams.borrow_mut().went(bytes);
        }
    }

    fn came(&self, bytes: &[u8]) {
        if let Some(streams) = &self.streams {
            streams.borrow_mut().came(bytes);
        }
    }
}

impl HeadClock {
    pub(super) fn is_late(&self) -> bool {
        self.late.get()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving.get() > 0
    }

    /// The id of the request that could not be served: one, since its connection ends.
    pub(super) fn unserved_id(&self) -> Uuid {
        *self.unserved_id.get_or_init(Uuid::now_v7)
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.prefix.is_empty() {
            let bytes = this.prefix.len().min(buf.remaining());
            buf.put_slice(&this.prefix[..bytes]);
            this.came(&this.prefix[..bytes]);
            this.prefix.advance(bytes);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            let came = buf.filled().len() > before;
            if came && this.clock.serving.get() == 0 && this.clock.deadline.get().is_none() {
                this.clock.deadline.set(Some(Instant::now() + this.header_timeout));
            }
            this.came(&buf.filled()[before..]);
            this.clock.broken.set(read.is_err() && this.clock.deadline.get().is_some());
            if this.streams.as_ref().is_some_and(|streams| streams.borrow().is_flooded()) {
                let flood = "frames that bring nothing";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, flood)));
            }
            return Poll::Ready(read);
        }
        let head_of_stream = this.streams.as_ref().and_then(|it| it.borrow().head_since());
        let head_of_stream = head_of_stream.map(|since| Instant::from(since) + this.header_timeout);
        let Some(deadline) = this.clock.deadline.get().or(head_of_stream) else {
            return Poll::Pending;
        };
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        std::task::ready!(alarm.as_mut().poll(cx));
        this.clock.late.set(true);
        // Unless an answer is still on its way out. Who does not take this at once does not get it.
        if this.streams.is_none() && !this.clock.answering.get() {
            let answer = Unserved::Late.answer(this.clock.unserved_id());
            if Pin::new(&mut this.stream).poll_write(cx, answer.as_bytes()).is_ready() {
                let _ = Pin::new(&mut this.stream).poll_flush(cx);
            }
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a request's head took too long")))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_own(cx))?;
        if self.is_replaced(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        let written = std::task::ready!(self.clocked(cx, written))?;
        self.went(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_own(cx))?;
        if let [buf] = bufs
            && self.is_replaced(buf)
        {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        let written = std::task::ready!(self.clocked(cx, written))?;
        let mut left = written;
        for buf in bufs {
            let bytes = left.min(buf.len());
            self.went(&buf[..bytes]);
            left -= bytes;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_own(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        std::task::ready!(self.clocked(cx, flushed))?;
        // Hyper flushes what is beneath it only when it has nothing left to write.
        self.clock.answering.set(self.clock.is_serving());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_own(cx))?;
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.clocked(cx, shut)
    }
}
