//! Functions whose answers go on as they come: by Lambda's `InvokeWithResponseStream`, and by POST.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use proto::config::v1::{
    Dialect::{self, AwsHttp, AwsRest, Native},
    Function, HttpProxy, PayloadFormatVersion, ResponseTransferMode, integration,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

use super::{
    lambda::{credentials, streaming, verified},
    world::{API, PATIENCE, TENANT, TestNode, api, raw_origin, read_until},
};
use crate::integration::function::stream::events::tests::{chunk, complete, message};

type Pieces = mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>;

const NULS: &[u8] = &[0; 8];

/// How a function is called, and what its answer is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Lambda,
    Post,
}

const WAYS: [Way; 2] = [Way::Lambda, Way::Post];

impl Way {
    /// A piece of what the function says.
    fn piece(self, bytes: &[u8]) -> Vec<u8> {
        if self == Self::Lambda { chunk(bytes) } else { bytes.to_vec() }
    }

    /// What follows the last.
    fn end(self) -> Vec<u8> {
        if self == Self::Lambda { complete("{}") } else { Vec::new() }
    }

    fn integration(self, at: SocketAddr, change: impl FnOnce(&mut HttpProxy)) -> integration::Kind {
        if self == Self::Lambda {
            return streaming(at, change);
        }
        let mut backend = HttpProxy { uri: format!("http://{at}/"), ..HttpProxy::default() };
        backend.set_response_transfer_mode(ResponseTransferMode::Stream);
        change(&mut backend);
        integration::Kind::Function(Function {
            backend: Some(backend),
            payload_format_version: PayloadFormatVersion::PayloadFormatVersion20.into(),
        })
    }

    fn node(self, dialect: Dialect, at: SocketAddr) -> TestNode {
        let to = self.integration(at, |backend| backend.idle_timeout_ms = 500);
        let mut resources = api(dialect, &[("ANY /", to)]);
        resources.push(credentials(TENANT, "AKIDEXAMPLE", &[0]));
        TestNode::start(resources)
    }
}

fn head(head: &serde_json::Value) -> Vec<u8> {
    [head.to_string().as_bytes(), NULS].concat()
}

/// A function's host that hands each call, verified, to the test: it says what is answered.
async fn host(way: Way) -> (SocketAddr, mpsc::UnboundedReceiver<Pieces>) {
    let (address, listener) = raw_origin().await;
    let (tell, calls) = mpsc::unbounded_channel();
    let answer = move |request: Request<Incoming>| {
        let (send, pieces) = mpsc::channel(1);
        let tell = tell.clone();
        async move {
            let (head, body) = request.into_parts();
            let event = body.collect().await.unwrap().to_bytes();
            let target = head.uri.to_string();
            assert!(way == Way::Post || verified(&head.headers, "POST", &target, &event));
            tell.send(send).unwrap();
            let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(pieces));
            let body: BoxBody<_, _> = BodyExt::boxed(body);
            Ok::<_, Infallible>(Response::new(body))
        }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(answer.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, calls)
}

async fn say(pieces: &Pieces, bytes: impl Into<Bytes>) {
    pieces.send(Ok(Frame::data(bytes.into()))).await.unwrap();
}

/// A host that answers every call with all of this, in pieces of so many bytes.
async fn saying(way: Way, bytes: Vec<u8>, piece: usize) -> SocketAddr {
    let (at, mut calls) = host(way).await;
    tokio::spawn(async move {
        while let Some(pieces) = calls.recv().await {
            for piece in bytes.chunks(piece) {
                // The node may hang up.
                let _ = pieces.send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).await;
            }
        }
    });
    at
}

async fn calling(node: &TestNode) -> TcpStream {
    let mut caller = TcpStream::connect(node.address).await.unwrap();
    let request = format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    caller.write_all(request.as_bytes()).await.unwrap();
    caller
}

