//! Usage, added up: of a stretch of time, whole or by interval, for each api, stage, route, key, plan, consumer and
//! status class that are asked for.

use std::collections::BTreeSet;
use std::ops::Range;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::usage::{
    DAYS_SPAN_MAX, Interval, SEPARATOR, SERIES_INTERVALS_MAX, Wanted, minutes_kept_since,
};
use crate::error::{Error, Result};
use crate::store;
use crate::store::time_limit;

/// How many intervals the rows of one question may lie in, and those of a series: 25 hours by minute, 62 days by
/// hour; of days there are never so many ([`DAYS_SPAN_MAX`]).
pub const INTERVALS_MAX: i64 = SERIES_INTERVALS_MAX;
/// How many names a series tells apart; the rest are one line.
pub const NAMES_MAX: i64 = 10;

/// What tells calls apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    Api,
    Stage,
    Route,
    ApiKey,
    UsagePlan,
    Consumer,
    StatusClass,
}

/// What a file of usage is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Csv,
    Ndjson,
}

/// What rows are told apart by; by nothing, one row is everything.
pub type By = BTreeSet<Dimension>;

/// What somebody asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// None: the whole stretch is one interval, and what was called most comes first.
    pub interval: Option<Interval>,
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub wanted: Wanted,
    pub by: By,
}

impl Question {
    /// From the interval in which `since` lies to the end of the one in which `until` lies, which is now when left out.
    /// Of a whole stretch, both are taken to the minute.
    pub fn new(
        app: &App,
        interval: Option<Interval>,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
        wanted: Wanted,
        by: By,
    ) -> Result<Self> {
        let length = interval.unwrap_or_default().length();
        let span_max = interval.map_or(DAYS_SPAN_MAX, Interval::span_max);
        let until = until.unwrap_or_else(|| app.clock.now());
        let floor = |time: DateTime<Utc>, param: &'static str| {
            time.duration_trunc(length)
                .map_err(|_| Error::bad_request(param, "is no time that usage can have"))
        };
        let since = floor(since, "since")?;
        if since >= until {
            return Err(Error::bad_request("since", "must be before until"));
        }
        if until - since > span_max + length {
            let days = span_max.num_days();
            return Err(Error::bad_request(
                "since",
                format!("must be at most {days} days before until"),
            ));
        }
        let last = floor(until, "until")?;
        let until = if last == until { until } else { last + length };
        let question = Self { interval, since, until, wanted: wanted.checked()?, by };
        if question.minutes_since().is_some_and(|since| since < minutes_kept_since(app)) {
            let days = app.config.usage_minutes_kept_days;
            let rule = format!("usage by minute is kept for {days} days; ask for whole hours");
            return Err(Error::bad_request("since", rule));
        }
        Ok(question)
    }

    /// From when on it needs minutes, once all is rolled up; none where hours and days answer it.
    fn minutes_since(&self) -> Option<DateTime<Utc>> {
        let (hours, _) = self.whole();
        if hours.start == self.since {
            (hours.end != self.until).then_some(hours.end)
        } else {
            Some(self.since)
        }
    }

    /// Its whole hours, as far as they may be taken together, and the whole days among them.
    pub fn whole(&self) -> (Range<DateTime<Utc>>, Range<DateTime<Utc>>) {
        let none = |at: DateTime<Utc>| at..at;
        let within = |stretch: &Range<DateTime<Utc>>, length: TimeDelta| {
            let floor = |time: DateTime<Utc>| time.duration_trunc(length).unwrap_or(time);
            let first = floor(stretch.start);
            let start = if first == stretch.start { first } else { first + length };
            let end = floor(stretch.end);
            if start < end { start..end } else { none(stretch.start) }
        };
        let hours = match self.interval {
            Some(Interval::Minute) => none(self.since),
            _ => within(&(self.since..self.until), TimeDelta::hours(1)),
        };
        let days = match self.interval {
            Some(Interval::Minute | Interval::Hour) => none(hours.start),
            _ => within(&hours, TimeDelta::days(1)),
        };
        (hours, days)
    }

    fn bounded(&self) -> Result<()> {
        let Some(interval) = self.interval else { return Ok(()) };
        let intervals = (self.until - self.since).num_seconds() / interval.length().num_seconds();
        if intervals > INTERVALS_MAX {
            let reason = format!(
                "at most {INTERVALS_MAX} intervals are answered at once; this has {intervals}"
            );
            return Err(Error::bad_request("since", reason));
        }
        Ok(())
    }
}

