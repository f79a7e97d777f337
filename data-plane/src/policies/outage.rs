//! Limits while Redis cannot be asked: each live node allows its share of them, for all its threads together.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use plan::Period;
use proto::inquiry::v1::How;

use super::{
    desk::{Held, now_us},
    limiter::{Back, Taken},
    quota::Claim,
    spending::Spent,
};
use crate::snapshot::served::Bucket;

/// Buckets kept at once; beyond it all are forgotten, which gives each of them one burst more.
const BUCKETS_MAX: usize = 100_000;

/// As long as Redis itself remembers a node that is silent.
const NODES_KEPT_US: u64 = 15_000_000;

/// One node's share of every limit.
pub(crate) struct Local {
    /// This process among the live nodes.
    node: String,
    /// How many nodes are alive, by Redis' answers; 1 until there was one.
    nodes: AtomicU32,
    /// When there were last as many.
    nodes_at: AtomicU64,
    /// Those that have a share, but for clients': a bucket that is asked for again after a while finds what it had, and
    /// what it owes.
    buckets: RwLock<HashMap<Arc<str>, Arc<Held>>>,
    /// What was let through without Redis, which it is to be told of.
    quotas: Mutex<HashMap<String, Debt>>,
}

/// A bucket as it was divided, and what its part had at a time: when either changes, what is left is divided anew.
pub(super) struct Share {
    bucket: Bucket,
    nodes: u32,
    level: Level,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    tokens: f64,
    at: u64,
}

/// Calls of one period of a quota.
struct Debt {
    claim: Claim,
    period: Period,
    calls: u64,
    /// Those that Redis is being told of; it may fail yet.
    telling: u64,
}

/// What Redis is being told of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Telling {
    pub(super) key: String,
    pub(super) claim: Claim,
    pub(super) calls: u64,
    period: Period,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            node: uuid::Uuid::new_v4().simple().to_string(),
            nodes: AtomicU32::new(1),
            nodes_at: AtomicU64::new(0),
            buckets: RwLock::default(),
            quotas: Mutex::default(),
        }
    }
}

impl Local {
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    pub(super) fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Fewer are believed after a while only: a Redis that lost its memory hears of one node after the other.
    pub(super) fn set_nodes(&self, nodes: u32) {
        self.set_nodes_at(nodes.max(1), now_us());
    }

    fn set_nodes_at(&self, nodes: u32, now: u64) {
        let since = now.saturating_sub(self.nodes_at.load(Ordering::Relaxed));
        if nodes >= self.nodes() || since > NODES_KEPT_US {
            self.nodes_at.store(now, Ordering::Relaxed);
            self.nodes.store(nodes, Ordering::Relaxed);
        }
    }

