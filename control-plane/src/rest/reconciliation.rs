//! Whether the ledger agrees with what was counted beside it.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::{Actor, Operator};
use crate::app::App;
use crate::domain;
use crate::domain::page::Page;
use crate::domain::reconciliation::{Filter, Kind};
use crate::error::{Error, Result};
use crate::ids::{ReconciliationId, TenantId};
use crate::rest::extract::Query;
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(list_all))
}

/// Calls that were counted beside the ledger, and what the ledger has of them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Reconciliation {
    #[schema(value_type = String)]
    id: ReconciliationId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    tenant_name: String,
    /// `ACCESS_LOG`: the access logs of the nodes, by the hour in which the requests ended. `QUOTA`: the quota of a key on
    /// a usage plan, in one of its periods.
    kind: &'static str,
    /// Of a quota; else null.
    usage_plan_id: Option<String>,
    /// Of a quota; else null.
    api_key_id: Option<String>,
    /// The hour, or the quota's period.
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Lines of the logs, or calls taken from the quota.
    counted: i64,
    /// Calls that are known to be in no log: it had no room for them.
    lost: i64,
    /// Calls that nodes had taken from the quota ahead when it was read, beside `counted`: some were made, others come back.
    held: i64,
    counted_at: DateTime<Utc>,
    /// `PENDING`: the ledger was not asked yet. `AGREES`, `DRIFTS`, or `INCOMPLETE`: the two do not disagree, but a part of
    /// the count is missing, for a node was killed, or writes no log.
    state: &'static str,
    /// The ledger has as many of these calls at least; null before it was asked.
    ledger_least: Option<i64>,
    /// And at most. The two are one number for a log; what is on its way while a quota is read lies between them.
    ledger_most: Option<i64>,
    /// How many calls `counted` and `lost` are above what the ledger can have; negative: below, `held` among them. Null before it was asked.
    drift: Option<i64>,
    compared_at: Option<DateTime<Utc>>,
    /// Neither side changes any more.
    r#final: bool,
}

impl From<domain::reconciliation::Reconciliation> for Reconciliation {
    fn from(it: domain::reconciliation::Reconciliation) -> Self {
        let named = |id: String| Some(id).filter(|id| !id.is_empty());
        Self {
            id: it.id,
            tenant_id: it.tenant,
            kind: it.kind.as_str(),
            state: it.state().as_str(),
            tenant_name: it.tenant_name,
            usage_plan_id: named(it.usage_plan_id),
            api_key_id: named(it.api_key_id),
            from: it.from,
            until: it.until,
            counted: it.counted,
            lost: it.lost,
            held: it.held,
            counted_at: it.counted_at,
            ledger_least: it.compared.map(|compared| compared.ledger.0),
            ledger_most: it.compared.map(|compared| compared.ledger.1),
            drift: it.compared.map(|compared| compared.drift),
            compared_at: it.compared.map(|compared| compared.at),
            r#final: it.compared.is_some_and(|compared| compared.is_final),
        }
    }
}

/// Which of them; each left out matches every one.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReconciliationQuery {
    /// `ACCESS_LOG` or `QUOTA`.
    kind: Option<String>,
    /// `true`: only what drifts.
    drifting: Option<bool>,
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Which of them, and whose; each left out matches every one.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TenantReconciliationQuery {
    tenant_id: Option<String>,
    /// `ACCESS_LOG` or `QUOTA`.
    kind: Option<String>,
    /// `true`: only what drifts.
    drifting: Option<bool>,
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

fn filter(kind: Option<&str>, drifting: Option<bool>) -> Result<Filter> {
    let kind = kind.map(str::parse::<Kind>).transpose()?;
    Ok(Filter { kind, drifting: drifting.unwrap_or(false) })
}

/// What was counted beside the ledger, held against it, the latest first.
#[utoipa::path(get, path = "/usage/reconciliations", tag = "usage", operation_id = "listReconciliations",
params(ReconciliationQuery), responses(
    (status = 200, body = List<Reconciliation>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(query): Query<ReconciliationQuery>,
) -> Result<List<Reconciliation>> {
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    let filter = filter(query.kind.as_deref(), query.drifting)?;
    Ok(List::of(domain::reconciliation::list(&app, &actor, &filter, &page).await?))
}

/// The same of one tenant or of all.
#[utoipa::path(get, path = "/operator/reconciliations", tag = "operator", operation_id = "listTenantReconciliations",
params(TenantReconciliationQuery), responses(
    (status = 200, body = List<Reconciliation>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list_all(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<TenantReconciliationQuery>,
) -> Result<List<Reconciliation>> {
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    let filter = filter(query.kind.as_deref(), query.drifting)?;
    let tenant = query.tenant_id.map(|id| {
        id.parse::<TenantId>().map_err(|_| Error::bad_request("tenantId", "is no tenant's id"))
    });
    let all =
        domain::reconciliation::list_all(&app, &operator, tenant.transpose()?, &filter, &page);
    Ok(List::of(all.await?))
}
