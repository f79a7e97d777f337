//! Concurrency limits by permit: a call takes one that this node has in hand, and Redis is asked beside it.
//!
//! A call waits for Redis only where the node has no free permit and nobody knows whether there is one. What `crate permit`
//! says is kept here by sending and receiving.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use permit::{Credited, Declaration, Enter, Permits};
use proto::{inquiry::v1::How, redis_keys};
use tokio::{
    sync::Notify,
    task::{spawn_local, yield_now},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    concurrency::Asked,
    concurrency_metrics::By,
    desk::{Counted, Desk, Leases, now_us},
    found::{Found, Kind, Name},
    limit_metrics::Purpose,
    limiter::{Limiter, Unavailable},
    store::Redis,
};
use crate::config::{LimiterMode, LimiterOutage};

/// How often a thread looks after what lies free.
const TEND_EVERY: Duration = Duration::from_micros(permit::IDLE_US);
/// How long a node that ends waits for what it gives back to be taken.
const RETURN_MAX: Duration = Duration::from_millis(500);

/// The gates of all threads of a node.
#[derive(Default)]
pub(crate) struct NodeGates {
    all: Arc<Leases<Gate>>,
    /// Those of a thread that has ended while calls of other threads were in progress: one of them takes them over.
    left: Mutex<Vec<Arc<Gate>>>,
}

/// One limit's permits on this node, and who waits for one.
pub(crate) struct Gate {
    pub(super) redis_key: Arc<str>,
    pub(super) permits: Permits,
    /// Told after each answer, and after each that did not come.
    answered: Notify,
    /// Calls that wait.
    waiting: AtomicU32,
    /// Answers that did not come.
    failed: AtomicU32,
    /// Some thread looks after it.
    watched: AtomicBool,
}

/// One thread's view.
pub(super) struct Gates {
    node: Arc<NodeGates>,
    pub(super) desk: Desk<Gate>,
    /// Those that this thread looks after.
    watched: RefCell<Vec<Arc<Gate>>>,
    /// Where calls have ended that left more free than should stay.
    surplus: RefCell<Vec<Arc<Gate>>>,
    /// There is something in one of these two.
    woken: Notify,
    ended: Cell<bool>,
}

/// A call's place among those in progress, until this is dropped, however the call ends.
pub(crate) struct Permit {
    found: Rc<Found<Gate>>,
    gates: Rc<Gates>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let gate = &self.found.held;
        if gate.permits.leave(now_us) && !self.gates.ended.get() {
            // Told by whoever may wait: this may be dropped anywhere.
            self.gates.surplus.borrow_mut().push(gate.clone());
            self.gates.woken.notify_one();
        }
    }
}

impl Counted for Gate {
    fn new(redis_key: Arc<str>, _of_client: bool) -> Self {
        Self {
            redis_key,
            permits: Permits::new(),
            answered: Notify::new(),
            waiting: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            watched: AtomicBool::new(false),
        }
    }

    fn redis_key(name: &Name<'_>) -> String {
        match (name.kind, name.parts) {
            (Kind::Route, [api, stage, route, ..]) => {
                redis_keys::stage_route_concurrency(api, stage, route)
            }
            (Kind::Stage, [api, stage, ..]) => redis_keys::stage_concurrency(api, stage),
            (Kind::Key | Kind::KeyRoute | Kind::Tenant | Kind::Client, [plan, key, ..]) => {
                redis_keys::key_concurrency(plan, key)
            }
        }
    }
}

impl Gates {
    pub(super) fn new(node: Arc<NodeGates>) -> Self {
        Self {
            desk: Desk::new(node.all.clone()),
            node,
            watched: RefCell::default(),
            surplus: RefCell::default(),
            woken: Notify::new(),
            ended: Cell::new(false),
        }
    }

    /// Looks after it from now on, unless some thread does.
    fn watch(&self, gate: &Arc<Gate>) {
        if !gate.watched.swap(true, Ordering::SeqCst) {
            self.watched.borrow_mut().push(gate.clone());
            self.woken.notify_one();
        }
    }
}

/// There is no permit here, and nobody knows whether there is in Redis.
struct Dry;

/// Counted while a call waits.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn begin(gate: &'a Gate) -> Self {
        gate.waiting.fetch_add(1, Ordering::Relaxed);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A question that ends without an answer.
struct Unanswered<'a>(&'a Gate);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.failed.fetch_add(1, Ordering::AcqRel);
        self.0.permits.give_up();
        self.0.answered.notify_waiters();
    }
}