    /// Takes a token from this node's share of a bucket: rate and burst ÷ live nodes, and a burst of 1 at least. It begins
    /// with its share of what the bucket can have by now, as far as that is known.
    pub(super) fn take(&self, held: &Arc<Held>, bucket: Bucket) -> Taken {
        let (nodes, now) = (self.nodes(), now_us());
        let mut kept = held.share();
        let before = kept.take();
        let is_new = before.is_none();
        let share = match before {
            Some(share) if share.bucket == bucket && share.nodes == nodes => share,
            before => Share::new(held, bucket, nodes, before),
        };
        let share = kept.insert(share);
        let tokens = &mut share.bring_up(held.seen(), now).tokens;
        let allowed = *tokens >= 1.0;
        if allowed {
            *tokens -= 1.0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a saturating cast is meant"
        )]
        let remaining = *tokens as u64;
        let taken = Taken {
            allowed,
            remaining,
            next_ms: if allowed { Some(0) } else { share.next_ms() },
            full_ms: None,
            back: Back::Nothing,
            how: How::Local,
        };
        drop(kept);
        if is_new && !held.of_client {
            self.keep(held);
        }
        taken
    }

    /// Of so many calls that a share let through in so long, how many its bucket is to be told of: all, but where it could
    /// not be told for longer than a lease, what the share has not got back by now. As long as nobody can ask, a bucket
    /// refills beside its shares.
    pub(super) fn to_tell(held: &Held, calls: u32, in_us: u64, now: u64) -> u32 {
        let mut kept = held.share();
        let share = kept.as_mut().filter(|_| in_us > lease::TTL_US);
        let Some(share) = share else { return calls };
        let missing = share.burst() - share.bring_up(held.seen(), now).tokens;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a saturating cast is meant"
        )]
        calls.min(missing.ceil() as u32)
    }

    /// The buckets that are to be told of calls, but for clients'.
    pub(super) fn owing(&self) -> Vec<Arc<Held>> {
        let known = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|held| held.owes()).cloned().collect()
    }

    /// Takes a call from this node's share of a quota: limit ÷ live nodes in one outage, and 1 at least. Of a soft one there
    /// is always one to take.
    pub(super) fn spend(&self, key: &str, claim: &Claim) -> Spent {
        self.count(key, claim, u64::from(self.nodes()), Timestamp::now().as_second())
    }

    /// Lets a call through, and remembers that it was made.
    pub(super) fn spend_unchecked(&self, key: &str, claim: &Claim) -> Spent {
        let spent = self.count(key, &claim.unchecked(), 1, Timestamp::now().as_second());
        Spent { over: false, ..spent }
    }

    fn count(&self, key: &str, claim: &Claim, nodes: u64, second: i64) -> Spent {
        let period = claim.quota.periods.at(second);
        let limit = claim.limit_in(&period);
        let share = (limit / nodes).max(1).min(limit);
        let fresh = || Debt { claim: claim.clone(), period, calls: 0, telling: 0 };
        let mut quotas = self.quotas();
        let debt = quotas.entry(key.to_owned()).or_insert_with(fresh);
        if debt.period != period {
            *debt = fresh();
        }
        let over = debt.calls + debt.telling >= share;
        let allowed = !over || claim.quota.soft;
        debt.calls += u64::from(allowed);
        let remaining = share.saturating_sub(debt.calls + debt.telling);
        let seconds = |from: i64| u64::try_from(period.until - from).unwrap_or(0);
        let (resets_in_s, period_s) = (seconds(second), seconds(period.from));
        Spent {
            allowed,
            over,
            remaining,
            limit,
            resets_in_s,
            period_s,
            held: 0,
            how: How::Fallback,
            counted: None,
        }
    }

    /// What Redis is to be told of about these quotas. [`Local::told`] must follow for each.
    pub(super) fn debts(&self, which: impl Fn(&str) -> bool) -> Vec<Telling> {
        let second = Timestamp::now().as_second();
        let mut quotas = self.quotas();
        quotas.retain(|_, debt| debt.period.until > second);
        let owing = quotas.iter_mut().filter(|(key, _)| which(key));
        owing.filter_map(|(key, debt)| debt.tell(key)).collect()
    }

    /// The same of one of them, which is about to be asked.
    pub(super) fn debt(&self, key: &str, claim: &Claim) -> Option<Telling> {
        self.debt_at(key, claim, Timestamp::now().as_second())
    }

    fn debt_at(&self, key: &str, claim: &Claim, second: i64) -> Option<Telling> {
        let mut quotas = self.quotas();
        let debt = quotas.get_mut(key)?;
        if debt.period.until <= second || debt.claim.quota.periods != claim.quota.periods {
            quotas.remove(key); // nobody counts that period any more
            return None;
        }
        debt.tell(key)
    }

    /// Whether Redis took what it was told of; if not, it is told again.
    pub(super) fn told(&self, telling: &Telling, taken: bool) {
        let mut quotas = self.quotas();
        let debt = quotas.get_mut(&telling.key).filter(|debt| debt.period == telling.period);
        let Some(debt) = debt else { return };
        debt.telling = debt.telling.saturating_sub(telling.calls);
        if !taken {
            debt.calls += telling.calls;
        }
        if debt.calls + debt.telling == 0 {
            quotas.remove(&telling.key);
        }
    }

    fn keep(&self, held: &Arc<Held>) {
        let mut known = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= BUCKETS_MAX {
            known.clear();
        }
        known.insert(held.redis_key.clone(), held.clone());
    }

    fn quotas(&self) -> MutexGuard<'_, HashMap<String, Debt>> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debt {
    fn tell(&mut self, key: &str) -> Option<Telling> {
        let calls = std::mem::take(&mut self.calls);
        self.telling += calls;
        let (claim, period) = (self.claim.clone(), self.period);
        (calls > 0).then(|| Telling { key: key.to_owned(), claim, calls, period })
    }
}

