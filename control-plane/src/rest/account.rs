//! Tenants as the operator sees them.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::{Caller, Operator};
use crate::app::App;
use crate::domain;
use crate::domain::account::AccountFilter;
use crate::domain::limit::LimitName;
use crate::domain::page::Page;
use crate::domain::tenant::Status;
use crate::error::Result;
use crate::ids::TenantId;
use crate::rest::download::Download;
use crate::rest::extract::{Json, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;
use crate::rest::tenant::{Tenant, TenantLimit};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(suspend, resume))
        .routes(routes!(limits, update_limits))
        .routes(routes!(close))
        .routes(routes!(export))
        .routes(routes!(reopen))
}

/// A tenant, and how large it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TenantAccount {
    #[serde(flatten)]
    tenant: Tenant,
    members: i64,
    apis: i64,
    usage: MonthUsage,
}

/// What a tenant used in the present month, rolled up by hour.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MonthUsage {
    /// `2026-11`, a calendar month in UTC.
    month: String,
    requests: i64,
    billed_requests: i64,
    bytes_out: i64,
}

impl From<domain::account::Account> for TenantAccount {
    fn from(account: domain::account::Account) -> Self {
        Self {
            tenant: account.tenant.into(),
            members: account.members,
            apis: account.apis,
            usage: MonthUsage {
                month: account.usage.month.to_string(),
                requests: account.usage.requests,
                billed_requests: account.usage.billed_requests,
                bytes_out: account.usage.bytes_out,
            },
        }
    }
}

/// Which tenants; each left out matches every one.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TenantQuery {
    /// A part of the name, in any case.
    search: Option<String>,
    #[param(inline, value_type = Option<String>)]
    status: Option<Status>,
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SuspendTenant {
    /// The tenant's members read it.
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CloseTenant {
    /// The tenant's name, typed again.
    name: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateTenantLimits {
    /// Those that are not named stay as they are.
    limits: Vec<UpdateTenantLimit>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateTenantLimit {
    #[schema(value_type = String)]
    name: LimitName,
    /// Null puts the default back. That of requests is at least 1.
    #[schema(minimum = 0, maximum = 1_000_000)]
    limit: Option<u32>,
}

/// Every tenant of the installation, the newest first.
#[utoipa::path(get, path = "/operator/tenants", tag = "operator", operation_id = "listTenants", params(TenantQuery), responses(
    (status = 200, body = List<TenantAccount>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<TenantQuery>,
) -> Result<List<TenantAccount>> {
    let filter = AccountFilter::new(query.search, query.status)?;
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    let listed = domain::account::list(&app, &operator, &filter, &page).await?;
    Ok(List::of(listed))
}

/// A tenant of the installation.
#[utoipa::path(get, path = "/operator/tenants/{tenantId}", tag = "operator", operation_id = "getTenantAccount",
params(("tenantId" = String, Path)), responses(
    (status = 200, body = TenantAccount),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<TenantId>,
) -> Result<axum::Json<TenantAccount>> {
    Ok(axum::Json(domain::account::get(&app, &operator, id).await?.into()))
}

/// Refuses the tenant's calls and its members' changes; they log in and read.
#[utoipa::path(put, path = "/operator/tenants/{tenantId}/suspension", tag = "operator", operation_id = "suspendTenant",
params(("tenantId" = String, Path)), request_body = SuspendTenant, responses(
    (status = 200, body = Tenant),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn suspend(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<TenantId>,
    Json(body): Json<SuspendTenant>,
) -> Result<axum::Json<Tenant>> {
    Ok(axum::Json(domain::account::suspend(&app, &operator, id, &body.reason).await?.into()))
}

/// Ends a suspension.
#[utoipa::path(delete, path = "/operator/tenants/{tenantId}/suspension", tag = "operator",
operation_id = "resumeTenant", params(("tenantId" = String, Path)), responses(
    (status = 200, body = Tenant),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn resume(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<TenantId>,
) -> Result<axum::Json<Tenant>> {
    Ok(axum::Json(domain::account::resume(&app, &operator, id).await?.into()))
}

/// How much the tenant may have, and has.
#[utoipa::path(get, path = "/operator/tenants/{tenantId}/limits", tag = "operator",
operation_id = "getTenantAccountLimits", params(("tenantId" = String, Path)), responses(
    (status = 200, body = [TenantLimit]),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn limits(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<TenantId>,
) -> Result<axum::Json<Vec<TenantLimit>>> {
    domain::account::get(&app, &operator, id).await?;
    let caller = Caller::Operator(operator);
    let limits = domain::limit::list(&app, &caller, id).await?;
    Ok(axum::Json(limits.into_iter().map(Into::into).collect()))
}

/// Sets how much a tenant may have.
#[utoipa::path(patch, path = "/operator/tenants/{tenantId}/limits", tag = "operator",
operation_id = "updateTenantLimits", params(("tenantId" = String, Path)), request_body = UpdateTenantLimits, responses(
    (status = 200, body = [TenantLimit]),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn update_limits(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<TenantId>,
    Json(body): Json<UpdateTenantLimits>,
) -> Result<axum::Json<Vec<TenantLimit>>> {
    let changes: Vec<(LimitName, Option<u32>)> =
        body.limits.into_iter().map(|given| (given.name, given.limit)).collect();
    domain::limit::update(&app, &operator, id, &changes).await?;
    let limits = domain::limit::list(&app, &Caller::Operator(operator), id).await?;
    Ok(axum::Json(limits.into_iter().map(Into::into).collect()))
}

/// Refuses the tenant's calls and logs its members out; after a week everything of it is erased.
#[utoipa::path(post, path = "/operator/tenants/{tenantId}/close", tag = "operator", operation_id = "closeTenant",
params(("tenantId" = String, Path)), request_body = CloseTenant, responses(
    (status = 200, body = Tenant),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn close(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<TenantId>,
    Json(body): Json<CloseTenant>,
) -> Result<axum::Json<Tenant>> {
    Ok(axum::Json(domain::account::close(&app, &operator, id, &body.name).await?.into()))
}

/// Makes a link to everything of a tenant as NDJSON, without secrets; it works once, for 60 seconds.
#[utoipa::path(post, path = "/operator/tenants/{tenantId}/exports", tag = "operator", operation_id = "exportTenant",
params(("tenantId" = String, Path)), responses(
    (status = 201, body = Download),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn export(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<TenantId>,
) -> Result<(StatusCode, axum::Json<Download>)> {
    let link = domain::tenant_export::create_as_operator(&app, &operator, id).await?;
    Ok((StatusCode::CREATED, axum::Json(link.into())))
}

/// Undoes a closing within its week.
#[utoipa::path(post, path = "/operator/tenants/{tenantId}/reopen", tag = "operator", operation_id = "reopenTenant",
params(("tenantId" = String, Path)), responses(
    (status = 200, body = Tenant),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn reopen(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<TenantId>,
) -> Result<axum::Json<Tenant>> {
    Ok(axum::Json(domain::account::reopen(&app, &operator, id).await?.into()))
}
