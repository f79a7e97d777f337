//! Convergence: how far each node is with a version, and how long it took.
//!
//! Tenants see of the fleet what they need to know that their change is live: ids, states and reasons, never
//! names, addresses or software.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, StreamExt, stream};

use crate::access::actor::Actor;
use crate::app::{App, Job};
use crate::domain::deployment;
use crate::domain::node::LIVE;
use crate::error::Result;
use crate::ids::{DeploymentId, NodeId, TenantId};
use crate::snapshot::compile;
use crate::store;
use crate::store::convergence::{Published, Reached, Refusal};

/// A node that was silent for longer is told no more: it was taken away.
const REMEMBERED: TimeDelta = TimeDelta::hours(1);

/// What a node does with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It has not answered.
    Pending,
    /// It serves the version, or a later one.
    Live,
    /// It serves what was before of that which it could not compile.
    Refused,
    /// It was not heard of for 20 s. It serves what it holds, and catches up when it is back.
    Offline,
}

/// How far one node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub node: NodeId,
    pub state: NodeState,
    /// The cell's version that it serves; none before its first.
    pub acknowledged_version: Option<u64>,
    /// When it had the version in question, for a week.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// What it said of what it refused: `stage abc123xyz0/prod: …`.
    pub refusals: Vec<String>,
    /// It came, new or back, when the version had been committed: it says nothing of how long that took.
    late: bool,
}

/// How far the nodes of a cell are with one version. Version 0: none was ever committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Convergence {
    pub version: u64,
    pub published_at: Option<DateTime<Utc>>,
    /// Those that were heard of within the hour, by id.
    pub nodes: Vec<NodeStatus>,
}

impl Convergence {
    pub fn count(&self, state: NodeState) -> u64 {
        self.nodes.iter().filter(|node| node.state == state).count() as u64
    }

    /// The nodes that are there.
    pub fn online(&self) -> u64 {
        self.nodes.len() as u64 - self.count(NodeState::Offline)
    }

    /// The nodes that are there and answered: they serve it, or said what they could not.
    pub fn acknowledged(&self) -> u64 {
        let acknowledged = |node: &&NodeStatus| {
            node.state != NodeState::Offline
                && self.version > 0
                && node.acknowledged_version.is_some_and(|held| held >= self.version)
        };
        self.nodes.iter().filter(acknowledged).count() as u64
    }

    /// Whether it is on every node that is there, and there is one.
    pub fn live(&self) -> bool {
        let live = self.count(NodeState::Live);
        live > 0 && live == self.online()
    }

    /// Whether every node that is there has said what it does with it.
    pub fn settled(&self) -> bool {
        self.online() > 0 && self.count(NodeState::Pending) == 0
    }

    /// Each reason once.
    pub fn refusals(&self) -> Vec<String> {
        let online = self.nodes.iter().filter(|node| node.state != NodeState::Offline);
        let reasons: BTreeSet<&String> = online.flat_map(|node| &node.refusals).collect();
        reasons.into_iter().cloned().collect()
    }

    /// From the commit to the last node that was there, once it is live; while that is remembered.
    pub fn took(&self) -> Option<TimeDelta> {
        if !self.live() {
            return None;
        }
        let there = self.nodes.iter().filter(|node| node.state == NodeState::Live && !node.late);
        let last = there.map(|node| node.acknowledged_at).max()??;
        Some((last - self.published_at?).max(TimeDelta::zero()))
    }
}

/// Of those of `ids` that are the tenant's.
pub async fn of_deployments(
    app: &App,
    actor: &Actor,
    ids: &[DeploymentId],
) -> Result<HashMap<DeploymentId, Convergence>> {
    of_tenant(app, actor.tenant, ids).await
}

/// A deployment's convergence at once, then whenever it changed, until every node that is there has answered.
pub async fn follow(
    app: &App,
    actor: &Actor,
    id: DeploymentId,
) -> Result<impl Stream<Item = Convergence> + Send + use<>> {
    deployment::get(app, actor, id).await?;
    let ask = {
        let app = app.clone();
        move |wanted: Vec<(TenantId, DeploymentId)>| {
            let app = app.clone();
            async move { of_tenants(&app, &wanted).await }
        }
    };
    let changes = app.live.convergence.follow((actor.tenant, id), ask);
    Ok(stream::unfold(Some(changes), async |changes| {
        let mut changes = changes?;
        let now = changes.next().await?;
        let more = (!now.settled()).then_some(changes);
        Some((now, more))
    }))
}

