//! The fleet: nodes and replicas, as the operator sees them.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Operator;
use crate::app::App;
use crate::domain;
use crate::domain::page::Page;
use crate::error::Result;
use crate::ids::NodeId;
use crate::rest::extract::{Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(nodes))
        .routes(routes!(node, revoke))
        .routes(routes!(replicas))
}

/// A node of the data plane, and how far it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FleetNode {
    #[schema(value_type = String)]
    id: NodeId,
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

/// `live`: heard of within 20 s. `offline`: it serves what it holds. `revoked`: its certificate opens nothing.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FleetState {
    Live,
    Offline,
    Revoked,
}

/// How far a node is with a cell.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CellProgress {
    cell: String,
    /// The cell's own.
    version: u64,
    /// What the node serves; null before its first.
    acknowledged_version: Option<u64>,
    acknowledged_at: Option<DateTime<Utc>>,
    /// How many versions the node is behind.
    lag: u64,
}

/// A resource that a node could not compile; what was before it is served.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NodeRefusal {
    cell: String,
    version: u64,
    /// `stage abc123xyz0/prod`.
    resource: String,
    reason: String,
    created_at: DateTime<Utc>,
}

impl From<domain::fleet::FleetNode> for FleetNode {
    fn from(node: domain::fleet::FleetNode) -> Self {
        let progress = |progress: domain::fleet::Progress| CellProgress {
            lag: progress.lag(),
            cell: progress.cell,
            version: progress.version,
            acknowledged_version: progress.acknowledged_version,
            acknowledged_at: progress.acknowledged_at,
        };
        let refusal = |refusal: domain::fleet::NodeRefusal| NodeRefusal {
            cell: refusal.cell,
            version: refusal.version,
            resource: refusal.resource,
            reason: refusal.reason,
            created_at: refusal.created_at,
        };
        Self {
            id: node.id,
            name: node.name,
            cells: node.cells,
            software_version: node.software_version,
            state: match node.state {
                domain::fleet::FleetState::Live => FleetState::Live,
                domain::fleet::FleetState::Offline => FleetState::Offline,
                domain::fleet::FleetState::Revoked => FleetState::Revoked,
            },
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

impl From<FleetState> for domain::fleet::FleetState {
    fn from(state: FleetState) -> Self {
        match state {
            FleetState::Live => Self::Live,
            FleetState::Offline => Self::Offline,
            FleetState::Revoked => Self::Revoked,
        }
    }
}

/// A process of the control plane.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Replica {
    /// New at each start.
    id: String,
    /// The machine's.
    name: String,
    software_version: String,
    started_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    /// Heard of within 20 s.
    live: bool,
}

#[derive(Serialize, ToSchema)]
struct Replicas {
    items: Vec<Replica>,
}

/// Which nodes; each left out matches every one.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct NodeQuery {
    #[param(inline)]
    state: Option<FleetState>,
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// The nodes of the data plane, the last to join first.
#[utoipa::path(get, path = "/operator/nodes", tag = "operator", operation_id = "listFleetNodes", params(NodeQuery), responses(
    (status = 200, body = List<FleetNode>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn nodes(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<NodeQuery>,
) -> Result<List<FleetNode>> {
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    let state = query.state.map(Into::into);
    let listed = domain::fleet::nodes(&app, &operator, state, &page).await?;
    Ok(List::of(listed))
}

/// A node of the data plane.
#[utoipa::path(get, path = "/operator/nodes/{nodeId}", tag = "operator", operation_id = "getFleetNode",
params(("nodeId" = String, Path)), responses(
    (status = 200, body = FleetNode),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn node(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<NodeId>,
) -> Result<axum::Json<FleetNode>> {
    Ok(axum::Json(domain::fleet::node(&app, &operator, id).await?.into()))
}

/// Cuts a node off for good: it serves what it holds until it is stopped, and comes back only with a new join token.
#[utoipa::path(delete, path = "/operator/nodes/{nodeId}", tag = "operator", operation_id = "revokeNode",
params(("nodeId" = String, Path)), responses(
    (status = 200, body = FleetNode),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn revoke(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<NodeId>,
) -> Result<axum::Json<FleetNode>> {
    Ok(axum::Json(domain::fleet::revoke(&app, &operator, id).await?.into()))
}

/// The control plane's processes that were heard of within the hour, the first to start first.
#[utoipa::path(get, path = "/operator/replicas", tag = "operator", operation_id = "listReplicas", responses(
    (status = 200, body = Replicas),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn replicas(State(app): State<App>, operator: Operator) -> Result<axum::Json<Replicas>> {
    let replicas = domain::fleet::replicas(&app, &operator).await?.into_iter();
    let replica = |replica: domain::fleet::Replica| Replica {
        id: replica.id.to_string(),
        name: replica.name,
        software_version: replica.software_version,
        started_at: replica.started_at,
        last_seen_at: replica.last_seen_at,
        live: replica.live,
    };
    Ok(axum::Json(Replicas { items: replicas.map(replica).collect() }))
}
