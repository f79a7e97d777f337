//! Invitations to sign up that nobody has used yet.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::domain::tenant_invitation::{Invited, NewTenantInvitation};
use crate::error::Result;

pub async fn insert(tx: &mut Tx, new: &NewTenantInvitation, now: DateTime<Utc>) -> Result<()> {
    let invitation = &new.invitation;
    sqlx::query!(
        "insert into tenant_invitation (id, token_hash, email, tenant_name, mailed, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        invitation.id.0,
        new.token_hash,
        invitation.email,
        invitation.tenant_name.as_deref(),
        new.mailed,
        now,
        invitation.expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes those of the address; answers how many.
pub async fn delete_of(tx: &mut Tx, email: &str) -> Result<u64> {
    let done = sqlx::query!("delete from tenant_invitation where lower(email) = lower($1)", email)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}

/// What the link of this hash is for, while it works.
pub async fn opened(tx: &mut Tx, hash: &[u8], now: DateTime<Utc>) -> Result<Option<Invited>> {
    let invited = sqlx::query_as!(
        Invited,
        "select email, tenant_name, mailed from tenant_invitation where token_hash = $1 and expires_at > $2",
        hash,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(invited)
}

/// Spends the link, once: whether it was this transaction that did.
pub async fn spend(tx: &mut Tx, hash: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "delete from tenant_invitation where token_hash = $1 and expires_at > $2",
        hash,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes invitations that expired before; answers how many.
pub async fn delete_old(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!("delete from tenant_invitation where expires_at < $1", before)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}
