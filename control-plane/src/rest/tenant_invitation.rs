//! The operator's invitations to sign up.

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
use crate::domain::tenant_invitation::Sent;
use crate::error::Result;
use crate::rest::extract::Json;
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InviteTenant {
    #[schema(max_length = 254)]
    email: String,
    /// What the tenant is to be called; theirs to choose when left out.
    #[schema(max_length = 128)]
    tenant_name: Option<String>,
}

/// Whom the operator invited to sign up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TenantInvitation {
    email: String,
    tenant_name: Option<String>,
    /// From when on the link works no more.
    expires_at: DateTime<Utc>,
    /// Shown here and never again, to be passed on; null where the address gets it by mail.
    link: Option<String>,
}

impl From<Sent> for TenantInvitation {
    fn from(sent: Sent) -> Self {
        let domain::tenant_invitation::TenantInvitation { email, tenant_name, expires_at, .. } =
            sent.invitation;
        Self { email, tenant_name, expires_at, link: sent.link }
    }
}

/// Invites an address to sign up, for a week: its link's `token` is what `signUp` takes, also where nobody else may.
#[utoipa::path(post, path = "/operator/tenant-invitations", tag = "operator", operation_id = "inviteTenant",
request_body = InviteTenant, responses(
    (status = 201, body = TenantInvitation),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<InviteTenant>,
) -> Result<(StatusCode, axum::Json<TenantInvitation>)> {
    let name = body.tenant_name.as_deref();
    let sent = domain::tenant_invitation::create(&app, &operator, &body.email, name).await?;
    Ok((StatusCode::CREATED, axum::Json(sent.into())))
}
