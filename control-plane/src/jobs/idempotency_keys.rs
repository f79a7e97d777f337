//! Idempotency keys are known for a day, and deleted within the hour after it.

use crate::app::{App, Job};
use crate::domain::idempotency_key::KEPT_FOR;
use crate::error::Result;
use crate::store;

pub(super) async fn forget_old(app: &App) -> Result<()> {
    let mut tx = app.system(Job::IdempotencyKeys).await?;
    let deleted = store::idempotency_key::delete_old(&mut tx, app.clock.now() - KEPT_FOR).await?;
    tx.commit().await?;
    if deleted > 0 {
        tracing::info!(deleted, "idempotency keys were forgotten");
    }
    Ok(())
}
