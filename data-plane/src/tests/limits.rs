//! Throttles and quotas against a real Redis: `REDIS_URL`, or the one on port 6399.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
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
    config::LimiterOutage,
    policies::{limiter::Limiter, throttle::Throttle as Taken},
    snapshot::served::{Bucket, Period},
};

fn redis_url() -> String {
    std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6399/5".to_owned())
}

fn limiter() -> Limiter {
    let errors = prometheus::IntCounter::new("errors", "errors").expect("a name");
    let outage = LimiterOutage::FailClosed;
    Limiter::new(Some(&redis_url()), PATIENCE, outage, Arc::default(), errors).expect("a URL")
}

fn throttle(rate: f64, burst: u32) -> Taken {
    let redis_key = format!("test:{{{}}}", uuid::Uuid::now_v7());
    Taken { name: "key", redis_key, bucket: Bucket { rate, burst } }
}

async fn local<T>(test: impl Future<Output = T>) -> T {
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
        assert_eq!(answers.into_iter().filter(|taken| taken.expect("Redis").allowed).count(), 10);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_given_back_can_be_taken_again_but_never_beyond_the_burst() {
    local(async {
        let limiter = limiter();
        let bucket = || throttle_at("given-back");
        let url = redis_url();
        let mut redis =
            redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let _: () = redis.del(bucket().redis_key).await.unwrap();
        assert!(limiter.take(&bucket()).await.unwrap().allowed);
        assert!(!limiter.take(&bucket()).await.unwrap().allowed);
        limiter.give_back(vec![bucket(), bucket(), bucket()]);
        let given_back = async {
            while !limiter.take(&bucket()).await.unwrap().allowed {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, given_back).await.expect("a token is back");
        let tokens: f64 = redis.hget(bucket().redis_key, "tokens").await.unwrap();
        assert!(tokens < 1.1, "{tokens}");
    })
    .await;
}

fn throttle_at(name: &str) -> Taken {
    Taken { redis_key: format!("test:{{{name}:{}}}", std::process::id()), ..throttle(0.0001, 1) }
}

#[tokio::test]
async fn a_quota_lets_exactly_its_limit_through_under_64_callers() {
    local(async {
        let limiters = [limiter(), limiter()];
        for period in [Period::Day, Period::Week, Period::Month] {
            let quota = crate::snapshot::served::Quota { limit: 40, period };
            let redis_key = format!("test:{{{}}}", uuid::Uuid::now_v7());
            let calls = (0..64).map(|call| limiters[call % 2].spend(&redis_key, quota));
            let spent: Vec<_> =
                join_all(calls).await.into_iter().map(|spent| spent.expect("Redis")).collect();
            assert_eq!(spent.iter().filter(|spent| spent.allowed).count(), 40);
            let (days, max) = match period {
                Period::Day => (1..=1, 1),
                Period::Week => (7..=7, 7),
                Period::Month => (28..=31, 31),
            };
            assert!(days.contains(&(spent[0].period_s / 86400)), "{:?}", spent[0]);
            assert!(
                spent[0].resets_in_s > 0 && spent[0].resets_in_s <= max * 86400,
                "{:?}",
                spent[0]
            );
            assert_eq!(
                spent[0].resets_in_s,
                calendar_rest(period, spent[0].resets_in_s),
                "{period:?}"
            );
        }
    })
    .await;
}

/// Seconds to the period's end by another calendar than the script's; `near` where the clock has moved on by
/// less than a minute since.
fn calendar_rest(period: Period, near: u64) -> u64 {
    use jiff::{ToSpan, Unit, ZonedRound, civil::Weekday, tz::TimeZone};
    let now = jiff::Timestamp::now().to_zoned(TimeZone::UTC);
    let day = now
        .round(ZonedRound::new().smallest(Unit::Day).mode(jiff::RoundMode::Floor))
        .expect("a day");
    let end = match period {
        Period::Day => day.checked_add(1.day()),
        Period::Week => {
            let since = day.weekday().since(Weekday::Monday);
            day.checked_add((7 - i64::from(since)).days())
        }
        Period::Month => day.first_of_month().and_then(|first| first.checked_add(1.month())),
    };
    let rest = end.expect("a date").timestamp().as_second() - now.timestamp().as_second();
    let rest = u64::try_from(rest).expect("the future");
    if near.abs_diff(rest) < 60 { near } else { rest }
}

fn plan(change: impl FnOnce(&mut UsagePlan)) -> UsagePlan {
    let id = uuid::Uuid::new_v4().simple().to_string()[..10].to_owned();
    let mut plan = UsagePlan { id, ..UsagePlan::default() };
    change(&mut plan);
    plan
}

fn resources(plan: UsagePlan, change: impl FnOnce(&mut ApiKey)) -> Vec<Resource> {
    let routes = vec![("GET /k", mock(200, "in"), true), ("GET /free", mock(200, "free"), false)];
    let mut resources = api_with(Native, routes, |_| {});
    resources.extend(key("tg_live_1", plan, change));
    resources
}

/// A machine that tests at full load may answer late; that is not what these tests are about.
fn use_redis(config: &mut Config) {
    config.redis_url = Some(redis_url());
    config.limits.redis_timeout = PATIENCE;
}

const KEY: &str = "x-api-key: tg_live_1";

#[tokio::test]
async fn a_key_over_its_burst_is_throttled_and_told_when_to_come_back() {
    let plan = plan(|plan| plan.throttle = Some(Throttle { rate_limit: 0.01, burst_limit: 2 }));
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
        plan.throttle = Some(Throttle { rate_limit: 0.01, burst_limit: 3 });
        plan.quota = Some(Quota { limit: 2, period: QuotaPeriod::Day.into() });
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
    let route_throttles =
        [("/k/GET".to_owned(), Throttle { rate_limit: 0.01, burst_limit: 1 })].into();
    let plan = plan(|plan| {
        plan.throttle = Some(Throttle { rate_limit: 0.01, burst_limit: 2 });
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

/// A Redis that is not there, one that never answers, and none at all.
async fn no_redis() -> ([Option<String>; 3], TcpListener) {
    let (silent, listener) = raw_origin().await;
    let urls = [None, Some("redis://127.0.0.1:1/".to_owned()), Some(format!("redis://{silent}/"))];
    (urls, listener)
}

#[tokio::test]
async fn without_redis_each_node_goes_on_with_its_share() {
    let (urls, _listener) = no_redis().await;
    for url in urls {
        let plan = plan(|plan| {
            plan.throttle = Some(Throttle { rate_limit: 0.01, burst_limit: 3 });
            plan.quota = Some(Quota { limit: 100, period: QuotaPeriod::Month.into() });
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
            plan.throttle = Some(Throttle { rate_limit: 0.01, burst_limit: 1 });
            plan.quota = Some(Quota { limit: 1, period: QuotaPeriod::Week.into() });
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
    let plan =
        plan(|plan| plan.throttle = Some(Throttle { rate_limit: 1e6, burst_limit: 1_000_000 }));
    let node = TestNode::start_with(resources(plan, |_| {}), |config| {
        config.redis_url = Some(format!("redis://{silent}/"));
        config.limits.redis_timeout = budget;
    });
    let began = std::time::Instant::now();
    for _ in 0..40 {
        assert_eq!(node.call("GET /prod/k", &[KEY]).await.status(), 200);
    }
    assert!(began.elapsed() < 10 * budget, "three waits, not forty: {:?}", began.elapsed());
    assert_eq!(node.shared.metrics.redis_errors.get(), 3);
}

/// The real Redis behind a gate: while it is shut, what callers say waits.
async fn gated_redis() -> (SocketAddr, watch::Sender<bool>) {
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
        plan.throttle = Some(Throttle { rate_limit: 0.0001, burst_limit: 5 });
        plan.quota = Some(Quota { limit: 4, period: QuotaPeriod::Day.into() });
    });
    let keys = ["keyaaaaaa1"].map(|key| {
        (proto::redis_keys::key_throttle(&plan.id, key), proto::redis_keys::quota(&plan.id, key))
    });
    let [(bucket, quota)] = keys;
    let (address, gate) = gated_redis().await;
    let node = TestNode::start_with(resources(plan, |_| {}), |config| {
        config.redis_url = Some(format!("redis://{address}/"));
        config.limits.redis_timeout = Duration::from_millis(500);
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
    let plan =
        plan(|plan| plan.quota = Some(Quota { limit: 10, period: QuotaPeriod::Week.into() }));
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
async fn without_redis_calls_with_limits_are_refused_where_that_is_set_and_others_pass() {
    let (urls, _listener) = no_redis().await;
    for url in urls {
        let plan =
            plan(|plan| plan.quota = Some(Quota { limit: 2, period: QuotaPeriod::Month.into() }));
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
