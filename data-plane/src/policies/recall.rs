//! What a thread remembers of quotas' counts, for a Redis that forgets them: after a restart without a file, after
//! `FLUSHALL`, after a failover to a replica that had not heard of the last second.
//!
//! **A count is never below what is known to have been used.** Redis counts a key's period in a *line*: the moment in which
//! it began to count (`born`), the calls `used`, those that were put `back`, and the part of `used` that was told to it by
//! others (`base`). What stood in a line only grows: `used + back`, the calls ever *taken*, is never less than a node was
//! answered once. So each question carries what the thread was last answered of that line, and the script compares:
//!
//! - *The line is the one that is remembered.* If less was taken from it than that, its last writes were lost: `used` is at
//!   least what is remembered. A call that was put back lowers `used` and not what was taken, and is no loss.
//! - *The line is younger.* Redis forgot everything and counts anew. What was used before it is not in it: `base` is at
//!   least what is remembered, and `used` grows by as much. Nodes come one after the other, so the greatest of what they
//!   remember counts in the end, and each call since the loss counts beside it.
//! - *The line is older.* A Redis came back with an old file: `used` is at least what is remembered.
//!
//! Nobody is charged for a call that was not made, but for one that was put back and nobody had asked since: what is remembered
//! was counted by Redis in this period, in a line that had ended before the younger one began. While no node ends, the last that called before a loss remembers all of it; as
//! soon as that has called once, or has noticed the loss (below), the count is exact again.
//!
//! **What no node remembers** is in the ledger. A line that was born where Redis knew nothing of the key is not *whole*: its
//! key may be new, or Redis was emptied. A marker in Redis says since when that remembers (`store/parts.rs`). Where this is
//! before the period, nothing is missing. Else the control plane is asked for what the ledger and the nodes' last reports
//! have of the period (`seed.rs`), beside the calls, and `used` is at least that. What is asked at once lacks the calls of the
//! last seconds and of nodes that start again, so it is asked twice more within half a minute. The greater of the two counts,
//! never their sum: the ledger has calls of the young line too.
//!
//! Hence over all nodes, in a period in which Redis loses its memory once, **admitted ≤ limit + what is let through from the
//! loss until the count is restored + what neither a live node nor the ledger heard of**. The first is a round trip to the
//! control plane where that is there, the second is nothing once killed nodes have started again and shipped their journals. With
//! the control plane away, what live nodes remember holds, and the rest is restored when it is back. Who would rather refuse
//! than exceed sets the outage to `fail_closed`: then a line that is not whole refuses for ten seconds at most.
//!
//! What is remembered is bounded: some thousand keys on each thread, for minutes after their last call. The ledger has what
//! was called before.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use super::quota::Claim;
use crate::reconciliation::Counted;

/// What nobody called in this time, or twice it, is forgotten.
const FORGET_AFTER_US: u64 = 600_000_000;
/// Keys on plans of one turn; with more of them it ends early.
const KEPT_MAX: usize = 20_000;
/// How long the ledger is not asked again about a key.
const LOOK_AGAIN_US: u64 = 10_000_000;

/// What was answered of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) period: Rc<str>,
    /// µs by the clock of Redis; 0: by a release that did not say.
    pub(crate) born_us: u64,
    pub(crate) used: u64,
    /// Used, or put back since.
    pub(crate) taken: u64,
    /// Of `used`, what was counted before the line began, as far as it was told.
    pub(crate) base: u64,
}

/// A line as Redis has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) known: Known,
    pub(crate) from_s: i64,
    pub(crate) until_s: i64,
    pub(crate) at_s: i64,
    /// Nothing from before it can be missing.
    pub(crate) whole: bool,
    /// It is not, and so nothing was taken from it.
    pub(crate) shut: bool,
    /// Calls that this question restored, by what the node remembers and by the ledger.
    pub(crate) restored: Restored,
    /// Calls that this question took beside its own, and those of `used` of which no node has said what became of them.
    pub(crate) ahead: u64,
    pub(crate) held: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) by_node: u64,
    pub(crate) by_ledger: u64,
}

/// One thread's. What was asked for since the last turn, and in the turn before it.
#[derive(Default)]
pub(super) struct Recall {
    young: RefCell<Kept>,
    old: RefCell<Kept>,
    turned_at: Cell<u64>,
}

/// By their names in Redis.
type Kept = HashMap<Rc<str>, Entry>;

struct Entry {
    claim: Claim,
    known: Known,
    looked_at: Option<u64>,
}

impl Line {
    /// As it is reported.
    pub(crate) fn counted(&self) -> Counted {
        let (from_s, until_s, at_s) = (self.from_s, self.until_s, self.at_s);
        let held = self.held.min(self.known.used);
        Counted { used: self.known.used - held, held, from_s, until_s, at_s }
    }
}

impl Recall {
    pub(super) fn known(&self, key: &str) -> Option<Known> {
        let known = |kept: &RefCell<Kept>| kept.borrow().get(key).map(|entry| entry.known.clone());
        known(&self.young).or_else(|| known(&self.old))
    }