impl Held {
    fn share(&self) -> MutexGuard<'_, Option<Share>> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a token back that its call did not use after all.
    pub(super) fn give_back_to_share(&self) {
        if let Some(share) = self.share().as_mut() {
            share.level.tokens = (share.level.tokens + 1.0).min(share.burst());
        }
    }

    /// Whole tokens of this node's share, where it has one.
    pub(super) fn left_of_share(&self) -> Option<u64> {
        let mut share = self.share();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a saturating cast is meant"
        )]
        share.as_mut().map(|share| share.bring_up(self.seen(), now_us()).tokens as u64)
    }

    /// As it was divided when there was last a share of it.
    pub(super) fn divided(&self) -> Option<Bucket> {
        self.share().as_ref().map(|share| share.bucket)
    }
}

impl Share {
    /// `before`: what it takes the place of, if anything.
    fn new(held: &Held, bucket: Bucket, nodes: u32, before: Option<Self>) -> Self {
        let now = now_us();
        // From when it is made, or the first look would give it what it has already.
        let mut share = Self { bucket, nodes, level: Level { tokens: 0.0, at: now } };
        let burst = share.burst();
        share.level = match (before, held.seen()) {
            (Some(mut before), seen) => {
                let burst_before = before.burst();
                let Level { tokens, at } = *before.bring_up(seen, now);
                // As full as it was, but no more than there was: what other nodes took of theirs is not known here.
                Level { tokens: tokens * (burst / burst_before).min(1.0), at }
            }
            (None, Some(seen)) => share.known(seen),
            (None, None) => Level { tokens: burst, at: now },
        };
        share
    }

    fn burst(&self) -> f64 {
        f64::from((self.bucket.burst / self.nodes).max(1))
    }

    fn rate(&self) -> f64 {
        self.bucket.rate / f64::from(self.nodes)
    }

    /// What this share has at a time. `seen`: what the bucket had left when it last answered, and when that was.
    fn bring_up(&mut self, seen: Option<(u32, u64)>, now: u64) -> &mut Level {
        if let Some(seen) = seen
            && seen.1 > self.level.at
        {
            self.level = self.known(seen); // by now this is news
        }
        let (rate, burst) = (self.rate(), self.burst());
        let level = &mut self.level;
        #[expect(clippy::cast_precision_loss, reason = "µs")]
        let passed = now.saturating_sub(level.at) as f64 / 1e6;
        level.tokens = (level.tokens + passed * rate).min(burst);
        level.at = level.at.max(now);
        level
    }

    /// Its part of what the bucket said to have left.
    fn known(&self, (left, at): (u32, u64)) -> Level {
        Level { tokens: (f64::from(left) / f64::from(self.nodes)).min(self.burst()), at }
    }

    /// Until there is a token; `None`: never.
    fn next_ms(&self) -> Option<u64> {
        let ms = (1.0 - self.level.tokens) * 1000.0 / self.rate();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be finite and positive"
        )]
        (ms.is_finite() && ms < 4e12).then(|| (ms.ceil() as u64).max(1))
    }
}

#[cfg(test)]
mod tests {
    use plan::Unit;

    use super::*;
    use crate::policies::{
        desk::{Counted, Desk},
        found::{Kind, Name},
    };

    const BUCKET: Bucket = Bucket { rate: 0.001, burst: 10 };

    fn held(key: &str) -> Arc<Held> {
        Arc::new(Held::new(key.into(), false))
    }

    fn admitted(local: &Local, key: &str, bucket: Bucket) -> usize {
        let held = held(key);
        (0..50).filter(|_| local.take(&held, bucket).allowed).count()
    }

    #[test]
    fn a_node_allows_its_share_of_a_bucket_and_one_token_at_least() {
        let local = Local::default();
        assert_eq!(admitted(&local, "alone", BUCKET), 10);
        local.set_nodes(4);
        assert_eq!(admitted(&local, "of four", BUCKET), 2);
        local.set_nodes(20);
        assert_eq!(admitted(&local, "of twenty", BUCKET), 1);
        let held = held("of twenty, too");
        assert!(local.take(&held, BUCKET).allowed);
        let refused = local.take(&held, BUCKET);
        assert!(refused.next_ms.is_some_and(|ms| ms > 19_000_000), "{refused:?}");
    }

