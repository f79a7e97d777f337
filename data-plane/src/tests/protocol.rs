//! The wire: malformed requests, bounds, HTTP/2, slow callers, the drain.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::config::v1::Dialect::{AwsRest, Native};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::world::{
    API, PATIENCE, TestNode, api, api_with, echo, mock, proxy, raw_origin, read_until,
};

#[tokio::test]
async fn a_malformed_request_is_refused_and_the_node_serves_on() {
    let origin = echo().await;
    let node = TestNode::start(api(Native, &[("ANY /", proxy(format!("http://{origin}/")))]));
    let host = format!("host: {API}.execute-api.localhost\r\n");
    for request in [
        "GET /prod/ HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /prod/ HTTP/1.1\r\n{host}{host}\r\n"),
        format!("GET /prod/ HTTP/9.9\r\n{host}\r\n"),
        format!("GET prod HTTP/1.1\r\n{host}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{host}connection: close\r\n\r\n"),
        format!("CONNECT example.com:80 HTTP/1.1\r\n{host}connection: close\r\n\r\n"),
        format!("POST /prod/ HTTP/1.1\r\n{host}content-length: 1\r\ncontent-length: 2\r\n\r\nxx"),
        format!("POST /prod/ HTTP/1.1\r\n{host}content-length: +1\r\n\r\nx"),
        format!("POST /prod/ HTTP/1.1\r\n{host}transfer-encoding: gzip\r\n\r\nx"),
        format!("GET /prod/ HTTP/1.1\r\n{host}bad name: x\r\n\r\n"),
        format!("GET /prod/ HTTP/1.1\r\n{host}x: a\r\n b\r\n\r\n"),
        format!("GET /prod/ HTTP/1.1\r\n{host}x: a\0b\r\n\r\n"),
        "\0\0\0\r\n\r\n".to_owned(),
    ] {
        // Those that keep the connection open after their refusal are followed by one that closes it.
        let last = format!("GET /nothing HTTP/1.1\r\n{host}connection: close\r\n\r\n");
        let answer = node.raw(format!("{request}{last}").as_bytes()).await;
        let is_version = u64::from(answer.status()) == node.version_refused().0;
        assert!(is_version || (400..500).contains(&answer.status()), "{request:?}: {answer:?}");
    }
    assert_eq!(node.get("/prod/").await.status(), 200);
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_its_own_status() {
    let origin = echo().await;
    let node = TestNode::start_with(
        api(Native, &[("ANY /", proxy(format!("http://{origin}/")))]),
        |config| {
            config.limits.body_bytes_max = 1000;
        },
    );
    let long = "a".repeat(17 * 1024);
    assert_eq!(node.get(&format!("/prod/?{long}")).await.status(), 414);
    let field = format!("x-long: {}", "a".repeat(33 * 1024));
    assert_eq!(node.call("GET /prod/", &[&field]).await.status(), 431);
    assert_eq!(node.call("POST /prod/", &["content-length: 1001"]).await.status(), 413);
    let host = format!("host: {API}.execute-api.localhost\r\nconnection: close\r\n");
    let chunk = format!("{:x}\r\n{}\r\n", 600, "a".repeat(600));
    let chunked = format!(
        "POST /prod/ HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    let answer = node.raw(chunked.as_bytes()).await;
    assert_eq!((answer.status(), answer.json()["code"].as_str()), (413, Some("REQUEST_TOO_LARGE")));

    let node = TestNode::start(api(AwsRest, &[("ANY /p", proxy(format!("http://{origin}/")))]));
    let declared = format!("content-length: {}", 10 * 1024 * 1024 + 1);
    assert_eq!(node.call("POST /prod/p", &[&declared]).await.status(), 413, "AWS's bound");
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused_at_once() {
    let (address, listener) = raw_origin().await;
    let node = TestNode::start_with(
        api(Native, &[("GET /", proxy(format!("http://{address}/")))]),
        |config| {
            config.limits.in_flight_max = 1;
        },
    );
    let mut first = TcpStream::connect(node.address).await.unwrap();
    let request = format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    first.write_all(request.as_bytes()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "\r\n\r\n").await;
    let answer = node.get("/prod/").await;
    assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("1")));
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    read_until(&mut first, "\r\n\r\nok").await;
}

