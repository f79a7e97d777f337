//! What keys have of their plans' quotas.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::app::App;
use crate::domain;
use crate::error::Result;
use crate::ids::{ApiKeyId, UsagePlanId};
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get, update))
}

/// What a key has of a plan's quota in the present period.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyQuota {
    #[schema(value_type = String)]
    usage_plan_id: UsagePlanId,
    #[schema(value_type = String)]
    api_key_id: ApiKeyId,
    /// When the period began.
    starts_at: DateTime<Utc>,
    /// When it ends, and with it what was granted.
    ends_at: DateTime<Utc>,
    /// How many requests the key has in it, with what was granted and without what it had used before.
    limit: i64,
    /// What was granted in this period.
    extra_calls: i64,
    /// What `If-Match` takes.
    version: String,
}

tagged!(KeyQuota);

impl From<domain::key_quota::KeyQuota> for KeyQuota {
    fn from(quota: domain::key_quota::KeyQuota) -> Self {
        Self {
            version: quota.version(),
            usage_plan_id: quota.usage_plan_id,
            api_key_id: quota.api_key_id,
            starts_at: quota.starts_at,
            ends_at: quota.ends_at,
            limit: quota.limit,
            extra_calls: quota.extra_calls,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateKeyQuota {
    /// How many calls the key has beside its quota in the present period, all told.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    extra_calls: i64,
}

/// What a key has of a plan's quota in the present period.
#[utoipa::path(get, path = "/usage-plans/{usagePlanId}/api-keys/{apiKeyId}/quota", tag = "usage plans",
    operation_id = "getKeyQuota", params(("usagePlanId" = String, Path), ("apiKeyId" = String, Path)),
    responses(
        (status = 200, body = KeyQuota),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path((plan, key)): Path<(UsagePlanId, ApiKeyId)>,
) -> Result<Tag<KeyQuota>> {
    Ok(Tag(domain::key_quota::get(&app, &actor, plan, key).await?.into()))
}

/// Grants a key calls beside its quota, until the present period ends. The same again changes nothing.
#[utoipa::path(patch, path = "/usage-plans/{usagePlanId}/api-keys/{apiKeyId}/quota", tag = "usage plans",
    operation_id = "updateKeyQuota",
    params(("usagePlanId" = String, Path), ("apiKeyId" = String, Path)),
    request_body = UpdateKeyQuota, responses(
        (status = 200, body = KeyQuota),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path((plan, key)): Path<(UsagePlanId, ApiKeyId)>,
    extract::Json(body): extract::Json<UpdateKeyQuota>,
) -> Result<Tag<KeyQuota>> {
    let updated = domain::key_quota::update(&app, &actor, plan, key, body.extra_calls).await?;
    Ok(Tag(updated.into()))
}
