//! Callers who number their calls, keep their connections, and send no call twice: one that was not sent because its
//! connection had ended goes over a new one, to the other node where the first takes none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::load::Death;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{KINDS, Kind};

/// How often each caller calls.
const PACE: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Calls in progress until they are [ended](Callers::end).
pub(crate) struct Callers {
    shared: Arc<Shared>,
    tasks: JoinSet<Told>,
}

struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    /// The number of the next call; its remainder is its kind.
    next: AtomicU64,
    nodes: [SocketAddr; 2],
    /// The API's.
    host: String,
    key: String,
}

/// What callers were told, by the numbers of their calls.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) answered: Vec<u64>,
    pub(crate) broken: Vec<Broken>,
    /// Answers that no kill explains.
    pub(crate) wrong: Vec<String>,
}

/// A call that was sent, perhaps not whole, and not answered.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) call: u64,
    node: SocketAddr,
    /// When its connection was asked for.
    opened: Instant,
    ended: Instant,
    #[expect(dead_code, reason = "shown by Debug where a story fails")]
    why: String,
}

impl Broken {
    /// Whether its connection died with its node.
    pub(crate) fn is_excused(&self, deaths: &[Death]) -> bool {
        let excuses =
            |it: &Death| it.node == self.node && self.opened <= it.to && it.from <= self.ended;
        deaths.iter().any(excuses)
    }
}

impl Callers {
    pub(crate) fn start(callers: usize, nodes: [SocketAddr; 2], host: &str, key: &str) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::default(),
            answered: AtomicUsize::default(),
            next: AtomicU64::default(),
            nodes,
            host: host.to_owned(),
            key: key.to_owned(),
        });
        let tasks = (0..callers).map(|_| Caller::new(shared.clone()).run()).collect();
        Self { shared, tasks }
    }

    /// So far.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Relaxed)
    }

    /// Lets every call in progress end, and tells what was seen.
    pub(crate) async fn end(mut self) -> Told {
        self.shared.stop.store(true, Relaxed);
        let mut all = Told::default();
        while let Some(told) = self.tasks.join_next().await {
            let told = told.unwrap();
            all.answered.extend(told.answered);
            all.broken.extend(told.broken);
            all.wrong.extend(told.wrong);
        }
        all
    }
}

struct Caller {
    shared: Arc<Shared>,
    kept: [Option<Kept>; 2],
    told: Told,
}

struct Kept {
    sender: http1::SendRequest<Full<Bytes>>,
    opened: Instant,
}

impl Caller {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, kept: [None, None], told: Told::default() }
    }

    async fn run(mut self) -> Told {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.shared.stop.load(Relaxed) {
            pace.tick().await;
            let call = self.shared.next.fetch_add(1, Relaxed);
            let began = Instant::now();
            let first = usize::from(call % 7 < 3); // each kind goes to both nodes
            let in_time = tokio::time::timeout(TIMEOUT, self.call(call, first)).await;
            if in_time.is_err() {
                self.told.wrong.push(format!("call {call}: no answer after {:?}", began.elapsed()));
                self.kept = [None, None];
            }
        }
        self.told
    }

    async fn call(&mut self, call: u64, first: usize) {
        let kind = Kind::of(call);
        let mut request = kind.request(call, &self.shared);
        // One node always runs, but either may die between two tries.
        for turn in first.. {
            let index = turn % 2;
            let node = self.shared.nodes[index];
            let Some(mut kept) = self.connection(index).await else {
                tokio::task::yield_now().await;
                continue;
            };
            let opened = kept.opened;
            let broken = |why| Broken { call, node, opened, ended: Instant::now(), why };
            let response = match kept.sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut failed) => {
                    let Some(unsent) = failed.take_message() else {
                        let why = failed.into_error().to_string();
                        self.told.broken.push(broken(why));
                        return;
                    };
                    request = unsent;
                    continue;
                }
            };
            let status = response.status().as_u16();
            match response.into_body().collect().await {
                Err(error) => self.told.broken.push(broken(error.to_string())),
                Ok(body) => {
                    self.kept[index] = Some(kept);
                    self.answered(call, kind, status, &body.to_bytes());
                }
            }
            return;
        }
    }

    fn answered(&mut self, call: u64, kind: &Kind, status: u16, body: &[u8]) {
        let own = status == 200 && body == call.to_string().as_bytes();
        if own || kind.shaky && matches!(status, 502 | 504) {
            self.told.answered.push(call);
            self.shared.answered.fetch_add(1, Relaxed);
        } else {
            let body = String::from_utf8_lossy(body);
            self.told.wrong.push(format!("call {call}, {}: {status}: {body}", kind.route));
        }
    }

    /// One that is ready to be sent to. None: the node takes none.
    async fn connection(&mut self, index: usize) -> Option<Kept> {
        if let Some(mut kept) = self.kept[index].take()
            && kept.sender.ready().await.is_ok()
        {
            return Some(kept);
        }
        // Before it: on a busy machine a node may have died by the time that its connection is told of.
        let opened = Instant::now();
        let stream = TcpStream::connect(self.shared.nodes[index]).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        sender.ready().await.ok()?;
        Some(Kept { sender, opened })
    }
}

impl Kind {
    pub(crate) fn of(call: u64) -> &'static Self {
        &KINDS[usize::try_from(call % KINDS.len() as u64).unwrap()]
    }

    fn request(&self, call: u64, shared: &Shared) -> http::Request<Full<Bytes>> {
        let (method, path) = self.route.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).header("host", &shared.host);
        if self.keyed {
            request = request.header("x-api-key", &shared.key);
        }
        let (uri, body) = if method == "POST" {
            (format!("/prod{path}"), call.to_string())
        } else {
            (format!("/prod{path}?{call}"), String::new())
        };
        request.uri(uri).body(Full::from(body)).unwrap()
    }
}
