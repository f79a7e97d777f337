//! Why a request was limited.

use async_graphql::{ComplexObject, Context, Enum, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::graphql::api_key::ApiKey;
use crate::graphql::usage_plan::UsagePlan;
use crate::graphql::{caller, loader};
use crate::ids::{ApiKeyId, UsagePlanId};

#[derive(Default)]
pub struct ExplanationQuery;

/// What became of one request, as its node saw it. Never a field's value, a body, or the query.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct Explanation {
    /// The `x-request-id` of its answer.
    request_id: String,
    /// When its node began with it.
    started_at: DateTime<Utc>,
    /// Says nothing but which node, here and in logs.
    node_id: String,
    api_id: String,
    stage: String,
    /// Null where nothing was deployed.
    deployment_id: Option<String>,
    /// The version of the cell's configuration that it was judged by.
    config_version: u64,
    method: String,
    /// `GET /pets/{id}`; `-` where no route matched.
    route: String,
    /// Below the stage, at most 256 bytes, without the query.
    path: String,
    /// 0 where the call was cut off before a status.
    status: u16,
    /// Why the gateway answered by itself: `THROTTLED`.
    code: Option<String>,
    api_key_id: Option<String>,
    /// The plan that gave the key access.
    usage_plan_id: Option<String>,
    /// The limit that refused it. Null: no limit did.
    decision: Option<LimitDecision>,
    /// What each limit that was asked stood at then, the narrowest first, as `RateLimit` tells it.
    limits: Vec<LimitStanding>,
    /// Limits in shadow that would have refused it, as `RateLimit` would name them.
    shadow_throttled_by: Vec<String>,
}

/// The limit that refused a request, what it had, and how that was known. Of several that had nothing left, the one that
/// is waited for longest. Figures that it has none of are null.
#[derive(SimpleObject)]
pub struct LimitDecision {
    /// As `RateLimit` and the log call it: `key-route`, `key`, `route`, `stage`, `tenant`, `key-concurrency`,
    /// `route-concurrency`, `stage-concurrency`, `quota`, `tenant-share`, `backend-share`, or the name of a client throttle.
    name: String,
    level: LimitLevel,
    check: LimitCheck,
    /// Of a throttle: tokens a second.
    rate_limit: Option<f64>,
    /// Of a throttle: tokens at once.
    burst_limit: Option<u32>,
    /// Of a concurrency limit, or of a share: requests in progress at once.
    max_in_flight: Option<u64>,
    /// Of a quota: the calls that the key had in the period.
    quota_limit: Option<u64>,
    /// Of a quota: how long its period is.
    quota_period_seconds: Option<u64>,
    /// What was left. Where a limit refuses it is seldom more than 0.
    remaining: u64,
    /// What the caller was told in `Retry-After`; of a quota, until its period ends.
    retry_after_seconds: u64,
}

/// What a limit stood at.
#[derive(SimpleObject)]
pub struct LimitStanding {
    name: String,
    /// The burst, the calls of the period, or the requests in progress at once.
    limit: u64,
    window_seconds: Option<u64>,
    remaining: u64,
    resets_in_seconds: Option<u64>,
}

/// What a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::explanation::LimitLevel")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::explanation::LimitCheck")]
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

impl From<domain::explanation::Explanation> for Explanation {
    fn from(of: domain::explanation::Explanation) -> Self {
        Self {
            request_id: of.request_id,
            started_at: of.started_at,
            node_id: of.node_id,
            api_id: of.api_id,
            stage: of.stage,
            deployment_id: of.deployment_id,
            config_version: of.config_version,
            method: of.method,
            route: of.route,
            path: of.path,
            status: of.status,
            code: of.code,
            api_key_id: of.api_key_id,
            usage_plan_id: of.usage_plan_id,
            decision: of.decision.map(Into::into),
            limits: of.limits.into_iter().map(Into::into).collect(),
            shadow_throttled_by: of.shadow_throttled_by,
        }
    }
}

impl From<domain::explanation::LimitDecision> for LimitDecision {
    fn from(of: domain::explanation::LimitDecision) -> Self {
        Self {
            name: of.name,
            level: of.level.into(),
            check: of.check.into(),
            rate_limit: of.rate_limit,
            burst_limit: of.burst_limit,
            max_in_flight: of.max_in_flight,
            quota_limit: of.quota_limit,
            quota_period_seconds: of.quota_period_seconds,
            remaining: of.remaining,
            retry_after_seconds: of.retry_after_seconds,
        }
    }
}

impl From<domain::explanation::LimitStanding> for LimitStanding {
    fn from(of: domain::explanation::LimitStanding) -> Self {
        Self {
            name: of.name,
            limit: of.limit,
            window_seconds: of.window_seconds,
            remaining: of.remaining,
            resets_in_seconds: of.resets_in_seconds,
        }
    }
}

#[ComplexObject]
impl Explanation {
    /// The key that called; null where there was none, or it is deleted by now.
    async fn api_key(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<ApiKey>> {
        let id = self.api_key_id.as_ref().and_then(|id| id.parse::<ApiKeyId>().ok());
        let Some(id) = id else { return Ok(None) };
        Ok(loader::one(ctx, id).await?.map(ApiKey::from))
    }

    /// The plan that gave the key access; null where there was none, or it is deleted by now.
    async fn usage_plan(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<UsagePlan>> {
        let id = self.usage_plan_id.as_ref().and_then(|id| id.parse::<UsagePlanId>().ok());
        let Some(id) = id else { return Ok(None) };
        Ok(loader::one(ctx, id).await?.map(UsagePlan::from))
    }
}

#[Object]
impl ExplanationQuery {
    /// What became of the request to one of the tenant's Apis whose answer had this `x-request-id`: which limit refused it,
    /// with its figures and what it had left, or that none did. Nodes remember the newest requests of each tenant for a
    /// while; the error for one that is gone says since when, and which nodes did not answer.
    async fn explanation(
        &self,
        ctx: &Context<'_>,
        request_id: String,
    ) -> async_graphql::Result<Explanation> {
        let (app, actor) = caller(ctx)?;
        Ok(domain::explanation::get(app, actor, &request_id).await?.into())
    }
}
