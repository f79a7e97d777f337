//! Routes.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::App;
use crate::domain;
use crate::domain::cors::CorsConfiguration;
use crate::domain::integration::Settings;
use crate::domain::patch::Patch;
use crate::domain::route::{NewRoute, RouteIntegration, RoutePlace, UpdateRoute};
use crate::error::{Error, Result};
use crate::ids::{ApiId, IntegrationId, ResourceId, RouteId};
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

/// Which calls go to which integration.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Route {
    #[schema(value_type = String)]
    id: RouteId,
    #[schema(value_type = String)]
    api_id: ApiId,
    /// `GET /pets/{id}` or `$default`.
    #[serde(rename = "routeKey")]
    key: String,
    /// `GET`, …, or `ANY`; empty on `$default`.
    method: String,
    path: String,
    /// Set where the route is a method of a resource, whose path it has.
    #[schema(value_type = Option<String>)]
    resource_id: Option<ResourceId>,
    api_key_required: bool,
    operation_name: String,
    /// In the place of the Api's; null: the Api's.
    cors_configuration: Option<CorsConfiguration>,
    /// Null while the route has none, and then the Api cannot be deployed.
    #[schema(value_type = Option<String>)]
    integration_id: Option<IntegrationId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(Route);

impl From<domain::route::Route> for Route {
    fn from(route: domain::route::Route) -> Self {
        Self {
            version: route.version(),
            id: route.id,
            api_id: route.api,
            key: route.route_key(),
            method: route.method,
            path: route.path,
            resource_id: route.resource,
            api_key_required: route.api_key_required,
            operation_name: route.operation_name,
            cors_configuration: route.cors_configuration,
            integration_id: route.integration,
            created_at: route.created_at,
            updated_at: route.updated_at,
        }
    }
}

/// With `integration` the route's integration is made in the same transaction.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateRoute {
    /// GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS or ANY; left out for `$default`.
    #[serde(default)]
    method: String,
    /// `/pets/{id}`, `/files/{proxy+}`, or `$default`.
    path: Option<String>,
    /// The resource that the route is a method of, in the place of `path`.
    #[schema(value_type = Option<String>)]
    resource_id: Option<ResourceId>,
    #[serde(default)]
    api_key_required: bool,
    #[serde(default)]
    #[schema(max_length = 64)]
    operation_name: String,
    #[schema(value_type = Option<String>)]
    integration_id: Option<IntegrationId>,
    integration: Option<Settings>,
    /// In the place of the Api's; without origins it is off here.
    cors_configuration: Option<CorsConfiguration>,
}

/// A field left out stays; `integrationId: null` leaves the route without one.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PatchRoute {
    api_key_required: Option<bool>,
    #[schema(max_length = 64)]
    operation_name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    integration_id: Patch<IntegrationId>,
    /// Changes the route's integration, or makes one where it has none or shares it.
    integration: Option<Settings>,
    /// In the place of the Api's; without origins it is off here, null: the Api's.
    #[serde(default)]
    #[schema(value_type = Option<CorsConfiguration>)]
    cors_configuration: Patch<CorsConfiguration>,
}

/// The route, if it is of this Api.
async fn find(app: &App, actor: &Actor, api: ApiId, id: RouteId) -> Result<domain::route::Route> {
    let route = domain::route::get(app, actor, id).await?;
    if route.api == api { Ok(route) } else { Err(Error::NotFound("route")) }
}

/// An Api's routes, oldest first.
#[utoipa::path(get, path = "/apis/{apiId}/routes", tag = "routes", operation_id = "listRoutes",
    params(("apiId" = String, Path), PageQuery), responses(
        (status = 200, body = List<Route>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    Query(page): Query<PageQuery>,
) -> Result<List<Route>> {
    Ok(List::of(domain::route::list(&app, &actor, api, &page.try_into()?).await?))
}

/// Makes a route.
#[utoipa::path(post, path = "/apis/{apiId}/routes", tag = "routes", operation_id = "createRoute",
    params(("apiId" = String, Path)), request_body = CreateRoute, responses(
        (status = 201, body = Route),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    extract::Json(body): extract::Json<CreateRoute>,
) -> Result<(StatusCode, Tag<Route>)> {
    let new = NewRoute::new(
        &body.method,
        RoutePlace::new(body.path, body.resource_id)?,
        body.api_key_required,
        &body.operation_name,
        RouteIntegration::new(body.integration_id, body.integration)?,
    )?
    .shared(body.cors_configuration)?;
    let route = domain::route::create(&app, &actor, api, new).await?;
    Ok((StatusCode::CREATED, Tag(route.into())))
}

/// One route.
#[utoipa::path(get, path = "/apis/{apiId}/routes/{routeId}", tag = "routes", operation_id = "getRoute",
    params(("apiId" = String, Path), ("routeId" = String, Path)), responses(
        (status = 200, body = Route),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, RouteId)>,
) -> Result<Tag<Route>> {
    Ok(Tag(find(&app, &actor, api, id).await?.into()))
}

/// Changes a route; its method and path stay.
#[utoipa::path(patch, path = "/apis/{apiId}/routes/{routeId}", tag = "routes",
    operation_id = "updateRoute", params(("apiId" = String, Path), ("routeId" = String, Path)),
    request_body = PatchRoute, responses(
        (status = 200, body = Route),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, RouteId)>,
    extract::Json(body): extract::Json<PatchRoute>,
) -> Result<Tag<Route>> {
    actor.may(Action::ManageApis)?; // before the look whether it is of this Api
    find(&app, &actor, api, id).await?;
    let change = UpdateRoute {
        api_key_required: body.api_key_required,
        operation_name: body.operation_name,
        integration: RouteIntegration::change(body.integration_id, body.integration)?,
        cors_configuration: body.cors_configuration,
    };
    Ok(Tag(domain::route::update(&app, &actor, id, change).await?.into()))
}

/// Deletes a route; its integration stays, for other routes.
#[utoipa::path(delete, path = "/apis/{apiId}/routes/{routeId}", tag = "routes",
    operation_id = "deleteRoute", params(("apiId" = String, Path), ("routeId" = String, Path)),
    responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, RouteId)>,
) -> Result<StatusCode> {
    actor.may(Action::ManageApis)?; // before the look whether it is of this Api
    find(&app, &actor, api, id).await?;
    domain::route::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
