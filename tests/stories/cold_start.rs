//! A node alone: everything else is down, and it serves what it last knew.

use std::time::{Duration, Instant};

use harness::{Tenant, World, at_length, eventually};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::config_delivery::{Numbered, PATHS, served};

/// From a node's start until it serves.
const START_MAX: Duration = Duration::from_secs(2);

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
    assert!(took < START_MAX, "{took:?}");

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

#[tokio::test]
async fn a_node_without_a_configuration_is_not_ready_and_says_so() {
    let mut world = World::start_alone().await;
    let origin = world.origin().await.replies(200, "hello");
    let call = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        api.get("/pets")
    };
    world.stop_node().await;
    world.kill_control_plane();
    for file in ["default.config", "default.config.previous"] {
        let _ = std::fs::remove_file(world.node_directory(0).join(file));
    }

    let _node = world.spawn("node0", world.node_command(0));
    let readiness = world.node_admin().get("/readyz");
    let ready = async || readiness.clone().try_send().await.ok();
    let first = eventually("an answer about readiness", ready).await;
    assert_eq!((first.status(), first.text().as_str()), (503, "no configuration yet\n"));
    let refused = call.clone().await.expect(503);
    assert_eq!(refused.json()["code"], "NOT_READY");
    assert_eq!(refused.header("retry-after"), Some("1"));
    world.node_admin().get("/livez").await.expect(200);

    world.start_control_plane().await;
    eventually("readiness", async || ready().await.filter(|it| it.status() == 200)).await;
    call.await.expect(200);
}

/// What becomes of the newest file while its node is dead.
fn damage(file: &std::path::Path, rng: &mut StdRng) -> String {
    let mut content = std::fs::read(file).unwrap();
    let at = rng.random_range(0..content.len());
    let what = if rng.random() {
        content.truncate(at);
        format!("cut at {at}")
    } else {
        content[at] ^= 1 << rng.random_range(0..8);
        format!("flipped at {at}")
    };
    std::fs::write(file, content).unwrap();
    what
}

#[tokio::test]
async fn whenever_it_was_killed_and_whatever_was_flipped_a_node_serves_a_whole_version_at_once() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::start_alone().await;
    let (token, numbered) = {
        let acme = world.tenant("acme").await;
        (acme.token.clone(), Numbered::new(&acme).await)
    };
    let host = numbered.host.clone();
    // From its second start on it has a file to go back to.
    world.stop_node().await;
    world.start_node().await;
    let previous = world.node_directory(0).join("default.config.previous");
    eventually("a previous file", async || previous.exists().then_some(())).await;

    let (mut deployed, mut slowest) = (0, Duration::ZERO);
    for round in 0..at_length(8, 100) {
        deployed += 1;
        let acme =
            Tenant { world: &world, id: String::new(), email: String::new(), token: token.clone() };
        numbered.deploy(&acme, deployed).await;
        // While the change is on its way, or has just come.
        let moment = Instant::now() + Duration::from_millis(rng.random_range(0..40));
        while Instant::now() < moment {
            tokio::task::yield_now().await;
        }
        world.kill_node();
        world.kill_control_plane();
        let file = world.node_directory(0).join("default.config");
        let damaged = (round % 2 == 1).then(|| damage(&file, &mut rng));

        let began = Instant::now();
        world.start_node().await;
        let node = world.endpoint_address();
        let first = served(&world, node, &host, PATHS[0]).await;
        let took = began.elapsed();
        slowest = slowest.max(took);
        assert!(took < START_MAX, "round {round}: {took:?}");
        let second = served(&world, node, &host, PATHS[1]).await;
        assert_eq!(first, second, "round {round}, {damaged:?}: half a deployment");
        assert!(first <= deployed, "round {round}");
        if damaged.is_none() {
            assert!(first + 1 >= deployed, "round {round}: {first} of {deployed}");
        }

        world.start_control_plane().await;
        eventually("the newest deployment", async || {
            (served(&world, node, &host, PATHS[1]).await == deployed).then_some(())
        })
        .await;
        if damaged.is_some() {
            // With a good file again before the next is damaged.
            world.stop_node().await;
            world.start_node().await;
        }
    }
    println!(
        "{deployed} kills, every second file damaged: served again after at most {slowest:.2?}"
    );
}
