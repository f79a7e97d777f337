//! Connections of the management and admin listeners, each within limits.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::access::wall::neighbourhood;
use crate::error::{Error, Result};
use crate::http::client_address::{client_address, is_trusted};
use crate::http::unread::Answers;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 10_000;
/// Of those, by one neighbourhood; further ones are closed at once.
const CONNECTIONS_OF_ONE_MAX: usize = 512;
/// The head of a request must have come by then, and an idle connection is closed after it.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// What an HTTP/2 client says first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most bytes of a request's head; more is answered with 431.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 100;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// What is in flight when we are told to stop may take so long to end.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);
/// Pause after `accept` failed, mostly for want of file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|cause| Error::internal(format!("cannot listen on {address}: {cause}")))
}

/// Serves until `stop`, then until what is in flight has been answered.
///
/// `trusted` are the proxies that pass others' requests on: they say whose those are, and hold as many connections as
/// they need.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    trusted: Arc<[IpNet]>,
    stop: CancellationToken,
) {
    let server = Arc::new(server());
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let crowd = Arc::<Crowd>::default();
    let accept = async {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                    continue;
                }
            };
            let entry = if is_trusted(peer.ip(), &trusted) {
                None
            } else if let Some(entry) = crowd.enter(&peer) {
                Some(entry)
            } else {
                tracing::debug!(%peer, "one address holds too many connections");
                continue;
            };
            let (server, router, trusted) = (server.clone(), router.clone(), trusted.clone());
            let (watcher, stop) = (graceful.watcher(), stop.clone());
            tokio::spawn(async move {
                let opened = stop.run_until_cancelled(opening(stream, HEAD_WITHIN)).await;
                if let Some(Ok((opening, stream))) = opened {
                    let _ = stream.set_nodelay(true); // only a matter of speed
                    let (read, write) = stream.into_split();
                    let write = Answers::new(write, peer.ip());
                    let stream = tokio::io::join(Cursor::new(opening).chain(read), write);
                    let answer = |request| answer(router.clone(), peer, &trusted, request);
                    let connection = server.serve_connection_with_upgrades(
                        TokioIo::new(stream),
                        hyper::service::service_fn(answer),
                    );
                    // What a peer breaks off or sends wrong is its own affair, and hyper has answered it.
                    if let Err(error) = watcher.watch(connection).await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                }
                drop((place, entry));
            });
        }
    };
    stop.run_until_cancelled(accept).await;
    drop(listener);
    if tokio::time::timeout(DRAIN_WITHIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were cut that had not ended in time");
    }
}

/// The first bytes, once they tell which HTTP this is: hyper would wait for them without end.
async fn opening(mut stream: TcpStream, within: Duration) -> io::Result<(Vec<u8>, TcpStream)> {
    let read = async {
        let mut read = Vec::with_capacity(PREFACE.len());
        while read.len() < PREFACE.len() && PREFACE.starts_with(&read) {
            if stream.read_buf(&mut read).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        Ok(read)
    };
    let read = tokio::time::timeout(within, read).await??;
    Ok((read, stream))
}

/// How many connections each neighbourhood has open.
#[derive(Default)]
struct Crowd(Mutex<HashMap<String, usize>>);

/// One open connection; its drop makes room.
struct Entry {
    crowd: Arc<Crowd>,
    who: String,
}

impl Crowd {
    fn enter(self: &Arc<Self>, peer: &SocketAddr) -> Option<Entry> {
        let who = neighbourhood(&peer.ip().to_string());
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = open.entry(who.clone()).or_default();
        if *mine >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        *mine += 1;
        Some(Entry { crowd: self.clone(), who })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = open.get_mut(&self.who) {
            *mine -= 1;
            if *mine == 0 {
                open.remove(&self.who);
            }
        }
    }
}

fn server() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_WITHIN)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    server
}

