//! Sign-ups whose link was not opened yet.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::domain::sign_up::Asked;
use crate::error::Result;

pub async fn insert(
    tx: &mut Tx,
    token_hash: &[u8],
    asked: &Asked,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into sign_up (token_hash, email, password_hash, tenant_name, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6)",
        token_hash,
        asked.email,
        asked.password_hash,
        asked.tenant,
        now,
        expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Spends the link of this hash, once: what it was for, where it was this transaction that did.
pub async fn spend(tx: &mut Tx, token_hash: &[u8], now: DateTime<Utc>) -> Result<Option<Asked>> {
    let asked = sqlx::query_as!(
        Asked,
        "delete from sign_up where token_hash = $1 and expires_at > $2
         returning email, password_hash, tenant_name as tenant",
        token_hash,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(asked)
}

/// Deletes sign-ups whose link expired before; answers how many.
pub async fn delete_old(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!("delete from sign_up where expires_at < $1", before)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}
