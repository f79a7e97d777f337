//! What a node counts of its concurrency limits.

use prometheus::{IntCounterVec, Opts, Registry, local::LocalIntCounter};

use super::limit_metrics::Decision;

/// What all threads of a node add to.
#[derive(Clone)]
pub(super) struct ConcurrencyMetrics(IntCounterVec);

/// One thread's share of what every call adds to; flushed each second.
pub(super) struct ThreadConcurrencyMetrics {
    admitted: [LocalIntCounter; BY.len()],
    refused: [LocalIntCounter; BY.len()],
    shadowed: [LocalIntCounter; BY.len()],
}

/// What decided about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Permit,
    /// This node's share of the limit.
    Share,
    /// Nothing: limits are open while Redis is away.
    Nothing,
}

/// In the order of [`By`].
const BY: [&str; 3] = ["permit", "share", "nothing"];

impl ConcurrencyMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let decisions = IntCounterVec::new(
            Opts::new(
                "tollgate_concurrency_decisions_total",
                "What the concurrency limits of calls said, one for each limit",
            ),
            &["outcome", "by"],
        )?;
        registry.register(Box::new(decisions.clone()))?;
        Ok(Self(decisions))
    }

    pub(super) fn thread(&self) -> ThreadConcurrencyMetrics {
        let of = |outcome| BY.map(|by| self.0.with_label_values(&[outcome, by]).local());
        ThreadConcurrencyMetrics {
            admitted: of("admitted"),
            refused: of("refused"),
            shadowed: of("shadowed"),
        }
    }

    /// How many decisions came out so, by what they were made by, for tests.
    #[cfg(test)]
    pub(super) fn decisions(&self, outcome: &str, by: &str) -> u64 {
        self.0.with_label_values(&[outcome, by]).get()
    }
}

impl ThreadConcurrencyMetrics {
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
    }
}
