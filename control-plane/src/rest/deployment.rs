//! Deployments.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::domain::deployment::NewDeployment;
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;
use crate::rest::stage::Stage;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get))
}

/// An Api's draft, frozen.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Deployment {
    #[schema(value_type = String)]
    id: DeploymentId,
    #[schema(value_type = String)]
    api_id: ApiId,
    description: String,
    /// SHA-256 of what was frozen, in hex: the same draft has the same.
    digest: String,
    created_at: DateTime<Utc>,
}

/// How far the nodes are. Live when every node acknowledged the version.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeploymentStatus {
    /// 0 while no stage ever pointed at it.
    version: u64,
    nodes: u64,
    acknowledged: u64,
    live: bool,
    /// Why nodes refused it.
    refusals: Vec<String>,
}

/// A deployment and how far the nodes are with it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FollowedDeployment {
    #[serde(flatten)]
    deployment: Deployment,
    status: DeploymentStatus,
}

/// A new deployment, and the stage that points at it where one was named.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreatedDeployment {
    #[serde(flatten)]
    deployment: FollowedDeployment,
    stage: Option<Stage>,
}

impl From<domain::deployment::Deployment> for Deployment {
    fn from(deployment: domain::deployment::Deployment) -> Self {
        Self {
            id: deployment.id,
            api_id: deployment.api,
            description: deployment.description,
            digest: deployment.digest,
            created_at: deployment.created_at,
        }
    }
}

impl FollowedDeployment {
    async fn load(
        app: &App,
        actor: &Actor,
        deployment: domain::deployment::Deployment,
    ) -> Result<Self> {
        let status = domain::deployment::status(app, actor, &deployment).await?;
        Ok(Self {
            deployment: deployment.into(),
            status: DeploymentStatus {
                live: status.live(),
                version: status.version,
                nodes: status.progress.nodes,
                acknowledged: status.progress.acknowledged,
                refusals: status.progress.refusals,
            },
        })
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateDeployment {
    /// Pointed at the deployment; made if absent.
    stage: Option<String>,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
}

/// An Api's deployments, newest first.
#[utoipa::path(get, path = "/apis/{apiId}/deployments", tag = "deployments",
    operation_id = "listDeployments", params(("apiId" = String, Path), PageQuery), responses(
        (status = 200, body = List<Deployment>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Deployment>>> {
    Ok(Json(List::of(domain::deployment::list(&app, &actor, api, &page.try_into()?).await?)))
}

/// Checks the draft, freezes it and, when `stage` is named, points that stage at it.
#[utoipa::path(post, path = "/apis/{apiId}/deployments", tag = "deployments",
    operation_id = "createDeployment", params(("apiId" = String, Path)),
    request_body = CreateDeployment, responses(
        (status = 201, body = CreatedDeployment),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    extract::Json(body): extract::Json<CreateDeployment>,
) -> Result<(StatusCode, Json<CreatedDeployment>)> {
    let new = NewDeployment::new(api, body.stage, body.description)?;
    let (deployment, stage) = domain::deployment::create(&app, &actor, new).await?;
    let created = CreatedDeployment {
        deployment: FollowedDeployment::load(&app, &actor, deployment).await?,
        stage: stage.map(|stage| Stage::of(&app, stage, false)),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// One deployment.
#[utoipa::path(get, path = "/apis/{apiId}/deployments/{deploymentId}", tag = "deployments",
    operation_id = "getDeployment",
    params(("apiId" = String, Path), ("deploymentId" = String, Path)), responses(
        (status = 200, body = FollowedDeployment),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, DeploymentId)>,
) -> Result<Json<FollowedDeployment>> {
    let deployment = domain::deployment::get(&app, &actor, id).await?;
    if deployment.api != api {
        return Err(Error::NotFound("deployment"));
    }
    Ok(Json(FollowedDeployment::load(&app, &actor, deployment).await?))
}
