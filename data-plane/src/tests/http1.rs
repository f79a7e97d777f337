//! What our own server of HTTP/1.1 does beyond what either does: callers who send on, wait to be told, or know no chunks.

use proto::config::v1::Dialect::Native;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::world::{API, PATIENCE, TestNode, api, echo, mock, proxy, raw_origin, read_until};
use crate::config::{Config, Http1Server};

fn ours(config: &mut Config) {
    config.http1_server = Http1Server::Tollgate;
    config.limits.body_bytes_max = 1000;
}

fn head(line: &str, fields: &str) -> String {
    format!("{line}\r\nhost: {API}.execute-api.localhost\r\n{fields}\r\n")
}

#[tokio::test]
async fn a_caller_who_sends_on_reads_why_it_was_refused() {
    let origin = echo().await;
    let node =
        TestNode::start_with(api(Native, &[("ANY /", proxy(format!("http://{origin}/")))]), ours);
    for (head, status) in [
        (head("POST /prod/ HTTP/1.1", "content-length: 200000\r\n"), "413"),
        (head("POST /prod/ HTTP/1.1", "content-length: 1\r\ncontent-length: 2\r\n"), "400"),
    ] {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let told = read_until(&mut stream, "\r\n\r\n").await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        assert!(told.contains("connection: close\r\n"), "{told}");
        // Were it closed already, the first of these would reset it, and the next fail.
        for _ in 0..20 {
            stream.write_all(&[b'x'; 10_000]).await.expect("taken");
        }
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed").expect("not reset");
    }
}

#[tokio::test]
async fn who_waits_to_be_told_is_told_by_a_backend_that_takes_the_body_and_not_by_a_refusal() {
    let (address, listener) = raw_origin().await;
    let node =
        TestNode::start_with(api(Native, &[("POST /", proxy(format!("http://{address}/")))]), ours);
    let fields = "content-length: 2\r\nexpect: 100-continue\r\n";
    let refused = node.raw(head("POST /prod/nowhere HTTP/1.1", fields).as_bytes()).await;
    assert_eq!((refused.status(), refused.field("connection")), (404, Some("close")));

    let mut caller = TcpStream::connect(node.address).await.unwrap();
    caller.write_all(head("POST /prod/ HTTP/1.1", fields).as_bytes()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    assert_eq!(read_until(&mut caller, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"hi").await.unwrap();
    let came = read_until(&mut backend, "\r\n\r\nhi").await;
    assert!(!came.contains("expect"), "{came}");
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let answer = read_until(&mut caller, "\r\n\r\nok").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("connection:"), "{answer}");
}

#[tokio::test]
async fn an_answer_of_unknown_length_is_told_as_its_caller_understands_it() {
    let (address, listener) = raw_origin().await;
    let node =
        TestNode::start_with(api(Native, &[("GET /", proxy(format!("http://{address}/")))]), ours);
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n";
    for (line, fields, end, says) in [
        (
            "GET /prod/ HTTP/1.0",
            "connection: keep-alive\r\n",
            "\r\n\r\nhello",
            "connection: close\r\n",
        ),
        ("GET /prod/ HTTP/1.1", "connection: close\r\n", "5\r\nhello\r\n0\r\n\r\n", "chunked\r\n"),
        (
            "GET /prod/ HTTP/1.1",
            "connection: close\r\nte: trailers\r\n",
            "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
            "chunked\r\n",
        ),
    ] {
        let backend = async {
            let (mut backend, _) = listener.accept().await.unwrap();
            read_until(&mut backend, "\r\n\r\n").await;
            backend.write_all(chunked.as_bytes()).await.unwrap();
        };
        let text = head(line, fields);
        let (answer, ()) = tokio::join!(node.raw(text.as_bytes()), backend);
        assert!(answer.text.ends_with(end) && answer.text.contains(says), "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order_whoever_is_slow() {
    let (address, listener) = raw_origin().await;
    let routes =
        [("GET /slow", proxy(format!("http://{address}/"))), ("GET /fast", mock(200, "fast"))];
    let node = TestNode::start_with(api(Native, &routes), ours);
    let mut caller = TcpStream::connect(node.address).await.unwrap();
    let both = head("GET /prod/slow HTTP/1.1", "") + &head("GET /prod/fast HTTP/1.1", "");
    caller.write_all(both.as_bytes()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "\r\n\r\n").await;
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await.unwrap();
    let answers = read_until(&mut caller, "\r\n\r\nfast").await;
    assert!(answers.find("slow").unwrap() < answers.find("fast").unwrap(), "{answers}");
}

#[tokio::test]
async fn a_body_that_breaks_its_coding_ends_its_connection_and_its_backends() {
    let (address, listener) = raw_origin().await;
    let node =
        TestNode::start_with(api(Native, &[("POST /", proxy(format!("http://{address}/")))]), ours);
    let text = head("POST /prod/ HTTP/1.1", "transfer-encoding: chunked\r\n")
        + "5\r\nhello\r\nX\r\n"
        + &head("GET /prod/ HTTP/1.1", "");
    let answer = node.raw(text.as_bytes()).await;
    assert_eq!((answer.status(), answer.field("connection")), (400, Some("close")));
    assert_eq!(answer.json()["code"].as_str(), Some("BAD_REQUEST_BODY"));
    let (mut backend, _) = listener.accept().await.unwrap();
    let mut came = Vec::new();
    let _ = timeout(PATIENCE, backend.read_to_end(&mut came)).await.expect("closed");
    assert!(!came.ends_with(b"0\r\n\r\n"), "it was not completed");
    assert!(came.windows(4).filter(|it| it == b"HTTP").count() <= 1, "nothing came behind it");
}
