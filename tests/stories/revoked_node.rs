//! A node whose certificate the operator revoked: it is cut off everywhere, and does not come back.

use std::time::Duration;

use harness::{World, eventually, within};
use serde_json::json;

/// From the revocation to the end of the last stream.
const CUT_WITHIN: Duration = Duration::from_secs(5);

/// How many replicas stream to a node.
async fn streams(world: &World, node: usize) -> u64 {
    let metrics = world.node_admin_at(node).get("/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("tollgate_config_streams "));
    line.and_then(|count| count.parse().ok()).expect("the node counts its streams")
}

#[tokio::test]
async fn a_revoked_node_is_cut_off_by_every_replica_and_never_comes_back() {
    let mut world = World::start_many(2, 2).await;
    let (old, new) =
        (world.origin().await.replies(200, "old"), world.origin().await.replies(200, "new"));
    let (token, api_id, first, second) = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/old", &old).await.deploy("prod").await;
        let api = api.get_route("/new", &new).await;
        let calls = (api.get("/old"), api.get("/new"));
        (acme.token.clone(), api.id.clone(), calls.0, calls.1)
    };
    for node in 0..2 {
        eventually("both streams", async || (streams(&world, node).await == 2).then_some(())).await;
        first.clone().at(world.endpoint_address_at(node)).await.expect(200);
    }
    let log = std::fs::read_to_string(world.logs().join("node1.log")).unwrap();
    let joined = log.lines().find(|line| line.contains("\"joined\"")).unwrap();
    let joined: serde_json::Value = serde_json::from_str(joined).unwrap();
    let id = joined["node.id"].as_str().unwrap().to_owned();

    revoke(&world, &id).await;

    within(CUT_WITHIN, "the end of its streams", async || {
        (streams(&world, 1).await == 0).then_some(())
    })
    .await;
    assert_eq!(streams(&world, 0).await, 2, "the other goes on");

    // What is changed now reaches the other alone; this one serves what it had.
    let deploy = json!({ "apiId": api_id, "stage": "prod" });
    let mutation = "mutation($input: CreateDeploymentInput!) { createDeployment(input: $input) {
        deployment { id } userErrors { message } } }";
    let variables = json!({ "input": deploy });
    let made = harness::tenant::graphql(&world, Some(&token), mutation, variables).await.json();
    assert_eq!(made["data"]["createDeployment"]["userErrors"], json!([]), "{made}");
    let live = second.clone().at(world.endpoint_address_at(0));
    eventually("the new route", async || (live.clone().await.status() == 200).then_some(())).await;
    first.clone().at(world.endpoint_address_at(1)).await.expect(200);
    second.clone().at(world.endpoint_address_at(1)).await.expect(404);

    // Not after its own restart, and not after the replicas'.
    world.stop_node_at(1).await;
    for replica in 0..2 {
        world.kill_control_plane_at(replica);
        world.start_control_plane_at(replica).await;
    }
    let before = refusals(&world);
    world.start_node_at(1).await;
    eventually("two refused tries at each replica", async || {
        (refusals(&world) >= before + 4).then_some(())
    })
    .await;
    eventually("the other's streams", async || (streams(&world, 0).await == 2).then_some(())).await;
    assert_eq!(streams(&world, 1).await, 0);
    first.clone().at(world.endpoint_address_at(1)).await.expect(200);
    second.clone().at(world.endpoint_address_at(1)).await.expect(404);
}

/// How often the node was told that there is no stream for it.
fn refusals(world: &World) -> usize {
    let log = std::fs::read_to_string(world.logs().join("node1.log")).unwrap();
    log.lines().filter(|line| line.contains("no config stream from this replica")).count()
}

/// As the operator does.
async fn revoke(world: &World, id: &str) {
    let operator = world.operator().await;
    operator.rest("DELETE", &format!("/v1/operator/nodes/{id}")).await.expect(200);
}
