//! The door for programs: `/v1`, RFC 9457 problems, OpenAPI 3.1. The same names as in `domain`.

use axum::routing::get;
use axum::{Router, middleware};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::graphql;
use crate::graphql::persisted::Persisted;

pub mod access_key;
pub mod account;
pub mod api;
pub mod api_key;
pub mod audit;
pub mod bill;
pub mod canary;
pub mod change;
pub mod client_certificate;
pub mod consumer;
pub mod deployment;
pub mod deprecation;
pub mod download;
pub mod etag;
pub mod explanation;
pub mod extract;
pub mod fleet;
pub mod gateway_response;
pub mod idempotency;
pub mod integration;
pub mod invitation;
pub mod join_token;
pub mod key_quota;
pub mod key_usage;
pub mod limit_state;
pub mod management_request;
pub mod member;
pub mod openapi;
pub mod operator;
pub mod page;
mod parity;
pub mod price;
pub mod problem;
pub mod quarantined_segment;
pub mod rate_limit;
pub mod reconciliation;
pub mod request_id;
pub mod request_log;
pub mod resource;
pub mod route;
pub mod secret;
pub mod session;
pub mod stage;
pub mod tenant;
pub mod tenant_invitation;
pub mod usage;
pub mod usage_group;
pub mod usage_plan;
pub mod usage_statement;
pub mod user_account;
pub mod version;
pub mod vpc_link;
#[cfg(test)]
pub(crate) mod walk;

/// The largest body that a management call may have.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Every REST path. Each noun brings its own part, which also describes it for OpenAPI.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(openapi::routes())
        .merge(tenant::routes())
        .merge(session::routes())
        .merge(operator::routes())
        .merge(account::routes())
        .merge(user_account::routes())
        .merge(fleet::routes())
        .merge(join_token::routes())
        .merge(tenant_invitation::routes())
        .merge(quarantined_segment::routes())
        .merge(member::routes())
        .merge(invitation::routes())
        .merge(api::routes())
        .merge(change::routes())
        .merge(deployment::routes())
        .merge(integration::routes())
        .merge(resource::routes())
        .merge(route::routes())
        .merge(stage::routes())
        .merge(audit::routes())
        .merge(management_request::routes())
        .merge(usage_plan::routes())
        .merge(gateway_response::routes())
        .merge(key_quota::routes())
        .merge(limit_state::routes())
        .merge(api_key::routes())
        .merge(access_key::routes())
        .merge(consumer::routes())
        .merge(secret::routes())
        .merge(vpc_link::routes())
        .merge(client_certificate::routes())
        .merge(usage::routes())
        .merge(usage_group::routes())
        .merge(key_usage::routes())
        .merge(usage_statement::routes())
        .merge(reconciliation::routes())
        .merge(explanation::routes())
        .merge(bill::routes())
        .merge(download::routes())
        .merge(price::routes())
}

/// The two doors for programs, `/v1` and `/graphql`; `http` puts them on the listener, with the console's documents.
pub fn router(app: &App, persisted: Persisted) -> Router {
    let (rest, _openapi) = api().split_for_parts();
    let rest = rest
        .layer(middleware::from_fn_with_state(app.clone(), idempotency::layer))
        .layer(middleware::from_fn(etag::layer))
        .layer(middleware::from_fn(page::layer))
        .layer(middleware::from_fn_with_state(deprecation::DEPRECATED, deprecation::layer))
        .layer(middleware::from_fn_with_state(app.clone(), rate_limit::layer));
    let socket = get(graphql::socket::open)
        .layer(middleware::from_fn_with_state(app.clone(), rate_limit::layer));
    Router::new()
        .nest("/v1", rest)
        .route("/graphql", socket.post(graphql::http::answer))
        .with_state(app.clone())
        .layer(middleware::from_fn_with_state(app.clone(), version::layer))
        .layer(axum::Extension(graphql::http::Door::new(app, persisted)))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
}
