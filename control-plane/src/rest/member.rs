//! Members.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::role::Role;
use crate::app::App;
use crate::domain;
use crate::error::Result;
use crate::rest::extract::Query;
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;
use crate::rest::tenant::User;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A user in the caller's tenant.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    user: User,
    /// One of owner, admin, developer, billing, viewer.
    #[schema(value_type = String)]
    role: Role,
    created_at: DateTime<Utc>,
}

impl From<domain::member::Member> for Member {
    fn from(member: domain::member::Member) -> Self {
        Self { user: member.user.into(), role: member.role, created_at: member.created_at }
    }
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
) -> Result<Json<List<Member>>> {
    Ok(Json(List::of(domain::member::list(&app, &actor, &page.try_into()?).await?)))
}