    #[test]
    fn a_share_begins_with_its_part_of_what_the_bucket_had_and_again_after_each_answer() {
        let local = Local::default();
        local.set_nodes(4);
        let (held, bucket) = (held("known"), Bucket { rate: 0.001, burst: 40 });
        let admitted = || (0..50).filter(|_| local.take(&held, bucket).allowed).count();
        let saw = |left| {
            let before = now_us();
            while now_us() == before {} // an answer of the same µs is no news
            held.saw(left);
        };
        saw(9);
        assert_eq!(admitted(), 2);
        saw(0);
        assert_eq!(admitted(), 0, "others may have taken what there was");
        saw(40);
        assert_eq!(admitted(), 10);
    }

    #[test]
    fn a_bucket_that_was_forgotten_meanwhile_has_what_its_share_had_left_and_owes_what_it_owed() {
        let (local, desk) = (Local::default(), Desk::new(Arc::default()));
        let name = Name { kind: Kind::Key, parts: ["plan", "key", "", "", ""] };
        let admitted = || {
            let found = desk.find(&name);
            (0..50).filter(|_| local.take(&found.held, BUCKET).allowed).count()
        };
        assert_eq!(admitted(), 10);
        desk.find(&name).held.owe(1);
        for hour in 1..4 {
            desk.turn(now_us() + hour * 3_600_000_000);
        }
        assert_eq!(admitted(), 0);
        let owing = local.owing();
        assert!(Arc::ptr_eq(&owing[0], &desk.find(&name).held) && owing.len() == 1);
        assert_eq!(owing[0].take_owed(2).0, 1);
        assert!(local.owing().is_empty());
    }

    #[test]
    fn a_share_that_is_divided_anew_has_no_more_than_was_left_of_it() {
        let (local, bucket) = (Local::default(), Bucket { rate: 0.001, burst: 40 });
        let (empty, half) = (held("empty"), held("half"));
        let admitted =
            |held, calls| (0..calls).filter(|_| local.take(held, bucket).allowed).count();
        local.nodes.store(2, Ordering::Relaxed);
        assert_eq!((admitted(&empty, 50), admitted(&half, 10)), (20, 10));
        local.nodes.store(1, Ordering::Relaxed);
        assert_eq!(admitted(&empty, 50), 0, "others may have taken what was theirs");
        local.nodes.store(4, Ordering::Relaxed);
        assert_eq!((admitted(&empty, 50), admitted(&half, 50)), (0, 5));
        let wider = Bucket { burst: 80, ..bucket };
        assert!(!local.take(&half, wider).allowed, "as in Redis: room, but no tokens");
    }

    #[test]
    fn a_bucket_is_told_of_each_call_and_after_a_while_of_what_its_share_lacks() {
        let local = Local::default();
        let (busy, calm) = (held("busy"), held("calm"));
        for (held, rate) in [(&busy, 0.001), (&calm, 1e9)] {
            assert!((0..3).all(|_| local.take(held, Bucket { rate, burst: 10 }).allowed));
        }
        // A share has got nothing back within the microsecond of its last call.
        let later = now_us() + 1;
        let told = |held: &Held, in_us| Local::to_tell(held, 70, in_us, later);
        assert_eq!((told(&busy, 1), told(&calm, 1)), (70, 70));
        let a_while = lease::TTL_US + 1;
        assert_eq!((told(&busy, a_while), told(&calm, a_while)), (3, 0));
        assert_eq!(told(&held("never taken from"), a_while), 70);
    }

    #[test]
    fn a_bucket_without_a_rate_gives_its_burst_and_no_more() {
        let local = Local::default();
        for rate in [0.0, f64::MIN_POSITIVE] {
            assert_eq!(admitted(&local, &rate.to_string(), Bucket { rate, burst: 3 }), 3);
        }
        assert_eq!(admitted(&local, "fast", Bucket { rate: 1e12, burst: 100 }), 50);
        let never = held("never");
        local.take(&never, Bucket { rate: 0.0, burst: 1 });
        assert_eq!(local.take(&never, Bucket { rate: 0.0, burst: 1 }).next_ms, None);
    }

