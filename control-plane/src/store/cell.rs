//! A cell's version and its outbox.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::error::{Error, Result};

/// The cell of the tenant that this transaction runs in.
pub async fn of_current_tenant(tx: &mut Tx) -> Result<String> {
    Ok(sqlx::query_scalar!("select cell_id from tenant where id = current_tenant_id()")
        .fetch_one(&mut **tx)
        .await?)
}

/// Takes the next version. The row's lock is held until the transaction ends: versions commit in order.
pub async fn next_version(tx: &mut Tx, cell: &str) -> Result<u64> {
    let version = sqlx::query_scalar!(
        "update cell set version = version + 1 where id = $1 returning version",
        cell
    )
    .fetch_one(&mut **tx)
    .await?;
    u64::try_from(version).map_err(|cause| Error::corrupt("cell version", cause))
}

/// Writes the message and wakes the publishers when the transaction commits.
pub async fn write_outbox(tx: &mut Tx, cell: &str, version: u64, message: &[u8]) -> Result<()> {
    let number = i64::try_from(version).map_err(|cause| Error::corrupt("cell version", cause))?;
    sqlx::query!(
        "insert into outbox (cell_id, version, message) values ($1, $2, $3)",
        cell,
        number,
        message,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("select pg_notify('config', $1)", format!("{cell} {version}"))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Makes the whole transaction read one moment. Its first statement.
pub async fn read_as_of_one_moment(tx: &mut Tx) -> Result<()> {
    sqlx::query("set transaction isolation level repeatable read, read only")
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Every cell and its version.
pub async fn versions(tx: &mut Tx) -> Result<Vec<(String, u64)>> {
    let rows =
        sqlx::query!("select id, version from cell order by id").fetch_all(&mut **tx).await?;
    rows.into_iter().map(|row| Ok((row.id, unsigned(row.version)?))).collect()
}

pub async fn version(tx: &mut Tx, cell: &str) -> Result<u64> {
    let version = sqlx::query_scalar!("select version from cell where id = $1", cell)
        .fetch_optional(&mut **tx)
        .await?;
    unsigned(version.ok_or(Error::NotFound("cell"))?)
}

/// The version, which nobody else moves before this transaction ends.
pub async fn lock_version(tx: &mut Tx, cell: &str) -> Result<u64> {
    let version = sqlx::query_scalar!("select version from cell where id = $1 for update", cell)
        .fetch_optional(&mut **tx)
        .await?;
    unsigned(version.ok_or(Error::NotFound("cell"))?)
}

pub async fn set_version(tx: &mut Tx, cell: &str, version: u64) -> Result<()> {
    let version = i64::try_from(version).map_err(|cause| Error::corrupt("cell version", cause))?;
    sqlx::query!("update cell set version = $2 where id = $1", cell, version)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// At most `limit` messages after `version`, in order, wrapped as they lie there.
pub async fn outbox_after(
    tx: &mut Tx,
    cell: &str,
    version: u64,
    limit: i64,
) -> Result<Vec<(u64, Vec<u8>)>> {
    let version = i64::try_from(version).map_err(|cause| Error::corrupt("cell version", cause))?;
    let rows = sqlx::query!(
        "select version, message from outbox where cell_id = $1 and version > $2 order by version limit $3",
        cell,
        version,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(|row| Ok((unsigned(row.version)?, row.message))).collect()
}

/// Deletes what was written before `before`.
pub async fn prune_outbox(tx: &mut Tx, before: DateTime<Utc>) -> Result<()> {
    sqlx::query!("delete from outbox where created_at < $1", before).execute(&mut **tx).await?;
    Ok(())
}

fn unsigned(version: i64) -> Result<u64> {
    u64::try_from(version).map_err(|cause| Error::corrupt("cell version", cause))
}
