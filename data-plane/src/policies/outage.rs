//! Limits while Redis cannot be asked: each live node allows its share of them, for all its threads together.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, RateLimiter,
    clock::{Clock, DefaultClock},
};
use jiff::{ToSpan, Zoned, tz::TimeZone};

use super::limiter::{Spent, Taken};
use crate::snapshot::served::{Bucket, Period, Quota};

/// Buckets kept at once; beyond it all are forgotten, which gives each of them one burst more.
const BUCKETS_MAX: usize = 100_000;

/// One node's share of every limit.
pub(crate) struct Local {
    /// This process among the live nodes.
    node: String,
    /// How many nodes were alive when Redis last answered; 1 until it did.
    nodes: AtomicU32,
    buckets: RwLock<HashMap<String, Arc<Share>>>,
    /// What was let through without Redis, which it is to be told of.
    quotas: Mutex<HashMap<String, Debt>>,
}

/// A bucket as it was divided: when either changes it is made anew.
struct Share {
    bucket: Bucket,
    nodes: u32,
    limiter: DefaultDirectRateLimiter,
}

#[derive(Clone, Copy)]
struct Debt {
    quota: Quota,
    calls: u64,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            node: uuid::Uuid::new_v4().simple().to_string(),
            nodes: AtomicU32::new(1),
            buckets: RwLock::default(),
            quotas: Mutex::default(),
        }
    }
}

impl Local {
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    pub(super) fn set_nodes(&self, nodes: u32) {
        self.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    /// Takes a token from this node's share of a bucket: rate and burst ÷ live nodes, and a burst of 1 at least.
    pub(super) fn take(&self, key: &str, bucket: Bucket) -> Taken {
        let share = self.share(key, bucket);
        let taken = |allowed, next_ms| Taken {
            allowed,
            remaining: 0,
            next_ms: Some(next_ms),
            full_ms: None,
            shared: false,
        };
        match share.limiter.check() {
            Ok(()) => taken(true, 0),
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                taken(false, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1))
            }
        }
    }

    /// Takes a call from this node's share of a quota: limit ÷ live nodes in one outage, and 1 at least.
    pub(super) fn spend(&self, key: &str, quota: Quota) -> Spent {
        let share = (quota.limit / u64::from(self.nodes.load(Ordering::Relaxed))).max(1);
        self.count(key, quota, share.min(quota.limit))
    }

    /// Lets a call through, and remembers that it was made.
    pub(super) fn spend_unchecked(&self, key: &str, quota: Quota) -> Spent {
        self.count(key, quota, u64::MAX)
    }

    fn count(&self, key: &str, quota: Quota, share: u64) -> Spent {
        let (resets_in_s, period_s) = rest(quota.period, &Zoned::now());
        let mut quotas = self.quotas();
        let debt = quotas.entry(key.to_owned()).or_insert(Debt { quota, calls: 0 });
        let allowed = debt.calls < share;
        debt.calls += u64::from(allowed);
        let remaining = share.min(quota.limit).saturating_sub(debt.calls);
        Spent { allowed, remaining, resets_in_s, period_s }
    }

    /// Hands over what Redis is to be told of.
    pub(super) fn debts(&self) -> Vec<(String, Quota, u64)> {
        let debts = std::mem::take(&mut *self.quotas());
        debts.into_iter().map(|(key, debt)| (key, debt.quota, debt.calls)).collect()
    }

    /// Takes one back that Redis could not be told of.
    pub(super) fn owe(&self, key: String, quota: Quota, calls: u64) {
        self.quotas().entry(key).or_insert(Debt { quota, calls: 0 }).calls += calls;
    }

    fn share(&self, key: &str, bucket: Bucket) -> Arc<Share> {
        let nodes = self.nodes.load(Ordering::Relaxed);
        let fits = |share: &&Arc<Share>| share.bucket == bucket && share.nodes == nodes;
        let known = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = known.get(key).filter(fits) {
            return share.clone();
        }
        drop(known);
        let share = Arc::new(Share { bucket, nodes, limiter: divided(bucket, nodes) });
        let mut known = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been here meanwhile.
        if let Some(share) = known.get(key).filter(fits) {
            return share.clone();
        }
        if known.len() >= BUCKETS_MAX {
            known.clear();
        }
        known.insert(key.to_owned(), share.clone());
        share
    }

    fn quotas(&self) -> MutexGuard<'_, HashMap<String, Debt>> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn divided(bucket: Bucket, nodes: u32) -> DefaultDirectRateLimiter {
    let burst = NonZeroU32::new(bucket.burst / nodes).unwrap_or(NonZeroU32::MIN);
    let period = Duration::try_from_secs_f64(f64::from(nodes) / bucket.rate).ok();
    // A rate of nothing is a token in a century, one beyond a token a nanosecond is that.
    let period = period.unwrap_or(CENTURY).clamp(Duration::from_nanos(1), CENTURY);
    let quota = governor::Quota::with_period(period).unwrap_or(governor::Quota::per_second(burst));
    RateLimiter::direct(quota.allow_burst(burst))
}

