//! The audit log.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::error::Result;
use crate::rest::extract::Query;
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// One change: who, what, before and after.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    id: String,
    /// `usage_plan.create`.
    action: String,
    noun: String,
    noun_id: String,
    /// Null where whoever did it is no longer a member.
    user_email: Option<String>,
    /// The noun before; null where it was made.
    before: Option<Value>,
    /// The noun after; null where it was deleted.
    after: Option<Value>,
    request_id: String,
    created_at: DateTime<Utc>,
}

impl From<domain::audit::AuditEntry> for AuditEntry {
    fn from(entry: domain::audit::AuditEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            action: entry.action,
            noun: entry.noun,
            noun_id: entry.noun_id,
            user_email: entry.user_email,
            before: entry.before,
            after: entry.after,
            request_id: entry.request_id,
            created_at: entry.created_at,
        }
    }
}

/// What was changed in the caller's tenant, the newest first.
#[utoipa::path(get, path = "/audit-entries", tag = "audit", operation_id = "listAuditEntries", params(PageQuery), responses(
    (status = 200, body = List<AuditEntry>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<AuditEntry>>> {
    Ok(Json(List::of(domain::audit::list(&app, &actor, &page.try_into()?).await?)))
}
