//! The other end of a connection: what it says, piece by piece, and what it was sent, write by write.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug, Default)]
pub(crate) struct Script {
    /// After each piece nothing comes for a moment. At the end the connection is closed.
    pub(crate) says: VecDeque<Vec<u8>>,
    pub(crate) writes: Vec<Vec<u8>>,
    /// Says nothing at its end, instead of closing.
    pub(crate) stays: bool,
    /// Takes nothing.
    pub(crate) stuck: bool,
    /// Nothing comes now, and will at the next look.
    pub(crate) pauses: bool,
}

impl Script {
    pub(crate) fn saying(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let says = pieces.into_iter().map(|piece| piece.as_ref().to_vec()).collect();
        Self { says, ..Self::default() }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.pauses = !self.pauses;
        if self.pauses {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.says.pop_front() {
            Some(mut piece) => {
                let rest = piece.split_off(piece.len().min(buffer.remaining()));
                buffer.put_slice(&piece);
                if !rest.is_empty() {
                    self.says.push_front(rest);
                }
                Poll::Ready(Ok(()))
            }
            None if self.stays => Poll::Pending,
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.stuck {
            return Poll::Pending;
        }
        self.writes.push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let joined = parts.iter().flat_map(|part| part.to_vec()).collect::<Vec<_>>();
        self.poll_write(cx, &joined)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
