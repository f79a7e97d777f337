//! Throttles and quotas against a real Redis: `REDIS_URL`, or the one on port 6399.

use std::time::Duration;

use futures_util::future::join_all;
use proto::config::v1::{
    ApiKey, ApiStage, Dialect::Native, Quota, QuotaPeriod, Resource, Throttle, UsagePlan,
};
use redis::AsyncCommands;
use tokio::task::LocalSet;

use super::world::{API, PATIENCE, TestNode, api_with, key, mock, raw_origin};
use crate::{
    Config,
    policies::{limiter::Limiter, throttle::Throttle as Taken},
    snapshot::served::{Bucket, Period},
};

fn redis_url() -> String {
    std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6399/5".to_owned())
}

fn limiter() -> Limiter {
    let errors = prometheus::IntCounter::new("errors", "errors").expect("a name");
    Limiter::new(Some(&redis_url()), PATIENCE, errors).expect("a URL")
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
        limiter.give_back(&[bucket(), bucket(), bucket()]).await;
        assert!(limiter.take(&bucket()).await.unwrap().allowed);
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
    let tokens: f64 = redis.hget(&bucket, "tokens").await.unwrap();
    assert!(tokens >= 1.0, "{tokens}");
}

#[tokio::test]
async fn without_redis_calls_with_limits_are_refused_and_others_pass() {
    let (silent, _listener) = raw_origin().await;
    for url in [None, Some("redis://127.0.0.1:1/".to_owned()), Some(format!("redis://{silent}/"))] {
        let plan =
            plan(|plan| plan.quota = Some(Quota { limit: 2, period: QuotaPeriod::Month.into() }));
        let node = TestNode::start_with(resources(plan, |_| {}), |config| config.redis_url = url);
        let refused = node.call("GET /prod/k", &[KEY]).await;
        assert_eq!(
            (refused.status(), refused.json()["code"].as_str()),
            (503, Some("LIMITS_UNAVAILABLE"))
        );
        assert_eq!(refused.field("retry-after"), Some("1"));
        assert_eq!(node.get("/prod/free").await.status(), 200);
    }
}
