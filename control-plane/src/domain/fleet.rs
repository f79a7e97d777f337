//! The fleet as the operator sees it: the nodes that serve calls, and the replicas that serve people.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::access::actor::Operator;
use crate::app::{App, Job};
use crate::domain::node::LIVE;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::{audit, node};
use crate::error::{Error, Result};
use crate::ids::{NodeId, ReplicaId};
use crate::store;

/// A replica that was silent for longer is told no more: it was taken away.
const REMEMBERED: TimeDelta = TimeDelta::hours(1);

/// A node, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetNode {
    pub id: NodeId,
    /// The machine's, as the node said when it joined.
    pub name: String,
    pub cells: Vec<String>,
    pub software_version: String,
    pub state: FleetState,
    /// When it joined.
    pub created_at: DateTime<Utc>,
    /// When it was last seen to come, new or back.
    pub connected_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// It renews at two thirds of the certificate's life.
    pub certificate_expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// One for each of its cells, by name.
    pub progress: Vec<Progress>,
    /// What it could not compile lately, the newest first; at most 10.
    pub refusals: Vec<NodeRefusal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetState {
    Live,
    /// Not heard of for 20 s. It serves what it holds, and catches up when it is back.
    Offline,
    /// Its certificate no longer opens anything here.
    Revoked,
}

/// How far a node is with a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub cell: String,
    /// The cell's own.
    pub version: u64,
    /// What the node serves; None before its first.
    pub acknowledged_version: Option<u64>,
    pub acknowledged_at: Option<DateTime<Utc>>,
}

impl Progress {
    /// How many versions the node is behind.
    pub fn lag(&self) -> u64 {
        self.version.saturating_sub(self.acknowledged_version.unwrap_or(0))
    }
}

/// A resource that a node could not compile; what was before it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRefusal {
    pub cell: String,
    pub version: u64,
    /// `stage abc123xyz0/prod`.
    pub resource: String,
    pub reason: String,
    pub created_at: DateTime<Utc>,
}

impl Keyed for FleetNode {
    const LIST: &'static str = "fleetNodes";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// A process of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: ReplicaId,
    /// The machine's.
    pub name: String,
    pub software_version: String,
    pub started_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// Heard of within 20 s.
    pub live: bool,
}

/// The audit log's view of a node.
#[derive(Serialize)]
struct Recorded<'a> {
    name: &'a str,
    cells: &'a [String],
    state: FleetState,
}

impl<'a> From<&'a FleetNode> for Recorded<'a> {
    fn from(node: &'a FleetNode) -> Self {
        Self { name: &node.name, cells: &node.cells, state: node.state }
    }
}

/// The nodes in this state, or all; the last to join first.
pub async fn nodes(
    app: &App,
    _operator: &Operator,
    state: Option<FleetState>,
    page: &Page,
) -> Result<Paged<FleetNode>> {
    let mut tx = app.system(Job::Operator).await?;
    let live_since = app.clock.now() - LIVE;
    page.cut(store::fleet::nodes(&mut tx, state, live_since, page).await?)
}

/// The same for the machine's administrator: every node that was not revoked.
pub async fn nodes_here(app: &App) -> Result<Vec<FleetNode>> {
    let mut tx = app.system(Job::Operator).await?;
    let live_since = app.clock.now() - LIVE;
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = Page::first(100, after, None)?;
        let paged = page.cut(store::fleet::nodes(&mut tx, None, live_since, &page).await?)?;
        after = paged.items.last().map(Keyed::key);
        let more = paged.has_next;
        all.extend(paged.items.into_iter().filter(|node| node.state != FleetState::Revoked));
        if !more {
            return Ok(all);
        }
    }
}

pub async fn node(app: &App, _operator: &Operator, id: NodeId) -> Result<FleetNode> {
    let mut tx = app.system(Job::Operator).await?;
    let live_since = app.clock.now() - LIVE;
    store::fleet::node(&mut tx, id, live_since).await?.ok_or(Error::NotFound("node"))
}

