//! One primary of a cluster is gone: what is counted on the others is not told from before.

use std::cell::Cell;
use std::time::{Duration, Instant};

use harness::{Api, RedisCluster, World, at_length, eventually};

/// So long a call waits for Redis: longer than for an answer on a machine that is busy, less than a node tries to connect
/// to a primary that is silent.
const WAIT: Duration = Duration::from_millis(400);
const WAIT_MS: &str = "400";
/// How often each key is called meanwhile.
const PACE: Duration = Duration::from_millis(20);
/// After three calls that waited in vain a data thread spares the others the wait; the world's nodes have two.
const WAITS_MAX: u32 = 3 * 2;

struct Caller<'w> {
    world: &'w World,
    api: &'w Api<'w>,
    calls: Cell<u32>,
}

impl Caller<'_> {
    /// How long it took.
    async fn call(&self, key: &str) -> Duration {
        let began = Instant::now();
        assert_eq!(self.api.get("/pets").key(key).await.status(), 200);
        self.calls.set(self.calls.get() + 1);
        began.elapsed()
    }

    /// How many of all calls Redis decided. Each takes from one bucket.
    async fn by_redis(&self) -> u32 {
        eventually("a count of all calls", async || {
            let metrics = self.world.node_admin().get("/metrics").await.text();
            let sum = |family: &str| -> u32 {
                let samples = metrics.lines().filter(|line| line.starts_with(family));
                samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).sum()
            };
            let told = sum("tollgate_ratelimit_decisions_total{") == self.calls.get();
            told.then(|| sum(r#"tollgate_ratelimit_decisions_total{by="redis""#))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_gone_costs_keys_on_others_nothing() {
    let mut cluster = RedisCluster::start().await;
    let url = cluster.url();
    let settings = [
        ("REDIS_URL", &*url),
        ("TOLLGATE_LIMITER_MODE", "exact"), // each call asks
        ("TOLLGATE_REDIS_TIMEOUT_MS", WAIT_MS),
    ];
    let world = World::start_with(&settings).await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
    let api = api.deploy("prod").await;
    let caller = Caller { world: &world, api: &api, calls: Cell::new(0) };

    // Keys, until there is one that lies apart from it, and from what nodes are counted by.
    let (mut keys, mut buckets) = (Vec::<(usize, String)>::new(), Vec::<String>::new());
    let ((gone, lost), (_, kept)) = loop {
        assert!(keys.len() < 30, "all lie together");
        let plan = api.usage_plan(&format!("plan{}", keys.len()));
        let key = plan.throttle(0.5, 10_000).key().await.value;
        let (at, bucket) = eventually("its bucket", async || {
            caller.call(&key).await;
            let all = cluster.holders("tg:{tk:").await;
            all.into_iter().find(|(_, bucket)| !buckets.contains(bucket))
        })
        .await;
        buckets.push(bucket);
        keys.push((at, key));
        let (nodes, _) = eventually("a roll call", async || {
            cluster.holders("tg:{nodes").await.into_iter().next()
        })
        .await;
        let lost = keys.iter().find(|(at, _)| *at != nodes);
        let kept = lost.and_then(|lost| keys.iter().find(|(at, _)| *at != lost.0));
        if let (Some(lost), Some(kept)) = (lost, kept) {
            break (lost.clone(), kept.clone());
        }
    };

    let before = caller.by_redis().await;
    cluster.lose(gone);
    // Both at once, from the first call on that finds it gone.
    let end = Instant::now() + Duration::from_secs(at_length(5, 30));
    let beside = async {
        let mut pace = tokio::time::interval(PACE);
        let mut calls = 0;
        while Instant::now() < end {
            pace.tick().await;
            caller.call(&kept).await;
            calls += 1;
        }
        calls
    };
    let without = async {
        let mut waits = 0;
        while Instant::now() < end {
            waits += u32::from(caller.call(&lost).await >= WAIT);
            tokio::time::sleep(PACE).await;
        }
        waits
    };
    let (beside, waits) = tokio::join!(beside, without);
    let asked = caller.by_redis().await - before;
    assert_eq!(asked, beside, "by Redis, of the calls with the key that lies elsewhere");
    assert!(waits <= WAITS_MAX, "{waits} calls waited for a primary that is gone");

    cluster.fail_over(gone).await;
    eventually("exact limits at its replica", async || {
        let before = caller.by_redis().await;
        for _ in 0..10 {
            caller.call(&lost).await;
        }
        (caller.by_redis().await == before + 10).then_some(())
    })
    .await;
}
