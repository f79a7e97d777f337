//! Throttles of clients against a real Redis: `REDIS_URL`, or the one on port 6399.

use std::time::{Duration, Instant};

use proto::config::v1::{
    ClientKey::{self, Header, Ip, Unspecified},
    ClientThrottle, Resource, Stage, Throttle,
};
use proto::{digest, redis_keys};
use redis::AsyncCommands;

use super::{
    access::Memory,
    limits::{Node, local, redis_url, use_redis},
    world::{API, PATIENCE, PEPPER, TestNode, api_with, mock, until},
};
use crate::{
    Config,
    config::{
        LimiterMode::{Exact, Leased, Local},
        LimiterOutage,
    },
    policies::{limiter::Settings, throttle::Throttle as Taken},
    snapshot::served::Bucket,
};

/// No token comes back within a test.
const RATE: f64 = 0.01;

fn throttle(name: &str, key: ClientKey, burst_limit: u32) -> ClientThrottle {
    ClientThrottle {
        name: name.to_owned(),
        key: key.into(),
        throttle: Some(Throttle { rate_limit: RATE, burst_limit, ..Throttle::default() }),
        ..ClientThrottle::default()
    }
}

fn by_header(name: &str, header_name: &str, burst_limit: u32) -> ClientThrottle {
    ClientThrottle { header_name: header_name.to_owned(), ..throttle(name, Header, burst_limit) }
}

fn shadow(throttle: ClientThrottle) -> ClientThrottle {
    let in_shadow = Throttle { shadow: true, ..throttle.throttle.expect("one") };
    ClientThrottle { throttle: Some(in_shadow), ..throttle }
}

/// A stage whose buckets no other test has, with the routes `/a` and `/b`.
struct Limited {
    stage: String,
    log: Memory,
}

impl Limited {
    fn new() -> Self {
        Self { stage: format!("s{}", uuid::Uuid::new_v4().simple()), log: Memory::default() }
    }

    fn resources(&self, change: impl FnOnce(&mut Stage)) -> Vec<Resource> {
        let routes = vec![("GET /a", mock(200, "a"), false), ("GET /b", mock(200, "b"), false)];
        api_with(proto::config::v1::Dialect::Native, routes, |(_, _, stage)| {
            stage.name.clone_from(&self.stage);
            stage.rate_limit_headers = true;
            stage.restrictions = vec!["clientThrottles".to_owned()];
            change(stage);
        })
    }

    fn node_with(
        &self,
        throttles: Vec<ClientThrottle>,
        change: impl FnOnce(&mut Config),
    ) -> TestNode {
        let resources = self.resources(|stage| stage.client_throttles = throttles);
        TestNode::start_with(resources, |config| {
            use_redis(config);
            config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            self.log.config(config);
            change(config);
        })
    }

    fn node(&self, throttles: Vec<ClientThrottle>) -> TestNode {
        self.node_with(throttles, |_| {})
    }

    async fn call(&self, node: &TestNode, path: &str, fields: &[&str]) -> u16 {
        node.call(&format!("GET /{}{path}", self.stage), fields).await.status()
    }

    async fn from(&self, node: &TestNode, address: &str) -> u16 {
        self.call(node, "/a", &[&format!("x-forwarded-for: {address}")]).await
    }

    /// What the log says of the last of so many calls.
    async fn beyond(&self, calls: usize) -> String {
        until(|| self.log.len() >= calls).await;
        self.log.last()["shadow_throttled_by"].as_str().unwrap_or("-").to_owned()
    }
}

#[tokio::test]
async fn each_address_has_a_bucket_of_its_own_in_every_mode() {
    for mode in [Leased, Exact, Local] {
        let limited = Limited::new();
        let throttles = vec![throttle("per-ip", Ip, 2)];
        let node = limited.node_with(throttles, |config| {
            config.limiter_mode = mode;
            // By its share, which is the whole where no other node is known.
            config.redis_url = config.redis_url.take().filter(|_| mode != Local);
        });
        for (address, status) in [
            ("192.0.2.1", 200),
            ("192.0.2.1", 200),
            ("192.0.2.1", 429),
            ("192.0.2.2", 200),
            ("::ffff:192.0.2.1", 429),
            ("2001:db8:0:1::1", 200),
            ("2001:db8:0:1:ffff::9", 200),
            ("2001:db8:0:1::2", 429),
            ("2001:db8:0:2::1", 200),
            // What a stranger says of itself is not believed.
            ("198.51.100.7, 192.0.2.1", 429),
        ] {
            assert_eq!(limited.from(&node, address).await, status, "{mode:?}: {address}");
        }
    }
}

