//! Stages.

use std::collections::BTreeMap;

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
use crate::domain::client_throttle::ClientThrottle;
use crate::domain::concurrency::{ConcurrencyLimit, RouteConcurrencyLimit};
use crate::domain::patch::Patch;
use crate::domain::sampling::SamplingRule;
use crate::domain::stage::{NewStage, UpdateStage};
use crate::domain::throttle::{RouteThrottle, Throttle};
use crate::error::{Error, Result};
use crate::ids::{ApiId, ClientCertificateId, DeploymentId, StageId};
use crate::rest::canary::{CanarySettings, PatchCanarySettings};
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
        .routes(routes!(promote))
}

/// The name under which a deployment is called, and what is live beside it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a stage")]
pub(crate) struct Stage {
    #[schema(value_type = String)]
    api_id: ApiId,
    name: String,
    description: String,
    /// Null while nothing is deployed to it.
    #[schema(value_type = Option<String>)]
    deployment_id: Option<DeploymentId>,
    /// Another deployment, which a part of its calls goes to. Null: it has no canary.
    canary_settings: Option<CanarySettings>,
    /// The stage serves the draft: each change of that is deployed to it within moments.
    auto_deploy: bool,
    /// How the last automatic deployment went: why the draft is not served, where it cannot be. Null before the first.
    last_deployment_status_message: Option<String>,
    /// The draft differs from this stage's deployment.
    pending_changes: bool,
    /// What integrations' URIs take by `${stageVariables.name}`.
    variables: BTreeMap<String, String>,
    throttle: Option<Throttle>,
    /// Of some of its routes, beside its own.
    route_throttles: Vec<RouteThrottle>,
    concurrency_limit: Option<ConcurrencyLimit>,
    /// Of some of its routes, beside its own.
    route_concurrency_limits: Vec<RouteConcurrencyLimit>,
    /// For each of its clients.
    client_throttles: Vec<ClientThrottle>,
    /// Whether answers carry `RateLimit` headers.
    rate_limit_headers: bool,
    /// Whether `samplingRules` decide which traces of the stage's calls are kept; else each node's own setting does.
    tracing_enabled: bool,
    /// In order: the first that names a call's route decides.
    sampling_rules: Vec<SamplingRule>,
    /// What its backends over TLS are shown where they ask for a certificate. Null: nothing.
    #[schema(value_type = Option<String>)]
    client_certificate_id: Option<ClientCertificateId>,
    /// `http://…/prod`: what a consumer calls.
    invoke_url: String,
    /// The same without `*.localhost` names; null where path addressing is off.
    path_invoke_url: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(Stage);

impl Stage {
    pub(crate) fn of(app: &App, stage: domain::stage::Stage, pending_changes: bool) -> Self {
        Self {
            version: stage.version(),
            invoke_url: stage.invoke_url(app),
            path_invoke_url: stage.path_invoke_url(app),
            rate_limit_headers: stage.sends_rate_limit_headers(),
            api_id: stage.api,
            name: stage.name,
            description: stage.description,
            deployment_id: stage.deployment,
            canary_settings: stage.canary.map(Into::into),
            auto_deploy: stage.auto_deploy,
            last_deployment_status_message: stage.last_deployment_status_message,
            pending_changes,
            variables: stage.variables,
            throttle: stage.throttle,
            route_throttles: stage.route_throttles,
            concurrency_limit: stage.concurrency_limit,
            route_concurrency_limits: stage.route_concurrency_limits,
            client_throttles: stage.client_throttles,
            tracing_enabled: stage.tracing_enabled,
            sampling_rules: stage.sampling_rules,
            client_certificate_id: stage.client_certificate_id,
            created_at: stage.created_at,
            updated_at: stage.updated_at,
        }
    }

