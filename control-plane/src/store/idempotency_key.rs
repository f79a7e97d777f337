//! Keys under which changes were tried.

use chrono::{DateTime, Utc};

use crate::access::attempt::Attempt;
use crate::app::Tx;
use crate::domain::idempotency_key::{Kept, Moments};
use crate::error::Result;

/// Gives the key to this try, unless another has it that has not expired and may still come to its end, or made its
/// change. Answers whether it did.
pub async fn claim(
    tx: &mut Tx,
    attempt: &Attempt,
    fingerprint: &[u8],
    request_id: &str,
    at: &Moments,
) -> Result<bool> {
    let claimed = sqlx::query!(
        "insert into idempotency_key (tenant_id, user_id, key, fingerprint, attempt, request_id, claimed_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint idempotency_key_once do update
         set fingerprint = excluded.fingerprint, attempt = excluded.attempt, request_id = excluded.request_id,
             claimed_at = excluded.claimed_at, effect_at = null, answer = null
         where idempotency_key.claimed_at <= $9
             or (idempotency_key.effect_at is null and idempotency_key.claimed_at <= $8)",
        attempt.tenant.map(|tenant| tenant.0),
        attempt.user.0,
        attempt.key,
        fingerprint,
        attempt.id,
        request_id,
        at.now,
        at.abandoned,
        at.expired,
    )
    .execute(&mut **tx)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// What the key's holder left there.
pub async fn get(tx: &mut Tx, attempt: &Attempt) -> Result<Option<Kept>> {
    let kept = sqlx::query_as!(
        Kept,
        "select fingerprint, request_id, claimed_at, effect_at, answer from idempotency_key
         where tenant_id is not distinct from $1 and user_id = $2 and key = $3",
        attempt.tenant.map(|tenant| tenant.0),
        attempt.user.0,
        attempt.key,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(kept)
}

/// Says that this transaction is the change of this try; false if the try holds its key no more.
pub async fn take_effect(tx: &mut Tx, attempt: &Attempt) -> Result<bool> {
    let held = sqlx::query!(
        "update idempotency_key set effect_at = now()
         where tenant_id is not distinct from $1 and user_id = $2 and key = $3 and attempt = $4",
        attempt.tenant.map(|tenant| tenant.0),
        attempt.user.0,
        attempt.key,
        attempt.id,
    )
    .execute(&mut **tx)
    .await?;
    Ok(held.rows_affected() == 1)
}

pub async fn keep_answer(tx: &mut Tx, attempt: &Attempt, answer: &[u8]) -> Result<()> {
    sqlx::query!(
        "update idempotency_key set answer = $5
         where tenant_id is not distinct from $1 and user_id = $2 and key = $3 and attempt = $4",
        attempt.tenant.map(|tenant| tenant.0),
        attempt.user.0,
        attempt.key,
        attempt.id,
        answer,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives the key back, if this try still holds it: at all, or only while its change was not made.
pub async fn release(tx: &mut Tx, attempt: &Attempt, only_without_effect: bool) -> Result<()> {
    sqlx::query!(
        "delete from idempotency_key
         where tenant_id is not distinct from $1 and user_id = $2 and key = $3 and attempt = $4
             and (effect_at is null or not $5)",
        attempt.tenant.map(|tenant| tenant.0),
        attempt.user.0,
        attempt.key,
        attempt.id,
        only_without_effect,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes keys that were claimed before then; answers how many.
pub async fn delete_old(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let deleted = sqlx::query!("delete from idempotency_key where claimed_at <= $1", before)
        .execute(&mut **tx)
        .await?;
    Ok(deleted.rows_affected())
}