async fn of_tenants(
    app: &App,
    wanted: &[(TenantId, DeploymentId)],
) -> Result<HashMap<(TenantId, DeploymentId), Convergence>> {
    let mut by_tenant: HashMap<TenantId, Vec<DeploymentId>> = HashMap::new();
    for (tenant, id) in wanted {
        by_tenant.entry(*tenant).or_default().push(*id);
    }
    let mut found = HashMap::new();
    for (tenant, ids) in by_tenant {
        let converged = of_tenant(app, tenant, &ids).await?;
        found.extend(converged.into_iter().map(|(id, converged)| ((tenant, id), converged)));
    }
    Ok(found)
}

async fn of_tenant(
    app: &App,
    tenant: TenantId,
    ids: &[DeploymentId],
) -> Result<HashMap<DeploymentId, Convergence>> {
    let mut tx = app.begin_in(tenant).await?;
    let cell = store::cell::of_current_tenant(&mut tx).await?;
    let published = store::convergence::published(&mut tx, tenant, ids).await?;
    drop(tx);
    let (ids, wanted): (Vec<DeploymentId>, Vec<Wanted>) = published
        .into_iter()
        .map(|Published { id, version, at, stages }| {
            let name = compile::deployment_name(id).kind.map(|kind| kind.to_string());
            (id, Wanted { version, at, resources: stages.into_iter().chain(name).collect() })
        })
        .unzip();
    let converged = converged(app, &cell, wanted).await?;
    Ok(ids.into_iter().zip(converged).collect())
}

/// Of one version of a cell, whosever it is; `resources` are named as `proto`'s names print.
pub async fn of_version(
    app: &App,
    cell: &str,
    version: u64,
    resources: &[String],
) -> Result<Convergence> {
    let wanted = Wanted { version, at: None, resources: resources.to_vec() };
    Ok(converged(app, cell, vec![wanted]).await?.pop().unwrap_or_default())
}

/// The nodes of a cell that are there.
pub async fn online(app: &App, cell: &str) -> Result<Vec<NodeId>> {
    let nodes = of_version(app, cell, 0, &[]).await?.nodes;
    let online = nodes.into_iter().filter(|node| node.state != NodeState::Offline);
    Ok(online.map(|node| node.node).collect())
}

/// A version, and the resources that a refusal of it would be about.
struct Wanted {
    version: u64,
    at: Option<DateTime<Utc>>,
    resources: Vec<String>,
}

/// Each of these, in their order, from two queries for all.
async fn converged(app: &App, cell: &str, wanted: Vec<Wanted>) -> Result<Vec<Convergence>> {
    let now = app.clock.now();
    let mut versions: Vec<u64> = wanted.iter().map(|wanted| wanted.version).collect();
    versions.sort_unstable();
    versions.dedup();
    let oldest = versions.first().copied().unwrap_or_default();
    let resources: Vec<String> =
        wanted.iter().flat_map(|wanted| wanted.resources.clone()).collect();
    let mut tx = app.system(Job::Nodes).await?;
    let reached = store::convergence::reached(&mut tx, cell, &versions, now - REMEMBERED).await?;
    let refusals = store::convergence::refusals(&mut tx, cell, oldest, &resources).await?;
    drop(tx);
    let converged = wanted.into_iter().map(|wanted| {
        let nodes = reached.iter().filter(|reached| reached.version == wanted.version);
        let nodes = nodes.map(|reached| status(reached, &wanted, &refusals, now - LIVE)).collect();
        Convergence { version: wanted.version, published_at: wanted.at, nodes }
    });
    Ok(converged.collect())
}

