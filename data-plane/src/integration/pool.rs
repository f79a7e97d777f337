//! What each data thread has of backends: HTTP/1.1 connections that wait for the next request, the last used first, and
//! HTTP/2 connections that calls share.

use std::{
    cell::{Cell, RefCell},
    hash::{Hash, Hasher},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use egress::{Checked, Identity, Policy, Stream, Target};
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use upstream::{Alarm, Budget, Buffers, Connection, Full, Gate, Turn};

use super::{
    balance::Pick,
    breaker::{Breaker, Breakers},
    http2::Sessions,
};
use crate::{
    config::Limits,
    node::Node,
    snapshot::served::{CircuitBreaker, HttpProxy},
};

/// How long a connection may wait. Most backends close theirs after 60 s or more.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How many may wait for one endpoint.
const IDLE_COUNT_MAX: usize = 256;
/// How many circuit breakers of one endpoint are known: each setting has its own, and old ones may be edited many times.
const BREAKERS_MAX: usize = 16;
/// How long addresses are used before they are resolved, and so checked, again.
const ADDRESSES_FRESH: Duration = Duration::from_secs(5);
/// Endpoints that nothing was asked of are forgotten after this.
const FORGET_AFTER: Duration = Duration::from_mins(2);

/// By tenant, so that no two tenants ever share a connection.
#[derive(Default)]
pub(crate) struct Pools {
    endpoints: RefCell<HashMap<Key, Rc<Endpoint>, RandomState>>,
    /// The thread's; callers' connections read into them too.
    pub(crate) buffers: Rc<Buffers>,
}

#[derive(PartialEq, Eq)]
struct Key {
    tenant_id: Arc<str>,
    target: Target,
    identity: Option<Arc<Identity>>,
    /// Of a VPC link: who is connected to in its place.
    via: Option<Target>,
}

struct KeyRef<'a>(&'a Arc<str>, &'a Target, Option<&'a Identity>, Option<&'a Target>);

/// A backend as one tenant has it: a scheme, a host and a port, and so one TLS identity.
pub(super) struct Endpoint {
    /// Who it must prove to be, where its integrations say so.
    pub(super) identity: Option<Arc<Identity>>,
    known: RefCell<Option<Known>>,
    idle: RefCell<Vec<Idle>>,
    /// The connections that calls share.
    pub(super) sessions: Sessions,
    gate: Gate,
    pub(super) retries: Budget,
    /// The node's, of integrations that have one.
    breakers: RefCell<Vec<Arc<Breaker>>>,
    used_at: Cell<Instant>,
}

/// What it resolves to.
struct Known {
    /// The policy that the addresses were checked under.
    policy: Arc<Policy>,
    addresses: Vec<Checked>,
    checked_at: Instant,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// A connection to one address, with the clock of whoever waits for it.
pub(super) struct Line {
    pub(super) connection: Box<Connection<Stream>>,
    pub(super) alarm: Alarm,
    address: Checked,
    /// Whether it was used before: its backend may have closed it unseen.
    pub(super) reused: bool,
}

/// A request's place among those that a backend has at once.
pub(super) struct Place {
    pub(super) endpoint: Rc<Endpoint>,
    /// Which target of a VPC link it is at.
    pub(super) pick: Option<Pick>,
    _turn: Turn,
}

/// A connection while a request has it. Dropped, it is closed.
pub(crate) struct Loan {
    pub(super) line: Line,
    pub(super) place: Place,
}

impl Pools {
    /// A place at a backend, once fewer requests have one there than may.
    pub(super) async fn enter(
        &self,
        tenant_id: &Arc<str>,
        proxy: &HttpProxy,
        pick: Option<Pick>,
        limits: &Limits,
    ) -> Result<Place, Full> {
        let place = self.enter_beside(tenant_id, proxy, pick, limits).await?;
        place.endpoint.retries.request();
        Ok(place)
    }

    /// The same for a call that has a place already, and gives the budget of what is sent again nothing.
    pub(super) async fn enter_beside(
        &self,
        tenant_id: &Arc<str>,
        proxy: &HttpProxy,
        pick: Option<Pick>,
        limits: &Limits,
    ) -> Result<Place, Full> {
        let endpoint = self.endpoint(tenant_id, proxy, pick.as_ref().map(Pick::target));
        endpoint.used_at.set(Instant::now());
        let (max, waiting_max) = (limits.backend_in_flight_max, limits.backend_waiting_max);
        let turn = endpoint.gate.enter(max, waiting_max).await?;
        Ok(Place { endpoint, pick, _turn: turn })
    }

    /// The node's circuit breaker of a backend with these settings.
    pub(super) fn breaker(
        &self,
        breakers: &Breakers,
        tenant_id: &Arc<str>,
        proxy: &HttpProxy,
        settings: CircuitBreaker,
    ) -> Arc<Breaker> {
        let endpoint = self.endpoint(tenant_id, proxy, None);
        endpoint.used_at.set(Instant::now());
        let mut known = endpoint.breakers.borrow_mut();
        if let Some(breaker) = known.iter().find(|breaker| breaker.settings() == settings) {
            return breaker.clone();
        }
        if known.len() >= BREAKERS_MAX {
            known.remove(0);
        }
        let breaker = breakers.get(tenant_id, &proxy.target, proxy.identity.as_ref(), settings);
        known.push(breaker.clone());
        breaker
    }

    fn endpoint(
        &self,
        tenant_id: &Arc<str>,
        proxy: &HttpProxy,
        via: Option<&Target>,
    ) -> Rc<Endpoint> {
        let (target, identity) = (&proxy.target, &proxy.identity);
        let mut endpoints = self.endpoints.borrow_mut();
        if let Some(endpoint) = endpoints.get(&KeyRef(tenant_id, target, identity.as_deref(), via))
        {
            return endpoint.clone();
        }
        let endpoint = Rc::new(Endpoint {
            identity: identity.clone(),
            known: RefCell::default(),
            idle: RefCell::default(),
            sessions: Sessions::default(),
            gate: Gate::default(),
            retries: Budget::default(),
            breakers: RefCell::default(),
            used_at: Cell::new(Instant::now()),
        });
        let (tenant_id, target) = (tenant_id.clone(), target.clone());
        let key = Key { tenant_id, target, identity: identity.clone(), via: via.cloned() };
        endpoints.insert(key, endpoint.clone());
        endpoint
    }

    /// Takes a connection back whose exchange is over; one that it left unclean is closed.
    pub(super) fn give_back(&self, loan: Loan) {
        let Loan { mut line, place } = loan;
        if line.connection.is_reusable() {
            self.buffers.give_back(line.connection.rest());
            place.endpoint.keep(line);
        }
    }

    /// Takes a connection back whose answer is given up, if it is at its end.
    pub(super) fn give_up(&self, mut line: Line, place: &Place) {
        if line.connection.is_reusable() {
            self.buffers.give_back(line.connection.rest());
            place.endpoint.keep(line);
        }
    }

    /// Each second: closes what waited too long, and what its backend closed.
    pub(crate) fn sweep(&self) {
        self.endpoints.borrow_mut().retain(|_, endpoint| {
            endpoint.idle.borrow_mut().retain_mut(|idle| {
                idle.since.elapsed() < IDLE_MAX && idle.line.connection.is_quiet()
            });
            endpoint.sessions.sweep();
            endpoint.is_used() || endpoint.used_at.get().elapsed() < FORGET_AFTER
        });
    }
}

impl Place {
    /// Whose addresses are connected to.
    pub(super) fn dials<'a>(&'a self, target: &'a Target) -> &'a Target {
        self.pick.as_ref().map_or(target, Pick::target)
    }

    /// How the call went with its target, where it went through a VPC link.
    pub(super) fn judge(&self, node: &Node, failed: bool) {
        if let Some(pick) = &self.pick {
            pick.judge(node, failed);
        }
    }
}

impl Endpoint {
    /// A connection that waits, if one does that still leads to an address the policy lets through.
    pub(super) fn take(&self, policy: &Arc<Policy>) -> Option<Line> {
        if !self.known.borrow().as_ref()?.is_good(policy) {
            return None;
        }
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop())
            .map(|idle| idle.line)
            .find_map(|mut line| line.connection.is_quiet().then_some(line))
    }

    pub(super) fn addresses(&self, policy: &Arc<Policy>) -> Option<Vec<Checked>> {
        let known = self.known.borrow();
        known.as_ref().filter(|known| known.is_good(policy)).map(|known| known.addresses.clone())
    }

    /// Remembers what it resolves to. Connections to addresses that it left are closed.
    pub(super) fn remember(&self, policy: &Arc<Policy>, addresses: &[Checked]) {
        self.idle.borrow_mut().retain(|idle| addresses.contains(&idle.line.address));
        self.sessions.keep_to(addresses);
        *self.known.borrow_mut() = Some(Known {
            policy: policy.clone(),
            addresses: addresses.to_vec(),
            checked_at: Instant::now(),
        });
    }

    fn keep(&self, mut line: Line) {
        let known = self.known.borrow();
        let leads_there =
            known.as_ref().is_some_and(|known| known.addresses.contains(&line.address));
        let mut idle = self.idle.borrow_mut();
        if leads_there && idle.len() < IDLE_COUNT_MAX {
            line.reused = true;
            idle.push(Idle { line, since: Instant::now() });
        }
    }

    fn is_used(&self) -> bool {
        !self.gate.is_idle()
            || !self.idle.borrow().is_empty()
            || !self.sessions.is_empty()
            || self.breakers.borrow().iter().any(|breaker| breaker.is_open())
    }
}

impl Known {
    fn is_good(&self, policy: &Arc<Policy>) -> bool {
        let same = Arc::ptr_eq(&self.policy, policy) || self.policy == *policy;
        same && self.checked_at.elapsed() <= ADDRESSES_FRESH
    }
}

impl Line {
    pub(super) fn new(stream: Stream, address: Checked) -> Self {
        let connection = Box::new(Connection::new(stream));
        Self { connection, alarm: Alarm::default(), address, reused: false }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef(&self.tenant_id, &self.target, self.identity.as_deref(), self.via.as_ref())
            .hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        self.1.hash(state);
        self.2.hash(state);
        if let Some(via) = self.3 {
            via.hash(state);
        }
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == key.tenant_id
            && *self.1 == key.target
            && self.2 == key.identity.as_deref()
            && self.3 == key.via.as_ref()
    }
}
