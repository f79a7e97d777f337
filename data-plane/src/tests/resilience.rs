//! Backends that fail: which calls are sent to them again, and when they are left alone.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use http::{Response, StatusCode};
use proto::config::v1::{CircuitBreaker, Dialect::Native, HttpProxy, RetryPolicy};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::world::{TestNode, api, full, origin, proxy_with, raw_origin, read_until, until};

/// A backend that answers 503 so many times, then 200; and how often it was asked.
async fn failing(times: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let address = origin(move |_| {
        let status = if counted.fetch_add(1, SeqCst) < times { 503 } else { 200 };
        let mut response = Response::new(full("said"));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        async { response }
    })
    .await;
    (address, asked)
}

fn node(address: SocketAddr, change: impl FnOnce(&mut HttpProxy)) -> TestNode {
    let uri = format!("http://{address}/");
    TestNode::start(api(Native, &[("ANY /a", proxy_with(uri, change))]))
}

fn on_503(attempts: u32) -> RetryPolicy {
    RetryPolicy { attempts, statuses: vec![503], ..RetryPolicy::default() }
}

fn retries(node: &TestNode) -> u64 {
    node.shared.metrics.backends.retries.get()
}

#[tokio::test]
async fn an_answer_that_the_policy_names_is_asked_for_again_as_often_as_it_says() {
    for (fails, status, asks) in [(2, 200, 3), (3, 503, 3)] {
        let (address, asked) = failing(fails).await;
        let node = node(address, |proxy| proxy.retry_policy = Some(on_503(2)));
        let answer = node.get("/prod/a").await;
        assert_eq!((answer.status(), asked.load(SeqCst)), (status, asks), "{answer:?}");
        assert!(answer.body().contains("said"), "the last answer's own body");
        assert_eq!(retries(&node), 2);
        assert_eq!(node.counted(1).await.len(), 1, "one call, however often it was sent");
    }
}

#[tokio::test]
async fn without_a_policy_or_for_another_answer_a_call_is_sent_once() {
    let other = RetryPolicy { attempts: 5, statuses: vec![502], ..RetryPolicy::default() };
    for policy in [None, Some(other)] {
        let (address, asked) = failing(1).await;
        let node = node(address, |proxy| proxy.retry_policy = policy);
        assert_eq!(node.get("/prod/a").await.status(), 503);
        assert_eq!((asked.load(SeqCst), retries(&node)), (1, 0));
    }
}

