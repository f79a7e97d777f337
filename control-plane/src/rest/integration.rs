//! Integrations.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::App;
use crate::domain;
use crate::domain::integration::Settings;
use crate::error::{Error, Result};
use crate::ids::{ApiId, IntegrationId};
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, put, delete))
}

/// What answers the calls of a route.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Integration {
    #[schema(value_type = String)]
    id: IntegrationId,
    #[schema(value_type = String)]
    api_id: ApiId,
    #[serde(flatten)]
    settings: Settings,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(Integration);

impl From<domain::integration::Integration> for Integration {
    fn from(integration: domain::integration::Integration) -> Self {
        Self {
            version: integration.version(),
            id: integration.id,
            api_id: integration.api,
            settings: integration.settings,
            created_at: integration.created_at,
            updated_at: integration.updated_at,
        }
    }
}

/// The integration, if it is of this Api.
async fn find(
    app: &App,
    actor: &Actor,
    api: ApiId,
    id: IntegrationId,
) -> Result<domain::integration::Integration> {
    let integration = domain::integration::get(app, actor, id).await?;
    if integration.api == api { Ok(integration) } else { Err(Error::NotFound("integration")) }
}

/// An Api's integrations, oldest first.
#[utoipa::path(get, path = "/apis/{apiId}/integrations", tag = "integrations",
    operation_id = "listIntegrations", params(("apiId" = String, Path), PageQuery), responses(
        (status = 200, body = List<Integration>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    Query(page): Query<PageQuery>,
) -> Result<List<Integration>> {
    Ok(List::of(domain::integration::list(&app, &actor, api, &page.try_into()?).await?))
}

/// Makes an integration.
#[utoipa::path(post, path = "/apis/{apiId}/integrations", tag = "integrations",
    operation_id = "createIntegration", params(("apiId" = String, Path)),
    request_body = Settings, responses(
        (status = 201, body = Integration),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    extract::Json(body): extract::Json<Settings>,
) -> Result<(StatusCode, Tag<Integration>)> {
    let integration = domain::integration::create(&app, &actor, api, body).await?;
    Ok((StatusCode::CREATED, Tag(integration.into())))
}

/// One integration.
#[utoipa::path(get, path = "/apis/{apiId}/integrations/{integrationId}", tag = "integrations",
    operation_id = "getIntegration",
    params(("apiId" = String, Path), ("integrationId" = String, Path)), responses(
        (status = 200, body = Integration),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, IntegrationId)>,
) -> Result<Tag<Integration>> {
    Ok(Tag(find(&app, &actor, api, id).await?.into()))
}

/// Puts these settings in the place of all there were.
#[utoipa::path(put, path = "/apis/{apiId}/integrations/{integrationId}", tag = "integrations",
    operation_id = "putIntegration",
    params(("apiId" = String, Path), ("integrationId" = String, Path)),
    request_body = Settings, responses(
        (status = 200, body = Integration),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn put(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, IntegrationId)>,
    extract::Json(body): extract::Json<Settings>,
) -> Result<Tag<Integration>> {
    actor.may(Action::ManageApis)?; // before the look whether it is of this Api
    find(&app, &actor, api, id).await?;
    Ok(Tag(domain::integration::update(&app, &actor, id, body).await?.into()))
}

/// Deletes an integration; refused while a route leads to it.
#[utoipa::path(delete, path = "/apis/{apiId}/integrations/{integrationId}", tag = "integrations",
    operation_id = "deleteIntegration",
    params(("apiId" = String, Path), ("integrationId" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, IntegrationId)>,
) -> Result<StatusCode> {
    actor.may(Action::ManageApis)?; // before the look whether it is of this Api
    find(&app, &actor, api, id).await?;
    domain::integration::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
