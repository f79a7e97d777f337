//! A cell's version and its outbox.

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
