//! What is known to have been used of quotas, for nodes whose Redis lost its memory: their counts go on from there.
//!
//! It is never more than was used, or keys would be refused what is theirs: calls that are not in the ledger yet are
//! missing, so a node asks again a while later.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use proto::reconciliation::ASKED_MAX;
use proto::reconciliation::v1::{self as wire, QuotasAsked};

use super::intake::{AHEAD_MAX, LATE_MAX};
use crate::app::{App, Job};
use crate::domain;
use crate::error::{Error, Result};
use crate::ids::{ApiKeyId, NodeId, TenantId, UsagePlanId};
use crate::store::quota_use::Asked;
use crate::store::{self, time_limit};

/// A quota's period is a month at most, and a day.
pub const PERIOD_MAX: TimeDelta = TimeDelta::days(32);

/// So many calls at least of each, in their order; 0 of what is no quota of a tenant that the node serves.
pub async fn used(app: &App, node: NodeId, asked: QuotasAsked) -> Result<Vec<u64>> {
    let now = app.clock.now();
    let quotas = check(asked, now).map_err(|rule| Error::bad_request("quotas", rule))?;
    let mut tx = app.system(Job::Reconciliation).await?;
    time_limit::set(&mut tx, time_limit::ANSWER).await?;
    let cells = store::usage_intake::cells(&mut tx, node).await?;
    let tenants: BTreeSet<TenantId> = quotas.iter().flatten().map(|quota| quota.tenant).collect();
    let homes = store::usage_intake::homes(&mut tx, &tenants).await?;
    let served = |quota: &Asked| homes.get(&quota.tenant).is_some_and(|it| cells.contains(it));
    let known: Vec<Option<Asked>> = quotas.into_iter().map(|quota| quota.filter(served)).collect();
    let answered: Vec<Asked> = known.iter().flatten().cloned().collect();
    let minutes = domain::usage::minutes_kept_since(app);
    let sums = store::quota_use::sum(&mut tx, &answered, minutes, now).await?;
    let mut sums = sums.into_iter().map(|used| u64::try_from(used).unwrap_or(0));
    Ok(known.iter().map(|quota| quota.as_ref().and_then(|_| sums.next()).unwrap_or(0)).collect())
}

/// Each quota that was asked for; none in the place of what can be no quota.
pub fn check(
    asked: QuotasAsked,
    now: DateTime<Utc>,
) -> std::result::Result<Vec<Option<Asked>>, String> {
    if asked.quotas.len() > ASKED_MAX {
        return Err(format!("must be at most {ASKED_MAX}"));
    }
    Ok(asked.quotas.into_iter().map(|quota| one(quota, now)).collect())
}

