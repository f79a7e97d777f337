//! The quota of one key on one of its plans in the present period, and what the key was granted beside it. The grant
//! is configuration: nodes add it to the limit in the period in which it was made, whatever was counted by then, and in no
//! other, though the plan's periods become longer meanwhile.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use plan::Period;
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::audit;
use crate::domain::quota::{Grant, LIMIT_MAX, Quota};
use crate::error::{Error, Result};
use crate::ids::{ApiKeyId, UsagePlanId};
use crate::snapshot::compile;
use crate::store;

/// What a key has of a plan's quota in the present period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyQuota {
    pub usage_plan_id: UsagePlanId,
    #[serde(skip)]
    pub api_key_id: ApiKeyId,
    /// When the period began.
    pub starts_at: DateTime<Utc>,
    /// When it ends, and with it what was granted.
    pub ends_at: DateTime<Utc>,
    /// How many requests the key has in it, with what was granted and without what it had used before.
    pub limit: i64,
    /// What was granted in this period.
    pub extra_calls: i64,
    /// Of [`Versioned`].
    #[serde(skip)]
    joined_at: DateTime<Utc>,
    #[serde(skip)]
    extended_at: Option<DateTime<Utc>>,
}

impl Versioned for KeyQuota {
    fn created_at(&self) -> DateTime<Utc> {
        self.joined_at
    }

    /// Another in each period, too: what was asked for in one is not granted in the next.
    fn version(&self) -> String {
        let extended = self.extended_at.map_or(0, |time| time.timestamp_micros());
        let (joined, from, until) = (self.joined_at, self.starts_at, self.ends_at);
        let (from, until) = (from.timestamp(), until.timestamp());
        format!("{:x}-{extended:x}-{from:x}-{until:x}", joined.timestamp_micros())
    }
}

/// A key on a plan, and what it was granted last.
pub struct Held {
    pub usage_plan_id: UsagePlanId,
    pub api_key_id: ApiKeyId,
    pub joined_at: DateTime<Utc>,
    pub grant: Option<Grant>,
    pub extended_at: Option<DateTime<Utc>>,
}

impl Held {
    fn of(self, quota: &Quota, now: DateTime<Utc>) -> Result<KeyQuota> {
        let period = quota.periods()?.at(now.timestamp());
        let (starts_at, ends_at) = bounds(&period)?;
        Ok(KeyQuota {
            usage_plan_id: self.usage_plan_id,
            api_key_id: self.api_key_id,
            starts_at,
            ends_at,
            limit: quota.limit_in(&period, Some(self.joined_at), self.grant.as_ref()),
            extra_calls: self.grant.map_or(0, |grant| grant.in_period(&period)),
            joined_at: self.joined_at,
            extended_at: self.extended_at,
        })
    }
}

fn bounds(period: &Period) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
    let time = |second| DateTime::from_timestamp(second, 0);
    time(period.from)
        .zip(time(period.until))
        .ok_or_else(|| Error::corrupt("period of a quota", format!("{period:?}")))
}

pub async fn get(app: &App, actor: &Actor, plan: UsagePlanId, key: ApiKeyId) -> Result<KeyQuota> {
    let mut tx = app.begin(actor).await?;
    only(app, &mut tx, actor, plan, key).await
}

/// Those of these keys, on each of their plans that has a quota, in the order of the plans' ids.
pub async fn find(app: &App, actor: &Actor, keys: &[ApiKeyId]) -> Result<Vec<KeyQuota>> {
    let mut tx = app.begin(actor).await?;
    present(app, &mut tx, actor, keys).await
}

