//! What keys used of their usage plan.

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
use crate::error::Result;
use crate::ids::UsagePlanId;
use crate::rest::extract::{Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;
use crate::rest::usage::id;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which days.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct KeyUsageQuery {
    /// From the day, in UTC, that it lies in; at most 100 days before `until`.
    since: DateTime<Utc>,
    /// To the day, in UTC, that it lies in, or to the one before where it is midnight; now when left out.
    until: Option<DateTime<Utc>>,
    /// Left out, of every key that is on the plan or called by it.
    api_key_id: Option<String>,
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// What a key used on a day, in UTC, and what its quota left.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyDay {
    /// Its midnight.
    day: DateTime<Utc>,
    api_key_id: String,
    /// Calls on that day that were let through; of a test key, all.
    used: i64,
    /// At the day's end, of the quota's period that the day is in, by the quota as it now is, less its `initialUsed` in the
    /// period in which the key was put on the plan, and with what the key was granted last in the period of that. Null where
    /// the plan has no quota, or one whose periods are not those of the calendar in UTC.
    remaining: Option<i64>,
}

impl From<domain::key_usage::KeyDay> for KeyDay {
    fn from(day: domain::key_usage::KeyDay) -> Self {
        Self { day: day.day, api_key_id: day.api_key_id, used: day.used, remaining: day.remaining }
    }
}

/// What keys used of the plan, day by day, the newest first, seconds fresh.
#[utoipa::path(get, path = "/usage-plans/{usagePlanId}/usage", tag = "usage plans", operation_id = "listKeyUsage",
    params(("usagePlanId" = String, Path), KeyUsageQuery), responses(
        (status = 200, body = List<KeyDay>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Path(plan): Path<UsagePlanId>,
    Query(query): Query<KeyUsageQuery>,
) -> Result<List<KeyDay>> {
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    let key = id(query.api_key_id, "apiKeyId")?;
    let time = (query.since, query.until);
    Ok(List::of(domain::key_usage::list(&app, &actor, plan, key, time, &page).await?))
}
