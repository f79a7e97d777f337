//! What a request costs, and what is left of the caller's allowance.

use async_graphql::{Context, Object, SimpleObject};
use chrono::{DateTime, TimeDelta, Utc};

use crate::access::allowance::Standing;
use crate::error::Error;
use crate::graphql::app;

#[derive(Default)]
pub struct RateLimitQuery;

/// What the HTTP handler found the request to cost, and what was left then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub cost: u32,
    pub nodes: u64,
    /// Whether that was all it wanted to know.
    pub dry: bool,
    /// None where nothing is counted.
    pub standing: Option<Standing>,
}

/// An allowance of points, each caller's own: a logged-in user's, or the address's of everybody else.
#[derive(SimpleObject)]
pub struct RateLimit {
    /// What this request costs: 1 point for each field that it begins with (5 in a mutation; 20 where usage is added up:
    /// `usageGroups`, `usageGroupSeries`, `keyUsage`, `createUsageExport`); 1 for each connection or noun below, times
    /// the objects that it is asked of (the items of a page cost nothing more); and 1 for each 100 objects in all. At
    /// most 1000.
    cost: u32,
    /// How many objects this request asks for, at most.
    node_count: u64,
    /// The points of a whole allowance.
    limit: u32,
    /// The points that are left, this request paid.
    remaining: u32,
    /// The points that are missing.
    used: u32,
    /// When none will be missing any more.
    reset_at: DateTime<Utc>,
}

#[expect(clippy::unused_async, reason = "async-graphql takes only async fields")]
#[Object]
impl RateLimitQuery {
    /// What this request costs, and what the caller has left; null where calls are not counted. With `dryRun`
    /// nothing else of the request is run, and it costs 1 point.
    async fn rate_limit(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = false)] dry_run: bool,
    ) -> async_graphql::Result<Option<RateLimit>> {
        let Spent { cost, nodes, dry, standing } = *ctx.data::<Spent>()?;
        if dry_run && !dry {
            let rule = "stands at the top of each operation, in no fragment";
            return Err(Error::bad_request("dryRun", rule).into());
        }
        let Some(standing) = standing else { return Ok(None) };
        let resets = TimeDelta::seconds(standing.resets_in_seconds().into());
        Ok(Some(RateLimit {
            cost,
            node_count: nodes,
            limit: standing.limit,
            remaining: standing.remaining,
            used: standing.limit - standing.remaining.min(standing.limit),
            reset_at: app(ctx).clock.now() + resets,
        }))
    }
}