#[tokio::test]
async fn a_post_is_sent_again_only_where_the_policy_says_so_and_never_its_body() {
    for (any_method, body, status, asks) in
        [(false, "", 503, 1), (true, "", 200, 2), (true, "hello", 503, 1)]
    {
        let (address, asked) = failing(1).await;
        let node = node(address, |proxy| {
            proxy.retry_policy = Some(RetryPolicy { any_method, ..on_503(2) });
        });
        let head = "POST /prod/a HTTP/1.1\r\nhost: abcdefghi1.execute-api.localhost\r\n";
        let length = body.len();
        let text = format!("{head}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        let answer = node.raw(text.as_bytes()).await;
        assert_eq!((answer.status(), asked.load(SeqCst)), (status, asks), "{any_method} {body:?}");
    }
}

#[tokio::test]
async fn a_backend_that_was_away_for_a_moment_is_reached_whatever_the_method() {
    let (address, listener) = raw_origin().await;
    drop(listener);
    let node = node(address, |proxy| {
        proxy.retry_policy =
            Some(RetryPolicy { attempts: 5, connect_failure: true, ..RetryPolicy::default() });
    });
    let back = async {
        until(|| retries(&node) != 0).await;
        let listener = TcpListener::bind(address).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "hello").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::join!(
        node.raw(
            b"POST /prod/a HTTP/1.1\r\nhost: abcdefghi1.execute-api.localhost\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"
        ),
        back
    );
    assert_eq!(answer.status(), 200, "{answer:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_before_an_answer_is_another_try() {
    let (address, listener) = raw_origin().await;
    let node = node(address, |proxy| {
        proxy.retry_policy =
            Some(RetryPolicy { attempts: 1, reset: true, ..RetryPolicy::default() });
    });
    let backend = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::join!(node.get("/prod/a"), backend);
    assert_eq!((answer.status(), retries(&node)), (200, 1), "{answer:?}");
}

#[tokio::test]
async fn a_try_that_takes_too_long_makes_room_for_the_next() {
    let (address, listener) = raw_origin().await;
    let node = node(address, |proxy| {
        proxy.retry_policy = Some(RetryPolicy {
            attempts: 1,
            timeout: true,
            per_try_timeout_ms: 100,
            ..RetryPolicy::default()
        });
    });
    let backend = async {
        let (mut slow, _) = listener.accept().await.unwrap();
        read_until(&mut slow, "\r\n\r\n").await;
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let began = Instant::now();
    let (answer, ()) = tokio::join!(node.get("/prod/a"), backend);
    assert_eq!((answer.status(), retries(&node)), (200, 1), "{answer:?}");
    assert!(began.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_backend_that_always_fails_gets_a_fifth_more_calls_and_what_was_saved() {
    let (address, asked) = failing(usize::MAX).await;
    let node = node(address, |proxy| proxy.retry_policy = Some(on_503(5)));
    for _ in 0..100 {
        assert_eq!(node.get("/prod/a").await.status(), 503);
    }
    // 10 that were saved at first, and a fifth of the 99 calls that came after one was spent, rounded down.
    assert_eq!(asked.load(SeqCst), 100 + 10 + 19);
}

#[tokio::test]
async fn a_backend_that_fails_is_left_alone_and_asked_again_when_its_time_is_over() {
    let (address, asked) = failing(3).await;
    let breaker = CircuitBreaker {
        consecutive_failures: 3,
        minimum_requests: 1,
        open_ms: 1000,
        half_open_probes: 1,
        ..CircuitBreaker::default()
    };
    let node = node(address, |proxy| proxy.circuit_breaker = Some(breaker));
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(node.get("/prod/a").await.status(), 503, "the backend's own answer");
    }
    let refused = node.get("/prod/a").await;
    assert_eq!((refused.status(), &refused.json()["code"]), (504, &"INTEGRATION_FAILURE".into()));
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(asked.load(SeqCst), 3, "it was left alone");
    let status = loop {
        let status = node.get("/prod/a").await.status();
        if status != 504 {
            break status;
        }
    };
    assert!(began.elapsed() >= Duration::from_millis(999));
    assert_eq!((status, asked.load(SeqCst)), (200, 4));
    assert_eq!(node.get("/prod/a").await.status(), 200);
    let metrics = &node.shared.metrics;
    assert_eq!(metrics.backends.circuits_opened.get(), 1);
    assert!(metrics.backends.circuit_refusals.get() >= 1);
}

#[tokio::test]
async fn a_circuit_opens_for_a_backend_that_hangs_too_and_stays_open_over_a_deployment() {
    let (address, _listener) = raw_origin().await;
    let breaker =
        CircuitBreaker { consecutive_failures: 1, open_ms: 60_000, ..CircuitBreaker::default() };
    let uri = format!("http://{address}/");
    let served = |timeout| {
        let hangs = proxy_with(uri.clone(), |proxy| {
            (proxy.total_timeout_ms, proxy.circuit_breaker) = (timeout, Some(breaker));
        });
        api(Native, &[("ANY /a", hangs)])
    };
    let mut node = TestNode::start(served(100));
    assert_eq!(node.get("/prod/a").await.json()["code"], "INTEGRATION_TIMEOUT");
    node.publish(served(200));
    let refused = node.get("/prod/a").await;
    assert_eq!(refused.json()["code"], "INTEGRATION_FAILURE");
    let left = refused.field("retry-after").unwrap().parse::<u64>().unwrap();
    assert!((50..=60).contains(&left), "{left}");
}