#[tokio::test]
async fn a_call_without_the_field_is_not_counted_and_several_fields_are_one_value() {
    let limited = Limited::new();
    let node = limited.node(vec![by_header("per-user", "x-user", 1)]);
    for (fields, status) in [
        (&["x-user: a"][..], 200),
        (&["X-User: a"], 429),
        (&["x-user: b"], 200),
        (&[], 200),
        (&[], 200),
        (&["x-user: a", "x-user: b"], 200),
        (&["x-user: a, b"], 429),
        (&["x-user: b", "x-user: a"], 200),
        (&["x-other: a"], 200),
        (&["x-user:"], 200),
        (&["x-user:"], 429),
    ] {
        assert_eq!(limited.call(&node, "/a", fields).await, status, "{fields:?}");
    }
}

#[tokio::test]
async fn a_caller_is_told_of_each_by_its_name_and_when_to_come_back() {
    let limited = Limited::new();
    let of_route =
        ClientThrottle { route_key: "GET /b".to_owned(), ..by_header("per-user", "x-user", 1) };
    let node = limited.node(vec![throttle("per-ip", Ip, 3), of_route]);
    let user = ["x-user: a"];
    let ask = async |path: &str| node.call(&format!("GET /{}{path}", limited.stage), &user).await;
    let policy =
        |answer: &super::world::Answer| answer.field("ratelimit-policy").map(str::to_owned);

    let other_route = ask("/a").await;
    assert_eq!(policy(&other_route).as_deref(), Some("\"per-ip\";q=3;w=300"));
    let first = ask("/b").await;
    let both = "\"per-ip\";q=3;w=300, \"per-user\";q=1;w=100";
    assert_eq!((first.status(), policy(&first).as_deref()), (200, Some(both)));
    assert!(first.field("ratelimit").unwrap().contains("\"per-user\";r=0;"), "{first:?}");
    let refused = ask("/b").await;
    assert_eq!((refused.status(), refused.json()["code"].as_str()), (429, Some("THROTTLED")));
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((90..=100).contains(&wait), "{wait}");
    // What one refuses is given back to the others.
    assert_eq!(ask("/b").await.status(), 429);
    assert_eq!(ask("/a").await.status(), 200);
    assert_eq!(ask("/a").await.status(), 429);
    assert_eq!(ask("/none").await.status(), 404, "a path that is no route's is no call");
}

#[tokio::test]
async fn what_a_clients_throttle_refuses_takes_nothing_from_the_stages() {
    for mode in [Leased, Exact] {
        let limited = Limited::new();
        let of_stage = Throttle { rate_limit: RATE, burst_limit: 3, ..Throttle::default() };
        let resources = limited.resources(|stage| {
            stage.throttle = Some(of_stage);
            stage.client_throttles = vec![by_header("per-user", "x-user", 1)];
        });
        let node = TestNode::start_with(resources, |config| {
            use_redis(config);
            config.limiter_mode = mode;
        });
        let of = async |user: &str| limited.call(&node, "/a", &[&format!("x-user: {user}")]).await;
        assert_eq!(of("a").await, 200);
        for _ in 0..5 {
            assert_eq!(of("a").await, 429, "{mode:?}");
        }
        assert_eq!([of("b").await, of("c").await, of("d").await], [200, 200, 429], "{mode:?}");
    }
}

#[tokio::test]
async fn one_in_shadow_refuses_nobody_and_the_log_names_it() {
    let limited = Limited::new();
    let node = limited.node(vec![shadow(throttle("trial", Ip, 1))]);
    let first = node.call(&format!("GET /{}/a", limited.stage), &[]).await;
    assert_eq!((first.status(), first.field("ratelimit-policy")), (200, None));
    assert_eq!(limited.beyond(1).await, "-");
    assert_eq!(limited.call(&node, "/a", &[]).await, 200);
    assert_eq!(limited.beyond(2).await, "trial");
}

