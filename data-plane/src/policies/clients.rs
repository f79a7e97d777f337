//! The clients of each tenant, who are as many as callers like to invent. A thread holds no more of them than so many, and
//! asks Redis about them no more often than so many times a second; what the callers of one tenant invent costs no other
//! tenant's clients their place or their turn.
//!
//! A client that had to go is found again in Redis, with what its bucket has. One that Redis may not be asked about now is
//! limited by this node's share of its bucket, as while Redis is away.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use hashbrown::{HashMap, hash_table::IntoIter};

use super::{
    desk::Held,
    found::{Found, Generations, Name},
};
use crate::snapshot::served::Bucket;

/// Clients that a thread holds, those of all tenants together.
pub(super) const FOUND_MAX: usize = 16_384;
/// So many of each tenant have a place, however many tenants there are.
const FOUND_MIN: usize = 32;
/// What is forgotten is freed so much at a time: all at once would keep a thread's calls waiting.
const FREED_BY_CALL: usize = 4;
const FREED_BY_TURN: usize = 256;

/// Questions to Redis about the buckets of one tenant's clients, by one thread in a second: so many ÷ live nodes, but no
/// fewer than the second.
const ASKS_PER_S: f64 = 1000.0;
const ASKS_PER_S_MIN: f64 = 250.0;
/// A question about a bucket that takes longer than this to get a token back costs as much more as it takes: for so long
/// the bucket lies in Redis. So a thread fills Redis with no more than `ASKS_PER_S · KEPT_S` of them.
const KEPT_S: f64 = 120.0;

/// Of all tenants.
pub(super) struct Clients<T = Held> {
    tenants: HashMap<Box<str>, Tenant<T>>,
    /// What is forgotten and not freed yet.
    forgotten: VecDeque<IntoIter<Rc<Found<T>>>>,
}

struct Tenant<T> {
    found: Generations<T>,
    asks: Rc<Asks>,
}

/// How often Redis may yet be asked about the clients of a tenant.
pub(crate) struct Asks {
    left: Cell<f64>,
    at: Cell<u64>,
}

impl<T> Default for Clients<T> {
    fn default() -> Self {
        Self { tenants: HashMap::new(), forgotten: VecDeque::new() }
    }
}

impl<T> Clients<T> {
    /// `make` is told how often Redis may be asked about it.
    pub(super) fn find(
        &mut self,
        hash: u64,
        name: &Name,
        now: u64,
        make: impl FnOnce(Rc<Asks>) -> Rc<Found<T>>,
    ) -> Rc<Found<T>> {
        let id = name.parts[0];
        if !self.tenants.contains_key(id) {
            let asks = Rc::new(Asks { left: Cell::new(ASKS_PER_S), at: Cell::new(now) });
            self.tenants.insert(id.into(), Tenant { found: Generations::default(), asks });
        }
        let young_max = (FOUND_MAX / 2 / self.tenants.len()).max(FOUND_MIN / 2);
        let tenant = self.tenants.get_mut(id).expect("it was put there");
        if let Some(found) = tenant.found.find(hash, name) {
            return found;
        }
        if tenant.found.young() >= young_max {
            self.forgotten.push_back(tenant.found.turn());
        }
        let found = make(tenant.asks.clone());
        tenant.found.put(found.clone());
        self.free(FREED_BY_CALL);
        found
    }

    /// Forgets whom nobody asked for in the turn before.
    pub(super) fn turn(&mut self) {
        for tenant in self.tenants.values_mut() {
            self.forgotten.push_back(tenant.found.turn());
        }
        self.tenants.retain(|_, tenant| !tenant.found.is_empty());
    }

    /// Frees a part of what is forgotten.
    pub(super) fn sweep(&mut self) {
        self.free(FREED_BY_TURN);
    }

