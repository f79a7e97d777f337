//! Usage: what was counted, by minute, by hour or by day.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::error::{Error, Result};
use crate::ids::{ApiId, ApiKeyId, ConsumerId, UsagePlanId};
use crate::store;

/// The longest time that one question by minute may span.
pub const MINUTES_SPAN_MAX: TimeDelta = TimeDelta::days(31);
/// The longest time that one question by hour may span.
pub const HOURS_SPAN_MAX: TimeDelta = TimeDelta::days(400);
/// The longest time that one question by day may span.
pub const DAYS_SPAN_MAX: TimeDelta = TimeDelta::days(1100);

/// How many intervals one series may have: 62 days by hour, a day by minute.
pub const SERIES_INTERVALS_MAX: i64 = 1_500;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// Seconds fresh.
    #[default]
    Minute,
    /// A few seconds behind the minutes.
    Hour,
    /// A few seconds behind the hours.
    Day,
}

impl Interval {
    /// As PostgreSQL's `date_trunc` calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    pub fn length(self) -> TimeDelta {
        match self {
            Self::Minute => TimeDelta::minutes(1),
            Self::Hour => TimeDelta::hours(1),
            Self::Day => TimeDelta::days(1),
        }
    }

    pub fn span_max(self) -> TimeDelta {
        match self {
            Self::Minute => MINUTES_SPAN_MAX,
            Self::Hour => HOURS_SPAN_MAX,
            Self::Day => DAYS_SPAN_MAX,
        }
    }
}

/// What somebody asks for; each part left out matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub api: Option<ApiId>,
    pub stage: Option<String>,
    /// `GET /pets/{id}`; `-` where no route matched.
    pub route: Option<String>,
    pub api_key: Option<ApiKeyId>,
    pub usage_plan: Option<UsagePlanId>,
    pub consumer: Option<ConsumerId>,
    /// 2 for 2xx; 0 where calls were cut off before a status.
    pub status_class: Option<i16>,
}

impl Wanted {
    /// What no row can have is refused.
    pub fn checked(self) -> Result<Self> {
        for (param, name) in [("stage", &self.stage), ("route", &self.route)] {
            if name.as_ref().is_some_and(|name| name.contains('\0')) {
                return Err(Error::bad_request(param, "must not hold control characters"));
            }
        }
        if self.status_class.is_some_and(|class| !(0..=5).contains(&class)) {
            return Err(Error::bad_request("statusClass", "is from 0 to 5"));
        }
        Ok(self)
    }
}

/// Since when usage by minute is there, at least: by hour and by day it is kept for good.
pub fn minutes_kept_since(app: &App) -> DateTime<Utc> {
    let kept = TimeDelta::days(app.config.usage_minutes_kept_days.into());
    let since = app.clock.now() - kept;
    since.duration_trunc(TimeDelta::days(1)).unwrap_or(since)
}

/// Which usage to list.
#[derive(Clone, Debug)]
pub struct UsageFilter {
    pub interval: Interval,
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub wanted: Wanted,
}

impl UsageFilter {
    /// From the interval in which `since` lies to before `until`, which is now when left out.
    pub fn new(
        app: &App,
        interval: Interval,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
        wanted: Wanted,
    ) -> Result<Self> {
        let until = until.unwrap_or_else(|| app.clock.now());
        let since = since
            .duration_trunc(interval.length())
            .map_err(|_| Error::bad_request("since", "is no time that usage can have"))?;
        if since >= until {
            return Err(Error::bad_request("since", "must be before until"));
        }
        let span_max = interval.span_max();
        // The interval that `since` begins in is given for free.
        if until - since > span_max + interval.length() {
            let days = span_max.num_days();
            return Err(Error::bad_request(
                "since",
                format!("must be at most {days} days before until"),
            ));
        }
        if interval == Interval::Minute && since < minutes_kept_since(app) {
            let days = app.config.usage_minutes_kept_days;
            let rule = format!("usage by minute is kept for {days} days; ask by hour or by day");
            return Err(Error::bad_request("since", rule));
        }
        Ok(Self { interval, since, until, wanted: wanted.checked()? })
    }
}

/// Calls of one kind in one interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    pub start: DateTime<Utc>,
    pub api_id: String,
    pub stage: String,
    /// `GET /pets/{id}`; `-` where no route matched.
    pub route: String,
    pub api_key_id: Option<String>,
    pub usage_plan_id: Option<String>,
    pub consumer_id: Option<String>,
    /// 2 for 2xx; 0 where calls were cut off before a status.
    pub status_class: i16,
    pub requests: i64,
    pub billed_requests: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
}

