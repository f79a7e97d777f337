//! Join tokens, by the hash of their secret.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::join_token::JoinToken;
use crate::domain::page::Page;
use crate::error::Result;
use crate::ids::{JoinTokenId, UserId};

pub async fn insert(tx: &mut Tx, token: &JoinToken, secret_hash: &[u8; 32]) -> Result<()> {
    sqlx::query!(
        "insert into join_token (id, secret_hash, name, cells, created_by, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        token.id.0,
        secret_hash.as_slice(),
        token.name,
        &token.cells,
        token.created_by.map(|user| user.0),
        token.created_at,
        token.expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The cells that the bearer of this token may serve, while it is good. Counts that it was used.
pub async fn spend(
    tx: &mut Tx,
    secret_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Option<Vec<String>>> {
    Ok(sqlx::query_scalar!(
        "update join_token set uses = uses + 1, last_used_at = $2
         where secret_hash = $1 and expires_at > $2 returning cells",
        secret_hash.as_slice(),
        now,
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Newest first.
pub async fn list(tx: &mut Tx, now: DateTime<Utc>, page: &Page) -> Result<Vec<JoinToken>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, name, cells, created_by, created_at, expires_at, uses, last_used_at from join_token
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
    Ok(rows.into_iter().map(JoinToken::from).collect())
}

/// The token as it was; None where there is no such good one.
pub async fn delete(tx: &mut Tx, id: JoinTokenId, now: DateTime<Utc>) -> Result<Option<JoinToken>> {
    let row = sqlx::query_as!(
        Row,
        "delete from join_token where id = $1 and expires_at > $2
         returning id, name, cells, created_by, created_at, expires_at, uses, last_used_at",
        id.0,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(JoinToken::from))
}

struct Row {
    id: Uuid,
    name: String,
    cells: Vec<String>,
    created_by: Option<Uuid>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    uses: i32,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<Row> for JoinToken {
    fn from(row: Row) -> Self {
        Self {
            id: JoinTokenId(row.id),
            name: row.name,
            cells: row.cells,
            created_by: row.created_by.map(UserId),
            created_at: row.created_at,
            expires_at: row.expires_at,
            uses: row.uses,
            last_used_at: row.last_used_at,
        }
    }
}
