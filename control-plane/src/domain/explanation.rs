//! What became of one request, by its `x-request-id`: which limit refused it, what that had, and which node knew it.
//!
//! Nodes remember the newest requests of each tenant, for a while and in memory. No database has them.

mod not_kept;

use std::time::Duration;

use chrono::{DateTime, Utc};
use proto::inquiry::v1::limit::Figures;
use proto::inquiry::v1::{self as message, answer, question};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;
use uuid::Uuid;

use self::not_kept::Heard;
use crate::access::actor::Actor;
use crate::app::App;
use crate::domain::convergence;
use crate::error::{Error, Result};
use crate::ids::NodeId;
use crate::live::Asking;
use crate::store;

/// How long nodes have to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What became of one request, as its node saw it. Never a field's value, a body, or the query.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The `x-request-id` of its answer.
    pub request_id: String,
    /// When its node began with it.
    pub started_at: DateTime<Utc>,
    /// Says nothing but which node, here and in logs.
    pub node_id: String,
    pub api_id: String,
    pub stage: String,
    /// Null where nothing was deployed.
    pub deployment_id: Option<String>,
    /// The version of the cell's configuration that it was judged by.
    pub config_version: u64,
    pub method: String,
    /// `GET /pets/{id}`; `-` where no route matched.
    pub route: String,
    /// Below the stage, at most 256 bytes, without the query.
    pub path: String,
    /// 0 where the call was cut off before a status.
    pub status: u16,
    /// Why the gateway answered by itself: `THROTTLED`.
    pub code: Option<String>,
    pub api_key_id: Option<String>,
    /// The plan that gave the key access.
    pub usage_plan_id: Option<String>,
    /// The limit that refused it. Null: no limit did.
    pub decision: Option<LimitDecision>,
    /// What each limit that was asked stood at then, the narrowest first, as `RateLimit` tells it.
    pub limits: Vec<LimitStanding>,
    /// Limits in shadow that would have refused it, as `RateLimit` would name them.
    pub shadow_throttled_by: Vec<String>,
}

/// The limit that refused a request, what it had, and how that was known. Of several that had nothing left, the one that
/// is waited for longest. Figures that it has none of are null.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitDecision {
    /// As `RateLimit` and the log call it: `key-route`, `key`, `route`, `stage`, `tenant`, `key-concurrency`,
    /// `route-concurrency`, `stage-concurrency`, `quota`, `tenant-share`, `backend-share`, or the name of a client throttle.
    pub name: String,
    pub level: LimitLevel,
    pub check: LimitCheck,
    /// Of a throttle: tokens a second.
    pub rate_limit: Option<f64>,
    /// Of a throttle: tokens at once.
    pub burst_limit: Option<u32>,
    /// Of a concurrency limit, or of a share: requests in progress at once.
    pub max_in_flight: Option<u64>,
    /// Of a quota: the calls that the key had in the period.
    pub quota_limit: Option<u64>,
    /// Of a quota: how long its period is.
    pub quota_period_seconds: Option<u64>,
    /// What was left. Where a limit refuses it is seldom more than 0.
    pub remaining: u64,
    /// What the caller was told in `Retry-After`; of a quota, until its period ends.
    pub retry_after_seconds: u64,
}

/// What a limit stood at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitStanding {
    pub name: String,
    /// The burst, the calls of the period, or the requests in progress at once.
    pub limit: u64,
    pub window_seconds: Option<u64>,
    pub remaining: u64,
    pub resets_in_seconds: Option<u64>,
}

/// What a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LimitLevel {
    /// All calls of the tenant.
    Tenant,
    /// All calls of a stage.
    Stage,
    /// All calls of a route of a stage.
    Route,
    /// The calls of one client, by address or by a field.
    Client,
    /// The calls of a key on its usage plan.
    Key,
    /// The calls of a key on its usage plan for one route.
    KeyRoute,
    /// The tenant's calls to one backend.
    Backend,
}

/// How a node knew that a limit had nothing left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LimitCheck {
    /// Redis was asked for the node, and had none to give.
    Lease,
    /// Redis had none before, and is not asked again until some is due.
    Remembered,
    /// Redis was asked for this call.
    Exact,
    /// The node has a share of its own: the limit's mode is `LOCAL`, the node is set so, or only nodes keep this limit.
    Local,
    /// The node's own share, since Redis was away.
    Fallback,
    /// The node's own share, since Redis was asked as often as it may be about the tenant's clients.
    Spared,
    /// It was not checked: Redis was away, and the limit lets nothing through then.
    Unavailable,
    /// Its burst is 0: it lets nothing through, ever.
    Setting,
}

impl LimitLevel {
    /// None for one that only a newer node knows.
    pub fn of(level: message::Level) -> Option<Self> {
        Some(match level {
            message::Level::Unspecified => return None,
            message::Level::Tenant => Self::Tenant,
            message::Level::Stage => Self::Stage,
            message::Level::Route => Self::Route,
            message::Level::Client => Self::Client,
            message::Level::Key => Self::Key,
            message::Level::KeyRoute => Self::KeyRoute,
            message::Level::Backend => Self::Backend,
        })
    }
}

