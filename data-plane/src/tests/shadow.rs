//! Throttles in shadow against a real Redis: `REDIS_URL`, or the one on port 6399.

use std::time::Duration;

use proto::config::v1::{QuotaPeriod, Resource, Stage, Throttle, UsagePlan};

use super::{
    access::Memory,
    limited::Limited,
    limits::{KEY, calendar, use_redis},
    world::{TestNode, mock, until},
};
use crate::{
    Config,
    config::{
        LimiterMode::{Exact, Leased, Local},
        LimiterOutage,
    },
};

/// No token comes back within a test.
const RATE: f64 = 0.001;

fn shadow(burst_limit: u32) -> Throttle {
    Throttle { shadow: true, ..enforced(burst_limit) }
}

fn enforced(burst_limit: u32) -> Throttle {
    Throttle { rate_limit: RATE, burst_limit, ..Throttle::default() }
}

/// What is limited, and what the log says of it.
struct Logged {
    limited: Limited,
    log: Memory,
}

impl Logged {
    fn new() -> Self {
        Self { limited: Limited::new(), log: Memory::default() }
    }

    /// Two routes, of which `/k` needs a key.
    fn resources(&self, change: impl FnOnce(&mut Stage, &mut UsagePlan)) -> Vec<Resource> {
        let routes = vec![("GET /k", mock(200, "k"), true), ("GET /b", mock(200, "b"), false)];
        self.limited.with(routes, |stage, plan| {
            stage.rate_limit_headers = true;
            change(stage, plan);
        })
    }

    fn node(&self, resources: Vec<Resource>, change: impl FnOnce(&mut Config)) -> TestNode {
        TestNode::start_with(resources, |config| {
            use_redis(config);
            self.log.config(config);
            change(config);
        })
    }

    /// Status, policies told to the caller, and what the log says of the throttles in shadow.
    async fn call(&self, node: &TestNode, path: &str) -> (u16, Option<String>, String) {
        let before = self.log.len();
        let answer = node.call(&format!("GET /{}{path}", self.limited.stage), &[KEY]).await;
        until(|| self.log.len() > before).await;
        let policy = answer.field("ratelimit-policy").map(str::to_owned);
        assert_eq!(answer.status() == 429, answer.field("retry-after").is_some(), "{answer:?}");
        let line = self.log.last();
        assert_eq!(line["status"], answer.status());
        (answer.status(), policy, line["shadow_throttled_by"].as_str().unwrap_or("-").to_owned())
    }

    async fn calls(&self, node: &TestNode, path: &str, count: usize) -> Vec<(u16, String)> {
        let mut seen = Vec::new();
        for _ in 0..count {
            let (status, _, over) = self.call(node, path).await;
            seen.push((status, over));
        }
        seen
    }
}

/// A status, and which throttles in shadow the call was beyond; `-`: none.
fn told(status: u16, beyond: &str) -> (u16, String) {
    (status, beyond.to_owned())
}

#[tokio::test]
async fn a_throttle_in_shadow_lets_all_calls_pass_counts_those_beyond_it_and_tells_no_caller() {
    for mode in [Leased, Exact, Local] {
        let limited = Logged::new();
        let resources = limited.resources(|stage, _| stage.throttle = Some(shadow(2)));
        let node = limited.node(resources, |config| {
            config.limiter_mode = mode;
            // By its share, which is the whole where no other node is known.
            config.redis_url = config.redis_url.take().filter(|_| mode != Local);
        });
        for call in 0..5 {
            let beyond = (if call < 2 { "-" } else { "stage" }).to_owned();
            assert_eq!(limited.call(&node, "/b").await, (200, None, beyond), "{mode:?}");
        }
        let decided = |outcome| node.shared.metrics.limits.decisions(outcome);
        let outcomes = || ["admitted", "refused", "shadowed"].map(decided);
        until(|| outcomes().iter().sum::<u64>() == 5).await; // each thread tells each second
        assert_eq!(outcomes(), [2, 0, 3], "{mode:?}");
    }
}

