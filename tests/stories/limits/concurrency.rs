//! Calls in progress over several nodes, at several times what is allowed: the backend itself counts how many it has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use harness::{Origin, World, at_length, eventually};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// So many calls may be in progress.
const LIMIT: usize = 12;
const CALLERS: usize = 48;
/// What the backend takes for each.
const TAKES: Duration = Duration::from_millis(40);
/// Who is refused comes again after so long.
const AGAIN: Duration = Duration::from_millis(5);
/// A declaration is over after this, and so are the permits of a node that was killed.
const TTL: Duration = Duration::from_secs(10);
/// In this time each node has declared again what it holds.
const RENEWED: Duration = Duration::from_secs(4);
/// On a machine that is busy Redis would else be slow by itself.
const SETTINGS: [(&str, &str); 1] = [("TOLLGATE_REDIS_TIMEOUT_MS", "1000")];

/// Callers who call again as soon as they are answered, until they are told to stop or their node is gone.
struct Crowd {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<u16>>,
}

impl Crowd {
    fn start(nodes: &[SocketAddr], host: &str) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (stop, node, host) = (stop.clone(), nodes[caller % nodes.len()], host.to_owned());
            callers.spawn(async move {
                let (mut statuses, mut sender) = (Vec::new(), connect(node).await);
                while !stop.load(Ordering::Relaxed) {
                    let Some(status) = call(&mut sender, &host).await else { break };
                    statuses.push(status);
                    if status != 200 {
                        tokio::time::sleep(AGAIN).await; // or the nodes had no time for anything else
                    }
                }
                statuses
            });
        }
        Self { stop, callers }
    }

    async fn end(self) -> Vec<u16> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

async fn connect(node: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(node).await.expect("the node listens");
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// The answer's status, once all of it is there; none: the node is gone.
async fn call(sender: &mut SendRequest<Empty<Bytes>>, host: &str) -> Option<u16> {
    sender.ready().await.ok()?;
    let request = http::Request::get("/prod/pets").header("host", host);
    let answer = sender.send_request(request.body(Empty::new()).unwrap()).await.ok()?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.ok()?;
    Some(status)
}

/// So long nothing else happens; the most that the backend had at once meanwhile.
async fn most(origin: &Origin, length: Duration) -> usize {
    origin.most_in_progress();
    tokio::time::sleep(length).await;
    origin.most_in_progress()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_than_the_limit_are_in_progress_whatever_becomes_of_a_node_and_of_redis() {
    let count = at_length(4, 8);
    let mut world = World::start_nodes(count, &SETTINGS).await;
    let origin = world.origin().await.replies(200, "hello").takes(TAKES);
    let host = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        let stage = format!("/v1/apis/{}/stages/prod", api.api_id);
        let limit = json!({ "concurrencyLimit": { "maxInFlight": LIMIT } });
        acme.rest("PATCH", &stage).json(&limit).await.expect(200);
        world.settled().await;
        api.host()
    };
    let nodes: Vec<_> = (0..count).map(|node| world.endpoint_address_at(node)).collect();
    let length = Duration::from_secs(at_length(5, 30));

    let crowd = Crowd::start(&nodes, &host);
    let mut told = vec![("at overload", most(&origin, length).await)];
    world.kill_node_at(0); // with what it holds
    told.push(("a node killed", most(&origin, TTL + Duration::from_secs(1)).await));
    told.push(("without it", most(&origin, length).await));
    for (phase, most) in &told {
        assert_eq!(*most, LIMIT, "{phase}: of {told:?}");
    }
    world.kill_redis();
    world.start_redis().await; // at once, and empty
    let restarted = most(&origin, RENEWED).await;
    let after = most(&origin, length).await;
    let statuses = crowd.end().await;
    let passed = statuses.iter().filter(|status| **status == 200).count();
    println!(
        "{count} nodes, limit {LIMIT}: {told:?}; Redis restarted empty: {restarted}, then {after}; {} calls, {passed} passed",
        statuses.len()
    );
    // It forgot what nodes hold, until each has said so again.
    assert!(restarted <= 2 * LIMIT, "{restarted} after Redis lost its memory");
    assert_eq!(after, LIMIT, "each node has declared again");
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "others are answered");
    assert!(statuses.len() > 2 * passed, "hardly an overload: {passed} of {}", statuses.len());
    eventually("the backend has nothing left", async || (origin.in_progress() == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_key_has_its_calls_in_progress_counted_over_all_nodes_and_every_face_says_how_many() {
    let world = World::start_nodes(2, &SETTINGS).await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
    let api = api.deploy("prod").await;
    let key = api.usage_plan("gold").in_flight(2).key().await;
    let other = api.usage_plan("silver").in_flight(1).key().await;
    let nodes = [0, 1].map(|node| world.endpoint_address_at(node));

    let plans = acme.rest("GET", "/v1/usage-plans").await.expect(200).json();
    let limit = json!({ "maxInFlight": 2, "enforcement": "HARD" });
    assert_eq!(plans["items"][0]["concurrencyLimit"], limit);
    let query =
        "{ usagePlans(first: 1) { nodes { concurrencyLimit { maxInFlight enforcement } } } }";
    let shown = acme.graphql(query, json!({})).await;
    assert_eq!(shown["usagePlans"]["nodes"][0]["concurrencyLimit"], limit);

    origin.hold();
    let first = api.get("/pets").at(nodes[0]).key(&key.value);
    let second = api.get("/pets").at(nodes[1]).key(&key.value);
    let others = async {
        origin.asked(2).await;
        for node in nodes {
            let refused = api.get("/pets").at(node).key(&key.value).await.expect(429);
            assert_eq!(refused.json()["code"], "THROTTLED");
            assert_eq!(refused.header("retry-after"), Some("1"));
            let policy = refused.header("ratelimit-policy");
            assert_eq!(policy, Some("\"key-concurrency\";q=2;qu=\"concurrent-requests\""));
        }
        let beside = async {
            origin.asked(3).await;
            origin.release();
        };
        let beside = tokio::join!(api.get("/pets").at(nodes[0]).key(&other.value), beside);
        beside.0.expect(200);
    };
    let (first, second, ()) = tokio::join!(async { first.await }, async { second.await }, others);
    first.expect(200);
    second.expect(200);

    // Tried out on the stage, one in shadow refuses nobody and is told of.
    let stage = format!("/v1/apis/{}/stages/prod", api.api_id);
    let input = json!({
        "concurrencyLimit": { "maxInFlight": 5, "enforcement": "SHADOW" },
        "routeConcurrencyLimits": [{ "routeKey": "GET /pets", "maxInFlight": 3 }],
    });
    let kept = acme.rest("PATCH", &stage).json(&input).await.expect(200).json();
    assert_eq!(kept["concurrencyLimit"], input["concurrencyLimit"]);
    assert_eq!(kept["routeConcurrencyLimits"][0]["enforcement"], "HARD", "unless it is said");
    world.settled().await;
    let passed = api.get("/pets").at(nodes[1]).key(&key.value).await.expect(200);
    let policies = passed.header("ratelimit-policy").unwrap().to_owned();
    assert!(policies.contains("\"route-concurrency\";q=3;"), "{policies}");
    assert!(!policies.contains("stage"), "callers are not shown what is tried out: {policies}");
}
