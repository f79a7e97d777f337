//! Tenants on one node: what one of them does wrong is that one's loss.

use std::future::IntoFuture;

use harness::{World, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// On each of the world's two data threads.
const SHARE: usize = 8;
const THREADS: usize = 2;
const CALLS: usize = 60;

#[tokio::test]
async fn a_tenant_whose_backend_hangs_is_refused_and_another_tenants_calls_all_pass() {
    let share = SHARE.to_string();
    let world = World::start_with(&[("TOLLGATE_NODE_TENANT_IN_FLIGHT_MAX", &share)]).await;
    let (hanging, sound) = (world.origin().await.replies(200, "late"), world.origin().await);
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    let pets = acme.api("pets").await.get_route("/pets", &hanging).await.deploy("prod").await;
    let cars = globex.api("cars").await.get_route("/cars", &sound).await.deploy("prod").await;
    hanging.hold();

    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        calls.spawn(pets.get("/pets").into_future());
    }
    // Whatever thread each came to, no more than the shares of all are held.
    let least = CALLS - SHARE * THREADS;
    let mut refused = Vec::new();
    while refused.len() < least {
        refused.push(calls.join_next().await.expect("that many are refused").unwrap());
    }
    for call in 0..100 {
        let answer = cars.get("/cars").await;
        assert_eq!(answer.status(), 200, "{call}: {}", answer.text());
    }
    hanging.release();
    let mut answered = 0;
    while let Some(answer) = calls.join_next().await {
        let answer = answer.unwrap();
        match answer.status() {
            200 => answered += 1,
            _ => refused.push(answer),
        }
    }
    assert!((SHARE..=SHARE * THREADS).contains(&answered), "{answered} were let through");
    for answer in &refused {
        assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
        assert_eq!(answer.json()["code"], "TENANT_OVERLOADED");
    }
    pets.get("/pets").await.expect(200);

    let shed = format!("tollgate_requests_shed_total{{bound=\"tenant\"}} {}", refused.len());
    eventually("what was refused among the node's metrics", async || {
        world.node_admin().get("/metrics").await.text().contains(&shed).then_some(())
    })
    .await;
    let tenant = acme.plain_id().await;
    eventually("what was refused in the access log", async || {
        let lines = std::fs::read_to_string(world.logs().join("node0.log")).unwrap();
        let lines = lines.lines().filter(|line| line.contains(r#""code":"TENANT_OVERLOADED""#));
        let of_acme = lines.filter(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["tenant.id"] == tenant && line["billed"] == false
        });
        (of_acme.count() == refused.len()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_tenant_who_is_refused_as_fast_as_it_asks_gets_each_refusal_and_another_tenants_calls_all_pass()
 {
    const CONNECTIONS: usize = 32;
    const AHEAD: usize = 100;
    let share = SHARE.to_string();
    let world = World::start_with(&[("TOLLGATE_NODE_TENANT_IN_FLIGHT_MAX", &share)]).await;
    let origin = world.origin().await.replies(200, "hello");
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    let pets =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let cars = globex.api("cars").await.get_route("/cars", &origin).await.deploy("prod").await;

    let call = format!("GET /prod/pets HTTP/1.1\r\nhost: {}\r\n", pets.host());
    let ahead = format!("{call}\r\n").repeat(AHEAD - 1) + &call + "connection: close\r\n\r\n";
    let (mut floods, node) = (JoinSet::new(), world.endpoint_address());
    for _ in 0..CONNECTIONS {
        let ahead = ahead.clone();
        floods.spawn(async move {
            let mut stream = TcpStream::connect(node).await.unwrap();
            stream.write_all(ahead.as_bytes()).await.unwrap();
            let mut answers = String::new();
            stream.read_to_string(&mut answers).await.unwrap();
            answers
        });
    }
    for call in 0..100 {
        let answer = cars.get("/cars").await;
        assert_eq!(answer.status(), 200, "{call}: {}", answer.text());
    }
    // Those that wait for their turn take no place among what is in progress: none is told that there is no room.
    for answers in floods.join_all().await {
        assert_eq!(answers.matches("HTTP/1.1 403 ").count(), AHEAD, "{answers}");
    }
    assert_eq!(origin.received().len(), 100);
}
