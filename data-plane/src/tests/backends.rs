//! Backends that lie, break off, answer too early or not at all, and say what is no HTTP.

use std::net::SocketAddr;

use proto::config::v1::Dialect::Native;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

use super::world::{
    API, Answer, PATIENCE, TestNode, api, proxy, proxy_with, raw_origin, read_until, until,
};

/// The last part of a path, what is answered there, and whether the connection is closed then.
type Answers = &'static [(&'static str, &'static str, bool)];

/// A backend that answers each request by its path.
async fn backend(answers: Answers) -> SocketAddr {
    let (address, listener) = raw_origin().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_all(stream, answers));
        }
    });
    address
}

async fn answer_all(mut stream: TcpStream, answers: Answers) {
    let (mut read, mut buffer) = (String::new(), [0; 4096]);
    loop {
        while !read.contains("\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(bytes) if bytes > 0 => read += &String::from_utf8_lossy(&buffer[..bytes]),
                _ => return,
            }
        }
        let path = read.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let answer = answers.iter().find(|(name, ..)| *name == path);
        let (_, bytes, closes) = answer.unwrap_or_else(|| panic!("no answer for {path:?}"));
        if stream.write_all(bytes.as_bytes()).await.is_err() || *closes {
            return;
        }
        read.clear();
    }
}

