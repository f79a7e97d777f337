//! Throttles and quotas against a real Redis: `REDIS_URL`, or the one on port 6399.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use plan::Unit;
use proto::config::v1::{
    ApiKey, ApiStage, Dialect::Native, Quota, QuotaPeriod, Resource, Throttle, UsagePlan,
};
use redis::AsyncCommands;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::LocalSet,
};

use super::world::{API, PATIENCE, TestNode, api_with, key, mock, raw_origin};
use crate::{
    Config,
    config::{LimiterMode, LimiterOutage},
    policies::{
        desk::Leases,
        gates::NodeGates,
        limit_metrics::LimitMetrics,
        limiter::{self, Back, Limiter},
        outage::Local,
        quota::Claim,
        throttle::Throttle as Taken,
    },
    reconciliation::QuotaUses,
    snapshot::served::Bucket,
};

pub(crate) fn redis_url() -> String {
    std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6399/5".to_owned())
}

/// Asks Redis for each call.
pub(super) fn limiter() -> Limiter {
    Node::default().thread(limiter::Settings {
        url: Some(&redis_url()),
        authority: None,
        budget: PATIENCE,
        mode: LimiterMode::Exact,
        outage: LimiterOutage::LocalFallback,
    })
}

/// The same by way of a gate, and by its share where that is shut for long.
pub(super) fn limiter_at(gate: SocketAddr, node: &Node) -> Limiter {
    node.thread(limiter::Settings {
        url: Some(&format!("redis://{gate}/")),
        authority: None,
        budget: Duration::from_millis(500),
        mode: LimiterMode::Exact,
        outage: LimiterOutage::LocalFallback,
    })
}

/// What the data threads of a node have in common.
pub(super) struct Node {
    shares: Arc<Local>,
    leases: Arc<Leases>,
    gates: Arc<NodeGates>,
    pub(super) uses: Arc<QuotaUses>,
    pub(super) metrics: LimitMetrics,
}

impl Default for Node {
    fn default() -> Self {
        let metrics = LimitMetrics::new(&prometheus::Registry::new()).expect("names");
        let (shares, leases, gates) = (Arc::default(), Arc::default(), Arc::default());
        Self { shares, leases, gates, uses: Arc::default(), metrics }
    }
}

impl Node {
    pub(super) fn thread(&self, settings: limiter::Settings<'_>) -> Limiter {
        let (shares, leases) = (self.shares.clone(), self.leases.clone());
        let (gates, uses) = (self.gates.clone(), self.uses.clone());
        Limiter::new(settings, shares, leases, gates, uses, self.metrics.clone()).expect("a URL")
    }

    pub(super) fn redis_calls(&self, purpose: &str) -> u64 {
        self.metrics.redis_calls(purpose)
    }
}

fn throttle(rate: f64, burst: u32) -> Taken {
    Taken::alone("key", format!("test:{{{}}}", uuid::Uuid::now_v7()), Bucket { rate, burst })
}

pub(super) async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

#[tokio::test]
async fn a_bucket_lets_its_burst_through_and_then_its_rate() {
    local(async {
        let limiter = limiter();
        let bucket = throttle(20.0, 5);
        let started = std::time::Instant::now();
        let mut admitted = 0;
        while admitted < 12 {
            let taken = limiter.take(&bucket).await.expect("Redis");
            if taken.allowed {
                admitted += 1;
                let bound = 20.0 * started.elapsed().as_secs_f64() + 5.0;
                assert!(f64::from(admitted) <= bound, "{admitted} > {bound}");
            } else {
                assert!(admitted >= 5, "the burst is there at once");
                let wait = taken.next_ms.expect("a rate");
                assert!((1..=50).contains(&wait), "{wait}");
            }
        }
        assert!(started.elapsed() < Duration::from_secs(5), "the rate is given");
    })
    .await;
}

