//! Limits over several nodes at ten times what they allow: what was admitted over what is allowed, by mode and fault.
//!
//! Callers time each call from before it is sent until after its answer. Whatever the node decided, it decided in
//! between; so calls that lie wholly in a window were admitted in it, and are counted against rate · T + burst.

mod beside;
mod clients;
mod concurrency;
mod explanation;
mod faults;
mod flood;
mod limit_state;
mod losses;
mod quotas;
mod shadow;
mod ways;

use std::time::{Duration, Instant};

use harness::{RedisOverTls, World, at_length};

use flood::{BURST, Limited, RATE, admitted, excess, no_failure, shares};

/// Sums of a family of metrics over so many nodes.
async fn sum(world: &World, nodes: usize, family: &str) -> u32 {
    let mut sum = 0;
    for node in 0..nodes {
        let text = world.node_admin_at(node).get("/metrics").await.text();
        let samples = text.lines().filter(|line| line.starts_with(family));
        sum += samples
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
            .sum::<u32>();
    }
    sum
}

async fn bound_holds(mode: &str) {
    let limited = Limited::start(&[("TOLLGATE_LIMITER_MODE", mode)]).await;
    let length = Duration::from_secs(at_length(12, 60));
    let (began, flood) = (Instant::now(), limited.flood());
    tokio::time::sleep(length).await; // this is how long it is measured
    let calls = flood.end().await;
    let ended = Instant::now();
    no_failure(&calls);

    let worst = excess(&calls, began, ended);
    let count = u32::try_from(admitted(&calls, began, ended).len()).unwrap();
    let allowed = RATE * (ended - began).as_secs_f64() + f64::from(BURST);
    let share = f64::from(count) / allowed;
    let asked = limited.sum("tollgate_redis_calls_total{purpose=\"lease\"}").await
        + limited.sum("tollgate_redis_calls_total{purpose=\"take\"}").await;
    println!(
        "{mode}: {} nodes, {} calls, {count} admitted, {share:.3} of what is allowed; worst window {worst:.1} \
         calls beyond the bound (below 0: within); {asked} takes and leases asked of Redis",
        limited.nodes.len(),
        calls.len()
    );
    // The burst is spent by then.
    let steady = began + Duration::from_secs(2);
    for window in [200, 1000, 3000].map(Duration::from_millis) {
        let (least, most) = shares(&calls, steady, ended, window);
        println!("  windows of {window:?} after it: {least:.3} to {most:.3} of rate · T");
    }
    assert!(worst <= 0.0, "{worst} beyond rate · T + burst");
    assert!(calls.len() > 4 * usize::try_from(count).unwrap(), "hardly a flood: {}", calls.len());
    // What lies in the bucket and with nodes at the end is less than that.
    assert!(share >= 0.97, "{share} of what is allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_nodes_admit_what_the_limit_allows_by_lease() {
    bound_holds("leased").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_nodes_admit_what_the_limit_allows_where_each_call_asks_redis() {
    bound_holds("exact").await;
}

#[tokio::test]
async fn limits_are_counted_over_tls_in_a_redis_of_a_private_authority() {
    let redis = RedisOverTls::start().await;
    let (url, cluster, authority) = (redis.url(), redis.cluster_url(), redis.authority());
    let trusted = ("TOLLGATE_REDIS_CA_FILE", authority.to_str().unwrap());
    for (settings, by) in [
        ([("REDIS_URL", &*url), trusted], "lease"),
        ([("REDIS_URL", &*cluster), trusted], "lease"),
        ([("REDIS_URL", &*url), ("TOLLGATE_REDIS_TIMEOUT_MS", "200")], "share"),
        ([("REDIS_URL", &*cluster), ("TOLLGATE_REDIS_TIMEOUT_MS", "200")], "share"),
    ] {
        let world = World::start_with(&settings).await;
        let origin = world.origin().await.replies(200, "hello");
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
        let api = api.deploy("prod").await;
        let key = api.usage_plan("gold").throttle(0.001, 3).key().await;
        let mut admitted = 0;
        for _ in 0..6 {
            admitted += u32::from(api.get("/pets").key(&key.value).await.status() == 200);
        }
        assert_eq!(admitted, 3);
        let decided =
            format!(r#"tollgate_ratelimit_decisions_total{{by="{by}",outcome="admitted"}} 3"#);
        harness::eventually(&decided, async || {
            let metrics = world.node_admin().get("/metrics").await.text();
            metrics.lines().any(|line| line == decided).then_some(())
        })
        .await;
    }
}