    /// Redis answered; of two answers the later is kept, in whatever order they come.
    pub(super) fn saw(&self, key: &str, claim: &Claim, line: &Line) {
        let mut young = self.young.borrow_mut();
        let known = &line.known;
        if let Some((name, entry)) = self.old.borrow_mut().remove_entry(key) {
            young.entry(name).or_insert(entry);
        }
        let before = young.get_mut(key);
        match before {
            Some(entry) if entry.known.period == known.period => {
                if (entry.known.born_us, entry.known.taken) < (known.born_us, known.taken) {
                    entry.known = known.clone();
                }
            }
            Some(entry) => {
                *entry = Entry { claim: claim.clone(), known: known.clone(), looked_at: None };
            }
            None => {
                if young.len() >= KEPT_MAX {
                    self.old.replace(std::mem::take(&mut young));
                }
                let (claim, known) = (claim.clone(), known.clone());
                young.insert(key.into(), Entry { claim, known, looked_at: None });
            }
        }
    }

    /// Whether to look now what is missing from a line; not again for a while then.
    pub(super) fn may_look(&self, key: &str, now: u64) -> bool {
        let mut young = self.young.borrow_mut();
        let Some(entry) = young.get_mut(key) else { return true };
        let may = entry.looked_at.is_none_or(|at| now.saturating_sub(at) >= LOOK_AGAIN_US);
        if may {
            entry.looked_at = Some(now);
        }
        may
    }

    pub(super) fn is_empty(&self) -> bool {
        self.young.borrow().is_empty() && self.old.borrow().is_empty()
    }

    /// Everything that is remembered of these.
    pub(super) fn all(&self, which: impl Fn(&str) -> bool) -> Vec<(Rc<str>, Claim, Known)> {
        let (young, old) = (self.young.borrow(), self.old.borrow());
        let those = young.iter().chain(old.iter()).filter(|(key, _)| which(key));
        those.map(|(key, entry)| (key.clone(), entry.claim.clone(), entry.known.clone())).collect()
    }

    /// Forgets what nobody called in the turn before.
    pub(super) fn turn(&self, now: u64) {
        if now.saturating_sub(self.turned_at.get()) >= FORGET_AFTER_US {
            self.turned_at.set(now);
            self.old.replace(self.young.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use plan::Unit;

    use super::*;

    fn line(period: &str, born_us: u64, used: u64, taken: u64) -> Line {
        let known = Known { period: period.into(), born_us, used, taken, base: 0 };
        let restored = Restored::default();
        Line {
            known,
            from_s: 0,
            until_s: 86_400,
            at_s: 1,
            whole: false,
            shut: false,
            restored,
            ahead: 0,
            held: 0,
        }
    }

    #[test]
    fn the_later_of_two_answers_is_remembered_in_whatever_order_they_come() {
        let (recall, claim) = (Recall::default(), Claim::calendar(9, Unit::Day));
        let saw = |line: &Line| {
            recall.saw("key", &claim, line);
            let known = recall.known("key").unwrap();
            (&*known.period == "day2", known.born_us, known.used, known.taken)
        };
        assert_eq!(recall.known("key"), None);
        assert_eq!(saw(&line("day1", 5, 7, 7)), (false, 5, 7, 7));
        assert_eq!(saw(&line("day1", 5, 6, 6)), (false, 5, 7, 7), "it was asked before");
        assert_eq!(saw(&line("day1", 5, 6, 8)), (false, 5, 6, 8), "two were put back");
        assert_eq!(saw(&line("day1", 9, 1, 1)), (false, 9, 1, 1), "counted anew");
        assert_eq!(saw(&line("day1", 5, 8, 9)), (false, 9, 1, 1));
        assert_eq!(saw(&line("day2", 3, 1, 1)), (true, 3, 1, 1));
    }

    #[test]
    fn what_nobody_calls_is_forgotten_and_what_is_kept_is_bounded() {
        let (recall, claim) = (Recall::default(), Claim::calendar(9, Unit::Day));
        let (seen, turn) = (line("day1", 1, 1, 1), FORGET_AFTER_US);
        recall.saw("idle", &claim, &seen);
        recall.saw("busy", &claim, &seen);
        recall.turn(turn);
        recall.turn(turn + 1);
        recall.saw("busy", &claim, &seen);
        assert_eq!(recall.all(|_| true).len(), 2);
        recall.turn(2 * turn);
        assert!(recall.known("idle").is_none() && recall.known("busy").is_some());
        for key in 0..3 * KEPT_MAX {
            recall.saw(&key.to_string(), &claim, &seen);
        }
        assert!(recall.all(|_| true).len() <= 2 * KEPT_MAX);
        assert!(recall.known(&(3 * KEPT_MAX - 1).to_string()).is_some(), "the latest");
        assert_eq!(recall.all(|key| key == "59999").len(), 1);
    }

    #[test]
    fn the_ledger_is_asked_about_a_key_once_in_a_while() {
        let (recall, claim) = (Recall::default(), Claim::calendar(9, Unit::Day));
        recall.saw("key", &claim, &line("day1", 1, 1, 1));
        let may = |now| recall.may_look("key", now);
        assert_eq!([1, 2, LOOK_AGAIN_US, LOOK_AGAIN_US + 1].map(may), [true, false, false, true]);
        recall.saw("key", &claim, &line("day2", 2, 1, 1));
        assert!(may(LOOK_AGAIN_US + 2), "another period");
    }
}
