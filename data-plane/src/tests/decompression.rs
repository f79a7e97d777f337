//! Requests whose bodies are compressed, as backends and functions get them.

use std::{io::Write, net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use proto::config::v1::{
    Dialect::{self, AwsHttp, AwsRest, Native},
    Function, HttpProxy, PayloadFormatVersion, ProtocolVersion, integration,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::world::{
    API, Answer, PATIENCE, TestNode, api_with, full, mock, origin, proxy, proxy_with, raw_origin,
    read_until,
};

const MIB: usize = 1 << 20;

/// A node whose calls of `/` go there, by an Api that says this of compressed requests.
fn node(dialect: Dialect, says: Option<bool>, to: integration::Kind) -> TestNode {
    TestNode::start(api_with(dialect, vec![("ANY /", to, false)], |all| {
        all.1.api.as_mut().unwrap().decompress_requests = says;
    }))
}

fn function(at: SocketAddr) -> integration::Kind {
    let uri = format!("http://{at}/");
    integration::Kind::Function(Function {
        backend: Some(HttpProxy { uri, ..HttpProxy::default() }),
        payload_format_version: PayloadFormatVersion::PayloadFormatVersion20.into(),
    })
}

/// A backend that tells as JSON what came: the fields that bodies have, and the body in base64.
async fn telling() -> SocketAddr {
    origin(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        let field = |name: &str| head.headers.get(name).map(|it| it.to_str().unwrap().to_owned());
        let (coding, length, digest, framing) = (
            field("content-encoding"),
            field("content-length"),
            field("content-digest"),
            field("transfer-encoding"),
        );
        let body = match body.collect().await {
            Ok(body) => json!(STANDARD.encode(body.to_bytes())),
            Err(_) => Value::Null,
        };
        let told = json!({
            "coding": coding, "length": length, "digest": digest, "framing": framing, "body": body,
        });
        Response::new(full(told.to_string()))
    })
    .await
}

/// A function that answers with its event.
async fn echoing() -> SocketAddr {
    origin(|request: Request<Incoming>| async {
        let event = request.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(event.to_vec()).unwrap();
        Response::new(full(json!({ "statusCode": 200, "body": body }).to_string()))
    })
    .await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn packed(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => gzip(bytes),
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 3, 20).write_all(bytes).unwrap();
            out
        }
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        other => panic!("{other}"),
    }
}

fn text(bytes: usize) -> Vec<u8> {
    let line = |at: usize| format!("{{\"id\":{at},\"name\":\"Pet {}\"}},\n", at * 7919 % 1000);
    (0..).flat_map(|at| line(at).into_bytes()).take(bytes).collect()
}

/// A POST of this body, whose length is told.
async fn post(node: &TestNode, fields: &[&str], body: &[u8]) -> Answer {
    let mut request = format!(
        "POST /prod HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for field in fields {
        request.push_str(field);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    node.raw(&[request.as_bytes(), body].concat()).await
}

/// The body that the backend says it got.
fn got(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.status(), 200, "{answer:?}");
    let told = answer.json();
    STANDARD.decode(told["body"].as_str().unwrap_or_else(|| panic!("{told}"))).unwrap()
}

#[tokio::test]
async fn where_an_api_asks_for_it_its_backend_gets_bodies_unpacked_and_fields_that_say_so() {
    let at = telling().await;
    let plain = text(300_000);
    for (dialect, says) in [(Native, Some(true)), (AwsRest, None), (AwsHttp, Some(true))] {
        let node = node(dialect, says, proxy(format!("http://{at}/")));
        let codings: &[_] = if dialect == Native {
            &["gzip", "deflate", "br", "zstd"]
        } else {
            &["gzip", "deflate"]
        };
        for coding in codings {
            let field = format!("content-encoding: {coding}");
            let fields = [&*field, "content-digest: sha-256=:AA==:"];
            let answer = post(&node, &fields, &packed(coding, &plain)).await;
            assert!(got(&answer) == plain, "{coding} in {dialect:?}");
            let told = answer.json();
            assert_eq!(
                (&told["coding"], &told["length"], &told["digest"], &told["framing"]),
                (&Value::Null, &Value::Null, &Value::Null, &json!("chunked"))
            );
        }
    }
}

