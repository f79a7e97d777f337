//! Nodes and replicas as the operator sees them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::fleet::{FleetNode, FleetState, NodeRefusal, Progress, Replica};
use crate::domain::page::Page;
use crate::error::{Error, Result};
use crate::ids::{NodeId, ReplicaId};

/// More refusals of one node than these are not told.
const REFUSALS_MAX: i64 = 10;

/// The last to join first.
pub async fn nodes(
    tx: &mut Tx,
    state: Option<FleetState>,
    live_since: DateTime<Utc>,
    page: &Page,
) -> Result<Vec<FleetNode>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, name, cells, software_version, created_at, connected_at, last_seen_at, certificate_expires_at,
             revoked_at from node
         where ($1::boolean is null or (revoked_at is not null) = $1)
           and ($2::boolean is null or (last_seen_at >= $3) = $2)
           and ($4::timestamptz is null or (created_at, id) < ($4, $5))
           and ($6::timestamptz is null or (created_at, id) > ($6, $7))
         order by case when $8 then created_at end, case when $8 then id end, created_at desc, id desc
         limit $9",
        state.map(|state| state == FleetState::Revoked),
        state.filter(|state| *state != FleetState::Revoked).map(|state| state == FleetState::Live),
        live_since,
        page.after_at(),
        page.after_uuid()?,
        page.before_at(),
        page.before_uuid()?,
        page.backward(),
        page.rows_max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    with_progress(tx, rows, live_since).await
}

pub async fn node(tx: &mut Tx, id: NodeId, live_since: DateTime<Utc>) -> Result<Option<FleetNode>> {
    let row = sqlx::query_as!(
        Row,
        "select id, name, cells, software_version, created_at, connected_at, last_seen_at, certificate_expires_at,
             revoked_at from node where id = $1",
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(with_progress(tx, row.into_iter().collect(), live_since).await?.pop())
}

async fn with_progress(
    tx: &mut Tx,
    rows: Vec<Row>,
    live_since: DateTime<Utc>,
) -> Result<Vec<FleetNode>> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut progress: HashMap<Uuid, Vec<Progress>> = HashMap::new();
    let reached = sqlx::query!(
        r#"select node.id as node, cell.id as cell, cell.version, held.version as "held?",
             held.acknowledged_at as "at?"
         from node join cell on cell.id = any(node.cells)
         left join node_cell held on held.node_id = node.id and held.cell_id = cell.id
         where node.id = any($1) order by cell.id"#,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    for row in reached {
        progress.entry(row.node).or_default().push(Progress {
            cell: row.cell,
            version: version(row.version)?,
            acknowledged_version: row.held.map(version).transpose()?,
            acknowledged_at: row.at,
        });
    }
    let mut refusals: HashMap<Uuid, Vec<NodeRefusal>> = HashMap::new();
    let refused = sqlx::query!(
        r#"select wanted.id as "node!", refused.cell_id, refused.version, refused.resource, refused.reason,
             refused.created_at
         from unnest($1::uuid[]) as wanted (id)
         cross join lateral (
             select cell_id, version, resource, reason, created_at from node_refusal
             where node_id = wanted.id order by version desc, resource limit $2
         ) refused
         order by refused.version desc, refused.resource"#,
        &ids,
        REFUSALS_MAX,
    )
    .fetch_all(&mut **tx)
    .await?;
    for row in refused {
        refusals.entry(row.node).or_default().push(NodeRefusal {
            cell: row.cell_id,
            version: version(row.version)?,
            resource: row.resource,
            reason: row.reason,
            created_at: row.created_at,
        });
    }
    let whole = rows.into_iter().map(|row| {
        let (progress, refusals) = (progress.remove(&row.id), refusals.remove(&row.id));
        row.node(live_since, progress.unwrap_or_default(), refusals.unwrap_or_default())
    });
    Ok(whole.collect())
}

/// Notes that a replica is there.
pub async fn present(tx: &mut Tx, replica: &Replica, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "insert into replica (id, name, software_version, started_at, last_seen_at) values ($1, $2, $3, $4, $5)
         on conflict (id) do update set last_seen_at = excluded.last_seen_at",
        replica.id.0,
        replica.name,
        replica.software_version,
        replica.started_at,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn leave(tx: &mut Tx, id: ReplicaId) -> Result<()> {
    sqlx::query!("delete from replica where id = $1", id.0).execute(&mut **tx).await?;
    Ok(())
}

pub async fn forget_replicas(tx: &mut Tx, silent_since: DateTime<Utc>) -> Result<()> {
    sqlx::query!("delete from replica where last_seen_at < $1", silent_since)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The first to start first.
pub async fn replicas(
    tx: &mut Tx,
    since: DateTime<Utc>,
    live_since: DateTime<Utc>,
) -> Result<Vec<Replica>> {
    let rows = sqlx::query!(
        "select id, name, software_version, started_at, last_seen_at from replica
         where last_seen_at >= $1 order by started_at, id limit 1000",
        since,
    )
    .fetch_all(&mut **tx)
    .await?;
    let replicas = rows.into_iter().map(|row| Replica {
        id: ReplicaId(row.id),
        name: row.name,
        software_version: row.software_version,
        started_at: row.started_at,
        last_seen_at: row.last_seen_at,
        live: row.last_seen_at >= live_since,
    });
    Ok(replicas.collect())
}

struct Row {
    id: Uuid,
    name: String,
    cells: Vec<String>,
    software_version: String,
    created_at: DateTime<Utc>,
    connected_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    certificate_expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

impl Row {
    fn node(
        self,
        live_since: DateTime<Utc>,
        progress: Vec<Progress>,
        refusals: Vec<NodeRefusal>,
    ) -> FleetNode {
        let state = match self.revoked_at {
            Some(_) => FleetState::Revoked,
            None if self.last_seen_at >= live_since => FleetState::Live,
            None => FleetState::Offline,
        };
        FleetNode {
            id: NodeId(self.id),
            name: self.name,
            cells: self.cells,
            software_version: self.software_version,
            state,
            created_at: self.created_at,
            connected_at: self.connected_at,
            last_seen_at: self.last_seen_at,
            certificate_expires_at: self.certificate_expires_at,
            revoked_at: self.revoked_at,
            progress,
            refusals,
        }
    }
}

fn version(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|cause| Error::corrupt("cell version", cause))
}
