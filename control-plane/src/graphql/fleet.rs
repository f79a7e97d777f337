//! The fleet: nodes and replicas, as the operator sees them.

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::page::Key;
use crate::error::{Error, Result};
use crate::graphql::connection::{connection, page};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::operator;
use crate::graphql::price::Count;
use crate::ids::NodeId;

#[derive(Default)]
pub struct FleetQuery;

#[derive(Default)]
pub struct FleetMutation;

/// A node of the data plane, and how far it is.
#[derive(SimpleObject)]
pub struct FleetNode {
    /// `nodeId` of logs, and of `NodeStatus`.
    id: ID,
    /// The machine's, as the node said when it joined.
    name: String,
    cells: Vec<String>,
    software_version: String,
    state: FleetState,
    /// When it joined.
    created_at: DateTime<Utc>,
    /// When it was last seen to come, new or back.
    connected_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    /// It renews at two thirds of the certificate's life.
    certificate_expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    /// One for each of its cells.
    progress: Vec<CellProgress>,
    /// What it could not compile lately, the newest first; at most 10.
    refusals: Vec<NodeRefusal>,
}

/// `LIVE`: heard of within 20 s. `OFFLINE`: it serves what it holds, and catches up when it is back. `REVOKED`: its
/// certificate no longer opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::fleet::FleetState")]
pub enum FleetState {
    Live,
    Offline,
    Revoked,
}

/// How far a node is with a cell.
#[derive(SimpleObject)]
pub struct CellProgress {
    cell: String,
    /// The cell's own.
    version: Count,
    /// What the node serves; null before its first.
    acknowledged_version: Option<Count>,
    acknowledged_at: Option<DateTime<Utc>>,
    /// How many versions the node is behind.
    lag: Count,
}

/// A resource that a node could not compile; what was before it is served.
#[derive(SimpleObject)]
pub struct NodeRefusal {
    cell: String,
    version: Count,
    /// `stage abc123xyz0/prod`.
    resource: String,
    reason: String,
    created_at: DateTime<Utc>,
}

impl From<domain::fleet::FleetNode> for FleetNode {
    fn from(node: domain::fleet::FleetNode) -> Self {
        let progress = |progress: domain::fleet::Progress| CellProgress {
            lag: progress.lag().into(),
            cell: progress.cell,
            version: progress.version.into(),
            acknowledged_version: progress.acknowledged_version.map(Into::into),
            acknowledged_at: progress.acknowledged_at,
        };
        let refusal = |refusal: domain::fleet::NodeRefusal| NodeRefusal {
            cell: refusal.cell,
            version: refusal.version.into(),
            resource: refusal.resource,
            reason: refusal.reason,
            created_at: refusal.created_at,
        };
        Self {
            id: node.id.to_string().into(),
            name: node.name,
            cells: node.cells,
            software_version: node.software_version,
            state: node.state.into(),
            created_at: node.created_at,
            connected_at: node.connected_at,
            last_seen_at: node.last_seen_at,
            certificate_expires_at: node.certificate_expires_at,
            revoked_at: node.revoked_at,
            progress: node.progress.into_iter().map(progress).collect(),
            refusals: node.refusals.into_iter().map(refusal).collect(),
        }
    }
}

/// A process of the control plane.
#[derive(SimpleObject)]
pub struct Replica {
    /// New at each start.
    id: ID,
    /// The machine's.
    name: String,
    software_version: String,
    started_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    /// Heard of within 20 s.
    live: bool,
}

impl From<domain::fleet::Replica> for Replica {
    fn from(replica: domain::fleet::Replica) -> Self {
        Self {
            id: replica.id.to_string().into(),
            name: replica.name,
            software_version: replica.software_version,
            started_at: replica.started_at,
            last_seen_at: replica.last_seen_at,
            live: replica.live,
        }
    }
}

#[derive(InputObject)]
pub struct RevokeNodeInput {
    /// The `id` of a `FleetNode`.
    node_id: String,
}

#[derive(SimpleObject)]
pub struct RevokeNodePayload {
    node: Option<FleetNode>,
    user_errors: Vec<UserError>,
}

#[Object]
impl FleetQuery {
    /// The nodes in this state, or all, the last to join first; the operator's.
    async fn fleet_nodes(
        &self,
        ctx: &Context<'_>,
        state: Option<FleetState>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, FleetNode>> {
        let (app, operator) = operator(ctx)?;
        let page = page(first, after, last, before)?;
        let state = state.map(Into::into);
        Ok(connection(domain::fleet::nodes(app, operator, state, &page).await?))
    }

    /// One node; the operator's. Null where there is none.
    async fn fleet_node(
        &self,
        ctx: &Context<'_>,
        node_id: String,
    ) -> async_graphql::Result<Option<FleetNode>> {
        let (app, operator) = operator(ctx)?;
        let found = async { domain::fleet::node(app, operator, node(&node_id)?).await };
        match found.await {
            Ok(node) => Ok(Some(node.into())),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The control plane's processes that were heard of within the hour; the operator's.
    async fn replicas(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Replica>> {
        let (app, operator) = operator(ctx)?;
        let replicas = domain::fleet::replicas(app, operator).await?;
        Ok(replicas.into_iter().map(Into::into).collect())
    }
}

#[Object]
impl FleetMutation {
    /// Cuts a node off for good: it serves what it holds until it is stopped, and comes back only with a new join
    /// token. The operator's.
    async fn revoke_node(
        &self,
        ctx: &Context<'_>,
        input: RevokeNodeInput,
    ) -> async_graphql::Result<RevokeNodePayload> {
        let (app, operator) = operator(ctx)?;
        let made = async { domain::fleet::revoke(app, operator, node(&input.node_id)?).await };
        let (node, user_errors) = user_errors(made.await)?;
        Ok(RevokeNodePayload { node: node.map(Into::into), user_errors })
    }
}

fn node(text: &str) -> Result<NodeId> {
    text.parse().map_err(|_| Error::NotFound("node"))
}
