//! Calls that are taken from quotas ahead, against a real Redis: `REDIS_URL`, or the one on port 6399.

use ::plan::Unit;
use futures_util::future::join_all;
use redis::AsyncCommands;

use super::{
    limits::{Node, local, redis_url},
    world::PATIENCE,
};
use crate::{
    config::{LimiterMode, LimiterOutage},
    policies::{
        limiter::{self, Limiter},
        quota::Claim,
    },
};

fn thread(node: &Node) -> Limiter {
    node.thread(limiter::Settings {
        url: Some(&redis_url()),
        authority: None,
        budget: PATIENCE,
        mode: LimiterMode::Leased,
        outage: LimiterOutage::FailClosed,
    })
}

/// A key of its own, and what Redis counts of it.
struct Quota {
    key: String,
    claim: Claim,
    redis: redis::aio::MultiplexedConnection,
}

impl Quota {
    async fn of(limit: u64) -> Self {
        let client = redis::Client::open(redis_url()).unwrap();
        Self {
            key: format!("test:{{{}}}", uuid::Uuid::now_v7()),
            claim: Claim { joined_s: Some(i64::MAX), ..Claim::calendar(limit, Unit::Month) },
            redis: client.get_multiplexed_async_connection().await.unwrap(),
        }
    }

    /// The calls that are taken, and of those what is held.
    async fn counted(&mut self) -> (u64, u64) {
        let (used, held): (u64, Option<String>) =
            self.redis.hmget(&self.key, &["used", "held"]).await.unwrap();
        (used, held.map_or(0, |held| held.split(' ').nth(1).unwrap().parse().unwrap()))
    }

    /// So many calls, one after the other, of which each is let through.
    async fn calls(&self, thread: &Limiter, count: u64) {
        for call in 0..count {
            let spent = thread.spend(&self.key, &self.claim).await.expect("Redis");
            assert!(spent.allowed, "call {call} of {count}");
            tokio::task::yield_now().await; // for what goes on beside
        }
    }
}

#[tokio::test]
async fn a_busy_keys_calls_ask_once_for_many_and_all_are_counted_when_the_node_ends() {
    local(async {
        let (node, mut quota) = (Node::default(), Quota::of(10_000_000).await);
        let thread = thread(&node);
        quota.calls(&thread, 20_000).await;
        let asked = node.redis_calls("quota");
        assert!(asked <= 200, "one in a hundred at most: {asked}");
        let (used, held) = quota.counted().await;
        assert!(used - held <= 20_000 && used >= 20_000, "{held} of {used}");
        let told = thread.take_standings().into_iter().map(|it| it.counted.used).max();
        assert!(told.is_some_and(|used| (5_000..=20_000).contains(&used)), "{told:?}");
        thread.return_all().await;
        assert_eq!(quota.counted().await, (20_000, 0));
        let [told] = &thread.take_standings()[..] else { panic!("one is told") };
        assert_eq!((told.counted.used, told.counted.held), (20_000, 0));
    })
    .await;
}

#[tokio::test]
async fn exactly_the_limit_passes_over_threads_and_nodes_that_take_ahead() {
    const LIMIT: u64 = 5_000;
    local(async {
        let nodes = [Node::default(), Node::default(), Node::default()];
        let threads: Vec<_> = nodes.iter().flat_map(|node| [thread(node), thread(node)]).collect();
        let mut quota = Quota::of(LIMIT).await;
        let key = &quota;
        let callers = threads.iter().map(async |thread| {
            let mut admitted = 0;
            loop {
                let spent = thread.spend(&key.key, &key.claim).await.expect("Redis");
                admitted += u64::from(spent.allowed);
                if !spent.allowed {
                    // What was not used goes back by itself, here by and by.
                    thread.tick();
                    if spent.held == 0 {
                        return admitted;
                    }
                }
                tokio::task::yield_now().await;
            }
        });
        let admitted: u64 = join_all(callers).await.into_iter().sum();
        for thread in &threads {
            thread.return_all().await;
        }
        let (used, held) = quota.counted().await;
        assert_eq!((used, held), (admitted, 0), "what Redis counts was made");
        // A thread that saw nothing held may have left before another brought some back.
        let last = &threads[0];
        let mut rest = 0;
        while last.spend(&quota.key, &quota.claim).await.expect("Redis").allowed {
            rest += 1;
        }
        assert_eq!(admitted + rest, LIMIT);
    })
    .await;
}

#[tokio::test]
async fn what_one_thread_does_not_use_another_has_after_a_while() {
    local(async {
        let node = Node::default();
        let [idle, other] = [thread(&node), thread(&node)];
        let mut quota = Quota::of(2_000).await;
        quota.calls(&idle, 1_000).await;
        let (used, held) = quota.counted().await;
        assert!(held > 0, "{held} of {used}");
        let back = async {
            while quota.counted().await != (1_000, 0) {
                idle.tick();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, back).await.expect("in time");
        quota.calls(&other, 900).await;
        other.return_all().await;
        quota.calls(&idle, 100).await;
        assert_eq!(quota.counted().await.0, 2_000);
        assert!(!other.spend(&quota.key, &quota.claim).await.expect("Redis").allowed);
    })
    .await;
}

#[tokio::test]
async fn a_flood_beyond_the_limit_is_refused_from_memory() {
    local(async {
        let (node, quota) = (Node::default(), Quota::of(3).await);
        let thread = thread(&node);
        quota.calls(&thread, 3).await;
        let (asked, began) = (node.redis_calls("quota"), std::time::Instant::now());
        for _ in 0..10_000 {
            assert!(!thread.spend(&quota.key, &quota.claim).await.expect("Redis").allowed);
        }
        let tenths = began.elapsed().as_millis() / 100 + 2;
        let asked = u128::from(node.redis_calls("quota") - asked);
        assert!(asked <= tenths, "{asked} questions in {tenths} tenths of a second");
    })
    .await;
}
