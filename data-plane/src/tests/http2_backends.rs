//! Calls whose backends are spoken to in HTTP/2: bodies, trailers and resets, either way.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::config::v1::{Dialect::Native, HttpProxy, ProtocolVersion};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use super::world::{API, PATIENCE, TestNode, api, full, proxy_with, raw_origin, until};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Pieces = StreamBody<tokio_stream::wrappers::ReceiverStream<Result<Frame<Bytes>, Failure>>>;

fn node_with(address: SocketAddr, change: impl FnOnce(&mut HttpProxy)) -> TestNode {
    let route = proxy_with(format!("http://{address}/{{proxy}}"), |proxy| {
        proxy.set_protocol_version(ProtocolVersion::Http2);
        change(proxy);
    });
    TestNode::start(api(Native, &[("ANY /{proxy+}", route)]))
}

pub(super) fn node(address: SocketAddr) -> TestNode {
    node_with(address, |_| {})
}

/// A body of what is sent to it.
fn pieces() -> (mpsc::Sender<Result<Frame<Bytes>, Failure>>, Pieces) {
    let (send, pieces) = mpsc::channel(1);
    (send, StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(pieces)))
}

/// A backend that sends back what it gets, as it comes, and tells of the request in fields of its answer.
async fn echo() -> SocketAddr {
    let (address, listener) = raw_origin().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(async |request: Request<Incoming>| {
                let (head, body) = request.into_parts();
                assert_eq!(head.version, Version::HTTP_2);
                let mut answer = Response::new(body);
                let mut tell = |name, value: String| {
                    answer.headers_mut().insert(name, HeaderValue::try_from(value).unwrap());
                };
                tell("x-method", head.method.to_string());
                tell("x-uri", head.uri.to_string());
                for (name, value) in &head.headers {
                    tell(format!("x-got-{name}").leak(), value.to_str().unwrap().to_owned());
                }
                Ok::<_, std::convert::Infallible>(answer)
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// A backend whose calls the test answers itself, and how often it was connected to.
pub(super) async fn streams(
    change: impl Fn(&mut h2::server::Builder),
) -> (SocketAddr, mpsc::UnboundedReceiver<Call>, Arc<AtomicUsize>) {
    let (address, listener) = raw_origin().await;
    let (tell, calls) = mpsc::unbounded_channel();
    let connections = Arc::new(AtomicUsize::new(0));
    let mut builder = h2::server::Builder::new();
    change(&mut builder);
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            let (builder, tell) = (builder.clone(), tell.clone());
            tokio::spawn(async move {
                let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
                    return;
                };
                while let Some(Ok((request, answer))) = connection.accept().await {
                    let _ = tell.send(Call { request, answer });
                }
            });
        }
    });
    (address, calls, connections)
}

pub(super) struct Call {
    pub(super) request: Request<RecvStream>,
    pub(super) answer: SendResponse<Bytes>,
}

impl Call {
    pub(super) fn ok(mut self, body: &'static str) {
        let mut stream = self.answer.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
    }
}

pub(super) async fn next(calls: &mut mpsc::UnboundedReceiver<Call>) -> Call {
    timeout(PATIENCE, calls.recv()).await.expect("a call in time").expect("a call")
}

/// A caller over HTTP/2.
pub(super) async fn caller<B>(node: &TestNode) -> http2::SendRequest<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<Failure>> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(super) fn post<B>(path: &str, body: B) -> Request<B> {
    let uri = format!("http://{API}.execute-api.localhost/prod/{path}");
    let request = Request::post(uri).header("content-type", "application/grpc");
    request.header("te", "trailers").body(body).unwrap()
}

pub(super) async fn whole(body: Incoming) -> (Bytes, Option<HeaderMap>) {
    let body = timeout(PATIENCE, body.collect()).await.expect("in time").expect("whole");
    let trailers = body.trailers().cloned();
    (body.to_bytes(), trailers)
}

#[tokio::test]
async fn a_call_reaches_its_backend_over_http2_and_calls_share_a_connection() {
    let backend = echo().await;
    let node = node(backend);
    let fields = ["te: trailers, gzip", "connection: x-secret, te", "x-secret: 1", "x-kept: 1"];
    let answer = node.call("PUT /prod/a/b?c=d", &fields).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.field("x-method"), Some("PUT"));
    assert_eq!(answer.field("x-uri"), Some(&*format!("http://{backend}/a/b?c=d")));
    assert_eq!(answer.field("x-got-te"), Some("trailers"));
    assert_eq!(answer.field("x-got-x-kept"), Some("1"));
    assert_eq!(answer.field("x-got-x-forwarded-for"), Some("127.0.0.1"));
    for gone in ["x-got-host", "x-got-connection", "x-got-x-secret"] {
        assert_eq!(answer.field(gone), None, "{answer:?}");
    }
    let calls = (0..50).map(|_| node.get("/prod/x"));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!((answer.status(), answer.field("x-got-te")), (200, None));
    }
    assert_eq!(node.shared.metrics.upstream_connects.get(), 1);
}

