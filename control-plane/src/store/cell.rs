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

/// A cell, and the line of the database's history that its version belongs to, if that was ever looked at.
pub struct Position {
    pub cell: String,
    pub version: u64,
    pub line: Option<String>,
}

/// Where every cell is.
pub async fn positions(tx: &mut Tx) -> Result<Vec<Position>> {
    let rows =
        sqlx::query!("select id, version, line from cell order by id").fetch_all(&mut **tx).await?;
    rows.into_iter()
        .map(|row| Ok(Position { cell: row.id, version: unsigned(row.version)?, line: row.line }))
        .collect()
}

/// The server's identity and its timeline: a restored or promoted server has another. None where the server does
/// not tell, as some that others run; the transaction is of no more use then.
pub async fn line(tx: &mut Tx) -> Result<Option<String>> {
    const NOT_TOLD: [&str; 3] = ["42501", "42883", "0A000"]; // forbidden, unknown, not supported
    let line = sqlx::query_scalar!(
        r#"select (select system_identifier from pg_control_system())::text || '/'
             || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) as "line!""#
    )
    .fetch_one(&mut **tx)
    .await;
    match line {
        Ok(line) => Ok(Some(line)),
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| NOT_TOLD.contains(&&*code)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

pub async fn set_line(tx: &mut Tx, cell: &str, line: &str) -> Result<()> {
    sqlx::query!("update cell set line = $2 where id = $1", cell, line).execute(&mut **tx).await?;
    Ok(())
}

pub async fn version(tx: &mut Tx, cell: &str) -> Result<u64> {
    let version = sqlx::query_scalar!("select version from cell where id = $1", cell)
        .fetch_optional(&mut **tx)
        .await?;
    unsigned(version.ok_or(Error::NotFound("cell"))?)
}

/// Where the cell is, which nobody else moves before this transaction ends.
pub async fn lock(tx: &mut Tx, cell: &str) -> Result<Position> {
    let row = sqlx::query!("select id, version, line from cell where id = $1 for update", cell)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::NotFound("cell"))?;
    Ok(Position { cell: row.id, version: unsigned(row.version)?, line: row.line })
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
