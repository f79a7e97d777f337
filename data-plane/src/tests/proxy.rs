//! `HTTP_PROXY` from both ends.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use proto::config::v1::{
    Dialect::{AwsHttp, Native},
    HttpProxy,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

use super::world::{
    API, PATIENCE, TestNode, api, api_with, echo, full, origin, proxy, proxy_with, raw_origin,
    read_until,
};

#[tokio::test]
async fn a_call_reaches_its_backend_byte_for_byte_and_hop_by_hop_fields_do_not() {
    let origin = echo().await;
    let node = TestNode::start(api(
        Native,
        &[("ANY /pets/{proxy+}", proxy(format!("http://{origin}/v1/{{proxy}}?own=1")))],
    ));
    let fields = [
        "content-length: 5",
        "te: trailers",
        "keep-alive: timeout=5",
        "x-hop: 1",
        "connection: x-hop",
        "x-api-key: secret",
        "forwarded: for=10.0.0.1",
        "x-forwarded-for: 10.0.0.1",
        "x-forwarded-proto: https",
        "x-kept: one",
        "x-kept: two",
    ];
    let mut text = format!(
        "PUT /prod/pets/a%2Fb%20c/;x=y?q=%41&q=a+b HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n"
    );
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(format!("{text}\r\nhello").as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\n\nhello").await;
    let (head, echoed) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(echoed.contains("PUT /v1/a%2Fb%20c/;x=y?own=1&q=%41&q=a+b\n"), "{echoed}");
    assert!(echoed.contains(&format!("\nhost: {origin}\n")), "{echoed}");
    assert!(echoed.contains("\nx-forwarded-for: 127.0.0.1\n"), "{echoed}");
    assert!(echoed.contains("\nx-forwarded-proto: http\n"), "{echoed}");
    assert!(
        echoed.contains(&format!("\nx-forwarded-host: {API}.execute-api.localhost\n")),
        "{echoed}"
    );
    assert!(
        echoed.contains("\nx-api-key: secret\n") && echoed.contains("\ncontent-length: 5\n"),
        "{echoed}"
    );
    assert!(echoed.contains("\nx-kept: one\n") && echoed.contains("\nx-kept: two\n"), "{echoed}");
    for gone in ["\nte:", "\nkeep-alive:", "\nx-hop:", "\nconnection:", "\nforwarded:", "10.0.0.1"]
    {
        assert!(!echoed.contains(gone), "{gone} in {echoed}");
    }
    let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    assert!(echoed.contains(&format!("\nx-request-id: {id}\n")), "{id} in {echoed}");
}

#[tokio::test]
async fn a_body_of_unknown_length_reaches_its_backend_by_every_method() {
    let origin = echo().await;
    let node = TestNode::start(api(Native, &[("ANY /", proxy(format!("http://{origin}/")))]));
    for method in ["GET", "POST", "DELETE"] {
        let text = format!(
            "{method} /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        let answer = node.raw(text.as_bytes()).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(answer.body().ends_with("\n\nhello"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_callers_trace_goes_on_and_what_is_no_trace_does_not() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let origin = echo().await;
    let node = TestNode::start(api(Native, &[("GET /pets", proxy(format!("http://{origin}/")))]));
    let line = "GET /prod/pets";

    let good = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01");
    let amazon = "x-amzn-trace-id: Root=1-5759e988-bd862e3fe1be46a994272793";
    let answer = node.call(line, &[&good, "tracestate: a=b,c=d", amazon]).await;
    let echoed = answer.body();
    let sent = echoed.lines().find_map(|line| line.strip_prefix("traceparent: ")).unwrap();
    let parts: Vec<&str> = sent.split('-').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("00", TRACE, "01"), "{echoed}");
    assert!(parts[2].len() == 16 && parts[2] != "b7ad6b7169203331", "{echoed}");
    assert!(echoed.contains("\ntracestate: a=b,c=d\n"), "{echoed}");
    assert!(echoed.contains(&format!("\n{amazon}\n")), "{echoed}");

    let zero = format!("traceparent: 00-{}-b7ad6b7169203331-01", "0".repeat(32));
    let answer = node.call(line, &[&zero, "tracestate: a=b"]).await;
    assert!(!answer.body().contains("\ntrace"), "{answer:?}");
}

#[tokio::test]
async fn a_trace_goes_on_in_every_way_that_is_named() {
    use crate::Propagator::{B3, TraceContext, XRay};
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let origin = echo().await;
    let api = api(Native, &[("GET /pets", proxy(format!("http://{origin}/")))]);
    let node = TestNode::start_with(api, |config| {
        config.propagators = vec![TraceContext, B3, XRay];
    });

    let b3 = format!("b3: {TRACE}-b7ad6b7169203331-1");
    let answer = node.call("GET /prod/pets", &[&b3, "traceparent: none", "tracestate: a=b"]).await;

    let echoed = answer.body();
    let sent = |name: &str| echoed.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let span = sent("traceparent: ").split('-').nth(2).unwrap();
    assert_eq!(sent("traceparent: "), format!("00-{TRACE}-{span}-01"));
    assert_eq!(sent("b3: "), format!("{TRACE}-{span}-1"));
    let root = format!("1-{}-{}", &TRACE[..8], &TRACE[8..]);
    assert_eq!(sent("x-amzn-trace-id: "), format!("Root={root};Parent={span};Sampled=1"));
    assert!(!echoed.contains("tracestate"), "it belonged to a traceparent of no use: {echoed}");
}

#[tokio::test]
async fn the_host_is_the_backends_unless_it_is_preserved() {
    let origin = echo().await;
    let preserved = proxy_with(format!("http://{origin}/"), |proxy| proxy.preserve_host = true);
    let node = TestNode::start(api(Native, &[("GET /kept", preserved)]));
    let answer = node.get("/prod/kept").await;
    assert!(
        answer.body().contains(&format!("\nhost: {API}.execute-api.localhost\n")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn stage_variables_and_a_default_route_lead_where_they_say() {
    let origin = echo().await;
    let routes = vec![
        ("GET /v", proxy("http://${stageVariables.host}/x/${stageVariables.version}"), false),
        ("$default", proxy(format!("http://{origin}/base")), false),
    ];
    let node = TestNode::start(api_with(Native, routes, |(_, _, stage)| {
        stage.variables.insert("host".into(), origin.to_string());
        stage.variables.insert("version".into(), "v2".into());
    }));
    assert!(node.get("/prod/v").await.body().contains("GET /x/v2\n"));
    assert!(node.get("/prod/any/thing?q").await.body().contains("GET /base/any/thing?q\n"));
}

#[tokio::test]
async fn a_body_streams_up_while_the_answer_streams_down() {
    let origin = origin(|request| async {
        let body = request.into_body().into_data_stream();
        let upper = body.map(|data| {
            Ok(Frame::data(Bytes::from(data.unwrap_or_default().to_ascii_uppercase())))
        });
        Response::new(BodyExt::boxed(StreamBody::new(upper)))
    })
    .await;
    let api = api(Native, &[("POST /up", proxy(format!("http://{origin}/")))]);
    // Far shorter than the exchange: what follows the answer's head is not the head of a next request.
    let node = TestNode::start_with(api, |config| {
        config.limits.header_timeout = Duration::from_millis(1);
    });
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = format!(
        "POST /prod/up HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let pieces = [("5\r\nhello\r\n", "HELLO"), ("5\r\nworld\r\n", "WORLD")];
    for (piece, echoed) in pieces.into_iter().cycle().take(100) {
        stream.write_all(piece.as_bytes()).await.unwrap();
        read_until(&mut stream, echoed).await; // each before the next is sent
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut stream, "0\r\n\r\n").await;
}

#[tokio::test]
async fn one_connection_serves_many_calls_and_one_backend_connection_too() {
    let (address, listener) = raw_origin().await;
    let node = TestNode::start(api(Native, &[("GET /", proxy(format!("http://{address}/")))]));
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    });
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let request = format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\nok").await;
    }
    backend.await.unwrap();
    assert_eq!(node.shared.metrics.upstream_connects.get(), 1);
}

#[tokio::test]
async fn a_dead_waiting_connection_is_replaced_for_a_call_that_repeats_safely_and_for_no_other() {
    let (address, listener) = raw_origin().await;
    let node = TestNode::start(api(Native, &[("ANY /", proxy(format!("http://{address}/")))]));
    let (asked, mut methods) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // Each connection answers one call, takes the next one and drops dead.
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                for round in 0..2 {
                    let head = read_until(&mut stream, "\r\n\r\n").await;
                    asked.send(head.split(' ').next().unwrap().to_owned()).unwrap();
                    if round == 0 {
                        let _ =
                            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    }
                }
            });
        }
    });
    assert_eq!(node.get("/prod/").await.status(), 200);
    assert_eq!(node.get("/prod/").await.status(), 200, "repeated on a new connection");
    assert_eq!(
        node.call("POST /prod/", &["content-length: 0"]).await.status(),
        504,
        "not repeated"
    );
    let mut seen = Vec::new();
    while let Ok(method) = methods.try_recv() {
        seen.push(method);
    }
    assert_eq!(seen, ["GET", "GET", "GET", "POST"]);
}

