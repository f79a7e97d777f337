//! What the operator does to a tenant: every node refuses a suspended and a closed one, and no other.

use std::time::Duration;

use harness::client::Call;
use harness::socket::Socket;
use harness::tenant::{PASSWORD, text};
use harness::{Answer, Origin, Tenant, World, within};
use serde_json::{Value, json};

/// From the operator's word until every node does as it says.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
const NODES: usize = 2;
const USAGE: &str = "subscription { usage { minutes { requests } } }";

/// A tenant's two APIs, and every way in: by host name and by path, with a key and without one.
async fn ways_in(tenant: &Tenant<'_>, origin: &Origin) -> Vec<Call> {
    let pets = tenant.api("pets").await.get_route("/pets", origin).await.deploy("prod").await;
    let cats = tenant.api("cats").await.get_route_with_key("/cats", origin).await;
    let cats = cats.deploy("live").await;
    let key = cats.usage_plan("gold").throttle(1000.0, 1000).key().await;
    vec![pets.get("/pets"), cats.get("/cats").key(&key.value), pets.get_by_path("/pets")]
}

/// What each node answers to each call.
async fn answers(world: &World, calls: &[Call]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for node in 0..NODES {
        for call in calls {
            answers.push(call.clone().at(world.endpoint_address_at(node)).await);
        }
    }
    answers
}

/// Until each node answers each call by this status.
async fn all_answer(world: &World, calls: &[Call], status: u16) -> Vec<Answer> {
    within(HEARD_WITHIN, &format!("{status} from every node"), async || {
        let answers = answers(world, calls).await;
        answers.iter().all(|answer| answer.status() == status).then_some(answers)
    })
    .await
}

/// Every node refuses the tenant's calls and says why, and serves the other's.
async fn refused(world: &World, calls: &[Call], others: &[Call]) {
    for answer in all_answer(world, calls, 403).await {
        let told = answer.json();
        assert_eq!(told["message"], "This API is suspended.", "{told}");
    }
    served(world, others).await;
}

/// At once: nothing is waited for.
async fn served(world: &World, calls: &[Call]) {
    for answer in answers(world, calls).await {
        assert_eq!(answer.expect(200).text(), "hello");
    }
}

async fn operate(operator: &Tenant<'_>, verb: &str, input: Value) -> Value {
    let kind = format!("{}{}TenantInput!", verb[..1].to_uppercase(), &verb[1..]);
    let fields = "tenant { status suspendedReason }";
    operator.mutate(&format!("{verb}Tenant"), &kind, input, fields).await["tenant"].take()
}

async fn log_in(tenant: &Tenant<'_>, replica: usize) -> Answer {
    let who = json!({ "email": tenant.email, "password": PASSWORD });
    tenant.world.management_at(replica).post("/v1/login").json(&who).await
}

/// A session of the owner's own at this replica.
async fn logged_in(tenant: &Tenant<'_>, replica: usize) -> String {
    text(&log_in(tenant, replica).await.expect(200).json()["accessToken"])
}

/// An API made at this replica in the session of `token`.
async fn write(world: &World, replica: usize, token: &str) -> Answer {
    let new = json!({ "name": format!("made at {replica}") });
    world.management_at(replica).post("/v1/apis").bearer(token).json(&new).await
}

async fn read(world: &World, replica: usize, token: &str) -> Answer {
    world.management_at(replica).get("/v1/apis").bearer(token).await
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_by_every_node_and_reads_on_until_it_is_resumed() {
    let world = World::start_many(2, NODES).await;
    let operator = world.operator().await;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let origin = world.origin().await.replies(200, "hello");
    let (calls, others) = (ways_in(&acme, &origin).await, ways_in(&other, &origin).await);
    served(&world, &calls).await;
    served(&world, &others).await;

    let input = json!({ "id": acme.id, "reason": "the bill of October" });
    let told = operate(&operator, "suspend", input).await;
    assert_eq!(told, json!({ "status": "SUSPENDED", "suspendedReason": "the bill of October" }));

    refused(&world, &calls, &others).await;
    for replica in [0, 1] {
        for token in [acme.token.clone(), logged_in(&acme, replica).await] {
            let apis = read(&world, replica, &token).await.expect(200).json();
            assert_eq!(apis["items"].as_array().map(Vec::len), Some(2), "{apis}");
            let told = write(&world, replica, &token).await.expect(403).json();
            assert_eq!(told["code"], "tenant_suspended", "{told}");
            assert!(told.to_string().contains("the bill of October"), "{told}");
            // Watching is reading.
            let mut socket = Socket::of(world.management_address_at(replica), &token).await;
            socket.subscribe("it", USAGE, json!({})).await;
            assert!(socket.data("it").await["usage"]["minutes"].is_array());
        }
        write(&world, replica, &other.token).await.expect(201);
    }

    let told = operate(&operator, "resume", json!({ "id": acme.id })).await;
    assert_eq!(told, json!({ "status": "ACTIVE", "suspendedReason": null }));
    for answer in all_answer(&world, &calls, 200).await {
        assert_eq!(answer.text(), "hello");
    }
    write(&world, 1, &acme.token).await.expect(201);
    served(&world, &others).await;
}

#[tokio::test]
async fn a_closed_tenant_is_refused_by_every_node_and_logged_out_until_it_is_reopened() {
    let world = World::start_many(2, NODES).await;
    let operator = world.operator().await;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let origin = world.origin().await.replies(200, "hello");
    let (calls, others) = (ways_in(&acme, &origin).await, ways_in(&other, &origin).await);
    let mut sockets = Vec::new();
    for (replica, tenant) in [(0, &acme), (1, &acme), (1, &other)] {
        let mut socket = Socket::of(world.management_address_at(replica), &tenant.token).await;
        socket.subscribe("it", USAGE, json!({})).await;
        socket.data("it").await;
        sockets.push(socket);
    }
    let mut theirs = sockets.pop().unwrap();

    let told = operate(&operator, "close", json!({ "id": acme.id, "name": "acme" })).await;
    assert_eq!(told["status"], "CLOSED");

    refused(&world, &calls, &others).await;
    for mut socket in sockets {
        let closed = tokio::time::timeout(HEARD_WITHIN, socket.closed()).await;
        assert_eq!(closed.expect("the socket ends"), 4401);
    }
    for replica in [0, 1] {
        within(HEARD_WITHIN, "the session's end at every replica", async || {
            (read(&world, replica, &acme.token).await.status() == 401).then_some(())
        })
        .await;
        write(&world, replica, &acme.token).await.expect(401);
        log_in(&acme, replica).await.expect(401);
        write(&world, replica, &other.token).await.expect(201);
    }
    theirs.subscribe("again", USAGE, json!({})).await;
    theirs.data("again").await;

    let told = operate(&operator, "reopen", json!({ "id": acme.id })).await;
    assert_eq!(told["status"], "ACTIVE");
    for answer in all_answer(&world, &calls, 200).await {
        assert_eq!(answer.text(), "hello");
    }
    write(&world, 0, &acme.token).await.expect(401);
    write(&world, 1, &logged_in(&acme, 0).await).await.expect(201);
}