    fn free(&mut self, mut count: usize) {
        while count > 0
            && let Some(some) = self.forgotten.front_mut()
        {
            let freed = some.take(count).count();
            count -= freed;
            if count > 0 {
                self.forgotten.pop_front();
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Found<T>>> {
        self.tenants.values().flat_map(|tenant| tenant.found.iter())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.iter().count() + self.forgotten.iter().map(ExactSizeIterator::len).sum::<usize>()
    }
}

impl Asks {
    /// Whether Redis may be asked now; `nodes` are alive, which ask it, too.
    pub(super) fn may(&self, now: u64, nodes: u32) -> bool {
        let a_second = (ASKS_PER_S / f64::from(nodes)).max(ASKS_PER_S_MIN);
        #[expect(clippy::cast_precision_loss, reason = "µs")]
        let passed = now.saturating_sub(self.at.get()) as f64 / 1e6;
        self.left.set((self.left.get() + passed * a_second).min(a_second));
        self.at.set(self.at.get().max(now));
        self.left.get() > 0.0
    }

    /// It was asked about a bucket.
    pub(super) fn asked(&self, bucket: Bucket) {
        let kept_s = 1.0 / bucket.rate;
        self.left.set(self.left.get() - (kept_s / KEPT_S).clamp(1.0, ASKS_PER_S));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policies::{desk::Counted, found::Kind};

    fn find(clients: &mut Clients, tenant: &str, client: usize) -> Rc<Found> {
        let client = client.to_string();
        let name = Name { kind: Kind::Client, parts: [tenant, "api", "stage", "ip", &client] };
        let hash = foldhash::quality::FixedState::default();
        let hash = std::hash::BuildHasher::hash_one(&hash, name.parts);
        let held = || Arc::new(Held::new("bucket".into(), true));
        clients.find(hash, &name, 0, |asks| Found::new(&name, hash, held(), Some(asks)))
    }

    #[test]
    fn what_one_tenants_callers_invent_takes_no_more_than_its_room_and_nobody_elses() {
        let mut clients = Clients::default();
        let of_other: Vec<_> = (0..100).map(|client| find(&mut clients, "other", client)).collect();
        let mut most = 0;
        for client in 0..10 * FOUND_MAX {
            find(&mut clients, "flooded", client);
            if client % 500 == 0 {
                most = most.max(clients.len());
            }
        }
        assert!((FOUND_MAX / 2..=FOUND_MAX).contains(&most), "{most}");
        for (client, found) in of_other.iter().enumerate() {
            assert!(Rc::ptr_eq(found, &find(&mut clients, "other", client)), "{client}");
        }
    }

    #[test]
    fn a_client_that_calls_on_keeps_its_place_among_those_who_call_once() {
        let mut clients = Clients::default();
        let regular = find(&mut clients, "tenant", usize::MAX);
        for client in 0..3 * FOUND_MAX {
            find(&mut clients, "tenant", client);
            if client % 1000 == 0 {
                assert!(Rc::ptr_eq(&regular, &find(&mut clients, "tenant", usize::MAX)));
            }
        }
    }

    #[test]
    fn whom_nobody_asks_for_is_forgotten_and_freed() {
        let mut clients = Clients::default();
        let weak: Vec<_> =
            (0..1000).map(|at| Rc::downgrade(&find(&mut clients, "tenant", at))).collect();
        clients.turn();
        assert!(weak.iter().all(|found| found.strong_count() == 1));
        clients.turn();
        for _ in 0..4 {
            clients.sweep();
        }
        assert!(weak.iter().all(|found| found.strong_count() == 0));
        clients.turn();
        assert!(clients.tenants.is_empty());
    }

    #[test]
    fn each_tenants_questions_are_bounded_and_those_about_slow_buckets_the_more() {
        let mut clients = Clients::default();
        let asks = |clients: &mut Clients, tenant| find(clients, tenant, 0).asks.clone().unwrap();
        let asked = |asks: &Asks, now, nodes, rate: f64| {
            let bucket = Bucket { rate, burst: 1 };
            let mut count = 0;
            while asks.may(now, nodes) {
                asks.asked(bucket);
                count += 1;
            }
            count
        };
        let one = asks(&mut clients, "one");
        assert_eq!(asked(&one, 0, 1, 10.0), 1000);
        assert_eq!(asked(&one, 0, 1, 10.0), 0);
        assert_eq!(asked(&one, 500_000, 1, 10.0), 500);
        assert_eq!(asked(&one, 10_000_000, 2, 10.0), 500, "others ask, too");
        assert_eq!(asked(&one, 20_000_000, 99, 10.0), 250);
        assert_eq!(asked(&one, 30_000_000, 1, 1.0 / 600.0), 200, "each lies there for ten minutes");
        assert_eq!(asked(&one, 40_000_000, 1, 0.0), 1);
        assert_eq!(asked(&asks(&mut clients, "other"), 0, 1, 10.0), 1000);
    }
}
