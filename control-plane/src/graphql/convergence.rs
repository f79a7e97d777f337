//! Convergence: how far the nodes are with a deployment.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Enum, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::convergence::Convergence;
use crate::error::Error;
use crate::graphql::loader::Batches;
use crate::ids::DeploymentId;

/// How far the nodes are. Live when every node that is there serves the version.
pub struct DeploymentStatus(Convergence);

impl From<Convergence> for DeploymentStatus {
    fn from(convergence: Convergence) -> Self {
        Self(convergence)
    }
}

/// What a node does with a version. `OFFLINE`: not heard of for 20 s; it serves what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::convergence::NodeState")]
enum NodeState {
    Pending,
    Live,
    Refused,
    Offline,
}

/// How far one node is.
#[derive(SimpleObject)]
struct NodeStatus {
    /// Says nothing but which node, here and in logs.
    node_id: String,
    state: NodeState,
    /// The version that the node serves; null before its first.
    acknowledged_version: Option<u64>,
    /// When the node had this deployment's version; remembered for a week.
    acknowledged_at: Option<DateTime<Utc>>,
    /// Why the node refused it.
    reason: Option<String>,
}

#[Object]
impl DeploymentStatus {
    /// 0 while no stage ever pointed at it.
    async fn version(&self) -> u64 {
        self.0.version
    }

    /// How many nodes are there.
    async fn nodes(&self) -> u64 {
        self.0.online()
    }

    /// How many of them answered.
    async fn acknowledged(&self) -> u64 {
        self.0.acknowledged()
    }

    /// How many of them could not compile it, and serve what was before.
    async fn refused(&self) -> u64 {
        self.0.count(NodeState::Refused.into())
    }

    /// How many more were heard of within the hour, but not for 20 s.
    async fn offline(&self) -> u64 {
        self.0.count(NodeState::Offline.into())
    }

    /// Whether every node that is there serves it.
    async fn live(&self) -> bool {
        self.0.live()
    }

    /// Why nodes refused it: each reason once.
    async fn refusals(&self) -> Vec<String> {
        self.0.refusals()
    }

    /// When its version was committed; null while no stage ever pointed at it.
    async fn published_at(&self) -> Option<DateTime<Utc>> {
        self.0.published_at
    }

    /// Milliseconds from the commit to the last node that was there then; null until it is live, and after a week.
    async fn live_after_ms(&self) -> Option<i64> {
        self.0.took().map(|took| took.num_milliseconds())
    }

    /// Each node that was heard of within the hour.
    async fn node_statuses(&self) -> Vec<NodeStatus> {
        let status = |node: &domain::convergence::NodeStatus| NodeStatus {
            node_id: node.node.to_string(),
            state: node.state.into(),
            acknowledged_version: node.acknowledged_version,
            acknowledged_at: node.acknowledged_at,
            reason: (!node.refusals.is_empty()).then(|| node.refusals.join("; ")),
        };
        self.0.nodes.iter().map(status).collect()
    }
}

/// Asks for a deployment's status, with those of others at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusOf(pub DeploymentId);

impl Loader<StatusOf> for Batches {
    type Value = Convergence;
    type Error = Arc<Error>;

    async fn load(&self, of: &[StatusOf]) -> Result<HashMap<StatusOf, Convergence>, Arc<Error>> {
        let ids: Vec<DeploymentId> = of.iter().map(|of| of.0).collect();
        let found = domain::convergence::of_deployments(&self.app, &self.actor, &ids).await?;
        Ok(found.into_iter().map(|(id, convergence)| (StatusOf(id), convergence)).collect())
    }
}
