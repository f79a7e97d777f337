//! How quotas stood when Redis was last asked, for whoever asks this node. No call reads it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::quota_counts::{Counted, Name};

/// Keys on plans of one turn; with more of them it ends early.
const KEPT_MAX: usize = 20_000;
/// What nobody called in this time, or twice it, is forgotten as others call.
const FORGET_AFTER_MS: u64 = 600_000;

/// What a key had of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) counted: Counted,
    pub(crate) limit: u64,
}

/// What was used since the last turn, and in the turn before it.
#[derive(Default)]
pub(crate) struct QuotaStandings(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    young: HashMap<Name, Standing>,
    old: HashMap<Name, Standing>,
    turned_ms: u64,
}

impl Standing {
    /// The one that Redis said last.
    pub(crate) fn later(self, other: Self) -> Self {
        if other.counted.is_later_than(&self.counted) { other } else { self }
    }
}

impl QuotaStandings {
    /// Adds what a data thread noted.
    pub(super) fn add(&self, noted: impl IntoIterator<Item = (Name, Standing)>, now_ms: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms.saturating_sub(kept.turned_ms) >= FORGET_AFTER_MS {
            kept.turn(now_ms);
        }
        for (name, standing) in noted {
            if kept.young.len() >= KEPT_MAX && !kept.young.contains_key(&name) {
                kept.turn(now_ms);
            }
            let before = kept.young.remove(&name).or_else(|| kept.old.remove(&name));
            let latest = before.map_or(standing, |before| before.later(standing));
            kept.young.insert(name, latest);
        }
    }

    pub(crate) fn find(&self, name: &Name) -> Option<Standing> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.young.get(name).or_else(|| kept.old.get(name)).copied()
    }
}

impl Kept {
    fn turn(&mut self, now_ms: u64) {
        self.turned_ms = now_ms;
        self.old = std::mem::take(&mut self.young);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> Name {
        Name { api_key: key.into(), ..Name::default() }
    }

    fn standing(at_s: i64, used: u64) -> Standing {
        Standing { counted: Counted { used, held: 0, from_s: 0, until_s: 100, at_s }, limit: 9 }
    }

    #[test]
    fn the_latest_stands_in_whatever_order_threads_tell() {
        let standings = QuotaStandings::default();
        standings.add([(name("a"), standing(10, 7))], 1);
        standings.add([(name("a"), standing(9, 8)), (name("b"), standing(1, 1))], 2);
        assert_eq!(standings.find(&name("a")), Some(standing(10, 7)));
        standings.add([(name("a"), standing(10, 8))], FORGET_AFTER_MS);
        assert_eq!(standings.find(&name("a")), Some(standing(10, 8)));
        assert_eq!(standings.find(&name("c")), None);
    }

    #[test]
    fn what_nobody_calls_is_forgotten_and_what_is_kept_is_bounded() {
        let standings = QuotaStandings::default();
        standings.add([(name("idle"), standing(1, 1)), (name("busy"), standing(1, 1))], 1);
        for turn in 1..3 {
            standings.add([(name("busy"), standing(2, 2))], turn * FORGET_AFTER_MS);
        }
        assert_eq!(standings.find(&name("idle")), None);
        assert_eq!(standings.find(&name("busy")), Some(standing(2, 2)));
        for key in 0..3 * KEPT_MAX {
            standings.add([(name(&key.to_string()), standing(3, 3))], 3 * FORGET_AFTER_MS);
        }
        let kept = standings.0.lock().unwrap();
        assert!(kept.young.len() <= KEPT_MAX && kept.old.len() <= KEPT_MAX);
        assert!(kept.young.contains_key(&name(&(3 * KEPT_MAX - 1).to_string())), "the latest");
    }
}
