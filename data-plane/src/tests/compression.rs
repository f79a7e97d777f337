//! Answers that are compressed on their way out, as their callers read them.

use std::{convert::Infallible, io::Read, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use proto::config::v1::{
    Dialect::{self, AwsHttp, AwsRest, Native},
    Resource, integration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

use super::world::{API, PATIENCE, TestNode, api_with, full, mock, origin, proxy, read_until};

/// A node whose calls of `/` go there, and that compresses answers of so many bytes and more.
fn node(dialect: Dialect, bytes_min: u32, to: integration::Kind) -> TestNode {
    TestNode::start(resources(dialect, Some(bytes_min), to))
}

fn resources(dialect: Dialect, bytes_min: Option<u32>, to: integration::Kind) -> Vec<Resource> {
    api_with(dialect, vec![("ANY /", to, false)], |all| {
        all.1.api.as_mut().unwrap().minimum_compression_size = bytes_min;
    })
}

/// A backend that answers everything with this body and these fields.
async fn answering(fields: &'static [(&'static str, &'static str)], body: Vec<u8>) -> SocketAddr {
    let body = Bytes::from(body);
    origin(move |request: Request<Incoming>| {
        let mut response = Response::new(full(body.clone()));
        for (name, value) in fields {
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
            if name == "x-status" {
                let status = value.to_str().unwrap().parse().unwrap();
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            } else {
                response.headers_mut().append(name, value);
            }
        }
        let asked = request.headers().get("accept-encoding").cloned();
        response.headers_mut().extend(asked.map(|it| (HeaderName::from_static("x-asked"), it)));
        async { response }
    })
    .await
}

fn text(bytes: usize) -> Vec<u8> {
    let line = |at: usize| format!("{{\"id\":{at},\"name\":\"Pet {}\"}},\n", at * 7919 % 1000);
    (0..).flat_map(|at| line(at).into_bytes()).take(bytes).collect()
}

/// An answer as bytes.
struct Got {
    head: String,
    body: Vec<u8>,
    /// Of the whole answer, head and framing with it.
    wire_bytes: usize,
}

impl Got {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn decoded(&self) -> Vec<u8> {
        decoded(self.field("content-encoding"), &self.body)
    }
}

fn decoded(coding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = match coding {
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut plain),
        Some("deflate") => flate2::read::ZlibDecoder::new(body).read_to_end(&mut plain),
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut plain),
        Some("zstd") => zstd::stream::read::Decoder::new(body).unwrap().read_to_end(&mut plain),
        None => return body.to_vec(),
        Some(other) => panic!("{other}"),
    };
    read.unwrap();
    plain
}

async fn call(node: &TestNode, method: &str, fields: &[&str]) -> Got {
    let mut request = format!("{method} /prod HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n");
    for field in fields {
        request.push_str(field);
        request.push_str("\r\n");
    }
    request.push_str("connection: close\r\n\r\n");
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut got = Got { head, body: bytes[end + 4..].to_vec(), wire_bytes: bytes.len() };
    if got.field("transfer-encoding") == Some("chunked") {
        got.body = unchunked(&got.body);
    }
    got
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|it| it == b"\r\n").unwrap();
        let size = std::str::from_utf8(&bytes[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 4 + size..];
    }
}

#[tokio::test]
async fn an_answer_comes_whole_in_each_coding_that_its_caller_takes() {
    let body = text(300_000);
    let at =
        answering(&[("content-type", "application/json"), ("etag", "\"1\"")], body.clone()).await;
    for (dialect, codings, varies) in [
        (Native, &["zstd", "br", "gzip", "deflate"][..], Some("Accept-Encoding")),
        (AwsRest, &["gzip", "deflate"][..], None),
        (AwsHttp, &["gzip", "deflate"][..], None),
    ] {
        let node = node(dialect, 1000, proxy(format!("http://{at}/")));
        for coding in codings {
            let got = call(&node, "GET", &[&format!("accept-encoding: {coding}")]).await;
            assert_eq!(got.field("content-encoding"), Some(*coding), "{}", got.head);
            assert_eq!(got.field("vary"), varies);
            assert_eq!((got.field("content-length"), got.field("etag")), (None, Some("W/\"1\"")));
            assert_eq!(
                got.field("x-asked"),
                Some(*coding),
                "the backend is told what the caller takes"
            );
            assert!(got.wire_bytes < body.len() / 3, "{coding}: {} bytes", got.wire_bytes);
            assert!(got.decoded() == body, "{coding} gives other bytes");
        }
        let plain = call(&node, "GET", &[]).await;
        assert_eq!((plain.field("content-encoding"), plain.field("vary")), (None, varies));
        assert_eq!(
            (plain.field("content-length"), plain.field("etag")),
            (Some("300000"), Some("\"1\""))
        );
        assert!(plain.body == body);
    }
}

