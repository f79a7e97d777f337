//! Nodes, how far each is with each cell, and what it refused.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::error::{Error, Result};
use crate::ids::NodeId;

/// The names among `cells` that are no cell.
pub async fn unknown_cells(tx: &mut Tx, cells: &[String]) -> Result<Vec<String>> {
    let known = sqlx::query_scalar!("select id from cell where id = any($1)", cells)
        .fetch_all(&mut **tx)
        .await?;
    Ok(cells.iter().filter(|cell| !known.contains(cell)).cloned().collect())
}

pub async fn insert(
    tx: &mut Tx,
    id: NodeId,
    name: &str,
    cells: &[String],
    certificate_expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into node (id, name, cells, certificate_expires_at, created_at, last_seen_at)
         values ($1, $2, $3, $4, $5, $5)",
        id.0,
        name,
        cells,
        certificate_expires_at,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes a fresh certificate. False for a node that is not, or is no longer, of this installation.
pub async fn renew(tx: &mut Tx, id: NodeId, certificate_expires_at: DateTime<Utc>) -> Result<bool> {
    let renewed = sqlx::query!(
        "update node set certificate_expires_at = $2 where id = $1 and revoked_at is null",
        id.0,
        certificate_expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// A node subscribes: the cells that it may have, or nothing where it is unknown or revoked. One that was not seen
/// since `away_since` has come back.
pub async fn subscribed(
    tx: &mut Tx,
    id: NodeId,
    software_version: &str,
    now: DateTime<Utc>,
    away_since: DateTime<Utc>,
) -> Result<Option<Vec<String>>> {
    Ok(sqlx::query_scalar!(
        "update node set software_version = $2, last_seen_at = $3,
             connected_at = case when last_seen_at < $4 then clock_timestamp() else connected_at end
         where id = $1 and revoked_at is null returning cells",
        id.0,
        software_version,
        now,
        away_since,
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// The cells that a node may have; nothing where it is unknown or revoked.
pub async fn cells(tx: &mut Tx, id: NodeId) -> Result<Option<Vec<String>>> {
    Ok(sqlx::query_scalar!("select cells from node where id = $1 and revoked_at is null", id.0)
        .fetch_optional(&mut **tx)
        .await?)
}

/// A node is alive. False where it is unknown or revoked.
pub async fn seen(tx: &mut Tx, id: NodeId, now: DateTime<Utc>) -> Result<bool> {
    let seen = sqlx::query!(
        "update node set last_seen_at = $2 where id = $1 and revoked_at is null",
        id.0,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(seen.rows_affected() == 1)
}

/// Ends a node's right to call, and wakes the replicas to cut it off. False where there is no such node.
pub async fn revoke(tx: &mut Tx, id: NodeId, now: DateTime<Utc>) -> Result<bool> {
    let revoked = sqlx::query!(
        "update node set revoked_at = coalesce(revoked_at, $2) where id = $1",
        id.0,
        now,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("select pg_notify('node', $1)", id.to_string()).execute(&mut **tx).await?;
    Ok(revoked.rows_affected() == 1)
}

/// The revoked nodes whose certificates would still open a connection.
pub async fn revoked(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<NodeId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar!(
        "select id from node where revoked_at is not null and certificate_expires_at > $1",
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(NodeId).collect())
}

/// Everything up to and with `version` is live on the node. A version that the cell has not reached, or an
/// older one than before, changes nothing.
pub async fn acknowledge(
    tx: &mut Tx,
    id: NodeId,
    cell: &str,
    version: u64,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "with news as (
             insert into node_cell (node_id, cell_id, version, acknowledged_at)
             select $1, id, $3, $4 from cell where id = $2 and version >= $3
             on conflict (node_id, cell_id) do update
                 set version = excluded.version, acknowledged_at = excluded.acknowledged_at
                 where node_cell.version < excluded.version
             returning node_id, cell_id, version
         )
         insert into node_acknowledgement (node_id, cell_id, version, connected_at)
         select news.node_id, news.cell_id, news.version, node.connected_at
         from news join node on node.id = news.node_id
         on conflict (node_id, cell_id, version) do nothing",
        id.0,
        cell,
        number(version)?,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn refuse(
    tx: &mut Tx,
    id: NodeId,
    cell: &str,
    version: u64,
    resource: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into node_refusal (node_id, cell_id, version, resource, reason, created_at)
         select $1, id, $3, $4, $5, $6 from cell where id = $2 and version >= $3
         on conflict (node_id, cell_id, version, resource) do update set reason = excluded.reason",
        id.0,
        cell,
        number(version)?,
        resource,
        reason,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets expired tokens, and refusals and moments of acknowledgement that are older than these.
pub async fn prune(
    tx: &mut Tx,
    now: DateTime<Utc>,
    refused_before: DateTime<Utc>,
    acknowledged_before: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!("delete from join_token where expires_at < $1", now).execute(&mut **tx).await?;
    sqlx::query!("delete from node_refusal where created_at < $1", refused_before)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "delete from node_acknowledgement where acknowledged_at < $1",
        acknowledged_before
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn number(version: u64) -> Result<i64> {
    i64::try_from(version).map_err(|_| Error::bad_request("version", "beyond any version"))
}
