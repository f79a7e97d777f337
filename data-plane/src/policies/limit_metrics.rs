//! What a node counts of its limits.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    concurrency_metrics::{ConcurrencyMetrics, ThreadConcurrencyMetrics},
    recall::Restored,
};
use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry, local::LocalIntCounter,
};

/// What all threads of a node add to.
#[derive(Clone)]
pub(crate) struct LimitMetrics {
    decisions: IntCounterVec,
    redis_calls: IntCounterVec,
    pub(crate) redis_errors: IntCounter,
    pub(crate) losses: IntCounter,
    /// Questions that were not asked.
    pub(crate) spared: IntCounter,
    over_quota: IntCounterVec,
    restored: IntCounterVec,
    pub(super) memory_losses: IntCounter,
    /// This one among them.
    pub(super) live_nodes: IntGauge,
    overshoot: Gauge,
    pub(super) concurrency: ConcurrencyMetrics,
    /// Calls let through by tokens that Redis did not count any more.
    uncounted: Arc<AtomicU64>,
}

/// One thread's share of what every call adds to; flushed each second.
pub(super) struct ThreadLimitMetrics {
    all: LimitMetrics,
    admitted: [LocalIntCounter; BY.len()],
    refused: [LocalIntCounter; BY.len()],
    shadowed: [LocalIntCounter; BY.len()],
    pub(super) concurrency: ThreadConcurrencyMetrics,
}

/// What a bucket said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Admitted,
    Refused,
    /// It would have refused, and is in shadow.
    Shadowed,
}

/// What decided about a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Lease,
    Redis,
    /// This node's share of the limit.
    Share,
    /// Nothing: limits are open while Redis is away.
    Nothing,
}

/// In the order of [`By`].
const BY: [&str; 4] = ["lease", "redis", "share", "nothing"];

/// What restores the calls of quotas.
const RESTORED_BY: [&str; 2] = ["node", "ledger"];

/// Why Redis is asked.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// More for a lease.
    Lease,
    /// What a lease spent, what it returns, and what was let through without asking.
    Report,
    /// A token for one call.
    Take,
    GiveBack,
    /// What a node holds of a concurrency limit, and more of it.
    Permit,
    /// A call of a quota, or what its count had lost.
    Quota,
    RollCall,
    /// Since when it remembers.
    Memory,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Report => "report",
            Self::Take => "take",
            Self::GiveBack => "give_back",
            Self::Permit => "permit",
            Self::Quota => "quota",
            Self::RollCall => "roll_call",
            Self::Memory => "memory",
        }
    }
}