/// Between the names in a cursor; in none of them.
pub(super) const SEPARATOR: &str = "\u{1f}";

/// What orders rows of the same start.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Api, stage, route, key, plan, consumer.
    pub names: [String; 6],
    pub status_class: i16,
}

impl Place {
    /// Reads the id of a row's key.
    pub fn of(key: &Key) -> Result<Self> {
        let mut parts: Vec<String> = key.id.split(SEPARATOR).map(str::to_owned).collect();
        let class = parts.pop().and_then(|class| class.parse().ok());
        match (class, <[String; 6]>::try_from(parts)) {
            (Some(status_class), Ok(names)) => Ok(Self { names, status_class }),
            _ => Err(key.foreign()),
        }
    }
}

impl Keyed for UsageRow {
    const LIST: &'static str = "usage";

    fn key(&self) -> Key {
        let or_none = |name: &Option<String>| name.clone().unwrap_or_default();
        let id = [
            self.api_id.clone(),
            self.stage.clone(),
            self.route.clone(),
            or_none(&self.api_key_id),
            or_none(&self.usage_plan_id),
            or_none(&self.consumer_id),
            self.status_class.to_string(),
        ]
        .join(SEPARATOR);
        Key::new(Self::LIST, self.start, &id)
    }
}

/// Newest first. Every member may read what the tenant used.
pub async fn list(
    app: &App,
    actor: &Actor,
    filter: &UsageFilter,
    page: &Page,
) -> Result<Paged<UsageRow>> {
    let mut tx = app.begin(actor).await?;
    let rows = store::usage::list(&mut tx, actor.tenant, filter, page).await?;
    page.cut(rows)
}

/// Calls of one status class in one interval, over all that the filter matches.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct UsagePoint {
    pub start: DateTime<Utc>,
    /// 2 for 2xx; 0 where calls were cut off before a status.
    pub status_class: i16,
    pub requests: i64,
    pub billed_requests: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
}

