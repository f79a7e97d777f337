//! Connections to backends that wait for the next request: each data thread's own, the last used first.

use std::{
    cell::RefCell,
    hash::{Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use egress::{Checked, ConnectError, Policy, Target};
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::upload::Upload;
use crate::{node::Node, telemetry::Phase};

/// How long a connection may wait. Most backends close theirs after 60 s or more.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How many may wait for one endpoint.
const IDLE_COUNT_MAX: usize = 256;
/// How long addresses are used before they are resolved, and so checked, again.
const ADDRESSES_FRESH: Duration = Duration::from_secs(5);
/// Endpoints that nothing was asked of are forgotten after this.
const FORGET_AFTER: Duration = Duration::from_mins(2);
/// The longest head of a backend's answer.
const HEAD_BYTES_MAX: usize = 256 * 1024;

pub(crate) type Sender = SendRequest<Upload>;

/// By tenant, so that no two tenants ever share a connection.
#[derive(Default)]
pub(crate) struct Pools {
    endpoints: RefCell<HashMap<Key, Endpoint, RandomState>>,
}

#[derive(PartialEq, Eq)]
struct Key {
    tenant_id: Arc<str>,
    target: Target,
}

struct KeyRef<'a>(&'a Arc<str>, &'a Target);

struct Endpoint {
    /// The policy that the addresses were checked under.
    policy: Arc<Policy>,
    addresses: Vec<Checked>,
    checked_at: Instant,
    idle: Vec<Idle>,
    used_at: Instant,
}

struct Idle {
    sender: Sender,
    address: Checked,
    since: Instant,
}

/// A connection to send one request on.
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    pub(crate) place: Place,
    /// Whether it was used before: its backend may have closed it unseen.
    pub(crate) reused: bool,
}

/// Where a connection goes back to.
#[derive(Clone)]
pub(crate) struct Place {
    tenant_id: Arc<str>,
    target: Target,
    address: Checked,
}

impl Pools {
    /// A connection that waits, if one does that still leads to an address the policy lets through.
    fn take(&self, key: &KeyRef<'_>, policy: &Arc<Policy>) -> Option<Connection> {
        let mut endpoints = self.endpoints.borrow_mut();
        let endpoint = endpoints.get_mut(key)?;
        endpoint.used_at = Instant::now();
        if endpoint.policy != *policy || endpoint.checked_at.elapsed() > ADDRESSES_FRESH {
            return None;
        }
        endpoint.idle.retain(|idle| !idle.sender.is_closed());
        // One whose last answer has just been read may not be ready yet; it stays for the next call.
        let at = endpoint.idle.iter().rposition(|idle| idle.sender.is_ready())?;
        let Idle { sender, address, .. } = endpoint.idle.remove(at);
        let place = Place { tenant_id: key.0.clone(), target: key.1.clone(), address };
        Some(Connection { sender, place, reused: true })
    }

    fn addresses(&self, key: &KeyRef<'_>, policy: &Arc<Policy>) -> Option<Vec<Checked>> {
        let endpoints = self.endpoints.borrow();
        let endpoint = endpoints.get(key)?;
        let fresh = endpoint.policy == *policy && endpoint.checked_at.elapsed() <= ADDRESSES_FRESH;
        fresh.then(|| endpoint.addresses.clone())
    }

    /// Remembers what an endpoint resolves to. Connections to addresses that it left are closed.
    fn remember(&self, key: &KeyRef<'_>, policy: &Arc<Policy>, addresses: &[Checked]) {
        let mut endpoints = self.endpoints.borrow_mut();
        let now = Instant::now();
        if let Some(endpoint) = endpoints.get_mut(key) {
            endpoint.idle.retain(|idle| addresses.contains(&idle.address));
            endpoint.policy.clone_from(policy);
            endpoint.addresses = addresses.to_vec();
            endpoint.checked_at = now;
            return;
        }
        let endpoint = Endpoint {
            policy: policy.clone(),
            addresses: addresses.to_vec(),
            checked_at: now,
            idle: Vec::new(),
            used_at: now,
        };
        endpoints.insert(Key { tenant_id: key.0.clone(), target: key.1.clone() }, endpoint);
    }

    /// Puts a connection back whose answer was read to its end.
    pub(crate) fn give_back(&self, sender: Sender, place: &Place) {
        let mut endpoints = self.endpoints.borrow_mut();
        let Some(endpoint) = endpoints.get_mut(&KeyRef(&place.tenant_id, &place.target)) else {
            return;
        };
        let known = endpoint.addresses.contains(&place.address);
        if known && !sender.is_closed() && endpoint.idle.len() < IDLE_COUNT_MAX {
            endpoint.idle.push(Idle { sender, address: place.address, since: Instant::now() });
        }
    }

    /// Each second: closes what waited too long.
    pub(crate) fn sweep(&self) {
        self.endpoints.borrow_mut().retain(|_, endpoint| {
            endpoint
                .idle
                .retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < IDLE_MAX);
            !endpoint.idle.is_empty() || endpoint.used_at.elapsed() < FORGET_AFTER
        });
    }
}

/// A connection for one request: one that waits, unless `fresh`, else a new one, within `limit`.
pub(crate) async fn connect(
    node: &Node,
    tenant_id: &Arc<str>,
    target: &Target,
    policy: &Arc<Policy>,
    limit: Duration,
    fresh: bool,
) -> Result<Connection, ConnectError> {
    let key = KeyRef(tenant_id, target);
    let deadline = Instant::now() + limit;
    let left = || deadline.saturating_duration_since(Instant::now());
    if !fresh && let Some(connection) = node.pools.take(&key, policy) {
        return Ok(connection);
    }
    let known = node.pools.addresses(&key, policy);
    let addresses = if let Some(addresses) = known {
        addresses
    } else {
        let addresses = node.connector.resolve(target, policy, left()).await?;
        node.pools.remember(&key, policy, &addresses);
        if !fresh && let Some(connection) = node.pools.take(&key, policy) {
            return Ok(connection);
        }
        addresses
    };
    let mut last = ConnectError::Timeout;
    for (tried, address) in addresses.iter().enumerate() {
        let share = left() / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match open(node, target, *address, share).await {
            Ok(sender) => {
                let place = Place {
                    tenant_id: tenant_id.clone(),
                    target: target.clone(),
                    address: *address,
                };
                return Ok(Connection { sender, place, reused: false });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn open(
    node: &Node,
    target: &Target,
    address: Checked,
    limit: Duration,
) -> Result<Sender, ConnectError> {
    let began = Instant::now();
    let stream = node.connector.connect(target, address, limit).await?;
    node.metrics.phase(Phase::UpstreamConnect, began.elapsed());
    node.shared.metrics.upstream_connects.inc();
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ConnectError::Connect(std::io::Error::other(error)))?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a backend ended badly");
        }
    });
    Ok(sender)
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef(&self.tenant_id, &self.target).hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        self.1.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == key.tenant_id && *self.1 == key.target
    }
}
