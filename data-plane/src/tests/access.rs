//! Every request that came has exactly one record in the access log, whatever became of it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::config::v1::Dialect::Native;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::world::{API, PATIENCE, TestNode, api, mock, proxy, raw_origin, read_until, until};
use crate::{
    Config,
    access_log::{AccessLog, LineSink, Sink},
    tls,
};

/// Remembers each record as a line.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<serde_json::Value>>>);

impl LineSink for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn write(&mut self, lines: &[u8]) -> bool {
        let read = serde_json::Deserializer::from_slice(lines).into_iter().map(Result::unwrap);
        self.0.lock().unwrap().extend(read);
        true
    }
}

impl Memory {
    pub(super) fn config(&self, config: &mut Config) {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.tls = Some(tls::Settings { listen, certificates: Vec::new() });
        config.access_log = AccessLog::start(vec![Sink::Lines(Box::new(self.clone()))]).unwrap();
        config.limits.header_timeout = Duration::from_millis(300);
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(super) fn last(&self) -> serde_json::Value {
        self.0.lock().unwrap().last().unwrap().clone()
    }

    /// How many records have this in a field.
    pub(super) fn count(&self, field: &str, value: Option<&str>) -> usize {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line[field].as_str() == value).count()
    }

    fn last_id(&self) -> String {
        self.last()["request.id"].as_str().unwrap().to_owned()
    }

    /// Status and reason of each, once there are so many.
    async fn told(&self, count: usize) -> Vec<(u64, String)> {
        let came = timeout(PATIENCE, async {
            while self.len() < count {
                tokio::task::yield_now().await;
            }
        });
        assert!(came.await.is_ok(), "{count} records did not come: {:#?}", self.0);
        let lines = self.0.lock().unwrap();
        let told = |line: &serde_json::Value| {
            assert_eq!(line["client.address"], "127.0.0.1", "{line}");
            let id = line["request.id"].as_str().unwrap();
            assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7, "{line}");
            (line["status"].as_u64().unwrap(), line["code"].as_str().unwrap_or("-").to_owned())
        };
        lines.iter().map(told).collect()
    }
}

/// The ids in the heads of answers, in their order.
fn ids(answers: &str) -> Vec<String> {
    let lines = answers.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|it| it.0.eq_ignore_ascii_case("x-request-id")).map(|it| it.1.to_owned()).collect()
}

fn told(status: u64, code: &str) -> (u64, String) {
    (status, code.to_owned())
}

fn good() -> String {
    format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n")
}

