//! Server-sent events: each reaches its caller as it comes, over HTTP/1.1, HTTP/2 and TLS, and a caller that leaves takes its
//! backend's call along within a second.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::config::v1::{Dialect::Native, ProtocolVersion};
use tokio::{io, net::TcpStream, sync::mpsc, time::timeout};

use super::{
    https,
    world::{API, PATIENCE, TestNode, api, proxy_with, raw_origin},
};

/// An event is with its caller after this at most: far less than whatever would wait for more to come.
const AT_ONCE: Duration = Duration::from_millis(500);

type Events = mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>;

/// A backend that hands each call's `Last-Event-ID`, and its stream of events, to the test.
async fn backend(
    version: ProtocolVersion,
) -> (TestNode, mpsc::UnboundedReceiver<(String, Events)>) {
    let (address, listener) = raw_origin().await;
    let (tell, calls) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let (send, events) = mpsc::channel(1);
                let id = request.headers().get("last-event-id");
                let id = id.map_or("", |id| id.to_str().unwrap()).to_owned();
                tell.send((id, send)).unwrap();
                async move {
                    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(events));
                    let response = Response::builder().header("content-type", "text/event-stream");
                    Ok::<_, std::convert::Infallible>(response.body(body).unwrap())
                }
            });
            let io = TokioIo::new(stream);
            if version == ProtocolVersion::Http2 {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(io, service));
            } else {
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service),
                );
            }
        }
    });
    let route = proxy_with(format!("http://{address}/"), |proxy| {
        proxy.set_protocol_version(version);
    });
    (TestNode::start_with(api(Native, &[("GET /events", route)]), https::with_tls), calls)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Http1,
    Http2,
    Http1OverTls,
    Http2OverTls,
}

const CALLERS: [Caller; 4] =
    [Caller::Http1, Caller::Http2, Caller::Http1OverTls, Caller::Http2OverTls];

impl Caller {
    /// The answer's head, and the task that keeps the connection, which ends with it.
    async fn call(self, node: &TestNode) -> (Response<Incoming>, tokio::task::JoinHandle<()>) {
        let is_http2 = matches!(self, Self::Http2 | Self::Http2OverTls);
        match self {
            Self::Http1 | Self::Http2 => {
                let stream = TcpStream::connect(node.address).await.unwrap();
                over(stream, is_http2).await
            }
            Self::Http1OverTls | Self::Http2OverTls => {
                let alpn = if is_http2 { "h2" } else { "http/1.1" };
                over(https::connected(node, alpn).await, is_http2).await
            }
        }
    }
}

async fn over(
    stream: impl io::AsyncRead + io::AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
) -> (Response<Incoming>, tokio::task::JoinHandle<()>) {
    let host = format!("{API}.execute-api.localhost");
    let uri = if is_http2 { format!("http://{host}/prod/events") } else { "/prod/events".into() };
    let mut request = Request::get(uri).header("last-event-id", "41");
    if !is_http2 {
        request = request.header("host", host);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let io = TokioIo::new(stream);
    if is_http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let kept = tokio::spawn(async { drop(connection.await) });
        (sender.send_request(request).await.unwrap(), kept)
    } else {
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        let kept = tokio::spawn(async { drop(connection.await) });
        (sender.send_request(request).await.unwrap(), kept)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_passes_as_it_comes() {
    for version in [ProtocolVersion::Http1, ProtocolVersion::Http2] {
        let (node, mut calls) = backend(version).await;
        for caller in CALLERS {
            let (answered, told) = tokio::join!(caller.call(&node), calls.recv());
            let ((answer, _kept), (last_id, events)) = (answered, told.unwrap());
            assert_eq!(last_id, "41", "{caller:?} {version:?}");
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            let mut body = answer.into_body();
            for event in 0..20 {
                // A comment that keeps the connection, an event, and one of a single byte.
                let text = ["\n", ": heartbeat\n\n", "id: 42\ndata: hello\n\n"][event % 3];
                events.send(Ok(Frame::data(text.into()))).await.unwrap();
                let began = Instant::now();
                let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), text, "{caller:?} {version:?}");
                assert!(began.elapsed() < AT_ONCE, "{caller:?} {version:?}: {:?}", began.elapsed());
            }
            drop(events);
            while let Some(end) = timeout(PATIENCE, body.frame()).await.unwrap() {
                assert!(end.unwrap().into_data().unwrap().is_empty(), "HTTP/2 may end so");
            }
        }
        let counted = node.counted(CALLERS.len()).await;
        for (_, record) in counted {
            assert!(!record.aborted && record.billed && record.bytes_out > 200, "{record:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_takes_the_backends_call_along_within_a_second() {
    for version in [ProtocolVersion::Http1, ProtocolVersion::Http2] {
        let (node, mut calls) = backend(version).await;
        for caller in CALLERS {
            let (answered, told) = tokio::join!(caller.call(&node), calls.recv());
            let ((answer, kept), (_, events)) = (answered, told.unwrap());
            let mut body = answer.into_body();
            events.send(Ok(Frame::data("data: 1\n\n".into()))).await.unwrap();
            timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
            let began = Instant::now();
            drop(body);
            if matches!(caller, Caller::Http1 | Caller::Http1OverTls) {
                kept.abort(); // over HTTP/2 the stream alone is reset
            }
            // The backend's stream is dropped: nothing was sent on it meanwhile.
            timeout(PATIENCE, events.closed()).await.unwrap();
            let took = began.elapsed();
            assert!(took < Duration::from_secs(1), "{caller:?} {version:?}: {took:?}");
            kept.abort();
        }
        let counted = node.counted(CALLERS.len()).await;
        for (_, record) in counted {
            // It was answered, and cut off: what went is counted, and billed.
            let told = (record.status, record.aborted, record.billed);
            assert_eq!(told, (200, true, true), "{record:?}");
        }
    }
}
