//! A running data plane: what all its threads share, and what each of them has for itself.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    ops::Deref,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::{ArcSwap, Cache};
use egress::Connector;

use crate::{
    Config, access_log,
    counter::{Counter, Room, Want},
    explain::Kept,
    inquiry::Inquiries,
    integration::{breaker::Breakers, function::memory::Memory, pool::Pools},
    listener::{shares::Shares, turns::Turns},
    pipe::Pipes,
    policies::{
        desk::Leases, gates::NodeGates, limiter::Limiter, outage::Local, spending::Standing,
    },
    reconciliation::{Counts, ThreadCounts},
    response::compress::Codecs,
    snapshot::Snapshot,
    tail::Tails,
    telemetry::{Metrics, ThreadMetrics},
};

/// What every thread of a node sees. Nothing in it is locked on the request path.
pub struct Shared {
    pub config: Config,
    /// What is served. The config stream stores a new pointer; data threads read it once per request.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub metrics: Metrics,
    /// This node's share of limits, for when Redis is away.
    pub(crate) local_limits: Arc<Local>,
    /// Tokens of limits that this node took in advance.
    pub(crate) leases: Arc<Leases>,
    /// Permits of concurrency limits that this node holds.
    pub(crate) gates: Arc<NodeGates>,
    /// What failed too often; a thread asks once for each backend that it has.
    pub(crate) breakers: Breakers,
    /// Requests that somebody watches as they end.
    pub(crate) tails: Arc<Tails>,
    /// By which replicas ask data threads.
    pub(crate) inquiries: Arc<Inquiries>,
    /// What is counted beside the journal.
    pub(crate) counts: Arc<Counts>,
    /// Once the journal is open.
    pub(crate) room: OnceLock<Room>,
    draining: AtomicBool,
    /// Another process listens on the same sockets.
    handed_over: AtomicBool,
}

/// One data thread's node. What accumulates (pools, counters, the connection to Redis) lives here and
/// survives every change of configuration; nothing here is touched by another thread.
pub(crate) struct Node {
    pub(crate) shared: Arc<Shared>,
    snapshot: RefCell<Current>,
    pub(crate) connector: Connector,
    pub(crate) pools: Pools,
    /// What calls of functions hold.
    pub(crate) functions: Memory,
    /// What compresses answers.
    pub(crate) codecs: Codecs,
    /// For large answers in plain text.
    pub(crate) pipes: Rc<Pipes>,
    pub(crate) limiter: Limiter,
    pub(crate) counter: RefCell<Counter>,
    pub(crate) counts: ThreadCounts,
    /// What became of the newest requests.
    pub(crate) kept: Kept,
    pub(crate) metrics: ThreadMetrics,
    pub(crate) log: access_log::Writer,
    pub(crate) in_flight: Cell<usize>,
    /// Of them, each tenant's.
    pub(crate) shares: Shares,
    /// In which refusals go.
    pub(crate) turns: Turns,
    /// What of `in_flight` the node's gauge was told.
    told_in_flight: Cell<usize>,
}

/// A thread's view of what is served.
struct Current {
    source: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    mine: Rc<Served>,
}

/// The snapshot that a request is answered from.
pub(crate) struct Served(Arc<Snapshot>);

impl Deref for Served {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl Shared {
    pub fn new(config: Config) -> prometheus::Result<Arc<Self>> {
        let empty = Snapshot::empty(&config.egress_allow);
        let counts = Arc::new(Counts::new(config.access_log.counts()));
        let metrics = Metrics::new(config.registry.clone())?;
        config.access_log.register(&metrics.registry)?;
        Ok(Arc::new(Self {
            config,
            snapshot: Arc::new(ArcSwap::from_pointee(empty)),
            metrics,
            local_limits: Arc::default(),
            leases: Arc::default(),
            gates: Arc::default(),
            breakers: Breakers::default(),
            tails: Arc::default(),
            inquiries: Arc::default(),
            counts,
            room: OnceLock::new(),
            draining: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
        }))
    }

    /// Why a load balancer should send no requests here.
    pub(crate) fn unready(&self) -> Option<Cow<'static, str>> {
        if self.is_draining() {
            return Some("draining".into());
        }
        if !self.snapshot.load().loaded {
            return Some("no configuration yet".into());
        }
        match self.wants()? {
            full @ Want::Refusing(_) => Some(full.to_string().into()),
            Want::InMemory(_) => None,
        }
    }

    /// What is wrong with the usage journal, if anything.
    pub(crate) fn wants(&self) -> Option<Want> {
        self.room.get()?.wants()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Relaxed)
    }

    pub(crate) fn set_handed_over(&self, handed_over: bool) {
        self.handed_over.store(handed_over, Ordering::Relaxed);
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

impl Node {
    /// Made on its own thread, inside its runtime: its resolver and Redis connection belong there.
    pub(crate) fn new(
        shared: Arc<Shared>,
        connector: Connector,
        limiter: Limiter,
        counter: Counter,
    ) -> Rc<Self> {
        let mut source = Cache::new(shared.snapshot.clone());
        let mine = Rc::new(Served(source.load().clone()));
        Rc::new(Self {
            metrics: shared.metrics.thread(),
            log: shared.config.access_log.writer(),
            snapshot: RefCell::new(Current { source, mine }),
            connector,
            pools: Pools::default(),
            functions: Memory::default(),
            codecs: Codecs::default(),
            pipes: Rc::new(Pipes::new(shared.config.limits.pipes_max)),
            limiter,
            counter: RefCell::new(counter),
            counts: ThreadCounts::default(),
            kept: Kept::new(now_ms()),
            in_flight: Cell::new(0),
            shares: Shares::default(),
            turns: Turns::default(),
            told_in_flight: Cell::new(0),
            shared,
        })
    }

    /// What is served at this moment. The pointer is this thread's own, so no other core's cache line is
    /// written for a request.
    pub(crate) fn snapshot(&self) -> Rc<Served> {
        let Current { source, mine } = &mut *self.snapshot.borrow_mut();
        let fresh = source.load();
        if !Arc::ptr_eq(fresh, &mine.0) {
            *mine = Rc::new(Served(fresh.clone()));
        }
        mine.clone()
    }

    /// Each second.
    pub(crate) fn tick(&self) {
        self.counter.borrow_mut().tick(now_ms());
        for Standing { name, counted, limit } in self.limiter.take_standings() {
            self.counts.quota(name, counted, limit);
        }
        self.counts.tick(&self.shared.counts);
        self.pools.sweep();
        self.shares.sweep();
        self.functions.sweep();
        self.codecs.sweep();
        self.metrics.flush();
        self.limiter.tick();
        self.shared.metrics.config_loaded.set(self.shared.snapshot.load().loaded.into());
        let (now, told) = (self.in_flight.get(), self.told_in_flight.replace(self.in_flight.get()));
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.shared.metrics.in_flight.add(signed(now) - signed(told));
    }
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    ms(SystemTime::now())
}

/// The same of another moment.
pub(crate) fn ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
