//! Large answers, which go from the backend's socket to the caller's without being copied: byte for byte what they are
//! when they are copied, whoever breaks off or stands still.

use std::{net::SocketAddr, time::Duration};

use http::Method;
use proto::{config::v1::Dialect::Native, segment::Record};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::world::{API, PATIENCE, TestNode, api, proxy_with, raw_origin, read_until, until};
use crate::config::{Config, Http1Server};

const KIB: usize = 1024;
const LARGE: usize = KIB * KIB;
/// The most that the first read of an answer has room for.
const READ: usize = 16 * KIB;

/// A body of so many bytes, no two pieces of which can be taken for one another.
fn body(bytes: usize, seed: usize) -> Vec<u8> {
    let byte = |at| u8::try_from((at + seed) % 251 + at / 251).expect("below 255");
    let period: Vec<u8> = (0..5 * 251).map(byte).collect();
    let mut body = period.repeat(bytes / period.len() + 1);
    body.truncate(bytes);
    body
}

fn head(bytes: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").into_bytes()
}

/// The same of a backend that closes its connection then.
fn last_head(bytes: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n").into_bytes()
}

/// A backend that answers `/{length}-{first}` with a body of that length, of which so much comes with the head.
async fn backend() -> SocketAddr {
    let (address, listener) = raw_origin().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_all(stream));
        }
    });
    address
}

async fn answer_all(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    loop {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            match stream.read_buf(&mut asked).await {
                Ok(bytes) if bytes > 0 => {}
                _ => return,
            }
        }
        let asked = String::from_utf8(asked).unwrap();
        let path = asked.split(' ').nth(1).unwrap().trim_start_matches('/');
        let (length, first) = path.split_once('-').unwrap();
        let (length, first) = (length.parse().unwrap(), first.parse().unwrap());
        let body = if asked.starts_with("HEAD ") { Vec::new() } else { body(length, first) };
        let (with_head, rest) = body.split_at(first.min(body.len()));
        let sent = [&head(length)[..], with_head].concat();
        if stream.write_all(&sent).await.is_err() || stream.write_all(rest).await.is_err() {
            return;
        }
    }
}

fn node(address: SocketAddr, change: impl FnOnce(&mut Config)) -> TestNode {
    let backend = proxy_with(format!("http://{address}/{{proxy}}"), |proxy| {
        proxy.idle_timeout_ms = u32::try_from(PATIENCE.as_millis()).unwrap();
    });
    TestNode::start_with(api(Native, &[("ANY /{proxy+}", backend)]), |config| {
        config.http1_server = Http1Server::Tollgate;
        change(config);
    })
}

fn spliced(node: &TestNode) -> usize {
    usize::try_from(node.shared.metrics.spliced_bytes.get()).unwrap()
}

/// A caller's connection, which stays.
struct Caller(TcpStream);

impl Caller {
    async fn of(node: &TestNode) -> Self {
        Self(TcpStream::connect(node.address).await.unwrap())
    }

    /// Takes nothing that the kernel does not take for it, and that is little.
    async fn slow(node: &TestNode) -> Self {
        let caller = Self::of(node).await;
        SockRef::from(&caller.0).set_recv_buffer_size(16 * KIB).unwrap();
        caller
    }

    async fn ask(&mut self, method: &Method, path: &str) {
        let host = format!("{API}.execute-api.localhost");
        let asked = format!("{method} /prod/{path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        self.0.write_all(asked.as_bytes()).await.unwrap();
    }

    /// A head, without anything after it.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let reading = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.expect("more of the head"));
            }
        };
        timeout(PATIENCE, reading).await.expect("a head in time");
        String::from_utf8(head).unwrap()
    }

    async fn body(&mut self, bytes: usize) -> Vec<u8> {
        let mut body = vec![0; bytes];
        timeout(PATIENCE, self.0.read_exact(&mut body)).await.expect("in time").expect("whole");
        body
    }

    /// What comes until the connection ends, and whether it ended as it should.
    async fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("closed in time");
        (rest, ended.is_ok())
    }

    async fn get(&mut self, length: usize, first: usize) {
        self.ask(&Method::GET, &format!("{length}-{first}")).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
        let same = self.body(length).await == body(length, first);
        assert!(same, "{length} bytes of which {first} came with the head");
    }
}

/// The one record of a node.
async fn record(node: TestNode) -> Record {
    node.counted(1).await.remove(0).1
}