    async fn load(app: &App, actor: &Actor, stage: domain::stage::Stage) -> Result<Self> {
        let id = stage.id();
        let pending =
            domain::pending_changes::of_stages(app, actor, std::slice::from_ref(&id)).await?;
        Ok(Self::of(app, stage, pending.get(&id).copied().unwrap_or(false)))
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateStage {
    /// `$default` or 1 to 128 letters, digits, `-` and `_`.
    name: String,
    #[schema(value_type = Option<String>)]
    deployment_id: Option<DeploymentId>,
    /// The stage serves the draft: it takes no `deploymentId`.
    #[serde(default)]
    auto_deploy: bool,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
    /// At most 100; names of 1 to 64, values of 1 to 512 characters.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    throttle: Option<Throttle>,
    /// At most 100, one for a route.
    #[serde(default)]
    #[schema(max_items = 100)]
    route_throttles: Vec<RouteThrottle>,
    concurrency_limit: Option<ConcurrencyLimit>,
    /// At most 100, one for a route.
    #[serde(default)]
    #[schema(max_items = 100)]
    route_concurrency_limits: Vec<RouteConcurrencyLimit>,
    /// At most 20, of which a call counts against at most four.
    #[serde(default)]
    #[schema(max_items = 20)]
    client_throttles: Vec<ClientThrottle>,
    /// What backends over TLS are shown where they ask for a certificate.
    #[schema(value_type = Option<String>)]
    client_certificate_id: Option<ClientCertificateId>,
}

/// A field left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PatchStage {
    /// An older one is a roll-back; null takes the stage off the air.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    deployment_id: Patch<DeploymentId>,
    /// What is left out in it stays; null ends the canary, and every call goes to the stage's own deployment.
    #[serde(default)]
    #[schema(value_type = Option<PatchCanarySettings>)]
    canary_settings: Patch<PatchCanarySettings>,
    /// Whether the stage serves the draft: each change of that is deployed to it within moments. Such a stage takes no other
    /// deployment, and no canary.
    auto_deploy: Option<bool>,
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// All of them, in the place of those it had.
    variables: Option<BTreeMap<String, String>>,
    /// Whole, in the place of the one it had. Null removes it.
    #[serde(default)]
    #[schema(value_type = Option<Throttle>)]
    throttle: Patch<Throttle>,
    /// All of them, at most 100, in the place of those it had.
    #[schema(max_items = 100)]
    route_throttles: Option<Vec<RouteThrottle>>,
    /// Whole, in the place of the one it had. Null removes it.
    #[serde(default)]
    #[schema(value_type = Option<ConcurrencyLimit>)]
    concurrency_limit: Patch<ConcurrencyLimit>,
    /// All of them, at most 100, in the place of those it had.
    #[schema(max_items = 100)]
    route_concurrency_limits: Option<Vec<RouteConcurrencyLimit>>,
    /// All of them, at most 20, in the place of those it had. A call counts against at most four.
    #[schema(max_items = 20)]
    client_throttles: Option<Vec<ClientThrottle>>,
    /// Null: as the Api's dialect does.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    rate_limit_headers: Patch<bool>,
    /// Whether `samplingRules` decide which traces of the stage's calls are kept; else each node's own setting does.
    tracing_enabled: Option<bool>,
    /// All of them, at most 50, in the place of those it had.
    #[schema(max_items = 50)]
    sampling_rules: Option<Vec<SamplingRule>>,
    /// What backends over TLS are shown where they ask for a certificate; null: nothing.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    client_certificate_id: Patch<ClientCertificateId>,
}

/// What can be no stage's name is the name of none.
pub(crate) fn named(api: ApiId, name: &str) -> Result<StageId> {
    format!("{api}/{name}").parse().map_err(|_| Error::NotFound("stage"))
}

/// An Api's stages, oldest first.
#[utoipa::path(get, path = "/apis/{apiId}/stages", tag = "stages", operation_id = "listStages",
    params(("apiId" = String, Path), PageQuery), responses(
        (status = 200, body = List<Stage>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    Query(page): Query<PageQuery>,
) -> Result<List<Stage>> {
    let stages = domain::stage::list(&app, &actor, api, &page.try_into()?).await?;
    let ids: Vec<StageId> = stages.items.iter().map(domain::stage::Stage::id).collect();
    let pending = domain::pending_changes::of_stages(&app, &actor, &ids).await?;
    Ok(List::map(stages, |stage| {
        let pending = pending.get(&stage.id()).copied().unwrap_or(false);
        Stage::of(&app, stage, pending)
    }))
}

/// Makes a stage.
#[utoipa::path(post, path = "/apis/{apiId}/stages", tag = "stages", operation_id = "createStage",
    params(("apiId" = String, Path)), request_body = CreateStage, responses(
        (status = 201, body = Stage),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    extract::Json(body): extract::Json<CreateStage>,
) -> Result<(StatusCode, Tag<Stage>)> {
    let new = NewStage {
        name: body.name,
        deployment: body.deployment_id,
        auto_deploy: body.auto_deploy,
        description: body.description,
        variables: body.variables,
        throttle: body.throttle,
        route_throttles: body.route_throttles,
        concurrency_limit: body.concurrency_limit,
        route_concurrency_limits: body.route_concurrency_limits,
        client_throttles: body.client_throttles,
        client_certificate_id: body.client_certificate_id,
    };
    let stage = domain::stage::create(&app, &actor, api, new).await?;
    Ok((StatusCode::CREATED, Tag(Stage::load(&app, &actor, stage).await?)))
}

/// One stage.
#[utoipa::path(get, path = "/apis/{apiId}/stages/{stage}", tag = "stages", operation_id = "getStage",
    params(("apiId" = String, Path), ("stage" = String, Path)), responses(
        (status = 200, body = Stage),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path((api, name)): Path<(ApiId, String)>,
) -> Result<Tag<Stage>> {
    let stage = domain::stage::get(&app, &actor, &named(api, &name)?).await?;
    Ok(Tag(Stage::load(&app, &actor, stage).await?))
}

/// Changes a stage. Everything here is live within moments.
#[utoipa::path(patch, path = "/apis/{apiId}/stages/{stage}", tag = "stages",
    operation_id = "updateStage", params(("apiId" = String, Path), ("stage" = String, Path)),
    request_body = PatchStage, responses(
        (status = 200, body = Stage),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path((api, name)): Path<(ApiId, String)>,
    extract::Json(body): extract::Json<PatchStage>,
) -> Result<Tag<Stage>> {
    let change = UpdateStage {
        deployment: body.deployment_id,
        canary: body.canary_settings.try_map(|change| Ok::<_, Error>(change.into()))?,
        auto_deploy: body.auto_deploy,
        description: body.description,
        variables: body.variables,
        throttle: body.throttle,
        route_throttles: body.route_throttles,
        concurrency_limit: body.concurrency_limit,
        route_concurrency_limits: body.route_concurrency_limits,
        client_throttles: body.client_throttles,
        rate_limit_headers: body.rate_limit_headers,
        tracing_enabled: body.tracing_enabled,
        sampling_rules: body.sampling_rules,
        client_certificate_id: body.client_certificate_id,
    };
    let stage = domain::stage::update(&app, &actor, &named(api, &name)?, change).await?;
    Ok(Tag(Stage::load(&app, &actor, stage).await?))
}

/// Makes a stage's canary its deployment, with the canary's variables, and ends the canary. All calls go there.
#[utoipa::path(post, path = "/apis/{apiId}/stages/{stage}/promote-canary", tag = "stages",
    operation_id = "promoteCanary", params(("apiId" = String, Path), ("stage" = String, Path)),
    responses(
        (status = 200, body = Stage),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn promote(
    State(app): State<App>,
    actor: Actor,
    Path((api, name)): Path<(ApiId, String)>,
) -> Result<Tag<Stage>> {
    let stage = domain::canary::promote(&app, &actor, &named(api, &name)?).await?;
    Ok(Tag(Stage::load(&app, &actor, stage).await?))
}

/// Deletes a stage; refused while a usage plan holds it.
#[utoipa::path(delete, path = "/apis/{apiId}/stages/{stage}", tag = "stages",
    operation_id = "deleteStage", params(("apiId" = String, Path), ("stage" = String, Path)),
    responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path((api, name)): Path<(ApiId, String)>,
) -> Result<StatusCode> {
    domain::stage::delete(&app, &actor, &named(api, &name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
