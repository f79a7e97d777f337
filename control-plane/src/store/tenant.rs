//! Tenants.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::limit::Adjusted;
use crate::domain::tenant::{NewTenant, Tenant};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::TenantId;

pub async fn insert(tx: &mut Tx, new: &NewTenant) -> Result<Tenant> {
    let row = sqlx::query_as!(
        Row,
        "insert into tenant (id, cell_id, name, data_key, key_pepper) values ($1, $2, $3, $4, $5)
         returning id, name, created_at, status, suspended_at, suspended_reason, closed_at, erased_at",
        new.id.0,
        new.cell,
        new.name,
        new.data_key,
        new.key_pepper,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("tenant_name_key", || {
        Error::conflict("tenant", format!("a tenant named {} exists", new.name))
    })?;
    row.try_into()
}

pub async fn get(tx: &mut Tx, id: TenantId) -> Result<Tenant> {
    let row = sqlx::query_as!(
        Row,
        "select id, name, created_at, status, suspended_at, suspended_reason, closed_at, erased_at
         from tenant where id = $1",
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.ok_or(Error::NotFound("tenant"))?.try_into()
}

/// The tenant with this name, or this id in plain form.
pub async fn named(tx: &mut Tx, name_or_id: &str) -> Result<Option<TenantId>> {
    let id = sqlx::query_scalar!(
        "select id from tenant where name = $1 or id = $2",
        name_or_id,
        name_or_id.parse::<Uuid>().ok(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(TenantId))
}

/// The tenant's data key, wrapped by the master key.
pub async fn data_key(tx: &mut Tx, tenant: TenantId) -> Result<Vec<u8>> {
    sqlx::query_scalar!("select data_key from tenant where id = $1", tenant.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::NotFound("tenant"))
}

/// The pepper of the tenant's API keys, wrapped by its data key.
pub async fn key_pepper(tx: &mut Tx, tenant: TenantId) -> Result<Vec<u8>> {
    sqlx::query_scalar!("select key_pepper from tenant where id = $1", tenant.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::NotFound("tenant"))
}

/// Whether a tenant has this name.
pub async fn has_name(tx: &mut Tx, name: &str) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select 1 from tenant where name = $1) as "found!""#,
        name,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(found)
}

/// Locks the tenant against others that lock it, until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    sqlx::query_scalar!("select id from tenant where id = $1 for no key update", tenant.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::NotFound("tenant"))?;
    Ok(())
}

/// The tenant's own limit of this name, where it has one. Locks the tenant, so that two operations do not both
/// take the last place.
pub async fn limit(tx: &mut Tx, tenant: TenantId, name: &str) -> Result<Option<u32>> {
    let limit = sqlx::query_scalar!(
        "select (limits ->> $2)::bigint from tenant where id = $1 for no key update",
        tenant.0,
        name
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or(Error::NotFound("tenant"))?;
    Ok(limit.map(|limit| u32::try_from(limit.max(0)).unwrap_or(u32::MAX)))
}

/// What the operator set, by name.
pub async fn limits(tx: &mut Tx, tenant: TenantId) -> Result<Adjusted> {
    let limits = sqlx::query_scalar!("select limits from tenant where id = $1", tenant.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::NotFound("tenant"))?;
    serde_json::from_value(limits).map_err(|cause| Error::corrupt("tenant limits", cause))
}

pub async fn set_limits(tx: &mut Tx, tenant: TenantId, limits: &Adjusted) -> Result<()> {
    sqlx::query!("update tenant set limits = $2 where id = $1", tenant.0, Json(limits) as _)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Why the tenant's members may change nothing now; None where they may.
pub async fn suspended(tx: &mut Tx, tenant: TenantId) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        r#"select coalesce(suspended_reason, 'the operator did not say why') as "reason!"
         from tenant where id = $1 and status <> 'active'"#,
        tenant.0,
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// The ranges that were opened for this tenant's backends.
pub async fn egress_allow(tx: &mut Tx, tenant: TenantId) -> Result<Vec<ipnet::IpNet>> {
    let ranges = sqlx::query_scalar!("select egress_allow from tenant where id = $1", tenant.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::NotFound("tenant"))?;
    ranges
        .iter()
        .map(|range| range.parse().map_err(|cause| Error::corrupt("egress range", cause)))
        .collect()
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
}

impl TryFrom<Row> for Tenant {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: TenantId(row.id),
            name: row.name,
            created_at: row.created_at,
            status: row.status.as_str().try_into()?,
            suspended_at: row.suspended_at,
            suspended_reason: row.suspended_reason,
            closed_at: row.closed_at,
            erased_at: row.erased_at,
        })
    }
}