#[tokio::test]
async fn an_answer_is_the_same_copied_or_spliced_whatever_its_length_and_however_it_comes() {
    const FIRST: [usize; 5] = [0, 1, 5000, 8 * KIB, 200 * KIB];
    let around = |bytes: usize| [bytes - 1, bytes, bytes + 1];
    let lengths = [around(64 * KIB), around(72 * KIB), around(128 * KIB), around(256 * KIB)];
    let lengths: Vec<_> = lengths.into_iter().flatten().chain([1, LARGE, 3 * LARGE + 7]).collect();
    let address = backend().await;
    let mut counted = Vec::new();
    for pipes_max in [0, 1, 64] {
        let node = node(address, |config| config.limits.pipes_max = pipes_max);
        let mut caller = Caller::of(&node).await;
        for length in &lengths {
            for first in FIRST {
                let before = spliced(&node);
                caller.get(*length, first).await;
                let by_pipe = spliced(&node) - before;
                assert!(by_pipe <= length.saturating_sub(first.min(1)), "{by_pipe} of {length}");
                if pipes_max == 0 || *length < 64 * KIB {
                    assert_eq!(by_pipe, 0, "{length} bytes");
                }
                // What is read with the head is copied, and no more.
                if pipes_max > 0 && *length >= 64 * KIB + READ {
                    assert!(by_pipe >= length - READ, "{by_pipe} of {length}");
                }
            }
        }
        assert_eq!(node.shared.metrics.upstream_connects.get(), 1, "the backend's stays too");
        drop(caller);
        let records = node.counted(lengths.len() * FIRST.len()).await;
        let mut bytes: Vec<_> = records.iter().map(|(_, record)| record.bytes_out).collect();
        assert!(records.iter().all(|(_, record)| !record.aborted && record.status == 200));
        bytes.sort_unstable();
        counted.push(bytes);
    }
    assert!(counted[0].iter().sum::<u64>() > lengths.iter().sum::<usize>() as u64);
    assert!(counted.iter().all(|bytes| *bytes == counted[0]), "counted by either way alike");
}

#[tokio::test]
async fn head_is_told_the_length_of_a_large_answer_and_nothing_is_moved() {
    let node = node(backend().await, |_| {});
    let mut caller = Caller::of(&node).await;
    caller.ask(&Method::HEAD, &format!("{LARGE}-0")).await;
    assert!(caller.head().await.contains(&format!("content-length: {LARGE}\r\n")));
    assert_eq!(spliced(&node), 0);
    caller.get(LARGE, 0).await;
    assert_eq!(node.shared.metrics.upstream_connects.get(), 1);
}

/// A caller's call of a backend that the test plays, which has been sent the request.
async fn called(listener: &TcpListener, mut caller: Caller) -> (Caller, TcpStream) {
    caller.ask(&Method::GET, "x").await;
    let (mut backend, _) = listener.accept().await.unwrap();
    read_until(&mut backend, "\r\n\r\n").await;
    (caller, backend)
}

/// The backend says this, while the caller reads.
fn says(mut backend: TcpStream, bytes: Vec<u8>) -> JoinHandle<TcpStream> {
    tokio::spawn(async move {
        backend.write_all(&bytes).await.expect("taken");
        backend
    })
}

#[tokio::test]
async fn a_backend_that_closes_early_cuts_the_answer_where_it_stopped() {
    const SENT: usize = 300 * KIB;
    let (address, listener) = raw_origin().await;
    let node = node(address, |_| {});
    let (mut caller, backend) = called(&listener, Caller::of(&node).await).await;
    let said = says(backend, [head(LARGE), body(SENT, 3)].concat());
    let told = caller.head().await;
    drop(said.await.unwrap());
    let (came, ended) = caller.rest().await;
    assert!(ended && came == body(SENT, 3), "{} bytes", came.len());
    assert!(spliced(&node) > 0);
    let record = record(node).await;
    assert!(record.aborted);
    assert_eq!(record.bytes_out, (told.len() + SENT) as u64);
}

#[tokio::test]
async fn a_backend_that_falls_silent_in_the_middle_is_given_up() {
    const SENT: usize = 300 * KIB;
    let (address, listener) = raw_origin().await;
    let mut node = node(address, |_| {});
    let silent =
        proxy_with(format!("http://{address}/{{proxy}}"), |proxy| proxy.idle_timeout_ms = 500);
    node.publish(api(Native, &[("ANY /{proxy+}", silent)]));
    let (mut caller, backend) = called(&listener, Caller::of(&node).await).await;
    let said = says(backend, [head(LARGE), body(SENT, 3)].concat());
    caller.head().await;
    let (came, _) = caller.rest().await;
    let mut backend = said.await.unwrap();
    assert!(came == body(SENT, 3), "{} bytes", came.len());
    assert!(matches!(timeout(PATIENCE, backend.read(&mut [0])).await.unwrap(), Ok(0) | Err(_)));
    assert!(record(node).await.aborted);
}

#[tokio::test]
async fn what_comes_behind_a_body_is_nobodys_answer() {
    let (address, listener) = raw_origin().await;
    let node = node(address, |_| {});
    let (mut caller, backend) = called(&listener, Caller::of(&node).await).await;
    let evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let said = says(backend, [&head(LARGE)[..], &body(LARGE, 1), evil].concat());
    caller.head().await;
    assert!(caller.body(LARGE).await == body(LARGE, 1));
    let _liar = said.await.unwrap();
    let (mut caller, mut fresh) = called(&listener, caller).await;
    fresh.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood").await.unwrap();
    caller.head().await;
    assert_eq!(caller.body(4).await, b"good");
}

