//! Second tries beside the first: whose answer a caller gets, and what becomes of the other.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use proto::config::v1::{
    Dialect::Native, HttpProxy, LinkedProxy, RetryPolicy, VpcLink, VpcLinkTarget, integration,
    resource::Kind,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::world::{
    API, PATIENCE, TENANT, TestNode, api, proxy_with, raw_origin, read_until, until,
};

/// Far longer than a second try takes to be answered here.
const LATE: Duration = Duration::from_secs(10);

fn policy(delay_ms: u32) -> RetryPolicy {
    RetryPolicy { attempts: 1, hedging_delay_ms: delay_ms, ..RetryPolicy::default() }
}

fn node(address: SocketAddr, change: impl FnOnce(&mut HttpProxy)) -> TestNode {
    let uri = format!("http://{address}/");
    TestNode::start(api(Native, &[("ANY /a", proxy_with(uri, change))]))
}

fn hedging(address: SocketAddr) -> TestNode {
    node(address, |proxy| proxy.retry_policy = Some(policy(50)))
}

/// How many calls were sent a second time, and of how many that was answered.
fn hedges(node: &TestNode) -> (u64, u64) {
    let metrics = &node.shared.metrics.backends;
    (metrics.hedges.get(), metrics.hedges_won.get())
}

/// The next connection, and the head that came over it.
async fn asked(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    (stream, head)
}

async fn say(stream: &mut TcpStream, body: &str) {
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Whether the node closes it.
async fn closes(stream: &mut TcpStream) -> bool {
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn who_is_late_loses_the_call_to_a_second_try_and_its_connection() {
    let (address, listener) = raw_origin().await;
    let node = hedging(address);
    let began = Instant::now();
    let backend = async {
        let (mut slow, first) = asked(&listener).await;
        let (mut fast, second) = asked(&listener).await;
        assert_eq!(first, second, "the same request");
        say(&mut fast, "fast").await;
        assert!(closes(&mut slow).await, "the other is given up");
        fast
    };
    let (answer, mut fast) = tokio::join!(node.get("/prod/a"), backend);
    assert_eq!((answer.status(), answer.body()), (200, "fast"));
    assert!(began.elapsed() >= Duration::from_millis(50) && began.elapsed() < LATE);
    assert_eq!(hedges(&node), (1, 1));
    assert_eq!(node.shared.metrics.backends.retries.get(), 0);
    // The winner's connection serves the next call.
    let next = async {
        read_until(&mut fast, "\r\n\r\n").await;
        say(&mut fast, "again").await;
    };
    let (answer, ()) = tokio::join!(node.get("/prod/a"), next);
    assert_eq!(answer.body(), "again");
    let records = node.counted(2).await;
    assert!(records.iter().all(|(_, record)| record.status == 200), "one call each: {records:?}");
}

#[tokio::test]
async fn the_first_wins_where_it_answers_first_after_all() {
    let (address, listener) = raw_origin().await;
    let node = hedging(address);
    let backend = async {
        let (mut slow, _) = asked(&listener).await;
        let (mut slower, _) = asked(&listener).await;
        say(&mut slow, "first").await;
        assert!(closes(&mut slower).await, "the other is given up");
        slow
    };
    let (answer, _slow) = tokio::join!(node.get("/prod/a"), backend);
    assert_eq!((answer.body(), hedges(&node)), ("first", (1, 0)));
}

#[tokio::test]
async fn who_answers_in_time_is_asked_once() {
    let (address, listener) = raw_origin().await;
    let node = node(address, |proxy| proxy.retry_policy = Some(policy(60_000)));
    let backend = async {
        let (mut stream, _) = asked(&listener).await;
        say(&mut stream, "only").await;
        stream
    };
    let (answer, _stream) = tokio::join!(node.get("/prod/a"), backend);
    assert_eq!((answer.body(), hedges(&node)), ("only", (0, 0)));
}

#[tokio::test]
async fn where_one_fails_the_other_is_waited_for() {
    for first_fails in [true, false] {
        let (address, listener) = raw_origin().await;
        let node = hedging(address);
        let backend = async {
            let (first, _) = asked(&listener).await;
            let (second, _) = asked(&listener).await;
            let (mut failing, mut good) =
                if first_fails { (first, second) } else { (second, first) };
            failing.shutdown().await.unwrap();
            // The node looks at the first one first. The second one's connection it gives up as soon as that failed.
            if !first_fails {
                assert!(closes(&mut failing).await, "it is known");
            }
            say(&mut good, "good").await;
            good
        };
        let (answer, _good) = tokio::join!(node.get("/prod/a"), backend);
        assert_eq!((answer.status(), answer.body()), (200, "good"), "{first_fails}");
        assert_eq!(hedges(&node), (1, u64::from(first_fails)));
    }
}

#[tokio::test]
async fn where_both_are_late_the_call_is() {
    let (address, listener) = raw_origin().await;
    let node = node(address, |proxy| {
        proxy.retry_policy = Some(policy(50));
        proxy.first_byte_timeout_ms = 300;
    });
    let backend = async { (asked(&listener).await, asked(&listener).await) };
    let (answer, _both) = tokio::join!(node.get("/prod/a"), backend);
    assert_eq!(answer.json()["code"], "INTEGRATION_TIMEOUT");
    assert_eq!(hedges(&node), (1, 0));
}

#[tokio::test]
async fn what_does_not_repeat_safely_or_has_a_body_is_sent_once() {
    for (method, body) in [("POST", ""), ("PATCH", ""), ("PUT", "hello")] {
        let (address, listener) = raw_origin().await;
        let node = node(address, |proxy| {
            proxy.retry_policy = Some(RetryPolicy { any_method: true, ..policy(20) });
        });
        let text = format!(
            "{method} /prod/a HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let backend = async {
            let (mut stream, _) = asked(&listener).await;
            let another = timeout(Duration::from_millis(200), listener.accept()).await;
            assert!(another.is_err(), "{method}");
            say(&mut stream, "once").await;
            stream
        };
        let (answer, _stream) = tokio::join!(node.raw(text.as_bytes()), backend);
        assert_eq!((answer.body(), hedges(&node)), ("once", (0, 0)));
    }
}

#[tokio::test]
async fn without_a_budget_or_an_attempt_left_the_first_goes_on_alone() {
    let (address, listener) = raw_origin().await;
    let node = node(address, |proxy| {
        proxy.retry_policy = Some(policy(20));
        proxy.total_timeout_ms = 100;
    });
    let backend = tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            streams.push(stream); // it never answers
        }
    });
    for _ in 0..30 {
        assert_eq!(node.get("/prod/a").await.status(), 504);
    }
    // 10 that were saved at first, and a fifth of the 29 calls that came after one was spent, rounded down.
    assert_eq!(hedges(&node), (10 + 5, 0));
    backend.abort();
}

