//! Throttles by lease, against a real Redis: `REDIS_URL`, or the one on port 6399.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proto::config::v1::{Dialect::Native, Resource, Throttle, UsagePlan};
use redis::AsyncCommands;

use super::{
    limits::{Node, gated_redis, local, redis_url},
    world::{Answer, PATIENCE, TestNode, api_with, key, mock},
};
use crate::{
    config::{
        LimiterMode::{self, Exact, Leased},
        LimiterOutage,
    },
    policies::{
        limiter::{Back, Settings},
        throttle::Throttle as Taken,
    },
    snapshot::served::Bucket,
};

const KEY: &str = "x-api-key: tg_live_1";

/// A key of its own on a plan of its own, and the bucket's name in Redis.
fn limited(rate_limit: f64, burst_limit: u32) -> (Vec<Resource>, String) {
    let id = uuid::Uuid::new_v4().simple().to_string()[..10].to_owned();
    let throttle = Some(Throttle { rate_limit, burst_limit, ..Throttle::default() });
    let plan = UsagePlan { id: id.clone(), throttle, ..UsagePlan::default() };
    let mut resources = api_with(Native, vec![("GET /k", mock(200, "in"), true)], |_| {});
    resources.extend(key("tg_live_1", plan, |_| {}));
    (resources, proto::redis_keys::key_throttle(&id, "keyaaaaaa1"))
}

fn node(resources: &[Resource], threads: usize) -> TestNode {
    node_in(Leased, resources, threads)
}

fn node_in(mode: LimiterMode, resources: &[Resource], threads: usize) -> TestNode {
    TestNode::start_with(resources.to_vec(), |config| {
        config.redis_url = Some(redis_url());
        config.limiter_mode = mode;
        config.limits.redis_timeout = PATIENCE;
        config.threads = threads;
    })
}