fn node(address: SocketAddr) -> TestNode {
    TestNode::start(api(Native, &[("ANY /{proxy+}", proxy(format!("http://{address}/{{proxy}}")))]))
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn what_is_no_answer_is_an_integration_failure_that_says_why() {
    const HEAD: &str = "does not speak HTTP/1.1";
    const CUT: &str = "broke off before it answered";
    let answers: Answers = &[
        ("nothing", "", true),
        ("garbage", "\0\u{1}\u{2}garbage", false),
        ("ssh", "SSH-2.0-OpenSSH_9.2\r\n", false),
        ("http2", "HTTP/2 200\r\n\r\n", false),
        ("status", "HTTP/1.1 9 Low\r\n\r\n", false),
        ("half", "HTTP/1.1 200 OK\r\ncontent-le", true),
        ("interim", "HTTP/1.1 100 Continue\r\n\r\n", true),
        ("lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", false),
        ("same", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", false),
        ("list", "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", false),
        (
            "both",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            false,
        ),
        ("gzip", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false),
        ("fold", "HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 0\r\n\r\n", false),
        ("lf", "HTTP/1.1 200 OK\ncontent-length: 0\n\r\n\r\n", false),
        ("colon", "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n", false),
        ("old", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", false),
    ];
    let node = node(backend(answers).await);
    for (path, ..) in answers {
        let answer = node.get(&format!("/prod/{path}")).await;
        assert_eq!((answer.status(), &answer.json()["code"]), (504, &"INTEGRATION_FAILURE".into()));
        let why = if ["nothing", "half", "interim"].contains(path) { CUT } else { HEAD };
        assert!(answer.body().contains(why), "{path}: {answer:?}");
    }
    let connects = node.shared.metrics.upstream_connects.get();
    assert_eq!(usize::try_from(connects), Ok(answers.len()), "none was used again");
}

#[tokio::test]
async fn an_endless_head_is_refused_before_it_fills_any_memory() {
    let (address, listener) = raw_origin().await;
    let node = node(address);
    let flood = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let mut sent = 0_u64;
        let field = format!("x-a: {}\r\n", "y".repeat(8000));
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while sent < 100 << 20 && stream.write_all(field.as_bytes()).await.is_ok() {
            sent += field.len() as u64;
        }
        sent
    };
    let (answer, sent) = tokio::join!(node.get("/prod/x"), flood);
    assert_eq!(answer.json()["code"], "INTEGRATION_FAILURE", "{answer:?}");
    assert!(sent < 32 << 20, "{sent} bytes were taken");
}

#[tokio::test]
async fn a_body_that_is_not_what_it_said_is_cut_off_and_its_connection_closed() {
    let answers: Answers = &[
        ("short", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", true),
        ("chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello", true),
        ("unended", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", true),
        ("size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n", false),
        ("over", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloX\r\n", false),
    ];
    let node = node(backend(answers).await);
    for (path, ..) in answers {
        let answer = node.get(&format!("/prod/{path}")).await;
        assert_eq!(answer.status(), 200, "{path}: {answer:?}");
        assert!(answer.body().contains("hello"), "{path}: what came is passed on: {answer:?}");
        assert!(!answer.body().ends_with("0\r\n\r\n"), "{path} looks whole: {answer:?}");
        assert!(answer.field("content-length").is_none_or(|length| length == "10"), "{path}");
    }
    assert_eq!(usize::try_from(node.shared.metrics.upstream_connects.get()), Ok(answers.len()));
    let aborted = node.counted(answers.len()).await;
    assert!(aborted.iter().all(|(_, record)| record.aborted));
}

#[tokio::test]
async fn what_follows_an_answer_is_never_taken_for_the_next_one() {
    const SPLIT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let answers: Answers = &[
        ("split", SPLIT, false),
        ("none", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\nevil", false),
        ("good", OK, false),
    ];
    let node = node(backend(answers).await);
    for path in ["split", "good", "none", "good", "good"] {
        let answer = node.get(&format!("/prod/{path}")).await;
        assert!(!answer.text.contains("evil"), "{path}: {answer:?}");
        assert_eq!(answer.body(), if path == "none" { "" } else { "ok" }, "{path}");
    }
    assert_eq!(node.shared.metrics.upstream_connects.get(), 3);
}

#[tokio::test]
async fn an_answer_ends_where_its_kind_says() {
    let answers: Answers = &[
        (
            "interim",
            "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 X\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            false,
        ),
        (
            "chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1;a=b\r\no\r\n01\r\nk\r\n0\r\n\r\n",
            false,
        ),
        ("cached", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\netag: x\r\n\r\n", false),
        ("none", "HTTP/1.1 204 No Content\r\n\r\n", false),
        ("close", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", false),
        ("old", "HTTP/1.0 200 OK\r\n\r\nok", true),
        ("until", "HTTP/1.1 200 OK\r\n\r\nok", true),
        ("last", OK, false),
    ];
    let node = node(backend(answers).await);
    for (path, _, _) in answers {
        let answer = node.get(&format!("/prod/{path}")).await;
        let body = answer.body().replace("1\r\no\r\n1\r\nk\r\n0\r\n\r\n", "ok");
        let body = body.replace("2\r\nok\r\n0\r\n\r\n", "ok");
        let expected = if ["cached", "none"].contains(path) { "" } else { "ok" };
        assert_eq!(body, expected, "{path}: {answer:?}");
        assert_eq!(answer.field("link"), None, "{path}");
    }
    // One until `close`, one each for it and the two that end with the connection, one for the last.
    assert_eq!(node.shared.metrics.upstream_connects.get(), 4);
}

#[tokio::test]
async fn the_answer_to_head_has_no_body_whatever_it_says() {
    let answers: Answers = &[
        ("length", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", false),
        ("chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", false),
    ];
    let node = node(backend(answers).await);
    for path in ["length", "chunked", "length"] {
        let answer = node.call(&format!("HEAD /prod/{path}"), &[]).await;
        assert_eq!((answer.status(), answer.body()), (200, ""), "{answer:?}");
        let length = (path == "length").then_some("1000");
        assert_eq!(answer.field("content-length"), length);
    }
    assert_eq!(node.shared.metrics.upstream_connects.get(), 1);
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let (address, listener) = raw_origin().await;
    let node = node(address);
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_until(&mut stream, "x-sum: 1\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\ntrailer: x-md\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = format!("{head}2\r\nok\r\n0\r\nx-md: 2\r\ncontent-length: 7\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        (request, stream)
    };
    let request = format!(
        "POST /prod/x HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\nte: trailers\r\nconnection: te, close\r\n\
         trailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"
    );
    let (answer, (sent, _stream)) = tokio::join!(node.raw(request.as_bytes()), answering);
    assert!(sent.ends_with("\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"), "{sent}");
    assert!(answer.body().ends_with("2\r\nok\r\n0\r\nx-md: 2\r\n\r\n"), "{answer:?}");
}

async fn upload(node: &TestNode, length: usize, first: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = format!(
        "POST /prod/x HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\ncontent-length: {length}\r\n\r\n{first}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn an_early_answer_comes_at_once_and_the_connection_serves_on_after_the_rest() {
    let (address, listener) = raw_origin().await;
    let node = node(address);
    let mut caller = upload(&node, 10, "hello").await;
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "\r\n\r\nhello").await;
    backend.write_all(OK.as_bytes()).await.unwrap();
    read_until(&mut caller, "\r\n\r\nok").await;
    caller.write_all(b"world").await.unwrap();
    read_until(&mut backend, "world").await;

    let serving = async {
        read_until(&mut backend, "\r\n\r\n").await;
        backend.write_all(OK.as_bytes()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(node.get("/prod/again"), serving);
    assert_eq!(answer.body(), "ok");
    assert_eq!(node.shared.metrics.upstream_connects.get(), 1);
}

#[tokio::test]
async fn a_large_upload_ends_although_nobody_takes_its_large_early_answer() {
    const BYTES: usize = 24 << 20;
    let (address, listener) = raw_origin().await;
    let node = node(address);
    let mut caller = upload(&node, BYTES, "").await;
    let (backend, _) = listener.accept().await.unwrap();
    let (mut from_node, mut to_node) = backend.into_split();
    // Answers before it was sent anything, and takes all the same; the caller takes nothing before it has sent all.
    let answering = async {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
        to_node.write_all(head.as_bytes()).await.unwrap();
        to_node.write_all(&vec![b'd'; BYTES]).await.unwrap();
    };
    let taking = async {
        let (mut taken, mut buffer) = (0, vec![0; 64 * 1024]);
        while taken < BYTES {
            taken += from_node.read(&mut buffer).await.unwrap();
        }
    };
    let calling = async {
        caller.write_all(&vec![b'u'; BYTES]).await.unwrap();
        let (mut read, mut buffer) = (0, vec![0; 64 * 1024]);
        while read < BYTES {
            read += caller.read(&mut buffer).await.unwrap();
        }
    };
    let all = async { tokio::join!(answering, taking, calling) };
    timeout(PATIENCE, all).await.expect("neither waits for the other");
}

#[tokio::test]
async fn a_backend_that_refuses_an_upload_and_closes_is_heard() {
    let (address, listener) = raw_origin().await;
    let node = node(address);
    let mut caller = upload(&node, 1 << 20, "hello").await;
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "hello").await;
    let refusal = "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
    backend.write_all(refusal.as_bytes()).await.unwrap();
    drop(backend);
    assert!(read_until(&mut caller, "\r\n\r\nno").await.starts_with("HTTP/1.1 413 "));
    node.until_in_flight(0).await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_takes_its_early_answer_with_it() {
    let (address, listener) = raw_origin().await;
    let node = node(address);
    let mut caller = upload(&node, 10, "hello").await;
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "hello").await;
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await.unwrap();
    read_until(&mut caller, "\r\n\r\nok").await;
    drop(caller);
    let closed = timeout(PATIENCE, backend.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    node.until_in_flight(0).await;
}

#[tokio::test]
async fn an_upload_that_stands_still_after_its_answer_is_given_up() {
    let (address, listener) = raw_origin().await;
    let route = proxy_with(format!("http://{address}/"), |proxy| proxy.idle_timeout_ms = 50);
    let node = TestNode::start(api(Native, &[("POST /x", route)]));
    let mut caller = upload(&node, 10, "hello").await;
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "hello").await;
    backend.write_all(OK.as_bytes()).await.unwrap();
    read_until(&mut caller, "\r\n\r\nok").await;
    let closed = timeout(PATIENCE, backend.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test]
async fn a_call_that_does_not_repeat_safely_reaches_its_backend_once_however_that_breaks_off() {
    let (address, listener) = raw_origin().await;
    let node = node(address);
    let (asked, mut heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            for answer in [OK, "", "HTTP/1.1 2"] {
                let head = read_until(&mut stream, "\r\n\r\n").await;
                asked.send(head.split("\r\n").next().unwrap().to_owned()).unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer != OK {
                    break;
                }
            }
        }
    });
    for number in 0..4 {
        let answer = node.call(&format!("POST /prod/{number}"), &["content-length: 0"]).await;
        assert_eq!(answer.status(), if number % 2 == 0 { 200 } else { 504 }, "{answer:?}");
    }
    let seen = std::iter::from_fn(|| heads.try_recv().ok()).collect::<Vec<_>>();
    let once: Vec<_> = (0..4).map(|number| format!("POST /{number} HTTP/1.1")).collect();
    assert_eq!(seen, once);
}

#[tokio::test]
async fn a_backend_that_drops_its_connections_gets_a_fifth_more_calls_at_most() {
    const CALLS: usize = 100;
    let (address, listener) = raw_origin().await;
    let node = node(address);
    let (asked, mut seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                for answer in [OK, ""] {
                    read_until(&mut stream, "\r\n\r\n").await;
                    asked.send(()).unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let mut failed = 0;
    for _ in 0..CALLS {
        failed += usize::from(node.get("/prod/x").await.status() == 504);
    }
    let seen = std::iter::from_fn(|| seen.try_recv().ok()).count();
    assert!(failed > 0, "the budget has an end");
    assert!((CALLS..=CALLS + CALLS / 5 + 10).contains(&seen), "{seen} calls for {CALLS}");
}

#[tokio::test]
async fn a_backend_has_so_many_calls_at_once_so_many_wait_and_one_more_is_told() {
    let (address, listener) = raw_origin().await;
    let route = [("GET /x", proxy(format!("http://{address}/")))];
    let node = TestNode::start_with(api(Native, &route), |config| {
        config.limits.backend_in_flight_max = 1;
        config.limits.backend_waiting_max = 1;
    });
    let serve = |mut stream: TcpStream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream
    };
    let calls = async { tokio::join!(node.get("/prod/x"), node.get("/prod/x")) };
    let beside = async {
        let (first, _) = listener.accept().await.unwrap();
        node.until_in_flight(2).await;
        let refused: Answer = node.get("/prod/x").await;
        assert_eq!(refused.json()["code"], "TENANT_OVERLOADED");
        assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("1")));
        let first = serve(first).await;
        serve(first).await
    };
    let ((one, two), _stream) = tokio::join!(calls, beside);
    assert_eq!((one.body(), two.body()), ("ok", "ok"));
    assert_eq!(node.shared.metrics.upstream_connects.get(), 1);
}

/// How many sockets this process has open.
fn sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = open.filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test]
async fn nothing_is_left_open_after_calls_of_every_kind() {
    let answers: Answers = &[
        ("good", OK, false),
        (
            "chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
        ),
        ("short", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", true),
        ("garbage", "garbage", false),
        ("nothing", "", true),
        ("close", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", false),
        ("over", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokover", false),
        ("stuck", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", false),
    ];
    let address = backend(answers).await;
    let route = proxy_with(format!("http://{address}/{{proxy}}"), |proxy| {
        (proxy.idle_timeout_ms, proxy.first_byte_timeout_ms) = (20, 20);
    });
    let node = TestNode::start(api(Native, &[("ANY /{proxy+}", route)]));
    let round = async |times: usize| {
        for (path, ..) in answers.iter().cycle().take(times * answers.len()) {
            node.get(&format!("/prod/{path}")).await;
        }
        node.until_in_flight(0).await;
    };
    round(2).await;
    let before = sockets();
    round(40).await;
    until(|| sockets() <= before).await;
}

#[tokio::test]
async fn a_connection_that_its_backend_closed_while_it_waited_costs_no_call() {
    let (address, listener) = raw_origin().await;
    let node = node(address);
    node.get("/prod").await; // its thread has opened by then what it keeps open
    let before = sockets();
    for _ in 0..3 {
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            stream
        };
        let post = node.call("POST /prod/x", &["content-length: 0"]);
        let (answer, stream) = tokio::join!(post, serving);
        assert_eq!(answer.body(), "ok");
        drop(stream);
        // Closed on this side too, without a call that finds out.
        until(|| sockets() <= before).await;
    }
}
