//! Tenants as the operator sees and changes them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::account::{Account, AccountFilter, MonthUsage};
use crate::domain::bill::Month;
use crate::domain::limit::LimitName;
use crate::domain::page::Page;
use crate::domain::tenant::{Status, Tenant};
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::store;

/// Newest first. An erased tenant is no longer one.
pub async fn list(
    tx: &mut Tx,
    filter: &AccountFilter,
    month: Month,
    page: &Page,
) -> Result<Vec<Account>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, created_at, status, suspended_at, suspended_reason, closed_at, erased_at,
             (select count(*) from member where tenant_id = tenant.id) as "members!",
             (select count(*) from api where tenant_id = tenant.id) as "apis!",
             used.requests as "requests!", used.billed_requests as "billed_requests!", used.bytes_out as "bytes_out!"
         from tenant cross join lateral (
             select coalesce(sum(requests), 0)::bigint as requests,
                 coalesce(sum(billed_requests), 0)::bigint as billed_requests,
                 coalesce(sum(bytes_out), 0)::bigint as bytes_out
             from usage_hour where tenant_id = tenant.id and hour >= $8
         ) used
         where erased_at is null
           and ($1::text is null or position(lower($1) in lower(name)) > 0)
           and ($2::text is null or status = $2)
           and ($3::timestamptz is null or (created_at, id) < ($3, $4))
           and ($5::timestamptz is null or (created_at, id) > ($5, $6))
         order by case when $7 then created_at end, case when $7 then id end, created_at desc, id desc
         limit $9"#,
        filter.search,
        filter.status.map(Status::as_str),
        page.after_at(),
        page.after_uuid()?,
        page.before_at(),
        page.before_uuid()?,
        page.backward(),
        month.start(),
        page.rows_max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(|row| row.account(month)).collect()
}

pub async fn get(tx: &mut Tx, id: TenantId, month: Month) -> Result<Option<Account>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, name, created_at, status, suspended_at, suspended_reason, closed_at, erased_at,
             (select count(*) from member where tenant_id = tenant.id) as "members!",
             (select count(*) from api where tenant_id = tenant.id) as "apis!",
             used.requests as "requests!", used.billed_requests as "billed_requests!", used.bytes_out as "bytes_out!"
         from tenant cross join lateral (
             select coalesce(sum(requests), 0)::bigint as requests,
                 coalesce(sum(billed_requests), 0)::bigint as billed_requests,
                 coalesce(sum(bytes_out), 0)::bigint as bytes_out
             from usage_hour where tenant_id = tenant.id and hour >= $2
         ) used
         where id = $1 and erased_at is null"#,
        id.0,
        month.start(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| row.account(month)).transpose()
}

/// The tenant, which nobody else changes before this transaction ends. An erased one is not found.
pub async fn lock(tx: &mut Tx, id: TenantId) -> Result<Tenant> {
    let found = sqlx::query_scalar!(
        "select id from tenant where id = $1 and erased_at is null for no key update",
        id.0
    )
    .fetch_optional(&mut **tx)
    .await?;
    found.ok_or(Error::NotFound("tenant"))?;
    store::tenant::get(tx, id).await
}

pub async fn cell(tx: &mut Tx, id: TenantId) -> Result<String> {
    Ok(sqlx::query_scalar!("select cell_id from tenant where id = $1", id.0)
        .fetch_one(&mut **tx)
        .await?)
}

