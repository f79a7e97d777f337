//! A node alone: everything else is down, and it serves what it last knew.

use std::time::{Duration, Instant};

use harness::World;

#[tokio::test]
async fn a_node_starts_and_serves_with_everything_else_down() {
    let mut world = World::start_alone().await;
    let origin = world.origin().await.replies(200, "hello");
    let (open, keyed, key) = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/open", &origin).await;
        let api = api.get_route_with_key("/keyed", &origin).await.deploy("prod").await;
        let key = api.usage_plan("gold").throttle(1000.0, 1000).key().await;
        api.get("/keyed").key(&key.value).await.expect(200);
        (api.get("/open"), api.get("/keyed"), key.value)
    };

    world.kill_node();
    world.kill_control_plane();
    world.kill_redis();
    world.kill_database();
    let began = Instant::now();
    world.start_node().await;
    let took = began.elapsed();
    println!("a node serves {took:.2?} after its start");
    assert!(took < Duration::from_secs(2), "{took:?}");

    assert_eq!(open.clone().await.expect(200).text(), "hello");
    keyed.clone().key("tg_live_unknown").await.expect(403);
    // Redis is away: the node goes on with its share of the limits.
    keyed.clone().key(&key).await.expect(200);

    // Everything comes back, and what was counted meanwhile arrives.
    world.start_database().await;
    world.start_redis().await;
    world.start_control_plane().await;
    harness::eventually("a call with a key", async || {
        (keyed.clone().key(&key).await.status() == 200).then_some(())
    })
    .await;
    let mut database = world.database().await;
    harness::eventually("the call of the lone node in the ledger", async || {
        let sum =
            "select coalesce(sum(requests), 0)::bigint from usage_minute where route = 'GET /open'";
        let sum: i64 = sqlx::query_scalar(sum).fetch_one(&mut database).await.unwrap();
        (sum == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_control_plane_that_goes_away_fails_no_request() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let call = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        api.get("/pets")
    };

    world.kill_control_plane();
    for _ in 0..20 {
        call.clone().await.expect(200);
    }
    world.start_control_plane().await;
    for _ in 0..20 {
        call.clone().await.expect(200);
    }

    // And the node takes changes again.
    let late = world.tenant("late").await;
    let api = late.api("cats").await.get_route("/cats", &origin).await.deploy("prod").await;
    api.get("/cats").await.expect(200);
}

#[tokio::test]
async fn a_corrupt_snapshot_is_refused_and_the_one_before_served() {
    let mut world = World::start_alone().await;
    let (old, new) =
        (world.origin().await.replies(200, "old"), world.origin().await.replies(200, "new"));
    let (first, second) = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/old", &old).await.deploy("prod").await;
        let api = api.get_route("/new", &new).await.deploy("prod").await;
        api.get("/new").await.expect(200);
        (api.get("/old"), api.get("/new"))
    };
    world.stop_node().await;
    world.kill_control_plane();
    let path = world.node_directory(0).join("default.config");
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&path, content).unwrap();

    world.start_node().await;

    assert_eq!(first.clone().await.expect(200).text(), "old");
    second.clone().await.expect(404);
    let metrics = world.node_admin().get("/metrics").await.text();
    assert!(metrics.contains("tollgate_config_last_good_damaged_total 1"), "{metrics}");

    // The control plane sends it whole again.
    world.start_control_plane().await;
    harness::eventually("the newest version", async || {
        (second.clone().await.status() == 200).then_some(())
    })
    .await;
}
