//! The operator's one-time link.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::password::Password;
use crate::app::App;
use crate::domain;
use crate::error::Result;
use crate::rest::extract::{Json, origin};
use crate::rest::problem::Problem;
use crate::rest::session::{AccessToken, answer};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(open_link))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenLink {
    /// The `token` of the link.
    token: String,
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Password,
}

/// Opens the operator's one-time link: makes the operator with this email, or resets the password of the one
/// there is, and logs in. Sets the refresh cookie.
#[utoipa::path(post, path = "/operator/session", tag = "operator", operation_id = "openOperatorSession", request_body = OpenLink, responses(
    (status = 201, body = AccessToken),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
))]
async fn open_link(
    State(app): State<App>,
    parts: Parts,
    Json(body): Json<OpenLink>,
) -> Result<Response> {
    let given = domain::operator::OpenLink {
        token: body.token,
        email: body.email,
        password: body.password,
    };
    let grant = domain::operator::open_link(&app, &origin(&parts), given).await?;
    Ok(answer(&app, StatusCode::CREATED, &grant))
}