#[tokio::test]
async fn what_a_function_says_reaches_its_caller_at_once() {
    for way in WAYS {
        let (at, mut calls) = host(way).await;
        let node = way.node(Native, at);
        let told = head(&json!({
            "statusCode": 201, "cookies": ["a=1", "b=2"], "headers": { "content-type": "text/plain", "x-of": "one" },
            "multiValueHeaders": { "x-many": ["1", "2"] },
        }));
        for _ in 0..2 {
            let mut caller = calling(&node).await;
            let pieces = calls.recv().await.unwrap();
            let (first, rest) = told.split_at(20);
            say(&pieces, way.piece(first)).await;
            say(&pieces, way.piece(&[rest, b"one "].concat())).await;
            let came = read_until(&mut caller, "one ").await; // while the function still speaks
            assert!(came.starts_with("HTTP/1.1 201 Created\r\n"), "{came}");
            for field in [
                "content-type: text/plain",
                "x-of: one",
                "x-many: 1",
                "x-many: 2",
                "set-cookie: a=1",
                "set-cookie: b=2",
                "transfer-encoding: chunked",
            ] {
                assert!(came.contains(&format!("\r\n{field}\r\n")), "{field} in {came}");
            }
            for word in ["two ", "three "] {
                say(&pieces, way.piece(word.as_bytes())).await;
                read_until(&mut caller, word).await;
            }
            say(&pieces, [way.piece(b"end"), way.end()].concat()).await;
            drop(pieces);
            read_until(&mut caller, "end\r\n0\r\n\r\n").await;
        }
        // The host's connection waited for the second call.
        assert_eq!(node.shared.metrics.upstream_connects.get(), 1, "{way:?}");
        for (_, record) in node.counted(2).await {
            let told = (record.status, record.aborted, record.billed);
            assert_eq!(told, (201, false, true), "{record:?}");
        }
    }
}

#[tokio::test]
async fn a_head_is_read_however_it_comes_and_may_be_nearly_empty() {
    for way in WAYS {
        let said = [way.piece(&[b"{}", NULS, b"hello"].concat()), way.end()].concat();
        for piece in [1, 7, 1000] {
            let answer =
                way.node(Native, saying(way, said.clone(), piece).await).get("/prod/").await;
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(answer.field("content-type"), Some("text/plain;charset=UTF-8"));
            let body: String = answer.body().split("\r\n").skip(1).step_by(2).collect();
            assert_eq!(body, "hello", "{answer:?}");
        }
        let none = head(&json!({ "statusCode": 204 }));
        let at = saying(way, [way.piece(&none), way.end()].concat(), 1000).await;
        let answer = way.node(Native, at).get("/prod/").await;
        assert_eq!((answer.status(), answer.body()), (204, ""));
    }
}

