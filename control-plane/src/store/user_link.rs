//! Links of users: to verify an address, to reset a password. A user has one of each kind, the newest.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::domain::user_link::{Link, NewLink, Purpose};
use crate::error::Result;
use crate::ids::UserId;

/// Writes the link in the place of the one before.
pub async fn put(tx: &mut Tx, new: &NewLink<'_>) -> Result<()> {
    sqlx::query!(
        "insert into user_link (user_id, purpose, token_hash, email, mailed, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (user_id, purpose) do update set
             token_hash = excluded.token_hash, email = excluded.email, mailed = excluded.mailed,
             created_at = excluded.created_at, expires_at = excluded.expires_at",
        new.user.0,
        new.purpose.as_str(),
        new.token_hash,
        new.email,
        new.mailed,
        new.now,
        new.expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// When the user's newest link of this kind was made.
pub async fn made_at(tx: &mut Tx, user: UserId, purpose: Purpose) -> Result<Option<DateTime<Utc>>> {
    let made = sqlx::query_scalar!(
        "select created_at from user_link where user_id = $1 and purpose = $2",
        user.0,
        purpose.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(made)
}

/// What a link that is still good is for.
pub async fn find(
    tx: &mut Tx,
    purpose: Purpose,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Link>> {
    let row = sqlx::query!(
        "select user_id, email, mailed from user_link
         where token_hash = $1 and purpose = $2 and expires_at > $3",
        token_hash,
        purpose.as_str(),
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Link { user: UserId(row.user_id), email: row.email, mailed: row.mailed }))
}

/// Spends a link, once: what it was for, where it was this transaction that did.
pub async fn spend(
    tx: &mut Tx,
    purpose: Purpose,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Link>> {
    let row = sqlx::query!(
        "delete from user_link where token_hash = $1 and purpose = $2 and expires_at > $3
         returning user_id, email, mailed",
        token_hash,
        purpose.as_str(),
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Link { user: UserId(row.user_id), email: row.email, mailed: row.mailed }))
}

/// Deletes the user's links that would undo a change of the password or the address: those that reset the password, and
/// those that make another address theirs.
pub async fn delete_changes(tx: &mut Tx, user: UserId) -> Result<()> {
    sqlx::query!(
        "delete from user_link using user_account
         where user_link.user_id = $1 and user_account.id = user_link.user_id
           and (user_link.purpose = 'reset_password' or lower(user_link.email) <> lower(user_account.email))",
        user.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes links that expired before; answers how many.
pub async fn delete_old(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!("delete from user_link where expires_at < $1", before)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}
