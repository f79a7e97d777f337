//! Counts of log-ins that failed.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::domain::login_failure::Count;
use crate::error::Result;

/// The counts of these subjects, which exist and are locked until the transaction ends. They are always locked
/// in one order, so that no two tries wait for each other; each as it is made or found, so that none is deleted
/// in between.
pub async fn lock(tx: &mut Tx, subjects: &[String], now: DateTime<Utc>) -> Result<Vec<Count>> {
    let counts = sqlx::query_as!(
        Count,
        "insert into login_failure (subject, failures, first_failed_at, last_failed_at)
         select subject, 0, $2, $2 from unnest($1::text[]) as subject order by subject
         on conflict (subject) do update set failures = login_failure.failures
         returning subject, failures, last_failed_at",
        subjects,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(counts)
}

/// One failure more for each; the first, where the last one is older than `forgotten_before`.
pub async fn add(
    tx: &mut Tx,
    subjects: &[String],
    now: DateTime<Utc>,
    forgotten_before: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update login_failure set
             failures = case when last_failed_at <= $3 then 1 else failures + 1 end,
             first_failed_at = case when last_failed_at <= $3 then $2 else first_failed_at end,
             last_failed_at = $2
         where subject = any($1)",
        subjects,
        now,
        forgotten_before,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The locked counts of these subjects start afresh.
pub async fn reset(tx: &mut Tx, subjects: &[String]) -> Result<()> {
    sqlx::query!("update login_failure set failures = 0 where subject = any($1)", subjects)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// One failure less for this subject, whose count is locked.
pub async fn take_back(tx: &mut Tx, subject: &str) -> Result<()> {
    sqlx::query!(
        "update login_failure set failures = failures - 1 where subject = $1 and failures > 0",
        subject,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes counts whose last failure is older than `before`, but waits for none that is in use; answers how many.
pub async fn delete_old(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        "delete from login_failure where subject in (
             select subject from login_failure where last_failed_at < $1 for update skip locked
         )",
        before,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}
