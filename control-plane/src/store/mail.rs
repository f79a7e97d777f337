//! Letters that wait to be sent, wrapped.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::domain::outbox::Waiting;
use crate::error::Result;
use crate::ids::{MailId, TenantId};

pub async fn insert(
    tx: &mut Tx,
    id: MailId,
    tenant: Option<TenantId>,
    letter: &[u8],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into mail (id, tenant_id, letter, next_try_at, created_at) values ($1, $2, $3, $4, $4)",
        id.0,
        tenant.map(|tenant| tenant.0),
        letter,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes letters whose time has come, and counts the try: nobody else tries one before its wait is over, which is
/// `first_wait_seconds`, then twice that and so on up to `longest_wait_seconds`.
pub async fn take(
    tx: &mut Tx,
    now: DateTime<Utc>,
    most: i64,
    first_wait_seconds: i32,
    longest_wait_seconds: i32,
) -> Result<Vec<Waiting>> {
    let rows = sqlx::query!(
        "update mail set
             tries = tries + 1,
             next_try_at = $1::timestamptz
                 + make_interval(secs => least($3::integer * power(2, least(tries, 20)), $4::integer))
         where id in (
             select id from mail where next_try_at <= $1 order by next_try_at limit $2 for update skip locked
         )
         returning id, letter, tries, created_at",
        now,
        most,
        first_wait_seconds,
        longest_wait_seconds,
    )
    .fetch_all(&mut **tx)
    .await?;
    let waiting = rows.into_iter().map(|row| Waiting {
        id: MailId(row.id),
        letter: row.letter,
        tries: row.tries,
        created_at: row.created_at,
    });
    Ok(waiting.collect())
}

pub async fn delete(tx: &mut Tx, id: MailId) -> Result<()> {
    sqlx::query!("delete from mail where id = $1", id.0).execute(&mut **tx).await?;
    Ok(())
}
