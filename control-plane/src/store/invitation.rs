//! Invitations.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::access::role::Role;
use crate::app::Tx;
use crate::domain::invitation::{Invitation, NewInvitation, NewLink, Opened};
use crate::domain::page::Page;
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{InvitationId, TenantId};
use crate::store;

pub async fn insert(tx: &mut Tx, tenant: TenantId, new: &NewInvitation) -> Result<()> {
    sqlx::query!(
        "insert into invitation (id, tenant_id, email, role, invited_by, token_hash, mailed, sent_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        new.id.0,
        tenant.0,
        new.email.as_str(),
        new.role.as_str(),
        new.invited_by.0,
        new.link.token_hash,
        new.link.mailed,
        new.link.now,
        new.link.expires_at,
    )
    .execute(&mut **tx)
    .await
    .on_constraint("invitation_email_key", || {
        Error::conflict("email", "this address has an invitation already; send that again or revoke it")
    })?;
    Ok(())
}

/// Replaces the link, and with it the time that is left.
pub async fn set_link(
    tx: &mut Tx,
    tenant: TenantId,
    id: InvitationId,
    link: &NewLink,
) -> Result<()> {
    sqlx::query!(
        "update invitation set token_hash = $3, mailed = $4, sent_at = $5, expires_at = $6
         where tenant_id = $1 and id = $2",
        tenant.0,
        id.0,
        link.token_hash,
        link.mailed,
        link.now,
        link.expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: InvitationId) -> Result<()> {
    sqlx::query!("delete from invitation where tenant_id = $1 and id = $2", tenant.0, id.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Deletes the invitation while its link is this one and good: whether it was this transaction that did.
pub async fn spend(
    tx: &mut Tx,
    id: InvitationId,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        "delete from invitation where id = $1 and token_hash = $2 and expires_at > $3",
        id.0,
        token_hash,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a good link of this hash is for, in a tenant that is not closed.
pub async fn opened(tx: &mut Tx, token_hash: &[u8], now: DateTime<Utc>) -> Result<Option<Opened>> {
    let row = sqlx::query!(
        r#"select i.id, i.email, i.role, i.mailed, i.expires_at, t.id as tenant_id,
                  exists (select 1 from user_account u where lower(u.email) = lower(i.email)) as "has_account!"
           from invitation i join tenant t on t.id = i.tenant_id
           where i.token_hash = $1 and i.expires_at > $2 and t.status <> 'closed'"#,
        token_hash,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Opened {
        id: InvitationId(row.id),
        tenant: store::tenant::get(tx, TenantId(row.tenant_id)).await?,
        email: row.email,
        role: Role::try_from(row.role.as_str())?,
        mailed: row.mailed,
        expires_at: row.expires_at,
        has_account: row.has_account,
    }))
}

/// Locks the invitation, if it is the tenant's, until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: InvitationId) -> Result<()> {
    sqlx::query_scalar!(
        "select id from invitation where tenant_id = $1 and id = $2 for update",
        tenant.0,
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(())
}

pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from invitation where tenant_id = $1"#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[InvitationId]) -> Result<Vec<Invitation>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select i.id, i.email, i.role, u.email as "invited_by?", i.created_at, i.sent_at, i.expires_at
         from invitation i left join user_account u on u.id = i.invited_by
         where i.tenant_id = $1 and i.id = any($2)"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Invitation::try_from).collect()
}

/// Oldest first, or from the end where the page says so.
pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<Invitation>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select i.id, i.email, i.role, u.email as "invited_by?", i.created_at, i.sent_at, i.expires_at
         from invitation i left join user_account u on u.id = i.invited_by
         where i.tenant_id = $1
           and ($2::timestamptz is null or (i.created_at, i.id) > ($2, $3))
           and ($4::timestamptz is null or (i.created_at, i.id) < ($4, $5))
         order by case when $6 then i.created_at end desc, case when $6 then i.id end desc,
                  i.created_at, i.id
         limit $7"#,
        tenant.0,
        page.after_at(),
        page.after_uuid()?,
        page.before_at(),
        page.before_uuid()?,
        page.backward(),
        page.rows_max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Invitation::try_from).collect()
}

struct Row {
    id: Uuid,
    email: String,
    role: String,
    invited_by: Option<String>,
    created_at: DateTime<Utc>,
    sent_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl TryFrom<Row> for Invitation {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: InvitationId(row.id),
            email: row.email,
            role: Role::try_from(row.role.as_str())?,
            invited_by: row.invited_by,
            created_at: row.created_at,
            sent_at: row.sent_at,
            expires_at: row.expires_at,
        })
    }
}
