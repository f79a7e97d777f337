//! Usage, added up.

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::app::App;
use crate::domain;
use crate::domain::page::Key;
use crate::domain::usage::Wanted;
use crate::domain::usage_group::{By, NAMES_MAX, Question};
use crate::error::{Error, Result};
use crate::graphql::caller;
use crate::graphql::connection::{connection, page};
use crate::graphql::download::CreateDownloadPayload;
use crate::graphql::error::user_errors;
use crate::graphql::node::Kind;
use crate::graphql::usage::{UsageInterval, parse};

#[derive(Default)]
pub struct UsageGroupQuery;

#[derive(Default)]
pub struct UsageGroupMutation;

/// What tells calls apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::usage_group::Dimension")]
pub enum UsageDimension {
    Api,
    Stage,
    Route,
    ApiKey,
    UsagePlan,
    Consumer,
    StatusClass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::usage_group::Format")]
pub enum UsageExportFormat {
    Csv,
    Ndjson,
}

/// Which calls; each part left out matches every one.
#[derive(InputObject)]
pub struct UsageGroupFilter {
    /// From the interval that it lies in; at most 31 days before `until` by minute, 400 days by hour, 1100 by day.
    since: DateTime<Utc>,
    /// To the end of the interval that it lies in; now when left out.
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

impl UsageGroupFilter {
    fn asked(
        self,
        app: &App,
        interval: Option<UsageInterval>,
        by: impl IntoIterator<Item = UsageDimension>,
    ) -> Result<Question> {
        let wanted = Wanted {
            api: parse(Kind::Api, self.api.as_ref(), "filter.api")?,
            stage: self.stage,
            route: self.route,
            api_key: parse(Kind::ApiKey, self.api_key.as_ref(), "filter.apiKey")?,
            usage_plan: parse(Kind::UsagePlan, self.usage_plan.as_ref(), "filter.usagePlan")?,
            consumer: parse(Kind::Consumer, self.consumer.as_ref(), "filter.consumer")?,
            status_class: self.status_class,
        };
        let by: By = by.into_iter().map(Into::into).collect();
        let interval = interval.map(Into::into);
        Question::new(app, interval, self.since, self.until, wanted, by)
            .map_err(|error| error.within("filter"))
    }
}

/// Calls of one kind in one interval. What they are not told apart by is null, as is what they have none of.
#[derive(SimpleObject)]
pub struct UsageGroup {
    start: DateTime<Utc>,
    api_id: Option<String>,
    stage: Option<String>,
    /// `GET /pets/{id}`; `-` where no route matched.
    route: Option<String>,
    api_key_id: Option<String>,
    usage_plan_id: Option<String>,
    consumer_id: Option<String>,
    /// 2 for 2xx …; 0 where the call was cut off before a status.
    status_class: Option<i16>,
    requests: i64,
    billed_requests: i64,
    bytes_in: i64,
    bytes_out: i64,
    /// The sum over the calls.
    duration_ms: i64,
}

impl From<domain::usage_group::Listed> for UsageGroup {
    fn from(row: domain::usage_group::Listed) -> Self {
        let row = row.group;
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
            duration_ms: row.duration_ms,
        }
    }
}

/// Calls of one line of a chart in one interval.
#[derive(SimpleObject)]
pub struct UsageGroupPoint {
    start: DateTime<Utc>,
    /// The id, the name or the status class; null where calls have none, and where they are not told apart.
    group: Option<String>,
    /// All that are called less than the lines that have a name.
    other: bool,
    requests: i64,
    billed_requests: i64,
    bytes_in: i64,
    bytes_out: i64,
    /// The sum over the calls.
    duration_ms: i64,
}

impl From<domain::usage_group::GroupPoint> for UsageGroupPoint {
    fn from(point: domain::usage_group::GroupPoint) -> Self {
        Self {
            start: point.start,
            group: point.group,
            other: point.other,
            requests: point.requests,
            billed_requests: point.billed_requests,
            bytes_in: point.bytes_in,
            bytes_out: point.bytes_out,
            duration_ms: point.duration_ms,
        }
    }
}

#[derive(InputObject)]
pub struct CreateUsageExportInput {
    filter: UsageGroupFilter,
    /// What rows are told apart by; by nothing, one row of an interval is everything.
    group_by: Vec<UsageDimension>,
    /// Left out, the whole stretch is one interval.
    interval: Option<UsageInterval>,
    format: UsageExportFormat,
}

#[Object]
impl UsageGroupQuery {
    /// Counted calls, added up for each of what they are told apart by, seconds fresh. By an interval the newest first, at
    /// most 1,500 intervals: 1,100 days by day, 62 days by hour, 25 hours by minute. Without one the whole stretch is added
    /// up, what was called most first: a row that comes to stand before the cursor while pages are read is on none of them.
    /// What takes more than 5 seconds to add up is refused. Hours and days that are rolled up answer for their minutes; those that are not yet
    /// are read from these.
    #[expect(clippy::too_many_arguments, reason = "the field has so many")]
    async fn usage_groups(
        &self,
        ctx: &Context<'_>,
        filter: UsageGroupFilter,
        group_by: Vec<UsageDimension>,
        interval: Option<UsageInterval>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, UsageGroup>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        let question = filter.asked(app, interval, group_by)?;
        let rows = domain::usage_group::list(app, actor, &question, &page).await;
        Ok(connection(rows.map_err(within_filter)?))
    }

    /// The same, as a chart draws it, oldest first: a line for each of those that were called most, `names` of them (6 when
    /// left out, 10 at most), and one for the rest. Intervals without calls are left out.
    async fn usage_group_series(
        &self,
        ctx: &Context<'_>,
        filter: UsageGroupFilter,
        group_by: Option<UsageDimension>,
        interval: UsageInterval,
        names: Option<i32>,
    ) -> async_graphql::Result<Vec<UsageGroupPoint>> {
        let (app, actor) = caller(ctx)?;
        let question = filter.asked(app, Some(interval), group_by)?;
        let names = i64::from(names.unwrap_or(6));
        if !(1..=NAMES_MAX).contains(&names) {
            return Err(Error::bad_request("names", format!("is from 1 to {NAMES_MAX}")).into());
        }
        let points = domain::usage_group::series(app, actor, &question, names).await;
        Ok(points.map_err(within_filter)?.into_iter().map(Into::into).collect())
    }
}

/// What is wrong with its time is wrong with the filter.
fn within_filter(error: Error) -> Error {
    if error.param() == Some("since") { error.within("filter") } else { error }
}

#[Object]
impl UsageGroupMutation {
    /// A link to usage, added up, as CSV or NDJSON: all rows of it, however many, each once, the oldest first and of one
    /// start by name; without an interval by name. It works once, for 60 seconds. What takes too long to add up is refused
    /// when the link is opened.
    async fn create_usage_export(
        &self,
        ctx: &Context<'_>,
        input: CreateUsageExportInput,
    ) -> async_graphql::Result<CreateDownloadPayload> {
        let (app, actor) = caller(ctx)?;
        let made = async {
            let question = input.filter.asked(app, input.interval, input.group_by)?;
            domain::download::create_usage_export(app, actor, question, input.format.into()).await
        };
        let (link, user_errors) = user_errors(made.await)?;
        Ok(CreateDownloadPayload::of(link, user_errors))
    }
}