impl Limiter {
    /// A permit, where there is one, else how it is known that there is none. Nothing is taken from any that refuses.
    pub(super) async fn enter(&self, asked: &Asked) -> Result<Result<Permit, How>, Unavailable> {
        let (permit, by, how) = match self.by_permit(asked).await {
            Ok((permit, how)) => (permit, By::Permit, how),
            Err(away) => self.without_redis(asked, away)?,
        };
        let gate = &asked.found.held;
        // After the permit was taken: whoever stops watching looks at the permits after saying so.
        if permit.is_some() && !gate.watched.load(Ordering::SeqCst) {
            self.gates.watch(gate);
        }
        self.counts.concurrency.decided(asked.decision(permit.is_some()), by);
        Ok(permit.ok_or(how))
    }

    async fn by_permit(&self, asked: &Asked) -> Result<(Option<Permit>, How), Unavailable> {
        let redis = self.store_of(&asked.found.held).ok_or(Unavailable)?;
        match self.enter_at_once(asked) {
            Ok(known) => Ok((known, How::Remembered)),
            Err(Dry) => Ok((self.wait_for_permit(&redis, asked).await?, How::Lease)),
        }
    }

    /// While Redis is away. Where nobody may pass unchecked, what this node was given before still is its own.
    fn without_redis(
        &self,
        asked: &Asked,
        away: Unavailable,
    ) -> Result<(Option<Permit>, By, How), Unavailable> {
        let permits = &asked.found.held.permits;
        let beside = |most| permits.enter_beside(most).then(|| self.permit(asked));
        match self.outage {
            _ if self.mode == LimiterMode::Local => {
                Ok((beside(self.share(asked)), By::Share, How::Local))
            }
            LimiterOutage::LocalFallback => {
                Ok((beside(self.share(asked)), By::Share, How::Fallback))
            }
            LimiterOutage::FailOpen => Ok((beside(u32::MAX), By::Nothing, How::Unavailable)),
            LimiterOutage::FailClosed => match self.enter_at_once(asked) {
                Ok(Some(permit)) => Ok((Some(permit), By::Permit, How::Remembered)),
                Ok(None) | Err(Dry) => Err(away),
            },
        }
    }

    /// Redis, where a limit is counted there and it can be asked.
    fn store_of(&self, gate: &Gate) -> Option<Rc<Redis>> {
        if self.mode == LimiterMode::Local { None } else { self.there(&gate.redis_key) }
    }

    /// This node's part of a limit: 1 at least.
    fn share(&self, asked: &Asked) -> u32 {
        (asked.most / self.local.nodes()).max(1)
    }

    fn permit(&self, asked: &Asked) -> Permit {
        Permit { found: asked.found.clone(), gates: self.gates.clone() }
    }

    /// Whether it is known here that a call is refused. It takes nothing.
    pub(super) fn refuses_at_once(&self, asked: &Asked) -> bool {
        let gate = &asked.found.held;
        let (permits, now) = (&gate.permits, now_us());
        let refuses = self.store_of(gate).is_some() && permits.refuses(asked.most, now);
        if refuses {
            permits.refuse(now);
            self.counts.concurrency.decided(asked.decision(false), By::Permit);
        }
        refuses
    }

    /// A permit that is free here, or none where it is known that there is none.
    fn enter_at_once(&self, asked: &Asked) -> Result<Option<Permit>, Dry> {
        match asked.found.held.permits.enter(asked.most, now_us()) {
            Enter::Entered => Ok(Some(self.permit(asked))),
            Enter::Refused => Ok(None),
            Enter::Dry => Err(Dry),
        }
    }

    /// Waits for a permit, or for the answer that there is none, within the budget.
    async fn wait_for_permit(
        &self,
        redis: &Rc<Redis>,
        asked: &Asked,
    ) -> Result<Option<Permit>, Unavailable> {
        let gate = &asked.found.held;
        let _waiting = Waiting::begin(gate);
        let failed = gate.failed.load(Ordering::Acquire);
        let waited = timeout(self.budget, async {
            loop {
                let mut answered = pin!(gate.answered.notified());
                answered.as_mut().enable();
                if let Ok(known) = self.enter_at_once(asked) {
                    return Ok(known);
                }
                if gate.failed.load(Ordering::Acquire) != failed {
                    return Err(Unavailable); // counted by whoever asked
                }
                let waiting = gate.waiting.load(Ordering::Relaxed);
                if let Some(told) = gate.permits.ask(now_us(), self.gates.desk.number(), waiting) {
                    self.declare(redis.clone(), gate.clone(), told);
                }
                answered.await;
            }
        });
        waited.await.unwrap_or_else(|_| {
            self.missed(redis, &gate.redis_key);
            Err(Unavailable)
        })
    }

