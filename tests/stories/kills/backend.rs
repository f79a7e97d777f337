//! A backend that remembers how often each call came, and leaves some of those to its shaky route without an answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Of so many shaky calls …
const SHAKY: u64 = 16;
/// … one is never answered, and so many lose their connection once they have come.
const BROKEN: std::ops::RangeInclusive<u64> = 1..=3;

/// Listens until it is dropped.
pub(crate) struct Backend {
    address: SocketAddr,
    /// By the call's number.
    seen: Seen,
    accepting: AbortHandle,
}

type Seen = Arc<Mutex<Vec<u8>>>;

impl Backend {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let accepting = tokio::spawn(accept(listener, seen.clone())).abort_handle();
        Self { address, seen, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often each call came, by its number; those after the end never did.
    pub(crate) fn seen(&self) -> Vec<u8> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, seen: Seen) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = seen.clone();
        let service = service_fn(move |request| answer(seen.clone(), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// The call's number is its body, or its query where it has none.
async fn answer(
    seen: Seen,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, &'static str> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "the caller went away")?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    let number = if body.is_empty() { parts.uri.query().unwrap_or_default() } else { &*text };
    let call: u64 = number.parse().map_err(|_| "a call without a number")?;
    {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(call).map_err(|_| "a number that nobody gave")?;
        if seen.len() <= index {
            seen.resize(index + 1, 0);
        }
        seen[index] = seen[index].saturating_add(1);
    }
    if parts.uri.path() == "/shaky" {
        // The last digits say which kind of call it is.
        match call / super::KINDS.len() as u64 % SHAKY {
            0 => std::future::pending().await,
            turn if BROKEN.contains(&turn) => return Err("this is the fault"),
            _ => {}
        }
    }
    // What came goes back: an answer that is another call's would be seen.
    Ok(http::Response::new(Full::new(Bytes::copy_from_slice(number.as_bytes()))))
}