fn status(
    reached: &Reached,
    wanted: &Wanted,
    refusals: &[Refusal],
    live_since: DateTime<Utc>,
) -> NodeStatus {
    let refusals: Vec<String> = refusals
        .iter()
        .filter(|refusal| {
            refusal.node == reached.node
                && refusal.version >= wanted.version
                && wanted.resources.contains(&refusal.resource)
        })
        .map(|refusal| format!("{}: {}", refusal.resource, refusal.reason))
        .collect();
    let state = if reached.last_seen_at < live_since {
        NodeState::Offline
    } else if !refusals.is_empty() {
        NodeState::Refused
    } else if wanted.version > 0 && reached.held.is_some_and(|held| held >= wanted.version) {
        NodeState::Live
    } else {
        NodeState::Pending
    };
    NodeStatus {
        node: reached.node,
        state,
        acknowledged_version: reached.held,
        acknowledged_at: reached.at.filter(|_| wanted.version > 0),
        refusals,
        late: reached.connected_at > wanted.at,
    }
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::authority::Issued;
    use crate::domain::api::Dialect;
    use crate::domain::node::{self, acknowledge, heartbeat, refuse};
    use crate::testing;

    const RESOURCE: &str = "stage a/prod";

    /// A node that has just joined.
    async fn join(app: &App) -> NodeId {
        let cells = ["default".to_owned()];
        let token = node::create_join_token(app, &cells, TimeDelta::hours(1)).await.unwrap();
        let issued =
            Issued { certificate: vec![], expires_at: app.clock.now() + TimeDelta::days(1) };
        let secret = token.split('.').next().unwrap();
        node::join(app, secret, "edge-1.example", |_| Ok(issued)).await.unwrap().0
    }

    async fn at(app: &App, version: u64) -> Convergence {
        of_version(app, "default", version, &[RESOURCE.to_owned()]).await.unwrap()
    }

    async fn reach(app: &App, version: i64) {
        let sql = "update cell set version = $1";
        sqlx::query(sql).bind(version).execute(app.system_pool()).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_version_is_live_when_every_node_that_is_there_acknowledged_it(db: PgPool) {
        let app = testing::app(db).await;
        reach(&app, 7).await;
        assert!(!at(&app, 7).await.live(), "nowhere is not live");
        let (a, b) = (join(&app).await, join(&app).await);

        acknowledge(&app, a, "default", 7).await.unwrap();
        acknowledge(&app, b, "default", 6).await.unwrap();
        acknowledge(&app, b, "default", 8).await.unwrap(); // the cell has not been there
        let half = at(&app, 7).await;
        assert_eq!((half.online(), half.acknowledged(), half.live()), (2, 1, false));
        assert!(!half.settled());
        let pending = half.nodes.iter().find(|node| node.node == b).unwrap();
        assert_eq!(pending.state, NodeState::Pending);
        assert_eq!((pending.acknowledged_version, pending.acknowledged_at), (Some(6), None));
        acknowledge(&app, b, "default", 7).await.unwrap();
        acknowledge(&app, a, "default", 3).await.unwrap(); // late news changes nothing
        assert!(at(&app, 7).await.live());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_silent_node_is_offline_then_forgotten(db: PgPool) {
        let app = testing::app(db).await;
        reach(&app, 7).await;
        let (a, b) = (join(&app).await, join(&app).await);
        acknowledge(&app, a, "default", 7).await.unwrap();

        app.clock.advance(LIVE + TimeDelta::seconds(1));
        heartbeat(&app, a).await.unwrap();
        let seen = at(&app, 7).await;
        assert_eq!((seen.online(), seen.count(NodeState::Offline), seen.live()), (1, 1, true));
        assert_eq!(
            seen.nodes.iter().find(|node| node.node == b).unwrap().state,
            NodeState::Offline
        );
        app.clock.advance(REMEMBERED);
        heartbeat(&app, a).await.unwrap();
        assert_eq!(at(&app, 7).await.nodes.len(), 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_refusal_is_told_of_its_resource_and_version_only(db: PgPool) {
        let app = testing::app(db).await;
        reach(&app, 7).await;
        let a = join(&app).await;
        refuse(&app, a, "default", 6, RESOURCE, "no such\ndeployment").await.unwrap();
        refuse(&app, a, "default", 7, "stage b/prod", "another").await.unwrap();
        acknowledge(&app, a, "default", 7).await.unwrap();

        let refused = at(&app, 6).await;
        assert_eq!(refused.refusals(), ["stage a/prod: no suchdeployment"]);
        assert_eq!((refused.nodes[0].state, refused.live()), (NodeState::Refused, false));
        assert!(refused.settled(), "a refusal is an answer");
        assert!(at(&app, 7).await.live(), "what came after was good");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_deployment_tells_how_long_it_took_to_the_nodes_that_were_there(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let (a, b) = (join(&app).await, join(&app).await);
        let api = testing::new_api(&app, &alice, Dialect::Native).await;
        testing::new_route(&app, &alice, api, "GET /pets", testing::mock("pets")).await;
        let deployed = testing::deploy(&app, &alice, api, "prod").await.unwrap();
        let version = deployed.version.unwrap();
        let seen = async |actor| of_deployments(&app, actor, &[deployed.id]).await.unwrap();

        acknowledge(&app, a, "default", version).await.unwrap();
        assert_eq!(seen(&alice).await[&deployed.id].took(), None, "not yet everywhere");
        acknowledge(&app, b, "default", version).await.unwrap();
        let live = seen(&alice).await.remove(&deployed.id).unwrap();
        let took = live.took().unwrap();
        let last = live.nodes.iter().filter_map(|node| node.acknowledged_at).max().unwrap();
        assert_eq!(took, last - live.published_at.unwrap());
        let late = join(&app).await;
        acknowledge(&app, late, "default", version).await.unwrap();
        let later = seen(&alice).await.remove(&deployed.id).unwrap();
        assert_eq!(
            (later.online(), later.took()),
            (3, Some(took)),
            "a new node says nothing of it"
        );
        assert!(seen(&mallory).await.is_empty());
    }
}
