//! How answers reach callers: whole, or as they come.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use proto::config::v1::{
    Dialect::{self, AwsHttp, AwsRest, Native},
    HttpProxy, ResponseTransferMode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::world::{API, PATIENCE, TestNode, api, api_with, proxy_with, raw_origin, read_until};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// A node whose backend answers one call with `text`, waits for a word, and goes on with `rest`.
async fn node_of(
    dialect: Dialect,
    mode: ResponseTransferMode,
    change: fn(&mut HttpProxy),
    text: Vec<u8>,
    rest: Option<&'static str>,
) -> (TestNode, tokio::sync::oneshot::Sender<()>) {
    let (address, listener) = raw_origin().await;
    let route = proxy_with(format!("http://{address}/"), |proxy| {
        proxy.set_response_transfer_mode(mode);
        change(proxy);
    });
    let (go, word) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let _ = stream.write_all(&text).await;
        if word.await.is_ok()
            && let Some(rest) = rest
        {
            let _ = stream.write_all(rest.as_bytes()).await;
            let _ = stream.read(&mut [0; 16]).await;
        }
    });
    (TestNode::start(api(dialect, &[("GET /", route)])), go)
}

fn nothing(_: &mut HttpProxy) {}

#[tokio::test]
async fn a_buffered_answer_comes_whole_and_a_streamed_one_as_it_comes() {
    use ResponseTransferMode::{Buffered, Stream, Unspecified};
    for (dialect, mode, streams) in [
        (Native, Unspecified, true),
        (Native, Buffered, false),
        (AwsRest, Unspecified, false),
        (AwsHttp, Unspecified, false),
        (AwsRest, Stream, true),
        (AwsHttp, Stream, true),
    ] {
        let text = format!("{CHUNKED}5\r\nhello\r\n");
        let (node, go) =
            node_of(dialect, mode, nothing, text.into(), Some("5\r\nworld\r\n0\r\n\r\n")).await;
        let mut caller = TcpStream::connect(node.address).await.unwrap();
        let request = format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
        caller.write_all(request.as_bytes()).await.unwrap();
        if streams {
            read_until(&mut caller, "hello").await; // while the backend still waits
            go.send(()).unwrap();
            read_until(&mut caller, "world").await;
        } else {
            node.until_in_flight(1).await;
            let early = tokio::time::timeout(Duration::from_millis(50), caller.readable()).await;
            assert!(early.is_err(), "nothing comes before all has come: {dialect:?} {mode:?}");
            go.send(()).unwrap();
            let answer = read_until(&mut caller, "helloworld").await;
            assert!(answer.contains("\r\ncontent-length: 10\r\n"), "{answer}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_stalls_or_is_too_large_is_refused_where_it_is_buffered() {
    use ResponseTransferMode::Buffered;
    let declared = "HTTP/1.1 200 OK\r\ncontent-length: 10485761\r\n\r\nx";
    let chunk = format!("100000\r\n{}\r\n", "a".repeat(0x10_0000));
    let long = CHUNKED.to_owned() + &chunk.repeat(11);
    let half = format!("{CHUNKED}5\r\nhello\r\n");
    for (what, text, statuses, code) in [
        ("declared", declared.to_owned(), [502, 500, 500], "RESPONSE_TOO_LARGE"),
        ("counted", long, [502, 500, 500], "RESPONSE_TOO_LARGE"),
        ("broken off", half.clone(), [504, 504, 503], "INTEGRATION_FAILURE"),
        ("stalled", half, [504, 504, 503], "INTEGRATION_TIMEOUT"),
    ] {
        for (dialect, status) in [Native, AwsRest, AwsHttp].into_iter().zip(statuses) {
            let idle = |proxy: &mut HttpProxy| proxy.idle_timeout_ms = 100;
            let change = if what == "stalled" { idle } else { nothing };
            let (node, go) = node_of(dialect, Buffered, change, text.clone().into(), None).await;
            let held = (what != "broken off").then_some(go);
            let answer = node.get("/prod/").await;
            assert_eq!(answer.status(), status, "{what} {dialect:?} {answer:?}");
            if dialect == Native {
                assert_eq!(answer.json()["code"], code, "{what}");
            }
            drop(held);
            let counted = node.counted(1).await;
            assert!(counted[0].1.billed && !counted[0].1.aborted, "the backend's fault");
        }
    }
}

#[tokio::test]
async fn the_largest_answer_that_is_buffered_comes_whole() {
    let bytes = 10 << 20;
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{}", "a".repeat(bytes));
    let mode = ResponseTransferMode::Buffered;
    let (node, _go) = node_of(Native, mode, nothing, text.into(), None).await;
    let answer = node.get("/prod/").await;
    assert_eq!((answer.status(), answer.body().len()), (200, bytes));
}

#[tokio::test]
async fn no_exchange_takes_longer_than_its_tenant_may() {
    let (address, _listener) = raw_origin().await;
    let long = proxy_with(format!("http://{address}/"), |proxy| proxy.total_timeout_ms = 600_000);
    let node = TestNode::start(api_with(Native, vec![("GET /", long, false)], |(tenant, ..)| {
        tenant.integration_timeout_s = 1;
    }));
    let began = Instant::now();
    let answer = node.get("/prod/").await;
    assert_eq!(answer.json()["code"], "INTEGRATION_TIMEOUT");
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn a_timeout_is_answered_in_the_dialects_words() {
    for (dialect, status, body) in [
        (AwsRest, 504, r#"{"message":"Endpoint request timed out"}"#),
        (AwsHttp, 503, r#"{"message":"Service Unavailable"}"#),
    ] {
        let (address, _listener) = raw_origin().await;
        let route = proxy_with(format!("http://{address}/"), |proxy| proxy.total_timeout_ms = 50);
        let node = TestNode::start(api(dialect, &[("GET /", route)]));
        let answer = node.get("/prod/").await;
        assert_eq!((answer.status(), answer.body()), (status, body));
    }
}

#[tokio::test]
async fn trailers_of_a_buffered_answer_come_behind_it() {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Request, Response};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use proto::config::v1::ProtocolVersion;

    let (address, listener) = raw_origin().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(async |_: Request<hyper::body::Incoming>| {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("5"));
            let frames = [Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from("hello")))]
                .into_iter()
                .chain([Ok(Frame::trailers(trailers))]);
            Ok::<_, std::convert::Infallible>(Response::new(StreamBody::new(
                futures_util::stream::iter(frames),
            )))
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    });
    let route = proxy_with(format!("http://{address}/"), |proxy| {
        proxy.set_protocol_version(ProtocolVersion::Http2);
    });
    let node = TestNode::start(api(AwsRest, &[("GET /", route)]));
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{API}.execute-api.localhost/prod/"))
        .body(http_body_util::Empty::<Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().and_then(|all| all.get("x-sum")).unwrap(), "5");
    assert_eq!(body.to_bytes(), "hello");
}
