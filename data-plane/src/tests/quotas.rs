//! Quotas by the periods and terms that a plan gives them, against a real Redis.

use ::plan::Unit;
use futures_util::future::join_all;
use proto::config::v1::{
    ApiKey, Quota, QuotaEnforcement, QuotaExtension, QuotaPeriod, QuotaTerms, UsagePlan,
};
use redis::AsyncCommands;

use super::{
    limits::{
        KEY, Node, calendar, gated_redis, limiter, limiter_at, local, no_redis, plan, redis_url,
        resources, use_redis,
    },
    world::{PATIENCE, TestNode},
};
use crate::{
    config::LimiterOutage,
    policies::{
        quota::Claim,
        recall::Restored,
        spending::Spending,
        store::{Redis, Told},
    },
    snapshot::messages,
};

#[tokio::test]
async fn a_quota_lets_exactly_its_limit_through_under_64_callers() {
    local(async {
        let limiters = [limiter(), limiter()];
        for unit in [Unit::Day, Unit::Week, Unit::Month] {
            let claim = Claim::calendar(40, unit);
            let redis_key = format!("test:{{{}}}", uuid::Uuid::now_v7());
            let calls = (0..64).map(|call| limiters[call % 2].spend(&redis_key, &claim));
            let spent: Vec<_> =
                join_all(calls).await.into_iter().map(|spent| spent.expect("Redis")).collect();
            assert_eq!(spent.iter().filter(|spent| spent.allowed).count(), 40);
            assert_eq!(spent.iter().filter(|spent| spent.over).count(), 24);
            let (days, max) = match unit {
                Unit::Day => (1..=1, 1),
                Unit::Week => (7..=7, 7),
                Unit::Month => (28..=31, 31),
            };
            assert!(days.contains(&(spent[0].period_s / 86400)), "{:?}", spent[0]);
            assert!(
                spent[0].resets_in_s > 0 && spent[0].resets_in_s <= max * 86400,
                "{:?}",
                spent[0]
            );
            assert_eq!(spent[0].resets_in_s, calendar_rest(unit, spent[0].resets_in_s), "{unit:?}");
        }
    })
    .await;
}

/// Seconds to the period's end by another calendar than the node's; `near` where the clock has moved on by
/// less than a minute since.
fn calendar_rest(unit: Unit, near: u64) -> u64 {
    use jiff::{ToSpan, ZonedRound, civil::Weekday, tz::TimeZone};
    let now = jiff::Timestamp::now().to_zoned(TimeZone::UTC);
    let day = now
        .round(ZonedRound::new().smallest(jiff::Unit::Day).mode(jiff::RoundMode::Floor))
        .expect("a day");
    let end = match unit {
        Unit::Day => day.checked_add(1.day()),
        Unit::Week => {
            let since = day.weekday().since(Weekday::Monday);
            day.checked_add((7 - i64::from(since)).days())
        }
        Unit::Month => day.first_of_month().and_then(|first| first.checked_add(1.month())),
    };
    let rest = end.expect("a date").timestamp().as_second() - now.timestamp().as_second();
    let rest = u64::try_from(rest).expect("the future");
    if near.abs_diff(rest) < 60 { near } else { rest }
}

/// The store itself, and a connection beside it.
async fn store() -> (Redis, redis::aio::MultiplexedConnection) {
    let store = Redis::new(&redis_url(), None, "node").expect("a URL");
    let client = redis::Client::open(redis_url()).unwrap();
    (store, client.get_multiplexed_async_connection().await.unwrap())
}

#[tokio::test]
async fn redis_clock_says_which_period_it_is_however_wrong_the_nodes_is() {
    local(async {
        let (store, mut redis) = store().await;
        let claim = Claim::calendar(5, Unit::Day);
        let now = jiff::Timestamp::now().as_second();
        let today = claim.quota.periods.at(now).name();
        let key = format!("test:{{{}}}", uuid::Uuid::now_v7());
        let names = async |second: i64| {
            let Spending(spent, line) = store.spend_at(&key, &claim, second).await.expect("Redis");
            (spent.remaining, line.known.period.to_string())
        };
        for (left, off) in [(4, 0), (3, 86_400), (2, -86_400), (1, 400 * 86_400), (0, -now)] {
            assert_eq!(names(now + off).await, (left, today.clone()), "{off} s off");
        }
        let used: u64 = redis.hget(&key, "used").await.unwrap();
        assert_eq!(used, 5);
    })
    .await;
}