#[tokio::test]
async fn an_api_that_asks_for_none_compresses_nothing() {
    let at = answering(&[], text(5000)).await;
    let node = TestNode::start(resources(Native, None, proxy(format!("http://{at}/"))));
    let got = call(&node, "GET", &["accept-encoding: gzip"]).await;
    assert_eq!((got.field("content-encoding"), got.field("vary")), (None, None));
    assert_eq!(got.body.len(), 5000);
}

#[tokio::test]
async fn only_what_is_as_long_as_the_api_says_is_compressed() {
    for (bytes, min, expected) in
        [(999, 1000, None), (1000, 1000, Some("gzip")), (1, 0, Some("gzip")), (0, 0, None)]
    {
        let at = answering(&[], text(bytes)).await;
        for (dialect, to) in [
            (Native, proxy(format!("http://{at}/"))),
            (AwsRest, mock(200, &String::from_utf8(text(bytes)).unwrap())),
        ] {
            let node = node(dialect, min, to);
            let got = call(&node, "GET", &["accept-encoding: gzip"]).await;
            assert_eq!(got.field("content-encoding"), expected, "{bytes} of {min}");
            assert!(got.decoded() == text(bytes));
        }
    }
}

#[tokio::test]
async fn what_a_backend_coded_or_answers_in_parts_stays_as_it_is() {
    for fields in [
        &[("content-encoding", "br")][..],
        &[("cache-control", "no-transform")],
        &[("x-status", "206"), ("content-range", "bytes 0-4999/9999")],
        &[("content-type", "image/png")],
    ] {
        let at = answering(fields, text(5000)).await;
        let node = node(Native, 0, proxy(format!("http://{at}/")));
        let got = call(&node, "GET", &["accept-encoding: gzip"]).await;
        let own = fields[0].0 == "content-encoding";
        assert_eq!(got.field("content-encoding"), own.then_some("br"), "{fields:?}");
        assert_eq!((got.field("content-length"), got.field("vary")), (Some("5000"), None));
        assert!(got.body == text(5000));
    }
    for status in ["204", "304"] {
        let fields: &'static [_] =
            if status == "204" { &[("x-status", "204")] } else { &[("x-status", "304")] };
        let at = answering(fields, Vec::new()).await;
        let node = node(Native, 0, proxy(format!("http://{at}/")));
        let got = call(&node, "GET", &["accept-encoding: gzip"]).await;
        assert_eq!((got.status(), got.field("content-encoding")), (status, None));
        assert!(got.body.is_empty());
    }
}

#[tokio::test]
async fn a_refusal_stays_as_it_is() {
    let node = node(Native, 0, mock(200, "x"));
    let answer = node.call("GET /prod/unknown", &["accept-encoding: gzip"]).await;
    assert_eq!((answer.status(), answer.field("content-encoding")), (404, None));
    assert_eq!(answer.json()["code"], "RESOURCE_NOT_FOUND");
}

#[tokio::test]
async fn head_says_of_get_what_get_says_and_has_no_body() {
    let at = answering(&[("etag", "\"1\"")], text(5000)).await;
    for to in [proxy(format!("http://{at}/")), mock(200, &String::from_utf8(text(5000)).unwrap())] {
        let node = node(Native, 1000, to);
        let (get, head) = (
            call(&node, "GET", &["accept-encoding: gzip"]).await,
            call(&node, "HEAD", &["accept-encoding: gzip"]).await,
        );
        for name in ["content-encoding", "vary", "etag", "content-length"] {
            assert_eq!(head.field(name), get.field(name), "{name}");
        }
        assert_eq!(head.field("content-encoding"), Some("gzip"));
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn an_http_1_0_caller_gets_it_to_the_end_of_the_connection() {
    let at = answering(&[], text(5000)).await;
    let node = node(Native, 1000, proxy(format!("http://{at}/")));
    let request = format!(
        "GET /prod HTTP/1.0\r\nhost: {API}.execute-api.localhost\r\naccept-encoding: deflate\r\n\r\n"
    );
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    assert!(
        !String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase().contains("transfer-encoding")
    );
    assert!(decoded(Some("deflate"), &bytes[end + 4..]) == text(5000));
}

/// A backend that sends what it is told to, when it is told to.
async fn streaming() -> (SocketAddr, mpsc::UnboundedSender<&'static str>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let at = origin(move |_| {
        let events: mpsc::UnboundedReceiver<&str> = receiver.lock().unwrap().take().unwrap();
        let frames = tokio_stream::wrappers::UnboundedReceiverStream::new(events)
            .map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from_static(event.as_bytes()))));
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
        let media_type = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
        async { response }
    })
    .await;
    (at, sender)
}