fn one(quota: wire::QuotaAsked, now: DateTime<Utc>) -> Option<Asked> {
    let tenant = quota.tenant_id.parse().ok()?;
    quota.usage_plan_id.parse::<UsagePlanId>().ok()?;
    quota.api_key_id.parse::<ApiKeyId>().ok()?;
    let second = |second| DateTime::from_timestamp(second, 0);
    let (from, until) = second(quota.period_from_s).zip(second(quota.period_until_s))?;
    let possible = from < until
        && until - from <= PERIOD_MAX
        && from <= now + AHEAD_MAX
        && until >= now - LATE_MAX;
    let (usage_plan_id, api_key_id) = (quota.usage_plan_id, quota.api_key_id);
    possible.then_some(Asked { tenant, usage_plan_id, api_key_id, from, until })
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::ledger::intake::{self, tests as usage};
    use crate::ledger::{reconciliation, rollup};
    use crate::testing;

    fn asked(tenant: TenantId, from: DateTime<Utc>, until: DateTime<Utc>) -> wire::QuotaAsked {
        wire::QuotaAsked {
            tenant_id: tenant.to_string(),
            usage_plan_id: "plan567890".to_owned(),
            api_key_id: "key4567890".to_owned(),
            period_from_s: from.timestamp(),
            period_until_s: until.timestamp(),
        }
    }

    /// So many calls that ended ten seconds before now.
    async fn call(app: &App, node: NodeId, tenant: TenantId, calls: i64, counter: i64) {
        let calls: Vec<_> = (0..calls).map(|_| usage::call(app, tenant)).collect();
        let segment = usage::segment(usage::place(counter), &calls);
        intake::take(app, node, &[segment]).await.unwrap();
        rollup::run(app).await.unwrap();
        rollup::days(app).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_a_key_used_of_a_period_is_in_the_ledger_by_minute_hour_and_day(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let node = usage::node(&app, "default").await;
        let noon = testing::noon();
        let midnight = noon - TimeDelta::hours(12);
        // One call four days ago, two the day before yesterday, four this morning, eight within these two hours.
        for (counter, back) in
            [TimeDelta::days(4), TimeDelta::days(2), TimeDelta::hours(6), TimeDelta::minutes(1)]
                .into_iter()
                .enumerate()
        {
            app.clock.advance(-back);
            call(&app, node, alice.tenant, 1 << counter, i64::try_from(counter).unwrap() + 1).await;
            app.clock.advance(back);
        }
        let ask = async |from, until| {
            let quotas = vec![asked(alice.tenant, from, until)];
            used(&app, node, QuotasAsked { quotas }).await.unwrap()[0]
        };
        let day = TimeDelta::days(1);

        assert_eq!(ask(midnight, midnight + day).await, 12);
        assert_eq!(ask(midnight - day * 6, midnight + day).await, 15);
        assert_eq!(ask(midnight - day * 2, midnight + day * 5).await, 14);
        // Periods that begin within an hour, within a minute and as the last calls end.
        let begun = |before| noon - before;
        assert_eq!(ask(begun(TimeDelta::minutes(30)), noon + day).await, 8);
        assert_eq!(ask(begun(TimeDelta::seconds(70)), noon + day).await, 0, "the minute is older");
        let half_past = TimeDelta::hours(6) + TimeDelta::minutes(30);
        assert_eq!(ask(begun(half_past), noon + day).await, 12);
        assert_eq!(ask(begun(TimeDelta::days(4) + TimeDelta::minutes(10)), noon + day).await, 15);
        assert_eq!(ask(begun(TimeDelta::days(3)), noon + day).await, 14);
        // What is known of Redis is more: the ledger lacks what is on its way.
        let count = wire::QuotaCount {
            tenant_id: alice.tenant.to_string(),
            usage_plan_id: "plan567890".to_owned(),
            api_key_id: "key4567890".to_owned(),
            period_from_s: midnight.timestamp(),
            period_until_s: midnight.timestamp() + 86_400,
            used: 11,
            held: 2,
            read_ms: noon.timestamp_millis().unsigned_abs(),
        };
        let report = wire::CountReport {
            run: vec![1; 16],
            quota_counts: vec![count],
            ..wire::CountReport::default()
        };
        let refused = reconciliation::take(&app, node, report).await.unwrap();
        assert_eq!(refused, reconciliation::Refused::default());
        assert_eq!(ask(midnight, midnight + day).await, 13);
        assert_eq!(ask(midnight - day * 6, midnight + day).await, 15, "of another period");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_node_learns_nothing_of_tenants_that_it_does_not_serve(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let node = usage::node(&app, "default").await;
        call(&app, node, alice.tenant, 3, 1).await;
        let midnight = testing::noon() - TimeDelta::hours(12);
        let right = asked(alice.tenant, midnight, midnight + TimeDelta::days(1));
        let wrong = [
            wire::QuotaAsked { tenant_id: "acme".to_owned(), ..right.clone() },
            wire::QuotaAsked { tenant_id: uuid::Uuid::nil().to_string(), ..right.clone() },
            wire::QuotaAsked { usage_plan_id: "a plan".to_owned(), ..right.clone() },
            wire::QuotaAsked { api_key_id: "\0".to_owned(), ..right.clone() },
            wire::QuotaAsked { period_until_s: right.period_from_s, ..right.clone() },
            wire::QuotaAsked { period_from_s: 0, ..right.clone() },
            wire::QuotaAsked { period_from_s: i64::MIN, ..right.clone() },
        ];
        let count = wrong.len();
        let quotas = [vec![right.clone()], wrong.to_vec(), vec![right.clone()]].concat();

        let answers = used(&app, node, QuotasAsked { quotas }).await.unwrap();

        assert_eq!(answers, [vec![3], vec![0; count], vec![3]].concat());
        let elsewhere = usage::node(&app, "other").await;
        let asked = QuotasAsked { quotas: vec![right.clone()] };
        assert_eq!(used(&app, elsewhere, asked).await.unwrap(), [0]);
        let many = QuotasAsked { quotas: vec![right; ASKED_MAX + 1] };
        let refused = used(&app, node, many).await.unwrap_err();
        assert_eq!(refused.param(), Some("quotas"));
    }
}
