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

use lease::Lease;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

use super::{
    clients::Clients,
    found::{Found, Generations, Kind, Name},
    outage::Share,
};

/// A bucket that nobody asked for in this time, or twice it, is forgotten.
const FORGET_AFTER_US: u64 = 60_000_000;

/// Parts of the leases, each with a lock of its own: clients come and go often.
const PARTS: usize = 32;

/// What a node counts by the name of a limit, for all its threads.
pub(crate) trait Counted {
    /// `of_client`: it is a client's, of whom there may be any number.
    fn new(redis_key: Arc<str>, of_client: bool) -> Self;

    fn redis_key(name: &Name<'_>) -> String;
}

/// The leases of all threads, or what else they count.
pub(crate) struct Leases<T = Held> {
    held: [Mutex<HashMap<Arc<str>, Weak<T>>>; PARTS],
    hasher: foldhash::fast::RandomState,
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
    /// It is a client's, of whom there may be any number.
    pub(super) of_client: bool,
    /// This node's part of it, where it was limited by that.
    pub(super) share: Mutex<Option<Share>>,
}

/// One thread's view: what it needs is found by the parts of its name, and nothing is allocated for it.
pub(super) struct Desk<T = Held> {
    leases: Arc<Leases<T>>,
    hasher: foldhash::fast::RandomState,
    found: RefCell<Generations<T>>,
    clients: RefCell<Clients<T>>,
    turned_at: Cell<u64>,
}

/// µs on a clock that counts suspend, which no setting of the time moves.
pub(super) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap_or(0)
}

impl Counted for Held {
    fn new(redis_key: Arc<str>, of_client: bool) -> Self {
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
            of_client,
            share: Mutex::default(),
        }
    }

    fn redis_key(name: &Name<'_>) -> String {
        name.redis_key()
    }
}

impl Held {
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
        Self {
            held: std::array::from_fn(|_| Mutex::default()),
            hasher: foldhash::fast::RandomState::default(),
            numbers: AtomicU64::new(0),
        }
    }
}

impl<T: Counted> Leases<T> {
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn find(&self, redis_key: String, of_client: bool) -> Arc<T> {
        let redis_key: Arc<str> = redis_key.into();
        let hash = self.hasher.hash_one(&redis_key);
        #[expect(clippy::cast_possible_truncation, reason = "any part will do")]
        let part = &self.held[hash as usize % PARTS];
        let mut all = part.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = all.get(&redis_key).and_then(Weak::upgrade) {
            return held;
        }
        if all.len() == all.capacity() {
            // Before it grows: what no thread uses any more makes room.
            all.retain(|_, held| held.strong_count() > 0);
        }
        let held = Arc::new(T::new(redis_key.clone(), of_client));
        all.insert(redis_key, Arc::downgrade(&held));
        held
    }
}

impl<T: Counted> Desk<T> {
    pub(super) fn new(leases: Arc<Leases<T>>) -> Self {
        Self {
            leases,
            hasher: foldhash::fast::RandomState::default(),
            found: RefCell::default(),
            clients: RefCell::default(),
            turned_at: Cell::new(now_us()),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.leases.number()
    }

    pub(super) fn find(&self, name: &Name) -> Rc<Found<T>> {
        let hash = self.hash(name);
        if name.kind == Kind::Client {
            let make = |asks| {
                Found::new(name, hash, self.leases.find(T::redis_key(name), true), Some(asks))
            };
            return self.clients.borrow_mut().find(hash, name, now_us(), make);
        }
        if let Some(found) = self.found.borrow_mut().find(hash, name) {
            return found;
        }
        let held = self.leases.find(T::redis_key(name), false);
        let found = Found::new(name, hash, held, None);
        self.found.borrow_mut().put(found.clone());
        found
    }

    /// What this thread's calls found in this turn or the one before, of anything but clients. Who only looks keeps nothing from
    /// being forgotten.
    pub(super) fn look(&self, name: &Name) -> Option<Rc<Found<T>>> {
        self.found.borrow().look(self.hash(name), name)
    }

    fn hash(&self, name: &Name) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        name.kind.hash(&mut hasher);
        name.parts.iter().for_each(|part| part.hash(&mut hasher));
        hasher.finish()
    }

    /// Forgets what nobody asked for in the turn before.
    pub(super) fn turn(&self, now: u64) {
        self.clients.borrow_mut().sweep();
        if now.saturating_sub(self.turned_at.get()) >= FORGET_AFTER_US {
            self.turned_at.set(now);
            drop(self.found.borrow_mut().turn());
            self.clients.borrow_mut().turn();
        }
    }
}

impl Desk {
    /// Clients' buckets that are to be told of calls.
    pub(super) fn owing(&self) -> Vec<Arc<Held>> {
        let clients = self.clients.borrow();
        clients.iter().filter(|found| found.held.owes()).map(|found| found.held.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name<'_> = Name { kind: Kind::Key, parts: ["plan", "key", "", "", ""] };

    #[test]
    fn what_is_owed_is_handed_over_once_with_its_age() {
        let held = Held::new("bucket".into(), false);
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
        assert!(Arc::ptr_eq(&found.held, &one.look(&NAME).unwrap().held));
        let weak = Arc::downgrade(&found.held);
        drop(found);
        let start = now_us();
        one.turn(start + FORGET_AFTER_US);
        other.turn(start + FORGET_AFTER_US);
        assert!(Arc::ptr_eq(&one.find(&NAME).held, &weak.upgrade().unwrap()), "asked for again");
        for turn in 2..4 {
            one.turn(start + turn * FORGET_AFTER_US);
            other.turn(start + turn * FORGET_AFTER_US);
            assert_eq!(one.look(&NAME).is_some(), turn == 2, "a look keeps nothing");
        }
        assert!(weak.upgrade().is_none());
        for number in 0..100 {
            one.find(&Name { parts: [&number.to_string(), "", "", "", ""], ..NAME });
        }
        one.turn(start + 4 * FORGET_AFTER_US);
        one.turn(start + 5 * FORGET_AFTER_US);
        one.find(&NAME);
        for number in 0..10_000 {
            leases.find(number.to_string(), false);
        }
        let kept: usize = leases.held.iter().map(|part| part.lock().unwrap().len()).sum();
        assert!(kept < 1000, "those that nobody has make room: {kept}");
    }
}
