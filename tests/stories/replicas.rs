//! Two control-plane replicas and two nodes: any of them may die, and callers do not notice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::client::Call;
use harness::kept::{Ask, KeptLoad, Way};
use harness::load::Death;
use harness::{Balancer, Load, Origin, World, at_length, campaign, eventually};

const CALLERS: usize = 4;
/// How often each caller who keeps its connection calls.
const KEPT_PACE: Duration = Duration::from_millis(10);
/// How long a drain may take.
const DRAIN_MAX: Duration = Duration::from_secs(30);

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
        killed.push(Death::of(nodes[node], || world.kill_node_at(node)));
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
    let host = calls[0].host().to_owned();
    let (one, other) = (world.endpoint_address_at(0), world.endpoint_address_at(1));
    let ways: Vec<_> = [vec![one, other], vec![other, one]]
        .into_iter()
        .flat_map(|addresses| {
            [false, true].map(|http2| Way { addresses: addresses.clone(), http2, tls: None })
        })
        .collect();
    let load = Load::start(CALLERS, &calls, &nodes(&world));
    let kept = KeptLoad::start(&ways, &Ask::get(&host, &["/prod/open"]), KEPT_PACE);
    let began = Instant::now();
    let (mut rounds, mut slowest) = (0, Duration::ZERO);

    let enough = at_length(1_000, 100_000);
    while began.elapsed() < campaign() || load.answered() + kept.answered() < enough {
        for node in 0..2 {
            let asked = Instant::now();
            world.stop_node_at(node).await;
            slowest = slowest.max(asked.elapsed());
            world.start_node_at(node).await;
        }
        rounds += 1;
    }

    let (fresh, kept) = (load.end().await, kept.end().await);
    let answered = fresh.answered.len() + kept.answered();
    println!(
        "{rounds} restarts of each node, the slowest drain {slowest:.1?}: {answered} answered, {} over {} kept connections, {} failed",
        kept.answered(),
        kept.connections,
        fresh.failed.len() + kept.failed.len(),
    );
    assert!(fresh.failed.is_empty(), "of {answered}: {:?}", fresh.failed);
    assert!(kept.failed.is_empty(), "of {answered}: {:?}", kept.failed);
    assert!(slowest <= DRAIN_MAX, "a drain took {slowest:?}");
}

/// How long after a kill as many calls as before it must be answered again.
const RECOVERY_MAX: Duration = Duration::from_secs(3);
/// Calls are counted over so long.
const SPAN: Duration = Duration::from_millis(500);

/// How long after a moment a span of time begins in which nine tenths of so many calls were answered.
fn recovery(began: &[Instant], at: Instant, full: usize) -> Option<Duration> {
    let step = Duration::from_millis(50);
    let mut after = Duration::ZERO;
    while after <= RECOVERY_MAX {
        let (from, to) = (at + after, at + after + SPAN);
        let calls = began.partition_point(|it| *it < to) - began.partition_point(|it| *it < from);
        if calls * 10 >= full * 9 {
            return Some(after);
        }
        after += step;
    }
    None
}

/// Kills one of two nodes after the other while calls flow: those that the callers themselves choose from, or those
/// behind a balancer.
async fn full_rate_is_back_after_each_kill(world: &mut World, balancer: Option<&Balancer>) {
    let origin = world.origin().await.replies(200, "hello");
    let calls = calls(world, "acme", &origin).await;
    let nodes = nodes(world);
    let called = balancer.map_or(nodes, |balancer| [balancer.address(); 2]);
    let load = Load::start(CALLERS, &calls, &called);
    let more = async |count: usize| {
        let wanted = load.answered() + count;
        eventually("more answers", async || (load.answered() >= wanted).then_some(())).await;
    };
    more(100).await;
    let (base, kills) = (Instant::now(), at_length(6, 50));
    more(600).await;

    let (mut killed, mut slowest_start) = (Vec::new(), Duration::ZERO);
    for kill in 0..kills {
        let node = kill % 2;
        let death = Death::of(called[node], || world.kill_node_at(node));
        world.start_node_at(node).await;
        slowest_start = slowest_start.max(death.to.elapsed());
        killed.push(death);
        more(300).await;
    }

    let seen = load.end().await;
    let unexcused = seen.unexcused(&killed);
    assert!(unexcused.is_empty(), "{} of {}: {unexcused:?}", unexcused.len(), seen.answered.len());
    let mut began: Vec<_> = seen.answered.iter().map(|(began, _)| *began).collect();
    began.sort_unstable();
    let first = killed[0].to;
    let before = began.partition_point(|it| *it < first) - began.partition_point(|it| *it < base);
    let full = before * usize::try_from(SPAN.as_millis()).unwrap()
        / usize::try_from((first - base).as_millis()).unwrap();
    let recoveries: Vec<_> = killed.iter().map(|death| recovery(&began, death.to, full)).collect();
    println!(
        "{kills} kills: {} answered at {} a second, {} died with their node; back to full rate after at most {:?}, \
         the node itself served again after at most {slowest_start:.2?}",
        seen.answered.len(),
        2 * full,
        seen.failed.len(),
        recoveries.iter().max().unwrap(),
    );
    assert!(recoveries.iter().all(Option::is_some), "of {full} in {SPAN:?}: {recoveries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_rate_is_back_three_seconds_after_each_kill_of_one_of_two_nodes() {
    let mut world = World::start_many(1, 2).await;
    full_rate_is_back_after_each_kill(&mut world, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_rate_is_back_three_seconds_after_each_kill_of_one_of_two_nodes_behind_haproxy() {
    let mut world = World::start_many(1, 2).await;
    let balancer = Balancer::start(&world, 2).await;
    full_rate_is_back_after_each_kill(&mut world, Some(&balancer)).await;
}
