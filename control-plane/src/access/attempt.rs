//! One try of a change under its caller's `Idempotency-Key`, known to every transaction of its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use crate::ids::{TenantId, UserId};

/// The try that holds a key. The first of its transactions that commits writes so into the key's row, with the
/// change itself: both happen, or neither does.
#[derive(Debug)]
pub struct Attempt {
    pub id: Uuid,
    /// None for the operator.
    pub tenant: Option<TenantId>,
    pub user: UserId,
    pub key: String,
    took_effect: AtomicBool,
}

tokio::task_local! {
    static CURRENT: Arc<Attempt>;
}

impl Attempt {
    pub fn new(tenant: Option<TenantId>, user: UserId, key: &str) -> Self {
        let id = Uuid::now_v7();
        Self { id, tenant, user, key: key.to_owned(), took_effect: AtomicBool::new(false) }
    }

    /// The try that this task belongs to.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Runs `work` as this try.
    pub async fn scope<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Whether one of its transactions was committed.
    pub fn took_effect(&self) -> bool {
        self.took_effect.load(Ordering::Acquire)
    }

    pub(crate) fn takes_effect(&self) {
        self.took_effect.store(true, Ordering::Release);
    }
}