#[tokio::test]
async fn a_tenant_whose_backend_hangs_fills_its_own_share_and_no_other_tenants() {
    const OTHER_API: &str = "abcdefghi2";
    const OTHER_TENANT: &str = "018f0000-0000-7000-8000-000000000002";
    let (address, listener) = raw_origin().await;
    let mut resources = api(Native, &[("GET /", proxy(format!("http://{address}/")))]);
    resources.extend(api_with(Native, vec![("GET /", mock(200, "ok"), false)], |all| {
        let (tenant, deployment, stage) = all;
        tenant.id = OTHER_TENANT.into();
        deployment.id = "deploy0002".into();
        let api = deployment.api.as_mut().unwrap();
        (api.id, api.tenant_id) = (OTHER_API.into(), OTHER_TENANT.into());
        (stage.api_id, stage.tenant_id) = (OTHER_API.into(), OTHER_TENANT.into());
        stage.deployment_id = deployment.id.clone();
    }));
    let node = TestNode::start_with(resources, |config| {
        config.limits.in_flight_max = 3;
        config.limits.tenant_in_flight_max = 2;
    });
    let request = format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut caller = TcpStream::connect(node.address).await.unwrap();
        caller.write_all(request.as_bytes()).await.unwrap();
        let (mut backend, _) = listener.accept().await.unwrap();
        read_until(&mut backend, "\r\n\r\n").await;
        held.push((caller, backend));
    }
    let refused = node.get("/prod/").await;
    assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["code"], "TENANT_OVERLOADED");
    let other = format!(
        "GET /prod/ HTTP/1.1\r\nhost: {OTHER_API}.execute-api.localhost\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(node.raw(other.as_bytes()).await.status(), 200);

    let (mut caller, mut backend) = held.pop().unwrap();
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    read_until(&mut caller, "\r\n\r\nok").await;
    caller.write_all(request.as_bytes()).await.unwrap(); // what ended makes room for the next
    read_until(&mut backend, "\r\n\r\n").await;
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    read_until(&mut caller, "\r\n\r\nok").await;
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_cut_off_and_a_silent_connection_is_not() {
    let node = TestNode::start_with(api(Native, &[("GET /", mock(200, "ok"))]), |config| {
        config.limits.header_timeout = Duration::from_millis(100);
    });
    let request = format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    let mut silent = TcpStream::connect(node.address).await.unwrap();
    silent.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut silent, "\r\n\r\nok").await;

    for start in ["G", "PRI * HT", "GET /prod/ HTTP/1.1\r\nhost: x"] {
        let mut slow = TcpStream::connect(node.address).await.unwrap();
        slow.write_all(start.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let closed = timeout(PATIENCE, slow.read_to_end(&mut rest)).await.expect("closed in time");
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{start}: {closed:?}");
    }
    // All that while the silent one was kept.
    silent.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut silent, "\r\n\r\nok").await;
    // A second head on a connection is clocked like the first.
    silent.write_all(b"GET /prod/ HT").await.unwrap();
    let _ = timeout(PATIENCE, silent.read_to_end(&mut Vec::new())).await.expect("closed in time");
}

#[tokio::test]
async fn an_idle_http2_caller_that_does_not_go_when_told_to_is_cut_off() {
    let node = TestNode::start_with(api(Native, &[("GET /", mock(200, "ok"))]), |config| {
        config.limits.keep_alive_timeout = Duration::from_millis(200);
    });
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat()).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed in time");
    let goes_away = b"\0\0\x08\x07\0\0\0\0\0";
    assert!(rest.windows(goes_away.len()).any(|frame| frame == goes_away), "{rest:?}");
}

#[tokio::test]
async fn cookies_that_came_in_pieces_over_http2_are_one_field_for_the_backend() {
    let origin = echo().await;
    let node = TestNode::start(api(Native, &[("GET /", proxy(format!("http://{origin}/")))]));
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{API}.execute-api.localhost:9080/prod/"));
    let request = request.header("cookie", "a=1").header("cookie", "b=2; c=3");
    let response = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let echoed = String::from_utf8_lossy(&body);
    assert!(echoed.contains("\ncookie: a=1; b=2; c=3\n"), "{echoed}");
}

