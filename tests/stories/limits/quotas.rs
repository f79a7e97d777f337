//! A quota that nodes take calls from ahead, so that a busy key seldom asks Redis: exactly the limit passes.

use std::time::Duration;

use harness::{Call, Origin, World, eventually};
use tokio::task::JoinSet;

use super::sum;

const LIMIT: usize = 4_000;
const NODES: usize = 2;
const CALLERS: usize = 16;
/// Five quarters of a thirty-second of the limit ÷ nodes is what each of a node's two data threads held at most as it was
/// killed; and callers had not had the answers of some more.
const HELD_MAX: usize = LIMIT / 16;

/// A key, and how it is called through each node.
struct Busy {
    calls: Vec<Call>,
    _origin: Origin,
}

impl Busy {
    async fn of(world: &World) -> Self {
        let origin = world.origin().await.replies(200, "hello");
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
        let api = api.deploy("prod").await;
        let limit = LIMIT.try_into().unwrap();
        let key = api.usage_plan("gold").quota(limit, "MONTH").key().await;
        world.settled().await;
        eventually("each node knows of the others", async || {
            let live = sum(world, NODES, "tollgate_ratelimit_live_nodes").await;
            (usize::try_from(live).unwrap() == NODES * NODES).then_some(())
        })
        .await;
        let call = |node| api.get("/pets").key(&key.value).at(world.endpoint_address_at(node));
        Self { calls: (0..NODES).map(call).collect(), _origin: origin }
    }

    /// Callers of all nodes at once; each goes on until it is told to come again when the period ends, or by a node that is
    /// gone. Gives how many calls each let through.
    fn flood(&self) -> JoinSet<usize> {
        let caller = |number: usize| {
            let call = self.calls[number % NODES].clone();
            async move {
                let mut passed = 0;
                while let Ok(answer) = call.clone().try_send().await {
                    if answer.status() == 200 {
                        passed += 1;
                        continue;
                    }
                    assert_eq!(answer.status(), 429, "{}", answer.text());
                    assert_eq!(answer.json()["code"], "QUOTA_EXCEEDED");
                    if answer.header("retry-after") != Some("1") {
                        break;
                    }
                    // What others hold comes back within two seconds.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                passed
            }
        };
        (0..CALLERS).map(caller).collect()
    }
}

/// The ledger's calls with a key that were billed, as soon as there are as many.
async fn billed(world: &World, least: usize) -> usize {
    let mut database = world.database().await;
    eventually(&format!("{least} calls in the ledger"), async || {
        let sum = "select coalesce(sum(billed_requests), 0)::bigint from usage_minute
                   where api_key_id <> ''";
        let sum: i64 = sqlx::query_scalar(sum).fetch_one(&mut database).await.ok()?;
        usize::try_from(sum).ok().filter(|sum| *sum >= least)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_a_quota_passes_through_nodes_that_take_its_calls_ahead() {
    let world = World::start_nodes(NODES, &[]).await;
    let busy = Busy::of(&world).await;
    let passed: usize = busy.flood().join_all().await.into_iter().sum();
    let asked = sum(&world, NODES, "tollgate_redis_calls_total{purpose=\"quota\"}").await;
    println!("{passed} of {LIMIT} calls passed, which asked Redis {asked} times");
    assert_eq!(passed, LIMIT);
    assert_eq!(billed(&world, LIMIT).await, LIMIT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_costs_a_key_what_it_held_and_nobody_more_than_the_quota_passes() {
    let mut world = World::start_nodes(NODES, &[]).await;
    let busy = Busy::of(&world).await;
    let flood = busy.flood();
    eventually("a quarter of the quota", async || {
        let quota = sum(&world, NODES, "tollgate_requests_total").await;
        (quota >= u32::try_from(LIMIT / 4).unwrap()).then_some(())
    })
    .await;
    world.kill_node_at(1);
    let passed: usize = flood.join_all().await.into_iter().sum();
    // It ships what it had let through.
    world.start_node_at(1).await;
    let billed = billed(&world, passed).await;
    println!("{passed} of {LIMIT} calls passed, {billed} were billed; a node was killed meanwhile");
    assert!((passed..=LIMIT).contains(&billed), "{billed} of {LIMIT}");
    assert!(billed + HELD_MAX >= LIMIT, "{billed} of {LIMIT}");
}
