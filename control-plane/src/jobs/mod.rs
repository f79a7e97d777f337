//! What time starts. Every replica runs every job; the database sees to it that none does harm twice.

mod idempotency_keys;
mod mail;
mod management_requests;
mod quarantined_segments;
mod sessions;
mod usage_partitions;
mod usage_roots;
mod usage_segments;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::domain::fleet::{self, Replica};
use crate::domain::{auto_deployment, erasure, secret};
use crate::error::Result;
use crate::{domain, ledger, telemetry};

const SECOND: Duration = Duration::from_secs(1);
/// Usage is seen by hour, and in the bill, so long after it was seen by minute.
const ROLL_UP_EVERY: Duration = Duration::from_secs(2);
/// And by day so long after it was seen by hour.
const ROLL_UP_DAYS_EVERY: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(30);
/// What was written to an audit log is sealed so long after.
const SEAL_EVERY: Duration = Duration::from_secs(5);
/// An hour of the ledger is sealed so long after it can be.
const SEAL_USAGE_EVERY: Duration = Duration::from_mins(1);
/// Nodes get the signing keys of a day that comes at most so long after the first ended, a day before they need them.
const RENEW_EVERY: Duration = Duration::from_mins(1);
/// A replica says so often that it is there.
const PRESENT_EVERY: Duration = Duration::from_secs(5);
/// What is exported of the database's connections, and of usage that waits for the operator, is at most so old.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What is counted beside the ledger is held against it.
const RECONCILE_EVERY: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_hours(1);

/// Runs the jobs until `shutdown`. One in progress is given up: what it did not commit, it did not do.
pub async fn run(app: App, shutdown: CancellationToken) -> Result<()> {
    let replica = Replica::here(&app);
    let all = async {
        tokio::join!(
            every(PRESENT_EVERY, "say that this replica is there", || fleet::present(
                &app, &replica
            )),
            every(SECOND, "learn which sessions were ended", || sessions::learn_revoked(&app)),
            every(ROLL_UP_EVERY, "roll up usage", || unhurried(ledger::rollup::run(&app))),
            every(ROLL_UP_DAYS_EVERY, "roll up usage by day", || unhurried(ledger::rollup::days(
                &app
            ))),
            every(SEAL_USAGE_EVERY, "seal hours of the ledger", || usage_roots::seal(&app)),
            every(RENEW_EVERY, "renew the keys that nodes sign with", || secret::renew(&app)),
            every(SEAL_EVERY, "seal audit logs", || domain::audit_chain::seal(&app)),
            every(SECOND, "deploy to stages that serve the draft", || auto_deployment::run(&app)),
            every(SECOND, "send letters", || mail::send_waiting(&app)),
            every(HOUR, "keep the partitions of usage", || usage_partitions::keep(&app)),
            every(HOUR, "forget old sessions", || sessions::forget_old(&app)),
            every(HOUR, "erase closed tenants", || erasure::run(&app)),
            every(HOUR, "forget idempotency keys", || idempotency_keys::forget_old(&app)),
            every(HOUR, "forget requests", || management_requests::forget_old(&app)),
            every(HOUR, "forget settled segments of usage", || {
                quarantined_segments::forget_settled(&app)
            }),
            every(RECONCILE_EVERY, "reconcile usage", || ledger::reconciliation::run(&app)),
            every(HOUR, "forget reconciliations", || ledger::reconciliation::forget_old(&app)),
            every(HOUR, "forget segments of usage", || usage_segments::forget_old(&app)),
            every(LOOK_EVERY, "count the usage that waits for the operator", || {
                quarantined_segments::count_open(&app)
            }),
            every(LOOK_EVERY, "look at the connections to the database", async || {
                telemetry::look_at(&app);
                Ok(())
            }),
        )
    };
    shutdown.run_until_cancelled(Box::pin(all)).await;
    if let Err(error) = fleet::leave(&app, &replica).await {
        tracing::warn!(?error, "this replica could not say that it stops");
    }
    Ok(())
}

/// What a replica must know before it answers anyone.
pub async fn learn_ended_sessions(app: &App) -> Result<()> {
    sessions::learn_revoked(app).await
}

/// Rests four times as long as it worked, half a minute at most: the present hour changes all the time, and summing it takes longer the more
/// came in, which must not take the database from those who bring it.
async fn unhurried(work: impl Future<Output = Result<usize>>) -> Result<()> {
    let began = Instant::now();
    work.await?;
    sleep((began.elapsed() * 4).min(REST_MAX)).await;
    Ok(())
}

/// Does the job at once and then in each period; one that takes longer delays the next. A failure is logged when
/// it begins and when it is over, not each time between.
async fn every(period: Duration, what: &'static str, job: impl AsyncFn() -> Result<()>) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let failed = job().await.err();
        match &failed {
            Some(error) if !failing => {
                tracing::error!(job = what, ?error, "a job failed; it will be tried again");
            }
            None if failing => tracing::info!(job = what, "a job works again"),
            _ => {}
        }
        failing = failed.is_some();
    }
}
