//! Which requests are watched on this replica, and by whom: what nodes are told, and where what they send goes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use proto::tail::v1::{Batch, Request, Tail};
use tokio::sync::{mpsc, watch};

use crate::ids::{NodeId, TenantId};

/// On one replica: nodes look through them for each request of a tenant.
const TAILS_MAX: usize = 500;
/// Of one tenant, on one replica.
const TAILS_OF_TENANT_MAX: usize = 10;
/// Batches that wait for a watcher who reads slowly. What further ones hold is counted.
const WAITING_MAX: usize = 64;

/// Requests of one node, and how many more there were.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub node: NodeId,
    pub requests: Vec<Request>,
    pub dropped: u64,
}

/// One for the whole replica.
#[derive(Default)]
pub struct Tails {
    next: AtomicU64,
    watched: Mutex<HashMap<u64, Watched>>,
    /// Told each time that `watched` is another.
    news: watch::Sender<()>,
}

struct Watched {
    tail: Tail,
    tenant: TenantId,
    cell: String,
    out: mpsc::Sender<Shown>,
    /// Left out since `out` last took something.
    dropped: u64,
}

/// What a watcher sees; its drop ends the watch.
pub struct Watching {
    tails: Arc<Tails>,
    id: u64,
    shown: mpsc::Receiver<Shown>,
}

impl Tails {
    /// Watches such requests of this tenant, which is in `cell`; none where it watches enough already. The tail's id
    /// and tenant are filled in here.
    pub fn watch(self: &Arc<Self>, tenant: TenantId, cell: String, tail: Tail) -> Option<Watching> {
        let mut watched = self.watched();
        let mine = watched.values().filter(|other| other.tenant == tenant).count();
        if mine >= TAILS_OF_TENANT_MAX || watched.len() >= TAILS_MAX {
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let tail = Tail { id, tenant_id: tenant.to_string(), ..tail };
        let (out, shown) = mpsc::channel(WAITING_MAX);
        watched.insert(id, Watched { tail, tenant, cell, out, dropped: 0 });
        drop(watched);
        self.news.send_replace(());
        Some(Watching { tails: self.clone(), id, shown })
    }

    /// Changes when what is watched does.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// What is watched in these cells, in order.
    pub(crate) fn of_cells(&self, cells: &[String]) -> Vec<Tail> {
        let watched = self.watched();
        let of_cells = watched.values().filter(|watched| cells.contains(&watched.cell));
        let mut tails: Vec<Tail> = of_cells.map(|watched| watched.tail.clone()).collect();
        tails.sort_unstable_by_key(|tail| tail.id);
        tails
    }

    /// Passes on what a node of these cells sent. What nobody watches any more is let fall, and so is what a node
    /// says of a tail that it was not told of.
    pub(crate) fn show(&self, node: NodeId, cells: &[String], batch: Batch) {
        let mut watched = self.watched();
        let Some(watched) = watched.get_mut(&batch.tail_id) else { return };
        if !cells.contains(&watched.cell) {
            return;
        }
        let count = batch.requests.len() as u64;
        let dropped = std::mem::take(&mut watched.dropped).saturating_add(batch.dropped);
        let shown = Shown { node, requests: batch.requests, dropped };
        if watched.out.try_send(shown).is_err() {
            watched.dropped = dropped.saturating_add(count);
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<u64, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for Watching {
    type Item = Shown;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Shown>> {
        self.shown.poll_recv(context)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.tails.watched().remove(&self.id);
        self.tails.news.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::ids::Rng;

    fn batch(tail_id: u64, dropped: u64) -> Batch {
        Batch { tail_id, requests: vec![Request::default()], dropped }
    }

    fn watch(tails: &Arc<Tails>, tenant: TenantId, cell: &str) -> Option<Watching> {
        tails.watch(tenant, cell.to_owned(), Tail::default())
    }

    #[test]
    fn a_node_is_told_of_and_heard_about_its_own_cells_only() {
        let tails = Arc::new(Tails::default());
        let (east, west) = (["east".to_owned()], ["west".to_owned()]);
        let mut watching = watch(&tails, Rng.id(), "east").unwrap();
        let node = Rng.id();

        let told = tails.of_cells(&east);
        assert_eq!(told.len(), 1);
        assert!(tails.of_cells(&west).is_empty());
        tails.show(node, &west, batch(told[0].id, 0));
        tails.show(node, &east, batch(told[0].id + 1, 0));
        assert!(watching.next().now_or_never().is_none());
        tails.show(node, &east, batch(told[0].id, 3));
        let shown = watching.next().now_or_never().flatten().unwrap();
        assert_eq!((shown.node, shown.requests.len(), shown.dropped), (node, 1, 3));

        drop(watching);
        assert!(tails.of_cells(&east).is_empty());
    }

    #[test]
    fn what_a_slow_watcher_misses_is_told() {
        let tails = Arc::new(Tails::default());
        let cells = ["east".to_owned()];
        let mut watching = watch(&tails, Rng.id(), "east").unwrap();
        let id = tails.of_cells(&cells)[0].id;
        for _ in 0..WAITING_MAX + 2 {
            tails.show(Rng.id(), &cells, batch(id, 1));
        }
        let mut seen = || watching.next().now_or_never().flatten();
        let dropped: u64 = std::iter::from_fn(&mut seen).map(|shown| shown.dropped).sum();
        assert_eq!(dropped, WAITING_MAX as u64);
        tails.show(Rng.id(), &cells, batch(id, 0));
        assert_eq!(seen().unwrap().dropped, 4, "two batches with one request and one dropped each");
    }

    #[test]
    fn a_tenant_watches_so_much_and_takes_nobody_elses_place() {
        let tails = Arc::new(Tails::default());
        let (alice, mallory) = (Rng.id(), Rng.id());
        let held: Vec<_> = std::iter::from_fn(|| watch(&tails, alice, "east")).collect();
        assert_eq!(held.len(), TAILS_OF_TENANT_MAX);
        assert!(watch(&tails, mallory, "east").is_some());
        drop(held);
        assert!(watch(&tails, alice, "east").is_some());
    }
}
