//! Members.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Role;
use crate::app::App;
use crate::domain;
use crate::error::Result;
use crate::ids::UserId;
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;
use crate::rest::tenant::User;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, update, delete))
}

/// A user in the caller's tenant.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    user: User,
    #[schema(value_type = String, pattern = "^(owner|admin|developer|billing|viewer)$")]
    role: Role,
    created_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(Member);

impl From<domain::member::Member> for Member {
    fn from(member: domain::member::Member) -> Self {
        Self {
            version: member.version(),
            user: member.user.into(),
            role: member.role,
            created_at: member.created_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateMember {
    /// Only an owner makes owners, or changes one; the last one stays.
    #[schema(value_type = String, pattern = "^(owner|admin|developer|billing|viewer)$")]
    role: Role,
}

/// The members of the caller's tenant, the longest first.
#[utoipa::path(get, path = "/members", tag = "members", operation_id = "listMembers", params(PageQuery), responses(
    (status = 200, body = List<Member>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<Member>> {
    Ok(List::of(domain::member::list(&app, &actor, &page.try_into()?).await?))
}

/// One member.
#[utoipa::path(get, path = "/members/{userId}", tag = "members", operation_id = "getMember",
    params(("userId" = String, Path, format = Uuid)), responses(
        (status = 200, body = Member),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(user): Path<UserId>,
) -> Result<Tag<Member>> {
    Ok(Tag(domain::member::get(&app, &actor, user).await?.into()))
}

/// Gives a member another role, from their next call on.
#[utoipa::path(patch, path = "/members/{userId}", tag = "members", operation_id = "updateMember",
    params(("userId" = String, Path, format = Uuid)), request_body = UpdateMember, responses(
        (status = 200, body = Member),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path(user): Path<UserId>,
    extract::Json(body): extract::Json<UpdateMember>,
) -> Result<Tag<Member>> {
    Ok(Tag(domain::member::update(&app, &actor, user, body.role).await?.into()))
}

/// Removes a member, or leaves the tenant where that is the caller. Their sessions and access keys in it end.
#[utoipa::path(delete, path = "/members/{userId}", tag = "members", operation_id = "deleteMember",
    params(("userId" = String, Path, format = Uuid)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(user): Path<UserId>,
) -> Result<StatusCode> {
    domain::member::delete(&app, &actor, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