/// Ends a node's right to call: every replica cuts its connections off. It serves what it holds until it is stopped,
/// and comes back only with a new join token.
pub async fn revoke(app: &App, operator: &Operator, id: NodeId) -> Result<FleetNode> {
    revoke_as(app, Some(operator), id).await
}

/// The same for the machine's administrator.
pub async fn revoke_here(app: &App, id: NodeId) -> Result<FleetNode> {
    revoke_as(app, None, id).await
}

async fn revoke_as(app: &App, operator: Option<&Operator>, id: NodeId) -> Result<FleetNode> {
    let live_since = app.clock.now() - LIVE;
    let mut tx = app.system(Job::Operator).await?;
    let found = store::fleet::node(&mut tx, id, live_since).await?;
    let before = found.ok_or(Error::NotFound("node"))?;
    if before.state == FleetState::Revoked {
        return Ok(before);
    }
    node::revoke_in(app, &mut tx, id).await?;
    let found = store::fleet::node(&mut tx, id, live_since).await?;
    let after = found.ok_or(Error::NotFound("node"))?;
    let (from, to) = (Recorded::from(&before), Recorded::from(&after));
    let (action, noun_id) = ("node.revoke", id.to_string());
    match operator {
        Some(operator) => {
            audit::record_operator(
                app,
                &mut tx,
                operator,
                action,
                &noun_id,
                Some(&from),
                Some(&to),
            )
            .await?;
        }
        None => {
            audit::record_administrator(app, &mut tx, action, &noun_id, Some(&from), Some(&to))
                .await?;
        }
    }
    tx.commit().await?;
    Ok(after)
}

/// The replicas that were heard of within the hour, the first to start first.
pub async fn replicas(app: &App, _operator: &Operator) -> Result<Vec<Replica>> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Operator).await?;
    store::fleet::replicas(&mut tx, now - REMEMBERED, now - LIVE).await
}

/// This replica is there.
pub async fn present(app: &App, replica: &Replica) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Nodes).await?;
    store::fleet::present(&mut tx, replica, now).await?;
    store::fleet::forget_replicas(&mut tx, now - REMEMBERED).await?;
    tx.commit().await?;
    Ok(())
}

/// This replica stops.
pub async fn leave(app: &App, replica: &Replica) -> Result<()> {
    let mut tx = app.system(Job::Nodes).await?;
    store::fleet::leave(&mut tx, replica.id).await?;
    tx.commit().await?;
    Ok(())
}

