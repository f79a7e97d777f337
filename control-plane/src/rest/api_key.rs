//! API keys.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::app::App;
use crate::domain;
use crate::domain::api_key::{ApiKeyChanges, KeyMode, NewApiKey};
use crate::domain::patch::Patch;
use crate::error::Result;
use crate::ids::{ApiKeyId, ConsumerId, UsagePlanId};
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
        .routes(routes!(rotate))
        .routes(routes!(end_overlap))
}

/// What a consumer sends with each call.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApiKey {
    #[schema(value_type = String)]
    id: ApiKeyId,
    name: String,
    description: String,
    /// The last four characters of the value.
    hint: String,
    mode: KeyMode,
    /// A disabled key is refused like an unknown one.
    enabled: bool,
    #[schema(value_type = Option<String>, format = Uuid)]
    consumer_id: Option<ConsumerId>,
    /// On each stage one of them counts.
    #[schema(value_type = Vec<String>)]
    usage_plan_ids: Vec<UsagePlanId>,
    /// From then on the key is refused.
    expires_at: Option<DateTime<Utc>>,
    /// The last four characters of the value before the present one, where its last rotation had an overlap.
    previous_hint: Option<String>,
    /// Until then the value before the present one works too; in the past, it works no more.
    overlap_ends_at: Option<DateTime<Utc>>,
    /// Calls from elsewhere are refused with 403; empty: from everywhere.
    #[schema(value_type = Vec<String>)]
    client_networks: Vec<IpNet>,
    /// Calls from other pages, or from none, are refused with 403; empty: any.
    origins: Vec<String>,
    /// When a call with it was counted last, to within 15 seconds and known some seconds later.
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(ApiKey);

impl From<domain::api_key::ApiKey> for ApiKey {
    fn from(key: domain::api_key::ApiKey) -> Self {
        Self {
            version: key.version(),
            id: key.id,
            name: key.name,
            description: key.description,
            hint: key.hint,
            mode: key.mode,
            enabled: key.enabled,
            consumer_id: key.consumer_id,
            usage_plan_ids: key.usage_plan_ids,
            expires_at: key.expires_at,
            previous_hint: key.previous_hint,
            overlap_ends_at: key.overlap_ends_at,
            client_networks: key.client_networks,
            origins: key.origins,
            last_used_at: key.last_used_at,
            created_at: key.created_at,
            updated_at: key.updated_at,
        }
    }
}

/// A key whose value was just made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreatedApiKey {
    #[serde(flatten)]
    key: ApiKey,
    /// Shown here and never again.
    value: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateApiKey {
    #[schema(min_length = 1, max_length = 1024)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
    #[serde(default)]
    mode: KeyMode,
    #[serde(default = "enabled")]
    #[schema(default = true)]
    enabled: bool,
    #[schema(value_type = Option<String>, format = Uuid)]
    consumer_id: Option<ConsumerId>,
    /// No two of them have a stage in common.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 10)]
    usage_plan_ids: BTreeSet<UsagePlanId>,
    /// In the future; never when left out.
    expires_at: Option<DateTime<Utc>>,
    /// Networks that calls may come from, such as `203.0.113.0/24`; none: from everywhere.
    #[serde(default)]
    #[schema(max_items = 50)]
    client_networks: Vec<String>,
    /// Pages that calls may come from, as browsers say in `Origin`, such as `https://*.example.com`, of 2,048 characters
    /// together; none: from any, or from no page at all.
    #[serde(default)]
    #[schema(max_items = 50)]
    origins: Vec<String>,
    /// A value of the caller's own, printable ASCII without spaces. Left out, one is drawn.
    #[schema(value_type = Option<String>, format = Password, min_length = 20, max_length = 128)]
    value: Option<SecretString>,
}

fn enabled() -> bool {
    true
}

/// A field left out stays; null removes a consumer or an expiry.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateApiKey {
    #[schema(min_length = 1, max_length = 1024)]
    name: Option<String>,
    #[schema(max_length = 1024)]
    description: Option<String>,
    enabled: Option<bool>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    consumer_id: Patch<ConsumerId>,
    /// All that the key shall be on. No two of them have a stage in common.
    #[schema(value_type = Option<Vec<String>>, max_items = 10)]
    usage_plan_ids: Option<BTreeSet<UsagePlanId>>,
    #[serde(default)]
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Patch<DateTime<Utc>>,
    /// All networks that calls may come from; an empty list removes the restriction.
    #[schema(max_items = 50)]
    client_networks: Option<Vec<String>>,
    /// All pages that calls may come from, of 2,048 characters together; an empty list removes the restriction.
    #[schema(max_items = 50)]
    origins: Option<Vec<String>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RotateApiKey {
    /// Until then the value before works too: at most 90 days. Left out, it stops at once.
    overlap_ends_at: Option<DateTime<Utc>>,
}

