//! What a key used of its usage plan, day by day, and what its quota left: AWS's `GetUsage`.
//!
//! It is counted from the ledger, seconds after the call, while the quota itself is counted where the calls come in; the
//! two differ by what is on its way. What is billed is what was let through. Of a test key, of which nothing is billed, every
//! call counts.

use chrono::{DateTime, Datelike, Days, DurationRound, TimeDelta, Utc};
use plan::Periods;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::quota::{Quota, QuotaAnchor, QuotaPeriod};
use crate::domain::usage::{Interval, Wanted};
use crate::domain::usage_group::{By, Dimension, Question};
use crate::domain::usage_plan;
use crate::error::{Error, Result};
use crate::ids::{ApiKeyId, UsagePlanId};
use crate::store::{self, time_limit};

/// The longest time that one question may span.
pub const SPAN_MAX: TimeDelta = TimeDelta::days(100);

/// A key's day, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDay {
    pub day: DateTime<Utc>,
    pub api_key_id: String,
    /// On that day.
    pub used: i64,
    /// At the day's end, of the period that the day is in and by the quota as it now is; none where there is no quota, or
    /// one whose periods are not days, weeks or months of the calendar in UTC.
    pub remaining: Option<i64>,
}

impl Keyed for KeyDay {
    const LIST: &'static str = "keyUsage";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.day, &self.api_key_id)
    }
}

/// Which days, of which keys, in which periods.
pub struct Asked {
    /// From the beginning of the period that `since` lies in.
    pub question: Question,
    pub since: DateTime<Utc>,
    pub period: QuotaPeriod,
}

/// The days from the one in which `since` lies to the end of the one in which `until` lies, now when left out, newest
/// first: of each key that is on the plan or called by it, or of one. Every member may read what the tenant used.
pub async fn list(
    app: &App,
    actor: &Actor,
    plan: UsagePlanId,
    api_key: Option<ApiKeyId>,
    (since, until): (DateTime<Utc>, Option<DateTime<Utc>>),
    page: &Page,
) -> Result<Paged<KeyDay>> {
    let quota = usage_plan::get(app, actor, plan).await?.quota;
    // The ledger's days are those of UTC.
    let quota =
        quota.filter(|quota| quota.anchor == QuotaAnchor::Calendar && quota.time_zone == "UTC");
    let period = quota.as_ref().map_or(QuotaPeriod::Day, |quota| quota.period);
    let until = until.unwrap_or_else(|| app.clock.now());
    if until - since > SPAN_MAX {
        let days = SPAN_MAX.num_days();
        return Err(Error::bad_request(
            "since",
            format!("must be at most {days} days before until"),
        ));
    }
    let wanted = Wanted { usage_plan: Some(plan), api_key, ..Wanted::default() };
    let by = By::from([Dimension::ApiKey]);
    let ask = |since| {
        Question::new(app, Some(Interval::Day), since, Some(until), wanted.clone(), by.clone())
    };
    let since = ask(since)?.since;
    let asked = Asked { question: ask(begins(period, since))?, since, period };
    let mut tx = app.begin_to_add_up(actor.tenant, time_limit::ANSWER).await?;
    let days = store::key_usage::list(&mut tx, actor.tenant, &asked, page).await?;
    let periods = quota.as_ref().map(Quota::periods).transpose()?;
    let quota = quota.as_ref().zip(periods.as_ref());
    let days = days.into_iter().map(|day| {
        let remaining = quota.map(|(quota, periods)| remaining(quota, periods, &day));
        KeyDay { day: day.day, api_key_id: day.api_key_id, used: day.used, remaining }
    });
    page.cut(days.collect())
}

/// What is left at a day's end.
fn remaining(quota: &Quota, periods: &Periods, day: &store::key_usage::Day) -> i64 {
    let period = periods.at(day.day.timestamp());
    (quota.limit_in(&period, day.joined_at, day.grant.as_ref()) - day.used_in_period).max(0)
}

