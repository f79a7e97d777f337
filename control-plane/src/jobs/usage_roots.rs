//! Hours of the ledger that cannot change any more are sealed within a minute.

use crate::app::{App, Job};
use crate::error::Result;
use crate::{ledger, store, telemetry};

pub(super) async fn seal(app: &App) -> Result<()> {
    let roots = ledger::seal::run(app).await?;
    if roots > 0 {
        tracing::info!(roots, "hours of the ledger were sealed");
    }
    let mut tx = app.system(Job::Seal).await?;
    telemetry::sealed_until(store::usage_root::rooted_until(&mut tx).await?);
    Ok(())
}
