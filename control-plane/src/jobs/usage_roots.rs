//! Hours of the ledger that cannot change any more are sealed within a minute.

use crate::app::App;
use crate::error::Result;
use crate::ledger;

pub(super) async fn seal(app: &App) -> Result<()> {
    let roots = ledger::seal::run(app).await?;
    if roots > 0 {
        tracing::info!(roots, "hours of the ledger were sealed");
    }
    Ok(())
}