/// Grants a key so many calls beside its quota, all told, in the present period; nodes hear of it at once. The same
/// again changes nothing.
pub async fn update(
    app: &App,
    actor: &Actor,
    plan: UsagePlanId,
    key: ApiKeyId,
    extra_calls: i64,
) -> Result<KeyQuota> {
    actor.may(Action::ManageUsagePlans)?;
    if !(0..=LIMIT_MAX).contains(&extra_calls) {
        let rule = format!("must be from 0 to {LIMIT_MAX}");
        return Err(Error::bad_request("extraCalls", rule));
    }

    let mut tx = app.begin(actor).await?;
    // In the order in which a key's own changes lock.
    store::api_key::lock(&mut tx, actor.tenant, key).await?;
    store::usage_plan::lock(&mut tx, actor.tenant, &BTreeSet::from([plan])).await?;
    let before = only(app, &mut tx, actor, plan, key).await?;
    actor.expects(&before)?;
    if before.extra_calls == extra_calls {
        return Ok(before);
    }
    let now = app.clock.now();
    store::key_quota::extend(&mut tx, actor.tenant, &before, extra_calls, now).await?;
    let after = only(app, &mut tx, actor, plan, key).await?;
    let noun_id = key.to_string();
    let (old, new) = (Some(&before), Some(&after));
    audit::record(app, &mut tx, actor, "key_quota.update", &noun_id, old, new).await?;
    let message = compile::api_key(&mut tx, actor.tenant, key).await?;
    tx.upsert(message);
    tx.commit().await?;
    Ok(after)
}

async fn only(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    plan: UsagePlanId,
    key: ApiKeyId,
) -> Result<KeyQuota> {
    let found = present(app, tx, actor, &[key]).await?;
    found.into_iter().find(|of| of.usage_plan_id == plan).ok_or(Error::NotFound("quota"))
}

