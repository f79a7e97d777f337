use std::convert::Infallible;

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::PollSender;

use super::*;
use crate::access::authority::Issued;
use crate::access::role::Role;
use crate::access::token;
use crate::domain::api::Dialect;
use crate::domain::node;
use crate::graphql::node::Kind;
use crate::graphql::persisted::tests::{holding, named};
use crate::ids::NodeId;
use crate::testing;

const PATIENCE: Duration = Duration::from_secs(20);
/// What the console of these tests has.
const USAGE: &str = "subscription Usage { usage { minutes { requests } } }";
const VIEWER: &str = "{ viewer { operator } }";

/// The other end of a socket.
struct Peer {
    say: mpsc::Sender<std::result::Result<Message, Infallible>>,
    heard: mpsc::Receiver<Message>,
}

impl Peer {
    fn new(app: &App) -> Self {
        let (say, said) = mpsc::channel(100);
        let (out, heard) = mpsc::channel(100);
        let (app, door) = (app.clone(), Door::new(app, holding(&[USAGE, VIEWER])));
        tokio::spawn(async move {
            let (said, out) = (ReceiverStream::new(said), PollSender::new(out));
            serve(app, door, Origin::default(), said, out).await;
        });
        Self { say, heard }
    }

    async fn of(app: &App, actor: &Actor) -> Self {
        let mut peer = Self::new(app);
        let payload = json!({ "accessToken": testing::token(app, actor) });
        peer.say(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(peer.hear().await, json!({ "type": "connection_ack" }));
        peer
    }

    async fn say(&self, message: Value) {
        self.say_text(&message.to_string()).await;
    }

    async fn say_text(&self, text: &str) {
        self.say.send(Ok(Message::Text(text.into()))).await.unwrap();
    }

    async fn subscribe(&self, id: &str, query: &str) {
        let payload = json!({ "query": query });
        self.say(json!({ "type": "subscribe", "id": id, "payload": payload })).await;
    }

    async fn next(&mut self) -> Message {
        loop {
            match timeout(PATIENCE, self.heard.recv()).await.expect("a message").unwrap() {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    }

    async fn hear(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a message of the protocol: {other:?}"),
        }
    }

    async fn closed(&mut self) -> u16 {
        match self.next().await {
            Message::Close(Some(frame)) => frame.code,
            other => panic!("not the end: {other:?}"),
        }
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn only_a_members_good_token_opens_a_socket(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let good = testing::token(&app, &alice);
    for payload in [
        json!({ "accessToken": good }),
        json!({ "authorization": format!("Bearer {good}") }),
        json!({ "Authorization": format!("bearer {good}") }),
    ] {
        let mut peer = Peer::new(&app);
        peer.say(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(peer.hear().await["type"], "connection_ack", "{payload}");
    }
    let operator = testing::operator(&app).await;
    let operator = testing::operator_token(&app, &operator);
    for (first, code) in [
        (json!({ "type": "connection_init" }), 4401),
        (json!({ "type": "connection_init", "payload": { "accessToken": "x" } }), 4401),
        (json!({ "type": "connection_init", "payload": { "accessToken": operator } }), 4403),
        (json!({ "type": "subscribe", "id": "a", "payload": { "query": "{ a }" } }), 4401),
        (json!({ "type": "hello" }), 4400),
        (json!([]), 4400),
    ] {
        let mut peer = Peer::new(&app);
        peer.say(first.clone()).await;
        assert_eq!(peer.closed().await, code, "{first}");
    }
    app.clock.advance(token::LIFE);
    let mut late = Peer::new(&app);
    late.say(json!({ "type": "connection_init", "payload": { "accessToken": good } })).await;
    assert_eq!(late.closed().await, 4401);
}

#[sqlx::test(migrations = "../migrations")]
async fn who_breaks_the_protocol_is_told_by_its_numbers(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let usage = json!({ "query": "subscription { usage { minutes { requests } } }" });
    let usage = json!({ "type": "subscribe", "id": "a", "payload": usage }).to_string();
    let long = json!({ "type": "subscribe", "id": "a".repeat(129), "payload": {} }).to_string();
    for (said, code) in [
        (vec!["{"], 4400),
        (vec![r#"{"type": "connection_init"}"#], 4429),
        (vec![&usage, &usage], 4409),
        (vec![&long], 4400),
        (vec![r#"{"type": "pong"}"#; 100], 1008),
    ] {
        let mut peer = Peer::of(&app, &alice).await;
        for text in &said {
            let _ = peer.say.send(Ok(Message::Text((*text).into()))).await; // it may be over
        }
        let closed = async {
            loop {
                if let Message::Close(Some(frame)) = peer.next().await {
                    return frame.code;
                }
            }
        };
        assert_eq!(closed.await, code, "{}", said[0]);
    }
    let mut peer = Peer::of(&app, &alice).await;
    peer.say(json!({ "type": "ping", "payload": { "n": 1 } })).await;
    assert_eq!(peer.hear().await, json!({ "type": "pong", "payload": { "n": 1 } }));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_cannot_be_watched_is_an_error_and_the_socket_goes_on(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let mut peer = Peer::of(&app, &alice).await;
    let foreign = Kind::Deployment.id("abc123xyz0");
    let foreign =
        format!("subscription {{ deploymentStatus(deploymentId: {:?}) {{ live }} }}", *foreign);
    for (query, code) in [
        ("{ viewer { operator } }", "bad_request"),
        ("mutation { revokeOtherSessions { __typename } }", "bad_request"),
        ("subscription { usage { minutes { nothing } } }", "bad_request"),
        ("subscription { a: usage { __typename } b: usage { __typename } }", "limit_exceeded"),
        ("subscription {", "bad_request"),
        (foreign.as_str(), "not_found"),
    ] {
        peer.subscribe("a", query).await;
        let told = peer.hear().await;
        assert_eq!((&told["type"], &told["id"]), (&json!("error"), &json!("a")), "{told}");
        assert_eq!(told["payload"][0]["extensions"]["code"], code, "{query}: {told}");
    }
    for id in 0..=SUBSCRIPTIONS_MAX {
        peer.subscribe(&id.to_string(), "subscription { usage { minutes { start } } }").await;
    }
    let refused = loop {
        let told = peer.hear().await;
        if told["type"] == "error" {
            break told;
        }
    };
    assert_eq!(refused["id"], SUBSCRIPTIONS_MAX.to_string());
}

#[sqlx::test(migrations = "../migrations")]
async fn a_subscription_is_asked_for_by_its_hash_too(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let mut peer = Peer::of(&app, &alice).await;
    let subscribe =
        |id: &str, payload: Value| json!({ "type": "subscribe", "id": id, "payload": payload });
    // graphql-ws's client always sends a query.
    for (id, query) in [("a", json!("")), ("b", json!(USAGE)), ("c", Value::Null)] {
        let payload = json!({ "query": query, "extensions": named(USAGE) });
        peer.say(subscribe(id, payload)).await;
        let data = json!({ "usage": { "minutes": [] } });
        let next = json!({ "type": "next", "id": id, "payload": { "data": data } });
        assert_eq!(peer.hear().await, next);
    }
    let unknown = "subscription { usage { minutes { start } } }";
    for (query, extensions, code) in [
        ("", named(unknown), "PERSISTED_QUERY_NOT_FOUND"),
        ("", named(VIEWER), "bad_request"),
        (VIEWER, named(USAGE), "bad_request"),
        ("", json!({ "persistedQuery": { "version": 1, "sha256Hash": "00" } }), "bad_request"),
    ] {
        let payload = json!({ "query": query, "extensions": extensions });
        peer.say(subscribe("d", payload)).await;
        let told = peer.hear().await;
        assert_eq!((&told["type"], &told["id"]), (&json!("error"), &json!("d")), "{told}");
        assert_eq!(told["payload"][0]["extensions"]["code"], code, "{extensions}: {told}");
    }
}

async fn node(app: &App) -> NodeId {
    let cells = ["default".to_owned()];
    let token = node::create_join_token(app, &cells, TimeDelta::hours(1)).await.unwrap();
    let issued = Issued { certificate: vec![], expires_at: app.clock.now() + TimeDelta::days(1) };
    let secret = token.split('.').next().unwrap();
    node::join(app, secret, "edge", |_| Ok(issued)).await.unwrap().0
}

#[sqlx::test(migrations = "../migrations")]
async fn a_deployment_is_watched_until_every_node_has_answered(db: PgPool) {
    let (here, there) = (testing::app(db.clone()).await, testing::app(db).await);
    let alice = testing::owner(&there).await;
    let (a, b) = (node(&there).await, node(&there).await);
    let api = testing::new_api(&there, &alice, Dialect::Native).await;
    testing::new_route(&there, &alice, api, "GET /pets", testing::mock("pets")).await;
    let made = testing::deploy(&there, &alice, api, "prod").await.unwrap();
    let version = made.version.unwrap();
    let mut peer = Peer::of(&here, &alice).await;

    let id = Kind::Deployment.id(made.id);
    let query = format!(
        "subscription {{ deploymentStatus(deploymentId: {:?}) {{ nodes acknowledged live }} }}",
        *id
    );
    peer.subscribe("d", &query).await;
    let mut seen = async || peer.hear().await;
    let status = |acknowledged, live| {
        let status = json!({ "nodes": 2, "acknowledged": acknowledged, "live": live });
        let payload = json!({ "data": { "deploymentStatus": status } });
        json!({ "type": "next", "id": "d", "payload": payload })
    };
    assert_eq!(seen().await, status(0, false));
    node::acknowledge(&there, a, "default", version).await.unwrap();
    assert_eq!(seen().await, status(1, false));
    node::acknowledge(&there, b, "default", version).await.unwrap();
    assert_eq!(seen().await, status(2, true));
    assert_eq!(seen().await, json!({ "type": "complete", "id": "d" }));
}

#[sqlx::test(migrations = "../migrations")]
async fn usage_ticks_as_it_grows_and_for_its_tenant_alone(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    let add = async |requests: i64| {
        let sql = "insert into usage_minute values
            ('default', $1, '', 'pets', 'prod', '-', '', '', 4, 0, $2, $3, 0, 5, 7, 0, 0)
            on conflict (tenant_id, minute, api_id, stage, route, api_key_id, usage_plan_id,
                consumer_id, status_class, cache, cell_id) do update set requests = $3";
        let minute = testing::noon();
        let query = sqlx::query(sql).bind(alice.tenant.0).bind(minute).bind(requests);
        query.execute(&db).await.unwrap();
    };
    let query = "subscription { usage { minutes { apiId stage requests clientErrors bytesOut } } }";
    let (mut mine, mut theirs) = (Peer::of(&app, &alice).await, Peer::of(&app, &mallory).await);
    mine.subscribe("u", query).await;
    theirs.subscribe("u", query).await;
    let minutes =
        async |peer: &mut Peer| peer.hear().await["payload"]["data"]["usage"]["minutes"].take();

    assert_eq!(minutes(&mut mine).await, json!([]));
    assert_eq!(minutes(&mut theirs).await, json!([]));
    add(3).await;
    let row = |requests| json!([{ "apiId": "pets", "stage": "prod", "requests": requests, "clientErrors": requests, "bytesOut": 7 }]);
    assert_eq!(minutes(&mut mine).await, row(3));
    add(5).await;
    assert_eq!(minutes(&mut mine).await, row(5));
    // What the stranger heard since is nothing: the next thing is the answer to a ping.
    theirs.say(json!({ "type": "ping" })).await;
    assert_eq!(theirs.hear().await, json!({ "type": "pong" }));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_socket_ends_with_its_token_its_session_its_role_and_its_replica(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, bob, carol) =
        (testing::owner(&app).await, testing::owner(&app).await, testing::owner(&app).await);
    let (mut ended, mut demoted) = (Peer::of(&app, &alice).await, Peer::of(&app, &bob).await);
    app.revoke_here(alice.session);
    assert_eq!(ended.closed().await, 4401);

    let sql = "update member set role = 'viewer' where user_id = $1";
    sqlx::query(sql).bind(bob.user.0).execute(&db).await.unwrap();
    assert_eq!(demoted.closed().await, 4403);

    let mut expired = Peer::of(&app, &carol).await;
    app.clock.advance(token::LIFE);
    assert_eq!(expired.closed().await, 4401);

    let mut last = Peer::of(&app, &carol).await;
    app.live.sockets.close().await;
    assert_eq!(last.closed().await, 1012);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_socket_ends_with_the_membership_and_with_the_tenant(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, operator) = (testing::owner(&app).await, testing::operator(&app).await);
    let bob = testing::join(&app, alice.tenant, Role::Viewer).await;
    let (mut owners, mut viewers) = (Peer::of(&app, &alice).await, Peer::of(&app, &bob).await);

    // Neither token's session is in the database, as one that has moved to another tenant is not in this one.
    domain::member::delete(&app, &alice, bob.user).await.unwrap();
    assert_eq!(viewers.closed().await, 4401);

    let name = domain::account::get(&app, &operator, alice.tenant).await.unwrap().tenant.name;
    domain::account::close(&app, &operator, alice.tenant, &name).await.unwrap();
    assert_eq!(owners.closed().await, 4401);
}

#[sqlx::test(migrations = "../migrations")]
async fn who_is_in_a_suspended_tenant_watches_on_as_they_read_on(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, operator) = (testing::owner(&app).await, testing::operator(&app).await);
    let bob = testing::join(&app, alice.tenant, Role::Viewer).await;
    let (mut held, mut demoted) = (Peer::of(&app, &alice).await, Peer::of(&app, &bob).await);
    held.subscribe("before", "subscription { usage { minutes { start } } }").await;
    assert_eq!(held.hear().await["type"], "next");

    domain::account::suspend(&app, &operator, alice.tenant, "the bill").await.unwrap();
    for role in ["developer", "viewer"] {
        // Each end comes with a check, and the other socket's checks are as often.
        let sql = "update member set role = $2 where user_id = $1";
        sqlx::query(sql).bind(bob.user.0).bind(role).execute(&db).await.unwrap();
        assert_eq!(demoted.closed().await, 4403);
        let role = Role::try_from(role).unwrap();
        demoted = Peer::of(&app, &Actor { role, ..bob.clone() }).await;
    }

    held.subscribe("after", "subscription { usage { minutes { start } } }").await;
    assert_eq!(held.hear().await["id"], "after");
    let again = Peer::of(&app, &alice).await;
    drop(again);
}
