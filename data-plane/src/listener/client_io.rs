//! A caller's connection with a clock on each request's head.

use std::{
    cell::Cell,
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

/// Whether a request's head is on its way. Between two requests a connection may be silent; once a head has
/// begun, it must end within the header timeout, or slow callers could hold connections for nothing.
#[derive(Default)]
pub(crate) struct HeadClock {
    serving: Cell<usize>,
    deadline: Cell<Option<Instant>>,
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
}

/// A request whose head is complete, until its body and its answer's have both ended: a backend may answer
/// while it is still being sent to, and what comes then is no head.
pub(crate) struct Serving(Rc<HeadClock>);

impl Serving {
    pub(crate) fn begin(clock: Rc<HeadClock>) -> Rc<Self> {
        clock.deadline.set(None);
        clock.serving.set(clock.serving.get() + 1);
        Rc::new(Self(clock))
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
        header_timeout: Duration,
    ) -> Self {
        if !prefix.is_empty() {
            clock.deadline.set(Some(Instant::now() + header_timeout));
        }
        Self { stream, prefix, clock, header_timeout, alarm: None }
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
            this.prefix.advance(bytes);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            let came = buf.filled().len() > before;
            if came && this.clock.serving.get() == 0 && this.clock.deadline.get().is_none() {
                this.clock.deadline.set(Some(Instant::now() + this.header_timeout));
            }
            return Poll::Ready(read);
        }
        let Some(deadline) = this.clock.deadline.get() else { return Poll::Pending };
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        std::task::ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a request's head took too long")))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