/// What a chart draws, oldest first. Intervals without calls are left out.
pub async fn series(app: &App, actor: &Actor, filter: &UsageFilter) -> Result<Vec<UsagePoint>> {
    let length = filter.interval.length();
    let intervals = (filter.until - filter.since).num_seconds() / length.num_seconds();
    if intervals > SERIES_INTERVALS_MAX {
        let reason =
            format!("a series has at most {SERIES_INTERVALS_MAX} intervals; this has {intervals}");
        return Err(Error::bad_request("since", reason));
    }
    let mut tx = app.begin(actor).await?;
    store::usage::series(&mut tx, actor.tenant, filter).await
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::ledger::intake::{self, tests as ledger};
    use crate::ledger::rollup;
    use crate::testing;

    fn since(app: &App, seconds: i64) -> UsageFilter {
        let since = app.clock.now() - TimeDelta::seconds(seconds);
        UsageFilter::new(app, Interval::Minute, since, None, Wanted::default()).unwrap()
    }

    /// Calls of three routes in each of two minutes.
    async fn six_rows(app: &App, actor: &Actor) {
        let node = ledger::node(app, "default").await;
        for counter in 1..=2 {
            let calls = ["GET /a", "GET /b", "-"]
                .map(|route| ledger::Call { route, ..ledger::call(app, actor.tenant) });
            intake::take(app, node, &[ledger::segment(ledger::place(counter), &calls)])
                .await
                .unwrap();
            app.clock.advance(TimeDelta::minutes(1));
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn usage_is_listed_newest_first_and_paged_by_key(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        six_rows(&app, &alice).await;
        let filter = since(&app, 3600);

        let all = list(&app, &alice, &filter, &Page::default()).await.unwrap().items;
        let mut forward = Vec::new();
        let mut after = None;
        loop {
            let page = Page::first(4, after, None).unwrap();
            let paged = list(&app, &alice, &filter, &page).await.unwrap();
            after = paged.items.last().map(Keyed::key);
            forward.extend(paged.items);
            if !paged.has_next {
                break;
            }
        }
        let mut backward = Vec::new();
        let mut before = None;
        loop {
            let page = Page::last(4, None, before).unwrap();
            let mut paged = list(&app, &alice, &filter, &page).await.unwrap();
            before = paged.items.first().map(Keyed::key);
            paged.items.append(&mut backward);
            backward = paged.items;
            if !paged.has_previous {
                break;
            }
        }

        assert_eq!(all.len(), 6);
        assert!(all.is_sorted_by_key(|row| std::cmp::Reverse(row.start)));
        assert_eq!((all[0].requests, all[0].status_class, all[0].bytes_out), (1, 2, 1000));
        assert_eq!(all[0].consumer_id, None);
        assert_eq!(forward, all);
        assert_eq!(backward, all);
        let foreign = Key::new(UsageRow::LIST, all[0].start, &"x");
        let page = Page::first(4, Some(foreign), None).unwrap();
        let refused = list(&app, &alice, &filter, &page).await.unwrap_err();
        assert_eq!(refused.code(), "bad_request");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn usage_is_filtered_and_seen_by_its_tenant_alone(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        six_rows(&app, &alice).await;
        let count = async |actor: &Actor, filter: &UsageFilter| {
            list(&app, actor, filter, &Page::default()).await.unwrap().items.len()
        };
        let with = |change: fn(&mut UsageFilter)| {
            let mut filter = since(&app, 3600);
            change(&mut filter);
            filter
        };

        assert_eq!(count(&alice, &since(&app, 70)).await, 3, "the minute of `since` is in it");
        assert_eq!(count(&alice, &with(|f| f.wanted.stage = Some("prod".to_owned()))).await, 6);
        assert_eq!(count(&alice, &with(|f| f.wanted.stage = Some("beta".to_owned()))).await, 0);
        let api = |f: &mut UsageFilter| f.wanted.api = "abcdefghi0".parse().ok();
        assert_eq!(count(&alice, &with(api)).await, 6);
        let key = |f: &mut UsageFilter| f.wanted.api_key = "other67890".parse().ok();
        assert_eq!(count(&alice, &with(key)).await, 0);
        assert_eq!(count(&mallory, &since(&app, 3600)).await, 0);

        let since = app.clock.now() - TimeDelta::hours(1);
        let by_hour =
            UsageFilter::new(&app, Interval::Hour, since, None, Wanted::default()).unwrap();
        assert_eq!(count(&alice, &by_hour).await, 0, "not rolled up yet");
        rollup::run(&app).await.unwrap();
        let hours = list(&app, &alice, &by_hour, &Page::default()).await.unwrap().items;
        assert_eq!(hours.len(), 6, "11:59 and 12:00 lie in two hours");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_series_adds_routes_up_by_interval_and_status_class(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        six_rows(&app, &alice).await;
        let filter = since(&app, 3600);

        let points = series(&app, &alice, &filter).await.unwrap();
        let drawn: Vec<_> = points.iter().map(|it| (it.status_class, it.requests)).collect();
        assert_eq!(drawn, [(2, 3), (2, 3)], "three routes in each of two minutes");
        assert!(points.is_sorted_by_key(|point| point.start));
        assert_eq!(points[0].bytes_out, 3000);
        assert_eq!(series(&app, &mallory, &filter).await.unwrap(), []);
        let beta = UsageFilter {
            wanted: Wanted { stage: Some("beta".to_owned()), ..Wanted::default() },
            ..filter
        };
        assert_eq!(series(&app, &alice, &beta).await.unwrap(), []);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_series_has_a_bounded_number_of_intervals(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let minutes = since(&app, 60 * SERIES_INTERVALS_MAX);
        assert_eq!(series(&app, &alice, &minutes).await.unwrap(), []);
        let more = since(&app, 60 * (SERIES_INTERVALS_MAX + 1));
        assert_eq!(series(&app, &alice, &more).await.unwrap_err().param(), Some("since"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_question_spans_a_bounded_time(db: PgPool) {
        let app = testing::app(db).await;
        let now = app.clock.now();
        let ask = |interval, since, until| {
            let asked = UsageFilter::new(&app, interval, since, until, Wanted::default());
            asked.map(drop).map_err(|error| error.param().map(str::to_owned))
        };
        let wrong = Err(Some("since".to_owned()));
        assert_eq!(ask(Interval::Minute, now - MINUTES_SPAN_MAX, None), Ok(()));
        assert_eq!(
            ask(Interval::Minute, now - MINUTES_SPAN_MAX - TimeDelta::minutes(2), None),
            wrong
        );
        assert_eq!(ask(Interval::Hour, now - HOURS_SPAN_MAX, None), Ok(()));
        assert_eq!(ask(Interval::Hour, now - HOURS_SPAN_MAX - TimeDelta::hours(2), None), wrong);
        assert_eq!(ask(Interval::Minute, now + TimeDelta::hours(1), None), wrong);
        assert_eq!(
            ask(Interval::Minute, DateTime::<Utc>::MIN_UTC, Some(DateTime::<Utc>::MAX_UTC)),
            wrong
        );
    }
}
