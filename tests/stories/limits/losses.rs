//! Redis loses its memory in the middle of a quota's period, and what was used stays used.

use harness::{Call, Origin, World, eventually};

use super::sum;

const LIMIT: u32 = 40;
const USED: u32 = 20;

/// Everything that was used before is counted again, and nothing else.
async fn restored(world: &World, nodes: usize) {
    let what = format!("{USED} calls restored");
    eventually(&what, async || {
        let calls = sum(world, nodes, "tollgate_quota_calls_restored_total").await;
        assert!(calls <= USED, "{calls} calls were restored");
        (calls == USED).then_some(())
    })
    .await;
}

/// Calls with a key of a quota, one node after the other.
struct Caller {
    calls: Vec<Call>,
    made: usize,
    _origin: Origin,
}

impl Caller {
    async fn of(world: &World, nodes: usize) -> Self {
        let origin = world.origin().await.replies(200, "hello");
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
        let api = api.deploy("prod").await;
        let key = api.usage_plan("gold").quota(LIMIT, "MONTH").key().await;
        world.settled().await;
        let call = |node| api.get("/pets").key(&key.value).at(world.endpoint_address_at(node));
        Self { calls: (0..nodes).map(call).collect(), made: 0, _origin: origin }
    }

    async fn call(&mut self) -> Option<()> {
        let answer = self.calls[self.made % self.calls.len()].clone().await;
        self.made += 1;
        if answer.status() == 429 {
            assert_eq!(answer.json()["code"], "QUOTA_EXCEEDED");
            return None;
        }
        assert_eq!(answer.status(), 200, "{}", answer.text());
        Some(())
    }

    async fn calls(&mut self, count: u32) {
        for _ in 0..count {
            self.call().await.expect("some of the quota is left");
        }
    }

    /// How many are let through until each node refuses.
    async fn use_up(&mut self) -> u32 {
        let (mut passed, mut refused) = (0, 0);
        while refused < 2 * self.calls.len() {
            match self.call().await {
                Some(()) => (passed, refused) = (passed + 1, 0),
                None => refused += 1,
            }
            assert!(passed <= LIMIT, "the whole quota passes again");
        }
        passed
    }
}

#[tokio::test]
async fn a_quota_goes_on_where_it_stood_though_redis_was_emptied_and_its_node_killed() {
    let mut world = World::start().await;
    let mut caller = Caller::of(&world, 1).await;
    caller.calls(USED).await;
    // What it had not shipped it ships when it starts again.
    world.kill_node();
    world.empty_redis().await;
    world.start_node().await;
    caller.calls(1).await;
    restored(&world, 1).await;
    assert_eq!(sum(&world, 1, "tollgate_redis_memory_losses_total").await, 1);
    assert_eq!(USED + 1 + caller.use_up().await, LIMIT);
}

#[tokio::test]
async fn live_nodes_know_what_was_used_though_redis_was_emptied_and_the_control_plane_is_away() {
    let mut world = World::start_nodes(2, &[]).await;
    let mut caller = Caller::of(&world, 2).await;
    caller.calls(USED).await;
    world.kill_control_plane();
    world.empty_redis().await;
    caller.calls(1).await;
    restored(&world, 2).await;
    assert_eq!(sum(&world, 2, "tollgate_redis_memory_losses_total").await - 1, 1, "and the first");
    assert_eq!(USED + 1 + caller.use_up().await, LIMIT);
}
