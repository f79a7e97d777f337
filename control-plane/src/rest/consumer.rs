//! Consumers.

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
use crate::domain::consumer::NewConsumer;
use crate::error::Result;
use crate::ids::ConsumerId;
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, delete))
}

/// Whoever calls a tenant's Apis: the owner of one or more keys.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Consumer {
    #[schema(value_type = String, format = Uuid)]
    id: ConsumerId,
    name: String,
    /// What the tenant's own systems call it; may be empty.
    external_id: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(Consumer);

impl From<domain::consumer::Consumer> for Consumer {
    fn from(consumer: domain::consumer::Consumer) -> Self {
        Self {
            version: consumer.version(),
            id: consumer.id,
            name: consumer.name,
            external_id: consumer.external_id,
            created_at: consumer.created_at,
            updated_at: consumer.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateConsumer {
    /// Unique in the tenant.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 256)]
    external_id: String,
}

/// The tenant's consumers, oldest first.
#[utoipa::path(get, path = "/consumers", tag = "consumers", operation_id = "listConsumers",
    params(PageQuery), responses(
        (status = 200, body = List<Consumer>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<Consumer>> {
    Ok(List::of(domain::consumer::list(&app, &actor, &page.try_into()?).await?))
}

/// Makes a consumer.
#[utoipa::path(post, path = "/consumers", tag = "consumers", operation_id = "createConsumer",
    request_body = CreateConsumer, responses(
        (status = 201, body = Consumer),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateConsumer>,
) -> Result<(StatusCode, Tag<Consumer>)> {
    let new = NewConsumer { name: body.name, external_id: body.external_id };
    let consumer = domain::consumer::create(&app, &actor, new).await?;
    Ok((StatusCode::CREATED, Tag(consumer.into())))
}

/// One consumer.
#[utoipa::path(get, path = "/consumers/{consumerId}", tag = "consumers", operation_id = "getConsumer",
    params(("consumerId" = String, Path, format = Uuid)), responses(
        (status = 200, body = Consumer),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ConsumerId>,
) -> Result<Tag<Consumer>> {
    Ok(Tag(domain::consumer::get(&app, &actor, id).await?.into()))
}

/// Deletes a consumer; refused while it has API keys.
#[utoipa::path(delete, path = "/consumers/{consumerId}", tag = "consumers",
    operation_id = "deleteConsumer", params(("consumerId" = String, Path, format = Uuid)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ConsumerId>,
) -> Result<StatusCode> {
    domain::consumer::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
