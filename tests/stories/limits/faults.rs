//! Redis fails while calls flow: nothing of it reaches callers as an error, and what is admitted keeps to the bound.
//!
//! Three things cost a burst at most, each time. A Redis that lost its memory has a full bucket. While it is away each
//! node's share of it begins with what that node knew of it last. When it is back nodes notice one after the other, and
//! the first may take what the last has not told of yet.

use std::time::{Duration, Instant};

use harness::{Detour, RedisCluster, at_length};

use super::flood::{BURST, Call, Flood, Limited, RATE, admitted, excess, no_failure};

/// How long each fault lasts.
fn length() -> Duration {
    Duration::from_secs(at_length(3, 20))
}

/// As many times what a call waits for Redis as 50 ms are of the 5 ms that a node has unless it is told otherwise. On a
/// machine that is busy Redis would else be slow by itself.
const SLOW: Duration = Duration::from_secs(2);
const WAIT_MS: &str = "200";

/// Each node asks again within the second, its leases and its share of the limit are over in another.
const RECOVERY: Duration = Duration::from_secs(3);

/// A flood, and what happens to Redis meanwhile.
struct Course {
    limited: Limited,
    flood: Flood,
    began: Instant,
    phases: Vec<Phase>,
}

struct Phase {
    name: &'static str,
    from: Instant,
    to: Instant,
    redis_calls: f64,
}

/// What a flood met with.
struct Told {
    limited: Limited,
    calls: Vec<Call>,
    began: Instant,
    phases: Vec<Phase>,
}

impl Course {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::flooded(Limited::start(settings).await).await
    }

    /// The flood has had its burst when this is over.
    async fn flooded(limited: Limited) -> Self {
        let (began, flood) = (Instant::now(), limited.flood());
        let mut course = Self { limited, flood, began, phases: Vec::new() };
        course.phase("before", Duration::from_secs(2)).await;
        course
    }

    /// So long nothing else happens.
    async fn phase(&mut self, name: &'static str, length: Duration) {
        self.during(name, async |_| tokio::time::sleep(length).await).await;
    }

    async fn during(&mut self, name: &'static str, course: impl AsyncFnOnce(&mut Limited)) {
        let asked = self.limited.sum("tollgate_redis_calls_total").await;
        let from = Instant::now();
        course(&mut self.limited).await;
        let to = Instant::now();
        let redis_calls = self.limited.sum("tollgate_redis_calls_total").await - asked;
        self.phases.push(Phase { name, from, to, redis_calls });
    }

    async fn end(self) -> Told {
        let Self { limited, flood, began, phases } = self;
        let calls = flood.end().await;
        no_failure(&calls);
        Told { limited, calls, began, phases }
    }
}

impl Told {
    /// Beyond rate · T + burst in any window, in bursts.
    fn excess(&self) -> f64 {
        excess(&self.calls, self.began, Instant::now()) / f64::from(BURST)
    }

    /// The same in one phase and what came after it, up to another.
    fn excess_in(&self, first: &str, last: &str) -> f64 {
        let phase = |name| self.phases.iter().find(|phase| phase.name == name).expect("a phase");
        excess(&self.calls, phase(first).from, phase(last).to) / f64::from(BURST)
    }

