//! Downloads.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::domain::bill::Month;
use crate::error::Result;
use crate::rest::extract::{Json, Path};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(open))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateDownload {
    /// `2026-11`, a calendar month in UTC.
    month: String,
}

/// A link that works once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Download {
    url: String,
    expires_in_seconds: i32,
}

/// Makes a link to the month's usage as CSV; it works once, for 60 seconds.
#[utoipa::path(post, path = "/downloads", tag = "usage", operation_id = "createDownload", request_body = CreateDownload, responses(
    (status = 201, body = Download),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    Json(body): Json<CreateDownload>,
) -> Result<(StatusCode, axum::Json<Download>)> {
    let month = Month::new(&app, Some(&body.month))?;
    let link = domain::download::create(&app, &actor, month).await?;
    let download = Download { url: link.url, expires_in_seconds: link.expires_in_seconds };
    Ok((StatusCode::CREATED, axum::Json(download)))
}

/// A month's usage by hour, one line for each row of the ledger. The first line names the columns: `ledger_row`,
/// `hour`, `cell`, `api_id`, `stage`, `route`, `api_key_id`, `usage_plan_id`, `consumer_id`, `status_class`,
/// `cache`, `requests`, `billed_requests`, `bytes_in`, `bytes_out`, `billed_bytes_out`, `duration_ms`.
#[utoipa::path(get, path = "/downloads/{token}", tag = "usage", operation_id = "getDownload", security(()), params(("token" = String, Path)),
responses(
    (status = 200, body = String, content_type = "text/csv"),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
))]
async fn open(
    State(app): State<App>,
    method: Method,
    Path(token): Path<String>,
) -> Result<Response> {
    if method != Method::GET {
        // A look must not spend the link.
        return Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response());
    }
    let download = domain::download::open(&app, &token).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"tollgate-usage-{}.csv\"", download.month),
        ),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, Body::from_stream(download.content(app))).into_response())
}
