//! How the limits of an API key on one of its usage plans stand at this moment, as the nodes know it that answer.
//!
//! Nodes remember the limits that calls used in the last minutes. Neither Redis nor a database is asked.

mod combined;

use chrono::{DateTime, Utc};
use proto::inquiry::v1::{self as message, answer, question};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain::convergence;
use crate::domain::explanation::{ANSWER_WITHIN, LimitLevel};
use crate::error::{Error, Result};
use crate::ids::{ApiKeyId, NodeId, UsagePlanId};
use crate::live::Asking;
use crate::store;

/// How the limits of an API key on one of its usage plans stand, as far as the nodes that answered know.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitState {
    #[schema(value_type = String)]
    pub usage_plan_id: UsagePlanId,
    #[schema(value_type = String)]
    pub api_key_id: ApiKeyId,
    /// When the nodes had answered.
    pub as_of: DateTime<Utc>,
    /// Those that the key's calls used in the last minutes, the narrowest first. Of others nothing is known.
    pub limits: Vec<LimitInUse>,
    /// Every node that is there, and what it said.
    pub nodes: Vec<AskedNode>,
}

/// One limit, over the nodes that know it. Figures that it has none of are null.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitInUse {
    /// As `RateLimit` and the log call it: `key-route`, `key`, `key-concurrency` or `quota`.
    pub name: String,
    pub level: LimitLevel,
    /// False: calls beyond it pass, since it is in shadow or a soft quota.
    pub enforced: bool,
    /// Of `key-route`, as the next two.
    pub api_id: Option<String>,
    pub stage: Option<String>,
    pub route: Option<String>,
    /// Of a throttle: tokens a second.
    pub rate_limit: Option<f64>,
    /// Of a throttle: tokens at once.
    pub burst_limit: Option<u32>,
    /// Of a concurrency limit: requests in progress at once.
    pub max_in_flight: Option<u64>,
    /// Of a quota: the calls that the key has in the present period.
    pub quota_limit: Option<u64>,
    /// Of a quota: how long its period is.
    pub quota_period_seconds: Option<u64>,
    /// Of a quota: when its period ends.
    pub resets_at: Option<DateTime<Utc>>,
    /// What is left over all nodes that answered: of a throttle what Redis had last, refilled since, and what nodes took in
    /// advance, or the nodes' shares; of a concurrency limit what is not in progress; of a quota what is not used. Null:
    /// no node knows.
    pub remaining: Option<u64>,
    /// Of a concurrency limit: requests in progress on the nodes that answered.
    pub in_flight: Option<u64>,
    /// Of a quota: what Redis last counted.
    pub used: Option<u64>,
    /// When Redis last said what it is reckoned from; of what nodes count by themselves, when they answered. Null: never.
    pub as_of: Option<DateTime<Utc>>,
    /// What each node knows by itself.
    pub nodes: Vec<LimitOnNode>,
}

/// What one node knows of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitOnNode {
    /// Says nothing but which node, here and in logs.
    pub node_id: String,
    pub counting: LimitCounting,
    /// What it would tell a caller to be left: what it has in hand, and what Redis had when this node last asked. Null: it does
    /// not know, or the limit is of requests in progress.
    pub remaining: Option<u64>,
    /// Requests in progress on it.
    pub in_flight: Option<u64>,
    /// As of the limit.
    pub as_of: Option<DateTime<Utc>>,
}

/// How a node counts a limit at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AskedNode {
    pub node_id: String,
    pub answer: NodeAnswer,
}

/// Whether a node knows limits of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NodeAnswer {
    /// Some of them.
    Known,
    /// None: the key did not call it in the last minutes.
    NothingKnown,
    /// It did not answer in time, or is of a release that cannot be asked.
    NoAnswer,
}

