//! Where quotas stood in Redis when they were last asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::reconciliation::v1::QuotaCount;

/// Keys whose quotas wait to be reported. More are reported when they are used next.
const WAITING_MAX: usize = 100_000;

/// A key's quota on a usage plan, by their ids. The nodes share one count, so whichever of them asked last knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) tenant: Arc<str>,
    pub(crate) usage_plan: Arc<str>,
    pub(crate) api_key: Arc<str>,
}

/// What Redis counts of a period; seconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Calls that were made.
    pub(crate) used: u64,
    /// Taken by nodes ahead, made or not.
    pub(crate) held: u64,
    pub(crate) from_s: i64,
    pub(crate) until_s: i64,
    /// By the clock of Redis.
    pub(crate) at_s: i64,
}

impl Counted {
    /// Within a second the greater is the later: calls that were made are seldom put back.
    pub(super) fn is_later_than(&self, other: &Self) -> bool {
        (self.from_s, self.at_s, self.used) >= (other.from_s, other.at_s, other.used)
    }
}

/// What is not reported yet.
#[derive(Default)]
pub(crate) struct QuotaCounts {
    waiting: Mutex<HashMap<(Name, i64), Counted>>,
}

impl QuotaCounts {
    /// Adds what data threads, or a report that was lost, have. The latest of a period stands.
    pub(super) fn add(&self, counts: impl IntoIterator<Item = (Name, Counted)>) {
        let mut waiting = self.waiting();
        for (name, counted) in counts {
            let place = (name, counted.from_s);
            if waiting.len() < WAITING_MAX || waiting.contains_key(&place) {
                let known = waiting.entry(place).or_insert(counted);
                if counted.is_later_than(known) {
                    *known = counted;
                }
            }
        }
    }

    /// At most so many of them, which wait no more.
    pub(super) fn take(&self, most: usize) -> Vec<(Name, Counted)> {
        let mut waiting = self.waiting();
        let places: Vec<_> = waiting.keys().take(most).cloned().collect();
        let taken = places.into_iter().filter_map(|place| waiting.remove_entry(&place));
        taken.map(|((name, _), counted)| (name, counted)).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<(Name, i64), Counted>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    /// As it is reported.
    pub(super) fn at(&self, counted: &Counted) -> QuotaCount {
        QuotaCount {
            tenant_id: self.tenant.to_string(),
            usage_plan_id: self.usage_plan.to_string(),
            api_key_id: self.api_key.to_string(),
            period_from_s: counted.from_s,
            period_until_s: counted.until_s,
            used: counted.used,
            held: counted.held,
            read_ms: u64::try_from(counted.at_s).unwrap_or(0) * 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_count_of_each_period_waits_and_is_taken_once() {
        let name =
            |key: &str| Name { tenant: "t".into(), usage_plan: "p".into(), api_key: key.into() };
        let counted =
            |from_s, at_s, used| Counted { used, held: 0, from_s, until_s: from_s + 100, at_s };
        let counts = QuotaCounts::default();
        counts.add([
            (name("a"), counted(0, 10, 7)),
            (name("a"), counted(0, 9, 8)),
            (name("a"), counted(100, 101, 1)),
            (name("b"), counted(0, 10, 2)),
        ]);
        let first = counts.take(2);
        assert_eq!(first.len(), 2);
        counts.add(first); // it could not be reported
        let mut all: Vec<_> = counts.take(10).into_iter().map(|(_, counted)| counted).collect();
        all.sort_by_key(|counted| (counted.from_s, counted.used));
        assert_eq!(all, [counted(0, 10, 2), counted(0, 10, 7), counted(100, 101, 1)]);
        assert!(counts.take(10).is_empty());
    }
}
