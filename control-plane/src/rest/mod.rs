//! The door for programs: `/v1`, RFC 9457 problems, OpenAPI 3.1. The same names as in `domain`.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{middleware, response};
use utoipa_axum::router::OpenApiRouter;

use crate::access::actor::Caller;
use crate::app::App;
use crate::error::Error;
use crate::graphql::{self, GatewaySchema, Identity};

pub mod api;
pub mod api_key;
pub mod audit;
pub mod consumer;
pub mod deployment;
pub mod extract;
pub mod integration;
pub mod member;
pub mod operator;
pub mod page;
pub mod problem;
pub mod request_id;
pub mod route;
pub mod session;
pub mod stage;
pub mod tenant;
pub mod usage_plan;

/// The largest body that a management call may have.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Every REST path. Each noun brings its own part, which also describes it for OpenAPI.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(tenant::routes())
        .merge(session::routes())
        .merge(operator::routes())
        .merge(member::routes())
        .merge(api::routes())
        .merge(deployment::routes())
        .merge(integration::routes())
        .merge(route::routes())
        .merge(stage::routes())
        .merge(audit::routes())
        .merge(usage_plan::routes())
        .merge(api_key::routes())
        .merge(consumer::routes())
}

/// Everything on the management listener.
pub fn router(app: &App) -> Router {
    let (rest, _openapi) = api().split_for_parts();
    let schema: GatewaySchema = graphql::schema().data(app.clone()).finish();
    Router::new()
        .nest("/v1", rest)
        .route("/graphql", post(answer_graphql))
        .with_state(app.clone())
        .layer(axum::Extension(schema))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(request_id::layer))
}

/// GraphQL over HTTP, by POST as `application/json`.
async fn answer_graphql(
    State(app): State<App>,
    axum::Extension(schema): axum::Extension<GatewaySchema>,
    parts: axum::http::request::Parts,
    body: extract::Json<async_graphql::Request>,
) -> Response {
    let identity = match extract::caller(&app, &parts).await {
        Ok(caller) => Identity::Known(caller),
        Err(Error::Unauthenticated(reason)) if !parts.headers.contains_key("authorization") => {
            Identity::Nobody(reason)
        }
        Err(error) => return error.into_response(),
    };
    let mut request = body.0;
    if let Identity::Known(Caller::Member(actor)) = &identity {
        request = request.data(graphql::loader::batches(&app, actor));
    }
    let request = request.data(identity).data(extract::origin(&parts));
    let answer = schema.execute(request).await;
    let headers: HeaderMap = answer.http_headers.clone();
    (headers, response::Json(answer)).into_response()
}