/// The tenant's API keys, oldest first.
#[utoipa::path(get, path = "/api-keys", tag = "API keys", operation_id = "listApiKeys",
    params(PageQuery), responses(
        (status = 200, body = List<ApiKey>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<ApiKey>> {
    Ok(List::of(domain::api_key::list(&app, &actor, None, &page.try_into()?).await?))
}

/// Makes an API key; `value` is shown here and never again.
#[utoipa::path(post, path = "/api-keys", tag = "API keys", operation_id = "createApiKey",
    request_body = CreateApiKey, responses(
        (status = 201, body = CreatedApiKey),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateApiKey>,
) -> Result<(StatusCode, Json<CreatedApiKey>)> {
    let new = NewApiKey {
        name: body.name,
        description: body.description,
        mode: body.mode,
        enabled: body.enabled,
        consumer_id: body.consumer_id,
        usage_plan_ids: body.usage_plan_ids,
        expires_at: body.expires_at,
        client_networks: body.client_networks,
        origins: body.origins,
        value: body.value,
    };
    let (key, value) = domain::api_key::create(&app, &actor, new).await?;
    let value = value.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(CreatedApiKey { key: key.into(), value })))
}

/// Gives an API key another value, which is shown here and never again. The one before works beside it until the
/// overlap ends; to plans, limits and the ledger both are the same key.
#[utoipa::path(post, path = "/api-keys/{apiKeyId}/rotate", tag = "API keys", operation_id = "rotateApiKey",
    params(("apiKeyId" = String, Path)), request_body = RotateApiKey, responses(
        (status = 200, body = CreatedApiKey),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn rotate(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ApiKeyId>,
    extract::Json(body): extract::Json<RotateApiKey>,
) -> Result<Json<CreatedApiKey>> {
    let (key, value) = domain::api_key::rotate(&app, &actor, id, body.overlap_ends_at).await?;
    let value = value.expose_secret().to_owned();
    Ok(Json(CreatedApiKey { key: key.into(), value }))
}

/// Ends the overlap of a rotation early: from now on only the present value works.
#[utoipa::path(post, path = "/api-keys/{apiKeyId}/end-overlap", tag = "API keys",
    operation_id = "endApiKeyOverlap", params(("apiKeyId" = String, Path)), responses(
        (status = 200, body = ApiKey),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn end_overlap(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ApiKeyId>,
) -> Result<Tag<ApiKey>> {
    Ok(Tag(domain::api_key::end_overlap(&app, &actor, id).await?.into()))
}

/// One API key.
#[utoipa::path(get, path = "/api-keys/{apiKeyId}", tag = "API keys", operation_id = "getApiKey",
    params(("apiKeyId" = String, Path)), responses(
        (status = 200, body = ApiKey),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ApiKeyId>,
) -> Result<Tag<ApiKey>> {
    Ok(Tag(domain::api_key::get(&app, &actor, id).await?.into()))
}

/// Changes an API key; nodes hear of it at once.
#[utoipa::path(patch, path = "/api-keys/{apiKeyId}", tag = "API keys", operation_id = "updateApiKey",
    params(("apiKeyId" = String, Path)), request_body = UpdateApiKey, responses(
        (status = 200, body = ApiKey),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ApiKeyId>,
    extract::Json(body): extract::Json<UpdateApiKey>,
) -> Result<Tag<ApiKey>> {
    let changes = ApiKeyChanges {
        name: body.name,
        description: body.description,
        enabled: body.enabled,
        consumer_id: body.consumer_id,
        usage_plan_ids: body.usage_plan_ids,
        expires_at: body.expires_at,
        client_networks: body.client_networks,
        origins: body.origins,
    };
    Ok(Tag(domain::api_key::update(&app, &actor, id, changes).await?.into()))
}

/// Deletes an API key; what it used stays counted.
#[utoipa::path(delete, path = "/api-keys/{apiKeyId}", tag = "API keys", operation_id = "deleteApiKey",
    params(("apiKeyId" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ApiKeyId>,
) -> Result<StatusCode> {
    domain::api_key::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
