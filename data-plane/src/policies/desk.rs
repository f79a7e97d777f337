//! Which buckets this node holds leases on, and which permits: each belongs to the node, each thread finds it by name without
//! a lock.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use hashbrown::HashTable;
use lease::Lease;
use proto::redis_keys;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

/// A bucket that nobody asked for in this time, or twice it, is forgotten.
const FORGET_AFTER_US: u64 = 60_000_000;

/// What a node counts by the name of a limit, for all its threads.
pub(crate) trait Counted {
    fn new(redis_key: Arc<str>) -> Self;

    fn redis_key(name: &Name<'_>) -> String;
}

/// The leases of all threads, or what else they count.
pub(crate) struct Leases<T = Held> {
    held: Mutex<HashMap<Arc<str>, Weak<T>>>,
    /// The last number given to a question: they count over all buckets, so that one that was forgotten and found again
    /// goes on where it was.
    numbers: AtomicU64,
}

/// One bucket's lease, and who waits for it.
pub(crate) struct Held {
    pub(super) redis_key: Arc<str>,
    pub(super) lease: Lease,
    /// Told after each answer, and after each that did not come.
    pub(super) answered: Notify,
    /// Calls that wait.
    pub(super) waiting: AtomicU32,
    /// Answers that did not come.
    pub(super) failed: AtomicU32,
    /// Some thread looks after what stands unspent.
    pub(super) watched: AtomicBool,
    /// Calls that were let through beside the bucket, which it is to be told of, and since when there are some.
    owed: AtomicU32,
    owed_since: AtomicU64,
    /// What the bucket had left when it last answered, and when that was; 0: it never did.
    left: AtomicU32,
    answered_at: AtomicU64,
}

/// One thread's view: what it needs is found by the parts of its name, and nothing is allocated for it.
pub(super) struct Desk<T = Held> {
    leases: Arc<Leases<T>>,
    hasher: foldhash::fast::RandomState,
    /// Found since the last turn, and in the turn before it.
    young: RefCell<HashTable<Rc<Found<T>>>>,
    old: RefCell<HashTable<Rc<Found<T>>>>,
    turned_at: Cell<u64>,
}

pub(crate) struct Found<T = Held> {
    kind: Kind,
    parts: [Box<str>; PARTS],
    pub(super) held: Arc<T>,
}

/// A bucket by what it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    pub(super) kind: Kind,
    pub(super) parts: [&'a str; PARTS],
}

#[derive(Clone, Copy, Hash, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Usage plan, key, Api, stage, route.
    KeyRoute,
    /// Usage plan, key.
    Key,
    /// Api, stage, route.
    Route,
    /// Api, stage.
    Stage,
    Tenant,
}

const PARTS: usize = 5;

/// µs on a clock that counts suspend, which no setting of the time moves.
pub(super) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap_or(0)
}

impl Counted for Held {
    fn new(redis_key: Arc<str>) -> Self {
        Self::new(redis_key)
    }

    fn redis_key(name: &Name<'_>) -> String {
        match (name.kind, name.parts) {
            (Kind::KeyRoute, [plan, key, api, stage, route]) => {
                redis_keys::route_throttle(plan, key, api, stage, route)
            }
            (Kind::Key, [plan, key, ..]) => redis_keys::key_throttle(plan, key),
            (Kind::Route, [api, stage, route, ..]) => {
                redis_keys::stage_route_throttle(api, stage, route)
            }
            (Kind::Stage, [api, stage, ..]) => redis_keys::stage_throttle(api, stage),
            (Kind::Tenant, [tenant, ..]) => redis_keys::tenant_throttle(tenant),
        }
    }
}

impl Found {
    /// A bucket that belongs to nothing here.
    pub(crate) fn alone(redis_key: String) -> Rc<Self> {
        let held = Arc::new(Held::new(redis_key.into()));
        Rc::new(Self { kind: Kind::Key, parts: Default::default(), held })
    }
}

impl<T> Found<T> {
    fn is(&self, name: &Name) -> bool {
        self.kind == name.kind && self.parts.iter().zip(name.parts).all(|(it, part)| **it == *part)
    }
}

impl Held {
    pub(super) fn new(redis_key: Arc<str>) -> Self {
        Self {
            redis_key,
            lease: Lease::new(now_us()),
            answered: Notify::new(),
            waiting: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            watched: AtomicBool::new(false),
            owed: AtomicU32::new(0),
            owed_since: AtomicU64::new(0),
            left: AtomicU32::new(0),
            answered_at: AtomicU64::new(0),
        }
    }

    /// A call was let through beside the bucket.
    pub(super) fn owe(&self, now: u64) {
        if self.owed.fetch_add(1, Ordering::AcqRel) == 0 {
            self.owed_since.store(now, Ordering::Release);
        }
    }

    pub(super) fn owes(&self) -> bool {
        self.owed.load(Ordering::Acquire) > 0
    }

    /// Takes over what the bucket is to be told of: so many calls, since so long.
    pub(super) fn take_owed(&self, now: u64) -> (u32, u64) {
        let since = self.owed_since.load(Ordering::Acquire);
        (self.owed.swap(0, Ordering::AcqRel), now.saturating_sub(since))
    }

