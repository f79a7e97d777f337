//! Sessions.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::access::refresh::RefreshToken;
use crate::app::Tx;
use crate::domain::page::Page;
use crate::domain::session::{Active, NewSession, Place, Session, Told};
use crate::error::Result;
use crate::ids::{SessionId, TenantId, UserId};

pub async fn insert(tx: &mut Tx, new: &NewSession<'_>) -> Result<()> {
    sqlx::query!(
        "insert into session (id, user_id, tenant_id, refresh_hash, rotated_at, created_at, last_used_at,
                              expires_at, user_agent, address, api_version)
         values ($1, $2, $3, $4, $5, $5, $5, $6, $7, $8, $9)",
        new.id.0,
        new.user.0,
        new.tenant.map(|tenant| tenant.0),
        new.refresh_hash,
        new.now,
        new.expires_at,
        new.origin.user_agent,
        new.origin.address,
        new.api_version,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The session, locked until the transaction ends: of two refreshes at once the second sees the first's.
pub async fn lock(tx: &mut Tx, id: SessionId) -> Result<Option<Session>> {
    let row = sqlx::query!(
        "select id, user_id, tenant_id, refresh_hash, previous_refresh_hash, rotated_at, expires_at, revoked_at,
                api_version, user_agent
         from session where id = $1 for update",
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Session {
        id: SessionId(row.id),
        user: UserId(row.user_id),
        tenant: row.tenant_id.map(TenantId),
        refresh_hash: row.refresh_hash,
        previous_refresh_hash: row.previous_refresh_hash,
        rotated_at: row.rotated_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        api_version: row.api_version,
        user_agent: row.user_agent,
    }))
}

/// Marks a use; with `next`, that becomes the refresh cookie's value and the present one the previous.
pub async fn used(
    tx: &mut Tx,
    id: SessionId,
    tenant: Option<TenantId>,
    next: Option<&RefreshToken>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update session set
             tenant_id = $2,
             last_used_at = $4,
             previous_refresh_hash = case when $3::bytea is null then previous_refresh_hash else refresh_hash end,
             rotated_at = case when $3 is null then rotated_at else $4 end,
             refresh_hash = coalesce($3, refresh_hash)
         where id = $1",
        id.0,
        tenant.map(|tenant| tenant.0),
        next.map(RefreshToken::hash),
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn revoke(tx: &mut Tx, id: SessionId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("update session set revoked_at = $2 where id = $1", id.0, now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Revokes every session of the user that was not yet; answers which.
pub async fn revoke_all(tx: &mut Tx, user: UserId, now: DateTime<Utc>) -> Result<Vec<SessionId>> {
    let ids = sqlx::query_scalar!(
        "update session set revoked_at = $2 where user_id = $1 and revoked_at is null returning id",
        user.0,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(SessionId).collect())
}

/// Revokes the user's sessions that are in the tenant; answers which.
pub async fn revoke_in(
    tx: &mut Tx,
    tenant: TenantId,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>> {
    let ids = sqlx::query_scalar!(
        "update session set revoked_at = $3
         where tenant_id = $1 and user_id = $2 and revoked_at is null returning id",
        tenant.0,
        user.0,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(SessionId).collect())
}

/// Revokes every session that is in the tenant; answers which.
pub async fn revoke_of_tenant(
    tx: &mut Tx,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>> {
    let ids = sqlx::query_scalar!(
        "update session set revoked_at = $2 where tenant_id = $1 and revoked_at is null returning id",
        tenant.0,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(SessionId).collect())
}

/// Revokes the user's sessions but one; answers which, in the order of their tenants' ids, by which logs may be
/// written.
pub async fn revoke_others(
    tx: &mut Tx,
    user: UserId,
    but: SessionId,
    now: DateTime<Utc>,
) -> Result<Vec<Told>> {
    let rows = sqlx::query!(
        r#"with ended as (
             update session set revoked_at = $3
             where user_id = $1 and id <> $2 and revoked_at is null and expires_at > $3
             returning id, tenant_id, user_agent
         ) select id as "id!", tenant_id, user_agent as "user_agent!" from ended order by tenant_id, id"#,
        user.0,
        but.0,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    let ended = rows.into_iter().map(|row| Told {
        id: SessionId(row.id),
        user,
        tenant: row.tenant_id.map(TenantId),
        user_agent: row.user_agent,
    });
    Ok(ended.collect())
}

/// One of the user's sessions that has not ended.
pub async fn active(
    tx: &mut Tx,
    user: UserId,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<Active>> {
    let row = sqlx::query_as!(
        Row,
        "select id, created_at, last_used_at, expires_at, user_agent, address from session
         where user_id = $1 and id = $2 and revoked_at is null and expires_at > $3",
        user.0,
        id.0,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Active::from))
}

/// The user's sessions that have not ended, oldest first, or from the end where the page says so.
pub async fn list(
    tx: &mut Tx,
    user: UserId,
    now: DateTime<Utc>,
    page: &Page,
) -> Result<Vec<Active>> {
    macro_rules! ordered {
        ($order:literal) => {
            sqlx::query_as!(
                Row,
                "select id, created_at, last_used_at, expires_at, user_agent, address from session
                 where user_id = $1 and revoked_at is null and expires_at > $2
                   and ($3::timestamptz is null or (created_at, id) > ($3, $4))
                   and ($5::timestamptz is null or (created_at, id) < ($5, $6))
                 order by "
                    + $order
                    + " limit $7",
                user.0,
                now,
                page.after_at(),
                page.after_uuid()?,
                page.before_at(),
                page.before_uuid()?,
                page.rows_max(),
            )
            .fetch_all(&mut **tx)
            .await?
        };
    }
    let rows = if page.backward() {
        ordered!("created_at desc, id desc")
    } else {
        ordered!("created_at, id")
    };
    Ok(rows.into_iter().map(Active::from).collect())
}

/// Sessions revoked since.
pub async fn revoked_since(tx: &mut Tx, since: DateTime<Utc>) -> Result<Vec<SessionId>> {
    let ids = sqlx::query_scalar!("select id from session where revoked_at >= $1", since)
        .fetch_all(&mut **tx)
        .await?;
    Ok(ids.into_iter().map(SessionId).collect())
}

/// From where and with what the user's sessions of late were begun, each pair once; the newest hundred.
pub async fn places(tx: &mut Tx, user: Option<UserId>, since: DateTime<Utc>) -> Result<Vec<Place>> {
    let places = sqlx::query_as!(
        Place,
        "select address, user_agent from session where user_id = $1 and created_at >= $2
         group by address, user_agent order by max(created_at) desc limit 100",
        user.map_or(Uuid::nil(), |user| user.0),
        since,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(places)
}

/// Deletes every session of the user; answers which.
pub async fn delete_of(tx: &mut Tx, user: UserId) -> Result<Vec<SessionId>> {
    let ids = sqlx::query_scalar!("delete from session where user_id = $1 returning id", user.0)
        .fetch_all(&mut **tx)
        .await?;
    Ok(ids.into_iter().map(SessionId).collect())
}

/// Deletes sessions that ended before; answers how many.
pub async fn delete_ended(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!("delete from session where expires_at < $1 or revoked_at < $1", before)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}

struct Row {
    id: Uuid,
    created_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    user_agent: String,
    address: String,
}

impl From<Row> for Active {
    fn from(row: Row) -> Self {
        Self {
            id: SessionId(row.id),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            user_agent: row.user_agent,
            address: row.address,
        }
    }
}