#[tokio::test]
async fn a_backend_that_takes_too_long_is_a_timeout_at_each_stage() {
    let (silent, listener) = raw_origin().await;
    let routes = [
        (
            "GET /first",
            proxy_with(format!("http://{silent}/"), |proxy| proxy.first_byte_timeout_ms = 50),
        ),
        (
            "GET /total",
            proxy_with(format!("http://{silent}/"), |proxy| proxy.total_timeout_ms = 50),
        ),
        (
            "GET /idle",
            proxy_with(format!("http://{silent}/idle"), |proxy| proxy.idle_timeout_ms = 50),
        ),
    ];
    let node = TestNode::start(api(Native, &routes));
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if read_until(&mut stream, "\r\n\r\n").await.contains("/idle") {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await.unwrap();
            }
            kept.push(stream);
        }
    });
    for path in ["/prod/first", "/prod/total"] {
        let answer = node.get(path).await;
        assert_eq!(answer.status(), 504, "{answer:?}");
        assert_eq!(answer.json()["code"], "INTEGRATION_TIMEOUT");
    }
    let answer = node.get("/prod/idle").await;
    assert_eq!((answer.status(), answer.body()), (200, "hel"), "cut off, not completed");
}

#[tokio::test]
async fn whoever_keeps_an_upload_waiting_has_the_time_that_is_theirs() {
    let (silent, listener) = raw_origin().await;
    let to = |change: fn(&mut HttpProxy)| proxy_with(format!("http://{silent}/"), change);
    // Each has far more time where it is the other who is waited for.
    let routes = [
        ("ANY /caller", to(|proxy| proxy.idle_timeout_ms = 50)),
        ("ANY /backend", to(|proxy| proxy.first_byte_timeout_ms = 50)),
    ];
    let node = TestNode::start(api(Native, &routes));
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    let upload = async |path: &str| {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let head = format!(
            "POST /prod/{path} HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\
             connection: close\r\ncontent-length: 5\r\n\r\nhel"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let mut stream = upload("caller").await;
    assert!(read_until(&mut stream, "\"}").await.contains("REQUEST_TIMEOUT"));

    let mut stream = upload("backend").await;
    // Takes as long as the upload's first look at who is waited for.
    assert_eq!(node.get("/prod/backend").await.json()["code"], "INTEGRATION_TIMEOUT");
    stream.write_all(b"lo").await.unwrap();
    assert!(read_until(&mut stream, "\"}").await.contains("INTEGRATION_TIMEOUT"));
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_an_integration_failure_in_the_dialects_words() {
    let (address, listener) = raw_origin().await;
    drop(listener);
    let node = TestNode::start(api(Native, &[("GET /", proxy(format!("http://{address}/")))]));
    let answer = node.get("/prod/").await;
    assert_eq!(
        (answer.status(), answer.json()["code"].as_str()),
        (504, Some("INTEGRATION_FAILURE"))
    );

    let node = TestNode::start(api(AwsHttp, &[("GET /", proxy(format!("http://{address}/")))]));
    let answer = node.get("/prod/").await;
    assert_eq!((answer.status(), answer.body()), (503, r#"{"message":"Service Unavailable"}"#));
}

#[tokio::test]
async fn a_caller_that_leaves_takes_its_backend_call_with_it() {
    let (address, listener) = raw_origin().await;
    let node = TestNode::start(api(Native, &[("GET /", proxy(format!("http://{address}/")))]));
    let mut caller = TcpStream::connect(node.address).await.unwrap();
    let request = format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    caller.write_all(request.as_bytes()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "\r\n\r\n").await;
    node.until_in_flight(1).await;
    drop(caller);
    let closed = timeout(PATIENCE, backend.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    node.until_in_flight(0).await;
    let counted = node.counted(1).await;
    assert_eq!((counted[0].1.status, counted[0].1.aborted), (0, true));
}

#[tokio::test]
async fn the_nodes_own_ports_and_forbidden_addresses_are_never_reached() {
    let (address, listener) = raw_origin().await;
    let routes = [
        ("GET /own", proxy(format!("http://127.0.0.1:{}/", address.port()))),
        ("GET /private", proxy("http://10.0.0.1/")),
        ("GET /metadata", proxy("http://169.254.169.254/")),
        ("GET /mapped", proxy("http://[::ffff:127.0.0.1]:81/")),
    ];
    let mut node = TestNode::start_with(api(Native, &routes), |config| config.own = vec![address]);
    for path in ["/prod/own", "/prod/private", "/prod/metadata", "/prod/mapped"] {
        let answer = node.get(path).await;
        assert_eq!(
            (answer.status(), answer.json()["code"].as_str()),
            (500, Some("API_CONFIGURATION_ERROR")),
            "{path}"
        );
    }
    let itself = node.address;
    node.publish(api_with(
        Native,
        vec![("GET /loop", proxy(format!("http://{itself}/")), false)],
        |(_, deployment, stage)| {
            deployment.id = "deploy0002".into();
            stage.deployment_id = "deploy0002".into();
        },
    ));
    assert_eq!(node.get("/prod/loop").await.status(), 500);
    // Had one of them connected, it would wait here before this one.
    let mine = TcpStream::connect(address).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, mine.local_addr().unwrap());
}

#[tokio::test]
async fn a_redirect_is_the_callers_to_follow_and_cookies_stay_at_home() {
    let origin = origin(|_| async {
        let response = Response::builder().status(302).header("location", "http://127.0.0.1:1/");
        let response = response.header("set-cookie", "a=1; Domain=localhost; Path=/x");
        response
            .header("www-authenticate", "Basic")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .body(full("moved"))
            .unwrap()
    })
    .await;
    let node = TestNode::start(api(Native, &[("GET /", proxy(format!("http://{origin}/")))]));
    let by_host = node.get("/prod/").await;
    assert_eq!((by_host.status(), by_host.field("location")), (302, Some("http://127.0.0.1:1/")));
    assert_eq!(by_host.field("set-cookie"), Some("a=1; Path=/x"));
    assert_eq!((by_host.field("www-authenticate"), by_host.field("x-hop")), (Some("Basic"), None));
    let request =
        format!("GET /_api/{API}/prod/ HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    let by_path = node.raw(request.as_bytes()).await;
    assert_eq!(by_path.field("set-cookie"), Some(&*format!("a=1; Path=/_api/{API}/x")));
}
