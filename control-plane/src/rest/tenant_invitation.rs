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
use crate::ids::TenantInvitationId;
use crate::rest::extract::{Json, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
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

/// Whom the operator invited to sign up, and who has not done so yet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TenantInvitation {
    #[schema(value_type = String)]
    id: TenantInvitationId,
    email: String,
    /// What the tenant is to be called; null where that is theirs to choose.
    tenant_name: Option<String>,
    created_at: DateTime<Utc>,
    /// From when on the link works no more.
    expires_at: DateTime<Utc>,
}

impl From<domain::tenant_invitation::TenantInvitation> for TenantInvitation {
    fn from(invitation: domain::tenant_invitation::TenantInvitation) -> Self {
        Self {
            id: invitation.id,
            email: invitation.email,
            tenant_name: invitation.tenant_name,
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
        }
    }
}

/// An invitation whose link was just made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SentTenantInvitation {
    #[schema(value_type = String)]
    id: TenantInvitationId,
    email: String,
    tenant_name: Option<String>,
    created_at: DateTime<Utc>,
    /// From when on the link works no more.
    expires_at: DateTime<Utc>,
    /// Shown here and never again, to be passed on; null where the address gets it by mail.
    link: Option<String>,
}

impl From<Sent> for SentTenantInvitation {
    fn from(Sent { invitation, link }: Sent) -> Self {
        Self {
            id: invitation.id,
            email: invitation.email,
            tenant_name: invitation.tenant_name,
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
            link,
        }
    }
}

/// Whom the operator invited to sign up and whose links work, the newest first.
#[utoipa::path(get, path = "/operator/tenant-invitations", tag = "operator", operation_id = "listTenantInvitations",
params(PageQuery), responses(
    (status = 200, body = List<TenantInvitation>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<PageQuery>,
) -> Result<List<TenantInvitation>> {
    let page = query.try_into()?;
    Ok(List::of(domain::tenant_invitation::list(&app, &operator, &page).await?))
}

/// Invites an address to sign up, for a week: its link's `token` is what `signUp` takes, also where nobody else may.
#[utoipa::path(post, path = "/operator/tenant-invitations", tag = "operator", operation_id = "inviteTenant",
request_body = InviteTenant, responses(
    (status = 201, body = SentTenantInvitation),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<InviteTenant>,
) -> Result<(StatusCode, axum::Json<SentTenantInvitation>)> {
    let name = body.tenant_name.as_deref();
    let sent = domain::tenant_invitation::create(&app, &operator, &body.email, name).await?;
    Ok((StatusCode::CREATED, axum::Json(sent.into())))
}

/// Revokes an invitation to sign up: its link works no more.
#[utoipa::path(delete, path = "/operator/tenant-invitations/{tenantInvitationId}", tag = "operator",
operation_id = "deleteTenantInvitation", params(("tenantInvitationId" = String, Path)), responses(
    (status = 204),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<TenantInvitationId>,
) -> Result<StatusCode> {
    domain::tenant_invitation::delete(&app, &operator, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
