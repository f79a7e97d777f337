//! One backend that behaves, by the path, as no orderly one does; by every other path it is in order. All that it is
//! asked comes to one address, so that whoever asks next would be given a connection that one before had spoilt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::wire::Wire;

/// Of a body, in either direction, that is not whole.
pub(super) const PART: usize = 1_000;
pub(super) const WHOLE: usize = 100_000;
/// More than sockets hold.
pub(super) const LARGE: usize = 16 << 20;
const PIECE: &[u8] = &[b'x'; 64 * 1024];
/// Bytes of a head that has no end; the node gives up long before.
const ENDLESS: usize = 64 << 20;

pub(super) struct Backend {
    pub(super) url: String,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Shared {
    /// Calls whose callers wait until they, or the beginning of their bodies, are here.
    expected: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    /// A generation of connections.
    open: Mutex<JoinSet<()>>,
}

impl Backend {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let accept = {
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let serving = serve(shared.clone(), Wire::new(stream));
                    let mut open = shared.open.lock().unwrap();
                    while open.try_join_next().is_some() {}
                    open.spawn(serving);
                }
            }
        };
        Self { url, shared, accepting: tokio::spawn(accept).abort_handle() }
    }

    /// Done once the call of this number has reached the backend.
    pub(super) fn expect(&self, number: u64) -> oneshot::Receiver<()> {
        let (here, is_here) = oneshot::channel();
        self.shared.expected.lock().unwrap().insert(number, here);
        is_here
    }

    /// Ends every connection that there is.
    pub(super) async fn hang_up(&self) {
        let mut open = std::mem::take(&mut *self.shared.open.lock().unwrap());
        open.shutdown().await;
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The body of a good answer to the call of this number.
pub(super) fn hello(number: u64) -> String {
    format!("hello {number}")
}

/// Serves one connection until it ends, or has to.
async fn serve(shared: Arc<Shared>, mut wire: Wire) {
    while let Some(head) = wire.head().await {
        let target = head.split(' ').nth(1).unwrap();
        let (path, number) = target.split_once('?').unwrap();
        let number = number.parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        let begun = wire.take(length.min(PART)).await.len();
        if let Some(expected) = shared.expected.lock().unwrap().remove(&number) {
            expected.send(()).ok();
        }
        match path {
            "/short" => {
                wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
                return;
            }
            "/long" => {
                let next = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello{next}");
                wire.say(answer.as_bytes()).await;
                return wire.gone().await;
            }
            "/unended" => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                wire.say(format!("{head}5\r\nhello\r\n").as_bytes()).await;
                return;
            }
            "/large" | "/reset" => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
                wire.say(&[head.as_bytes(), &[b'x'; PART]].concat()).await;
                if path == "/reset" {
                    return wire.reset();
                }
                for piece in std::iter::repeat_n(PIECE, LARGE / PIECE.len() - 1) {
                    if !wire.say(piece).await {
                        return;
                    }
                }
                wire.say(&PIECE[PART..]).await;
            }
            "/early" => {
                wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").await;
                wire.take(length - begun).await;
            }
            "/refuse" => {
                let head = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n";
                wire.say(format!("{head}content-length: 2\r\n\r\nno").as_bytes()).await;
                return;
            }
            "/close" => return,
            "/garbage" => {
                wire.say(b"\x16\x03\x01\0\x02\x01garbage\r\n\r\n").await;
                return wire.gone().await;
            }
            "/endless" => {
                wire.say(b"HTTP/1.1 200 OK\r\n").await;
                let field = format!("x-a: {}\r\n", "y".repeat(8_000));
                let mut said = 0;
                while said < ENDLESS && wire.say(field.as_bytes()).await {
                    said += field.len();
                }
                // Only where all of that was taken does this make an answer of it.
                wire.say(b"content-length: 0\r\n\r\n").await;
                return;
            }
            "/never" | "/take" => return wire.gone().await,
            "/silent" => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {WHOLE}\r\n\r\n");
                wire.say(&[head.as_bytes(), &[b'x'; PART]].concat()).await;
                return wire.gone().await;
            }
            _ => {
                if wire.take(length - begun).await.len() < length - begun {
                    return;
                }
                let hello = hello(number);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", hello.len());
                wire.say(format!("{head}{hello}").as_bytes()).await;
            }
        }
    }
}
