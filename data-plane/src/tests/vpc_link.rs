//! Calls through VPC links, on real sockets: how they are spread, and what becomes of targets that fail.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
};

use egress::{Connector, Own};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use proto::config::v1::{
    BalancingAlgorithm::{self, ConsistentHash, LeastConnections, RoundRobin},
    Dialect::Native,
    Ejection, HashKey, HealthCheck, HttpProxy, LinkedProxy, Resource, VpcLink, VpcLinkTarget,
    hash_key, integration,
    resource::Kind,
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::world::{TENANT, TestNode, api, full, origin, until};
use crate::integration::health;

const LINK: &str = "link000001";

/// A target: what it is called, what it answers, and how often it was called, health checks apart.
struct Target {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    calls: Arc<AtomicUsize>,
}

impl Target {
    async fn start(name: &'static str) -> Self {
        Self::gated(name, None).await
    }

    /// Each call takes a permit first.
    async fn gated(name: &'static str, gate: Option<Arc<Semaphore>>) -> Self {
        let (status, calls) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
        let (answers, counted) = (status.clone(), calls.clone());
        let address = origin(move |request: Request<Incoming>| {
            let (answers, counted, gate) = (answers.clone(), counted.clone(), gate.clone());
            async move {
                let host = request.headers()["host"].to_str().unwrap().to_owned();
                if request.uri().path() != "/up" {
                    assert_eq!(host, "pets.internal", "the URI's host, not the target's");
                    counted.fetch_add(1, SeqCst);
                    if let Some(gate) = gate {
                        gate.acquire().await.unwrap().forget();
                    }
                }
                let mut response = Response::new(full(name));
                *response.status_mut() = StatusCode::from_u16(answers.load(SeqCst)).unwrap();
                response
            }
        })
        .await;
        Self { address, status, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

fn at(address: SocketAddr, weight: u32) -> VpcLinkTarget {
    VpcLinkTarget { host: address.ip().to_string(), port: address.port().into(), weight }
}

fn link(
    algorithm: BalancingAlgorithm,
    targets: Vec<VpcLinkTarget>,
    change: impl FnOnce(&mut VpcLink),
) -> VpcLink {
    let mut link = VpcLink {
        id: LINK.into(),
        tenant_id: TENANT.into(),
        targets,
        algorithm: algorithm.into(),
        ..VpcLink::default()
    };
    change(&mut link);
    link
}

fn served(link: Option<VpcLink>, change: impl FnOnce(&mut HttpProxy)) -> Vec<Resource> {
    let mut backend =
        HttpProxy { uri: "http://pets.internal/{proxy}".into(), ..HttpProxy::default() };
    change(&mut backend);
    let kind = integration::Kind::LinkedProxy(LinkedProxy {
        backend: Some(backend),
        vpc_link_id: LINK.into(),
    });
    let mut resources = api(Native, &[("ANY /{proxy+}", kind)]);
    resources.extend(link.map(|link| Kind::VpcLink(link).into()));
    resources
}

fn node(link: VpcLink) -> TestNode {
    TestNode::start(served(Some(link), |_| {}))
}

/// Who answered each of so many calls, one after another.
async fn spread(node: &TestNode, calls: usize) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for _ in 0..calls {
        let answer = node.get("/prod/a").await;
        let by = if answer.status() == 200 { answer.body().to_owned() } else { "failed".into() };
        *spread.entry(by).or_default() += 1;
    }
    spread
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn checked(interval_ms: u32) -> HealthCheck {
    HealthCheck {
        path: "/up".into(),
        interval_ms,
        timeout_ms: 1000,
        healthy_threshold: 2,
        unhealthy_threshold: 2,
        ..HealthCheck::default()
    }
}

fn check_health(node: &TestNode) -> tokio::task::JoinHandle<()> {
    let connector = Connector::new(Own::default(), &[]).unwrap();
    tokio::spawn(health::run(node.shared.clone(), connector))
}

#[tokio::test]
async fn equal_targets_take_turns_and_others_get_what_they_weigh() {
    let (a, b, c) = (Target::start("a").await, Target::start("b").await, Target::start("c").await);
    let equal = vec![at(a.address, 7), at(b.address, 7), at(c.address, 7)];
    let mut node = node(link(RoundRobin, equal, |_| {}));
    assert_eq!(spread(&node, 30).await, counts(&[("a", 10), ("b", 10), ("c", 10)]));

    // Live: no stage and no deployment changed.
    let weighed = vec![at(a.address, 60), at(b.address, 30), at(c.address, 10)];
    let more = vec![at(a.address, 1), at(b.address, 0)];
    node.publish(served(Some(link(RoundRobin, weighed, |_| {})), |_| {}));
    let told = spread(&node, 200).await;
    for (name, share) in [("a", 120_usize), ("b", 60), ("c", 20)] {
        assert!(told[name].abs_diff(share) <= 4, "{told:?}");
    }
    node.publish(served(Some(link(RoundRobin, more, |_| {})), |_| {}));
    assert_eq!(spread(&node, 10).await, counts(&[("a", 10)]), "a weight of 0 gets none");
}

#[tokio::test]
async fn a_slow_target_gets_no_more_while_another_has_fewer_calls() {
    let gate = Arc::new(Semaphore::new(0));
    let slow = Target::gated("slow", Some(gate.clone())).await;
    let quick = Target::start("quick").await;
    let targets = vec![at(slow.address, 1), at(quick.address, 1)];
    let node = node(link(LeastConnections, targets, |_| {}));
    let others = async {
        until(|| slow.calls() == 1).await;
        let told = spread(&node, 20).await;
        gate.add_permits(1);
        told
    };
    let (first, told) = tokio::join!(node.get("/prod/a"), others);
    assert_eq!((first.body(), told), ("slow", counts(&[("quick", 20)])));
    gate.add_permits(1);
    assert_eq!(spread(&node, 2).await, counts(&[("quick", 1), ("slow", 1)]), "it is free again");
}

#[tokio::test]
async fn a_key_stays_with_its_target_and_few_move_when_one_goes() {
    let names = ["a", "b", "c", "d"];
    let mut targets = Vec::new();
    for name in names {
        targets.push(at(Target::start(name).await.address, 1));
    }
    let by_session = |link: &mut VpcLink| {
        let of = Some(hash_key::Of::Cookie("session".into()));
        link.hash_key = Some(HashKey { of });
    };
    let mut node = node(link(ConsistentHash, targets.clone(), by_session));
    let ask = async |node: &TestNode| {
        let mut found = Vec::new();
        for session in 0..60 {
            let cookie = format!("Cookie: a=b; session={session}; other=1");
            let answer = node.call("GET /prod/a", &[&cookie]).await;
            found.push(answer.body().to_owned());
        }
        found
    };
    let before = ask(&node).await;
    assert_eq!(before, ask(&node).await, "the same key, the same target");
    for name in names {
        let share = before.iter().filter(|found| *found == name).count();
        assert!((5..=27).contains(&share), "{name}: {share} of 60");
    }
    targets.remove(1);
    node.publish(served(Some(link(ConsistentHash, targets, by_session)), |_| {}));
    for (was, is) in before.iter().zip(ask(&node).await) {
        assert!(*was == is || was == "b", "{was} became {is}: only the keys of b move");
    }
    let told = spread(&node, 9).await;
    assert_eq!(told.len(), 3, "calls without the cookie take turns: {told:?}");
}

#[tokio::test]
async fn a_target_that_refuses_connections_costs_no_call_and_is_left() {
    let live = Target::start("live").await;
    let targets = vec![at(nobody().await, 1), at(live.address, 1)];
    let node = node(link(RoundRobin, targets, |link| {
        link.ejection =
            Some(Ejection { consecutive_failures: 2, eject_ms: 60_000, max_percent: 50 });
    }));
    assert_eq!(spread(&node, 20).await, counts(&[("live", 20)]), "another took each at once");
    assert_eq!(node.shared.metrics.backends.targets_ejected.get(), 1);
}

#[tokio::test]
async fn a_target_whose_answers_fail_is_left_after_its_threshold_and_comes_back() {
    let (good, bad) = (Target::start("good").await, Target::start("bad").await);
    bad.status.store(503, SeqCst);
    let targets = vec![at(good.address, 1), at(bad.address, 1)];
    let node = node(link(RoundRobin, targets, |link| {
        link.ejection = Some(Ejection { consecutive_failures: 3, eject_ms: 300, max_percent: 50 });
    }));
    let told = spread(&node, 6).await;
    assert_eq!(told, counts(&[("failed", 3), ("good", 3)]));
    assert_eq!((spread(&node, 5).await, bad.calls()), (counts(&[("good", 5)]), 3), "it is left");

    bad.status.store(200, SeqCst);
    loop {
        let told = spread(&node, 2).await;
        assert_eq!(told.get("failed"), None);
        if told.contains_key("bad") {
            break;
        }
    }
    // Once it was well its failures count from the start.
    bad.status.store(503, SeqCst);
    assert_eq!(spread(&node, 6).await["failed"], 3);
}

#[tokio::test]
async fn not_all_are_ejected_at_once() {
    let (a, b) = (Target::start("a").await, Target::start("b").await);
    a.status.store(500, SeqCst);
    b.status.store(500, SeqCst);
    let node = node(link(RoundRobin, vec![at(a.address, 1), at(b.address, 1)], |link| {
        link.ejection =
            Some(Ejection { consecutive_failures: 1, eject_ms: 60_000, max_percent: 100 });
    }));
    assert_eq!(spread(&node, 10).await, counts(&[("failed", 10)]));
    assert_eq!(node.shared.metrics.backends.targets_ejected.get(), 1);
    assert_eq!(a.calls() + b.calls(), 10, "each call reached one");
}

#[tokio::test]
async fn checks_leave_an_unhealthy_target_before_a_call_fails_and_take_it_back() {
    let (a, b) = (Target::start("a").await, Target::start("b").await);
    let targets = vec![at(a.address, 1), at(b.address, 1)];
    let node = node(link(RoundRobin, targets, |link| link.health_check = Some(checked(100))));
    let checks = check_health(&node);
    let metrics = &node.shared.metrics.backends;
    let count = |state: &str| metrics.targets.with_label_values(&[state]).get();
    until(|| metrics.health_checks.with_label_values(&["passed"]).get() >= 4).await;
    assert_eq!(spread(&node, 4).await, counts(&[("a", 2), ("b", 2)]));

    b.status.store(500, SeqCst);
    until(|| count("unhealthy") == 1).await;
    let before = b.calls();
    assert_eq!((spread(&node, 10).await, b.calls()), (counts(&[("a", 10)]), before));

    // Where none is well all are asked: an opinion must not end every call.
    a.status.store(500, SeqCst);
    until(|| count("unhealthy") == 2).await;
    spread(&node, 4).await;
    assert_eq!(b.calls(), before + 2);

    a.status.store(200, SeqCst);
    b.status.store(200, SeqCst);
    until(|| count("available") == 2).await;
    assert_eq!(spread(&node, 4).await, counts(&[("a", 2), ("b", 2)]));
    checks.abort();
}

#[tokio::test]
async fn a_target_that_hangs_fails_by_the_calls_own_time() {
    let hung = Target::gated("hung", Some(Arc::new(Semaphore::new(0)))).await;
    let live = Target::start("live").await;
    let targets = vec![at(hung.address, 1), at(live.address, 1)];
    let link = link(RoundRobin, targets, |link| {
        link.ejection =
            Some(Ejection { consecutive_failures: 1, eject_ms: 60_000, max_percent: 50 });
    });
    let node = TestNode::start(served(Some(link), |backend| backend.total_timeout_ms = 150));
    let told = spread(&node, 8).await;
    assert_eq!(told, counts(&[("failed", 1), ("live", 7)]));
}

#[tokio::test]
async fn what_no_link_leads_to_is_refused() {
    let node = TestNode::start(served(None, |_| {}));
    let answer = node.get("/prod/a").await;
    assert_eq!((answer.status(), &answer.json()["code"]), (500, &"API_CONFIGURATION_ERROR".into()));

    // The guard looks at targets, not at the URI's host.
    let private = VpcLinkTarget { host: "10.0.0.1".into(), port: 80, weight: 1 };
    let node = TestNode::start(served(Some(link(RoundRobin, vec![private], |_| {})), |_| {}));
    let answer = node.get("/prod/a").await;
    assert_eq!(answer.json()["code"], "API_CONFIGURATION_ERROR", "{answer:?}");
}
