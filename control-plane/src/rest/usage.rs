//! Usage.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::domain::page::Page;
use crate::domain::usage::{UsageFilter, Wanted};
use crate::error::{Error, Result};
use crate::rest::extract::Query;
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Interval {
    #[default]
    Minute,
    Hour,
    Day,
}

impl From<Interval> for domain::usage::Interval {
    fn from(interval: Interval) -> Self {
        match interval {
            Interval::Minute => Self::Minute,
            Interval::Hour => Self::Hour,
            Interval::Day => Self::Day,
        }
    }
}

/// Which usage; each id left out matches every one.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UsageQuery {
    /// `minute` when left out.
    #[serde(default)]
    #[param(inline)]
    interval: Interval,
    /// From the interval that it lies in; at most 31 days before `until` by minute, 400 days by hour, 1100 by day.
    since: DateTime<Utc>,
    /// Exclusive; now when left out.
    until: Option<DateTime<Utc>>,
    api_id: Option<String>,
    stage: Option<String>,
    /// `GET /pets/{id}`; `-` for calls that no route matched.
    route: Option<String>,
    api_key_id: Option<String>,
    usage_plan_id: Option<String>,
    consumer_id: Option<String>,
    /// 2 for 2xx; 0 for calls that were cut off before a status.
    #[param(minimum = 0, maximum = 5)]
    status_class: Option<i16>,
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Calls of one kind in one interval.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageRow {
    start: DateTime<Utc>,
    api_id: String,
    stage: String,
    /// `GET /pets/{id}`; `-` where no route matched.
    route: String,
    api_key_id: Option<String>,
    usage_plan_id: Option<String>,
    consumer_id: Option<String>,
    /// 2 for 2xx; 0 where the call was cut off before a status.
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

/// Counted calls by minute, hour or day, newest first, seconds fresh.
#[utoipa::path(get, path = "/usage", tag = "usage", operation_id = "listUsage", params(UsageQuery), responses(
    (status = 200, body = List<UsageRow>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(query): Query<UsageQuery>,
) -> Result<List<UsageRow>> {
    let wanted = Wanted {
        api: id(query.api_id, "apiId")?,
        stage: query.stage,
        route: query.route,
        api_key: id(query.api_key_id, "apiKeyId")?,
        usage_plan: id(query.usage_plan_id, "usagePlanId")?,
        consumer: id(query.consumer_id, "consumerId")?,
        status_class: query.status_class,
    };
    let filter = UsageFilter::new(&app, query.interval.into(), query.since, query.until, wanted)?;
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    Ok(List::of(domain::usage::list(&app, &actor, &filter, &page).await?))
}

pub(super) fn id<Id: std::str::FromStr>(
    text: Option<String>,
    param: &'static str,
) -> Result<Option<Id>> {
    let parse = |text: String| text.parse().map_err(|_| Error::bad_request(param, "is not an id"));
    text.map(parse).transpose()
}
