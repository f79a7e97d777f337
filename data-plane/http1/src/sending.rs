//! A message on its way out, head and body, in as few writes as its pieces allow.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_write_buf;

use crate::{BoxError, chunked::may_trail, text};

/// Pieces up to this are copied together with what goes before them; longer ones leave from where they are.
const COPIED_BYTES_MAX: usize = 8 * 1024;
/// What is copied together for one write.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
/// The trailers: a head has bounds of its own, this is for what comes after the body.
const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// How the end of a message's body is told (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is no body, whatever the head says of one.
    None,
    Exact(u64),
    /// It is not known before: the body is chunked.
    Chunked,
    /// It is not known before, and whoever gets it does not know chunks: an answer's body ends with its connection.
    UntilClose,
}

/// A message: its head, encoded, and its body.
pub struct Sending<B> {
    out: Out,
    /// Gone once it ended.
    body: Option<B>,
    length: Length,
    /// Of a body with a length, how much is to come.
    left: u64,
    /// The connection took a byte of it.
    begun: bool,
    /// Nothing of it was given up: it can be sent again from its start.
    whole: bool,
    /// Whether whoever gets it wants trailers.
    trailers: bool,
}

/// Bytes that wait for the connection, in this order.
struct Out {
    gathered: BytesMut,
    /// How much of `gathered` was written.
    written: usize,
    /// A long piece of the body.
    piece: Bytes,
    /// What ends it.
    tail: &'static [u8],
}