fn answer(
    router: Router,
    peer: SocketAddr,
    trusted: &[IpNet],
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let lines = request.headers().get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let client = client_address(peer.ip(), lines, trusted);
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, peer.port())));
    router.oneshot(request.map(Body::new))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn connect(stop: &CancellationToken) -> TcpStream {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(async || "here");
        tokio::spawn(serve(listener, router, Arc::new([]), stop.clone()));
        TcpStream::connect(address).await.unwrap()
    }

    #[tokio::test]
    async fn a_request_is_answered_however_its_first_bytes_come() {
        let stop = CancellationToken::new();
        let mut client = connect(&stop).await;
        client.set_nodelay(true).unwrap();
        for piece in ["P", "RI", "NT / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"] {
            client.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        stop.cancel();
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_answered_with_a_reason_and_an_id() {
        let stop = CancellationToken::new();
        let long = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(40_000));
        let many = "x: y\r\n".repeat(HEADERS_MAX + 1);
        for (head, status, why) in [
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "400 Bad Request", "not HTTP"),
            ("\0\0\0\0\r\n\r\n", "400 Bad Request", "not HTTP"),
            (&long, "431 Request Header Fields Too Large", "too large"),
            (&format!("GET / HTTP/1.1\r\n{many}\r\n"), "431 Request", "too many"),
            ("GET / HTTP/1.1\r\nhost: h\r\n\r\nnonsense\r\n\r\n", "400 Bad Request", "not HTTP"),
        ] {
            let mut client = connect(&stop).await;
            // It may be answered, and cut off, before all of it was taken.
            let _ = client.write_all(head.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            let answer = String::from_utf8(answer).unwrap();
            let at = answer.find(&format!("HTTP/1.1 {status}"));
            let own = &answer[at.unwrap_or_else(|| panic!("{head:.40}: {answer}"))..];
            let (head, body) = own.split_once("\r\n\r\n").unwrap();
            let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((&body["requestId"], &body["code"]), (&id.into(), &"bad_request".into()));
            assert!(body["detail"].as_str().unwrap().contains(why), "{body}");
        }
        stop.cancel();
    }

    /// Whom a request seems to come from that says it is passed on for 192.0.2.1.
    async fn seen(trusted: &[&str]) -> String {
        let stop = CancellationToken::new();
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let router = Router::new()
            .fallback(async |ConnectInfo(client): ConnectInfo<SocketAddr>| client.ip().to_string());
        let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
        tokio::spawn(serve(listener, router, trusted, stop.clone()));
        let request = "GET / HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 203.0.113.9, 192.0.2.1\r\n\
            connection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        stop.cancel();
        answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_trusted_proxy_says_whose_request_it_is_and_nobody_else_does() {
        assert_eq!(seen(&["127.0.0.0/8"]).await, "192.0.2.1");
        assert_eq!(seen(&["127.0.0.0/8", "192.0.2.0/24"]).await, "203.0.113.9");
        assert_eq!(seen(&["10.0.0.0/8"]).await, "127.0.0.1");
    }

    #[tokio::test]
    async fn who_never_says_which_http_it_is_is_not_waited_for() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        for said in [&b""[..], b"PRI", &PREFACE[..PREFACE.len() - 1]] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            client.write_all(said).await.unwrap();
            let stream = listener.accept().await.unwrap().0;
            let silent = opening(stream, Duration::from_millis(20)).await.unwrap_err();
            assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[test]
    fn one_neighbourhood_holds_no_more_than_its_share_of_connections() {
        let crowd = Arc::<Crowd>::default();
        let peer = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 7);
        let mut held: Vec<Entry> =
            std::iter::from_fn(|| crowd.enter(&peer("2001:db8::1"))).collect();

        assert_eq!(held.len(), CONNECTIONS_OF_ONE_MAX);
        assert!(crowd.enter(&peer("2001:db8::2")).is_none());
        assert!(crowd.enter(&peer("2001:db8:0:1::1")).is_some());
        held.pop();
        assert!(crowd.enter(&peer("2001:db8::2")).is_some());
        held.clear();
        assert!(crowd.0.lock().unwrap().is_empty());
    }
}
