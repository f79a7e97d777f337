//! Calls that pass key, throttles and quota, however they end.

use harness::Api;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::backend::{backend, gone, listen, nobody, says};
use super::caller::{
    answer, call, call_at, closing, connect, connect_tls, counted, field, head, head_frame,
    post_http2, request, reset, send, unchunked,
};
use super::{BESIDE, Proof, Scene, Seen, Went, mock, proxy};
use crate::http2::{DATA, END_STREAM, RST_STREAM, frame, next, opening};

/// Of an API in the dialect of AWS's HTTP APIs.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// HPACK's schemes.
const HTTP: u8 = 0x86;
const HTTPS: u8 = 0x87;
/// `hello, hello, hello, hello`, by gzip.
const GZIP: [u8; 29] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 215, 81, 200, 192, 164, 0, 85, 163,
    130, 119, 26, 0, 0, 0,
];
/// How long a body may stand still.
const IDLE_MS: u32 = 500;
/// Bytes of an answer, or of a body, that is not whole.
const PART: usize = 1_000;
const WHOLE: usize = 100_000;

pub(super) fn lines<'s>(scene: &'s Scene<'s>) -> Vec<(&'static str, Proof<'s>)> {
    vec![
        ("answered", Box::pin(answered(scene))),
        ("with a body", Box::pin(with_a_body(scene))),
        ("in chunks, both ways", Box::pin(in_chunks(scene))),
        ("a compressed answer", Box::pin(compressed(scene))),
        ("HEAD", Box::pin(to_head(scene))),
        ("304 to `If-None-Match`", Box::pin(not_modified(scene))),
        ("1xx before the answer", Box::pin(interim(scene))),
        ("an upgrade asked for", Box::pin(upgrade(scene))),
        ("101 from a backend", Box::pin(switched(scene))),
        ("over TLS", Box::pin(over_tls(scene))),
        ("over HTTP/2", Box::pin(over_http2(scene))),
        ("over HTTP/2 and TLS", Box::pin(over_http2_and_tls(scene))),
        ("a backend's own error", Box::pin(own_error(scene))),
        ("a function", Box::pin(function_called(scene))),
        ("a function that failed", Box::pin(function_failed(scene))),
        ("a function that streams what does not begin as it must", Box::pin(headless(scene))),
        ("a backend out of reach", Box::pin(out_of_reach(scene))),
        ("a backend too slow", Box::pin(too_slow(scene))),
        ("a backend that breaks off", Box::pin(backend_breaks_off(scene))),
        ("a backend that falls silent", Box::pin(backend_falls_silent(scene))),
        ("tried twice", Box::pin(tried_twice(scene))),
        ("MOCK, with a body", Box::pin(mocked(scene))),
        ("the caller resets the connection", Box::pin(connection_reset(scene))),
        ("the caller resets the stream", Box::pin(stream_reset(scene))),
        ("the caller leaves before the answer", Box::pin(left_early(scene))),
        ("the caller's body breaks off", Box::pin(body_breaks_off(scene))),
        ("the caller resets the connection in its body", Box::pin(reset_in_its_body(scene))),
        ("the caller resets the stream in its body", Box::pin(stream_reset_in_its_body(scene))),
        ("the caller's body stops coming", Box::pin(body_stops(scene))),
        ("the caller's body grows too large", Box::pin(body_grows_too_large(scene))),
        ("beyond a soft quota", Box::pin(beyond_soft_quota(scene))),
        ("by a test key", Box::pin(by_test_key(scene))),
    ]
}

async fn answered(scene: &Scene<'_>) -> Seen {
    let origin = scene.world.origin().await.replies(200, "hello");
    let api = scene.api(proxy(&origin.url())).await;
    Seen::answered(&api, 0, &call(&api, "GET", &[], b"").await.expect(200))
}

async fn with_a_body(scene: &Scene<'_>) -> Seen {
    let origin = scene.world.origin().await.replies(201, "hello");
    let api = scene.api(proxy(&origin.url())).await;
    let answer = call(&api, "POST", &["content-length: 10"], b"0123456789").await.expect(201);
    assert_eq!(origin.received()[0].body, "0123456789");
    Seen::answered(&api, 10, &answer)
}