pub async fn suspend(tx: &mut Tx, id: TenantId, reason: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update tenant set status = 'suspended', suspended_at = coalesce(suspended_at, $3),
             suspended_reason = $2, updated_at = $3 where id = $1",
        id.0,
        reason,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn resume(tx: &mut Tx, id: TenantId) -> Result<()> {
    sqlx::query!(
        "update tenant set status = 'active', suspended_at = null, suspended_reason = null where id = $1",
        id.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn close(tx: &mut Tx, id: TenantId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("update tenant set status = 'closed', closed_at = $2 where id = $1", id.0, now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub async fn reopen(tx: &mut Tx, id: TenantId) -> Result<()> {
    sqlx::query!(
        "update tenant set status = case when suspended_at is null then 'active' else 'suspended' end,
             closed_at = null where id = $1",
        id.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// How much the tenant has of what is limited; of what is limited for each API, the most that one has.
pub async fn used(tx: &mut Tx, tenant: TenantId) -> Result<BTreeMap<LimitName, u64>> {
    let row = sqlx::query!(
        r#"select
             (select count(*) from access_key where tenant_id = $1) as "access_keys!",
             (select count(*) from api_key where tenant_id = $1) as "api_keys!",
             (select count(*) from api where tenant_id = $1) as "apis!",
             (select count(*) from client_certificate where tenant_id = $1) as "client_certificates!",
             (select count(*) from consumer where tenant_id = $1) as "consumers!",
             (select count(*) from invitation where tenant_id = $1) as "invitations!",
             (select count(*) from member where tenant_id = $1) as "members!",
             (select count(*) from secret where tenant_id = $1) as "secrets!",
             (select count(*) from usage_plan where tenant_id = $1) as "usage_plans!",
             (select count(*) from vpc_link where tenant_id = $1) as "vpc_links!",
             (select coalesce(max(n), 0) from (select count(*) as n from deployment where tenant_id = $1 group by api_id)
                 each_api) as "deployments!",
             (select coalesce(max(n), 0) from (select count(*) as n from integration where tenant_id = $1 group by api_id)
                 each_api) as "integrations!",
             (select coalesce(max(n), 0) from (select count(*) as n from resource where tenant_id = $1 group by api_id)
                 each_api) as "resources!",
             (select coalesce(max(n), 0) from (select count(*) as n from route where tenant_id = $1 group by api_id)
                 each_api) as "routes!",
             (select coalesce(max(n), 0) from (select count(*) as n from stage where tenant_id = $1 group by api_id)
                 each_api) as "stages!""#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    let counts = [
        (LimitName::AccessKeys, row.access_keys),
        (LimitName::ApiKeys, row.api_keys),
        (LimitName::Apis, row.apis),
        (LimitName::ClientCertificates, row.client_certificates),
        (LimitName::Consumers, row.consumers),
        (LimitName::Invitations, row.invitations),
        (LimitName::Members, row.members + row.invitations),
        (LimitName::Secrets, row.secrets),
        (LimitName::UsagePlans, row.usage_plans),
        (LimitName::VpcLinks, row.vpc_links),
        (LimitName::DeploymentsPerApi, row.deployments),
        (LimitName::IntegrationsPerApi, row.integrations),
        (LimitName::ResourcesPerApi, row.resources),
        (LimitName::RoutesPerApi, row.routes),
        (LimitName::StagesPerApi, row.stages),
    ];
    Ok(counts.map(|(name, count)| (name, u64::try_from(count).unwrap_or_default())).into())
}

struct Row {
    id: Uuid,
    name: String,
    created_at: DateTime<Utc>,
    status: String,
    suspended_at: Option<DateTime<Utc>>,
    suspended_reason: Option<String>,
    closed_at: Option<DateTime<Utc>>,
    erased_at: Option<DateTime<Utc>>,
    members: i64,
    apis: i64,
    requests: i64,
    billed_requests: i64,
    bytes_out: i64,
}

impl Row {
    fn account(self, month: Month) -> Result<Account> {
        Ok(Account {
            tenant: Tenant {
                id: TenantId(self.id),
                name: self.name,
                created_at: self.created_at,
                status: self.status.as_str().try_into()?,
                suspended_at: self.suspended_at,
                suspended_reason: self.suspended_reason,
                closed_at: self.closed_at,
                erased_at: self.erased_at,
            },
            members: self.members,
            apis: self.apis,
            usage: MonthUsage {
                month,
                requests: self.requests,
                billed_requests: self.billed_requests,
                bytes_out: self.bytes_out,
            },
        })
    }
}
