//! Which part of Redis is away. Keys that cannot be asked for cost no others their exactness: it is known for each part of
//! a cluster's slots by itself.

use std::cell::Cell;

use proto::redis_keys;

/// So many answers in a row that did not come in time, and no call waits any more.
const FAILURES_MAX: u32 = 3;
/// Of a cluster's slots; a primary has several of them, and seldom shares one.
const OF_CLUSTER: usize = 64;

/// Of one server, or of a cluster.
pub(in crate::policies) struct Parts {
    parts: Box<[Part]>,
    /// Which is to be looked at next.
    turn: Cell<usize>,
}

/// Parts that are looked at in one turn.
const LOOKED_AT: usize = 8;

/// What is away together, more or less, and loses its memory together.
struct Part {
    /// Answers in a row that did not come in time.
    failures: Cell<u32>,
    /// Calls are spared the wait for it.
    away: Cell<bool>,
    /// Since when it remembers, in µs by its clock, as it last said.
    remembers_since: Cell<Option<i64>>,
    /// The name under which it keeps that.
    marker: String,
}

impl Parts {
    pub(super) fn of_one() -> Self {
        Self::new(1)
    }

    pub(super) fn of_cluster() -> Self {
        Self::new(OF_CLUSTER)
    }

    fn new(count: usize) -> Self {
        let part = |at| Part {
            failures: Cell::default(),
            away: Cell::default(),
            remembers_since: Cell::default(),
            marker: redis_keys::memory(at, count),
        };
        Self { parts: (0..count).map(part).collect(), turn: Cell::default() }
    }

    fn part(&self, key: &str) -> &Part {
        &self.parts[self.of(key)]
    }

    pub(in crate::policies) fn away(&self) -> u32 {
        self.parts.iter().map(|part| u32::from(part.away.get())).sum()
    }

    /// Keys of the same part are away together.
    pub(in crate::policies) fn of(&self, key: &str) -> usize {
        match self.parts.len() {
            1 => 0,
            // Neighbours mostly lie on one primary.
            parts => redis_keys::part(key, parts),
        }
    }

    pub(in crate::policies) fn is_away(&self, key: &str) -> bool {
        self.part(key).away.get()
    }

    /// The name under which a part keeps since when it remembers.
    pub(in crate::policies) fn marker(&self, part: usize) -> &str {
        &self.parts[part].marker
    }

    /// In µs by its clock; `None`: it did not say yet.
    pub(in crate::policies) fn remembers_since(&self, part: usize) -> Option<i64> {
        self.parts[part].remembers_since.get()
    }

    /// A part says since when it remembers. Gives whether it may have forgotten what it knew before.
    pub(in crate::policies) fn remembers(&self, part: usize, since: i64) -> bool {
        self.parts[part].remembers_since.replace(Some(since)) != Some(since)
    }

    /// The parts whose turn it is to be looked at.
    pub(in crate::policies) fn turn(&self) -> impl Iterator<Item = usize> {
        let (first, all) = (self.turn.get(), self.parts.len());
        let count = all.min(LOOKED_AT);
        self.turn.set((first + count) % all);
        (first..first + count).map(move |part| part % all)
    }

    pub(in crate::policies) fn answered(&self, key: &str) {
        self.part(key).failures.set(0);
    }

    /// An answer did not come in time. Where calls do not wait for this part any more from now on, gives how many parts
    /// that holds for.
    pub(in crate::policies) fn failed(&self, key: &str) -> Option<u32> {
        let part = self.part(key);
        part.failures.set(part.failures.get() + 1);
        if part.failures.get() < FAILURES_MAX || part.away.replace(true) {
            return None;
        }
        Some(self.away())
    }

    /// Gives how many parts are still away.
    pub(in crate::policies) fn back(&self, key: &str) -> u32 {
        let part = self.part(key);
        part.failures.set(0);
        part.away.set(false);
        self.away()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_away_costs_no_other_part() {
        let parts = Parts::of_cluster();
        let key = |id: u32| redis_keys::key_throttle("planaaaaaa", &id.to_string());
        let away = key(0);
        let (same, other): (Vec<_>, Vec<_>) =
            (1..1000).map(key).partition(|key| parts.of(key) == parts.of(&away));
        assert!(!same.is_empty() && other.len() > 900, "{} of them", same.len());
        assert_eq!([&away, &away].map(|key| parts.failed(key)), [None, None]);
        assert_eq!(parts.failed(&same[0]), Some(1), "the third in a row, and the first part");
        assert_eq!(parts.failed(&same[0]), None, "told once");
        assert!(same.iter().all(|key| parts.is_away(key)));
        assert!(!other.iter().any(|key| parts.is_away(key)));
        parts.failed(&other[0]);
        parts.answered(&other[0]);
        assert_eq!([0; 3].map(|_| parts.failed(&other[0])), [None, None, Some(2)]);
        assert_eq!(parts.back(&away), 1);
        assert!(!parts.is_away(&same[0]) && parts.is_away(&other[0]));
        assert_eq!(parts.back(&other[0]), 0);
    }

    #[test]
    fn a_part_that_says_another_time_than_before_may_have_forgotten() {
        let parts = Parts::of_one();
        assert_eq!(parts.remembers_since(0), None);
        let said = [7, 7, 9, 9].map(|since| parts.remembers(0, since));
        assert_eq!(said, [true, false, true, false], "what was before the first is not known");
        assert_eq!(parts.remembers_since(0), Some(9));
    }

    #[test]
    fn the_parts_of_a_cluster_are_looked_at_in_turn() {
        let (one, cluster) = (Parts::of_one(), Parts::of_cluster());
        let mut looked: Vec<_> = (0..8).flat_map(|_| cluster.turn()).collect();
        looked.sort_unstable();
        assert_eq!(looked, (0..OF_CLUSTER).collect::<Vec<_>>());
        assert_eq!([one.turn().collect::<Vec<_>>(), one.turn().collect()], [[0], [0]]);
        for part in [0, 9, 63] {
            assert_eq!(cluster.of(cluster.marker(part)), part);
        }
    }
}