#[tokio::test]
async fn an_event_comes_through_before_the_next_one_is_sent() {
    for coding in ["zstd", "br", "gzip", "deflate"] {
        let (at, events) = streaming().await;
        let node = node(Native, 1000, proxy(format!("http://{at}/")));
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let request = format!(
            "GET /prod HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\naccept-encoding: {coding}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        events.send("data: 1\n\n").unwrap();
        // Without a length it counts as long, and every event comes out by itself.
        let mut bytes = Vec::new();
        let mut expected = String::new();
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            if event != "data: 1\n\n" {
                events.send(event).unwrap();
            }
            expected.push_str(event);
            let reading = async {
                loop {
                    if so_far(coding, &bytes).as_deref() == Some(expected.as_bytes()) {
                        return;
                    }
                    assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "{coding}: closed");
                }
            };
            timeout(PATIENCE, reading).await.expect("the event came through");
        }
        drop(events);
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        assert_eq!(decoded(Some(coding), &unchunked(&bytes[end + 4..])), expected.as_bytes());
    }
}

/// What a decoder makes of an answer that has only begun.
fn so_far(coding: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let (mut body, mut rest) = (Vec::new(), &bytes[end + 4..]);
    while let Some(line) = rest.windows(2).position(|it| it == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        let Some(data) = rest.get(line + 2..line + 2 + size) else { break };
        body.extend_from_slice(data);
        let Some(after) = rest.get(line + 4 + size..) else { break };
        rest = after;
    }
    let mut reader: Box<dyn Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(&body[..])),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(&body[..])),
        "br" => Box::new(brotli::Decompressor::new(&body[..], 1)),
        _ => Box::new(zstd::stream::read::Decoder::new(&body[..]).ok()?),
    };
    let (mut plain, mut byte) = (Vec::new(), [0]);
    while let Ok(1) = reader.read(&mut byte) {
        plain.push(byte[0]);
    }
    Some(plain)
}

#[tokio::test]
async fn a_backend_that_breaks_off_leaves_its_caller_with_no_end() {
    let (at, listener) = super::world::raw_origin().await;
    let node = node(Native, 0, proxy(format!("http://{at}/")));
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello").await.unwrap();
    });
    let answer = node.call("GET /prod", &["accept-encoding: gzip"]).await;
    backend.await.unwrap();
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert!(!answer.text.ends_with("0\r\n\r\n"), "{answer:?}");
}

#[tokio::test]
async fn what_left_is_what_is_counted() {
    let body = text(100_000);
    let at = answering(&[], body).await;
    let node = node(Native, 1000, proxy(format!("http://{at}/")));
    let got = call(&node, "GET", &["accept-encoding: gzip"]).await;
    let (_, record) = node.counted(1).await.pop().unwrap();
    let framing = 4096; // of chunks, and the head as another protocol would count it
    let sent = got.wire_bytes as u64;
    assert!(record.bytes_out <= sent && record.bytes_out + framing > sent, "{record:?}, {sent}");
    assert!(record.bytes_out >= got.body.len() as u64);
}

#[tokio::test]
async fn over_http_2_it_comes_whole_too() {
    let body = text(300_000);
    let at = answering(&[], body.clone()).await;
    let node = node(Native, 1000, proxy(format!("http://{at}/")));
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{API}.execute-api.localhost/prod"))
        .header("accept-encoding", "br")
        .body(())
        .unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["content-encoding"], "br");
    let (mut stream, mut bytes) = (answer.into_body(), Vec::new());
    while let Some(data) = timeout(PATIENCE, stream.data()).await.unwrap() {
        let data = data.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    assert!(decoded(Some("br"), &bytes) == body);
}

#[tokio::test]
async fn callers_who_take_nothing_keep_no_other_from_being_served() {
    let at = answering(&[], text(64 << 20)).await;
    let node = node(Native, 1000, proxy(format!("http://{at}/")));
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let request = format!(
            "GET /prod HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\naccept-encoding: gzip\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        slow.push(stream);
    }
    let small = async {
        for _ in 0..20 {
            let got = call(&node, "HEAD", &["accept-encoding: gzip"]).await;
            assert_eq!(got.field("content-encoding"), Some("gzip"));
        }
    };
    timeout(Duration::from_secs(15), small).await.expect("the others are served");
    let mut stream = slow.pop().unwrap();
    let mut bytes = vec![0; 200_000];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("its turn comes").unwrap();
}
