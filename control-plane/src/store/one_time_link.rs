//! Links that work once.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::error::Result;

pub async fn insert(
    tx: &mut Tx,
    token_hash: &[u8],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into one_time_link (token_hash, purpose, created_at, expires_at) values ($1, 'operator', $2, $3)",
        token_hash,
        now,
        expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether the link may still be opened.
pub async fn is_good(tx: &mut Tx, token_hash: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let good = sqlx::query_scalar!(
        r#"select exists (select 1 from one_time_link
           where token_hash = $1 and used_at is null and expires_at > $2) as "good!""#,
        token_hash,
        now,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(good)
}

/// Spends the link, once: whether it was this transaction that did.
pub async fn spend(tx: &mut Tx, token_hash: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "update one_time_link set used_at = $2
         where token_hash = $1 and used_at is null and expires_at > $2",
        token_hash,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes links that expired before; answers how many.
pub async fn delete_old(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!("delete from one_time_link where expires_at < $1", before)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}