/// Writes, optionally closes its half, and reads until the node has closed.
async fn ugly(address: SocketAddr, bytes: &[u8], leave: bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The node may answer, and close, before it has read everything.
    let _ = stream.write_all(bytes).await;
    if leave {
        stream.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_callers_own_request_id_is_kept_beside_ours() {
    let memory = Memory::default();
    let node = TestNode::start_with(api(Native, &[("GET /", mock(200, "ok"))]), |config| {
        memory.config(config);
    });
    let long = format!("x-request-id: {}", "a".repeat(129));
    for field in ["x-request-id: order-7/try:2", "x-request-id: two words", &long, "x-other: 1"] {
        let answer = node.call("GET /prod/", &[field]).await;
        assert_eq!(answer.status(), 200, "{field}");
    }

    memory.told(4).await;
    let lines = memory.0.lock().unwrap();
    let kept: Vec<_> = lines.iter().map(|line| line["client_request.id"].as_str()).collect();
    assert_eq!(kept, [Some("order-7/try:2"), None, None, None]);
    drop(lines);
}

#[tokio::test]
async fn what_a_backend_answers_is_never_taken_for_the_servers_own_refusal() {
    let refusal = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (address, listener) = raw_origin().await;
    let node = TestNode::start(api(Native, &[("GET /", proxy(format!("http://{address}/")))]));
    // Behind it on the connection waits what is no request: the refusal is the backend's all the same.
    let mut caller = TcpStream::connect(node.address).await.unwrap();
    caller.write_all(format!("{}nonsense\r\n\r\n", good()).as_bytes()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "\r\n\r\n").await;
    let length = "first".len() + refusal.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nfirst");
    backend.write_all(head.as_bytes()).await.unwrap();
    let mut came = read_until(&mut caller, "first").await;
    backend.write_all(refusal.as_bytes()).await.unwrap(); // a write of its own at the node too

    let mut rest = String::new();
    let _ = timeout(PATIENCE, caller.read_to_string(&mut rest)).await.expect("closed in time");
    came.push_str(&rest);
    let (_, body) = came.split_once("\r\n\r\n").unwrap();
    let after = body.strip_prefix(&format!("first{refusal}")).unwrap_or_else(|| panic!("{came}"));
    assert!(after.starts_with("HTTP/1.1 400 Bad Request\r\ncontent-type"), "{after}");
    assert_eq!(ids(&came).len(), 2, "{came}");
}

#[tokio::test]
async fn every_ugly_request_has_one_record() {
    let memory = Memory::default();
    let mut node = TestNode::start_with(api(Native, &[("GET /", mock(200, "ok"))]), |config| {
        memory.config(config);
    });
    let close = |head: &str| head.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").into_bytes();
    let good = good();
    let many = "x-again: 1\r\n".repeat(300);
    let host = format!("host: {API}.execute-api.localhost\r\n");
    let version = node.version_refused();
    let cases: Vec<(Vec<u8>, bool, u64, &str)> = vec![
        (close(&good), false, 200, "-"),
        (close(&good.replace("/prod/", "/nowhere")), false, 404, "RESOURCE_NOT_FOUND"),
        (close("GET / HTTP/1.1\r\nhost: nobody.example\r\n\r\n"), false, 404, "RESOURCE_NOT_FOUND"),
        (
            close(&good.replace("/prod/", &format!("/{}", "a".repeat(20_000)))),
            false,
            414,
            "URI_TOO_LONG",
        ),
        (
            close(&good.replace("host", &format!("x: {}\r\nhost", "a".repeat(40_000)))),
            false,
            431,
            "HEADERS_TOO_LARGE",
        ),
        // From here on the server's own answers, before there is a request.
        (b"nonsense\r\n\r\n".to_vec(), false, 400, "MALFORMED_REQUEST"),
        (b"GET / HTTP/9.9\r\n\r\n".to_vec(), false, version.0, version.1),
        (b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n".to_vec(), false, 400, "MALFORMED_REQUEST"),
        (b"\x16\x03\x01\x02\x00\x01".to_vec(), false, 400, "MALFORMED_REQUEST"),
        (
            format!("GET / HTTP/1.1\r\n{host}{many}\r\n").into_bytes(),
            false,
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(200_000)).into_bytes(),
            false,
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}content-length: 1\r\ncontent-length: 2\r\n\r\n")
                .into_bytes(),
            false,
            400,
            "MALFORMED_REQUEST",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}transfer-encoding: cow\r\n\r\n").into_bytes(),
            false,
            400,
            "MALFORMED_REQUEST",
        ),
        (b"GET / HT".to_vec(), false, 408, "REQUEST_TIMEOUT"),
        (b"PRI * HTTP/2".to_vec(), false, version.0, version.1),
        (b"P".to_vec(), true, 0, "INCOMPLETE_REQUEST"),
        (b"GET / HTTP/1.1\r\nhost: x".to_vec(), true, 0, "INCOMPLETE_REQUEST"),
    ];
    let mut expected = Vec::new();
    for (bytes, leave, status, code) in &cases {
        let what = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let answer = ugly(node.address, bytes, *leave).await;
        let sent = answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
        assert_eq!(sent, *status, "{what}: {answer}");
        expected.push(told(*status, code));
        assert_eq!(memory.told(expected.len()).await, expected, "{what}");
        if *status > 0 {
            assert_eq!(ids(&answer), [memory.last_id()], "{what}: {answer}");
        }
    }

    // Two on one connection, the second nonsense that came with the first.
    let answer = ugly(node.address, format!("{good}nonsense\r\n\r\n").as_bytes(), false).await;
    assert!(answer.contains(" 200 ") && answer.contains(" 400 "), "{answer}");
    expected.extend([told(200, "-"), told(400, "MALFORMED_REQUEST")]);
    assert_eq!(memory.told(expected.len()).await, expected);
    assert_eq!(ids(&answer).get(1), Some(&memory.last_id()), "{answer}");
    // A body that breaks its framing is its request's own record.
    let broken = format!("POST /prod/ HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\nzz\r\n");
    ugly(node.address, broken.as_bytes(), false).await;
    until(|| memory.len() > expected.len()).await;
    let (status, _) = memory.told(expected.len() + 1).await.pop().unwrap();
    expected.push(memory.told(1).await.pop().unwrap());
    assert!(status >= 400 || status == 0, "{status}");
    // Who says nothing has asked nothing.
    ugly(node.address, b"", true).await;
    let count = expected.len();
    ugly(node.tls_address.unwrap(), good.as_bytes(), false).await;
    assert_eq!(memory.told(count + 1).await[count..], [told(400, "HTTP_ON_HTTPS_PORT")]);
    // Still the same after everything is over.
    let shared = node.shared.clone();
    node.drain().await;
    shared.config.access_log.end(PATIENCE);
    assert_eq!(memory.len(), count + 1);
}

