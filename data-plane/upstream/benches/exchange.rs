//! What a call of a backend costs the thread that makes it, in CPU: with this client, and with hyper's and a task for
//! each connection, over the same connections to the same backend. `BENCH_CALLS` says how many calls a round has.
//!
//! CPU time is the thread's own, from `schedstat`; the backend is a thread of its own that reads and writes bytes.
//! Rounds are run in turn, and of each client the median and the lowest are printed. With an argument, `ours` or
//! `hyper`, only that client runs, once: for a profiler that counts instructions.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    rc::Rc,
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, uri::PathAndQuery};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::LocalSet};
use upstream::{Alarm, Buffers, Connection, Length, Sending, request};

const CALLERS: usize = 16;
const ROUNDS: usize = 9;
const TARGET: &str = "/v1/pets/12?page=2";
const FIELDS: [(&str, &str); 8] = [
    ("host", "pets.internal:8080"),
    ("user-agent", "curl/8.14.1"),
    ("accept", "*/*"),
    ("x-api-key", "tg_live_00000000000000000000000000000000000001"),
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "abcdefghi1.execute-api.example.com"),
    ("x-request-id", "0199a0c2-7d52-7c7e-b6f2-7a1f4c7d9f10"),
];

/// Answers each read with 1 KiB, on a thread for each connection.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let head = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 05:00:00 GMT\r\n\
                Content-Type: application/json\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n";
    let answer = head.to_owned() + &"x".repeat(1024);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                while stream.read(&mut request).is_ok_and(|bytes| bytes > 0) {
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("set");
    stream
}

fn fields() -> HeaderMap {
    HeaderMap::from_iter(
        FIELDS
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
    )
}

/// One connection's worth of what waits in a pool, the last used first.
type Pool<T> = Rc<RefCell<Vec<T>>>;

async fn ours(pool: Pool<Box<Connection<TcpStream>>>, buffers: Rc<Buffers>, calls: usize) {
    let mut alarm = Alarm::default();
    for _ in 0..calls {
        let mut connection = pool.borrow_mut().pop().expect("one waits");
        assert!(connection.is_quiet());
        connection.begin(buffers.take());
        let target = PathAndQuery::from_static(TARGET);
        let mut head = buffers.take();
        request::encode(&mut head, &Method::GET, &target, &fields(), Length::None);
        let mut request = Sending::new(head, Empty::<Bytes>::new(), Length::None);
        let due = Instant::now() + std::time::Duration::from_secs(30);
        let answer = poll_fn(|cx| {
            let polled = connection.poll_answer(cx, &mut request, false);
            if polled.is_pending() {
                assert!(alarm.poll_due(cx, due).is_pending());
            }
            polled
        });
        assert_eq!(answer.await.expect("an answer").status, 200);
        let mut bytes = 0;
        while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
            bytes += frame.expect("a body").into_data().map_or(0, |data| data.len());
        }
        assert!(bytes == 1024 && connection.is_reusable());
        buffers.give_back(request.into_buffer());
        buffers.give_back(connection.rest());
        pool.borrow_mut().push(connection);
    }
}

async fn hypers(pool: Pool<SendRequest<Empty<Bytes>>>, calls: usize) {
    for _ in 0..calls {
        let mut sender = pool.borrow_mut().pop().expect("one waits");
        sender.ready().await.expect("open");
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = http::Uri::from_static(TARGET);
        *request.headers_mut() = fields();
        let limit = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        let answer = tokio::time::timeout_at(limit, sender.try_send_request(request));
        let answer = answer.await.expect("in time").unwrap_or_else(|_| panic!("no answer"));
        assert_eq!(answer.status(), 200);
        let (mut body, mut bytes) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            bytes += frame.expect("a body").into_data().map_or(0, |data| data.len());
        }
        assert_eq!(bytes, 1024);
        pool.borrow_mut().push(sender);
    }
}

/// This thread's time on a CPU, in nanoseconds.
fn cpu_nanos() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    schedstat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number")
}

async fn round(client: &str, address: SocketAddr, calls: usize) -> u64 {
    let mut tasks = Vec::new();
    let before;
    if client == "ours" {
        let (pool, buffers) = (Pool::default(), Rc::new(Buffers::default()));
        for _ in 0..CALLERS {
            let connection = Box::new(Connection::new(connect(address).await));
            RefCell::borrow_mut(&pool).push(connection);
        }
        before = cpu_nanos();
        for _ in 0..CALLERS {
            let task = ours(pool.clone(), buffers.clone(), calls / CALLERS);
            tasks.push(tokio::task::spawn_local(task));
        }
    } else {
        let pool = Pool::default();
        for _ in 0..CALLERS {
            let io = TokioIo::new(connect(address).await);
            let (sender, connection) = http1::handshake(io).await.expect("a connection");
            tokio::task::spawn_local(connection);
            RefCell::borrow_mut(&pool).push(sender);
        }
        before = cpu_nanos();
        for _ in 0..CALLERS {
            tasks.push(tokio::task::spawn_local(hypers(pool.clone(), calls / CALLERS)));
        }
    }
    for task in tasks {
        task.await.expect("no call failed");
    }
    cpu_nanos() - before
}

fn main() {
    // Cargo passes `--bench`.
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let calls =
        std::env::var("BENCH_CALLS").map_or(40_000, |calls| calls.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let address = backend();
    LocalSet::new().block_on(&runtime.expect("a runtime"), async {
        if let Some(client) = asked {
            round(&client, address, calls).await;
            return;
        }
        println!(
            "a call of 1 KiB over {CALLERS} connections, {ROUNDS} rounds of {calls}: µs of CPU"
        );
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (client, took) in ["ours", "hyper"].iter().zip(&mut took) {
                #[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds")]
                took.push(round(client, address, calls).await as f64 / 1000.0 / calls as f64);
            }
        }
        for (client, mut took) in ["ours", "hyper"].iter().zip(took) {
            took.sort_by(f64::total_cmp);
            println!("{client:>6}: median {:.2}, lowest {:.2}", took[ROUNDS / 2], took[0]);
        }
    });
}
