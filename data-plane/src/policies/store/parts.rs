//! Which part of Redis is away. Keys that cannot be asked for cost no others their exactness: it is known for each part of
//! a cluster's slots by itself.

use std::cell::{Cell, RefCell};

use proto::redis_keys;

/// So many answers in a row that did not come in time, and no call waits any more.
const FAILURES_MAX: u32 = 3;
/// Of a cluster's slots; a primary has several of them, and seldom shares one.
const OF_CLUSTER: usize = 64;

/// Of one server, or of a cluster.
pub(in crate::policies) struct Parts {
    parts: Box<[Part]>,
    /// Which part is asked next whether it is back.
    turn: Cell<usize>,
}

/// What is away together, more or less.
#[derive(Default)]
struct Part {
    /// Answers in a row that did not come in time.
    failures: Cell<u32>,
    /// The key that calls are spared the wait for.
    away: RefCell<Option<String>>,
}

impl Parts {
    pub(super) fn of_one() -> Self {
        Self::new(1)
    }

    pub(super) fn of_cluster() -> Self {
        Self::new(OF_CLUSTER)
    }

    fn new(count: usize) -> Self {
        Self { parts: (0..count).map(|_| Part::default()).collect(), turn: Cell::new(0) }
    }

    fn part(&self, key: &str) -> &Part {
        &self.parts[self.of(key)]
    }

    /// Keys of the same part are away together.
    pub(in crate::policies) fn of(&self, key: &str) -> usize {
        match self.parts.len() {
            1 => 0,
            // Neighbours mostly lie on one primary.
            parts => usize::from(redis_keys::slot(key)) * parts / usize::from(redis_keys::SLOTS),
        }
    }

    pub(in crate::policies) fn is_away(&self, key: &str) -> bool {
        self.part(key).away.borrow().is_some()
    }

    pub(in crate::policies) fn answered(&self, key: &str) {
        self.part(key).failures.set(0);
    }

    /// An answer did not come in time. Gives whether this is the first part that calls do not wait for any more.
    pub(in crate::policies) fn failed(&self, key: &str) -> bool {
        let part = self.part(key);
        part.failures.set(part.failures.get() + 1);
        if part.failures.get() < FAILURES_MAX || part.away.borrow().is_some() {
            return false;
        }
        let first = self.parts.iter().all(|part| part.away.borrow().is_none());
        part.away.replace(Some(key.to_owned()));
        first
    }

    /// A key of the next part that is away.
    pub(in crate::policies) fn next_away(&self) -> Option<String> {
        let parts = (0..self.parts.len()).map(|step| (self.turn.get() + step) % self.parts.len());
        let (part, key) = parts
            .into_iter()
            .find_map(|part| Some((part, self.parts[part].away.borrow().clone()?)))?;
        self.turn.set(part + 1);
        Some(key)
    }

    pub(in crate::policies) fn back(&self, key: &str) {
        let part = self.part(key);
        part.failures.set(0);
        part.away.replace(None);
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
        assert!(!parts.failed(&away) && !parts.failed(&away));
        assert!(parts.failed(&same[0]), "the third in a row, and the first part");
        assert!(same.iter().all(|key| parts.is_away(key)));
        assert!(!other.iter().any(|key| parts.is_away(key)));
        for _ in 0..3 {
            assert!(!parts.failed(&other[0]), "another part, not the first");
        }
        // In turn, so that one that stays away keeps none from being asked.
        let asked = [parts.next_away().unwrap(), parts.next_away().unwrap()];
        assert!(asked.contains(&same[0]) && asked.contains(&other[0]), "{asked:?}");
        parts.back(&away);
        parts.back(&other[0]);
        assert_eq!(parts.next_away(), None);
    }
}