#[tokio::test]
async fn what_was_counted_of_other_periods_is_found_again_and_no_two_of_them_make_one_endless() {
    local(async {
        let (store, mut redis) = store().await;
        let (of_day, of_month) = (Claim::calendar(3, Unit::Day), Claim::calendar(4, Unit::Month));
        let key = format!("test:{{{}}}", uuid::Uuid::now_v7());
        let mut allowed = Vec::new();
        // As some nodes have the plan's change already, and others not yet.
        for _ in 0..5 {
            for claim in [&of_day, &of_month] {
                let Spending(spent, line) =
                    store.spend(&key, claim, &Told::default(), 1).await.expect("Redis");
                allowed.push(spent.allowed);
                if allowed.len() == 1 {
                    store.unspend(&key, &line.known.period).await; // the present one
                    store.spend(&key, claim, &Told::default(), 1).await.expect("Redis");
                }
            }
        }
        assert_eq!(allowed, [true, true, true, true, true, true, false, true, false, false]);
        // A call that came too late goes back to the period that it was taken from.
        let day = of_day.quota.periods.at(jiff::Timestamp::now().as_second()).name();
        store.unspend(&key, &day).await;
        let Spending(spent, _) =
            store.spend(&key, &of_day, &Told::default(), 1).await.expect("Redis");
        assert!(spent.allowed && spent.remaining == 0, "{spent:?}");
        let kept: (u64, u64) = redis.hmget(&key, &["used", "other_used"]).await.unwrap();
        assert_eq!(kept, (3, 4));
    })
    .await;
}

#[tokio::test]
async fn a_count_goes_on_as_a_node_of_the_release_before_left_it() {
    local(async {
        let (store, mut redis) = store().await;
        let claim = Claim::calendar(10, Unit::Week);
        let key = format!("test:{{{}}}", uuid::Uuid::now_v7());
        let week = claim.quota.periods.at(jiff::Timestamp::now().as_second());
        let name = format!("week{}", week.from / 86_400);
        let (): () = redis.hset_multiple(&key, &[("period", &*name), ("used", "7")]).await.unwrap();
        let Spending(spent, line) =
            store.spend(&key, &claim, &Told::default(), 1).await.expect("Redis");
        assert_eq!((spent.remaining, &*line.known.period), (2, &*name));
        let ttl: i64 = redis.ttl(&key).await.unwrap();
        assert!((0..=8 * 86_400).contains(&ttl), "{ttl}");
        assert!(line.whole, "it was there before");
        // Such a node goes on beside this one, and knows nothing of lines.
        let (): () = redis.hincr(&key, "used", 1).await.unwrap();
        let told = Told { known: Some(line.known), ..Told::default() };
        let Spending(spent, line) = store.spend(&key, &claim, &told, 1).await.expect("Redis");
        assert_eq!((spent.remaining, line.restored), (0, Restored::default()));
        let (): () = redis.del(&key).await.unwrap();
        let told = Told { known: Some(line.known), ..Told::default() };
        let Spending(spent, line) = store.spend(&key, &claim, &told, 1).await.expect("Redis");
        assert!(!spent.allowed, "{spent:?}");
        assert_eq!((line.known.used, line.restored.by_node, line.whole), (10, 10, false));
    })
    .await;
}

/// A quota by terms that the release before does not know.
fn with_terms(limit: u64, change: impl FnOnce(&mut QuotaTerms)) -> Quota {
    let mut terms = QuotaTerms {
        period: QuotaPeriod::Month.into(),
        time_zone: "Pacific/Auckland".into(),
        enforcement: QuotaEnforcement::Hard.into(),
        ..QuotaTerms::default()
    };
    change(&mut terms);
    Quota { limit, terms: Some(terms), ..Quota::default() }
}