/// Calls of one kind in one interval. What they are not told apart by is none, as is what they have none of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageGroup {
    pub start: DateTime<Utc>,
    pub api_id: Option<String>,
    pub stage: Option<String>,
    /// `GET /pets/{id}`; `-` where no route matched.
    pub route: Option<String>,
    pub api_key_id: Option<String>,
    pub usage_plan_id: Option<String>,
    pub consumer_id: Option<String>,
    /// 2 for 2xx; 0 where calls were cut off before a status.
    pub status_class: Option<i16>,
    pub requests: i64,
    pub billed_requests: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
    /// The sum over the calls.
    pub duration_ms: i64,
}

impl UsageGroup {
    /// Where it stands among the rows of its start: by name, or by how much it was called first.
    pub fn place(&self, ranked: bool) -> Key {
        let or_none = |name: &Option<String>| name.clone().unwrap_or_default();
        let rank = if ranked { self.requests } else { 0 };
        let id = [
            rank.to_string(),
            or_none(&self.api_id),
            or_none(&self.stage),
            or_none(&self.route),
            or_none(&self.api_key_id),
            or_none(&self.usage_plan_id),
            or_none(&self.consumer_id),
            self.status_class.unwrap_or(-1).to_string(),
        ]
        .join(SEPARATOR);
        Key::new(Listed::LIST, self.start, &id)
    }
}

/// A row that knows which answer it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub group: UsageGroup,
    pub interval: Option<Interval>,
}

impl std::ops::Deref for Listed {
    type Target = UsageGroup;

    fn deref(&self) -> &UsageGroup {
        &self.group
    }
}

impl Keyed for Listed {
    const LIST: &'static str = "usageGroups";

    fn key(&self) -> Key {
        self.group.place(self.interval.is_none())
    }
}

/// What orders rows of the same start.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub rank: i64,
    /// Api, stage, route, key, plan, consumer.
    pub names: [String; 6],
    pub status_class: i16,
}

impl Place {
    /// Reads the id of a row's key.
    pub fn of(key: &Key) -> Result<Self> {
        let mut parts: Vec<String> = key.id.split(SEPARATOR).map(str::to_owned).collect();
        let class = parts.pop().and_then(|class| class.parse().ok());
        let rank = (!parts.is_empty()).then(|| parts.remove(0)).and_then(|rank| rank.parse().ok());
        match (rank, class, <[String; 6]>::try_from(parts)) {
            (Some(rank), Some(status_class), Ok(names)) => Ok(Self { rank, names, status_class }),
            _ => Err(key.foreign()),
        }
    }
}

/// Newest first; of a whole stretch what was called most first. A row that is called more between two pages, and comes to
/// stand before the cursor, is on neither. Every member may read what the tenant used.
pub async fn list(
    app: &App,
    actor: &Actor,
    question: &Question,
    page: &Page,
) -> Result<Paged<Listed>> {
    question.bounded()?;
    let mut tx = app.begin_to_add_up(actor.tenant, time_limit::ANSWER).await?;
    let keys = (page.after(), page.before());
    let (backward, rows_max) = (page.backward(), page.rows_max());
    let rows = store::usage_group::list(&mut tx, actor.tenant, question, keys, backward, rows_max);
    let interval = question.interval;
    page.cut(rows.await?.into_iter().map(|group| Listed { group, interval }).collect())
}

/// Calls of one line of a chart in one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPoint {
    pub start: DateTime<Utc>,
    /// None where they have none, and where lines are not told apart.
    pub group: Option<String>,
    /// All that are called less than the lines that have a name.
    pub other: bool,
    pub requests: i64,
    pub billed_requests: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
    pub duration_ms: i64,
}

/// What a chart draws, oldest first: a line for each of the `names_max` that were called most, and one for the rest.
/// Intervals without calls are left out. The question tells apart by one dimension at most.
pub async fn series(
    app: &App,
    actor: &Actor,
    question: &Question,
    names_max: i64,
) -> Result<Vec<GroupPoint>> {
    question.bounded()?;
    if !(1..=NAMES_MAX).contains(&names_max) {
        return Err(Error::bad_request("names", format!("is from 1 to {NAMES_MAX}")));
    }
    let mut tx = app.begin_to_add_up(actor.tenant, time_limit::ANSWER).await?;
    store::usage_group::series(&mut tx, actor.tenant, question, names_max).await
}

#[cfg(test)]
mod tests;