#[tokio::test]
async fn the_callers_host_is_the_authority_where_it_is_preserved() {
    let node = node_with(echo().await, |proxy| proxy.preserve_host = true);
    let answer = node.get("/prod/a").await;
    assert_eq!(answer.field("x-uri"), Some(&*format!("http://{API}.execute-api.localhost/a")));
}

#[tokio::test]
async fn a_body_of_any_length_goes_both_ways_at_once() {
    const BYTES: usize = 8 << 20;
    let node = node(echo().await);
    let mut sender = caller(&node).await;
    let answer = sender.send_request(post("x", full(vec![b'x'; BYTES]))).await.unwrap();
    assert_eq!(answer.headers()["x-got-content-length"], BYTES.to_string());
    assert_eq!(whole(answer.into_body()).await.0.len(), BYTES);
    let counted = node.counted(1).await;
    assert!(counted[0].1.bytes_in > BYTES as u64 && counted[0].1.bytes_out > BYTES as u64);
}

#[tokio::test]
async fn each_side_hears_the_other_while_both_still_speak_and_trailers_end_it() {
    let node = node(echo().await);
    let mut sender = caller(&node).await;
    let (speak, body) = pieces();
    let answer = sender.send_request(post("pets.Pets/Talk", body)).await.unwrap();
    let mut heard = answer.into_body();
    for word in ["a", "b", "c"] {
        speak.send(Ok(Frame::data(Bytes::from_static(word.as_bytes())))).await.unwrap();
        let frame = timeout(PATIENCE, heard.frame()).await.expect("in time").unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), word);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("content-length", HeaderValue::from_static("9"));
    speak.send(Ok(Frame::trailers(trailers))).await.unwrap();
    drop(speak);
    let (rest, trailers) = whole(heard).await;
    let trailers = trailers.expect("trailers");
    assert_eq!(
        (rest.len(), &trailers["grpc-status"], trailers.len()),
        (0, &HeaderValue::from_static("0"), 1)
    );
    let counted = node.counted(1).await;
    assert!(!counted[0].1.aborted);
}

#[tokio::test]
async fn trailers_reach_an_http1_caller_who_takes_them() {
    let (address, mut calls, _) = streams(|_| {}).await;
    let node = node(address);
    for (te, expected) in [
        ("te: trailers", "2\r\nok\r\n0\r\ngrpc-status: 5\r\n\r\n"),
        ("x-a: b", "2\r\nok\r\n0\r\n\r\n"),
    ] {
        let serving = async {
            let mut call = next(&mut calls).await;
            // hyper's server sends those alone that are named before.
            let answer = Response::builder().header("trailer", "grpc-status").body(()).unwrap();
            let mut stream = call.answer.send_response(answer, false).unwrap();
            stream.send_data(Bytes::from_static(b"ok"), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("5"));
            stream.send_trailers(trailers).unwrap();
        };
        let fields = [te];
        let (answer, ()) = tokio::join!(node.call("GET /prod/x", &fields), serving);
        assert_eq!(answer.body(), expected, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_of_fields_alone_ends_with_them() {
    let (address, mut calls, _) = streams(|_| {}).await;
    let node = node(address);
    let mut sender = caller(&node).await;
    let serving = async {
        let answer = Response::builder().header("grpc-status", "12").body(()).unwrap();
        next(&mut calls).await.answer.send_response(answer, true).unwrap();
    };
    let (answer, ()) = tokio::join!(sender.send_request(post("x", full("unasked"))), serving);
    let answer = answer.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "12");
    assert_eq!(whole(answer.into_body()).await, (Bytes::new(), None));
}

#[tokio::test]
async fn a_caller_who_cancels_takes_the_backends_stream_along_and_no_other() {
    let (address, mut calls, connections) = streams(|_| {}).await;
    let node = node(address);
    for answered in [false, true] {
        let mut sender = caller(&node).await;
        let (speak, body) = pieces();
        let calling = tokio::spawn(async move {
            let answer = sender.send_request(post("x", body)).await.unwrap();
            answer.into_body().collect().await.map(drop)
        });
        let mut call = next(&mut calls).await;
        let mut stream =
            answered.then(|| call.answer.send_response(Response::new(()), false).unwrap());
        if let Some(stream) = &mut stream {
            stream.send_data(Bytes::from_static(b"first"), false).unwrap();
            until(|| node.shared.metrics.in_flight.get() == 1).await;
        }
        calling.abort();
        drop(speak);
        let reset = poll_fn(|cx| match &mut stream {
            Some(stream) => stream.poll_reset(cx),
            None => call.answer.poll_reset(cx),
        });
        let reset = timeout(PATIENCE, reset).await.expect("reset in time").unwrap();
        assert_eq!(reset, Reason::CANCEL);
        node.until_in_flight(0).await;
    }
    let serving = async { next(&mut calls).await.ok("on") };
    let (answer, ()) = tokio::join!(node.get("/prod/x"), serving);
    assert!(answer.body().contains("on"));
    assert_eq!(connections.load(SeqCst), 1);
    let aborted = node.counted(3).await.iter().filter(|(_, record)| record.aborted).count();
    assert_eq!(aborted, 2);
}

#[tokio::test]
async fn an_answer_that_its_backend_resets_is_reset_whatever_the_backend_calls_it() {
    let (address, mut calls, _) = streams(|_| {}).await;
    let node = node(address);
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM] {
        let mut sender = caller(&node).await;
        let (tell, told) = tokio::sync::oneshot::channel();
        let calling = async {
            let answer = sender.send_request(post("x", full("hi"))).await.unwrap();
            let mut body = answer.into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
            tell.send(()).unwrap();
            body.collect().await.map(drop)
        };
        let serving = async {
            let mut call = next(&mut calls).await;
            let mut stream = call.answer.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"half"), false).unwrap();
            told.await.unwrap(); // a reset would take what waits to be sent along
            stream.send_reset(reason);
        };
        let (answer, ()) = tokio::join!(calling, serving);
        let error = answer.expect_err(&format!("{reason:?}"));
        assert!(format!("{error:?}").contains("INTERNAL_ERROR"), "{reason:?}: {error:?}");
    }
    let counted = node.counted(3).await;
    assert!(counted.iter().all(|(_, record)| record.aborted));
}