async fn admitted(node: &TestNode, calls: usize) -> usize {
    let calls = (0..calls).map(|_| node.call("GET /prod/k", &[KEY]));
    let statuses: Vec<_> = join_all(calls).await.iter().map(Answer::status).collect();
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

#[tokio::test]
async fn a_burst_at_a_node_is_admitted_to_the_last_token_whatever_thread_gets_it() {
    for (burst, mode) in [(1, Leased), (2, Leased), (10, Leased), (50, Leased), (10, Exact)] {
        let (resources, _) = limited(0.001, burst);
        let node = node_in(mode, &resources, 2);
        assert_eq!(admitted(&node, 64).await, usize::try_from(burst).unwrap(), "{mode:?}");
        assert_eq!(admitted(&node, 10).await, 0, "{mode:?}");
    }
}

#[tokio::test]
async fn two_nodes_share_a_bucket_and_what_lies_idle_at_one_is_there_for_the_other() {
    let (resources, _) = limited(0.001, 40);
    let nodes = [node(&resources, 1), node(&resources, 1)];
    let sum = async {
        // The first shows demand, and is left with tokens that it does not use.
        let mut sum = admitted(&nodes[0], 20).await;
        while sum < 40 {
            sum += admitted(&nodes[1], 4).await;
        }
        sum + admitted(&nodes[0], 10).await + admitted(&nodes[1], 10).await
    };
    assert_eq!(tokio::time::timeout(PATIENCE, sum).await.expect("all are given"), 40);
}

#[tokio::test]
async fn a_node_that_is_drained_returns_what_its_leases_hold() {
    let (resources, bucket) = limited(0.001, 1000);
    let mut node = node(&resources, 2);
    let mut sum = 0;
    for _ in 0..5 {
        sum += admitted(&node, 60).await; // by now it has taken some in advance
    }
    node.drain().await;
    let client = redis::Client::open(redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    // What a node holds is not in the bucket. That it spent the last of it may not have been told: that lapses by itself.
    let tokens: f64 = redis.hget(&bucket, "tokens").await.unwrap();
    assert_eq!(sum, 300);
    assert!((700.0..701.0).contains(&tokens), "{tokens}");
}

fn by_lease(url: &str) -> Settings<'_> {
    Settings {
        url: Some(url),
        authority: None,
        budget: PATIENCE,
        mode: Leased,
        outage: LimiterOutage::FailClosed,
    }
}

#[tokio::test]
async fn a_token_that_is_given_back_late_is_there_for_the_next_call_and_one_that_is_dropped_is_not()
{
    local(async {
        let (url, node) = (redis_url(), Node::default());
        let thread = node.thread(by_lease(&url));
        let key = format!("test:{{{}}}", uuid::Uuid::now_v7());
        let bucket = Taken::alone("key", key, Bucket { rate: 0.001, burst: 1 });
        for _ in 0..5 {
            let taken = thread.take(&bucket).await.expect("Redis");
            assert!(taken.allowed);
            // It takes so long until something else refuses the call: longer than a small bucket is told of what was spent.
            tokio::time::sleep(Duration::from_millis(20)).await;
            match taken.back {
                Back::Lease(undecided) => undecided.give_back(),
                other => panic!("{other:?}"),
            }
        }
        assert!(thread.take(&bucket).await.expect("Redis").allowed);
        assert!(!thread.take(&bucket).await.expect("Redis").allowed);
    })
    .await;
}

#[tokio::test]
async fn what_is_taken_while_other_threads_have_ended_is_returned_by_the_last() {
    local(async {
        let (url, node) = (redis_url(), Node::default());
        let threads = [(); 2].map(|()| node.thread(by_lease(&url)));
        let key = format!("test:{{{}}}", uuid::Uuid::now_v7());
        let bucket = Taken::alone("key", key.clone(), Bucket { rate: 0.001, burst: 10_000 });
        let client = redis::Client::open(&*url).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let mut admitted = 0;
        for thread in &threads {
            let in_advance = async {
                loop {
                    let taken = join_all((0..60).map(|_| thread.take(&bucket))).await;
                    assert!(taken.iter().all(|taken| taken.as_ref().expect("Redis").allowed));
                    admitted += 60;
                    // By what the node knows it has some beside those in the bucket.
                    let known = taken[59].as_ref().expect("Redis").remaining;
                    let left: f64 = redis.hget(&key, "tokens").await.unwrap();
                    if f64::from(u32::try_from(known).unwrap()) > left {
                        return;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, in_advance).await.expect("taken in advance");
            thread.return_all().await;
            let (out, tokens): (u32, f64) = redis.hmget(&key, &["out", "tokens"]).await.unwrap();
            assert_eq!(out, 0);
            let left = f64::from(10_000 - admitted);
            assert!((left..left + 1.0).contains(&tokens), "{tokens}, not {left}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_busy_key_and_a_refused_flood_seldom_ask_redis() {
    let (resources, _) = limited(1e6, 1_000_000);
    let busy = node(&resources, 1);
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(admitted(&busy, 50).await, 50);
    }
    let most = 12 + began.elapsed().as_millis() / 40;
    let asked = busy.shared.metrics.limits.redis_calls("lease");
    assert!(u128::from(asked) <= most, "{asked} questions for 1000 calls, at most {most}");

    let (resources, _) = limited(0.1, 3);
    let flooded = node(&resources, 1);
    let began = std::time::Instant::now();
    let admitted = async {
        let mut sum = 0;
        for _ in 0..20 {
            sum += admitted(&flooded, 50).await;
        }
        sum
    };
    assert!((3..=5).contains(&admitted.await));
    let most = 5 + began.elapsed().as_millis() / 50;
    let asked = flooded.shared.metrics.limits.redis_calls("lease");
    assert!(u128::from(asked) <= most, "{asked} questions for 1000 calls, at most {most}");
}

#[tokio::test]
async fn a_loss_of_redis_memory_is_noticed_and_adds_at_most_one_burst() {
    let (resources, bucket) = limited(0.001, 200);
    let node = node(&resources, 1);
    let client = redis::Client::open(redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let mut sum = 0;
    while sum < 100 {
        sum += admitted(&node, 20).await;
    }
    let _: () = redis.del(&bucket).await.unwrap();
    let losses = || node.shared.metrics.limits.losses.get();
    let noticed = async {
        loop {
            match admitted(&node, 20).await {
                0 => return sum,
                more => sum += more,
            }
        }
    };
    let sum = tokio::time::timeout(PATIENCE, noticed).await.expect("the bucket ends");
    assert!((200..=400).contains(&sum), "{sum}");
    assert_eq!(losses(), 1);
}

#[tokio::test]
async fn an_answer_that_comes_when_its_lease_is_over_is_returned_and_no_token_is_lost() {
    let (resources, _) = limited(0.0001, 5);
    let (address, gate) = gated_redis().await;
    let node = TestNode::start_with(resources, |config| {
        config.redis_url = Some(format!("redis://{address}/"));
        config.limits.redis_timeout = Duration::from_millis(300);
        config.limiter_outage = LimiterOutage::FailClosed;
    });
    let call = async || node.call("GET /prod/k", &[KEY]).await.status();
    let mut passed = 0;
    while passed < 1 {
        passed += usize::from(call().await == 200); // connected
    }
    gate.send_replace(false);
    let shut = Instant::now();
    while shut.elapsed() < Duration::from_micros(lease::TTL_US) {
        assert_eq!(call().await, 503);
    }
    gate.send_replace(true);
    let back = async {
        loop {
            match call().await {
                200 => passed += 1,
                429 => return passed,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, back).await.expect("Redis is back"), 5);
}