#[tokio::test]
async fn what_begins_otherwise_is_refused_in_each_dialect() {
    let long = [&vec![b' '; (16 << 10) - 9][..], b"{}", NULS].concat();
    for way in WAYS {
        for said in [
            b"hello".to_vec(),
            b"{}\0\0\0\0\0\0\0".to_vec(),
            long.clone(),
            [b"hello", NULS].concat(),
            head(&json!({ "statusCode": 101 })),
            head(&json!({ "headers": { "a b": "1" } })),
            head(&json!([])),
        ] {
            let at = saying(way, [way.piece(&said), way.end()].concat(), 5000).await;
            for (dialect, message) in [
                (Native, None),
                (AwsRest, Some("Internal server error")),
                (AwsHttp, Some("Internal Server Error")),
            ] {
                let answer = way.node(dialect, at).get("/prod/").await;
                assert_eq!(answer.status(), 500, "{answer:?}");
                match message {
                    Some(message) => assert_eq!(answer.json(), json!({ "message": message })),
                    None => assert_eq!(answer.json()["code"], "FUNCTION_STREAM_FAILURE"),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_function_that_fails_before_its_head_is_a_bad_gateway() {
    let failed = complete(r#"{"ErrorCode":"Unhandled","ErrorDetails":"account 123456789012"}"#);
    let fields = [(":message-type", "exception"), (":exception-type", "ServiceException")];
    for said in [failed, message(&fields, b"{}"), chunk(b"{"), Vec::new()] {
        let at = saying(Way::Lambda, said, 1000).await;
        let answer = Way::Lambda.node(Native, at).get("/prod/").await;
        assert_eq!((answer.status(), &answer.json()["code"]), (502, &json!("FUNCTION_FAILURE")));
        assert!(!answer.text.contains("123456789012"));
    }
    let mut damaged = chunk(b"{}");
    *damaged.last_mut().unwrap() ^= 1;
    let at = saying(Way::Lambda, damaged, 1000).await;
    let answer = Way::Lambda.node(Native, at).get("/prod/").await;
    assert_eq!((answer.status(), &answer.json()["code"]), (500, &json!("FUNCTION_STREAM_FAILURE")));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_short_and_counted_so() {
    let begun = chunk(&[&head(&json!({}))[..], b"half"].concat());
    let mut damaged = chunk(b"more");
    *damaged.last_mut().unwrap() ^= 1;
    for rest in [complete(r#"{"ErrorCode":"Unhandled"}"#), damaged, chunk(b"more"), Vec::new()] {
        let at = saying(Way::Lambda, [begun.clone(), rest].concat(), 1000).await;
        let node = Way::Lambda.node(Native, at);
        let answer = node.get("/prod/").await;
        assert!(answer.text.contains("half"), "what came before has come: {answer:?}");
        assert!(!answer.text.ends_with("0\r\n\r\n"), "{answer:?}");
        let (_, record) = node.counted(1).await.remove(0);
        assert_eq!((record.status, record.aborted, record.billed), (200, true, true), "{record:?}");
    }
}

#[tokio::test]
async fn a_function_that_falls_silent_times_out_before_its_head_and_is_cut_off_after() {
    for way in WAYS {
        let (at, mut calls) = host(way).await;
        let node = way.node(Native, at);
        let function = async {
            let pieces = calls.recv().await.unwrap();
            say(&pieces, way.piece(b"{")).await;
            pieces
        };
        let (answer, _pieces) = tokio::join!(node.get("/prod/"), function);
        assert_eq!((answer.status(), &answer.json()["code"]), (504, &json!("INTEGRATION_TIMEOUT")));
        let function = async {
            let pieces = calls.recv().await.unwrap();
            say(&pieces, way.piece(&[b"{}", NULS, b"half"].concat())).await;
            pieces
        };
        let (answer, _pieces) = tokio::join!(node.get("/prod/"), function);
        assert!(answer.text.ends_with("half\r\n"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_takes_the_function_along_within_a_second() {
    for way in WAYS {
        let (at, mut calls) = host(way).await;
        let node = way.node(Native, at);
        for begun in [true, false] {
            let mut caller = calling(&node).await;
            let pieces = calls.recv().await.unwrap();
            say(&pieces, way.piece(b"{}")).await;
            if begun {
                say(&pieces, way.piece(&[NULS, b"one"].concat())).await;
                read_until(&mut caller, "one").await;
            }
            let began = Instant::now();
            drop(caller);
            timeout(PATIENCE, pieces.closed()).await.unwrap();
            assert!(began.elapsed() < Duration::from_millis(450), "{way:?} {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn a_function_waits_for_a_caller_that_takes_nothing() {
    const PIECE: usize = 256 << 10;
    for way in WAYS {
        let (at, mut calls) = host(way).await;
        let to = way.integration(at, |_| {});
        let mut resources = api(Native, &[("ANY /", to)]);
        resources.push(credentials(TENANT, "AKIDEXAMPLE", &[0]));
        let node = TestNode::start(resources);
        let mut caller = calling(&node).await;
        let pieces = calls.recv().await.unwrap();
        say(&pieces, way.piece(&[b"{}", NULS].concat())).await;
        let piece = Bytes::from(way.piece(&vec![b'x'; PIECE]));
        let mut said = 0;
        while timeout(Duration::from_millis(300), say(&pieces, piece.clone())).await.is_ok() {
            said += 1;
            assert!(said * PIECE < 64 << 20, "it is all taken into memory");
        }
        // Nothing is lost by it.
        let reading = async {
            let (mut bytes, mut buffer) = (0, vec![0; 1 << 20]);
            while bytes < said * PIECE {
                let read = timeout(PATIENCE, caller.read(&mut buffer)).await.unwrap().unwrap();
                bytes +=
                    buffer[..read].iter().map(|byte| usize::from(*byte == b'x')).sum::<usize>();
            }
        };
        reading.await;
    }
}