impl LimitMetrics {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            decisions: IntCounterVec::new(
                Opts::new(
                    "tollgate_ratelimit_decisions_total",
                    "What the buckets of calls said, one for each bucket",
                ),
                &["outcome", "by"],
            )?,
            redis_calls: IntCounterVec::new(
                Opts::new("tollgate_redis_calls_total", "Questions to Redis about limits"),
                &["purpose"],
            )?,
            redis_errors: IntCounter::new(
                "tollgate_redis_errors_total",
                "Redis calls that failed or took too long",
            )?,
            losses: IntCounter::new(
                "tollgate_ratelimit_losses_total",
                "Leases and permits that Redis did not know any more: it lost its memory or its clock jumped",
            )?,
            spared: IntCounter::new(
                "tollgate_ratelimit_questions_spared_total",
                "Questions to Redis about clients' limits that were not asked, since a tenant's clients are too many",
            )?,
            over_quota: IntCounterVec::new(
                Opts::new("tollgate_quota_exceeded_total", "Calls beyond their key's quota"),
                &["enforcement"],
            )?,
            restored: IntCounterVec::new(
                Opts::new(
                    "tollgate_quota_calls_restored_total",
                    "Calls of quotas that Redis had forgotten and was told of again",
                ),
                &["by"],
            )?,
            memory_losses: IntCounter::new(
                "tollgate_redis_memory_losses_total",
                "Times that this node was the first to find a Redis, or a part of a cluster, that is new or lost its memory",
            )?,
            live_nodes: IntGauge::new(
                "tollgate_ratelimit_live_nodes",
                "Nodes that Redis knows to be alive, as this one was last told",
            )?,
            overshoot: Gauge::new(
                "tollgate_ratelimit_overshoot_ratio",
                "Calls let through by tokens that Redis did not count any more, over all let through",
            )?,
            concurrency: ConcurrencyMetrics::new(registry)?,
            uncounted: Arc::default(),
        };
        registry.register(Box::new(metrics.decisions.clone()))?;
        registry.register(Box::new(metrics.redis_calls.clone()))?;
        registry.register(Box::new(metrics.redis_errors.clone()))?;
        registry.register(Box::new(metrics.losses.clone()))?;
        registry.register(Box::new(metrics.spared.clone()))?;
        registry.register(Box::new(metrics.over_quota.clone()))?;
        registry.register(Box::new(metrics.restored.clone()))?;
        registry.register(Box::new(metrics.memory_losses.clone()))?;
        registry.register(Box::new(metrics.live_nodes.clone()))?;
        registry.register(Box::new(metrics.overshoot.clone()))?;
        // From zero on, so that the first call beyond a quota is a rise.
        for enforcement in ["hard", "soft"] {
            metrics.over_quota.with_label_values(&[enforcement]);
        }
        for by in RESTORED_BY {
            metrics.restored.with_label_values(&[by]);
        }
        Ok(metrics)
    }

    pub(super) fn thread(&self) -> ThreadLimitMetrics {
        let of = |outcome| BY.map(|by| self.decisions.with_label_values(&[outcome, by]).local());
        ThreadLimitMetrics {
            all: self.clone(),
            admitted: of("admitted"),
            refused: of("refused"),
            shadowed: of("shadowed"),
            concurrency: self.concurrency.thread(),
        }
    }

    pub(super) fn asked(&self, purpose: Purpose) {
        self.redis_calls.with_label_values(&[purpose.name()]).inc();
    }

    /// A lease was not known any more, from which so many calls had been let through since its last report.
    pub(super) fn lost(&self, calls: u32) {
        self.losses.inc();
        self.uncounted.fetch_add(calls.into(), Ordering::Relaxed);
    }

    pub(super) fn restored(&self, restored: Restored) {
        let Restored { by_node, by_ledger } = restored;
        for (by, calls) in RESTORED_BY.into_iter().zip([by_node, by_ledger]) {
            if calls > 0 {
                self.restored.with_label_values(&[by]).inc_by(calls);
            }
        }
    }

    /// A call is beyond its key's quota, which refuses it unless it is soft.
    pub(super) fn over_quota(&self, soft: bool) {
        let enforcement = if soft { "soft" } else { "hard" };
        self.over_quota.with_label_values(&[enforcement]).inc();
    }

    /// How many decisions came out so, whatever they were made by, for tests.
    #[cfg(test)]
    pub(crate) fn decisions(&self, outcome: &str) -> u64 {
        BY.iter().map(|by| self.decisions.with_label_values(&[outcome, by]).get()).sum()
    }

    /// The same of concurrency limits, by what they were made by.
    #[cfg(test)]
    pub(crate) fn concurrency_decisions(&self, outcome: &str, by: &str) -> u64 {
        self.concurrency.decisions(outcome, by)
    }

    /// Calls that were restored, for tests.
    #[cfg(test)]
    pub(crate) fn calls_restored(&self, by: &str) -> u64 {
        self.restored.with_label_values(&[by]).get()
    }

    /// How often a purpose led to Redis, for tests.
    #[cfg(test)]
    pub(crate) fn redis_calls(&self, purpose: &str) -> u64 {
        self.redis_calls.with_label_values(&[purpose]).get()
    }
}

impl ThreadLimitMetrics {
    pub(super) fn decided(&self, decision: Decision, by: By) {
        let counters = match decision {
            Decision::Admitted => &self.admitted,
            Decision::Refused => &self.refused,
            Decision::Shadowed => &self.shadowed,
        };
        counters[by as usize].inc();
    }

    pub(super) fn flush(&self) {
        let decided = [&self.admitted, &self.refused, &self.shadowed];
        decided.into_iter().flatten().for_each(LocalIntCounter::flush);
        self.concurrency.flush();
        let admitted: u64 =
            BY.iter().map(|by| self.all.decisions.with_label_values(&["admitted", by]).get()).sum();
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let ratio = self.all.uncounted.load(Ordering::Relaxed) as f64 / admitted.max(1) as f64;
        self.all.overshoot.set(ratio);
    }
}