/// Why a message could not be sent whole.
#[derive(Debug)]
pub enum SendError {
    /// The connection takes no more.
    Connection(io::Error),
    /// The body itself failed.
    Body(BoxError),
}

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// `head` says this length. A body of length `None` is not asked for anything.
    pub fn new(head: BytesMut, body: B, length: Length) -> Self {
        let left = if let Length::Exact(bytes) = length { bytes } else { 0 };
        let body = (length != Length::None).then_some(body);
        let out = Out { gathered: head, written: 0, piece: Bytes::new(), tail: b"" };
        Self { out, body, length, left, begun: false, whole: true, trailers: true }
    }

    /// Leaves trailers out, for whoever did not say that it takes them (RFC 9110 §6.5.1).
    #[must_use]
    pub fn without_trailers(mut self) -> Self {
        self.trailers = false;
        self
    }

    /// All of it was handed to the connection.
    pub fn is_sent(&self) -> bool {
        self.body.is_none() && !self.out.has_remaining()
    }

    /// No byte of it was handed to any connection, or it was rewound since.
    pub fn is_unsent(&self) -> bool {
        !self.begun
    }

    /// Puts it back to its start, for another connection; false where parts of it are gone. Whether a request may be sent
    /// twice is the caller's to know.
    pub fn rewind(&mut self) -> bool {
        if self.whole && (self.is_unsent() || self.length == Length::None) {
            self.out.written = 0;
            self.begun = false;
            return true;
        }
        false
    }

    /// The body, until it ended.
    pub fn body_mut(&mut self) -> Option<&mut B> {
        self.body.as_mut()
    }

    /// So many bytes of a body with a length went to the connection by another way, after all that was taken before.
    pub fn moved(&mut self, bytes: u64) -> Result<(), SendError> {
        (self.begun, self.whole) = (true, false);
        self.count(bytes)
    }

    /// The buffer that the head was in, for another.
    pub fn into_buffer(self) -> BytesMut {
        self.out.gathered
    }

    /// Hands over what the connection takes. Ready once the last byte was taken.
    pub fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut S,
    ) -> Poll<Result<(), SendError>> {
        self.poll_send_until(cx, io, |_| false)
    }

    /// The same, and ready too where `stops` says of a body with a length that nothing is to be taken of it now: all that
    /// was taken before is with the connection then, and what comes next may go another way ([`moved`](Self::moved)).
    pub fn poll_send_until<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut S,
        stops: impl Fn(&B) -> bool,
    ) -> Poll<Result<(), SendError>> {
        loop {
            let gathered = self.poll_gather(cx, &stops)?;
            if !self.out.has_remaining() {
                ready!(gathered);
                return Pin::new(io).poll_flush(cx).map_err(SendError::Connection);
            }
            while self.out.has_remaining() {
                let written = ready!(self.out.poll_write(cx, io));
                match written.map_err(SendError::Connection)? {
                    0 => return Poll::Ready(Err(SendError::Connection(closed()))),
                    _ => self.begun = true,
                }
            }
            if self.length != Length::None {
                self.whole = false;
                self.out.gathered.clear();
                self.out.written = 0;
            }
            if gathered.is_pending() {
                // TLS may keep a part of what it took.
                ready!(Pin::new(io).poll_flush(cx)).map_err(SendError::Connection)?;
                return Poll::Pending;
            }
        }
    }

    /// Takes pieces of the body while there is room for them. Ready where there is more to do at once: with all of the
    /// body taken, or with as much as goes out first.
    fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        stops: &impl Fn(&B) -> bool,
    ) -> Poll<Result<(), SendError>> {
        let has_length = matches!(self.length, Length::Exact(_));
        while let Some(body) = &mut self.body {
            if !self.out.piece.is_empty() || self.out.gathered.len() >= GATHERED_BYTES_MAX {
                return Poll::Ready(Ok(()));
            }
            if body.is_end_stream() {
                self.end(None)?;
                break;
            }
            if has_length && stops(body) {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(body).poll_frame(cx)) {
                None => self.end(None)?,
                Some(Err(error)) => return Poll::Ready(Err(SendError::Body(error.into()))),
                Some(Ok(frame)) => self.add(frame)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn add(&mut self, frame: Frame<Bytes>) -> Result<(), SendError> {
        let frame = match frame.into_data() {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => {
                self.add_data(data)?;
                return Ok(());
            }
            Err(frame) => frame,
        };
        match frame.into_trailers() {
            Ok(trailers) => self.end(Some(&trailers)),
            Err(_) => Ok(()),
        }
    }

    fn add_data(&mut self, data: Bytes) -> Result<(), SendError> {
        let mut tail: &'static [u8] = b"";
        match self.length {
            Length::Chunked => {
                text::hexadecimal(&mut self.out.gathered, data.len() as u64);
                self.out.gathered.extend_from_slice(b"\r\n");
                tail = b"\r\n";
            }
            Length::UntilClose => {}
            Length::None | Length::Exact(_) => self.count(data.len() as u64)?,
        }
        if data.len() <= COPIED_BYTES_MAX {
            self.out.gathered.extend_from_slice(&data);
            self.out.gathered.extend_from_slice(tail);
        } else {
            (self.out.piece, self.out.tail) = (data, tail);
        }
        Ok(())
    }

    /// Takes these off what is to come.
    fn count(&mut self, bytes: u64) -> Result<(), SendError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| SendError::Body("it is longer than it said".into()))?;
        Ok(())
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), SendError> {
        self.body = None;
        if self.length != Length::Chunked {
            let is_whole = self.left == 0;
            return is_whole
                .then_some(())
                .ok_or_else(|| SendError::Body("it is shorter than it said".into()));
        }
        let out = &mut self.out.gathered;
        out.extend_from_slice(b"0\r\n");
        let before = out.len();
        let trailers = trailers.filter(|_| self.trailers);
        for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| may_trail(name)) {
            text::field(out, name.as_str().as_bytes(), value.as_bytes());
            if out.len() - before > TRAILER_BYTES_MAX {
                return Err(SendError::Body("its trailers are too large".into()));
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

impl Out {
    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut S,
    ) -> Poll<io::Result<usize>> {
        let first = self.chunk();
        if first.len() < self.remaining() {
            return poll_write_buf(Pin::new(io), cx, self);
        }
        // Most messages are one part, and send(2) costs the kernel less than writev(2).
        let written = ready!(Pin::new(io).poll_write(cx, first))?;
        self.advance(written);
        Poll::Ready(Ok(written))
    }
}

impl Buf for Out {
    fn remaining(&self) -> usize {
        self.gathered.len() - self.written + self.piece.len() + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        let parts = [&self.gathered[self.written..], &self.piece, self.tail];
        parts.into_iter().find(|part| !part.is_empty()).unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = [&self.gathered[self.written..], &self.piece, self.tail];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut bytes: usize) {
        let of_gathered = bytes.min(self.gathered.len() - self.written);
        self.written += of_gathered;
        bytes -= of_gathered;
        let of_piece = bytes.min(self.piece.len());
        self.piece.advance(of_piece);
        bytes -= of_piece;
        self.tail = &self.tail[bytes..];
    }
}

fn closed() -> io::Error {
    io::ErrorKind::WriteZero.into()
}