#[tokio::test]
async fn a_backend_that_has_answered_may_want_no_more_of_the_request() {
    let (address, mut calls, _) = streams(|_| {}).await;
    let node = node(address);
    let mut sender = caller(&node).await;
    let (speak, body) = pieces();
    // Dropped with its answer, a request that was not read to its end is reset with NO_ERROR (RFC 9113 §8.1).
    let serving = async { next(&mut calls).await.ok("whole") };
    let (answer, ()) = tokio::join!(sender.send_request(post("x", body)), serving);
    assert_eq!(whole(answer.unwrap().into_body()).await.0, "whole");
    drop(speak);
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_costs_no_call_beside_it() {
    let (address, mut calls, connections) = streams(|_| {}).await;
    let route = |timeout_ms| {
        proxy_with(format!("http://{address}/"), |proxy| {
            proxy.set_protocol_version(ProtocolVersion::Http2);
            proxy.first_byte_timeout_ms = timeout_ms;
        })
    };
    let routes = [("GET /late", route(50)), ("GET /x", route(0))];
    let node = TestNode::start(api(Native, &routes));
    let beside = async {
        let patient = next(&mut calls).await;
        let (late, mut silent) = tokio::join!(node.get("/prod/late"), next(&mut calls));
        assert_eq!(late.json()["code"], "INTEGRATION_TIMEOUT");
        let reset = timeout(PATIENCE, poll_fn(|cx| silent.answer.poll_reset(cx))).await;
        assert_eq!(reset.expect("in time").unwrap(), Reason::CANCEL);
        patient.ok("ok");
    };
    let (answer, ()) = tokio::join!(node.get("/prod/x"), beside);
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn what_a_backend_may_send_has_bounds() {
    let (address, mut calls, _) = streams(|_| {}).await;
    let node = node(address);
    let long = "x".repeat(upstream::answer::HEAD_BYTES_MAX);
    let many = (0..=upstream::answer::FIELDS_MAX).map(|at| (format!("x-{at}"), "1".to_owned()));
    for fields in [vec![("x-long".to_owned(), long)], many.collect()] {
        let serving = async {
            let mut answer = Response::builder();
            for (name, value) in &fields {
                answer = answer.header(name, value);
            }
            next(&mut calls).await.answer.send_response(answer.body(()).unwrap(), true).unwrap();
        };
        let (answer, ()) = tokio::join!(node.get("/prod/x"), serving);
        assert_eq!(answer.json()["code"], "INTEGRATION_FAILURE", "{}", answer.status());
    }
    let serving = async { next(&mut calls).await.ok("ok") };
    let (answer, ()) = tokio::join!(node.get("/prod/x"), serving);
    assert_eq!(answer.status(), StatusCode::OK.as_u16());
}

#[tokio::test]
async fn a_body_that_is_too_large_or_breaks_off_resets_its_stream() {
    let (address, mut calls, _) = streams(|_| {}).await;
    let route = proxy_with(format!("http://{address}/"), |proxy| {
        proxy.set_protocol_version(ProtocolVersion::Http2);
    });
    let node = TestNode::start_with(api(Native, &[("POST /x", route)]), |config| {
        config.limits.body_bytes_max = 100;
    });
    let mut sender = caller(&node).await;
    let (speak, body) = pieces();
    let serving = async {
        let mut call = next(&mut calls).await;
        speak.send(Ok(Frame::data(vec![b'x'; 101].into()))).await.unwrap();
        timeout(PATIENCE, poll_fn(|cx| call.answer.poll_reset(cx))).await.expect("in time").unwrap()
    };
    let (answer, reset) = tokio::join!(sender.send_request(post("x", body)), serving);
    assert_eq!((answer.unwrap().status(), reset), (StatusCode::PAYLOAD_TOO_LARGE, Reason::CANCEL));
}
