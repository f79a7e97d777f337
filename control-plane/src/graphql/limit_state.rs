//! How the limits of a key stand.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::graphql::caller;
use crate::graphql::explanation::LimitLevel;
use crate::graphql::node::Kind;

#[derive(Default)]
pub struct LimitStateQuery;

/// How the limits of an API key on one of its usage plans stand, as far as the nodes that answered know.
#[derive(SimpleObject)]
pub struct LimitState {
    /// When the nodes had answered.
    as_of: DateTime<Utc>,
    /// Those that the key's calls used in the last minutes, the narrowest first. Of others nothing is known.
    limits: Vec<LimitInUse>,
    /// Every node that is there, and what it said.
    nodes: Vec<AskedNode>,
}

/// One limit, over the nodes that know it. Figures that it has none of are null.
#[derive(SimpleObject)]
pub struct LimitInUse {
    /// As `RateLimit` and the log call it: `key-route`, `key`, `key-concurrency` or `quota`.
    name: String,
    level: LimitLevel,
    /// False: calls beyond it pass, since it is in shadow or a soft quota.
    enforced: bool,
    /// Of `key-route`, as the next two.
    api_id: Option<String>,
    stage: Option<String>,
    route: Option<String>,
    /// Of a throttle: tokens a second.
    rate_limit: Option<f64>,
    /// Of a throttle: tokens at once.
    burst_limit: Option<u32>,
    /// Of a concurrency limit: requests in progress at once.
    max_in_flight: Option<u64>,
    /// Of a quota: the calls that the key has in the present period.
    quota_limit: Option<u64>,
    /// Of a quota: how long its period is.
    quota_period_seconds: Option<u64>,
    /// Of a quota: when its period ends.
    resets_at: Option<DateTime<Utc>>,
    /// What is left over all nodes that answered: of a throttle what Redis had last, refilled since, and what nodes took in
    /// advance, or the nodes' shares; of a concurrency limit what is not in progress; of a quota what is not used. Null:
    /// no node knows.
    remaining: Option<u64>,
    /// Of a concurrency limit: requests in progress on the nodes that answered.
    in_flight: Option<u64>,
    /// Of a quota: what Redis last counted.
    used: Option<u64>,
    /// When Redis last said what it is reckoned from; of what nodes count by themselves, when they answered. Null: never.
    as_of: Option<DateTime<Utc>>,
    /// What each node knows by itself.
    nodes: Vec<LimitOnNode>,
}

/// What one node knows of a limit.
#[derive(SimpleObject)]
pub struct LimitOnNode {
    /// Says nothing but which node, here and in logs.
    node_id: String,
    counting: LimitCounting,
    /// What it would tell a caller to be left: what it has in hand, and what Redis had when this node last asked. Null: it does
    /// not know, or the limit is of requests in progress.
    remaining: Option<u64>,
    /// Requests in progress on it.
    in_flight: Option<u64>,
    /// As of the limit.
    as_of: Option<DateTime<Utc>>,
}

/// How a node counts a limit at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::limit_state::LimitCounting")]
pub enum LimitCounting {
    /// It takes from Redis in advance, beside the calls.
    Leased,
    /// Redis is asked for each call.
    Exact,
    /// The node has a share of its own: the limit's mode is `LOCAL`, or the node is set so.
    Local,
    /// The node's own share, since Redis is away.
    Fallback,
    /// Not at all: Redis is away, and every call passes.
    FailOpen,
    /// Not at all: Redis is away, and no call passes.
    FailClosed,
}

/// What a node said that was asked.
#[derive(SimpleObject)]
pub struct AskedNode {
    node_id: String,
    answer: NodeAnswer,
}

/// Whether a node knows limits of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::limit_state::NodeAnswer")]
pub enum NodeAnswer {
    /// Some of them.
    Known,
    /// None: the key did not call it in the last minutes.
    NothingKnown,
    /// It did not answer in time, or is of a release that cannot be asked.
    NoAnswer,
}

impl From<domain::limit_state::LimitState> for LimitState {
    fn from(of: domain::limit_state::LimitState) -> Self {
        Self {
            as_of: of.as_of,
            limits: of.limits.into_iter().map(Into::into).collect(),
            nodes: of.nodes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<domain::limit_state::LimitInUse> for LimitInUse {
    fn from(of: domain::limit_state::LimitInUse) -> Self {
        Self {
            name: of.name,
            level: of.level.into(),
            enforced: of.enforced,
            api_id: of.api_id,
            stage: of.stage,
            route: of.route,
            rate_limit: of.rate_limit,
            burst_limit: of.burst_limit,
            max_in_flight: of.max_in_flight,
            quota_limit: of.quota_limit,
            quota_period_seconds: of.quota_period_seconds,
            resets_at: of.resets_at,
            remaining: of.remaining,
            in_flight: of.in_flight,
            used: of.used,
            as_of: of.as_of,
            nodes: of.nodes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<domain::limit_state::LimitOnNode> for LimitOnNode {
    fn from(of: domain::limit_state::LimitOnNode) -> Self {
        Self {
            node_id: of.node_id,
            counting: of.counting.into(),
            remaining: of.remaining,
            in_flight: of.in_flight,
            as_of: of.as_of,
        }
    }
}

impl From<domain::limit_state::AskedNode> for AskedNode {
    fn from(of: domain::limit_state::AskedNode) -> Self {
        Self { node_id: of.node_id, answer: of.answer.into() }
    }
}

#[Object]
impl LimitStateQuery {
    /// How the limits of a key on one of its usage plans stand at this moment: what is left of each, and what each node
    /// knows. Nodes know the limits that the key's calls used in the last minutes. Of others, and of nodes that did not
    /// answer, nothing is told.
    async fn limit_state(
        &self,
        ctx: &Context<'_>,
        usage_plan_id: ID,
        api_key_id: ID,
    ) -> async_graphql::Result<LimitState> {
        let (app, actor) = caller(ctx)?;
        let plan = Kind::UsagePlan.parse(&usage_plan_id, "usagePlanId")?;
        let key = Kind::ApiKey.parse(&api_key_id, "apiKeyId")?;
        Ok(domain::limit_state::get(app, actor, plan, key).await?.into())
    }
}
