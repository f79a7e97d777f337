//! Invitations to sign up that nobody has used yet.

use chrono::{DateTime, Utc};

use uuid::Uuid;

use crate::app::Tx;
use crate::domain::page::Page;
use crate::domain::tenant_invitation::{Invited, NewTenantInvitation, TenantInvitation};
use crate::error::Result;
use crate::ids::TenantInvitationId;

pub async fn insert(tx: &mut Tx, new: &NewTenantInvitation) -> Result<()> {
    let invitation = &new.invitation;
    sqlx::query!(
        "insert into tenant_invitation (id, token_hash, email, tenant_name, mailed, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        invitation.id.0,
        new.token_hash,
        invitation.email,
        invitation.tenant_name.as_deref(),
        new.mailed,
        invitation.created_at,
        invitation.expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Newest first.
pub async fn list(tx: &mut Tx, now: DateTime<Utc>, page: &Page) -> Result<Vec<TenantInvitation>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, email, tenant_name, created_at, expires_at from tenant_invitation
         where expires_at > $1
           and ($2::timestamptz is null or (created_at, id) < ($2, $3))
           and ($4::timestamptz is null or (created_at, id) > ($4, $5))
         order by case when $6 then created_at end, case when $6 then id end, created_at desc, id desc
         limit $7",
        now,
        page.after_at(),
        page.after_uuid()?,
        page.before_at(),
        page.before_uuid()?,
        page.backward(),
        page.rows_max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(TenantInvitation::from).collect())
}

/// The invitation as it was; None where there is no such one whose link works.
pub async fn delete(
    tx: &mut Tx,
    id: TenantInvitationId,
    now: DateTime<Utc>,
) -> Result<Option<TenantInvitation>> {
    let row = sqlx::query_as!(
        Row,
        "delete from tenant_invitation where id = $1 and expires_at > $2
         returning id, email, tenant_name, created_at, expires_at",
        id.0,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(TenantInvitation::from))
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

struct Row {
    id: Uuid,
    email: String,
    tenant_name: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl From<Row> for TenantInvitation {
    fn from(row: Row) -> Self {
        Self {
            id: TenantInvitationId(row.id),
            email: row.email,
            tenant_name: row.tenant_name,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }
    }
}
