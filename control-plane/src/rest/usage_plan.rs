//! Usage plans.

use std::collections::btree_map::Entry;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::app::App;
use crate::domain;
use crate::domain::concurrency::ConcurrencyLimit;
use crate::domain::patch::Patch;
use crate::domain::quota::Quota;
use crate::domain::throttle::Throttle;
use crate::domain::usage_plan::{NewUsagePlan, RouteThrottles, StagesWanted, UsagePlanChanges};
use crate::error::{Error, Result};
use crate::ids::{StageId, UsagePlanId};
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

/// On which stages its keys may call, how fast and how much.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsagePlan {
    #[schema(value_type = String)]
    id: UsagePlanId,
    name: String,
    description: String,
    /// Of each key, over all stages of the plan.
    throttle: Option<Throttle>,
    /// Of each key, over all stages of the plan.
    concurrency_limit: Option<ConcurrencyLimit>,
    /// Of each key.
    quota: Option<Quota>,
    api_stages: Vec<ApiStage>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(UsagePlan);

/// A stage on a plan.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApiStage {
    api_id: String,
    stage: String,
    /// Of single routes, by `/path/METHOD`.
    #[schema(value_type = std::collections::BTreeMap<String, Throttle>)]
    throttle: RouteThrottles,
}

impl From<domain::usage_plan::ApiStage> for ApiStage {
    fn from(on: domain::usage_plan::ApiStage) -> Self {
        let StageId { api, name } = on.stage;
        Self { api_id: api.to_string(), stage: name, throttle: on.route_throttles }
    }
}

impl From<domain::usage_plan::UsagePlan> for UsagePlan {
    fn from(plan: domain::usage_plan::UsagePlan) -> Self {
        Self {
            version: plan.version(),
            id: plan.id,
            name: plan.name,
            description: plan.description,
            throttle: plan.throttle,
            concurrency_limit: plan.concurrency_limit,
            quota: plan.quota,
            api_stages: plan.api_stages.into_iter().map(Into::into).collect(),
            created_at: plan.created_at,
            updated_at: plan.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateUsagePlan {
    /// Unique in the tenant.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
    /// Of each key, over all stages of the plan.
    throttle: Option<Throttle>,
    /// Of each key, over all stages of the plan.
    concurrency_limit: Option<ConcurrencyLimit>,
    /// Of each key.
    quota: Option<Quota>,
    #[serde(default)]
    #[schema(max_items = 100)]
    api_stages: Vec<PutApiStage>,
}

/// A field left out stays; null removes a throttle, a concurrency limit or a quota.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateUsagePlan {
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    #[schema(max_length = 1024)]
    description: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Throttle>)]
    throttle: Patch<Throttle>,
    #[serde(default)]
    #[schema(value_type = Option<ConcurrencyLimit>)]
    concurrency_limit: Patch<ConcurrencyLimit>,
    #[serde(default)]
    #[schema(value_type = Option<Quota>)]
    quota: Patch<Quota>,
    /// All that the plan shall have.
    #[schema(max_items = 100)]
    api_stages: Option<Vec<PutApiStage>>,
}

/// A stage to be on a plan.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutApiStage {
    api_id: String,
    stage: String,
    /// Of at most 20 single routes, by `/path/METHOD`. Left out, those that the stage has on the plan stay.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Throttle>>)]
    throttle: Option<RouteThrottles>,
}

fn wanted(stages: Vec<PutApiStage>) -> Result<StagesWanted> {
    let mut wanted = StagesWanted::new();
    for (at, put) in stages.into_iter().enumerate() {
        let id: StageId = format!("{}/{}", put.api_id, put.stage)
            .parse()
            .map_err(|_| Error::bad_request(format!("apiStages[{at}]"), "names no stage"))?;
        match wanted.entry(id) {
            Entry::Vacant(entry) => entry.insert(put.throttle),
            Entry::Occupied(_) => {
                let param = format!("apiStages[{at}]");
                return Err(Error::bad_request(param, "names a stage for the second time"));
            }
        };
    }
    Ok(wanted)
}

/// The tenant's usage plans, oldest first.
#[utoipa::path(get, path = "/usage-plans", tag = "usage plans", operation_id = "listUsagePlans",
    params(PageQuery), responses(
        (status = 200, body = List<UsagePlan>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<UsagePlan>> {
    Ok(List::of(domain::usage_plan::list(&app, &actor, &page.try_into()?).await?))
}

/// Makes a usage plan.
#[utoipa::path(post, path = "/usage-plans", tag = "usage plans", operation_id = "createUsagePlan",
    request_body = CreateUsagePlan, responses(
        (status = 201, body = UsagePlan),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateUsagePlan>,
) -> Result<(StatusCode, Tag<UsagePlan>)> {
    let new = NewUsagePlan {
        name: body.name,
        description: body.description,
        throttle: body.throttle,
        concurrency_limit: body.concurrency_limit,
        quota: body.quota,
        stages: wanted(body.api_stages)?,
    };
    let plan = domain::usage_plan::create(&app, &actor, new).await?;
    Ok((StatusCode::CREATED, Tag(plan.into())))
}

/// One usage plan.
#[utoipa::path(get, path = "/usage-plans/{usagePlanId}", tag = "usage plans", operation_id = "getUsagePlan",
    params(("usagePlanId" = String, Path)), responses(
        (status = 200, body = UsagePlan),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<UsagePlanId>,
) -> Result<Tag<UsagePlan>> {
    Ok(Tag(domain::usage_plan::get(&app, &actor, id).await?.into()))
}

/// Changes a usage plan for all its keys at once.
#[utoipa::path(patch, path = "/usage-plans/{usagePlanId}", tag = "usage plans",
    operation_id = "updateUsagePlan", params(("usagePlanId" = String, Path)),
    request_body = UpdateUsagePlan, responses(
        (status = 200, body = UsagePlan),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<UsagePlanId>,
    extract::Json(body): extract::Json<UpdateUsagePlan>,
) -> Result<Tag<UsagePlan>> {
    let changes = UsagePlanChanges {
        name: body.name,
        description: body.description,
        throttle: body.throttle,
        concurrency_limit: body.concurrency_limit,
        quota: body.quota,
        stages: body.api_stages.map(wanted).transpose()?,
    };
    Ok(Tag(domain::usage_plan::update(&app, &actor, id, changes).await?.into()))
}

/// Deletes a usage plan; refused while API keys are on it.
#[utoipa::path(delete, path = "/usage-plans/{usagePlanId}", tag = "usage plans",
    operation_id = "deleteUsagePlan", params(("usagePlanId" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<UsagePlanId>,
) -> Result<StatusCode> {
    domain::usage_plan::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
