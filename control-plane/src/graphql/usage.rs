//! Usage.

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::app::App;
use crate::domain;
use crate::domain::page::Key;
use crate::domain::usage::Wanted;
use crate::error::Result;
use crate::graphql::caller;
use crate::graphql::connection::{connection, page};
use crate::graphql::node::Kind;

#[derive(Default)]
pub struct UsageQuery;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::usage::Interval")]
pub enum UsageInterval {
    Minute,
    Hour,
    Day,
}

#[derive(InputObject)]
pub struct UsageFilter {
    #[graphql(default_with = "UsageInterval::Minute")]
    interval: UsageInterval,
    /// From the interval that it lies in; at most 31 days before `until` by minute, 400 days by hour, 1100 by day.
    since: DateTime<Utc>,
    /// Exclusive; now when left out.
    until: Option<DateTime<Utc>>,
    api: Option<ID>,
    stage: Option<String>,
    /// `GET /pets/{id}`; `-` for calls that no route matched.
    route: Option<String>,
    api_key: Option<ID>,
    usage_plan: Option<ID>,
    consumer: Option<ID>,
    /// 2 for 2xx …; 0 for calls that were cut off before a status.
    status_class: Option<i16>,
}

impl UsageFilter {
    fn checked(self, app: &App) -> Result<domain::usage::UsageFilter> {
        let wanted = self.wanted()?;
        let interval = self.interval.into();
        domain::usage::UsageFilter::new(app, interval, self.since, self.until, wanted)
            .map_err(|error| error.within("filter"))
    }

    fn wanted(&self) -> Result<Wanted> {
        Ok(Wanted {
            api: parse(Kind::Api, self.api.as_ref(), "filter.api")?,
            stage: self.stage.clone(),
            route: self.route.clone(),
            api_key: parse(Kind::ApiKey, self.api_key.as_ref(), "filter.apiKey")?,
            usage_plan: parse(Kind::UsagePlan, self.usage_plan.as_ref(), "filter.usagePlan")?,
            consumer: parse(Kind::Consumer, self.consumer.as_ref(), "filter.consumer")?,
            status_class: self.status_class,
        })
    }
}

pub(super) fn parse<Id: std::str::FromStr>(
    kind: Kind,
    id: Option<&ID>,
    param: &str,
) -> Result<Option<Id>> {
    id.map(|id| kind.parse(id, param)).transpose()
}

/// Calls of one kind in one interval.
#[derive(SimpleObject)]
pub struct UsageRow {
    start: DateTime<Utc>,
    api_id: String,
    stage: String,
    /// `GET /pets/{id}`; `-` where no route matched.
    route: String,
    api_key_id: Option<String>,
    usage_plan_id: Option<String>,
    consumer_id: Option<String>,
    /// 2 for 2xx …; 0 where the call was cut off before a status.
    status_class: i16,
    requests: i64,
    billed_requests: i64,
    bytes_in: i64,
    bytes_out: i64,
}

impl From<domain::usage::UsageRow> for UsageRow {
    fn from(row: domain::usage::UsageRow) -> Self {
        Self {
            start: row.start,
            api_id: row.api_id,
            stage: row.stage,
            route: row.route,
            api_key_id: row.api_key_id,
            usage_plan_id: row.usage_plan_id,
            consumer_id: row.consumer_id,
            status_class: row.status_class,
            requests: row.requests,
            billed_requests: row.billed_requests,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
        }
    }
}

/// Calls of one status class in one interval.
#[derive(SimpleObject)]
pub struct UsagePoint {
    start: DateTime<Utc>,
    /// 2 for 2xx …; 0 where the call was cut off before a status.
    status_class: i16,
    requests: i64,
    billed_requests: i64,
    bytes_in: i64,
    bytes_out: i64,
}

impl From<domain::usage::UsagePoint> for UsagePoint {
    fn from(point: domain::usage::UsagePoint) -> Self {
        Self {
            start: point.start,
            status_class: point.status_class,
            requests: point.requests,
            billed_requests: point.billed_requests,
            bytes_in: point.bytes_in,
            bytes_out: point.bytes_out,
        }
    }
}

#[Object]
impl UsageQuery {
    /// Counted calls by minute, hour or day, newest first, seconds fresh.
    async fn usage(
        &self,
        ctx: &Context<'_>,
        filter: UsageFilter,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, UsageRow>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        let filter = filter.checked(app)?;
        Ok(connection(domain::usage::list(app, actor, &filter, &page).await?))
    }

    /// Counted calls added up by interval and status class, oldest first: what a chart draws. Intervals without
    /// calls are left out. At most 1,500 intervals: 1,100 days by day, 62 days by hour, 25 hours by minute.
    async fn usage_series(
        &self,
        ctx: &Context<'_>,
        filter: UsageFilter,
    ) -> async_graphql::Result<Vec<UsagePoint>> {
        let (app, actor) = caller(ctx)?;
        let filter = filter.checked(app)?;
        let points = domain::usage::series(app, actor, &filter).await;
        let points = points.map_err(|error| error.within("filter"))?;
        Ok(points.into_iter().map(UsagePoint::from).collect())
    }
}