impl Replica {
    /// The process that asks.
    pub fn here(app: &App) -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let now = app.clock.now();
        Self {
            id: app.rng.id(),
            name: name.trim().to_owned(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: now,
            last_seen_at: now,
            live: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Caller;
    use crate::access::authority::Issued;
    use crate::domain::audit::AuditFilter;
    use crate::domain::join_token::{self, NewJoinToken};
    use crate::testing;

    async fn joined(app: &App, name: &str) -> NodeId {
        let new = NewJoinToken::new("", vec!["default".to_owned()], None).unwrap();
        let token = join_token::create_here(app, new).await.unwrap();
        let expires_at = app.clock.now() + TimeDelta::days(1);
        let issued = Issued { certificate: vec![], expires_at };
        let secret = token.split('.').next().unwrap();
        node::join(app, secret, name, |_| Ok(issued)).await.unwrap().0
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_node_shows_its_lag_its_refusals_and_whether_it_is_there(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let operator = testing::operator(&app).await;
        let a = joined(&app, "rack-1").await;
        let b = joined(&app, "rack-2").await;
        sqlx::query("update cell set version = 7").execute(&db).await.unwrap();
        node::subscribe(&app, a, &["default".to_owned()], "1.2.3").await.unwrap();
        node::acknowledge(&app, a, "default", 5).await.unwrap();
        for version in 1..=7 {
            let resource = format!("stage {version}");
            node::refuse(&app, a, "default", version, &resource, "why").await.unwrap();
            node::refuse(&app, a, "default", version, "route", "why").await.unwrap();
        }
        app.clock.advance(LIVE);
        node::heartbeat(&app, a).await.unwrap();
        app.clock.advance(TimeDelta::seconds(1));

        let seen = nodes(&app, &operator, None, &Page::default()).await.unwrap().items;

        assert_eq!(seen.iter().map(|node| node.id).collect::<Vec<_>>(), [b, a]);
        assert_eq!((seen[0].state, seen[1].state), (FleetState::Offline, FleetState::Live));
        assert_eq!((seen[1].name.as_str(), seen[1].software_version.as_str()), ("rack-1", "1.2.3"));
        let [of_a, of_b] = [&seen[1].progress[0], &seen[0].progress[0]];
        assert_eq!((of_a.version, of_a.acknowledged_version, of_a.lag()), (7, Some(5), 2));
        assert_eq!((of_b.acknowledged_version, of_b.lag()), (None, 7));
        assert_eq!((seen[1].refusals.len(), seen[1].refusals[0].version), (10, 7));
        let live = nodes(&app, &operator, Some(FleetState::Live), &Page::default()).await.unwrap();
        assert_eq!(live.items.iter().map(|node| node.id).collect::<Vec<_>>(), [a]);
        let first = Page::first(1, None, None).unwrap();
        let paged = nodes(&app, &operator, None, &first).await.unwrap();
        assert!(paged.has_next && paged.items[0].id == b);
        assert_eq!(node(&app, &operator, a).await.unwrap(), seen[1]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_node_is_revoked_once_and_for_all(db: PgPool) {
        let app = testing::app(db).await;
        let operator = testing::operator(&app).await;
        let a = joined(&app, "rack-1").await;

        let revoked = revoke(&app, &operator, a).await.unwrap();

        assert_eq!(
            (revoked.state, revoked.revoked_at),
            (FleetState::Revoked, Some(app.clock.now()))
        );
        assert_eq!(node::heartbeat(&app, a).await.unwrap_err().code(), "forbidden");
        app.clock.advance(TimeDelta::hours(1));
        assert_eq!(revoke(&app, &operator, a).await.unwrap().revoked_at, revoked.revoked_at);
        assert!(nodes_here(&app).await.unwrap().is_empty());
        let unknown = revoke(&app, &operator, app.rng.id()).await.unwrap_err();
        assert_eq!(unknown.code(), "not_found");
        let caller = Caller::Operator(operator);
        let filter = AuditFilter { noun: Some("node".to_owned()), ..AuditFilter::default() };
        let told = audit::list(&app, &caller, &filter, &Page::default()).await.unwrap().items;
        assert_eq!(told.len(), 1, "what changes nothing is no change");
        assert_eq!(told[0].before.as_ref().unwrap()["state"], "live");
        assert_eq!(told[0].after.as_ref().unwrap()["state"], "revoked");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn replicas_show_themselves_until_they_stop_or_fall_silent(db: PgPool) {
        let app = testing::app(db).await;
        let operator = testing::operator(&app).await;
        let (one, two) = (Replica::here(&app), Replica::here(&app));
        present(&app, &one).await.unwrap();
        present(&app, &two).await.unwrap();
        app.clock.advance(LIVE + TimeDelta::seconds(1));
        present(&app, &one).await.unwrap();

        let seen = replicas(&app, &operator).await.unwrap();

        let live: Vec<_> = seen.iter().map(|replica| (replica.id, replica.live)).collect();
        assert_eq!(live, [(one.id, true), (two.id, false)]);
        assert_eq!(seen[0].software_version, env!("CARGO_PKG_VERSION"));
        assert_eq!(seen[0].started_at, one.started_at);
        leave(&app, &one).await.unwrap();
        assert_eq!(replicas(&app, &operator).await.unwrap().len(), 1);
        app.clock.advance(REMEMBERED);
        assert!(replicas(&app, &operator).await.unwrap().is_empty());
    }
}