async fn present(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    keys: &[ApiKeyId],
) -> Result<Vec<KeyQuota>> {
    let held = store::key_quota::find(tx, actor.tenant, keys).await?;
    let plans: BTreeSet<UsagePlanId> = held.iter().map(|held| held.usage_plan_id).collect();
    let plans: Vec<UsagePlanId> = plans.into_iter().collect();
    let plans = store::usage_plan::find(tx, actor.tenant, &plans).await?;
    let quotas: HashMap<UsagePlanId, Quota> =
        plans.into_iter().filter_map(|plan| Some((plan.id, plan.quota?))).collect();
    let now = app.clock.now();
    let of = held.into_iter().filter_map(|held| {
        let quota = quotas.get(&held.usage_plan_id)?;
        Some(held.of(quota, now))
    });
    of.collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proto::config::v1::resource::Kind;
    use sqlx::PgPool;

    use super::*;
    use crate::access::role::Role;
    use crate::domain::api_key::{self, ApiKeyChanges, NewApiKey};
    use crate::domain::patch::Patch;
    use crate::domain::quota::QuotaPeriod;
    use crate::domain::usage_plan::{self, NewUsagePlan, UsagePlanChanges};
    use crate::testing;

    /// A key on a plan with a quota of 100 a day, of which 30 were used before.
    async fn key(db: &PgPool, app: &App, actor: &Actor) -> (UsagePlanId, ApiKeyId) {
        let quota = Quota { initial_used: 30, ..Quota::of(100, QuotaPeriod::Day) };
        let new =
            NewUsagePlan { name: "gold".to_owned(), quota: Some(quota), ..NewUsagePlan::default() };
        let plan = usage_plan::create(app, actor, new).await.unwrap().id;
        let usage_plan_ids = [plan].into();
        let new = NewApiKey { name: "key".to_owned(), usage_plan_ids, ..NewApiKey::default() };
        let key = api_key::create(app, actor, new).await.unwrap().0.id;
        // By the database's clock it is another day.
        let joined = "update usage_plan_key set created_at = $1";
        sqlx::query(joined).bind(app.clock.now()).execute(db).await.unwrap();
        (plan, key)
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_grant_is_told_to_nodes_once_and_ends_with_its_period(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let (plan, key) = key(&db, &app, &alice).await;
        let before = get(&app, &alice, plan, key).await.unwrap();

        let granted = update(&app, &alice, plan, key, 50).await.unwrap();
        app.clock.advance(TimeDelta::minutes(1));
        let again = update(&app, &alice, plan, key, 50).await.unwrap();
        let told = testing::published(&app).await;
        app.clock.advance(TimeDelta::days(1));
        let tomorrow = get(&app, &alice, plan, key).await.unwrap();

        assert_eq!((before.limit, before.extra_calls), (70, 0));
        assert_eq!((granted.limit, granted.extra_calls), (120, 50));
        assert_eq!(granted.ends_at - granted.starts_at, TimeDelta::days(1));
        assert_eq!(again, granted, "the same again changes nothing");
        let extensions: Vec<_> = told
            .iter()
            .flat_map(|delta| &delta.upserts)
            .filter_map(|resource| match resource.kind.as_ref()? {
                Kind::ApiKey(key) => Some(key.quota_extensions.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(extensions.len(), 2, "when it was made, and when it was granted more");
        assert!(extensions[0].is_empty());
        let [extension] = &extensions[1][..] else { panic!("{extensions:?}") };
        assert_eq!((&*extension.usage_plan_id, extension.calls), (plan.as_str(), 50));
        let (from_s, until_s) = (granted.starts_at.timestamp(), granted.ends_at.timestamp());
        assert_eq!((extension.from_s, extension.until_s), (from_s, until_s));
        assert_eq!((tomorrow.limit, tomorrow.extra_calls), (100, 0));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_grant_of_a_day_is_none_of_the_month_that_its_plan_counts_by_next(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let (plan, key) = key(&db, &app, &alice).await;
        let by = async |period| {
            let quota = Patch::Set(Quota::of(100, period));
            let changes = UsagePlanChanges { quota, ..UsagePlanChanges::default() };
            usage_plan::update(&app, &alice, plan, changes).await.unwrap();
            get(&app, &alice, plan, key).await.unwrap()
        };
        let granted = update(&app, &alice, plan, key, 50).await.unwrap();

        let of_month = by(QuotaPeriod::Month).await;
        let of_the_day = alice.expecting(Some(granted.version()));
        let refused = update(&app, &of_the_day, plan, key, 60).await.unwrap_err();
        let of_day = by(QuotaPeriod::Day).await;

        assert_eq!((of_month.limit, of_month.extra_calls), (100, 0));
        assert!(of_month.starts_at < granted.starts_at && of_month.ends_at > granted.ends_at);
        assert!(matches!(refused, Error::PreconditionFailed { .. }), "{refused:?}");
        assert_eq!(of_day, KeyQuota { limit: 150, ..granted }, "as its count is found again");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_grant_is_refused_to_whoever_may_not_or_has_no_such_key(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
        let (plan, key) = key(&db, &app, &alice).await;
        let off =
            ApiKeyChanges { usage_plan_ids: Some(BTreeSet::new()), ..ApiKeyChanges::default() };

        let forbidden = update(&app, &viewer, plan, key, 5).await.unwrap_err();
        let foreign = update(&app, &mallory, plan, key, 5).await.unwrap_err();
        let foreign_read = get(&app, &mallory, plan, key).await.unwrap_err();
        let too_many = update(&app, &alice, plan, key, LIMIT_MAX + 1).await.unwrap_err();
        let negative = update(&app, &alice, plan, key, -1).await.unwrap_err();
        let seen = get(&app, &viewer, plan, key).await.unwrap();
        api_key::update(&app, &alice, key, off).await.unwrap();
        let gone = update(&app, &alice, plan, key, 5).await.unwrap_err();

        assert!(matches!(forbidden, Error::Forbidden(_)), "{forbidden:?}");
        for refused in [foreign, foreign_read, gone] {
            assert!(matches!(refused, Error::NotFound(_)), "{refused:?}");
        }
        for refused in [too_many, negative] {
            assert_eq!((refused.code(), refused.param()), ("bad_request", Some("extraCalls")));
        }
        assert_eq!(seen.extra_calls, 0);
    }
}