#[tokio::test]
async fn each_throttle_in_shadow_that_a_call_is_beyond_is_named() {
    let limited = Logged::new();
    let resources = limited.resources(|stage, plan| {
        plan.api_stages[0].route_throttles = [("/k/GET".to_owned(), shadow(1))].into();
        plan.throttle = Some(shadow(2));
        stage.route_throttles = [("GET /k".to_owned(), shadow(1))].into();
        stage.throttle = Some(shadow(3));
    });
    let node = limited.node(resources, |_| {});
    let seen = limited.calls(&node, "/k", 4).await;
    let names = ["-", "key-route,route", "key-route,key,route", "key-route,key,route,stage"];
    assert_eq!(seen, names.map(|names| told(200, names)));
}

#[tokio::test]
async fn a_call_that_an_enforced_throttle_refuses_takes_nothing_from_one_in_shadow() {
    for mode in [Leased, Exact] {
        let limited = Logged::new();
        let resources = limited.resources(|stage, _| {
            stage.route_throttles = [("GET /k".to_owned(), enforced(1))].into();
            stage.throttle = Some(shadow(2));
        });
        let node = limited.node(resources, |config| config.limiter_mode = mode);
        let (status, policy, beyond) = limited.call(&node, "/k").await;
        assert_eq!((status, beyond), told(200, "-"));
        let policy = policy.expect("one that the caller is limited by");
        assert!(policy.starts_with("\"route\";q=1;") && !policy.contains("stage"), "{policy}");
        assert_eq!(limited.calls(&node, "/k", 4).await, vec![told(429, "-"); 4], "{mode:?}");
        let seen = limited.calls(&node, "/b", 2).await;
        assert_eq!(seen, [told(200, "-"), told(200, "stage")], "{mode:?}: one token was left");
    }
}

#[tokio::test]
async fn a_throttle_in_shadow_that_is_empty_takes_nothing_from_what_enforced_ones_allow() {
    for mode in [Leased, Exact] {
        let limited = Logged::new();
        let resources = limited.resources(|stage, plan| {
            plan.throttle = Some(shadow(1));
            stage.throttle = Some(enforced(4));
        });
        let node = limited.node(resources, |config| config.limiter_mode = mode);
        let mut expected = vec![told(200, "-")];
        expected.extend(vec![told(200, "key"); 3]);
        expected.extend(vec![told(429, "-"); 2]);
        assert_eq!(limited.calls(&node, "/k", 6).await, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn a_call_that_the_quota_refuses_gives_back_what_it_took_from_a_throttle_in_shadow() {
    let limited = Logged::new();
    let resources = limited.resources(|_, plan| {
        plan.throttle = Some(shadow(2));
        plan.quota = Some(calendar(1, QuotaPeriod::Day));
    });
    let node = limited.node(resources, |_| {});
    let mut expected = vec![told(200, "-")];
    expected.extend(vec![told(429, "-"); 4]);
    assert_eq!(limited.calls(&node, "/k", 5).await, expected);
}

#[tokio::test]
async fn a_throttle_in_shadow_that_cannot_be_asked_refuses_nobody() {
    let limited = Logged::new();
    let resources = limited.resources(|stage, plan| {
        stage.throttle = Some(shadow(1));
        plan.throttle = Some(shadow(0));
    });
    let node = limited.node(resources, |config| {
        config.redis_url = Some("redis://127.0.0.1:1/".to_owned());
        config.limits.redis_timeout = Duration::from_millis(50);
        config.limiter_outage = LimiterOutage::FailClosed;
    });
    assert_eq!(limited.calls(&node, "/b", 3).await, vec![told(200, "-"); 3]);
    // One that holds nothing need not be asked.
    assert_eq!(limited.calls(&node, "/k", 2).await, vec![told(200, "key"); 2]);
}

#[tokio::test]
async fn a_throttle_that_leaves_shadow_goes_on_with_what_its_bucket_holds() {
    let limited = Logged::new();
    let of_stage = |throttle| limited.resources(|stage, _| stage.throttle = Some(throttle));
    let mut node = limited.node(of_stage(shadow(2)), |_| {});
    let seen = limited.calls(&node, "/b", 3).await;
    assert_eq!(seen, [told(200, "-"), told(200, "-"), told(200, "stage")]);
    node.publish(of_stage(enforced(2)));
    assert_eq!(limited.calls(&node, "/b", 2).await, vec![told(429, "-"); 2]);
    node.publish(of_stage(shadow(2)));
    assert_eq!(limited.calls(&node, "/b", 1).await, [told(200, "stage")]);
}
