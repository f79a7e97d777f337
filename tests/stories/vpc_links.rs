//! A VPC link: one backend that runs more than once, and may change where, without a deployment.

use std::net::SocketAddr;

use harness::World;
use serde_json::{Value, json};

fn at(address: SocketAddr) -> Value {
    json!({ "host": address.ip().to_string(), "port": address.port() })
}

#[tokio::test]
async fn calls_are_spread_over_a_links_targets_which_change_without_a_deployment() {
    let world = World::start().await;
    let (one, two) = (world.origin().await, world.origin().await);
    let (one, two) = (one.replies(200, "one"), two.replies(200, "two"));
    let acme = world.tenant("acme").await;
    let targets = json!({ "targets": [at(one.address()), at(two.address())] });
    let made =
        acme.rest("POST", "/v1/vpc-links").json(&json!({ "name": "pets", "balancing": targets }));
    let made = made.await.expect(201).json();
    assert_eq!(
        (&made["status"], &made["balancing"]["algorithm"]),
        (&json!("AVAILABLE"), &json!("ROUND_ROBIN"))
    );
    let id = made["id"].as_str().unwrap().to_owned();

    let integration = json!({
        "type": "HTTP_PROXY", "method": "ANY", "uri": "http://pets.internal/pets",
        "connectionType": "VPC_LINK", "connectionId": id,
    });
    let route = json!({
        "method": "GET", "path": "/pets", "apiKeyRequired": false, "integration": integration,
    });
    let api = acme.api("pets").await.route_of(route).await.deploy("prod").await;
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(api.get("/pets").await.expect(200).text().clone());
    }
    told.sort();
    assert_eq!(told, ["one", "one", "two", "two"]);
    assert_eq!(one.received()[0].headers["host"], "pets.internal");

    let link = format!("/v1/vpc-links/{id}");
    let refused = acme.rest("DELETE", &link).await.expect(409);
    assert!(refused.text().contains("uses this VPC link"), "{}", refused.text());
    let now = json!({ "balancing": { "targets": [at(two.address())] } });
    acme.rest("PATCH", &link).json(&now).await.expect(200);
    world.settled().await;
    let before = one.received().len();
    for _ in 0..4 {
        assert_eq!(api.get("/pets").await.expect(200).text(), "two");
    }
    assert_eq!(one.received().len(), before);
}