    fn declare(&self, redis: Rc<Redis>, gate: Arc<Gate>, mut told: Declaration) {
        self.gates.watch(&gate);
        let limiter = self.clone();
        spawn_local(async move {
            while let Some(credited) = limiter.exchange_permits(&redis, &gate, &told).await {
                yield_now().await; // to those who waited for it
                let number = limiter.gates.desk.number();
                let next = if credited.lowered {
                    gate.permits.tell(now_us(), number)
                } else if gate.waiting.load(Ordering::Relaxed) == 0 {
                    gate.permits.settle(now_us(), number)
                } else {
                    None
                };
                let Some(next) = next else { return };
                told = next;
            }
        });
    }

    /// One declaration and its answer, which is told to whoever waits.
    async fn exchange_permits(
        &self,
        redis: &Rc<Redis>,
        gate: &Gate,
        told: &Declaration,
    ) -> Option<Credited> {
        let unanswered = Unanswered(gate);
        self.metrics.asked(Purpose::Permit);
        let nodes = self.local.nodes();
        let mut answer = redis.declare(&gate.redis_key, told, nodes).await;
        if answer.as_ref().is_err_and(redis::RedisError::is_connection_dropped) {
            // Nobody knows whether it was applied: the same number is applied once.
            self.metrics.asked(Purpose::Permit);
            answer = redis.declare(&gate.redis_key, told, nodes).await;
        }
        match answer {
            Ok(answer) => {
                std::mem::forget(unanswered);
                let credited = gate.permits.credit(told, &answer, nodes, now_us());
                if credited.lost {
                    self.metrics.lost(0);
                }
                redis.parts.answered(&gate.redis_key);
                gate.answered.notify_waiters();
                Some(credited)
            }
            Err(error) => {
                drop(unanswered);
                tracing::debug!(%error, "Redis did not answer about permits");
                self.missed(redis, &gate.redis_key);
                None
            }
        }
    }

    /// Looks after what this thread's calls leave free, for as long as the thread runs.
    pub(crate) async fn tend(&self) {
        let mut rounds = interval(TEND_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.settle_surplus();
            if self.gates.watched.borrow().is_empty() {
                self.gates.woken.notified().await;
                rounds.reset();
                continue;
            }
            tokio::select! {
                _ = rounds.tick() => self.look_after(),
                () = self.gates.woken.notified() => {}
            }
        }
    }

    fn settle_surplus(&self) {
        loop {
            let Some(gate) = self.gates.surplus.borrow_mut().pop() else { return };
            if gate.waiting.load(Ordering::Relaxed) == 0
                && let Some(redis) = self.store_of(&gate)
                && let Some(told) = gate.permits.settle(now_us(), self.gates.desk.number())
            {
                self.declare(redis, gate, told);
            }
        }
    }

    fn look_after(&self) {
        let now = now_us();
        let mut due = Vec::new();
        self.gates.watched.borrow_mut().retain(|gate| {
            if let Some(redis) = self.store_of(gate)
                && let Some(told) = gate.permits.tend(now, self.gates.desk.number())
            {
                due.push((redis, gate.clone(), told));
                return true;
            }
            if !gate.permits.is_over(now) {
                return true;
            }
            gate.watched.store(false, Ordering::SeqCst);
            // Who came in before that was said saw it watched; who comes after it watches it.
            !gate.permits.is_over(now) && !gate.watched.swap(true, Ordering::SeqCst)
        });
        for (redis, gate, told) in due {
            self.declare(redis, gate, told);
        }
    }

    /// Gives back what lies free in the gates that this thread looks after, as it ends. Those with calls of other threads go
    /// to one of these. No longer than [`RETURN_MAX`].
    pub(crate) async fn return_permits(&self) {
        self.gates.ended.set(true);
        let watched = self.gates.watched.take();
        let returned = watched.iter().map(async |gate| {
            loop {
                let mut answered = pin!(gate.answered.notified());
                answered.as_mut().enable();
                if !gate.permits.is_asking() {
                    break;
                }
                answered.await; // what it brings goes back too
            }
            if let Some(redis) = self.store_of(gate)
                && let Some(told) = gate.permits.give_back(now_us(), self.gates.desk.number())
            {
                self.exchange_permits(&redis, gate, &told).await;
            }
        });
        if timeout(RETURN_MAX, join_all(returned)).await.is_err() {
            tracing::debug!("permits run out by themselves");
        }
        let mut left = self.gates.node.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.extend(watched.into_iter().filter(|gate| gate.permits.in_use() > 0));
        // From now on whoever asks for one of the others looks after it.
    }

    /// Takes over what threads left that have ended, and forgets what nobody asked for in a while. Each second.
    pub(super) fn adopt_gates(&self) {
        if self.gates.ended.get() {
            return;
        }
        self.gates.desk.turn(now_us());
        if let Ok(mut left) = self.gates.node.left.try_lock()
            && !left.is_empty()
        {
            self.gates.watched.borrow_mut().append(&mut left);
            self.gates.woken.notify_one();
        }
    }
}