async fn in_chunks(scene: &Scene<'_>) -> Seen {
    let (url, backend) = backend(async |mut stream| {
        let asked = head(&mut stream).await;
        assert_eq!(field(&asked, "transfer-encoding"), Some("chunked"), "{asked}");
        let mut body = Vec::new();
        while !body.ends_with(b"0\r\n\r\n") {
            stream.read_buf(&mut body).await.unwrap();
        }
        let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                      5\r\nhello\r\n7;note=x\r\n, world\r\n0\r\nx-sum: 12\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        gone(stream).await;
        unchunked(&body)
    })
    .await;
    let api = scene.api(proxy(&url)).await;
    let sent = b"3\r\nabc\r\n4;note=x\r\ndefg\r\n0\r\n\r\n";
    let answer = call(&api, "POST", &["transfer-encoding: chunked"], sent).await.expect(200);
    assert_eq!(field(&answer.head, "transfer-encoding"), Some("chunked"), "{}", answer.head);
    assert_eq!(answer.content, b"hello, world");
    assert_eq!(backend.await.unwrap(), b"abcdefg");
    Seen::answered(&api, unchunked(sent).len(), &answer)
}

async fn compressed(scene: &Scene<'_>) -> Seen {
    let (url, _backend) = backend(async |mut stream| {
        head(&mut stream).await;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            GZIP.len()
        );
        stream.write_all(&[head.as_bytes(), &GZIP].concat()).await.unwrap();
        gone(stream).await;
    })
    .await;
    let api = scene.api(proxy(&url)).await;
    let answer = call(&api, "GET", &["accept-encoding: gzip"], b"").await.expect(200);
    assert_eq!(answer.content, GZIP);
    Seen::answered(&api, 0, &answer)
}

