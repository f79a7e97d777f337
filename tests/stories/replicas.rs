//! Two control-plane replicas and two nodes: any of them may die, and callers do not notice.

use std::net::SocketAddr;
use std::time::Instant;

use harness::client::Call;
use harness::{Load, Origin, World, campaign, eventually};

const CALLERS: usize = 4;

/// The calls of a new tenant's API: one that anyone may make, one with a key whose limits are never reached.
async fn calls(world: &World, name: &str, origin: &Origin) -> [Call; 2] {
    let tenant = world.tenant(name).await;
    let api = tenant.api("pets").await.get_route("/open", origin).await;
    let api = api.get_route_with_key("/keyed", origin).await.deploy("prod").await;
    let plan = api.usage_plan("gold").throttle(100_000.0, 100_000).quota(100_000_000, "DAY");
    let key = plan.key().await;
    [api.get("/open"), api.get("/keyed").key(&key.value)]
}

fn nodes(world: &World) -> [SocketAddr; 2] {
    [world.endpoint_address_at(0), world.endpoint_address_at(1)]
}

/// Until a node has so many replicas' streams.
async fn streams(world: &World, node: usize, count: usize) {
    let wanted = format!("tollgate_config_streams {count}");
    let what = format!("{count} streams at node {node}");
    eventually(&what, async || {
        let metrics = world.node_admin_at(node).get("/metrics").try_send().await.ok()?;
        metrics.text().lines().any(|line| line == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_node_streams_from_every_replica_and_any_replica_reaches_any_node() {
    let mut world = World::start_many(2, 2).await;
    let origin = world.origin().await.replies(200, "hello");
    for node in 0..2 {
        streams(&world, node, 2).await;
    }
    for dead in 0..2 {
        world.kill_control_plane_at(dead);
        for node in 0..2 {
            streams(&world, node, 1).await;
        }
        let calls = calls(&world, &format!("through{}", 1 - dead), &origin).await;
        for (call, node) in calls.iter().flat_map(|call| nodes(&world).map(|node| (call, node))) {
            assert_eq!(call.clone().at(node).await.expect(200).text(), "hello");
        }
        world.start_control_plane_at(dead).await;
        for node in 0..2 {
            streams(&world, node, 2).await;
        }
    }
}

#[tokio::test]
async fn whatever_is_killed_nothing_fails_but_what_was_in_flight_on_a_killed_node() {
    let mut world = World::start_many(2, 2).await;
    let origin = world.origin().await.replies(200, "hello");
    let calls = calls(&world, "acme", &origin).await;
    let nodes = nodes(&world);
    let load = Load::start(CALLERS, &calls, &nodes);
    let began = Instant::now();
    let (mut killed, mut rounds) = (Vec::new(), 0);

    while rounds == 0 || began.elapsed() < campaign() {
        for replica in 0..2 {
            world.kill_control_plane_at(replica);
            world.start_control_plane_at(replica).await;
        }
        world.kill_database();
        world.start_database().await;
        world.kill_redis();
        world.start_redis().await;
        let node = rounds % 2;
        world.kill_node_at(node);
        killed.push((nodes[node], Instant::now()));
        world.start_node_at(node).await;
        rounds += 1;
    }

    let seen = load.end().await;
    let unexcused = seen.unexcused(&killed);
    assert!(unexcused.is_empty(), "{} of {}: {unexcused:?}", unexcused.len(), seen.answered.len());
    println!(
        "{rounds} rounds in {:.1?}: {} answered, {} died with their node; p50 {:.1?}, p99 {:.1?}",
        began.elapsed(),
        seen.answered.len(),
        seen.failed.len(),
        seen.per_mille(500),
        seen.per_mille(990),
    );

    // Whoever came back takes changes again, and every answered call is billed once.
    self::calls(&world, "late", &origin).await;
    let (answered, unknown) = (seen.answered.len(), seen.failed.len());
    let mut database = world.database().await;
    let billed = eventually("every answered call in the ledger", async || {
        let sum = "select coalesce(sum(billed_requests), 0)::bigint from usage_minute";
        let sum: i64 = sqlx::query_scalar(sum).fetch_one(&mut database).await.ok()?;
        usize::try_from(sum).ok().filter(|sum| *sum >= answered)
    })
    .await;
    assert!(
        billed <= answered + unknown,
        "{billed} billed, {answered} answered, {unknown} unknown"
    );
}

#[tokio::test]
async fn nothing_fails_while_one_of_two_nodes_drains() {
    let mut world = World::start_many(1, 2).await;
    let origin = world.origin().await.replies(200, "hello");
    let calls = calls(&world, "acme", &origin).await;
    let load = Load::start(CALLERS, &calls, &nodes(&world));
    let began = Instant::now();
    let mut rounds = 0;

    while rounds == 0 || began.elapsed() < campaign() {
        for node in 0..2 {
            world.stop_node_at(node).await;
            world.start_node_at(node).await;
        }
        rounds += 1;
    }

    let seen = load.end().await;
    assert!(seen.failed.is_empty(), "of {}: {:?}", seen.answered.len(), seen.failed);
    println!("{rounds} restarts of each node: {} answered, none failed", seen.answered.len());
}
