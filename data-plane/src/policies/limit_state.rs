//! How the limits of a key on one of its plans stand, as far as this thread's calls and its node know. Nothing is taken from
//! them and Redis is not asked; what nobody used in the last minutes is not known.

use std::sync::Arc;

use proto::{
    inquiry::v1::{
        self as message, Counting, InProgress, Level, LimitState, Seen, Tokens, Used,
        limit::Figures, limit_state::Standing,
    },
    redis_keys,
};

use super::{
    desk::{Held, now_us},
    found::{Found, Kind as Of, Name},
    gates::Gate,
    limiter::Limiter,
};
use crate::{
    config::{LimiterMode, LimiterOutage},
    node::{Node, now_ms},
    reconciliation::QuotaName,
    snapshot::served::{self, ConcurrencyLimit, Quota, UsagePlan},
};

/// Those of a key on a tenant's plan. Of a key that was never on it nothing was counted.
pub(crate) fn of_key(node: &Node, tenant: &str, plan: &str, key: &str) -> Vec<LimitState> {
    let snapshot = node.snapshot();
    let Some(plan) = snapshot.usage_plan(plan).filter(|plan| *plan.tenant_id == *tenant) else {
        return Vec::new();
    };
    let mut known = of_routes(&node.limiter, plan, key);
    known.extend(plan.throttle.and_then(|throttle| of_plan(&node.limiter, plan, key, throttle)));
    known.extend(plan.concurrency_limit.and_then(|it| in_progress(&node.limiter, plan, key, it)));
    known.extend(plan.quota.as_ref().and_then(|quota| of_quota(node, plan, key, quota)));
    known
}

fn of_routes(limiter: &Limiter, plan: &UsagePlan, key: &str) -> Vec<LimitState> {
    let mut known = Vec::new();
    for of in &plan.stages {
        for (route, throttle) in &of.route_throttles {
            let route = route.to_string();
            let parts = [&*plan.id, key, &*of.api_id, &*of.stage, &*route];
            let Some(found) = limiter.desk.look(&Name { kind: Of::KeyRoute, parts }) else {
                continue;
            };
            known.push(LimitState {
                api_id: of.api_id.to_string(),
                stage: of.stage.to_string(),
                route,
                ..of_bucket(limiter, "key-route", &found, *throttle)
            });
        }
    }
    known
}

fn of_plan(
    limiter: &Limiter,
    plan: &UsagePlan,
    key: &str,
    throttle: served::Throttle,
) -> Option<LimitState> {
    let found = limiter.desk.look(&Name { kind: Of::Key, parts: [&plan.id, key, "", "", ""] })?;
    Some(of_bucket(limiter, "key", &found, throttle))
}

fn of_bucket(
    limiter: &Limiter,
    name: &str,
    found: &Found,
    throttle: served::Throttle,
) -> LimitState {
    let held = &found.held;
    let served::Bucket { rate: rate_limit, burst: burst_limit } = throttle.bucket;
    let mode = throttle.mode.unwrap_or(limiter.mode);
    let outage = throttle.outage.unwrap_or(limiter.outage);
    let counting = limiter.counting(&held.redis_key, mode, outage);
    let figures = Figures::Throttle(message::Throttle { rate_limit, burst_limit });
    let tokens = if burst_limit == 0 {
        Tokens { in_hand: Some(0), seen: None } // it is never asked
    } else {
        tokens(held, counting)
    };
    state((name, found.level(), figures), throttle.shadow, counting, Standing::Tokens(tokens))
}

fn tokens(held: &Arc<Held>, counting: Counting) -> Tokens {
    let now = now_us();
    let seen = held
        .seen()
        .map(|(left, at)| Seen { left: left.into(), age_ms: now.saturating_sub(at) / 1000 });
    match counting {
        Counting::Leased => Tokens { in_hand: Some(held.lease.spendable(now).into()), seen },
        // A share began with its part of what the bucket had.
        Counting::Local | Counting::Fallback => {
            Tokens { in_hand: held.left_of_share(), seen: None }
        }
        _ => Tokens { in_hand: None, seen },
    }
}

fn in_progress(
    limiter: &Limiter,
    plan: &UsagePlan,
    key: &str,
    limit: ConcurrencyLimit,
) -> Option<LimitState> {
    let name = Name { kind: Of::Key, parts: [&plan.id, key, "", "", ""] };
    let found = limiter.gates.desk.look(&name)?;
    let gate: &Gate = &found.held;
    // By permits exact and leased are the same.
    let mode = match limiter.mode {
        LimiterMode::Exact => LimiterMode::Leased,
        mode => mode,
    };
    let counting = limiter.counting(&gate.redis_key, mode, limiter.outage);
    let max_in_flight = limit.max_in_flight;
    let figures = Figures::Concurrency(message::Concurrency { max_in_flight });
    let in_flight = gate.permits.in_use().into();
    Some(state(
        ("key-concurrency", found.level(), figures),
        limit.shadow,
        counting,
        Standing::InProgress(InProgress { in_flight }),
    ))
}

fn of_quota(node: &Node, plan: &UsagePlan, key: &str, quota: &Quota) -> Option<LimitState> {
    let name = QuotaName {
        tenant: plan.tenant_id.clone(),
        usage_plan: plan.id.clone(),
        api_key: key.into(),
    };
    let known = node.counts.standing(&node.shared.counts, &name)?;
    let (counted, now_s) = (known.counted, i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX));
    // What is over is not the present period's.
    let resets_in_s = u64::try_from(counted.until_s - now_s).ok().filter(|rest| *rest > 0)?;
    let period_s = u64::try_from(counted.until_s - counted.from_s).unwrap_or(0);
    let limiter = &node.limiter;
    let outage = if quota.soft { LimiterOutage::LocalFallback } else { limiter.outage };
    let redis_key = redis_keys::quota(&plan.id, key);
    // Nobody counts a quota by a share unless Redis is away.
    let mode = match limiter.mode {
        LimiterMode::Local => LimiterMode::Exact,
        mode => mode,
    };
    let counting = limiter.counting(&redis_key, mode, outage);
    let figures = Figures::Quota(message::Quota { limit: known.limit, period_s, resets_in_s });
    Some(state(
        ("quota", Level::Key, figures),
        quota.soft,
        counting,
        Standing::Used(Used { used: counted.used, at_s: counted.at_s }),
    ))
}

fn state(
    (name, level, figures): (&str, Level, Figures),
    shadow: bool,
    counting: Counting,
    standing: Standing,
) -> LimitState {
    let figures = Some(figures);
    LimitState {
        limit: Some(message::Limit { name: name.to_owned(), level: level.into(), figures }),
        shadow,
        counting: counting.into(),
        standing: Some(standing),
        ..LimitState::default()
    }
}

impl Limiter {
    /// How a limit of this name in Redis is counted at this moment.
    fn counting(&self, redis_key: &str, mode: LimiterMode, outage: LimiterOutage) -> Counting {
        match mode {
            LimiterMode::Local => return Counting::Local,
            LimiterMode::Leased if self.there(redis_key).is_some() => return Counting::Leased,
            LimiterMode::Exact if self.there(redis_key).is_some() => return Counting::Exact,
            LimiterMode::Leased | LimiterMode::Exact => {}
        }
        match outage {
            LimiterOutage::LocalFallback => Counting::Fallback,
            LimiterOutage::FailOpen => Counting::FailOpen,
            LimiterOutage::FailClosed => Counting::FailClosed,
        }
    }
}
