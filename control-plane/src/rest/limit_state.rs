//! How the limits of a key stand.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::domain::limit_state::LimitState;
use crate::error::Result;
use crate::ids::{ApiKeyId, UsagePlanId};
use crate::rest::extract::Path;
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

/// How the limits of a key on one of its usage plans stand at this moment: what is left of each, and what each node knows.
///
/// Nodes know the limits that the key's calls used in the last minutes. Of others, and of nodes that did not answer, nothing
/// is told.
#[utoipa::path(get, path = "/usage-plans/{usagePlanId}/api-keys/{apiKeyId}/limits", tag = "usage plans",
    operation_id = "getLimitState", params(("usagePlanId" = String, Path), ("apiKeyId" = String, Path)),
    responses(
        (status = 200, body = LimitState),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path((plan, key)): Path<(UsagePlanId, ApiKeyId)>,
) -> Result<Json<LimitState>> {
    Ok(Json(domain::limit_state::get(&app, &actor, plan, key).await?))
}
