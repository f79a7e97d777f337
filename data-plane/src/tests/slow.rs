//! Callers who take their answers slowly, or not at all.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::config::v1::Dialect::Native;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::world::{API, PATIENCE, TestNode, api, mock, origin, proxy_with, read_until, until};

const WRITE_TIMEOUT: Duration = Duration::from_millis(300);

/// A node before a backend whose answer never ends.
async fn node(total_timeout_ms: u32) -> TestNode {
    let address = origin(|_| async {
        let pieces = futures_util::stream::repeat_with(|| {
            Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))
        });
        Response::new(StreamBody::new(pieces).boxed())
    })
    .await;
    let endless = proxy_with(format!("http://{address}/"), |proxy| {
        proxy.total_timeout_ms = total_timeout_ms;
    });
    let routes = [("GET /endless", endless), ("GET /short", mock(200, &"y".repeat(100)))];
    TestNode::start_with(api(Native, &routes), |config| {
        config.limits.write_timeout = WRITE_TIMEOUT;
    })
}

type Sender = http2::SendRequest<Empty<Bytes>>;

/// An HTTP/2 caller who lets so many bytes of each answer in before it has read any.
async fn caller(node: &TestNode, window: u32) -> (Sender, tokio::task::JoinHandle<()>) {
    let stream = TcpStream::connect(node.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(async { drop(connection.await) }))
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    let uri = format!("http://{API}.execute-api.localhost/prod/{path}");
    Request::get(uri).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn an_http2_stream_whose_window_stays_shut_is_reset_and_its_connection_serves_on() {
    let node = node(0).await;
    let (mut sender, connection) = caller(&node, 1000).await;
    let unread = sender.send_request(get("endless")).await.unwrap();
    until(|| node.shared.metrics.callers_cut.get() == 1).await;

    let error = unread.into_body().collect().await.unwrap_err();
    assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    let answer = sender.send_request(get("short")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 100);
    assert!(!connection.is_finished());
    let counted = node.counted(2).await;
    assert_eq!(counted.iter().filter(|(_, record)| record.aborted).count(), 1);
}

#[tokio::test]
async fn a_whole_answer_that_no_window_lets_out_ends_its_connection() {
    let node = node(0).await;
    let (mut sender, connection) = caller(&node, 1).await;
    let unread = sender.send_request(get("short")).await.unwrap();
    timeout(PATIENCE, connection).await.expect("ended in time").unwrap();
    assert!(unread.into_body().collect().await.is_err());
    assert_eq!(node.shared.metrics.callers_cut.get(), 1);
}

#[tokio::test]
async fn an_http1_caller_who_reads_nothing_is_cut_off() {
    let node = node(0).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = format!("GET /prod/endless HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    until(|| node.shared.metrics.connections.get() == 0).await;
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed in time");
    let counted = node.counted(1).await;
    assert!(counted[0].1.aborted);
}

#[tokio::test]
async fn a_caller_who_reads_on_is_served_however_slow_it_is() {
    let node = node(0).await;
    // Two windows to a piece: a machine at full load takes its time for each.
    let (mut sender, _connection) = caller(&node, 8 * 1024).await;
    let mut body = sender.send_request(get("endless")).await.unwrap().into_body();
    let began = Instant::now();
    while began.elapsed() < 3 * WRITE_TIMEOUT {
        tokio::time::sleep(Duration::from_millis(2)).await; // this is how slow it is
        body.frame().await.expect("it goes on").expect("it goes on");
    }
    assert_eq!(node.shared.metrics.callers_cut.get(), 0);
}

#[tokio::test]
async fn the_total_timeout_binds_a_caller_who_reads_slowly() {
    let node = node(500).await;
    let began = Instant::now();
    let (mut sender, _connection) = caller(&node, 1000).await;
    let body = sender.send_request(get("endless")).await.unwrap().into_body();
    let read = async {
        let mut body = body;
        while let Some(Ok(_)) = body.frame().await {
            tokio::time::sleep(Duration::from_millis(2)).await; // this is how slow it is
        }
    };
    timeout(PATIENCE, read).await.expect("reset in time");
    assert!(began.elapsed() >= Duration::from_millis(500));

    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = format!("GET /prod/endless HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let read = async {
        let mut some = [0; 1024];
        while stream.read(&mut some).await.is_ok_and(|bytes| bytes > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await; // and this one
        }
    };
    let cut = until(|| node.shared.metrics.callers_cut.get() == 2);
    timeout(PATIENCE, async {
        tokio::select! { () = read => {}, () = cut => {} }
    })
    .await
    .unwrap();
}