#[tokio::test]
async fn elsewhere_backends_get_the_bytes_that_came() {
    let at = telling().await;
    let body = gzip(b"hello");
    for (dialect, says) in [(Native, None), (AwsHttp, None), (AwsRest, Some(false))] {
        let node = node(dialect, says, proxy(format!("http://{at}/")));
        for coding in ["gzip", "anything"] {
            let answer = post(&node, &[&format!("content-encoding: {coding}")], &body).await;
            assert_eq!(got(&answer), body);
            let told = answer.json();
            assert_eq!(told["coding"], coding);
            assert_eq!(told["length"], body.len().to_string());
        }
    }
}

#[tokio::test]
async fn bare_deflate_and_gzip_of_many_members_and_codings_one_over_the_other_are_read() {
    let at = telling().await;
    let node = node(Native, Some(true), proxy(format!("http://{at}/")));
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
    bare.write_all(b"hello").unwrap();
    let members = [gzip(b"hel"), gzip(b""), gzip(b"lo")].concat();
    for (field, body) in [
        ("content-encoding: deflate", bare.finish().unwrap()),
        ("content-encoding: gzip", members),
        ("content-encoding: br, X-GZIP", gzip(&packed("br", b"hello"))),
        ("content-encoding: identity, zstd", packed("zstd", b"hello")),
    ] {
        assert_eq!(got(&post(&node, &[field], &body).await), b"hello", "{field}");
    }
    let identity = post(&node, &["content-encoding: identity"], b"hello").await;
    assert_eq!(got(&identity), b"hello");
    assert_eq!(identity.json()["length"], "5");
}

#[tokio::test]
async fn a_function_is_told_the_text_that_was_compressed() {
    let at = echoing().await;
    let plain = text(100_000);
    let fields = ["content-encoding: gzip", "content-type: application/json"];
    for dialect in [Native, AwsRest] {
        let node = node(dialect, None, function(at));
        let event = post(&node, &fields, &gzip(&plain)).await.json();
        assert_eq!(event["body"].as_str().unwrap().as_bytes(), plain);
        assert_eq!(event["isBase64Encoded"], false);
        assert_eq!(event["headers"]["content-encoding"], Value::Null);
        assert_eq!(event["headers"]["content-length"], plain.len().to_string());
    }
    for (dialect, says) in [(AwsHttp, None), (Native, Some(false))] {
        let node = node(dialect, says, function(at));
        let event = post(&node, &fields, &gzip(&plain)).await.json();
        assert_eq!(event["body"], STANDARD.encode(gzip(&plain)));
        assert_eq!(event["isBase64Encoded"], true);
        assert_eq!(event["headers"]["content-encoding"], "gzip");
    }
}

#[tokio::test]
async fn a_coding_that_is_not_taken_is_refused_and_which_are_is_told() {
    let at = telling().await;
    let native = node(Native, Some(true), proxy(format!("http://{at}/")));
    for coding in ["compress", "gzip;q=1", "gzip, gzip, gzip, gzip", "aws-chunked"] {
        let answer = post(&native, &[&format!("content-encoding: {coding}")], b"hello").await;
        assert_eq!(
            (answer.status(), &answer.json()["code"]),
            (415, &json!("UNSUPPORTED_MEDIA_TYPE"))
        );
        assert_eq!(answer.field("accept-encoding"), Some("zstd, br, gzip, deflate"));
    }
    let (to_backend, to_mock) = (proxy(format!("http://{at}/")), mock(200, "ok"));
    for to in [to_backend, to_mock] {
        let aws = node(AwsRest, None, to);
        let answer = post(&aws, &["content-encoding: br"], &packed("br", b"hello")).await;
        assert_eq!(answer.status(), 415);
        assert_eq!(answer.json(), json!({ "message": "Unsupported Media Type" }));
        assert_eq!(answer.field("accept-encoding"), None);
    }
}

