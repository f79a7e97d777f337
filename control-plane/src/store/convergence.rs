//! How far nodes are with versions: what they acknowledged and refused, and when.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::error::{Error, Result};
use crate::ids::{DeploymentId, NodeId, TenantId};

/// More nodes and refusals than these are not told one by one.
const NODES_MAX: i64 = 10_000;
const REFUSALS_MAX: i64 = 1000;

/// A deployment, as it was last brought to nodes.
pub struct Published {
    pub id: DeploymentId,
    /// 0 while no stage ever pointed at it.
    pub version: u64,
    pub at: Option<DateTime<Utc>>,
    /// The stages that point at it, as `proto`'s names print.
    pub stages: Vec<String>,
}

/// One node's way to one version.
pub struct Reached {
    pub version: u64,
    pub node: NodeId,
    pub last_seen_at: DateTime<Utc>,
    /// What it holds by now.
    pub held: Option<u64>,
    /// When it first had the version or a later one, while that is remembered, and since when it was connected then.
    pub at: Option<DateTime<Utc>>,
    pub connected_at: Option<DateTime<Utc>>,
}

pub struct Refusal {
    pub node: NodeId,
    pub version: u64,
    pub resource: String,
    pub reason: String,
}

/// Those of `ids` that are the tenant's.
pub async fn published(
    tx: &mut Tx,
    tenant: TenantId,
    ids: &[DeploymentId],
) -> Result<Vec<Published>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"select d.id, d.version, d.published_at, array(
             select 'stage ' || s.api_id || '/' || s.name from stage s
             where s.tenant_id = d.tenant_id and s.api_id = d.api_id
                 and d.id in (s.deployment_id, s.canary_deployment_id)
         ) as "stages!"
         from deployment d where d.tenant_id = $1 and d.id = any($2)"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = rows.into_iter().map(|row| {
        Ok(Published {
            id: row.id.parse()?,
            version: row.version.map_or(Ok(0), version)?,
            at: row.published_at,
            stages: row.stages,
        })
    });
    read.collect()
}

/// Each of these versions with each node of the cell that was seen since `seen_since`.
pub async fn reached(
    tx: &mut Tx,
    cell: &str,
    versions: &[u64],
    seen_since: DateTime<Utc>,
) -> Result<Vec<Reached>> {
    let versions = versions.iter().copied().map(number).collect::<Result<Vec<i64>>>()?;
    let rows = sqlx::query!(
        r#"select wanted.version as "version!", node.id, node.last_seen_at, held.version as "held?",
             first.acknowledged_at as "at?", first.connected_at as "connected_at?"
         from unnest($2::bigint[]) as wanted (version)
         cross join node
         left join node_cell held on held.node_id = node.id and held.cell_id = $1
         left join lateral (
             select acknowledged_at, connected_at from node_acknowledgement
             where node_id = node.id and cell_id = $1 and version >= wanted.version
             order by version limit 1
         ) first on true
         where $1 = any(node.cells) and node.revoked_at is null and node.last_seen_at >= $3
         order by wanted.version, node.id limit $4"#,
        cell,
        &versions,
        seen_since,
        NODES_MAX,
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = rows.into_iter().map(|row| {
        Ok(Reached {
            version: version(row.version)?,
            node: NodeId(row.id),
            last_seen_at: row.last_seen_at,
            held: row.held.map(version).transpose()?,
            at: row.at,
            connected_at: row.connected_at,
        })
    });
    read.collect()
}

/// What nodes refused of these resources at `since` or a later version, newest first.
pub async fn refusals(
    tx: &mut Tx,
    cell: &str,
    since: u64,
    resources: &[String],
) -> Result<Vec<Refusal>> {
    let rows = sqlx::query!(
        "select node_id, version, resource, reason from node_refusal
         where cell_id = $1 and version >= $2 and resource = any($3)
         order by version desc, node_id, resource limit $4",
        cell,
        number(since)?,
        resources,
        REFUSALS_MAX,
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = rows.into_iter().map(|row| {
        Ok(Refusal {
            node: NodeId(row.node_id),
            version: version(row.version)?,
            resource: row.resource,
            reason: row.reason,
        })
    });
    read.collect()
}

fn number(version: u64) -> Result<i64> {
    i64::try_from(version).map_err(|_| Error::bad_request("version", "beyond any version"))
}

fn version(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|cause| Error::corrupt("cell version", cause))
}