#[tokio::test]
async fn a_caller_that_leaves_and_one_that_panics_us_have_their_records() {
    let memory = Memory::default();
    let (address, listener) = raw_origin().await;
    let routes = [("GET /", mock(200, "ok")), ("GET /slow", proxy(format!("http://{address}/")))];
    let node = TestNode::start_with(api(Native, &routes), |config| memory.config(config));
    assert_eq!(node.call("GET /prod/", &["x-test-panic: 1"]).await.status(), 500);
    assert_eq!(memory.told(1).await, [told(500, "INTERNAL")]);

    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(good().replace("/prod/", "/prod/slow").as_bytes()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "\r\n\r\n").await;
    drop(stream);
    assert_eq!(memory.told(2).await[1..], [told(0, "-")]);
    let aborted = memory.0.lock().unwrap()[1]["aborted"].clone();
    assert_eq!(aborted, true);
}

#[tokio::test]
async fn a_trusted_proxy_that_leaves_its_header_out_is_told_of() {
    let memory = Memory::default();
    let node = TestNode::start_with(api(Native, &[("GET /", mock(200, "ok"))]), |config| {
        memory.config(config);
        config.proxy_protocol = true;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    assert_eq!(ugly(node.address, good().as_bytes(), false).await, "");
    assert_eq!(memory.told(1).await, [told(0, "PROXY_HEADER_INVALID")]);
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field without an index (RFC 7541 §6.2.2), both texts as they are and short.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

#[tokio::test]
async fn streams_that_http2_itself_refuses_have_their_records() {
    let memory = Memory::default();
    let node = TestNode::start_with(api(Native, &[("GET /", mock(200, "ok"))]), |config| {
        memory.config(config);
    });
    let authority = format!("{API}.execute-api.localhost");
    let head = |change: &[Vec<u8>]| {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/prod/"),
            (":authority", &*authority),
        ];
        let fields = fields.map(|(name, value)| field(name, value)).concat();
        [fields, change.concat()].concat()
    };
    let large: Vec<Vec<u8>> =
        (0..660).map(|n| field(&format!("x-{n}"), &"a".repeat(100))).collect();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 5, 1, &head(&[])));
    bytes.extend(frame(1, 5, 3, &field(":method", "GET")));
    bytes.extend(frame(1, 5, 5, &head(&[field(":path", "/twice")])));
    bytes.extend(frame(1, 5, 7, &head(&[field("connection", "close")])));
    let whole = head(&large);
    let parts: Vec<&[u8]> = whole.chunks(16_000).collect();
    for (index, part) in parts.iter().enumerate() {
        let last = if index + 1 == parts.len() { 4 } else { 0 };
        let (kind, first) = if index == 0 { (1, 1) } else { (9, 0) };
        bytes.extend(frame(kind, first | last, 9, part));
    }
    bytes.extend(frame(1, 5, 11, &head(&[])));
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut told = memory.told(6).await;
    told.sort();
    let reset = || (0, "HTTP2_PROTOCOL_ERROR".to_owned());
    let ok = || (200, "-".to_owned());
    let too_large = (431, "HEADERS_TOO_LARGE".to_owned());
    assert_eq!(told, [reset(), reset(), reset(), ok(), ok(), too_large]);
    // One whose end never comes.
    stream.write_all(&frame(1, 1, 13, b"")).await.unwrap();
    // All that came is read: a socket that is closed with something unread resets, and takes what it sent with it.
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(memory.told(7).await.pop(), Some(reset()));
    drop(node);
    assert_eq!(memory.len(), 7);
}
