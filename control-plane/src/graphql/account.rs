//! Tenants as the operator sees them.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain;
use crate::domain::account::AccountFilter;
use crate::domain::limit::LimitName;
use crate::domain::page::Key;
use crate::error::Result;
use crate::graphql::connection::{connection, page};
use crate::graphql::download::CreateDownloadPayload;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::node::Kind;
use crate::graphql::operator;
use crate::graphql::price::Count;
use crate::graphql::tenant::{Tenant, TenantLimitName, TenantStatus};
use crate::ids::TenantId;

#[derive(Default)]
pub struct AccountQuery;

#[derive(Default)]
pub struct AccountMutation;

/// A tenant, and how large it is.
#[derive(SimpleObject)]
pub struct TenantAccount {
    tenant: Tenant,
    members: Count,
    apis: Count,
    usage: MonthUsage,
}

/// What a tenant used in the present month, rolled up by hour: seconds behind the calls.
#[derive(SimpleObject)]
pub struct MonthUsage {
    /// `2026-11`, a calendar month in UTC.
    month: String,
    requests: Count,
    billed_requests: Count,
    bytes_out: Count,
}

impl From<domain::account::Account> for TenantAccount {
    fn from(account: domain::account::Account) -> Self {
        Self {
            tenant: account.tenant.into(),
            members: account.members.into(),
            apis: account.apis.into(),
            usage: MonthUsage {
                month: account.usage.month.to_string(),
                requests: account.usage.requests.into(),
                billed_requests: account.usage.billed_requests.into(),
                bytes_out: account.usage.bytes_out.into(),
            },
        }
    }
}

/// Which tenants; each field left out matches every one.
#[derive(InputObject, Default)]
pub struct TenantFilter {
    /// A part of the name, in any case.
    search: Option<String>,
    status: Option<TenantStatus>,
}

#[derive(InputObject)]
pub struct SuspendTenantInput {
    id: ID,
    /// 1 to 1,024 characters; the tenant's members read it.
    reason: String,
}

#[derive(InputObject)]
pub struct ResumeTenantInput {
    id: ID,
}

#[derive(InputObject)]
pub struct CloseTenantInput {
    id: ID,
    /// The tenant's name, typed again.
    name: String,
}

#[derive(InputObject)]
pub struct ReopenTenantInput {
    id: ID,
}

#[derive(InputObject)]
pub struct UpdateTenantLimitsInput {
    tenant_id: ID,
    /// Those that are not named stay as they are.
    limits: Vec<TenantLimitInput>,
}

#[derive(InputObject)]
pub struct TenantLimitInput {
    name: TenantLimitName,
    /// From 0, or 1 for requests, to 1,000,000; null puts the default back.
    #[graphql(validator(minimum = 0, maximum = 1_000_000))]
    limit: Option<i32>,
}

#[derive(InputObject)]
pub struct ExportTenantInput {
    id: ID,
}

#[derive(SimpleObject)]
pub struct TenantPayload {
    tenant: Option<Tenant>,
    user_errors: Vec<UserError>,
}

impl TenantPayload {
    fn of(made: Result<domain::tenant::Tenant>) -> async_graphql::Result<Self> {
        let (tenant, user_errors) = user_errors(made)?;
        Ok(Self { tenant: tenant.map(Into::into), user_errors })
    }
}

fn tenant_id(id: &ID) -> Result<TenantId> {
    Kind::Tenant.parse(id, "id")
}

#[Object]
impl AccountQuery {
    /// Every tenant of the installation, the newest first; the operator's.
    async fn tenants(
        &self,
        ctx: &Context<'_>,
        filter: Option<TenantFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, TenantAccount>> {
        let (app, operator) = operator(ctx)?;
        let filter = filter.unwrap_or_default();
        let filter = AccountFilter::new(filter.search, filter.status.map(Into::into))
            .map_err(|error| error.within("filter"))?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::account::list(app, operator, &filter, &page).await?))
    }

    /// One tenant of the installation; the operator's. Null where there is none.
    async fn tenant(
        &self,
        ctx: &Context<'_>,
        id: ID,
    ) -> async_graphql::Result<Option<TenantAccount>> {
        let (app, operator) = operator(ctx)?;
        let found = async { domain::account::get(app, operator, tenant_id(&id)?).await };
        match found.await {
            Ok(account) => Ok(Some(account.into())),
            Err(crate::error::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[Object]
impl AccountMutation {
    /// Refuses the tenant's calls and its members' changes; they log in and read. The operator's.
    async fn suspend_tenant(
        &self,
        ctx: &Context<'_>,
        input: SuspendTenantInput,
    ) -> async_graphql::Result<TenantPayload> {
        let (app, operator) = operator(ctx)?;
        let made = async {
            let id = tenant_id(&input.id)?;
            domain::account::suspend(app, operator, id, &input.reason).await
        };
        TenantPayload::of(made.await)
    }

    /// Ends a suspension; the operator's.
    async fn resume_tenant(
        &self,
        ctx: &Context<'_>,
        input: ResumeTenantInput,
    ) -> async_graphql::Result<TenantPayload> {
        let (app, operator) = operator(ctx)?;
        let made = async { domain::account::resume(app, operator, tenant_id(&input.id)?).await };
        TenantPayload::of(made.await)
    }

    /// Sets how much a tenant may have; the operator's.
    async fn update_tenant_limits(
        &self,
        ctx: &Context<'_>,
        input: UpdateTenantLimitsInput,
    ) -> async_graphql::Result<TenantPayload> {
        let (app, operator) = operator(ctx)?;
        let made = async {
            let id = Kind::Tenant.parse(&input.tenant_id, "tenantId")?;
            let limit = |limit: Option<i32>| limit.and_then(|limit| u32::try_from(limit).ok());
            let changes: Vec<(LimitName, Option<u32>)> =
                input.limits.iter().map(|given| (given.name.into(), limit(given.limit))).collect();
            domain::limit::update(app, operator, id, &changes).await?;
            Ok(domain::account::get(app, operator, id).await?.tenant)
        };
        TenantPayload::of(made.await)
    }

    /// Refuses the tenant's calls and logs its members out; after a week everything of it is erased. The
    /// operator's.
    async fn close_tenant(
        &self,
        ctx: &Context<'_>,
        input: CloseTenantInput,
    ) -> async_graphql::Result<TenantPayload> {
        let (app, operator) = operator(ctx)?;
        let made = async {
            domain::account::close(app, operator, tenant_id(&input.id)?, &input.name).await
        };
        TenantPayload::of(made.await)
    }

    /// A link to everything of a tenant as NDJSON, without secrets; it works once, for 60 seconds. The operator's.
    async fn export_tenant(
        &self,
        ctx: &Context<'_>,
        input: ExportTenantInput,
    ) -> async_graphql::Result<CreateDownloadPayload> {
        let (app, operator) = operator(ctx)?;
        let made = async {
            let id = tenant_id(&input.id)?;
            domain::tenant_export::create_as_operator(app, operator, id).await
        };
        let (link, errors) = user_errors(made.await)?;
        Ok(CreateDownloadPayload::of(link, errors))
    }

    /// Undoes a closing within its week; the operator's.
    async fn reopen_tenant(
        &self,
        ctx: &Context<'_>,
        input: ReopenTenantInput,
    ) -> async_graphql::Result<TenantPayload> {
        let (app, operator) = operator(ctx)?;
        let made = async { domain::account::reopen(app, operator, tenant_id(&input.id)?).await };
        TenantPayload::of(made.await)
    }
}
