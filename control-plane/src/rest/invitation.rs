//! Invitations.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::password::Password;
use crate::access::precondition::Versioned;
use crate::access::role::Role;
use crate::app::App;
use crate::domain;
use crate::domain::invitation::{Opened, Sent};
use crate::error::Result;
use crate::ids::InvitationId;
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query, origin};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;
use crate::rest::session::{AccessToken, keep};
use crate::rest::tenant::{Tenant, User};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
        .routes(routes!(resend))
        .routes(routes!(preview))
        .routes(routes!(accept))
}

/// Who was invited into the caller's tenant and has not answered yet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Invitation {
    #[schema(value_type = String, format = Uuid)]
    id: InvitationId,
    email: String,
    #[schema(value_type = String, pattern = "^(owner|admin|developer|billing|viewer)$")]
    role: Role,
    /// The email of whoever invited; null where they are no longer a member.
    invited_by: Option<String>,
    created_at: DateTime<Utc>,
    /// When its newest link was made.
    sent_at: DateTime<Utc>,
    /// From when on that link works no more.
    expires_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(Invitation);

impl From<domain::invitation::Invitation> for Invitation {
    fn from(invitation: domain::invitation::Invitation) -> Self {
        Self {
            version: invitation.version(),
            id: invitation.id,
            email: invitation.email,
            role: invitation.role,
            invited_by: invitation.invited_by,
            created_at: invitation.created_at,
            sent_at: invitation.sent_at,
            expires_at: invitation.expires_at,
        }
    }
}

/// An invitation whose link was just made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SentInvitation {
    #[serde(flatten)]
    invitation: Invitation,
    /// Shown here and never again, to be passed on; null where the address gets it by mail.
    link: Option<String>,
}

impl From<Sent> for SentInvitation {
    fn from(sent: Sent) -> Self {
        Self { invitation: sent.invitation.into(), link: sent.link }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateInvitation {
    #[schema(max_length = 254)]
    email: String,
    /// Only an owner invites owners.
    #[schema(value_type = String, pattern = "^(owner|admin|developer|billing|viewer)$")]
    role: Role,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PreviewInvitation {
    /// The `token` of the link.
    token: String,
}

/// What a link is for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InvitationPreview {
    tenant: Tenant,
    email: String,
    #[schema(value_type = String)]
    role: Role,
    expires_at: DateTime<Utc>,
    /// Whether the address has an account, which accepts while it is logged in.
    has_account: bool,
}

impl From<Opened> for InvitationPreview {
    fn from(opened: Opened) -> Self {
        Self {
            tenant: opened.tenant.into(),
            email: opened.email,
            role: opened.role,
            expires_at: opened.expires_at,
            has_account: opened.has_account,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AcceptInvitation {
    /// The `token` of the link.
    token: String,
    /// What a new user chooses: 15 to 256 characters. Left out by who calls with an access token.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Password>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AcceptedInvitation {
    tenant: Tenant,
    user: User,
    #[schema(value_type = String)]
    role: Role,
    /// For a new user, who is thereby logged in.
    #[serde(flatten)]
    token: Option<AccessToken>,
}

/// The invitations into the caller's tenant that nobody answered yet, oldest first.
#[utoipa::path(get, path = "/invitations", tag = "members", operation_id = "listInvitations",
    params(PageQuery), responses(
        (status = 200, body = List<Invitation>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<Invitation>> {
    Ok(List::of(domain::invitation::list(&app, &actor, &page.try_into()?).await?))
}

/// Invites an address into the caller's tenant for a week.
#[utoipa::path(post, path = "/invitations", tag = "members", operation_id = "createInvitation",
    request_body = CreateInvitation, responses(
        (status = 201, body = SentInvitation),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateInvitation>,
) -> Result<(StatusCode, Json<SentInvitation>)> {
    let sent = domain::invitation::create(&app, &actor, &body.email, body.role).await?;
    Ok((StatusCode::CREATED, Json(sent.into())))
}

/// One invitation.
#[utoipa::path(get, path = "/invitations/{invitationId}", tag = "members",
    operation_id = "getInvitation", params(("invitationId" = String, Path, format = Uuid)), responses(
        (status = 200, body = Invitation),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<InvitationId>,
) -> Result<Tag<Invitation>> {
    Ok(Tag(domain::invitation::get(&app, &actor, id).await?.into()))
}

/// Revokes an invitation: its link works no more.
#[utoipa::path(delete, path = "/invitations/{invitationId}", tag = "members",
    operation_id = "deleteInvitation", params(("invitationId" = String, Path, format = Uuid)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<InvitationId>,
) -> Result<StatusCode> {
    domain::invitation::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives an invitation another week and another link; the one before works no more.
#[utoipa::path(post, path = "/invitations/{invitationId}/resend", tag = "members",
    operation_id = "resendInvitation", params(("invitationId" = String, Path, format = Uuid)), responses(
        (status = 200, body = SentInvitation),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn resend(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<InvitationId>,
) -> Result<Json<SentInvitation>> {
    Ok(Json(domain::invitation::resend(&app, &actor, id).await?.into()))
}

/// What the holder of a link is invited to. The token is in the body, so that it stands in no log.
#[utoipa::path(post, path = "/invitations/preview", tag = "members", operation_id = "previewInvitation",
    request_body = PreviewInvitation, responses(
        (status = 200, body = InvitationPreview),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
async fn preview(
    State(app): State<App>,
    parts: Parts,
    extract::Json(body): extract::Json<PreviewInvitation>,
) -> Result<Json<InvitationPreview>> {
    Ok(Json(domain::invitation::open(&app, &origin(&parts), &body.token).await?.into()))
}

/// Joins the tenant of a link: a new user with a password, who is thereby logged in (sets the refresh cookie); who
/// has an account with the link's address, with an access token of it.
#[utoipa::path(post, path = "/invitations/accept", tag = "members", operation_id = "acceptInvitation",
    request_body = AcceptInvitation, responses(
        (status = 200, body = AcceptedInvitation),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security((), ("accessToken" = [])))]
async fn accept(
    State(app): State<App>,
    parts: Parts,
    extract::Json(body): extract::Json<AcceptInvitation>,
) -> Result<Response> {
    let caller = match parts.headers.get(header::AUTHORIZATION) {
        Some(_) => Some(extract::caller(&app, &parts).await?),
        None => None,
    };
    let (origin, caller) = (origin(&parts), caller.as_ref());
    let accepted = domain::invitation::accept(&app, &origin, caller, &body.token, body.password);
    let accepted = accepted.await?;
    let body = AcceptedInvitation {
        tenant: accepted.tenant.into(),
        user: accepted.user.into(),
        role: accepted.role,
        token: accepted.grant.as_ref().map(AccessToken::from),
    };
    let mut response = Json(body).into_response();
    if let Some(grant) = &accepted.grant {
        keep(&app, grant, response.headers_mut());
    }
    Ok(response)
}