#[tokio::test]
async fn without_a_body_there_is_nothing_to_undo() {
    let at = telling().await;
    let node = node(AwsRest, None, proxy(format!("http://{at}/")));
    assert_eq!(got(&node.call("GET /prod", &["content-encoding: br"]).await), b"");
    assert_eq!(got(&post(&node, &["content-encoding: br"], b"").await), b"");
    let chunked = format!(
        "POST /prod HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\nconnection: close\r\n\
         content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    assert_eq!(got(&node.raw(chunked.as_bytes()).await), b"");
}

#[tokio::test]
async fn a_body_that_is_not_of_its_coding_is_the_callers_fault() {
    let at = telling().await;
    let whole = gzip(&text(5000));
    let mut changed = whole.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let bodies = [b"hello".to_vec(), whole[..last].to_vec(), [&whole[..], b"x"].concat(), changed];
    let event_at = echoing().await;
    for to in [proxy(format!("http://{at}/")), function(event_at)] {
        let native = node(Native, Some(true), to.clone());
        let aws = node(AwsRest, None, to);
        for body in &bodies {
            let answer = post(&native, &["content-encoding: gzip"], body).await;
            assert_eq!(
                (answer.status(), &answer.json()["code"]),
                (400, &json!("BAD_REQUEST_BODY"))
            );
            assert_eq!(post(&aws, &["content-encoding: gzip"], body).await.status(), 415);
        }
    }
}

#[tokio::test]
async fn a_backend_never_gets_a_broken_body_as_a_whole_one() {
    let (at, listener) = raw_origin().await;
    let node = node(Native, Some(true), proxy(format!("http://{at}/")));
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let mut body = gzip(&text(500_000));
    body.truncate(body.len() - 4);
    let answer = post(&node, &["content-encoding: gzip"], &body).await;
    assert_eq!(answer.status(), 400);
    let came = backend.await.unwrap();
    assert!(came.len() > 100_000 && !came.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_bomb_is_refused_wherever_it_goes() {
    let (backend, event) = (telling().await, echoing().await);
    let zeros = vec![b' '; 32 * MIB];
    for to in [proxy(format!("http://{backend}/")), function(event)] {
        let node = node(Native, Some(true), to);
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let body = packed(coding, &zeros);
            let answer = post(&node, &[&format!("content-encoding: {coding}")], &body).await;
            assert_eq!(
                (answer.status(), &answer.json()["code"]),
                (413, &json!("REQUEST_TOO_LARGE"))
            );
        }
        let nested = gzip(&gzip(&zeros));
        let answer = post(&node, &["content-encoding: gzip, gzip"], &nested).await;
        assert_eq!(answer.status(), 413);
    }
}

#[tokio::test]
async fn the_bound_on_bodies_is_of_what_they_unpack_to() {
    let (backend, event) = (telling().await, echoing().await);
    let large = text(11 * MIB);
    // A function takes 6 MiB; what it is told here it answers with, escaped.
    for (to, fits, beyond) in [
        (proxy(format!("http://{backend}/")), 7 * MIB, 11 * MIB),
        (function(event), 2 * MIB, 7 * MIB),
    ] {
        let node = node(AwsRest, None, to);
        let fields = ["content-encoding: gzip", "content-type: text/plain"];
        let answer = post(&node, &fields, &gzip(&large[..fits])).await;
        assert_eq!(answer.status(), 200);
        let answer = post(&node, &fields, &gzip(&large[..beyond])).await;
        assert_eq!(answer.status(), 413);
    }
}

#[tokio::test]
async fn a_piece_goes_on_before_the_next_one_came() {
    let (at, listener) = raw_origin().await;
    let node = node(Native, Some(true), proxy(format!("http://{at}/")));
    let mut caller = TcpStream::connect(node.address).await.unwrap();
    let head = format!(
        "POST /prod HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\ncontent-encoding: gzip\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    caller.write_all(head.as_bytes()).await.unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut backend = None;
    for event in ["one", "two", "three"] {
        encoder.write_all(event.as_bytes()).unwrap();
        encoder.flush().unwrap();
        let piece = std::mem::take(encoder.get_mut());
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
        caller.write_all(&chunk).await.unwrap();
        if backend.is_none() {
            backend = Some(timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0);
        }
        read_until(backend.as_mut().unwrap(), event).await;
    }
    let rest = encoder.finish().unwrap();
    let chunk = [format!("{:x}\r\n", rest.len()).as_bytes(), &rest, b"\r\n0\r\n\r\n"].concat();
    caller.write_all(&chunk).await.unwrap();
    let mut backend = backend.unwrap();
    read_until(&mut backend, "0\r\n\r\n").await;
    backend.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert!(read_until(&mut caller, "\r\n\r\n").await.starts_with("HTTP/1.1 204"));
}

#[tokio::test]
async fn what_came_is_what_is_counted() {
    let at = telling().await;
    let node = node(Native, Some(true), proxy(format!("http://{at}/")));
    let body = gzip(&text(200_000));
    got(&post(&node, &["content-encoding: gzip"], &body).await);
    let (_, record) = node.counted(1).await.pop().unwrap();
    let (came, head) = (body.len() as u64, 1000);
    assert!((came..came + head).contains(&record.bytes_in), "{record:?}, {came}");
}

#[tokio::test]
async fn over_http_2_on_both_sides_it_is_the_same() {
    let (at, listener) = raw_origin().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let coding = request.headers().contains_key("content-encoding");
                        let (mut body, mut bytes) = (request.into_body(), Vec::new());
                        while let Some(Ok(data)) = body.data().await {
                            let _ = body.flow_control().release_capacity(data.len());
                            bytes.extend_from_slice(&data);
                        }
                        let told = Response::builder().header("x-coded", coding.to_string());
                        let told = told.body(()).unwrap();
                        let mut sending = respond.send_response(told, false).unwrap();
                        let _ = sending.send_data(bytes.len().to_string().into(), true);
                    });
                }
            });
        }
    });
    let to = proxy_with(format!("http://{at}/"), |proxy| {
        proxy.set_protocol_version(ProtocolVersion::Http2);
    });
    let node = node(Native, Some(true), to);
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let plain = text(200_000);
    let whole = gzip(&plain);
    for (body, status) in [(whole.clone(), 200), (whole[..whole.len() - 1].to_vec(), 400)] {
        let request = Request::post(format!("http://{API}.execute-api.localhost/prod"))
            .header("content-encoding", "gzip")
            .body(())
            .unwrap();
        let (answer, mut sending) = client.send_request(request, false).unwrap();
        sending.send_data(Bytes::from(body), true).unwrap();
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), status);
        if status == 200 {
            assert_eq!(answer.headers()["x-coded"], "false");
            let told = timeout(PATIENCE, answer.into_body().data()).await.unwrap().unwrap();
            assert_eq!(told.unwrap(), plain.len().to_string());
        }
    }
}

#[tokio::test]
async fn one_who_sends_slowly_is_waited_for_as_ever_and_holds_no_other_up() {
    let at = telling().await;
    let node = node(
        Native,
        Some(true),
        proxy_with(format!("http://{at}/"), |proxy| {
            proxy.idle_timeout_ms = 300;
        }),
    );
    let body = gzip(&text(50_000));
    let head = format!(
        "POST /prod HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\ncontent-encoding: gzip\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut slow = TcpStream::connect(node.address).await.unwrap();
    slow.write_all(&[head.as_bytes(), &body[..1000]].concat()).await.unwrap();
    let other = post(&node, &["content-encoding: gzip"], &body);
    assert_eq!(got(&timeout(PATIENCE, other).await.unwrap()), text(50_000));
    let mut answer = Vec::new();
    let waited = timeout(PATIENCE + Duration::from_secs(1), slow.read_to_end(&mut answer)).await;
    waited.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 408"), "{answer:?}");
}