#[tokio::test]
async fn a_bucket_is_never_exceeded_by_callers_at_once() {
    local(async {
        let bucket = throttle(0.001, 10);
        let limiters = [limiter(), limiter(), limiter()];
        let calls = (0..64).map(|call| limiters[call % 3].take(&bucket));
        let answers = join_all(calls).await;
        assert_eq!(
            answers.iter().filter(|taken| taken.as_ref().expect("Redis").allowed).count(),
            10
        );
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_given_back_can_be_taken_again_but_never_beyond_the_burst() {
    local(async {
        let limiter = limiter();
        let key = format!("test:{{given-back:{}}}", std::process::id());
        let bucket = || Taken::alone("key", key.clone(), Bucket { rate: 0.0001, burst: 1 });
        let url = redis_url();
        let mut redis =
            redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let _: () = redis.del(&key).await.unwrap();
        assert!(limiter.take(&bucket()).await.unwrap().allowed);
        assert!(!limiter.take(&bucket()).await.unwrap().allowed);
        limiter.give_back((0..3).map(|_| (bucket(), Back::Redis)).collect());
        let given_back = async {
            while !limiter.take(&bucket()).await.unwrap().allowed {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, given_back).await.expect("a token is back");
        let tokens: f64 = redis.hget(&key, "tokens").await.unwrap();
        assert!(tokens < 1.1, "{tokens}");
    })
    .await;
}

pub(super) fn calendar(limit: u64, period: QuotaPeriod) -> Quota {
    Quota { limit, period: period.into(), terms: None }
}

pub(super) fn plan(change: impl FnOnce(&mut UsagePlan)) -> UsagePlan {
    let id = uuid::Uuid::new_v4().simple().to_string()[..10].to_owned();
    let mut plan = UsagePlan { id, ..UsagePlan::default() };
    change(&mut plan);
    plan
}

pub(super) fn resources(plan: UsagePlan, change: impl FnOnce(&mut ApiKey)) -> Vec<Resource> {
    let routes = vec![("GET /k", mock(200, "in"), true), ("GET /free", mock(200, "free"), false)];
    let mut resources = api_with(Native, routes, |_| {});
    resources.extend(key("tg_live_1", plan, change));
    resources
}

/// A machine that tests at full load may answer late; that is not what these tests are about.
pub(super) fn use_redis(config: &mut Config) {
    config.redis_url = Some(redis_url());
    config.limits.redis_timeout = PATIENCE;
}

pub(super) const KEY: &str = "x-api-key: tg_live_1";

#[tokio::test]
async fn a_key_over_its_burst_is_throttled_and_told_when_to_come_back() {
    let plan = plan(|plan| {
        plan.throttle = Some(Throttle { rate_limit: 0.01, burst_limit: 2, ..Throttle::default() });
    });
    let node = TestNode::start_with(resources(plan, |_| {}), |config| {
        use_redis(config);
    });
    let first = node.call("GET /prod/k", &[KEY]).await;
    assert_eq!((first.status(), first.field("ratelimit-policy")), (200, Some("\"key\";q=2;w=200")));
    assert!(first.field("ratelimit").unwrap().starts_with("\"key\";r=1;t="), "{first:?}");
    assert_eq!(node.call("GET /prod/k", &[KEY]).await.status(), 200);
    let refused = node.call("GET /prod/k", &[KEY]).await;
    assert_eq!((refused.status(), refused.json()["code"].as_str()), (429, Some("THROTTLED")));
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((90..=100).contains(&wait), "{wait}");
    let counted = node.counted(3).await;
    assert_eq!(counted.iter().filter(|(_, record)| record.billed).count(), 2);
}

#[tokio::test]
async fn a_quota_is_taken_last_so_a_throttled_call_spends_none_of_it() {
    let plan = plan(|plan| {
        plan.throttle = Some(Throttle { rate_limit: 0.01, burst_limit: 3, ..Throttle::default() });
        plan.quota = Some(calendar(2, QuotaPeriod::Day));
    });
    let node = TestNode::start_with(resources(plan, |_| {}), |config| {
        use_redis(config);
    });
    for _ in 0..2 {
        assert_eq!(node.call("GET /prod/k", &[KEY]).await.status(), 200);
    }
    // The quota refuses and the throttle's token goes back, so it is the quota that refuses ever after.
    for _ in 0..4 {
        let refused = node.call("GET /prod/k", &[KEY]).await;
        assert_eq!(
            (refused.status(), refused.json()["code"].as_str()),
            (429, Some("QUOTA_EXCEEDED"))
        );
        let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=86400).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn a_routes_throttle_is_the_narrowest_and_a_refusal_gives_the_others_back() {
    let route_throttles = [(
        "/k/GET".to_owned(),
        Throttle { rate_limit: 0.01, burst_limit: 1, ..Throttle::default() },
    )]
    .into();
    let plan = plan(|plan| {
        plan.throttle = Some(Throttle { rate_limit: 0.01, burst_limit: 2, ..Throttle::default() });
        plan.api_stages.push(ApiStage {
            api_id: API.into(),
            stage: "prod".into(),
            route_throttles,
        });
    });
    let plan_id = plan.id.clone();
    let node = TestNode::start_with(resources(plan, |_| {}), |config| {
        use_redis(config);
    });
    assert_eq!(node.call("GET /prod/k", &[KEY]).await.status(), 200);
    assert_eq!(node.call("GET /prod/k", &[KEY]).await.status(), 429);
    let client = redis::Client::open(redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let bucket = proto::redis_keys::key_throttle(&plan_id, "keyaaaaaa1");
    let given_back = async {
        // After the refusal, which does not wait for it.
        while redis.hget::<_, _, f64>(&bucket, "tokens").await.unwrap() < 1.0 {}
    };
    tokio::time::timeout(PATIENCE, given_back).await.expect("given back in time");
}

#[tokio::test]
async fn every_level_that_is_set_counts_and_the_first_to_be_empty_refuses() {
    let levels = ["route", "stage", "tenant"];
    for narrowest in levels {
        // Buckets are the tenant's and the stage's: each test's own.
        let (id, name) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4().simple().to_string());
        let throttle = |level| {
            let burst_limit = if level == narrowest { 2 } else { 5 };
            Throttle { rate_limit: 0.01, burst_limit, ..Throttle::default() }
        };
        let routes =
            vec![("GET /free", mock(200, "free"), false), ("GET /b", mock(200, "b"), false)];
        let resources = api_with(Native, routes, |(tenant, deployment, stage)| {
            tenant.id = id.to_string();
            deployment.api.as_mut().expect("an Api").tenant_id = tenant.id.clone();
            stage.tenant_id = tenant.id.clone();
            stage.name = name.clone();
            tenant.throttle = Some(throttle("tenant"));
            stage.throttle = Some(throttle("stage"));
            stage.route_throttles = [("GET /free".to_owned(), throttle("route"))].into();
        });
        let node = TestNode::start_with(resources, use_redis);
        let (free, b) = (format!("GET /{name}/free"), format!("GET /{name}/b"));
        let first = node.call(&free, &[]).await;
        let named: Vec<_> = first.field("ratelimit-policy").unwrap().split(", ").collect();
        let told: Vec<_> = levels.iter().map(|level| format!("\"{level}\";q=")).collect();
        assert!(named.iter().zip(&told).all(|(name, told)| name.starts_with(told)), "{named:?}");
        assert_eq!((named.len(), first.status()), (3, 200));
        assert_eq!(node.call(&free, &[]).await.status(), 200);
        let refused = node.call(&free, &[]).await;
        assert_eq!((refused.status(), refused.json()["code"].as_str()), (429, Some("THROTTLED")));
        let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((90..=100).contains(&wait), "{wait}");
        // Another route has what the narrowest of the others left: what was refused took nothing from them.
        let mut others = 0;
        while node.call(&b, &[]).await.status() == 200 {
            others += 1;
        }
        assert_eq!(others, if narrowest == "route" { 3 } else { 0 }, "{narrowest}");
    }
}

/// A Redis that is not there, one that never answers, and none at all.
pub(super) async fn no_redis() -> ([Option<String>; 3], TcpListener) {
    let (silent, listener) = raw_origin().await;
    let urls = [None, Some("redis://127.0.0.1:1/".to_owned()), Some(format!("redis://{silent}/"))];
    (urls, listener)
}

#[tokio::test]
async fn without_redis_each_node_goes_on_with_its_share() {
    let (urls, _listener) = no_redis().await;
    for url in urls {
        let plan = plan(|plan| {
            plan.throttle =
                Some(Throttle { rate_limit: 0.01, burst_limit: 3, ..Throttle::default() });
            plan.quota = Some(calendar(100, QuotaPeriod::Month));
        });
        let node = TestNode::start_with(resources(plan, |_| {}), |config| config.redis_url = url);
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(node.call("GET /prod/k", &[KEY]).await.status());
        }
        assert_eq!(statuses, [200, 200, 200, 429, 429]);
        let refused = node.call("GET /prod/k", &[KEY]).await;
        assert_eq!(refused.json()["code"].as_str(), Some("THROTTLED"));
        assert!(refused.field("retry-after").is_some());
    }
}

#[tokio::test]
async fn without_redis_every_call_passes_where_that_is_set() {
    let (urls, _listener) = no_redis().await;
    for url in urls {
        let plan = plan(|plan| {
            plan.throttle =
                Some(Throttle { rate_limit: 0.01, burst_limit: 1, ..Throttle::default() });
            plan.quota = Some(calendar(1, QuotaPeriod::Week));
        });
        let node = TestNode::start_with(resources(plan, |_| {}), |config| {
            config.redis_url = url;
            config.limiter_outage = LimiterOutage::FailOpen;
        });
        for _ in 0..5 {
            assert_eq!(node.call("GET /prod/k", &[KEY]).await.status(), 200);
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_away_keeps_only_the_first_calls_waiting() {
    let (silent, _listener) = raw_origin().await;
    let budget = Duration::from_millis(300);
    let plan = plan(|plan| {
        plan.throttle =
            Some(Throttle { rate_limit: 1e6, burst_limit: 1_000_000, ..Throttle::default() });
    });
    let node = TestNode::start_with(resources(plan, |_| {}), |config| {
        config.redis_url = Some(format!("redis://{silent}/"));
        config.limits.redis_timeout = budget;
    });
    let began = std::time::Instant::now();
    for _ in 0..40 {
        assert_eq!(node.call("GET /prod/k", &[KEY]).await.status(), 200);
    }
    assert!(began.elapsed() < 10 * budget, "three waits, not forty: {:?}", began.elapsed());
    assert_eq!(node.shared.metrics.limits.redis_errors.get(), 3);
}

/// The real Redis behind a gate: while it is shut, what callers say waits.
pub(super) async fn gated_redis() -> (SocketAddr, watch::Sender<bool>) {
    let (gate, open) = watch::channel(true);
    let (address, listener) = raw_origin().await;
    let redis = redis::Client::open(redis_url()).unwrap().get_connection_info().addr().clone();
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            let (redis, open) = (redis.clone(), open.clone());
            tokio::spawn(async move {
                match redis {
                    redis::ConnectionAddr::Unix(path) => {
                        pass(caller, UnixStream::connect(path).await.unwrap(), open).await;
                    }
                    redis::ConnectionAddr::Tcp(host, port) => {
                        pass(caller, TcpStream::connect((host, port)).await.unwrap(), open).await;
                    }
                    other => panic!("{other:?}"),
                }
            });
        }
    });
    (address, gate)
}

async fn pass(
    caller: TcpStream,
    redis: impl AsyncRead + AsyncWrite + Send + 'static,
    mut open: watch::Receiver<bool>,
) {
    let (mut from_redis, mut to_redis) = split(redis);
    let (mut from_caller, mut to_caller) = caller.into_split();
    tokio::spawn(async move { copy(&mut from_redis, &mut to_caller).await });
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = from_caller.read(&mut buffer).await {
        if open.wait_for(|open| *open).await.is_err()
            || to_redis.write_all(&buffer[..bytes]).await.is_err()
        {
            return;
        }
    }
}

#[tokio::test]
async fn an_answer_that_comes_late_has_taken_nothing_and_limits_are_exact_again() {
    let plan = plan(|plan| {
        plan.throttle =
            Some(Throttle { rate_limit: 0.0001, burst_limit: 5, ..Throttle::default() });
        plan.quota = Some(calendar(4, QuotaPeriod::Day));
    });
    let keys = ["keyaaaaaa1"].map(|key| {
        (proto::redis_keys::key_throttle(&plan.id, key), proto::redis_keys::quota(&plan.id, key))
    });
    let [(bucket, quota)] = keys;
    let (address, gate) = gated_redis().await;
    let node = TestNode::start_with(resources(plan, |_| {}), |config| {
        config.redis_url = Some(format!("redis://{address}/"));
        config.limits.redis_timeout = Duration::from_millis(500);
        config.limiter_mode = LimiterMode::Exact;
        config.limiter_outage = LimiterOutage::FailClosed;
    });
    let call = async || node.call("GET /prod/k", &[KEY]).await.status();
    while call().await != 200 {} // connected
    gate.send_replace(false);
    for _ in 0..6 {
        assert_eq!(call().await, 503);
    }
    gate.send_replace(true);

    // Back by itself, with one call of the quota used and what the refused calls took given back.
    let back = async {
        let mut passed = 0;
        loop {
            match call().await {
                200 => passed += 1,
                429 => return passed,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, back).await.expect("Redis is back"), 3);
    let client = redis::Client::open(format!("redis://{address}/")).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let used: u64 = redis.hget(&quota, "used").await.unwrap();
    assert_eq!(used, 4);
    let tokens: f64 = redis.hget(&bucket, "tokens").await.unwrap();
    assert!((1.0..2.1).contains(&tokens), "{tokens}");
}

#[tokio::test]
async fn what_was_let_through_without_redis_is_told_to_it_when_it_is_back() {
    let plan = plan(|plan| plan.quota = Some(calendar(10, QuotaPeriod::Week)));
    let quota = proto::redis_keys::quota(&plan.id, "keyaaaaaa1");
    let (address, gate) = gated_redis().await;
    gate.send_replace(false);
    let node = TestNode::start_with(resources(plan, |_| {}), |config| {
        config.redis_url = Some(format!("redis://{address}/"));
        config.limits.redis_timeout = Duration::from_millis(200);
    });
    for _ in 0..6 {
        assert_eq!(node.call("GET /prod/k", &[KEY]).await.status(), 200);
    }
    gate.send_replace(true);

    let client = redis::Client::open(format!("redis://{address}/")).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let told = async {
        while redis.hget::<_, _, Option<u64>>(&quota, "used").await.unwrap() != Some(6) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), told).await.expect("exact again within 5 s");
}

#[tokio::test]
async fn what_was_let_through_without_redis_is_told_to_it_as_the_node_ends() {
    local(async {
        let [bucket_key, quota_key] =
            ["b", "q"].map(|kind| format!("test:{{{kind}:{}}}", uuid::Uuid::now_v7()));
        let bucket = Bucket { rate: 0.0001, burst: 1 };
        let claim = Claim::calendar(1, Unit::Month);
        let throttle = || Taken::alone("key", bucket_key.clone(), bucket);
        // Nothing is left of either, which the node does not know.
        let other = limiter();
        assert!(other.take(&throttle()).await.unwrap().allowed);
        assert!(other.spend(&quota_key, &claim).await.unwrap().allowed);

        let (address, gate) = gated_redis().await;
        let limiter = limiter_at(address, &Node::default());
        gate.send_replace(false);
        assert!(limiter.take(&throttle()).await.unwrap().allowed);
        assert!(limiter.spend(&quota_key, &claim).await.unwrap().allowed);
        gate.send_replace(true);
        limiter.return_all().await;

        let client = redis::Client::open(redis_url()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let told = async {
            loop {
                let used: u64 = redis.hget(&quota_key, "used").await.unwrap();
                let tokens: f64 = redis.hget(&bucket_key, "tokens").await.unwrap();
                if used == 2 && tokens < -0.9 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("Redis knows of both calls");
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_is_full_again_by_its_share_is_told_of_nothing() {
    local(async {
        let ((address, gate), node) = (gated_redis().await, Node::default());
        let limiter = limiter_at(address, &node);
        let bucket = throttle(1e9, 10);
        gate.send_replace(false);
        let shut = std::time::Instant::now();
        // Three of them wait; then no call does, for longer than a lease.
        while shut.elapsed() < Duration::from_micros(4 * lease::TTL_US) {
            limiter.take(&bucket).await.expect("a share");
            tokio::task::yield_now().await;
        }
        let told = node.metrics.redis_calls("report");
        gate.send_replace(true);
        let back = async {
            while !matches!(limiter.take(&bucket).await.expect("a share").back, Back::Redis) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, back).await.expect("Redis is back");
        assert_eq!(node.metrics.redis_calls("report"), told);
    })
    .await;
}

#[tokio::test]
async fn without_redis_calls_with_limits_are_refused_where_that_is_set_and_others_pass() {
    let (urls, _listener) = no_redis().await;
    for url in urls {
        let plan = plan(|plan| plan.quota = Some(calendar(2, QuotaPeriod::Month)));
        let node = TestNode::start_with(resources(plan, |_| {}), |config| {
            config.redis_url = url;
            config.limiter_outage = LimiterOutage::FailClosed;
        });
        let refused = node.call("GET /prod/k", &[KEY]).await;
        assert_eq!(
            (refused.status(), refused.json()["code"].as_str()),
            (503, Some("LIMITS_UNAVAILABLE"))
        );
        assert_eq!(refused.field("retry-after"), Some("1"));
        assert_eq!(node.get("/prod/free").await.status(), 200);
    }
}
