//! The sockets that are open: how many there may be, and how they end with the replica.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ids::TenantId;

/// On one replica, of all tenants together.
const SOCKETS_MAX: usize = 1000;
/// Of one tenant, on one replica: so many tabs of all its members.
const SOCKETS_OF_TENANT_MAX: usize = 50;
/// A peer that does not take the closing message by then is cut off.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Counts sockets, and ends them.
pub struct Sockets {
    stop: CancellationToken,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
    of_tenants: Arc<Mutex<HashMap<TenantId, usize>>>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(SOCKETS_MAX)),
            of_tenants: Arc::default(),
        }
    }
}

/// A tenant's socket; its drop makes room.
pub struct Place {
    of_tenants: Arc<Mutex<HashMap<TenantId, usize>>>,
    tenant: TenantId,
}

impl Sockets {
    /// Room for one more socket, of whoever's; none where the replica has enough.
    pub fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Room among the tenant's own.
    pub fn enter(&self, tenant: TenantId) -> Option<Place> {
        let mut open = self.of_tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = open.entry(tenant).or_default();
        if *mine >= SOCKETS_OF_TENANT_MAX {
            return None;
        }
        *mine += 1;
        Some(Place { of_tenants: self.of_tenants.clone(), tenant })
    }

    /// Completes when the replica is about to stop.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// A socket's life, which the end waits for.
    pub fn track<F: Future>(&self, life: F) -> impl Future<Output = F::Output> + use<F> {
        self.tasks.track_future(life)
    }

    /// Tells every socket to end, and waits until they have.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(CLOSE_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                sockets = self.tasks.len(),
                "sockets were cut that did not take their end"
            );
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of_tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = open.get_mut(&self.tenant) {
            *mine -= 1;
            if *mine == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Rng;

    #[test]
    fn a_tenant_has_so_many_sockets_and_takes_nobody_elses_place() {
        let sockets = Sockets::default();
        let (alice, mallory): (TenantId, TenantId) = (Rng.id(), Rng.id());
        let mut held: Vec<Place> = std::iter::from_fn(|| sockets.enter(alice)).collect();

        assert_eq!(held.len(), SOCKETS_OF_TENANT_MAX);
        assert!(sockets.enter(mallory).is_some());
        held.pop();
        assert!(sockets.enter(alice).is_some());
        held.clear();
        assert!(sockets.of_tenants.lock().unwrap().is_empty());
    }
}