impl LimitCounting {
    /// None for one that only a newer node knows.
    fn of(counting: message::Counting) -> Option<Self> {
        Some(match counting {
            message::Counting::Unspecified => return None,
            message::Counting::Leased => Self::Leased,
            message::Counting::Exact => Self::Exact,
            message::Counting::Local => Self::Local,
            message::Counting::Fallback => Self::Fallback,
            message::Counting::FailOpen => Self::FailOpen,
            message::Counting::FailClosed => Self::FailClosed,
        })
    }
}

/// What one process of a node answered. There are two of it while one takes the other's place.
struct Answered {
    node: NodeId,
    limits: Vec<message::LimitState>,
}

/// Asks every node of the tenant's cell how the limits of a key on one of its plans stand.
pub async fn get(app: &App, actor: &Actor, plan: UsagePlanId, key: ApiKeyId) -> Result<LimitState> {
    let mut tx = app.begin(actor).await?;
    let plans = store::key_quota::find(&mut tx, actor.tenant, &[key]).await?;
    if !plans.iter().any(|held| held.usage_plan_id == plan) {
        return Err(Error::NotFound("api key on this usage plan"));
    }
    let cell = store::cell::of_current_tenant(&mut tx).await?;
    drop(tx);
    let (usage_plan_id, api_key_id) = (plan.to_string(), key.to_string());
    let asked = question::Kind::Limits(message::LimitsAsked { usage_plan_id, api_key_id });
    let mut asking = app.live.inquiries.ask(actor.tenant, &cell, &asked).ok_or_else(|| {
        Error::limit_exceeded("", "nodes are asked about as much as may be; try again in a moment")
    })?;
    let answers = collect(&mut asking).await;
    drop(asking);
    let online = convergence::online(app, &cell).await?;
    let as_of = app.clock.now();
    Ok(LimitState {
        usage_plan_id: plan,
        api_key_id: key,
        as_of,
        limits: combined::limits(&answers, as_of),
        nodes: asked_nodes(&answers, online),
    })
}

async fn collect(asking: &mut Asking) -> Vec<Answered> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    let mut answers = Vec::new();
    while let Ok(Some((node, answer))) = timeout_at(deadline, asking.next()).await {
        // One that answers something else cannot be understood.
        if let answer::Kind::Limits(known) = answer {
            answers.push(Answered { node, limits: known.limits });
        }
    }
    answers
}

fn asked_nodes(answers: &[Answered], online: Vec<NodeId>) -> Vec<AskedNode> {
    let mut nodes = online;
    nodes.extend(answers.iter().map(|answered| answered.node));
    nodes.sort_unstable();
    nodes.dedup();
    let asked = nodes.into_iter().map(|node| {
        let said = answers.iter().filter(|answered| answered.node == node);
        let answer = match said.map(|answered| answered.limits.len()).max() {
            None => NodeAnswer::NoAnswer,
            Some(0) => NodeAnswer::NothingKnown,
            Some(_) => NodeAnswer::Known,
        };
        AskedNode { node_id: node.to_string(), answer }
    });
    asked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Rng;

    #[test]
    fn each_node_is_named_once_with_what_it_said() {
        let [knows, nothing, silent, new]: [NodeId; 4] = std::array::from_fn(|_| Rng.id());
        let answered =
            |node, count| Answered { node, limits: vec![message::LimitState::default(); count] };
        // The process that takes the place of another knows nothing yet.
        let answers =
            [answered(knows, 0), answered(knows, 1), answered(nothing, 0), answered(new, 1)];
        let nodes = asked_nodes(&answers, vec![knows, nothing, silent]);
        let said = |node: NodeId| {
            let of = |it: &&AskedNode| it.node_id == node.to_string();
            nodes.iter().find(of).map(|it| it.answer).unwrap()
        };
        assert_eq!(nodes.len(), 4);
        assert_eq!(
            [knows, nothing, silent, new].map(said),
            [NodeAnswer::Known, NodeAnswer::NothingKnown, NodeAnswer::NoAnswer, NodeAnswer::Known]
        );
    }
}