    async fn print(&self, mode: &str) {
        let losses = self.limited.sum("tollgate_ratelimit_losses_total").await;
        println!(
            "{mode}, {} nodes: {} calls, none failed; {losses} leases lost; worst window {:.2} bursts beyond \
             rate · T + burst (below 0: within)",
            self.limited.nodes.len(),
            self.calls.len(),
            self.excess(),
        );
        for Phase { name, from, to, redis_calls } in &self.phases {
            let seconds = (*to - *from).as_secs_f64();
            let inside = |call: &&Call| call.began >= *from && call.ended <= *to;
            let mut took: Vec<_> =
                self.calls.iter().filter(inside).map(|call| call.ended - call.began).collect();
            took.sort_unstable();
            let count = f64::from(u32::try_from(took.len().max(1)).unwrap());
            let admitted =
                f64::from(u32::try_from(admitted(&self.calls, *from, *to).len()).unwrap());
            let late = took.len() * 99 / 100;
            println!(
                "  {name:<22} {seconds:>4.1} s: admitted {:.3} of rate · T; {:.4} Redis calls a request; p50 {:.1?}, \
                 p99 {:.1?}",
                admitted / (RATE * seconds),
                redis_calls / count,
                took.get(took.len() / 2).copied().unwrap_or_default(),
                took.get(late).copied().unwrap_or_default(),
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_emptied_restarted_and_gone_costs_no_call_and_at_most_a_burst_each_time() {
    // Calls do not wait for a Redis that is gone longer than this.
    let mut course = Course::start(&[("TOLLGATE_REDIS_TIMEOUT_MS", WAIT_MS)]).await;
    course
        .during("emptied", async |limited| {
            limited.world.empty_redis().await;
            tokio::time::sleep(length()).await;
        })
        .await;
    course
        .during("restarted", async |limited| {
            limited.world.kill_redis();
            limited.world.start_redis().await; // at once, and empty
            tokio::time::sleep(length()).await;
        })
        .await;
    course
        .during("gone", async |limited| {
            limited.world.kill_redis();
            tokio::time::sleep(length()).await;
        })
        .await;
    course
        .during("coming back", async |limited| {
            limited.world.start_redis().await;
            tokio::time::sleep(RECOVERY).await;
        })
        .await;
    course.phase("back", length()).await;
    let told = course.end().await;
    told.print("leased").await;
    for (phase, bursts) in
        [("emptied", 1.0), ("restarted", 1.0), ("gone", 1.0), ("coming back", 1.0), ("back", 0.0)]
    {
        let excess = told.excess_in(phase, phase);
        assert!(excess <= bursts, "{phase}: {excess} bursts beyond rate · T + burst");
    }
    let whole = told.excess();
    assert!(whole <= 4.0, "{whole} bursts beyond rate · T + burst: three losses, and away once");
}

/// Redis is slow, then its connections break, and each time it comes back; it never loses its memory.
async fn slow_and_broken(mode: &str) {
    let detour = Detour::start().await;
    let settings = [("TOLLGATE_LIMITER_MODE", mode), ("TOLLGATE_REDIS_TIMEOUT_MS", WAIT_MS)];
    let limited = Limited::start_over(&detour, &settings).await;
    let mut course = Course::flooded(limited).await;
    detour.delay(SLOW);
    course.phase("ten times too slow", length()).await;
    detour.delay(Duration::ZERO);
    course.phase("fast again", RECOVERY).await;
    detour.break_one_of(20);
    course.phase("1 of 20 messages broken", length()).await;
    detour.break_one_of(0);
    course.phase("coming back", RECOVERY).await;
    course.phase("back", length()).await;
    let told = course.end().await;
    told.print(mode).await;
    println!("  {} connections broken", detour.broken());
    assert!(detour.broken() > 0, "nothing was broken");
    for (first, last, bursts) in [
        ("before", "ten times too slow", 1.0),
        ("fast again", "fast again", 1.0),
        ("1 of 20 messages broken", "coming back", 1.0),
        ("back", "back", 1.0),
        ("before", "back", 3.0), // away once for sure, and back; and back from what broke
    ] {
        let excess = told.excess_in(first, last);
        assert!(excess <= bursts, "{first} to {last}: {excess} bursts beyond rate · T + burst");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_and_broken_connections_cost_no_call_by_lease() {
    slow_and_broken("leased").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_and_broken_connections_cost_no_call_where_each_asks_redis() {
    slow_and_broken("exact").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_moves_a_bucket_and_loses_its_primary_without_a_failed_call() {
    let mut cluster = RedisCluster::start().await;
    let url = cluster.url();
    let settings = [("REDIS_URL", &*url), ("TOLLGATE_REDIS_TIMEOUT_MS", "500")];
    let mut course = Course::start(&settings).await;

    let (home, bucket) = cluster.holder("tg:{tk:").await;
    let moving = cluster.begin_move(home, &bucket).await;
    course.phase("slot about to move", length() / 3).await;
    assert!(cluster.move_keys(&moving).await > 0, "the bucket moves");
    course.phase("asked for elsewhere", length() / 3).await;
    cluster.end_move(moving).await;
    course.phase("moved", length()).await;
    let (holder, found) = cluster.holder(&bucket).await;
    assert!(holder != home && found == bucket, "{found} lies at {holder}, as before");

    cluster.lose(holder);
    course.phase("primary gone", length()).await;
    course.during("taken over", async |_| cluster.fail_over(holder).await).await;
    course.phase("replica in its place", RECOVERY).await;
    course.phase("after", length()).await;
    let (heir, _) = cluster.holder(&bucket).await;
    assert_ne!(heir, holder);
    let told = course.end().await;
    told.print("leased, Redis Cluster").await;
    let (moved, whole) = (told.excess_in("before", "moved"), told.excess());
    assert!(moved <= 1.0, "{moved} bursts beyond rate · T + burst while the bucket moved");
    // What the replica had not heard of is lost, and it was away.
    assert!(whole <= 2.0, "{whole} bursts beyond rate · T + burst, after a failover");

    // Quotas, too, are counted there.
    let other = told.limited.world.tenant("other").await;
    let api = other.api("cats").await.get_route_with_key("/pets", &told.limited.origin).await;
    let api = api.deploy("prod").await;
    let key = api.usage_plan("small").quota(20, "DAY").key().await;
    let mut passed = 0;
    for call in 0..30 {
        let node = told.limited.nodes[call % told.limited.nodes.len()];
        passed += u32::from(api.get("/pets").at(node).key(&key.value).await.status() == 200);
    }
    assert_eq!(passed, 20, "of a quota of 20");
}
