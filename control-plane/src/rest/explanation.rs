//! Why a request was limited.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::domain::explanation::Explanation;
use crate::error::Result;
use crate::rest::extract::Path;
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

/// What became of the request to one of the tenant's Apis whose answer had this `x-request-id`: which limit refused it,
/// with its figures and what it had left, or that none did.
///
/// Nodes remember the newest requests of each tenant for a while; 404 says since when, and which of them did not answer.
#[utoipa::path(get, path = "/explanations/{requestId}", tag = "usage", operation_id = "getExplanation",
    params(("requestId" = String, Path)), responses(
    (status = 200, body = Explanation),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(request_id): Path<String>,
) -> Result<Json<Explanation>> {
    Ok(Json(domain::explanation::get(&app, &actor, &request_id).await?))
}