#[tokio::test]
async fn nodes_share_a_clients_bucket_which_redis_knows_by_a_digest_and_forgets() {
    let limited = Limited::new();
    let throttles = || vec![by_header("per-user", "x-user", 6)];
    let nodes = [limited.node(throttles()), limited.node(throttles())];
    let mut passed = 0;
    for call in 0..16 {
        let node = &nodes[call % 2];
        let status = limited.call(node, "/a", &["x-user: someone"]).await;
        passed += usize::from(status == 200);
    }
    // What one holds and does not use goes back after a while.
    let rest = async {
        while passed < 6 {
            for node in &nodes {
                let status = limited.call(node, "/a", &["x-user: someone"]).await;
                passed += usize::from(status == 200);
            }
        }
    };
    tokio::time::timeout(PATIENCE, rest).await.expect("all are given");
    assert_eq!(passed, 6);

    let client = digest::client(&PEPPER, "header:x-user", [&b"someone"[..]]);
    let bucket = redis_keys::client_throttle(API, &limited.stage, "per-user", &client);
    let redis = redis::Client::open(redis_url()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let kept_ms: i64 = redis.pttl(&bucket).await.unwrap();
    assert!((1..=601_000).contains(&kept_ms), "{kept_ms}");
}

#[tokio::test]
async fn while_redis_is_away_each_client_has_its_share_or_what_the_outage_policy_says() {
    for (outage, statuses) in [
        (LimiterOutage::LocalFallback, [200, 200, 429]),
        (LimiterOutage::FailOpen, [200, 200, 200]),
        (LimiterOutage::FailClosed, [503, 503, 503]),
    ] {
        let limited = Limited::new();
        let node = limited.node_with(vec![throttle("per-ip", Ip, 2)], |config| {
            config.redis_url = Some("redis://127.0.0.1:1/".to_owned());
            config.limits.redis_timeout = Duration::from_millis(50);
            config.limiter_outage = outage;
        });
        for address in ["192.0.2.1", "192.0.2.2"] {
            for status in statuses {
                assert_eq!(limited.from(&node, address).await, status, "{outage:?}: {address}");
            }
        }
    }
}

#[tokio::test]
async fn a_stage_with_one_of_a_kind_that_the_node_does_not_know_is_not_served_without_it() {
    let limited = Limited::new();
    let node = limited.node(vec![throttle("by-claim", Unspecified, 2)]);
    assert_eq!(limited.call(&node, "/a", &[]).await, 500);
    let node = limited.node(vec![shadow(throttle("by-claim", Unspecified, 2))]);
    assert_eq!(limited.call(&node, "/a", &[]).await, 200, "it would refuse nobody");
    let mut resources = limited.resources(|_| {});
    for resource in &mut resources {
        if let Some(proto::config::v1::resource::Kind::Stage(stage)) = &mut resource.kind {
            stage.restrictions.push("ofTomorrow".to_owned());
        }
    }
    let node = TestNode::start_with(resources, |_| {});
    assert_eq!(limited.call(&node, "/a", &[]).await, 500);
}

#[tokio::test]
async fn invented_clients_do_not_fill_the_node_or_redis_and_cost_no_others_their_limits() {
    const INVENTED: usize = 3000;
    const CALLS_ON: usize = 100;
    local(async {
        let (url, node) = (redis_url(), Node::default());
        let thread = node.thread(Settings {
            url: Some(&url),
            authority: None,
            budget: PATIENCE,
            mode: Leased,
            outage: LimiterOutage::FailClosed,
        });
        let stage = uuid::Uuid::now_v7().to_string();
        // Each lies in Redis for 1000 s, so few of them may be asked about.
        let bucket = Bucket { rate: 0.001, burst: 5 };
        let of = |tenant, client: &str| Taken::of_client(&thread, [tenant, &stage, client], bucket);
        let take = async |throttle| thread.take(&throttle).await.expect("an answer").allowed;

        let began = Instant::now();
        let mut regular = 0;
        for client in 0..INVENTED {
            assert!(take(of("flooded", &client.to_string())).await, "it has not called yet");
            if client % CALLS_ON == 0 {
                regular += usize::from(take(of("flooded", "regular")).await);
            }
        }
        let asked = u32::try_from(node.redis_calls("lease")).unwrap();
        let asked_max = 121.0 + began.elapsed().as_secs_f64() * 120.0;
        assert!(f64::from(asked) <= asked_max, "{asked} > {asked_max}");
        assert_eq!(regular, 5, "who called on was limited all the while");

        let before = node.redis_calls("lease");
        let mut others = 0;
        for _ in 0..20 {
            others += usize::from(take(of("other", "client")).await);
        }
        assert_eq!(others, 5);
        assert!(node.redis_calls("lease") > before, "Redis is asked about other tenants' clients");

        let redis = redis::Client::open(&*url).unwrap();
        let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
        let last = (INVENTED - 1).to_string();
        for client in ["0", &last] {
            let bucket = redis_keys::client_throttle("apiaaaaaaa", &stage, "throttle", client);
            let kept_ms: i64 = redis.pttl(&bucket).await.unwrap();
            assert!(kept_ms == -2 || (0..=1_002_000).contains(&kept_ms), "{client}: {kept_ms}");
        }
    })
    .await;
}
