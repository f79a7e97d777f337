//! What was read of a connection, and not used yet.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// What a read has room for at first, and at most once reads fill what they have.
const READ_BYTES_MIN: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 128 * 1024;
/// With less room than this share of it the buffer is made anew.
const ROOM_SHARE_MIN: usize = 4;

/// Bytes in the order in which they came.
#[derive(Debug)]
pub struct ReadBuffer {
    pub bytes: BytesMut,
    /// What the next read has room for.
    read_bytes: usize,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self::new(BytesMut::new())
    }
}

impl ReadBuffer {
    pub fn new(bytes: BytesMut) -> Self {
        Self { bytes, read_bytes: READ_BYTES_MIN }
    }

    /// Reads what there is, in as large pieces as it comes in; 0 at the connection's end.
    pub fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.capacity() - self.bytes.len() < self.read_bytes / ROOM_SHARE_MIN {
            self.bytes.reserve(self.read_bytes);
        }
        let room = self.bytes.capacity() - self.bytes.len();
        let read = ready!(poll_read_buf(Pin::new(io), cx, &mut self.bytes));
        if read.as_ref().is_ok_and(|bytes| *bytes == room) {
            self.read_bytes = (self.read_bytes * 4).min(READ_BYTES_MAX);
        }
        Poll::Ready(read)
    }
}
