//! Join tokens.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Operator;
use crate::app::App;
use crate::domain;
use crate::domain::join_token::NewJoinToken;
use crate::error::Result;
use crate::ids::JoinTokenId;
use crate::rest::extract::{Json, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
}

/// With a join token's secret nodes join the fleet, until it expires or is deleted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct JoinToken {
    #[schema(value_type = String)]
    id: JoinTokenId,
    /// What it is for; may be empty.
    name: String,
    /// What the nodes may serve.
    cells: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// How many nodes joined by it.
    uses: i32,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<domain::join_token::JoinToken> for JoinToken {
    fn from(token: domain::join_token::JoinToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            cells: token.cells,
            created_at: token.created_at,
            expires_at: token.expires_at,
            uses: token.uses,
            last_used_at: token.last_used_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateJoinToken {
    /// What it is for.
    #[serde(default)]
    #[schema(max_length = 128)]
    name: String,
    /// What the nodes may serve; the cell `default` when left out.
    #[serde(default = "default_cell")]
    cells: Vec<String>,
    /// From a minute to 30 days; an hour when left out.
    #[schema(minimum = 60, maximum = 2_592_000, default = 3600)]
    expires_in_seconds: Option<i64>,
}

fn default_cell() -> Vec<String> {
    vec!["default".to_owned()]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreatedJoinToken {
    join_token: JoinToken,
    /// What `TOLLGATE_JOIN_TOKEN` of a node takes. Shown this once.
    token: String,
}

/// The tokens by which nodes may join now, the newest first.
#[utoipa::path(get, path = "/operator/join-tokens", tag = "operator", operation_id = "listJoinTokens", params(PageQuery), responses(
    (status = 200, body = List<JoinToken>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<PageQuery>,
) -> Result<List<JoinToken>> {
    let page = query.try_into()?;
    Ok(List::of(domain::join_token::list(&app, &operator, &page).await?))
}

/// Makes a token by which any number of nodes may join until it expires.
#[utoipa::path(post, path = "/operator/join-tokens", tag = "operator", operation_id = "createJoinToken",
request_body = CreateJoinToken, responses(
    (status = 201, body = CreatedJoinToken),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<CreateJoinToken>,
) -> Result<(StatusCode, axum::Json<CreatedJoinToken>)> {
    let new = NewJoinToken::new(&body.name, body.cells, body.expires_in_seconds)?;
    let (made, token) = domain::join_token::create(&app, &operator, new).await?;
    let created = CreatedJoinToken { join_token: made.into(), token };
    Ok((StatusCode::CREATED, axum::Json(created)))
}

/// Nobody joins by the token any more; who did stays.
#[utoipa::path(delete, path = "/operator/join-tokens/{joinTokenId}", tag = "operator", operation_id = "deleteJoinToken",
params(("joinTokenId" = String, Path)), responses(
    (status = 204),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<JoinTokenId>,
) -> Result<StatusCode> {
    domain::join_token::delete(&app, &operator, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