/// Says as much of an endless body as is taken, until its connection ends; tells how much that was.
async fn flood(mut backend: TcpStream, said: oneshot::Sender<usize>) {
    let piece = vec![b'f'; 64 * KIB];
    let mut bytes = 0;
    if backend.write_all(&head(1 << 40)).await.is_ok() {
        while let Ok(taken) = backend.write(&piece).await {
            bytes += taken;
        }
    }
    let _ = said.send(bytes);
}

#[tokio::test]
async fn who_takes_nothing_keeps_its_backend_waiting_and_is_cut_off() {
    let (address, listener) = raw_origin().await;
    let node = node(address, |config| config.limits.write_timeout = Duration::from_millis(300));
    let (mut caller, backend) = called(&listener, Caller::slow(&node).await).await;
    let (said, taken) = oneshot::channel();
    tokio::spawn(flood(backend, said));
    let told = caller.head().await;
    until(|| node.shared.metrics.callers_cut.get() == 1).await;
    let taken = timeout(PATIENCE, taken).await.expect("the backend learns of it").unwrap();
    assert!(taken < 32 << 20, "{taken} bytes were taken of the backend");
    let (came, _) = caller.rest().await;
    assert!(came.iter().all(|byte| *byte == b'f'));
    let moved = spliced(&node);
    assert!(moved > 0);
    let record = record(node).await;
    assert!(record.aborted);
    let counted = usize::try_from(record.bytes_out).unwrap() - told.len();
    assert!((moved..=moved + 64 * KIB).contains(&counted), "{counted} of which {moved} by a pipe");
    assert!(counted <= taken, "{counted} of {taken}");
}

#[tokio::test]
async fn what_a_caller_left_in_a_pipe_reaches_no_other() {
    let (address, listener) = raw_origin().await;
    let node = node(address, |config| config.limits.pipes_max = 1);
    for round in 1..=3 {
        let before = spliced(&node);
        let (mut caller, backend) = called(&listener, Caller::slow(&node).await).await;
        let (said, ended) = oneshot::channel();
        tokio::spawn(flood(backend, said));
        caller.head().await;
        until(|| spliced(&node) > before).await;
        SockRef::from(&caller.0).set_linger(Some(Duration::ZERO)).unwrap();
        drop(caller);
        timeout(PATIENCE, ended).await.expect("the backend learns of it").unwrap();

        // The next one's pipe is the only one that there may be, so it is that one or a new one in its place.
        let before = spliced(&node);
        let (mut next, backend) = called(&listener, Caller::of(&node).await).await;
        let said = says(backend, [last_head(LARGE), body(LARGE, round)].concat());
        next.head().await;
        assert!(next.body(LARGE).await == body(LARGE, round), "in round {round}");
        said.await.unwrap();
        assert!(spliced(&node) > before, "the one pipe was free again");
    }
}

#[tokio::test]
async fn while_others_hold_every_pipe_a_body_is_copied() {
    let (address, listener) = raw_origin().await;
    let node = node(address, |config| config.limits.pipes_max = 1);
    let mut slow = Vec::new();
    // Until one of the slow has the pipe and takes nothing more of what is in it.
    for round in 0.. {
        assert!(round < 100, "the pipe was free each time");
        let (mut caller, backend) = called(&listener, Caller::slow(&node).await).await;
        let (said, ended) = oneshot::channel();
        tokio::spawn(flood(backend, said));
        caller.head().await;
        slow.push((caller, ended));

        let before = spliced(&node);
        let (mut caller, backend) = called(&listener, Caller::of(&node).await).await;
        let said = says(backend, [last_head(LARGE), body(LARGE, round)].concat());
        caller.head().await;
        assert!(caller.body(LARGE).await == body(LARGE, round), "in round {round}");
        said.await.unwrap();
        if spliced(&node) == before {
            break;
        }
    }
    for (caller, ended) in slow {
        drop(caller);
        timeout(PATIENCE, ended).await.expect("the backend learns of it").unwrap();
    }
}

#[tokio::test]
async fn a_drain_lets_a_large_answer_end() {
    let (address, listener) = raw_origin().await;
    let mut node = node(address, |_| {});
    let (mut caller, backend) = called(&listener, Caller::of(&node).await).await;
    let body = body(LARGE, 9);
    let (first, rest) = body.split_at(300 * KIB);
    let said = says(backend, [&head(LARGE)[..], first].concat());
    caller.head().await;
    assert!(caller.body(first.len()).await == first);
    let backend = said.await.unwrap();
    let ending = async {
        // The drain has begun.
        let said = says(backend, rest.to_vec());
        assert!(caller.body(rest.len()).await == rest);
        drop((said.await.unwrap(), caller));
    };
    node.shared.start_draining();
    tokio::join!(node.drain(), ending);
    assert!(spliced(&node) > first.len(), "and by the same way");
}