    /// It could not be told.
    pub(super) fn still_owe(&self, calls: u32) {
        self.owed.fetch_add(calls, Ordering::AcqRel);
    }

    pub(super) fn saw(&self, left: u32) {
        self.left.store(left, Ordering::Relaxed);
        self.answered_at.store(now_us(), Ordering::Release);
    }

    /// What the bucket had left when it last answered, and when that was.
    pub(super) fn seen(&self) -> Option<(u32, u64)> {
        let at = self.answered_at.load(Ordering::Acquire);
        (at > 0).then(|| (self.left.load(Ordering::Relaxed), at))
    }
}

impl<T> Default for Leases<T> {
    fn default() -> Self {
        Self { held: Mutex::default(), numbers: AtomicU64::new(0) }
    }
}

impl<T: Counted> Leases<T> {
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn find(&self, redis_key: String) -> Arc<T> {
        let redis_key: Arc<str> = redis_key.into();
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = all.get(&redis_key).and_then(Weak::upgrade) {
            return held;
        }
        if all.len() == all.capacity() {
            // Before it grows: what no thread uses any more makes room.
            all.retain(|_, held| held.strong_count() > 0);
        }
        let held = Arc::new(T::new(redis_key.clone()));
        all.insert(redis_key, Arc::downgrade(&held));
        held
    }
}

impl<T: Counted> Desk<T> {
    pub(super) fn new(leases: Arc<Leases<T>>) -> Self {
        Self {
            leases,
            hasher: foldhash::fast::RandomState::default(),
            young: RefCell::default(),
            old: RefCell::default(),
            turned_at: Cell::new(now_us()),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.leases.number()
    }

    pub(super) fn find(&self, name: &Name) -> Rc<Found<T>> {
        let hash = self.hash(name.kind, name.parts.iter().copied());
        if let Some(found) = self.young.borrow().find(hash, |found| found.is(name)) {
            return found.clone();
        }
        let old = match self.old.borrow_mut().find_entry(hash, |found| found.is(name)) {
            Ok(entry) => Some(entry.remove().0),
            Err(_) => None,
        };
        let found = old.unwrap_or_else(|| {
            let (kind, parts) = (name.kind, name.parts.map(Box::from));
            Rc::new(Found { kind, parts, held: self.leases.find(T::redis_key(name)) })
        });
        let rehash =
            |found: &Rc<Found<T>>| self.hash(found.kind, found.parts.iter().map(|it| &**it));
        self.young.borrow_mut().insert_unique(hash, found.clone(), rehash);
        found
    }

    fn hash<'a>(&self, kind: Kind, parts: impl Iterator<Item = &'a str>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        kind.hash(&mut hasher);
        parts.for_each(|part| part.hash(&mut hasher));
        hasher.finish()
    }

    /// Forgets what nobody asked for in the turn before.
    pub(super) fn turn(&self, now: u64) {
        if now.saturating_sub(self.turned_at.get()) >= FORGET_AFTER_US {
            self.turned_at.set(now);
            self.old.replace(self.young.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name<'_> = Name { kind: Kind::Key, parts: ["plan", "key", "", "", ""] };

    #[test]
    fn what_is_owed_is_handed_over_once_with_its_age() {
        let held = Held::new("bucket".into());
        assert_eq!(held.take_owed(7).0, 0);
        held.owe(10);
        held.owe(20);
        assert_eq!(held.take_owed(35), (2, 25));
        assert_eq!(held.take_owed(35).0, 0);
        held.still_owe(2);
        held.owe(40);
        assert_eq!(held.take_owed(50), (3, 40), "as old as the first of them");
    }

    #[test]
    fn threads_share_a_bucket_by_its_name_and_forget_it_when_nobody_asks() {
        let leases = Arc::<Leases>::default();
        let (one, other) = (Desk::new(leases.clone()), Desk::new(leases.clone()));
        let found = one.find(&NAME);
        assert!(Arc::ptr_eq(&found.held, &other.find(&NAME).held));
        let stage = Name { kind: Kind::Stage, ..NAME };
        assert!(!Arc::ptr_eq(&found.held, &one.find(&stage).held));
        let weak = Arc::downgrade(&found.held);
        drop(found);
        let start = now_us();
        one.turn(start + FORGET_AFTER_US);
        other.turn(start + FORGET_AFTER_US);
        assert!(Arc::ptr_eq(&one.find(&NAME).held, &weak.upgrade().unwrap()), "asked for again");
        for turn in 2..4 {
            one.turn(start + turn * FORGET_AFTER_US);
            other.turn(start + turn * FORGET_AFTER_US);
        }
        assert!(weak.upgrade().is_none());
        for number in 0..100 {
            one.find(&Name { parts: [&number.to_string(), "", "", "", ""], ..NAME });
        }
        one.turn(start + 4 * FORGET_AFTER_US);
        one.turn(start + 5 * FORGET_AFTER_US);
        one.find(&NAME);
        for number in 0..1000 {
            leases.find(number.to_string());
        }
        assert!(leases.held.lock().unwrap().len() < 500, "those that nobody has make room");
    }
}
