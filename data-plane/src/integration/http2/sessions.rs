//! The HTTP/2 connections to one backend, on one data thread: the first with a free place gets the next call.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use egress::{Checked, ConnectError, Policy, Protocol, Target};
use tokio::{sync::Notify, time::timeout_at};

use super::session::{Session, Slot};
use crate::{
    integration::{connect, pool::Place},
    node::Node,
};

/// Connections at once. Beyond it calls wait for one that ends.
const SESSIONS_MAX: usize = 64;
/// How long one may wait for a call. Most backends close theirs after 60 s or more.
const IDLE_MAX: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(in crate::integration) struct Sessions {
    all: RefCell<Vec<Session>>,
    /// One at a time is opened: it may have places for all who wait.
    opening: Cell<bool>,
    /// Told when a place may be free, or nobody opens a connection any more.
    changed: Rc<Notify>,
}

/// Why a call got no place.
pub(super) enum Unconnected {
    Connect(ConnectError),
    /// There is a connection, but what came on it is no HTTP/2.
    NotHttp2(Option<h2::Error>),
}

/// The turn of whoever opens a connection.
struct Opening<'a>(&'a Sessions);

impl Sessions {
    /// Nothing leads any more to an address that the backend left.
    pub(in crate::integration) fn keep_to(&self, addresses: &[Checked]) {
        self.all.borrow_mut().retain(|session| addresses.contains(&session.address));
    }

    /// Each second: lets go of what is broken, going away, or waited too long.
    pub(in crate::integration) fn sweep(&self) {
        self.all.borrow_mut().retain_mut(|session| session.idle() < IDLE_MAX && session.is_open());
    }

    pub(in crate::integration) fn is_empty(&self) -> bool {
        self.all.borrow().is_empty() && !self.opening.get()
    }

    fn take(&self) -> Option<Slot> {
        let mut sessions = self.all.borrow_mut();
        sessions.retain_mut(Session::is_open);
        sessions.iter().find_map(|session| session.enter(true))
    }

    fn begin_opening(&self) -> Option<Opening<'_>> {
        let may_open = !self.opening.get() && self.all.borrow().len() < SESSIONS_MAX;
        may_open.then(|| {
            self.opening.set(true);
            Opening(self)
        })
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.changed.notify_waiters();
    }
}

/// A place on a connection: one that is open, else a new one, by `deadline`.
pub(super) async fn enter(
    node: &Node,
    place: &Place,
    target: &Target,
    policy: &Arc<Policy>,
    deadline: Instant,
) -> Result<Slot, Unconnected> {
    let sessions = &place.endpoint.sessions;
    loop {
        let addresses = connect::addresses(node, place, target, policy, deadline).await?;
        if let Some(slot) = sessions.take() {
            return Ok(slot);
        }
        let changed = sessions.changed.notified();
        let Some(_opening) = sessions.begin_opening() else {
            timeout_at(deadline.into(), changed).await.map_err(|_| ConnectError::Timeout)?;
            continue;
        };
        let identity = place.endpoint.identity.as_deref();
        let (stream, address) =
            connect::dial(node, target, identity, &addresses, Protocol::Http2, deadline).await?;
        let opened = Session::open(stream, address, sessions.changed.clone());
        let opened =
            timeout_at(deadline.into(), opened).await.map_err(|_| ConnectError::Timeout)?;
        let session = opened.map_err(Unconnected::NotHttp2)?;
        let slot = session.enter(false);
        sessions.all.borrow_mut().push(session);
        if let Some(slot) = slot {
            return Ok(slot);
        }
    }
}

impl From<ConnectError> for Unconnected {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}