#[tokio::test]
async fn a_soft_quota_counts_on_says_that_none_is_left_and_tells_of_it() {
    let soft = |terms: &mut QuotaTerms| terms.enforcement = QuotaEnforcement::Soft.into();
    let plan = plan(|plan| plan.quota = Some(with_terms(2, soft)));
    let quota = proto::redis_keys::quota(&plan.id, "keyaaaaaa1");
    let node = TestNode::start_with(resources(plan, |_| {}), |config| {
        use_redis(config);
    });
    let mut left = Vec::new();
    for _ in 0..4 {
        let answer = node.call("GET /prod/k", &[KEY]).await;
        assert_eq!((answer.status(), answer.field("retry-after")), (200, None));
        let (state, _) = answer.field("ratelimit").unwrap().split_once(";t=").unwrap();
        left.push(state.to_owned());
    }
    assert_eq!(left, ["1", "0", "0", "0"].map(|left| format!("\"quota\";r={left}")));
    let (_, mut redis) = store().await;
    let (used, held): (u64, Option<String>) = redis.hmget(&quota, &["used", "held"]).await.unwrap();
    let held = held.map_or(0, |held| held.split(' ').nth(1).unwrap().parse().unwrap());
    assert!(used - held <= 4 && 4 <= used, "{held} of {used} are taken ahead");
    let told = prometheus::TextEncoder::new()
        .encode_to_string(&node.shared.metrics.registry.gather())
        .unwrap();
    assert!(told.contains("tollgate_quota_exceeded_total{enforcement=\"soft\"} 2"), "{told}");
    let counted = node.counted(4).await;
    assert!(counted.iter().all(|(_, record)| record.billed), "they passed");
}

#[tokio::test]
async fn a_soft_quota_refuses_nobody_while_redis_is_away() {
    let (urls, _listener) = no_redis().await;
    for url in urls {
        let soft = |terms: &mut QuotaTerms| terms.enforcement = QuotaEnforcement::Soft.into();
        let plan = plan(|plan| plan.quota = Some(with_terms(1, soft)));
        let node = TestNode::start_with(resources(plan, |_| {}), |config| {
            config.redis_url = url;
            config.limiter_outage = LimiterOutage::FailClosed;
        });
        for _ in 0..3 {
            assert_eq!(node.call("GET /prod/k", &[KEY]).await.status(), 200);
        }
    }
}

#[tokio::test]
async fn a_keys_first_period_lacks_what_it_had_used_before() {
    for (joined, passes) in [(jiff::Timestamp::now().as_second(), 2), (1_500_000_000, 5)] {
        let plan = plan(|plan| {
            plan.quota = Some(with_terms(5, |terms| {
                terms.initial_used = 3;
                terms.anniversary_s = Some(jiff::Timestamp::now().as_second() - 1000);
            }));
        });
        let key = |key: &mut ApiKey| key.usage_plan_joined_s = vec![joined];
        let node = TestNode::start_with(resources(plan, key), |config| {
            use_redis(config);
        });
        let mut passed = 0;
        for call in 1..=6 {
            let answer = node.call("GET /prod/k", &[KEY]).await;
            passed += i32::from(answer.status() == 200);
            let field = |name| answer.field(name).unwrap().split(';').nth(1).unwrap().to_owned();
            let left = field("ratelimit");
            assert_eq!(field("ratelimit-policy"), format!("q={passes}"), "of this period");
            assert_eq!(left, format!("r={}", 0.max(passes - call)));
        }
        assert_eq!(passed, passes);
    }
}

/// What a key is granted in the period that a second is in.
fn granted(plan: &UsagePlan, unit: Unit, second: i64, calls: u64) -> QuotaExtension {
    let period = Claim::calendar(1, unit).quota.periods.at(second);
    let (from_s, until_s) = (period.from, period.until);
    QuotaExtension { usage_plan_id: plan.id.clone(), from_s, until_s, calls }
}

