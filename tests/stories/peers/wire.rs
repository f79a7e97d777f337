//! One end of a connection, at which HTTP/1.1 is read by hand: what came stays, whatever happens after it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const READ_BYTES: usize = 16 * 1024;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

pub(super) struct Wire {
    stream: Box<dyn Stream>,
    came: BytesMut,
}

impl Wire {
    pub(super) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), came: BytesMut::new() }
    }

    /// Whether the other end was there to take it.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Up to the empty line, and with it; nothing where the connection ends before that.
    pub(super) async fn head(&mut self) -> Option<String> {
        let mut looked_at = 0;
        loop {
            let from = looked_at.max(3) - 3;
            if let Some(end) = self.came[from..].windows(4).position(|it| it == b"\r\n\r\n") {
                let head = self.came.split_to(from + end + 4);
                return Some(String::from_utf8(head.to_vec()).unwrap());
            }
            looked_at = self.came.len();
            if !self.more().await {
                return None;
            }
        }
    }

    /// So many bytes, or as many as come before the connection ends.
    pub(super) async fn take(&mut self, bytes: usize) -> Bytes {
        while self.came.len() < bytes && self.more().await {}
        let bytes = bytes.min(self.came.len());
        self.came.split_to(bytes).freeze()
    }

    /// What comes until the connection ends, however it does.
    pub(super) async fn rest(&mut self) -> Bytes {
        while self.more().await {}
        self.came.split().freeze()
    }

    /// The same, of which nothing is kept.
    pub(super) async fn gone(&mut self) {
        while self.more().await {
            self.came.clear();
        }
    }

    /// No more comes from here; what the other end says is still read.
    pub(super) async fn half_close(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// The connection ends as by a crash.
    pub(super) fn reset(self) {
        SockRef::from(self.stream.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    async fn more(&mut self) -> bool {
        self.came.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.came).await.is_ok_and(|bytes| bytes > 0)
    }
}
