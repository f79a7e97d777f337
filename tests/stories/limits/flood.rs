//! Callers at several nodes who call ten times as often as is allowed, and how much of it was admitted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Detour, Origin, World, at_length};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(super) const RATE: f64 = 100.0;
pub(super) const BURST: u32 = 100;
/// Together they call ten times as often as is allowed.
const CALLERS: usize = 40;
const PACE: Duration = Duration::from_millis(40);

fn nodes() -> usize {
    at_length(4, 8)
}

/// An answered call.
pub(super) struct Call {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) status: u16,
}

/// Callers at all nodes, until it is ended.
pub(super) struct Flood {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<Call>>,
}

impl Flood {
    fn start(nodes: &[SocketAddr], host: &str, key: &str) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (stop, node) = (stop.clone(), nodes[caller % nodes.len()]);
            let (host, key) = (host.to_owned(), key.to_owned());
            callers.spawn(async move {
                let mut pace = tokio::time::interval(PACE);
                let (mut calls, mut sender) = (Vec::new(), connect(node).await);
                while !stop.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let request = http::Request::get("/prod/pets");
                    let request = request.header("host", &host).header("x-api-key", &key);
                    let request = request.body(Empty::<Bytes>::new()).unwrap();
                    let began = Instant::now();
                    sender.ready().await.expect("the node keeps the connection");
                    let answer = sender.send_request(request).await.expect("an answer");
                    let status = answer.status().as_u16();
                    answer.into_body().collect().await.expect("a whole answer");
                    calls.push(Call { began, ended: Instant::now(), status });
                }
                calls
            });
        }
        Self { stop, callers }
    }

    pub(super) async fn end(self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        let mut calls: Vec<_> = self.callers.join_all().await.into_iter().flatten().collect();
        calls.sort_unstable_by_key(|call| call.began);
        calls
    }
}

async fn connect(node: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(node).await.expect("the node listens");
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(super) struct Limited {
    pub(super) world: World,
    pub(super) origin: Origin,
    pub(super) nodes: Vec<SocketAddr>,
    host: String,
    key: String,
}

impl Limited {
    pub(super) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::of(World::start_nodes(nodes(), settings).await).await
    }

    /// The same by a detour to Redis.
    pub(super) async fn start_over(detour: &Detour, settings: &[(&str, &str)]) -> Self {
        Self::of(World::start_nodes_over(detour, nodes(), settings).await).await
    }

    async fn of(world: World) -> Self {
        let origin = world.origin().await.replies(200, "hello");
        let (host, key) = {
            let acme = world.tenant("acme").await;
            let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
            let api = api.deploy("prod").await;
            (api.host(), api.usage_plan("gold").throttle(RATE, BURST).key().await.value)
        };
        let nodes = (0..nodes()).map(|node| world.endpoint_address_at(node)).collect();
        Self { world, origin, nodes, host, key }
    }

    pub(super) fn flood(&self) -> Flood {
        Flood::start(&self.nodes, &self.host, &self.key)
    }

    /// Sums of a family of metrics over all nodes.
    pub(super) async fn sum(&self, family: &str) -> f64 {
        let mut sum = 0.0;
        for node in 0..self.nodes.len() {
            let text = self.world.node_admin_at(node).get("/metrics").await.text();
            let samples = text.lines().filter(|line| line.starts_with(family));
            sum += samples
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>();
        }
        sum
    }
}

pub(super) fn no_failure(calls: &[Call]) {
    let strange = calls.iter().filter(|call| ![200, 429].contains(&call.status));
    let strange: Vec<_> = strange.map(|call| call.status).collect();
    assert!(strange.is_empty(), "of {}: {strange:?}", calls.len());
}

pub(super) fn admitted(calls: &[Call], from: Instant, to: Instant) -> Vec<&Call> {
    let inside = |call: &&Call| call.status == 200 && call.began >= from && call.ended <= to;
    calls.iter().filter(inside).collect()
}

/// Over all windows: the most that was admitted beyond rate · T + burst; below 0 where none had as much.
pub(super) fn excess(calls: &[Call], from: Instant, to: Instant) -> f64 {
    let calls = admitted(calls, from, to);
    let mut worst = f64::MIN;
    for (index, first) in calls.iter().enumerate() {
        let mut ends: Vec<_> = calls[index..].iter().map(|call| call.ended).collect();
        ends.sort_unstable();
        for (count, end) in (1_u32..).zip(ends) {
            let allowed = RATE * (end - first.began).as_secs_f64() + f64::from(BURST);
            worst = worst.max(f64::from(count) - allowed);
        }
    }
    worst
}

/// Admitted ÷ allowed, in windows of this length one after the other: the least and the most.
pub(super) fn shares(calls: &[Call], from: Instant, to: Instant, window: Duration) -> (f64, f64) {
    let (mut least, mut most, mut start) = (f64::MAX, 0.0_f64, from);
    while start + window <= to {
        // By its end, so that each call counts in one of them.
        let inside =
            |call: &&Call| call.status == 200 && call.ended >= start && call.ended < start + window;
        let count = u32::try_from(calls.iter().filter(inside).count()).unwrap();
        let share = f64::from(count) / (RATE * window.as_secs_f64());
        (least, most) = (least.min(share), most.max(share));
        start += window;
    }
    (least, most)
}