impl LimitCheck {
    /// None for one that only a newer node knows.
    pub fn of(how: message::How) -> Option<Self> {
        Some(match how {
            message::How::Unspecified => return None,
            message::How::Lease => Self::Lease,
            message::How::Remembered => Self::Remembered,
            message::How::Exact => Self::Exact,
            message::How::Local => Self::Local,
            message::How::Fallback => Self::Fallback,
            message::How::Spared => Self::Spared,
            message::How::Unavailable => Self::Unavailable,
            message::How::Setting => Self::Setting,
        })
    }
}

impl Explanation {
    /// None where it is no sound one: a node of another release may say what this one does not know.
    fn of(id: Uuid, node: NodeId, told: message::Explanation) -> Option<Self> {
        let decision = match told.decision {
            Some(decision) => Some(LimitDecision::of(decision)?),
            None => None,
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Some(Self {
            request_id: id.to_string(),
            started_at: moment(told.started_ms)?,
            node_id: node.to_string(),
            api_id: told.api_id,
            stage: told.stage,
            deployment_id: some(told.deployment_id),
            config_version: told.config_version,
            method: told.method,
            route: told.route,
            path: told.path,
            status: u16::try_from(told.status).ok()?,
            code: some(told.code),
            api_key_id: some(told.api_key_id),
            usage_plan_id: some(told.usage_plan_id),
            decision,
            limits: told.standings.into_iter().map(LimitStanding::from).collect(),
            shadow_throttled_by: told.shadow_throttled_by,
        })
    }
}

impl LimitDecision {
    fn of(told: message::Decision) -> Option<Self> {
        let (check, limit) = (LimitCheck::of(told.how())?, told.limit?);
        let mut decision = Self {
            level: LimitLevel::of(limit.level())?,
            name: limit.name,
            check,
            rate_limit: None,
            burst_limit: None,
            max_in_flight: None,
            quota_limit: None,
            quota_period_seconds: None,
            remaining: told.remaining,
            retry_after_seconds: told.retry_after_s,
        };
        match limit.figures? {
            Figures::Throttle(throttle) => {
                decision.rate_limit = Some(throttle.rate_limit);
                decision.burst_limit = Some(throttle.burst_limit);
            }
            Figures::Concurrency(limit) => {
                decision.max_in_flight = Some(limit.max_in_flight.into());
            }
            Figures::Share(share) => decision.max_in_flight = Some(share.max_in_flight),
            Figures::Quota(quota) => {
                decision.quota_limit = Some(quota.limit);
                decision.quota_period_seconds = Some(quota.period_s).filter(|it| *it > 0);
            }
        }
        Some(decision)
    }
}

impl From<message::Standing> for LimitStanding {
    fn from(told: message::Standing) -> Self {
        Self {
            name: told.name,
            limit: told.limit,
            window_seconds: told.window_s,
            remaining: told.remaining,
            resets_in_seconds: told.resets_in_s,
        }
    }
}

fn moment(unix_ms: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(unix_ms).ok()?)
}

/// Asks every node of the tenant's cell for the tenant's request with this id.
pub async fn get(app: &App, actor: &Actor, request_id: &str) -> Result<Explanation> {
    let id = parse(request_id)?;
    let mut tx = app.begin(actor).await?;
    let cell = store::cell::of_current_tenant(&mut tx).await?;
    drop(tx);
    let asked = question::Kind::Request(message::RequestAsked { request_id: id.to_string() });
    let mut asking = app.live.inquiries.ask(actor.tenant, &cell, &asked).ok_or_else(|| {
        Error::limit_exceeded("", "nodes are asked about as much as may be; try again in a moment")
    })?;
    match find(&mut asking).await {
        Ok((node, told)) => Explanation::of(id, node, told).ok_or_else(|| {
            let reason = "the node that answered it is of another release, which this one does not understand";
            Error::NotKept(reason.to_owned())
        }),
        Err(heard) => {
            let online = convergence::online(app, &cell).await?;
            Err(Error::NotKept(heard.reason(&id, &online, app.clock.now())))
        }
    }
}

async fn find(asking: &mut Asking) -> Result<(NodeId, message::Explanation), Heard> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    let mut heard = Heard::default();
    while let Ok(Some((node, answer))) = timeout_at(deadline, asking.next()).await {
        match answer {
            answer::Kind::Explanation(told) => return Ok((node, told)),
            answer::Kind::NotKept(since) => heard.add(node, since),
            answer::Kind::Limits(_) => {} // it was not asked for them
        }
    }
    Err(heard)
}

/// The id as a node gives them: a UUIDv7.
fn parse(request_id: &str) -> Result<Uuid> {
    let id = Uuid::try_parse(request_id).ok().filter(|id| id.get_version_num() == 7);
    id.ok_or_else(|| {
        Error::bad_request(
            "requestId",
            "must be the x-request-id of an answer of a node, a UUIDv7: \
             0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_no_node_gives_is_refused_with_its_field() {
        for text in ["", "abc", "x".repeat(5000).as_str(), "3f2b8c1e-7d6a-4b5c-9e8f-0a1b2c3d4e5f"] {
            let Err(Error::BadRequest { param, .. }) = parse(text) else { panic!("{text}") };
            assert_eq!(param, "requestId");
        }
        let id = Uuid::now_v7();
        assert_eq!(parse(&id.to_string()).unwrap(), id);
    }
}