/// When the period began that this day is in.
fn begins(period: QuotaPeriod, day: DateTime<Utc>) -> DateTime<Utc> {
    let day = day.duration_trunc(TimeDelta::days(1)).unwrap_or(day);
    let back = match period {
        QuotaPeriod::Day => 0,
        QuotaPeriod::Week => day.weekday().num_days_from_monday(),
        QuotaPeriod::Month => day.day0(),
    };
    day.checked_sub_days(Days::new(back.into())).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::app::Job;
    use crate::domain::api_key::{self, NewApiKey};
    use crate::domain::key_quota;
    use crate::domain::usage_plan::NewUsagePlan;
    use crate::testing;

    #[test]
    fn a_week_begins_on_monday_and_a_month_on_its_first() {
        let day = |text: &str| format!("{text}T00:00:00Z").parse::<DateTime<Utc>>().unwrap();
        let began = |period, text| begins(period, day(text));
        assert_eq!(began(QuotaPeriod::Day, "2026-11-20"), day("2026-11-20"));
        assert_eq!(began(QuotaPeriod::Week, "2026-11-20"), day("2026-11-16"));
        assert_eq!(began(QuotaPeriod::Week, "2026-11-16"), day("2026-11-16"));
        assert_eq!(began(QuotaPeriod::Month, "2026-11-20"), day("2026-11-01"));
        assert_eq!(began(QuotaPeriod::Month, "2026-11-01"), day("2026-11-01"));
    }

    /// Calls of a key on a plan at noon of a day, of which some are billed.
    async fn count(
        app: &App,
        actor: &Actor,
        plan: UsagePlanId,
        key: &str,
        day: &str,
        calls: (i64, i64),
    ) {
        let mut tx = app.system(Job::Intake).await.unwrap();
        sqlx::query(
            "insert into usage_minute values ('default', $1, '', 'abcdefghi0', 'prod', '-', $2, $3, 2, 0, $4, $5, $6, 0,
                 0, 0, 0)",
        )
        .bind(actor.tenant.0)
        .bind(key)
        .bind(plan.to_string())
        .bind(format!("{day}T12:00:00Z").parse::<DateTime<Utc>>().unwrap())
        .bind(calls.0)
        .bind(calls.1)
        .execute(&mut *tx)
        .await
        .unwrap();
        let due = "insert into usage_hour_due values ($1, $2) on conflict do nothing";
        let hour = format!("{day}T12:00:00Z").parse::<DateTime<Utc>>().unwrap();
        sqlx::query(due).bind(actor.tenant.0).bind(hour).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn each_day_of_a_key_says_what_it_used_and_what_its_quota_left(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let quota = Some(Quota::of(100, QuotaPeriod::Week));
        let new = NewUsagePlan { name: "gold".to_owned(), quota, ..NewUsagePlan::default() };
        let plan = usage_plan::create(&app, &alice, new).await.unwrap().id;
        let other = NewUsagePlan { name: "free".to_owned(), ..NewUsagePlan::default() };
        let other = usage_plan::create(&app, &alice, other).await.unwrap().id;
        // Sunday is in the week before; refused calls take nothing.
        for (day, calls) in
            [("2026-11-15", (70, 70)), ("2026-11-16", (30, 30)), ("2026-11-18", (90, 80))]
        {
            count(&app, &alice, plan, "key4567890", day, calls).await;
        }
        count(&app, &alice, plan, "other67890", "2026-11-18", (1, 1)).await;
        count(&app, &alice, other, "key4567890", "2026-11-18", (500, 500)).await;
        crate::ledger::rollup::run(&app).await.unwrap();
        let since = "2026-11-17T09:00:00Z".parse().unwrap();
        let ask = async |key: Option<&str>, page: &Page| {
            let key = key.map(|key| key.parse().unwrap());
            list(&app, &alice, plan, key, (since, None), page).await.unwrap()
        };
        let page = Page::first(100, None, None).unwrap();
        let short = |rows: &[KeyDay]| -> Vec<(u32, i64, Option<i64>)> {
            rows.iter().map(|row| (row.day.day(), row.used, row.remaining)).collect()
        };

        let one = ask(Some("key4567890"), &page).await.items;

        let expected = [(20, 0, Some(0)), (19, 0, Some(0)), (18, 80, Some(0)), (17, 0, Some(70))];
        assert_eq!(
            short(&one),
            expected,
            "30 on Monday, 80 on Wednesday: no less than nothing is left"
        );
        let all = ask(None, &page).await.items;
        assert_eq!(all.len(), 8);
        let mut forward = Vec::new();
        let mut after = None;
        loop {
            let page = ask(None, &Page::first(3, after, None).unwrap()).await;
            after = page.items.last().map(Keyed::key);
            forward.extend(page.items);
            if !page.has_next {
                break;
            }
        }
        assert_eq!(forward, all);
        let last = ask(None, &Page::last(2, None, None).unwrap()).await.items;
        assert_eq!(last, all[6..]);
        let free = list(&app, &alice, other, None, (since, None), &page).await.unwrap().items;
        assert_eq!(short(&free)[2], (18, 500, None), "without a quota nothing is left or not");
        let theirs = list(&app, &mallory, plan, None, (since, None), &page).await;
        assert!(matches!(theirs, Err(Error::NotFound(_))));
        let far = (since - TimeDelta::days(101), None);
        let refused = list(&app, &alice, plan, None, far, &page).await.unwrap_err();
        assert_eq!(refused.param(), Some("since"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_a_key_had_used_before_is_missing_from_the_period_in_which_it_joined(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let quota = Quota { initial_used: 60, ..Quota::of(100, QuotaPeriod::Week) };
        let new =
            NewUsagePlan { name: "gold".to_owned(), quota: Some(quota), ..NewUsagePlan::default() };
        let plan = usage_plan::create(&app, &alice, new).await.unwrap().id;
        let new = NewApiKey {
            name: "a".to_owned(),
            usage_plan_ids: [plan].into(),
            ..NewApiKey::default()
        };
        let key = api_key::create(&app, &alice, new).await.unwrap().0.id;
        let joined = "update usage_plan_key set created_at = '2026-11-11T15:00:00Z'";
        sqlx::query(joined).execute(&db).await.unwrap();
        for (day, calls) in [("2026-11-12", 30), ("2026-11-14", 20), ("2026-11-16", 5)] {
            count(&app, &alice, plan, key.as_str(), day, (calls, calls)).await;
        }
        // One that was called by the plan and is on it no more has no first period.
        count(&app, &alice, plan, "other67890", "2026-11-14", (10, 10)).await;
        crate::ledger::rollup::run(&app).await.unwrap();
        let time = |text: &str| format!("{text}T00:00:00Z").parse::<DateTime<Utc>>().unwrap();
        let span = (time("2026-11-08"), Some(time("2026-11-17")));
        let page = Page::first(100, None, None).unwrap();
        let left = async |key: &str| -> Vec<(u32, i64)> {
            let key = Some(key.parse().unwrap());
            let days = list(&app, &alice, plan, key, span, &page).await.unwrap().items;
            days.iter().map(|row| (row.day.day(), row.remaining.unwrap())).collect()
        };

        let (own, other) = (left(key.as_str()).await, left("other67890").await);
        key_quota::update(&app, &alice, plan, key, 25).await.unwrap();
        let granted = left(key.as_str()).await;

        let expected = [
            (16, 95),
            (15, 0),
            (14, 0), // 60 before and 50 since
            (13, 10),
            (12, 10),
            (11, 40),
            (10, 40),
            (9, 40),
            (8, 100),
        ];
        assert_eq!(own, expected);
        assert_eq!(other[..3], [(16, 100), (15, 90), (14, 90)]);
        // What was granted today counts in this week, and in no other.
        let mut expected = expected;
        expected[0].1 += 25;
        assert_eq!(granted, expected);
    }
}
