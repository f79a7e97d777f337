//! How far the ledger is sealed, and the roots of its hours.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::error::Result;
use crate::ids::TenantId;

/// How far the ledger is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Intake adds nothing to hours before this.
    pub closed_until: Option<DateTime<Utc>>,
    /// Hours before this have their roots.
    pub rooted_until: Option<DateTime<Utc>>,
    /// By the database's clock.
    pub now: DateTime<Utc>,
}

/// A sealed hour of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    pub hour: DateTime<Utc>,
    pub rows: i64,
    pub root: Vec<u8>,
    pub signature: Vec<u8>,
}

/// Before which hour intake adds nothing. Until this transaction ends no more hours are closed.
pub async fn closed_until(tx: &mut Tx) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar!("select usage_closed_until()").fetch_one(&mut **tx).await?)
}

/// None where another replica is at it.
pub async fn lock(tx: &mut Tx) -> Result<Option<Seal>> {
    let seal = sqlx::query_as!(
        Seal,
        r#"select closed_until, rooted_until, clock_timestamp() as "now!"
         from usage_seal for update skip locked"#
    );
    Ok(seal.fetch_optional(&mut **tx).await?)
}

/// Up to where every hour has its root.
pub async fn rooted_until(tx: &mut Tx) -> Result<Option<DateTime<Utc>>> {
    let until =
        sqlx::query_scalar!("select rooted_until from usage_seal").fetch_optional(&mut **tx);
    Ok(until.await?.flatten())
}

/// Closes the hours before `until`, but none that is still to be rolled up. Waits for the intake that is under way, ten
/// seconds at most: what comes meanwhile waits for this.
pub async fn close(tx: &mut Tx, until: DateTime<Utc>) -> Result<()> {
    sqlx::query!("select set_config('lock_timeout', '10s', true)").fetch_one(&mut **tx).await?;
    sqlx::query!("select close_usage_hours($1)", until).fetch_one(&mut **tx).await?;
    Ok(())
}

/// The first hour from `from` on and before `until` in which any tenant has a row.
pub async fn next_hour(
    tx: &mut Tx,
    from: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar!(
        "select min(first.hour) from tenant cross join lateral (
             select min(hour) as hour from usage_hour
             where tenant_id = tenant.id and hour >= coalesce($1, '-infinity'::timestamptz) and hour < $2
         ) first",
        from,
        until,
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// The tenants that have a row in the hour.
pub async fn tenants(tx: &mut Tx, hour: DateTime<Utc>) -> Result<Vec<TenantId>> {
    let ids = sqlx::query_scalar!(
        "select id from tenant
         where exists (select from usage_hour where tenant_id = tenant.id and hour = $1) order by id",
        hour,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(TenantId).collect())
}

pub async fn insert(tx: &mut Tx, tenant: TenantId, root: &Root, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "insert into usage_root (tenant_id, hour, rows, root, signature, sealed_at)
         values ($1, $2, $3, $4, $5, $6)",
        tenant.0,
        root.hour,
        root.rows,
        root.root,
        root.signature,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Every hour before this has its root.
pub async fn set_rooted_until(tx: &mut Tx, until: DateTime<Utc>) -> Result<()> {
    sqlx::query!("update usage_seal set rooted_until = $1", until).execute(&mut **tx).await?;
    Ok(())
}

/// The tenant's roots of a time, in the order of their hours.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Root>> {
    Ok(sqlx::query_as!(
        Root,
        "select hour, rows, root, signature from usage_root
         where tenant_id = $1 and hour >= $2 and hour < $3 order by hour",
        tenant.0,
        from,
        until,
    )
    .fetch_all(&mut **tx)
    .await?)
}