#[tokio::test]
async fn a_caller_who_leaves_takes_both_tries_along() {
    let (address, listener) = raw_origin().await;
    let node = hedging(address);
    let mut caller = TcpStream::connect(node.address).await.unwrap();
    let text = format!("GET /prod/a HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    caller.write_all(text.as_bytes()).await.unwrap();
    let (mut first, _) = asked(&listener).await;
    let (mut second, _) = asked(&listener).await;
    drop(caller);
    assert!(closes(&mut first).await && closes(&mut second).await);
    until(|| node.shared.metrics.in_flight.get() == 0).await;
}

/// However the first target was chosen, the second is the other one.
#[tokio::test]
async fn a_second_try_goes_to_another_target_of_a_vpc_link() {
    let (one, two) = (raw_origin().await, raw_origin().await);
    let target = |at: SocketAddr| VpcLinkTarget {
        host: at.ip().to_string(),
        port: at.port().into(),
        weight: 1,
    };
    let link = VpcLink {
        id: "link000001".into(),
        tenant_id: TENANT.into(),
        targets: vec![target(one.0), target(two.0)],
        ..VpcLink::default()
    };
    let backend = Some(HttpProxy {
        uri: "http://pets.internal/".into(),
        retry_policy: Some(policy(50)),
        ..HttpProxy::default()
    });
    let vpc_link_id = link.id.clone();
    let to = integration::Kind::LinkedProxy(LinkedProxy { backend, vpc_link_id });
    let mut resources = api(Native, &[("ANY /a", to)]);
    resources.push(Kind::VpcLink(link).into());
    let node = TestNode::start(resources);
    let backends = async {
        let ((mut late, _), other) = tokio::select! {
            asked = asked(&one.1) => (asked, &two.1),
            asked = asked(&two.1) => (asked, &one.1),
        };
        let (mut beside, head) = asked(other).await;
        assert!(head.contains("host: pets.internal"), "{head}");
        say(&mut beside, "beside").await;
        assert!(closes(&mut late).await);
        beside
    };
    let (answer, _beside) = tokio::join!(node.get("/prod/a"), backends);
    assert_eq!((answer.status(), answer.body()), (200, "beside"));
    assert_eq!(hedges(&node), (1, 1));
}
