//! What differs between two frozen drafts.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId};
use crate::rest::extract::{Path, Query};
use crate::rest::problem::Problem;
use crate::rest::stage::named;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(of_stage)).routes(routes!(of_deployment))
}

/// In the order of their paths.
#[derive(Serialize, ToSchema)]
struct Changes {
    total: usize,
    /// The first 500 of them.
    changes: Vec<Change>,
}

/// A field, or a part with all that is in it, that is another in the later one.
#[derive(Serialize, ToSchema)]
struct Change {
    /// As `["routes", "GET /pets", "integration", "httpProxy", "uri"]`; names are those of the configuration that nodes get.
    path: Vec<String>,
    /// Null where it was not there, or had its default.
    before: Option<Value>,
    /// Null where it is gone, or has its default now.
    after: Option<Value>,
}

impl From<domain::change::Changes> for Changes {
    fn from(found: domain::change::Changes) -> Self {
        let changes = found.changes.into_iter().map(|change| Change {
            path: change.path,
            before: change.before,
            after: change.after,
        });
        Self { total: found.total, changes: changes.collect() }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Since {
    /// Another deployment of the API; the one before it, if absent.
    #[param(value_type = Option<String>)]
    since: Option<DeploymentId>,
}

/// What deploying the draft to the stage would change, field by field.
#[utoipa::path(get, path = "/apis/{apiId}/stages/{stage}/changes", tag = "stages",
    operation_id = "getStageChanges", params(("apiId" = String, Path), ("stage" = String, Path)),
    responses(
        (status = 200, body = Changes),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn of_stage(
    State(app): State<App>,
    actor: Actor,
    Path((api, name)): Path<(ApiId, String)>,
) -> Result<Json<Changes>> {
    Ok(Json(domain::change::of_stage(&app, &actor, &named(api, &name)?).await?.into()))
}

/// What a deployment changed, field by field.
#[utoipa::path(get, path = "/apis/{apiId}/deployments/{deploymentId}/changes", tag = "deployments",
    operation_id = "getDeploymentChanges",
    params(("apiId" = String, Path), ("deploymentId" = String, Path), Since), responses(
        (status = 200, body = Changes),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn of_deployment(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, DeploymentId)>,
    Query(Since { since }): Query<Since>,
) -> Result<Json<Changes>> {
    if domain::deployment::get(&app, &actor, id).await?.api != api {
        return Err(Error::NotFound("deployment"));
    }
    Ok(Json(domain::change::of_deployment(&app, &actor, id, since).await?.into()))
}