#[tokio::test]
async fn a_grant_lets_so_many_more_through_on_every_node_in_its_period_alone() {
    let now = jiff::Timestamp::now().as_second();
    // The month before is over; the present day ends before the month does, though both hold this second.
    for (unit, second, passes) in [
        (Unit::Month, now, 5),
        (Unit::Month, now - 40 * 86_400, 2),
        (Unit::Day, now - 86_400, 2),
        (Unit::Day, now, 2),
    ] {
        let plan = plan(|plan| plan.quota = Some(calendar(2, QuotaPeriod::Month)));
        let extension = granted(&plan, unit, second, 3);
        let extended = resources(plan.clone(), |key| key.quota_extensions.push(extension));
        let mut nodes =
            [(); 2].map(|()| TestNode::start_with(resources(plan.clone(), |_| {}), use_redis));
        let mut passed = 0;
        for _ in 0..3 {
            passed += i32::from(nodes[0].call("GET /prod/k", &[KEY]).await.status() == 200);
        }
        assert_eq!(passed, 2, "before the grant");
        for node in &mut nodes {
            node.publish(extended.clone());
        }
        for call in 0..6 {
            let answer = nodes[call % 2].call("GET /prod/k", &[KEY]).await;
            passed += i32::from(answer.status() == 200);
            let told = answer.field("ratelimit-policy").unwrap();
            assert!(told.starts_with(&format!("\"quota\";q={passes};")), "{told}");
        }
        assert_eq!(passed, passes, "{unit:?}");
    }
}

#[tokio::test]
async fn a_grant_of_a_day_is_gone_as_the_plan_counts_by_months_and_back_with_its_days() {
    let now = jiff::Timestamp::now().as_second();
    let by = |period| plan(|plan| plan.quota = Some(calendar(2, period)));
    let with = |plan: UsagePlan| {
        let extension = granted(&plan, Unit::Day, now, 3);
        resources(plan, |key| key.quota_extensions.push(extension))
    };
    let (of_day, of_month) = (by(QuotaPeriod::Day), by(QuotaPeriod::Month));
    let of_month = UsagePlan { id: of_day.id.clone(), ..of_month };
    let mut node = TestNode::start_with(with(of_day.clone()), use_redis);
    let mut let_through = Vec::new();
    for plan in [of_day.clone(), of_month, of_day] {
        node.publish(with(plan));
        let mut passed = 0;
        for _ in 0..4 {
            passed += i32::from(node.call("GET /prod/k", &[KEY]).await.status() == 200);
        }
        let_through.push(passed);
    }
    assert_eq!(let_through, [4, 2, 1]);
}

#[test]
fn a_quota_of_a_kind_that_this_node_does_not_know_is_refused_with_its_plan() {
    let refusal = |change: fn(&mut Quota)| {
        let mut quota = with_terms(5, |_| {});
        change(&mut quota);
        let plan = plan(|plan| plan.quota = Some(quota));
        messages::usage_plan(&plan).err()
    };
    assert_eq!(refusal(|_| {}), None);
    let terms = |quota: &mut Quota| quota.terms.take().unwrap();
    // What a node of the release before sees.
    assert!(refusal(|quota| quota.terms = None).unwrap().contains("period"));
    for change in [
        |terms: &mut QuotaTerms| terms.time_zone = "Mars/Olympus_Mons".into(),
        |terms: &mut QuotaTerms| terms.time_zone = String::new(),
        |terms: &mut QuotaTerms| terms.period = 17,
        |terms: &mut QuotaTerms| terms.enforcement = 17,
    ] {
        let mut quota = with_terms(5, |_| {});
        let mut changed = terms(&mut quota);
        change(&mut changed);
        quota.terms = Some(changed);
        let plan = plan(|plan| plan.quota = Some(quota));
        assert!(messages::usage_plan(&plan).is_err());
    }
}

#[tokio::test]
async fn what_a_single_late_answer_let_through_of_a_quota_is_told_with_the_next_question() {
    local(async {
        let (address, gate) = gated_redis().await;
        let limiter = limiter_at(address, &Node::default());
        let claim = Claim::calendar(1_000_000, Unit::Week);
        let key = format!("test:{{{}}}", uuid::Uuid::now_v7());
        let mut calls = 0;
        for _ in 0..3 {
            for open in [true, false, true] {
                gate.send_replace(open);
                assert!(limiter.spend(&key, &claim).await.expect("a share").allowed);
                calls += 1;
            }
        }
        let client = redis::Client::open(redis_url()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let mut used = None;
        let told = async {
            // What came too late is undone by and by.
            while used != Some(calls) {
                used = redis.hget(&key, "used").await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, told).await;
        assert!(in_time.is_ok(), "Redis counts {used:?} of {calls} calls");
    })
    .await;
}
