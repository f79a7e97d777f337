//! The audit log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Caller;
use crate::app::App;
use crate::domain;
use crate::domain::audit::AuditFilter;
use crate::domain::audit_chain::Head;
use crate::domain::page::Page;
use crate::error::{Error, Result};
use crate::ids::UserId;
use crate::rest::download::Download;
use crate::rest::extract::Query;
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify)).routes(routes!(download))
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
    /// Null for what the installation does by itself.
    user_id: Option<String>,
    /// Null where whoever did it is no longer a member, or is the operator.
    user_email: Option<String>,
    /// The noun before; null where it was made.
    before: Option<Value>,
    /// The noun after; null where it was deleted.
    after: Option<Value>,
    request_id: String,
    /// From where the call came.
    address: String,
    /// Its place in the log, from 1 without gaps; null where it was put in behind the log's back.
    sequence: Option<i64>,
    /// SHA-256 of the entry and the one before, in hex.
    hash: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<domain::audit::AuditEntry> for AuditEntry {
    fn from(entry: domain::audit::AuditEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            action: entry.action,
            noun: entry.noun,
            noun_id: entry.noun_id,
            user_id: entry.user.map(|user| user.to_string()),
            user_email: entry.user_email,
            before: entry.before,
            after: entry.after,
            request_id: entry.request_id,
            address: entry.address,
            sequence: entry.link.as_ref().map(|link| link.sequence),
            hash: entry.link.as_ref().map(|link| hex::encode(&link.hash)),
            created_at: entry.created_at,
        }
    }
}

/// Which entries; each left out matches every one.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Who did it.
    user_id: Option<String>,
    /// `usage_plan.create`.
    action: Option<String>,
    /// `usage_plan`.
    noun: Option<String>,
    noun_id: Option<String>,
    /// The changes that one request made: the `x-request-id` of its answer.
    request_id: Option<String>,
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

/// A head that was noted before.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Expected {
    /// `{sequence}:{hash}`: the `head` of an earlier check.
    expected: Option<String>,
}

/// What a check of the audit log found. Every entry holds a hash of itself and the one before.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditVerification {
    /// Whether nothing was changed, taken out, moved or cut off.
    whole: bool,
    /// How many entries are right, up to the first that is not.
    entries: u64,
    /// `{sequence}:{hash}` of the newest entry that is right. Note it elsewhere.
    head: String,
    /// Up to which entry the control plane has signed the log.
    sealed_sequence: u64,
    /// What is wrong first; null where nothing is.
    fault: Option<AuditFault>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditFault {
    /// The place in the log, from 1.
    sequence: u64,
    entry_id: Option<String>,
    reason: String,
}

/// What was changed, the newest first: in the caller's tenant; by the operator, in the installation.
#[utoipa::path(get, path = "/audit-entries", tag = "audit", operation_id = "listAuditEntries", params(AuditQuery), responses(
    (status = 200, body = List<AuditEntry>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<List<AuditEntry>> {
    let user =
        |id: String| id.parse::<UserId>().map_err(|_| Error::bad_request("userId", "is not an id"));
    let filter = AuditFilter {
        user: query.user_id.map(user).transpose()?,
        action: query.action,
        noun: query.noun,
        noun_id: query.noun_id,
        request_id: query.request_id,
        since: query.since,
        until: query.until,
    }
    .checked()?;
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    Ok(List::of(domain::audit::list(&app, &caller, &filter, &page).await?))
}

/// Checks the whole log that `listAuditEntries` lists.
#[utoipa::path(get, path = "/audit-entries/verification", tag = "audit", operation_id = "verifyAuditLog", params(Expected), responses(
    (status = 200, body = AuditVerification),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn verify(
    State(app): State<App>,
    caller: Caller,
    Query(Expected { expected }): Query<Expected>,
) -> Result<Json<AuditVerification>> {
    let expected = expected.map(|head| head.parse::<Head>()).transpose()?;
    let found = domain::audit_chain::verify(&app, &caller, expected).await?;
    Ok(Json(AuditVerification {
        whole: found.fault.is_none(),
        entries: found.entries,
        head: found.head.to_string(),
        sealed_sequence: found.sealed_sequence,
        fault: found.fault.map(|fault| AuditFault {
            sequence: fault.sequence,
            entry_id: fault.entry.map(|id| id.to_string()),
            reason: fault.reason,
        }),
    }))
}

/// Makes a link to the log as NDJSON, with what it takes to verify it; it works once, for 60 seconds.
#[utoipa::path(post, path = "/audit-entries/downloads", tag = "audit", operation_id = "createAuditDownload", responses(
    (status = 201, body = Download),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn download(State(app): State<App>, caller: Caller) -> Result<(StatusCode, Json<Download>)> {
    let link = domain::download::create_audit(&app, &caller).await?;
    Ok((StatusCode::CREATED, Json(link.into())))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn a_time_that_the_log_cannot_know_is_the_callers_to_mend(db: PgPool) {
        let app = testing::app(db).await;
        let router = crate::http::router(&app);
        let token = testing::token(&app, &testing::owner(&app).await);
        for (time, status) in [
            ("-200000-01-01T00:00:00Z", 400),
            ("-4713-01-01T00:00:00Z", 400),
            ("0000-12-31T23:59:59Z", 400),
            ("0001-01-01T00:00:00Z", 200),
            ("%2B262142-12-31T23:59:59Z", 200),
        ] {
            for param in ["since", "until"] {
                let request = Request::get(format!("/v1/audit-entries?{param}={time}"))
                    .header("authorization", format!("Bearer {token}"))
                    .body(Body::empty())
                    .unwrap();
                let response = router.clone().oneshot(request).await.unwrap();
                let got = response.status().as_u16();
                let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(got, status, "{param} {time}: {body}");
                assert!(status == 200 || body["param"] == param, "{time}: {body}");
            }
        }
    }
}