async fn to_head(scene: &Scene<'_>) -> Seen {
    let (url, _backend) = says(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
    let api = scene.api(proxy(&url)).await;
    let answer = call(&api, "HEAD", &[], b"").await.expect(200);
    assert_eq!((field(&answer.head, "content-length"), answer.content.len()), (Some("1000"), 0));
    Seen::answered(&api, 0, &answer)
}

async fn not_modified(scene: &Scene<'_>) -> Seen {
    let (url, _backend) =
        says(b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 1000\r\n\r\n").await;
    let api = scene.api(proxy(&url)).await;
    let answer = call(&api, "GET", &["if-none-match: \"a\""], b"").await.expect(304);
    assert_eq!(answer.content, b"");
    Seen::answered(&api, 0, &answer)
}

async fn interim(scene: &Scene<'_>) -> Seen {
    let (url, _backend) = backend(async |mut stream| {
        head(&mut stream).await;
        stream.read_exact(&mut [0; 10]).await.unwrap();
        let answer = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n\
                      HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).await.unwrap();
        gone(stream).await;
    })
    .await;
    let api = scene.api(proxy(&url)).await;
    let fields = closing(&["expect: 100-continue", "content-length: 10"]);
    let mut stream = connect(&api).await;
    let asked = request(&api, "POST", "/line", &fields);
    stream.write_all(asked.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"0123456789").await.unwrap();
    let answer = answer(&mut stream, &asked).await.expect(200);
    assert_eq!(answer.interim, [0; 0]);
    Seen::answered(&api, 10, &answer)
}

async fn upgrade(scene: &Scene<'_>) -> Seen {
    let (url, asked) =
        says(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello").await;
    let api = scene.api(proxy(&url)).await;
    let fields = ["upgrade: websocket", "connection: upgrade, close", "sec-websocket-version: 13"];
    let head = request(&api, "GET", "/line", &fields);
    let answer = send(connect(&api).await, &head, b"").await.expect(200);
    let asked = asked.await.unwrap();
    assert_eq!((field(&asked, "upgrade"), field(&asked, "connection")), (None, None), "{asked}");
    Seen::answered(&api, 0, &answer)
}

async fn switched(scene: &Scene<'_>) -> Seen {
    let (url, _backend) =
        says(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
            .await;
    let api = scene.api(proxy(&url)).await;
    Seen::answered(&api, 0, &call(&api, "GET", &[], b"").await.expect(504))
}

async fn over_tls(scene: &Scene<'_>) -> Seen {
    let origin = scene.world.origin().await.replies(200, "hello");
    let api = scene.api(proxy(&origin.url())).await;
    let head = request(&api, "POST", "/line", &closing(&["content-length: 10"]));
    let answer = send(connect_tls(&api, false).await, &head, b"0123456789").await.expect(200);
    Seen::answered(&api, 10, &answer)
}

async fn over_http2(scene: &Scene<'_>) -> Seen {
    let origin = scene.world.origin().await.replies(200, "hello");
    let api = scene.with_beside(proxy(&origin.url())).await;
    let beside = call_at(&api, BESIDE, "POST", &[], b"").await.expect(200);
    let content = post_http2(&api, connect(&api).await, HTTP, b"0123456789").await;
    assert_eq!(origin.received()[1].body, "0123456789");
    let asked = request(&api, "POST", "/line", &[]).len();
    Seen::told(&api, Went::all(asked, 10), Went::all(counted(&beside.head), content.len()))
}

async fn over_http2_and_tls(scene: &Scene<'_>) -> Seen {
    let origin = scene.world.origin().await.replies(200, "hello");
    let api = scene.with_beside(proxy(&origin.url())).await;
    let beside = call_at(&api, BESIDE, "POST", &[], b"").await.expect(200);
    let stream = connect_tls(&api, true).await;
    let content = post_http2(&api, stream, HTTPS, b"0123456789").await;
    assert_eq!(origin.received()[1].body, "0123456789");
    let asked = request(&api, "POST", "/line", &[]).len();
    Seen::told(&api, Went::all(asked, 10), Went::all(counted(&beside.head), content.len()))
}

async fn own_error(scene: &Scene<'_>) -> Seen {
    let origin = scene.world.origin().await.replies(500, "broken");
    let api = scene.api(proxy(&origin.url())).await;
    Seen::answered(&api, 0, &call(&api, "GET", &[], b"").await.expect(500))
}

fn function(url: &str) -> Value {
    json!({ "type": "AWS_PROXY", "uri": url, "payloadFormatVersion": "2.0" })
}

async fn function_called(scene: &Scene<'_>) -> Seen {
    let answer = r#"{"statusCode":200,"body":"aGVsbG8=","isBase64Encoded":true}"#;
    let origin = scene.world.origin().await.replies(200, answer);
    let api = scene.api(function(&origin.url())).await;
    let answer = call(&api, "POST", &["content-length: 10"], b"0123456789").await.expect(200);
    assert_eq!(answer.content, b"hello");
    Seen::answered(&api, 10, &answer)
}

async fn function_failed(scene: &Scene<'_>) -> Seen {
    let origin = scene.world.origin().await.replies(200, "no answer");
    let api = scene.api(function(&origin.url())).await;
    Seen::answered(&api, 0, &call(&api, "GET", &[], b"").await.expect(502))
}

async fn headless(scene: &Scene<'_>) -> Seen {
    let origin = scene.world.origin().await.replies(200, "no head");
    let mut integration = function(&origin.url());
    integration["responseTransferMode"] = json!("STREAM");
    let api = scene.api(integration).await;
    Seen::answered(&api, 0, &call(&api, "GET", &[], b"").await.expect(500))
}

async fn out_of_reach(scene: &Scene<'_>) -> Seen {
    let (url, _reserved) = nobody();
    let api = scene.api(proxy(&url)).await;
    Seen::answered(&api, 0, &call(&api, "GET", &[], b"").await.expect(504))
}

async fn too_slow(scene: &Scene<'_>) -> Seen {
    let (url, _backend) = backend(gone).await;
    let mut integration = proxy(&url);
    integration["firstByteTimeoutMs"] = json!(100);
    let api = scene.api(integration).await;
    Seen::answered(&api, 0, &call(&api, "GET", &[], b"").await.expect(504))
}

/// The head of a long answer and its first bytes.
fn part() -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {WHOLE}\r\n\r\n").as_bytes(), &[b'x'; PART]]
        .concat()
}

async fn backend_breaks_off(scene: &Scene<'_>) -> Seen {
    let (go, told) = oneshot::channel::<()>();
    let (url, _backend) = backend(async move |mut stream| {
        head(&mut stream).await;
        stream.write_all(&part()).await.unwrap();
        told.await.unwrap();
    })
    .await;
    let api = scene.api(proxy(&url)).await;
    let mut stream = connect(&api).await;
    let asked = request(&api, "GET", "/line", &[]);
    stream.write_all(asked.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    stream.read_exact(&mut [0; PART]).await.unwrap();
    go.send(()).unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    Seen::told(&api, Went::all(asked.len(), 0), Went::of(counted(&head), PART, WHOLE))
}

async fn backend_falls_silent(scene: &Scene<'_>) -> Seen {
    let (url, _backend) = backend(async |mut stream| {
        head(&mut stream).await;
        stream.write_all(&part()).await.unwrap();
        gone(stream).await;
    })
    .await;
    let mut integration = proxy(&url);
    integration["idleTimeoutMs"] = json!(IDLE_MS);
    let api = scene.api(integration).await;
    let mut stream = connect(&api).await;
    let asked = request(&api, "GET", "/line", &[]);
    stream.write_all(asked.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    stream.read_exact(&mut [0; PART]).await.unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    Seen::told(&api, Went::all(asked.len(), 0), Went::of(counted(&head), PART, WHOLE))
}

async fn tried_twice(scene: &Scene<'_>) -> Seen {
    let (url, listener) = listen().await;
    let origin = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        head(&mut first).await;
        first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nbeside").await.unwrap();
        head(&mut first).await;
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        head(&mut second).await;
        second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
    });
    let api = scene.with_beside(proxy(&url)).await;
    call_at(&api, BESIDE, "GET", &[], b"").await.expect(200);
    let answer = call(&api, "GET", &[], b"").await.expect(200);
    assert_eq!(answer.content, b"hello");
    origin.await.unwrap();
    Seen::answered(&api, 0, &answer)
}

async fn mocked(scene: &Scene<'_>) -> Seen {
    let api = scene.api(mock("hello")).await;
    let answer = call(&api, "POST", &["content-length: 10"], b"0123456789").await.expect(200);
    Seen::answered(&api, 10, &answer)
}

async fn connection_reset(scene: &Scene<'_>) -> Seen {
    let (url, left) = backend(async |mut stream| {
        head(&mut stream).await;
        stream.write_all(&part()).await.unwrap();
        gone(stream).await;
    })
    .await;
    let api = scene.api(proxy(&url)).await;
    let mut stream = connect(&api).await;
    let asked = request(&api, "GET", "/line", &[]);
    stream.write_all(asked.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    stream.read_exact(&mut [0; PART]).await.unwrap();
    reset(stream);
    left.await.unwrap();
    Seen::told(&api, Went::all(asked.len(), 0), Went::of(counted(&head), PART, WHOLE))
}

async fn stream_reset(scene: &Scene<'_>) -> Seen {
    let (url, left) = backend(async |mut stream| {
        head(&mut stream).await;
        stream.write_all(&part()).await.unwrap();
        gone(stream).await;
    })
    .await;
    let api = scene.api(proxy(&url)).await;
    let mut stream = connect(&api).await;
    let asked = [opening(), head_frame(&api, 0x82, HTTP, END_STREAM)].concat();
    stream.write_all(&asked).await.unwrap();
    let mut came = 0;
    while came < PART {
        let (kind, _, of, payload) = next(&mut stream).await.expect("an answer");
        if (kind, of) == (DATA, 1) {
            came += payload.len();
        }
    }
    assert_eq!(came, PART);
    let cancel = 8u32.to_be_bytes();
    stream.write_all(&frame(RST_STREAM, 0, 1, &cancel)).await.unwrap();
    left.await.unwrap();
    let asked = request(&api, "GET", "/line", &[]).len();
    // What HTTP/2 says in fewer bytes.
    let id = "01900000-0000-7000-8000-000000000000";
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {WHOLE}\r\nx-request-id: {id}\r\ndate: {date}\r\n\r\n"
    );
    Seen::told(&api, Went::all(asked, 0), Went::of(head.len(), PART, WHOLE))
}

async fn left_early(scene: &Scene<'_>) -> Seen {
    let (asked, was_asked) = oneshot::channel();
    let (url, left) = backend(async move |mut stream| {
        asked.send(head(&mut stream).await).unwrap();
        gone(stream).await;
    })
    .await;
    let api = scene.api(proxy(&url)).await;
    let mut stream = connect(&api).await;
    let sent = request(&api, "GET", "/line", &[]);
    stream.write_all(sent.as_bytes()).await.unwrap();
    was_asked.await.unwrap();
    drop(stream);
    left.await.unwrap();
    Seen::told(&api, Went::all(sent.len(), 0), Went::all(0, 0))
}

/// A call whose backend has a part of its body.
struct Unfinished<'s> {
    api: Api<'s>,
    stream: TcpStream,
    asked: String,
    /// Ends when the backend's connection has.
    left: JoinHandle<()>,
}

impl<'s> Unfinished<'s> {
    async fn of(scene: &'s Scene<'s>) -> Self {
        let (came, has_come) = oneshot::channel();
        let (url, left) = backend(async move |mut stream| {
            head(&mut stream).await;
            came.send(stream.read_exact(&mut [0; PART]).await.unwrap()).unwrap();
            gone(stream).await;
        })
        .await;
        let api = scene.api(proxy(&url)).await;
        let mut stream = connect(&api).await;
        let asked = request(&api, "POST", "/line", &[&format!("content-length: {WHOLE}")]);
        stream.write_all(&[asked.as_bytes(), &[b'x'; PART]].concat()).await.unwrap();
        has_come.await.unwrap();
        Self { api, stream, asked, left }
    }
}

async fn body_breaks_off(scene: &Scene<'_>) -> Seen {
    let Unfinished { api, mut stream, asked, left } = Unfinished::of(scene).await;
    stream.shutdown().await.unwrap();
    let answer = answer(&mut stream, &asked).await.expect(400);
    left.await.unwrap();
    Seen::broke_off(&api, Went::of(asked.len(), PART, WHOLE), &answer)
}

async fn reset_in_its_body(scene: &Scene<'_>) -> Seen {
    let Unfinished { api, stream, asked, left } = Unfinished::of(scene).await;
    reset(stream);
    left.await.unwrap();
    Seen::told(&api, Went::of(asked.len(), PART, WHOLE), Went::all(0, 0))
}

async fn stream_reset_in_its_body(scene: &Scene<'_>) -> Seen {
    let (came, has_come) = oneshot::channel();
    let (url, left) = backend(async move |mut stream| {
        head(&mut stream).await;
        let mut body = vec![0; PART];
        came.send(stream.read_exact(&mut body).await.unwrap()).unwrap();
        gone(stream).await;
    })
    .await;
    let api = scene.api(proxy(&url)).await;
    let mut stream = connect(&api).await;
    let data = frame(DATA, 0, 1, &[b'x'; PART]);
    let sent = [opening(), head_frame(&api, 0x83, HTTP, 0), data].concat();
    stream.write_all(&sent).await.unwrap();
    has_come.await.unwrap();
    let cancel = 8u32.to_be_bytes();
    stream.write_all(&frame(RST_STREAM, 0, 1, &cancel)).await.unwrap();
    left.await.unwrap();
    let asked = request(&api, "POST", "/line", &[]).len();
    Seen::told(&api, Went::of(asked, PART, WHOLE), Went::all(0, 0))
}

async fn body_stops(scene: &Scene<'_>) -> Seen {
    let (url, left) = backend(gone).await;
    let mut integration = proxy(&url);
    integration["idleTimeoutMs"] = json!(IDLE_MS);
    let api = scene.api(integration).await;
    let mut stream = connect(&api).await;
    let length = format!("content-length: {WHOLE}");
    let asked = request(&api, "POST", "/line", &closing(&[&length]));
    stream.write_all(&[asked.as_bytes(), &[b'x'; PART]].concat()).await.unwrap();
    let answer = answer(&mut stream, &asked).await.expect(408);
    left.await.unwrap();
    Seen::broke_off(&api, Went::of(asked.len(), PART, WHOLE), &answer)
}

async fn body_grows_too_large(scene: &Scene<'_>) -> Seen {
    let (url, left) = backend(gone).await;
    let api = scene.acme.api_in("AWS_HTTP", "line").await;
    let api = super::with_line(api, json!({ "integration": proxy(&url) })).await;
    let api = api.deploy("prod").await;
    let mut stream = connect(&api).await;
    let asked = request(&api, "POST", "/line", &closing(&["transfer-encoding: chunked"]));
    let size = format!("{BODY_BYTES_MAX:x}\r\n");
    let body = [asked.as_bytes(), size.as_bytes(), &vec![b'x'; BODY_BYTES_MAX]].concat();
    stream.write_all(&body).await.unwrap();
    stream.write_all(b"\r\n1\r\nx\r\n").await.unwrap();
    let answer = answer(&mut stream, &asked).await.expect(413);
    left.await.unwrap();
    // As the chunks have no end, there was more to come.
    let bytes_in = Went::of(asked.len(), BODY_BYTES_MAX + 1, BODY_BYTES_MAX + 2);
    Seen::broke_off(&api, bytes_in, &answer)
}

async fn beyond_soft_quota(scene: &Scene<'_>) -> Seen {
    let api = scene.keyed().await;
    let terms = json!({ "enforcement": "SOFT" });
    let key = api.usage_plan("soft").quota(1, "MONTH").terms(&terms).key().await;
    let key = format!("x-api-key: {}", key.value);
    call_at(&api, BESIDE, "GET", &[&key], b"").await.expect(200);
    Seen::answered(&api, 0, &call(&api, "GET", &[&key], b"").await.expect(200))
}

async fn by_test_key(scene: &Scene<'_>) -> Seen {
    let api = scene.keyed().await;
    let key = api.usage_plan("test").key_with(&json!({ "mode": "TEST" })).await;
    let key = format!("x-api-key: {}", key.value);
    Seen::answered(&api, 0, &call(&api, "GET", &[&key], b"").await.expect(200))
}
