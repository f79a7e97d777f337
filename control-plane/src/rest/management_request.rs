//! The log of requests to this API.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Caller;
use crate::app::App;
use crate::domain;
use crate::domain::management_request::ManagementRequestFilter;
use crate::domain::page::Page;
use crate::error::{Error, Result};
use crate::ids::UserId;
use crate::rest::extract::{Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// One request to this API, GraphQL or REST, which came with an access token. Never what was in it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ManagementRequest {
    /// The `x-request-id` of the answer.
    request_id: String,
    /// The `x-request-id` that the caller sent: 1 to 128 letters, digits and `-._:=+/`. Null for any other.
    client_request_id: Option<String>,
    /// Whose access token it was.
    user_id: String,
    /// Null where they are no longer a member.
    user_email: Option<String>,
    started_at: DateTime<Utc>,
    /// From the request's head to the head of its answer.
    duration_ms: i32,
    method: String,
    /// The template: `/v1/apis/{apiId}`.
    path: String,
    /// What a GraphQL request asked for: `createApi`.
    operations: Vec<String>,
    /// Null where the caller went away before the answer.
    status: Option<i16>,
    /// Of the errors in the answer, GraphQL's `userErrors` too: `not_found`.
    codes: Vec<String>,
    /// From where it came.
    address: String,
    /// The dated version of the API that it was answered in; null where there was no answer.
    api_version: Option<NaiveDate>,
}

impl From<domain::management_request::ManagementRequest> for ManagementRequest {
    fn from(request: domain::management_request::ManagementRequest) -> Self {
        Self {
            request_id: request.id.to_string(),
            client_request_id: request.client_request_id,
            user_id: request.user.to_string(),
            user_email: request.user_email,
            started_at: request.started_at,
            duration_ms: request.duration_ms,
            method: request.method,
            path: request.path,
            operations: request.operations,
            status: request.status,
            codes: request.codes,
            address: request.address,
            api_version: request.api_version,
        }
    }
}

/// Which requests; each left out matches every one.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ManagementRequestQuery {
    /// The `x-request-id` of the answer, or the one that the caller sent.
    request_id: Option<String>,
    /// Who asked.
    user_id: Option<String>,
    /// The status of the answer: 404.
    #[param(minimum = 100, maximum = 599)]
    status: Option<u16>,
    /// Whether the answer had errors, GraphQL's `userErrors` too, or was never given.
    failed: Option<bool>,
    /// Inclusive.
    since: Option<DateTime<Utc>>,
    /// Exclusive.
    until: Option<DateTime<Utc>>,
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// The requests to this API, the newest first: of the caller's tenant; the operator's own.
///
/// They are there a moment after their answer, for 30 days. What came without an access token, or was refused unread for
/// want of points, is not.
#[utoipa::path(get, path = "/management-requests", tag = "management requests", operation_id = "listManagementRequests",
    params(ManagementRequestQuery), responses(
    (status = 200, body = List<ManagementRequest>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ManagementRequestQuery>,
) -> Result<List<ManagementRequest>> {
    let user =
        |id: String| id.parse::<UserId>().map_err(|_| Error::bad_request("userId", "is not an id"));
    let filter = ManagementRequestFilter {
        request_id: query.request_id,
        user: query.user_id.map(user).transpose()?,
        status: query.status,
        failed: query.failed,
        since: query.since,
        until: query.until,
    }
    .checked()?;
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    Ok(List::of(domain::management_request::list(&app, &caller, &filter, &page).await?))
}

/// The one with this id: the `x-request-id` of its answer, or the newest with the one that the caller sent.
#[utoipa::path(get, path = "/management-requests/{requestId}", tag = "management requests",
    operation_id = "getManagementRequest", params(("requestId" = String, Path)), responses(
    (status = 200, body = ManagementRequest),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(request_id): Path<String>,
) -> Result<Json<ManagementRequest>> {
    let found = domain::management_request::get(&app, &caller, &request_id).await?;
    Ok(Json(found.into()))
}
