//! The quota of a key on its usage plan: so many calls in a period of the calendar or from a day on. Redis counts them;
//! `recall.rs` says what holds where it forgets.

use http::header::RETRY_AFTER;
use plan::Period;
use proto::{
    inquiry::v1::{self as message, How, Level, limit::Figures},
    redis_keys,
};

use super::limiter::{Limit, Unavailable};
use crate::{
    exchange::Exchange,
    explain::Decision,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    reconciliation::QuotaName,
    snapshot::served::{Grant, Quota},
};

/// What one key may have of its plan's quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) name: QuotaName,
    pub(crate) quota: Quota,
    /// When the key was put on the plan, in Unix seconds, where that is known.
    pub(crate) joined_s: Option<i64>,
    /// What the key was granted beside the quota.
    pub(crate) granted: Option<Grant>,
}

impl Claim {
    /// How many calls the key has in a period.
    pub(super) fn limit_in(&self, period: &Period) -> u64 {
        let first = self.joined_s.is_some_and(|joined| period.holds(joined));
        let used = if first { self.quota.initial_used } else { 0 };
        let in_it = |grant: &Grant| (grant.from_s, grant.until_s) == (period.from, period.until);
        let granted = self.granted.filter(in_it).map_or(0, |grant| grant.calls);
        self.quota.limit.saturating_sub(used).saturating_add(granted)
    }

    /// The same without a limit that refuses.
    pub(super) fn unchecked(&self) -> Self {
        Self { quota: Quota { soft: true, ..self.quota.clone() }, ..self.clone() }
    }

    /// So many calls in each period of the calendar in UTC, and then none.
    #[cfg(test)]
    pub(crate) fn calendar(limit: u64, unit: plan::Unit) -> Self {
        let periods = plan::Periods::calendar(unit, jiff::tz::TimeZone::UTC);
        Self {
            name: QuotaName::default(),
            quota: Quota { limit, periods, soft: false, initial_used: 0 },
            joined_s: None,
            granted: None,
        }
    }
}

/// Takes one call from the period, if any is left.
pub(super) async fn apply(node: &Node, exchange: &mut Exchange) -> Result<(), GatewayResponse> {
    let Some(caller) = &exchange.caller else { return Ok(()) };
    let Some(quota) = &caller.plan.quota else { return Ok(()) };
    let redis_key = redis_keys::quota(&caller.plan.id, &caller.key.id);
    let claim = Claim {
        name: QuotaName {
            tenant: caller.key.tenant_id.clone(),
            usage_plan: caller.plan.id.clone(),
            api_key: caller.key.id.clone(),
        },
        quota: quota.clone(),
        joined_s: caller.key.joined_s(&caller.plan.id),
        granted: caller.key.granted(&caller.plan.id),
    };
    let decided = |how, limit, (period_s, resets_in_s), retry_after_s| Decision {
        name: "quota".into(),
        level: Level::Key,
        figures: Figures::Quota(message::Quota { limit, period_s, resets_in_s }),
        how,
        remaining: 0,
        retry_after_s,
    };
    let Ok(spent) = node.limiter.spend(&redis_key, &claim).await else {
        exchange.decision = Some(decided(How::Unavailable, claim.quota.limit, (0, 1), 1));
        return Err(Unavailable::refusal());
    };
    exchange.limits.push(Limit::of_quota(&spent));
    if let Some(counted) = spent.counted {
        node.counts.quota(claim.name, counted, spent.limit);
    }
    if spent.over {
        exchange.over_quota = true;
        node.limiter.metrics.over_quota(claim.quota.soft);
    }
    if spent.allowed {
        return Ok(());
    }
    // What others hold may come back, long before the period ends.
    let (wait, because) = match spent.held {
        0 => (spent.resets_in_s.max(1), "The quota of this key is used up until its period ends."),
        _ => (1, "The rest of this key's quota is in use; some of it may be left in a second."),
    };
    let period = (spent.period_s, spent.resets_in_s);
    exchange.decision = Some(decided(spent.how, spent.limit, period, wait));
    Err(Kind::QuotaExceeded.because(because).with(RETRY_AFTER, wait.to_string()))
}