const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);

/// Seconds to the end of the calendar period in UTC, and its length.
fn rest(period: Period, now: &Zoned) -> (u64, u64) {
    let now = now.with_time_zone(TimeZone::UTC);
    let today = now.date();
    let (first, last) = match period {
        Period::Day => (today, today.checked_add(1.day())),
        Period::Week => {
            let monday =
                today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days());
            let monday = monday.unwrap_or(today);
            (monday, monday.checked_add(7.days()))
        }
        Period::Month => (today.first_of_month(), today.first_of_month().checked_add(1.month())),
    };
    // No date after this one: the calendar ends in the year 9999.
    let last = last.unwrap_or(first);
    let seconds = |date: jiff::civil::Date| {
        date.to_zoned(TimeZone::UTC).map_or(0, |start| start.timestamp().as_second())
    };
    let until = |from: i64| u64::try_from(seconds(last) - from).unwrap_or(0);
    (until(now.timestamp().as_second()), until(seconds(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: Bucket = Bucket { rate: 0.001, burst: 10 };

    fn admitted(local: &Local, key: &str, bucket: Bucket) -> usize {
        (0..50).filter(|_| local.take(key, bucket).allowed).count()
    }

    #[test]
    fn a_node_allows_its_share_of_a_bucket_and_one_token_at_least() {
        let local = Local::default();
        assert_eq!(admitted(&local, "alone", BUCKET), 10);
        local.set_nodes(4);
        assert_eq!(admitted(&local, "of four", BUCKET), 2);
        local.set_nodes(20);
        assert_eq!(admitted(&local, "of twenty", BUCKET), 1);
        let refused = local.take("of twenty", BUCKET);
        assert!(refused.next_ms.is_some_and(|ms| ms > 19_000_000), "{refused:?}");
    }

    #[test]
    fn a_bucket_without_a_rate_gives_its_burst_and_no_more() {
        let local = Local::default();
        for rate in [0.0, f64::MIN_POSITIVE] {
            assert_eq!(admitted(&local, &rate.to_string(), Bucket { rate, burst: 3 }), 3);
        }
        assert_eq!(admitted(&local, "fast", Bucket { rate: 1e12, burst: 100 }), 50);
    }

    #[test]
    fn a_node_allows_its_share_of_a_quota_and_owes_what_it_let_through() {
        let local = Local::default();
        local.set_nodes(3);
        let quota = Quota { limit: 10, period: Period::Month };
        let allowed = (0..20).filter(|_| local.spend("key", quota).allowed).count();
        assert_eq!(allowed, 3);
        assert_eq!(local.debts(), [("key".to_owned(), quota, 3)]);
        assert!(local.debts().is_empty(), "handed over once");
    }

    #[test]
    fn a_period_ends_where_the_calendar_says() {
        let now: Zoned = "2028-02-29T12:00:00Z[UTC]".parse().unwrap(); // a Tuesday
        assert_eq!(rest(Period::Day, &now), (43_200, 86_400));
        assert_eq!(rest(Period::Week, &now), (43_200 + 5 * 86_400, 7 * 86_400));
        assert_eq!(rest(Period::Month, &now), (43_200, 29 * 86_400));
    }
}