#[tokio::test]
async fn http2_is_served_by_prior_knowledge_many_streams_at_once() {
    let origin = echo().await;
    let node =
        TestNode::start(api(Native, &[("GET /{id}", proxy(format!("http://{origin}/{{id}}")))]));
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let calls = (0..20).map(|id| {
        let mut sender = sender.clone();
        let uri = format!("http://{API}.execute-api.localhost:9080/prod/{id}");
        async move {
            let request = Request::get(uri).body(Empty::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(response.headers().contains_key("x-request-id"));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(format!("GET /{id}\n").as_bytes()), "{body:?}");
            assert!(!String::from_utf8_lossy(&body).contains("transfer-encoding"), "{body:?}");
        }
    });
    futures_util::future::join_all(calls).await;
}

#[tokio::test]
async fn an_http2_connection_on_which_nobody_asks_is_ended_and_one_that_waits_for_an_answer_is_not()
{
    let (address, listener) = raw_origin().await;
    let keep_alive = Duration::from_millis(200);
    let node = TestNode::start_with(
        api(Native, &[("GET /", proxy(format!("http://{address}/")))]),
        |config| config.limits.keep_alive_timeout = keep_alive,
    );
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let uri = format!("http://{API}.execute-api.localhost/prod/");
    let answer = sender.send_request(Request::get(uri).body(Empty::new()).unwrap());
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "\r\n\r\n").await;
    tokio::time::sleep(3 * keep_alive).await; // this is how long the backend takes
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let answer = answer.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.to_bytes(), "ok");

    timeout(PATIENCE, connection).await.expect("ended in time").unwrap().expect("by a GOAWAY");
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_progress_and_takes_nothing_new() {
    let (address, listener) = raw_origin().await;
    let mut node = TestNode::start(api(Native, &[("GET /", proxy(format!("http://{address}/")))]));
    let mut busy = TcpStream::connect(node.address).await.unwrap();
    let request = format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    busy.write_all(request.as_bytes()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "\r\n\r\n").await;
    let mut idle = TcpStream::connect(node.address).await.unwrap();

    let at = node.address;
    let finish = async {
        // The listener closes only after the drain began; until then this connects.
        while TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
        backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        read_until(&mut busy, "\r\n\r\nok").await
    };
    let drained = timeout(PATIENCE, async { tokio::join!(node.drain(), finish) }).await;
    let ((), answer) = drained.expect("drained in time");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let _ =
        timeout(PATIENCE, idle.read_to_end(&mut Vec::new())).await.expect("idle ones are closed");
}

#[tokio::test]
async fn a_new_snapshot_is_served_from_the_next_request_on() {
    let mut node = TestNode::start(api(Native, &[("GET /", mock(200, "one"))]));
    assert_eq!(node.get("/prod/").await.body(), "one");
    node.publish(super::world::api_with(
        Native,
        vec![("GET /", mock(200, "two"), false)],
        |(_, deployment, stage)| {
            deployment.id = "deploy0002".into();
            stage.deployment_id = "deploy0002".into();
        },
    ));
    assert_eq!(node.get("/prod/").await.body(), "two");
}

#[tokio::test]
async fn a_panic_is_one_callers_500_and_nobody_elses() {
    let node = TestNode::start(api(Native, &[("GET /", mock(200, "ok"))]));
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let host = format!("host: {API}.execute-api.localhost\r\n");
    let request = format!("GET /prod/ HTTP/1.1\r\n{host}x-test-panic: 1\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("closed").unwrap();
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("\"INTERNAL\""), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(node.shared.metrics.panics.get(), 1);
    assert_eq!(node.get("/prod/").await.status(), 200);
    let counted = node.counted(2).await;
    assert_eq!(counted.iter().filter(|(_, record)| record.billed).count(), 1);
}

#[tokio::test]
async fn who_opens_streams_only_to_reset_them_is_sent_away_and_others_are_served() {
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }
    let node = TestNode::start(api(Native, &[("GET /", mock(200, "ok"))]));
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[])); // SETTINGS
    for stream in (1..400).step_by(2) {
        // HEADERS, ended: GET http / with the authority `a`; then RST_STREAM with CANCEL.
        bytes.extend(frame(1, 0x5, stream, &[0x82, 0x86, 0x84, 0x41, 1, b'a']));
        bytes.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
    }
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let sent_away = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            if head[3] == 7 {
                return payload[4..8].to_vec();
            }
        }
    };
    let code = timeout(PATIENCE, sent_away).await.expect("GOAWAY in time");
    assert_eq!(code, 0xbu32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    assert_eq!(node.get("/prod/").await.status(), 200);
}
