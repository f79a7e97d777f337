//! What members watch as it happens, whichever replica their socket is on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::socket::Socket;
use harness::tenant::text;
use harness::{Tenant, World};
use serde_json::{Value, json};

/// A socket may outlive its session by this much.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

const STATUS: &str = "subscription($id: ID!) { deploymentStatus(deploymentId: $id) {
    nodes acknowledged live liveAfterMs nodeStatuses { state reason } } }";
const USAGE: &str = "subscription { usage { minutes { start apiId stage requests } } }";
const REQUESTS: &str =
    "subscription($class: Int) { requests(stage: \"prod\", statusClass: $class) {
    dropped requests { requestId nodeId apiId stage method route path status durationMs bytesOut
        apiKey { id name } } } }";

/// A socket that brings one subscription, past its first message, which says that it has begun.
async fn watch(at: SocketAddr, token: &str, query: &str, variables: Value) -> Socket {
    let mut socket = Socket::of(at, token).await;
    socket.subscribe("it", query, variables).await;
    socket.data("it").await;
    socket
}

/// Until the minutes that a socket brings come to so many calls; each row replaces the one before.
async fn counted(socket: &mut Socket, calls: u64) -> BTreeMap<String, u64> {
    let mut seen: BTreeMap<(String, String), u64> = BTreeMap::new();
    while seen.values().sum::<u64>() < calls {
        let tick = socket.data("it").await["usage"].take();
        for minute in tick["minutes"].as_array().expect("a list") {
            let row = (text(&minute["start"]), text(&minute["apiId"]));
            seen.insert(row, minute["requests"].as_u64().expect("a number"));
        }
    }
    let mut by_api = BTreeMap::new();
    for ((_, api), requests) in seen {
        *by_api.entry(api).or_default() += requests;
    }
    by_api
}

/// The next requests that a socket brings, at least so many.
async fn requests(socket: &mut Socket, count: usize) -> Vec<Value> {
    let mut shown = Vec::new();
    while shown.len() < count {
        let mut batch = socket.data("it").await["requests"].take();
        assert_eq!(batch["dropped"], 0);
        shown.append(batch["requests"].as_array_mut().expect("a list"));
    }
    shown
}

#[tokio::test]
async fn a_deployment_made_on_one_replica_is_followed_on_the_other() {
    let world = World::start_many(2, 2).await;
    let origin = world.origin().await;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let there = world.management_address_at(1);

    let api = acme.api("pets").await.get_route("/pets", &origin).await;
    let input = json!({ "apiId": api.id, "stage": "prod" });
    let kind = "CreateDeploymentInput!";
    let made = acme.mutate("createDeployment", kind, input, "deployment { id }").await;
    let id = json!({ "id": made["deployment"]["id"] });
    let mut socket = Socket::of(there, &acme.token).await;
    socket.subscribe("it", STATUS, id.clone()).await;
    let status = loop {
        let status = socket.data("it").await["deploymentStatus"].take();
        if status["live"] == true {
            break status;
        }
    };
    assert_eq!((&status["nodes"], &status["acknowledged"]), (&json!(2), &json!(2)));
    assert!(status["liveAfterMs"].as_u64().is_some(), "{status}");
    let live = json!({ "state": "LIVE", "reason": null });
    assert_eq!(status["nodeStatuses"], json!([live, live]));
    assert_eq!(socket.hear().await, json!({ "type": "complete", "id": "it" }));

    let mut stranger = Socket::of(there, &other.token).await;
    stranger.subscribe("it", STATUS, id).await;
    let refused = stranger.hear().await;
    assert_eq!(refused["payload"][0]["extensions"]["code"], "not_found", "{refused}");
}

#[tokio::test]
async fn calls_of_each_node_are_shown_and_counted_on_each_replica_to_no_stranger() {
    let world = World::start_many(2, 2).await;
    let origin = world.origin().await.replies(200, "hello");
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let (here, there) = (world.management_address(), world.management_address_at(1));
    let all = json!({ "class": null });
    let mut shown = watch(there, &acme.token, REQUESTS, all.clone()).await;
    let mut errors = watch(here, &acme.token, REQUESTS, json!({ "class": 4 })).await;
    let mut usage = watch(there, &acme.token, USAGE, json!({})).await;
    let mut strange = watch(there, &other.token, REQUESTS, all).await;
    let mut strange_usage = watch(there, &other.token, USAGE, json!({})).await;

    let api = acme.api("pets").await.get_route_with_key("/pets/{id}", &origin).await;
    let api = api.deploy("prod").await;
    let key = api.usage_plan("gold").throttle(1000.0, 1000).key().await;
    let call = api.get("/pets/7?secret=planted").key(&key.value);
    let (mut called, mut bytes_out) = (Vec::new(), 0);
    for node in 0..2 {
        let answer = call.clone().at(world.endpoint_address_at(node)).await.expect(200);
        bytes_out = answer.counted_bytes();
        called.push(answer.header("x-request-id").unwrap().to_owned());
    }
    let refused = api.get("/pets/7").await.expect(403);

    let seen = requests(&mut shown, 3).await;
    assert_eq!(seen.len(), 3);
    let mut nodes = Vec::new();
    for request in seen.iter().filter(|request| request["status"] == 200) {
        // The value of the key and the query stay on the node.
        assert!(!request.to_string().contains("planted"), "{request}");
        assert!(!request.to_string().contains(&key.value), "{request}");
        assert!(called.contains(&text(&request["requestId"])), "{called:?} {request}");
        assert_eq!(
            (&request["method"], &request["route"]),
            (&json!("GET"), &json!("GET /pets/{id}"))
        );
        assert_eq!((&request["path"], &request["stage"]), (&json!("/pets/7"), &json!("prod")));
        assert_eq!(request["apiId"], api.api_id);
        assert_eq!(request["bytesOut"], bytes_out);
        assert_eq!(request["apiKey"], json!({ "id": key.id, "name": "first" }));
        nodes.push(text(&request["nodeId"]));
    }
    assert!(nodes.len() == 2 && nodes[0] != nodes[1], "{nodes:?}");
    let seen = requests(&mut errors, 1).await;
    assert_eq!(seen[0]["requestId"].as_str(), refused.header("x-request-id"));
    assert_eq!(counted(&mut usage, 3).await, BTreeMap::from([(api.api_id.clone(), 3)]));

    // What the other tenant sees first of all is its own.
    let cats = other.api("cats").await.get_route("/cats", &origin).await.deploy("prod").await;
    cats.get("/cats").await.expect(200);
    let seen = requests(&mut strange, 1).await;
    assert_eq!((seen.len(), &seen[0]["apiId"]), (1, &json!(cats.api_id)));
    assert_eq!(counted(&mut strange_usage, 1).await, BTreeMap::from([(cats.api_id.clone(), 1)]));
}

