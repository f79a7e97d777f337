//! What time starts. Every replica runs every job; the database sees to it that they do not do the same work.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::error::Result;
use crate::ledger;

/// Usage is seen by hour, and in the bill, so long after it was seen by minute.
const ROLL_UP_EVERY: Duration = Duration::from_secs(2);

/// Runs the jobs until `shutdown`.
pub async fn run(app: App, shutdown: CancellationToken) -> Result<()> {
    let mut roll_up = tokio::time::interval(ROLL_UP_EVERY);
    roll_up.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = roll_up.tick() => {}
        }
        if let Err(error) = ledger::rollup::run(&app).await {
            tracing::error!(?error, "usage was not rolled up; it will be tried again");
        }
    }
}