    #[test]
    fn a_node_allows_its_share_of_a_quota_and_owes_what_it_let_through() {
        let local = Local::default();
        local.set_nodes(3);
        let claim = Claim::calendar(10, Unit::Month);
        let allowed = (0..20).filter(|_| local.spend("key", &claim).allowed).count();
        assert_eq!(allowed, 3);
        assert_eq!(local.debts(|key| key != "key"), []);
        let debts = local.debts(|_| true);
        let [telling] = &debts[..] else { panic!("one debt: {debts:?}") };
        assert_eq!((&*telling.key, &telling.claim, telling.calls), ("key", &claim, 3));
        assert!(local.debts(|_| true).is_empty(), "handed over once");
        assert!(!local.spend("key", &claim).allowed, "the share is used while Redis is told");
        local.told(telling, false);
        let again = local.debt("key", &claim).expect("it is owed again");
        assert_eq!(again.calls, 3);
        local.told(&again, true);
        assert_eq!(local.debt("key", &claim), None);
        assert!(local.spend("key", &claim).allowed, "another outage");
    }

    #[test]
    fn what_a_quota_owes_is_over_with_its_period() {
        let local = Local::default();
        let claim = Claim::calendar(2, Unit::Day);
        let at = |time: &str| time.parse::<Timestamp>().unwrap().as_second();
        let (evening, morning) = (at("2028-02-29T23:59:00Z"), at("2028-03-01T00:01:00Z"));
        let allowed = |now| (0..5).filter(|_| local.count("key", &claim, 1, now).allowed).count();
        assert_eq!((allowed(evening), allowed(evening)), (2, 0));
        let late = local.debt_at("key", &claim, evening).expect("a debt");
        assert_eq!(allowed(morning), 2, "of the new day");
        local.told(&late, false);
        assert_eq!(allowed(morning), 0);
        let of_month = Claim::calendar(2, Unit::Month);
        let debt = local.debt_at("key", &claim, morning).expect("a debt");
        assert_eq!(debt.calls, 2, "none of the day before");
        local.told(&debt, false);
        assert_eq!(local.debt_at("key", &of_month, morning), None);
        assert_eq!(allowed(evening), 2);
        assert_eq!(local.debt_at("key", &claim, morning), None, "that day is over");
    }

    #[test]
    fn a_soft_quota_lets_every_call_through_and_owes_them_all() {
        let local = Local::default();
        let mut claim = Claim::calendar(3, Unit::Day);
        claim.quota.soft = true;
        let over: Vec<_> = (0..5).map(|_| local.spend("key", &claim).over).collect();
        assert_eq!(over, [false, false, false, true, true]);
        assert_eq!(local.debt("key", &claim).expect("a debt").calls, 5);
    }

    #[test]
    fn what_a_key_had_used_before_is_missing_from_its_first_period_only() {
        let local = Local::default();
        let mut claim = Claim::calendar(5, Unit::Day);
        claim.quota.initial_used = 3;
        claim.joined_s = Some(86_400 + 5000);
        let allowed = |second| {
            let local = Local::default();
            (0..9).filter(|_| local.count("key", &claim, 1, second).allowed).count()
        };
        assert_eq!([86_399, 86_400, 172_799, 172_800].map(allowed), [5, 2, 2, 5]);
        claim.quota.initial_used = 9;
        assert!(!local.count("key", &claim, 1, 86_400).allowed, "nothing is left of it");
        claim.joined_s = None;
        assert!(local.count("key", &claim, 1, 86_400).allowed);
    }

    #[test]
    fn fewer_nodes_are_believed_when_redis_has_said_so_for_a_while() {
        let (local, start) = (Local::default(), now_us());
        for (after, said, believed) in
            [(0, 4, 4), (1, 1, 4), (1_000_000, 3, 4), (2_000_000, 4, 4), (16_000_000, 3, 4)]
        {
            local.set_nodes_at(said, start + after);
            assert_eq!(local.nodes(), believed, "after {after} µs");
        }
        local.set_nodes_at(3, start + 18_000_000);
        assert_eq!(local.nodes(), 3);
    }
}