#[tokio::test]
async fn a_watcher_whose_replica_dies_goes_on_at_the_other() {
    let mut world = World::start_many(2, 2).await;
    let origin = world.origin().await.replies(200, "hello");
    let (here, there) = (world.management_address(), world.management_address_at(1));
    let all = json!({ "class": null });
    let (token, call, mut shown, mut usage) = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        let mut shown = watch(there, &acme.token, REQUESTS, all.clone()).await;
        let mut usage = watch(there, &acme.token, USAGE, json!({})).await;
        // A node hears a moment after the watcher that it is watched: until it shows what it is called for.
        let call = api.get("/pets");
        first_shown(&call, &mut shown).await;
        counted(&mut usage, 1).await;
        (acme.token, call, shown, usage)
    };

    world.kill_control_plane_at(1);

    assert_eq!((shown.closed().await, usage.closed().await), (1006, 1006));
    let mut shown = watch(here, &token, REQUESTS, all).await;
    first_shown(&call, &mut shown).await;
    let mut usage = Socket::of(here, &token).await;
    usage.subscribe("it", USAGE, json!({})).await;
    // Both of before and after: nothing that was counted is lost with the replica.
    counted(&mut usage, 2).await;
}

/// Calls until a call is shown.
async fn first_shown(call: &harness::client::Call, shown: &mut Socket) {
    let calling = harness::eventually("a call that is shown", async || {
        call.clone().await.expect(200);
        None::<()>
    });
    tokio::select! {
        seen = requests(shown, 1) => assert_eq!(seen[0]["status"], 200),
        () = calling => {}
    }
}

#[tokio::test]
async fn a_socket_opens_to_members_alone_and_ends_with_their_session() {
    let world = World::start_many(2, 1).await;
    let there = world.management_address_at(1);
    for origin in ["https://evil.example", "http://localhost", "null"] {
        assert_eq!(Socket::open(there, Some(origin)).await.err(), Some(403), "{origin}");
    }
    for payload in [json!(null), json!({}), json!({ "accessToken": "nonsense" })] {
        let mut nobody =
            Socket::open(there, None).await.unwrap_or_else(|status| panic!("{status}"));
        nobody.say(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(nobody.closed().await, 4401, "{payload}");
    }

    let acme = world.tenant("acme").await;
    let all = json!({ "class": null });
    let mut sockets = Vec::new();
    for (query, variables) in [(USAGE, json!({})), (REQUESTS, all)] {
        sockets.push(watch(there, &acme.token, query, variables).await);
    }
    // Ended on the first replica; the sockets are on the second.
    let ended = Instant::now();
    end_session(&acme).await;
    for mut socket in sockets {
        assert_eq!(socket.closed().await, 4401);
    }
    assert!(ended.elapsed() < REVOKED_WITHIN, "{:?}", ended.elapsed());
    let mut again = Socket::open(there, None).await.unwrap_or_else(|status| panic!("{status}"));
    let payload = json!({ "accessToken": acme.token });
    again.say(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(again.closed().await, 4401);
}

/// Ends the session in which the owner calls.
async fn end_session(acme: &Tenant<'_>) {
    let mine = acme.graphql("{ sessions(first: 10) { nodes { id current } } }", json!({})).await;
    let mine = mine["sessions"]["nodes"].as_array().expect("a list");
    let current = mine.iter().find(|one| one["current"] == true).expect("who asks is logged in");
    let input = json!({ "id": current["id"] });
    acme.mutate("revokeSession", "DeleteInput!", input, "deletedId").await;
}

#[tokio::test]
async fn a_replica_that_stops_tells_its_sockets() {
    let mut world = World::start_many(2, 1).await;
    let token = world.tenant("acme").await.token;
    let mut socket = watch(world.management_address(), &token, USAGE, json!({})).await;
    let ((), code) = tokio::join!(world.stop_control_plane(), socket.closed());
    assert_eq!(code, 1012);
}
