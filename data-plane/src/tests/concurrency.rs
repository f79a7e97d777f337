//! Concurrency limits against a real Redis: `REDIS_URL`, or the one on port 6399.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use http::Response;
use proto::config::v1::{ConcurrencyLimit, QuotaPeriod, Resource, Stage, Throttle, UsagePlan};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    access::Memory,
    limited::Limited,
    limits::{KEY, calendar, gated_redis, no_redis, use_redis},
    world::{API, Answer, TestNode, full, mock, origin, proxy, raw_origin, read_until, until},
};
use crate::{
    Config,
    config::{LimiterMode, LimiterOutage},
};

fn at_most(max_in_flight: u32) -> ConcurrencyLimit {
    ConcurrencyLimit { max_in_flight, shadow: false }
}

fn shadow(max_in_flight: u32) -> ConcurrencyLimit {
    ConcurrencyLimit { max_in_flight, shadow: true }
}

/// A backend that answers nobody until it is told to, and knows how many it is asked by at once.
struct Slow {
    address: SocketAddr,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    answers: watch::Sender<bool>,
}

/// One call in progress there, until this is dropped.
struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Slow {
    async fn start() -> Self {
        let (answers, answered) = watch::channel(false);
        let (now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (now.clone(), most.clone());
        let address = origin(move |_| {
            let ((now, most), mut answered) = (counts.clone(), answered.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _inside = Inside(now);
                let _ = answered.wait_for(|answers| *answers).await;
                Response::new(full("in"))
            }
        })
        .await;
        Self { address, now, most, answers }
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

impl Limited {
    /// Routes to a backend, of which `/k` needs a key, and one that answers by itself.
    fn before(
        &self,
        backend: SocketAddr,
        change: impl FnOnce(&mut Stage, &mut UsagePlan),
    ) -> Vec<Resource> {
        let to = || proxy(format!("http://{backend}/"));
        let routes = vec![
            ("GET /k", to(), true),
            ("GET /b", to(), false),
            ("GET /mock", mock(200, "m"), false),
        ];
        self.with(routes, |stage, plan| {
            stage.rate_limit_headers = true;
            change(stage, plan);
        })
    }

    fn path(&self, path: &str) -> String {
        format!("GET /{}{path}", self.stage)
    }

    async fn call(&self, node: &TestNode, path: &str) -> Answer {
        node.call(&self.path(path), &[KEY]).await
    }

    /// A call that is left open, from its head on.
    async fn open(&self, node: &TestNode, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let line = self.path(path);
        let head = format!("{line} HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n{KEY}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// Until a call is let in.
    async fn until_in(&self, node: &TestNode, path: &str) {
        loop {
            match self.call(node, path).await {
                answer if answer.status() == 200 => return,
                answer => assert_eq!(answer.status(), 429, "{answer:?}"),
            }
        }
    }
}

fn in_redis(threads: usize) -> impl FnOnce(&mut Config) {
    move |config| {
        use_redis(config);
        config.threads = threads;
    }
}

fn is_refused(answer: &Answer) {
    assert_eq!((answer.status(), answer.json()["code"].as_str()), (429, Some("THROTTLED")));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("in progress at once"), "{message}");
    assert_eq!(answer.field("retry-after"), Some("1"));
}

#[tokio::test]
async fn no_more_calls_than_the_limit_reach_the_backend_at_once_whatever_node_and_thread_they_come_to()
 {
    for limit in [1, 3, 20] {
        let (slow, limited) = (Slow::start().await, Limited::new());
        let resources =
            limited.before(slow.address, |stage, _| stage.concurrency_limit = Some(at_most(limit)));
        let nodes = [(); 3].map(|()| TestNode::start_with(resources.clone(), in_redis(2)));
        let most = usize::try_from(limit).unwrap();
        for round in 1..4 {
            let calls = join_all((0..40).map(|call| limited.call(&nodes[call % 3], "/b")));
            let answers = async {
                until(|| slow.now() == most).await;
                // All others were refused, and none waits.
                let refused = || {
                    let of = |node: &TestNode| {
                        node.shared.metrics.limits.concurrency_decisions("refused", "permit")
                    };
                    usize::try_from(nodes.iter().map(of).sum::<u64>()).unwrap()
                };
                until(|| refused() == round * (40 - most)).await;
                slow.answers.send_replace(true);
            };
            let (answers, ()) = tokio::join!(calls, answers);
            let (passed, refused): (Vec<_>, Vec<_>) =
                answers.iter().partition(|answer| answer.status() == 200);
            assert_eq!(passed.len(), most, "of {limit}");
            refused.into_iter().for_each(is_refused);
            slow.answers.send_replace(false);
            // What a node keeps for its own next callers goes back before the next round.
            tokio::time::timeout(super::world::PATIENCE, async {
                let url = super::limits::redis_url();
                let client = redis::Client::open(url).unwrap();
                let mut redis = client.get_multiplexed_async_connection().await.unwrap();
                let name = proto::redis_keys::stage_concurrency(API, &limited.stage);
                loop {
                    let kept: std::collections::HashMap<String, String> =
                        redis::AsyncCommands::hgetall(&mut redis, &name).await.unwrap();
                    let held = kept.iter().filter(|(field, _)| field.starts_with("n:"));
                    let mut held = held.map(|(_, record)| record.split(' ').nth(1).unwrap());
                    if held.all(|held| held == "0") {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await
            .expect("given back in time");
        }
        assert_eq!(slow.most.load(Ordering::SeqCst), most);
    }
}

#[tokio::test]
async fn every_level_that_is_set_counts_and_is_told_of_without_a_window() {
    let slow = Slow::start().await;
    for narrowest in ["key", "route", "stage"] {
        let limited = Limited::new();
        let of = |level| at_most(if level == narrowest { 1 } else { 5 });
        let resources = limited.before(slow.address, |stage, plan| {
            plan.concurrency_limit = Some(of("key"));
            stage.route_concurrency_limits = [("GET /k".to_owned(), of("route"))].into();
            stage.concurrency_limit = Some(of("stage"));
        });
        let node = TestNode::start_with(resources, in_redis(1));
        slow.answers.send_replace(false);
        let first = limited.call(&node, "/k");
        let others = async {
            until(|| slow.now() == 1).await;
            let refused = limited.call(&node, "/k").await;
            is_refused(&refused);
            let policy = format!("\"{narrowest}-concurrency\";q=1;qu=\"concurrent-requests\"");
            assert_eq!(refused.field("ratelimit-policy"), Some(&*policy));
            let state = format!("\"{narrowest}-concurrency\";r=0");
            assert_eq!(refused.field("ratelimit"), Some(&*state));
            let beside = limited.call(&node, "/mock").await.status();
            assert_eq!(beside, if narrowest == "stage" { 429 } else { 200 }, "{narrowest}");
            slow.answers.send_replace(true);
        };
        let (first, ()) = tokio::join!(first, others);
        assert_eq!(first.status(), 200);
        let names: Vec<_> = first.field("ratelimit-policy").unwrap().split(", ").collect();
        assert_eq!(names.len(), 3);
        for (name, level) in names.iter().zip(["key", "route", "stage"]) {
            let most = of(level).max_in_flight;
            assert_eq!(
                *name,
                format!("\"{level}-concurrency\";q={most};qu=\"concurrent-requests\"")
            );
        }
        assert!(!first.field("ratelimit").unwrap().contains(";t="), "{first:?}");
    }
}

async fn accepted(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    stream
}

const BEGUN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhal";

#[tokio::test]
async fn a_call_is_in_progress_until_its_last_byte_however_it_ends() {
    let limited = Limited::new();
    let (address, listener) = raw_origin().await;
    let resources = limited.before(address, |stage, _| stage.concurrency_limit = Some(at_most(1)));
    let node = TestNode::start_with(resources, in_redis(1));
    for end in ["whole", "backend gone", "caller gone", "caller gone before the answer"] {
        let mut caller = limited.open(&node, "/b").await;
        let mut backend = accepted(&listener).await;
        is_refused(&limited.call(&node, "/mock").await);
        if end != "caller gone before the answer" {
            backend.write_all(BEGUN).await.unwrap();
            read_until(&mut caller, "hal").await;
            is_refused(&limited.call(&node, "/mock").await);
        }
        match end {
            "whole" => {
                backend.write_all(b"low").await.unwrap();
                read_until(&mut caller, "low").await;
            }
            "backend gone" => drop(backend),
            _ => drop(caller),
        }
        limited.until_in(&node, "/mock").await;
    }
}

#[tokio::test]
async fn a_panic_gives_its_permit_back() {
    let limited = Limited::new();
    let (address, _listener) = raw_origin().await;
    let resources = limited.before(address, |stage, _| stage.concurrency_limit = Some(at_most(1)));
    let node = TestNode::start_with(resources, in_redis(1));
    for _ in 0..3 {
        let answer = node.call(&limited.path("/mock"), &["x-test-panic: 1"]).await;
        assert_eq!(answer.status(), 500);
    }
    assert_eq!(limited.call(&node, "/mock").await.status(), 200);
}

#[tokio::test]
async fn a_call_that_another_limit_refuses_holds_no_permit() {
    for by in ["throttle", "quota"] {
        let limited = Limited::new();
        let (address, listener) = raw_origin().await;
        let resources = limited.before(address, |stage, plan| {
            stage.concurrency_limit = Some(at_most(1));
            match by {
                "throttle" => {
                    let throttle = Throttle {
                        rate_limit: 0.001,
                        burst_limit: 1,
                        shadow: false,
                        ..Throttle::default()
                    };
                    plan.throttle = Some(throttle);
                }
                _ => plan.quota = Some(calendar(1, QuotaPeriod::Month)),
            }
        });
        let node = TestNode::start_with(resources, in_redis(1));
        let first = limited.call(&node, "/k");
        let backend = async {
            let mut backend = accepted(&listener).await;
            // What it takes is not taken by those who find no permit.
            is_refused(&limited.call(&node, "/k").await);
            backend.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        assert_eq!(tokio::join!(first, backend).0.status(), 204);
        for _ in 0..3 {
            let refused = limited.call(&node, "/k").await;
            let code = if by == "quota" { "QUOTA_EXCEEDED" } else { "THROTTLED" };
            assert_eq!((refused.status(), refused.json()["code"].as_str()), (429, Some(code)));
            assert!(!refused.text.contains("in progress at once"), "{by}: {refused:?}");
        }
        assert_eq!(limited.call(&node, "/mock").await.status(), 200, "{by}");
    }
}

#[tokio::test]
async fn a_limit_in_shadow_lets_all_calls_pass_and_names_those_beyond_it() {
    let (slow, limited, log) = (Slow::start().await, Limited::new(), Memory::default());
    let resources = limited.before(slow.address, |stage, plan| {
        plan.concurrency_limit = Some(shadow(1));
        stage.concurrency_limit = Some(shadow(2));
        stage.route_concurrency_limits = [("GET /k".to_owned(), at_most(4))].into();
    });
    let node = TestNode::start_with(resources, |config| {
        use_redis(config);
        log.config(config);
    });
    let mut open = Vec::new();
    for call in 1..5 {
        open.push(limited.open(&node, "/k").await);
        until(|| slow.now() == call).await;
    }
    is_refused(&limited.call(&node, "/k").await);
    until(|| log.len() == 1).await;
    assert!(log.last()["shadow_throttled_by"].is_null(), "an enforced one refused it");
    assert_eq!(limited.call(&node, "/mock").await.status(), 200);
    until(|| log.len() == 2).await;
    let beyond = ["key-concurrency", "key-concurrency,stage-concurrency"];
    assert_eq!(log.last()["shadow_throttled_by"], "stage-concurrency");
    slow.answers.send_replace(true);
    for caller in &mut open {
        let answer = read_until(caller, "\r\n\r\nin").await;
        assert!(answer.contains("\"route-concurrency\";q=4"), "{answer}");
        assert!(!answer.contains("\"key-") && !answer.contains("\"stage-"), "{answer}");
    }
    until(|| log.len() == 6).await;
    let named = |names: Option<&str>| log.count("shadow_throttled_by", names);
    // The first is beyond none, the second beyond the key's, the others beyond both: none of those beyond counts.
    let [by_key, by_both] = beyond.map(|names| named(Some(names)));
    assert_eq!((by_key, by_both), (1, 2));
    let shadowed = || node.shared.metrics.limits.concurrency_decisions("shadowed", "permit");
    until(|| shadowed() == 6).await;
}

#[tokio::test]
async fn a_limit_that_is_enforced_beside_restrictions_of_its_own_kind_is_served_and_no_other_is() {
    for (restriction, status) in [("concurrencyLimit", 200), ("webAclArn", 500)] {
        let limited = Limited::new();
        let (address, listener) = raw_origin().await;
        let resources = limited.before(address, |stage, plan| {
            stage.restrictions = vec![restriction.to_owned()];
            stage.concurrency_limit = Some(at_most(1));
            stage.route_concurrency_limits = [("GET /k".to_owned(), at_most(1))].into();
            // As a control plane sends a plan whose limit is enforced.
            plan.concurrency_limit = Some(at_most(1));
            plan.limited_stages = std::mem::take(&mut plan.api_stages);
        });
        let node = TestNode::start_with(resources, in_redis(1));
        assert_eq!(limited.call(&node, "/mock").await.status(), status);
        if status == 200 {
            // The plan is on the stage: its key reaches the backend.
            let mut caller = limited.open(&node, "/k").await;
            let mut backend = accepted(&listener).await;
            backend.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            read_until(&mut caller, "204 No Content").await;
        }
    }
}

#[tokio::test]
async fn calls_in_progress_count_on_when_the_configuration_changes() {
    let limited = Limited::new();
    let (address, listener) = raw_origin().await;
    let resources =
        |most| limited.before(address, |stage, _| stage.concurrency_limit = Some(at_most(most)));
    let mut node = TestNode::start_with(resources(2), in_redis(1));
    let _callers = [limited.open(&node, "/b").await, limited.open(&node, "/b").await];
    let _backends = [accepted(&listener).await, accepted(&listener).await];
    is_refused(&limited.call(&node, "/mock").await);
    node.publish(resources(3));
    assert_eq!(limited.call(&node, "/mock").await.status(), 200);
    node.publish(resources(1));
    is_refused(&limited.call(&node, "/mock").await);
}

#[tokio::test]
async fn without_redis_each_node_goes_on_as_it_is_told() {
    let (urls, _listener) = no_redis().await;
    let outages =
        [LimiterOutage::LocalFallback, LimiterOutage::FailOpen, LimiterOutage::FailClosed];
    for (url, outage) in urls.iter().flat_map(|url| outages.map(|outage| (url.clone(), outage))) {
        let (slow, limited) = (Slow::start().await, Limited::new());
        let resources =
            limited.before(slow.address, |stage, _| stage.concurrency_limit = Some(at_most(2)));
        let node = TestNode::start_with(resources, |config| {
            config.redis_url = url;
            config.limits.redis_timeout = Duration::from_millis(50);
            config.limiter_outage = outage;
        });
        let most = match outage {
            LimiterOutage::LocalFallback | LimiterOutage::FailOpen => 2,
            LimiterOutage::FailClosed => 0,
        };
        let mut open = Vec::new();
        for call in 0..most {
            open.push(limited.open(&node, "/b").await);
            until(|| slow.now() == call + 1).await;
        }
        match outage {
            LimiterOutage::LocalFallback => is_refused(&limited.call(&node, "/mock").await),
            // What the node itself has in progress it knows, until Redis is known to be away.
            LimiterOutage::FailOpen => limited.until_in(&node, "/mock").await,
            LimiterOutage::FailClosed => {
                let next = limited.call(&node, "/mock").await;
                assert_eq!(next.json()["code"].as_str(), Some("LIMITS_UNAVAILABLE"));
            }
        }
    }
}

#[tokio::test]
async fn what_a_node_let_in_without_redis_counts_when_redis_is_back() {
    let (gate, open) = gated_redis().await;
    let (slow, limited) = (Slow::start().await, Limited::new());
    let resources =
        limited.before(slow.address, |stage, _| stage.concurrency_limit = Some(at_most(2)));
    let away = TestNode::start_with(resources.clone(), |config| {
        config.redis_url = Some(format!("redis://{gate}/"));
        config.limits.redis_timeout = Duration::from_millis(200);
    });
    let (other_gate, _open) = gated_redis().await;
    let near = TestNode::start_with(resources, |config| {
        use_redis(config);
        config.redis_url = Some(format!("redis://{other_gate}/"));
    });
    open.send_replace(false);
    let _callers = [limited.open(&away, "/b").await, limited.open(&away, "/b").await];
    until(|| slow.now() == 2).await;
    is_refused(&limited.call(&away, "/mock").await);
    assert_eq!(limited.call(&near, "/mock").await.status(), 200, "it cannot know");
    open.send_replace(true);
    let told = async { while limited.call(&near, "/mock").await.status() == 200 {} };
    tokio::time::timeout(super::world::PATIENCE, told).await.expect("told in time");
    slow.answers.send_replace(true);
    limited.until_in(&near, "/mock").await;
}

#[tokio::test]
async fn a_node_that_counts_by_itself_allows_its_share_and_asks_nobody() {
    let (slow, limited) = (Slow::start().await, Limited::new());
    let resources =
        limited.before(slow.address, |stage, _| stage.concurrency_limit = Some(at_most(3)));
    let node = TestNode::start_with(resources, |config| {
        config.redis_url = None;
        config.limiter_mode = LimiterMode::Local;
    });
    let mut open = Vec::new();
    for call in 1..4 {
        open.push(limited.open(&node, "/b").await);
        until(|| slow.now() == call).await;
    }
    is_refused(&limited.call(&node, "/mock").await);
    assert_eq!(node.shared.metrics.limits.redis_calls("permit"), 0);
    slow.answers.send_replace(true);
    limited.until_in(&node, "/mock").await;
}

#[tokio::test]
async fn a_node_that_ends_leaves_its_permits_to_others_at_once() {
    let (slow, limited) = (Slow::start().await, Limited::new());
    let resources =
        limited.before(slow.address, |stage, _| stage.concurrency_limit = Some(at_most(1)));
    let mut ending = TestNode::start_with(resources.clone(), in_redis(2));
    let other = TestNode::start_with(resources, in_redis(1));
    let mut caller = limited.open(&ending, "/b").await;
    until(|| slow.now() == 1).await;
    is_refused(&limited.call(&other, "/mock").await);
    let last = async {
        slow.answers.send_replace(true);
        read_until(&mut caller, "\r\n\r\nin").await;
        drop(caller);
    };
    tokio::join!(ending.drain(), last);
    limited.until_in(&other, "/mock").await;
}
