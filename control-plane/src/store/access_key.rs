//! Access keys. Their secrets are written here wrapped.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::access_key::AccessKey;
use crate::domain::page::Page;
use crate::error::{Error, Result};
use crate::ids::{AccessKeyId, TenantId, UserId};

/// Every query that gives whole keys: `select!("where …", "order by …"; arguments)`.
macro_rules! select {
    ($($tail:literal),+; $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select k.id, k.user_id, u.email as "user_email?", k.name, k.enabled, k.created_at, k.last_used_at, k.revision
             from access_key k left join user_account u on u.id = k.user_id "# $(+ $tail)+,
            $($argument),*
        )
    };
}

pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    user: UserId,
    id: &AccessKeyId,
    name: &str,
    secret: &[u8],
) -> Result<()> {
    sqlx::query!(
        "insert into access_key (tenant_id, id, user_id, name, secret) values ($1, $2, $3, $4, $5)",
        tenant.0,
        id.as_str(),
        user.0,
        name,
        secret,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes what of a key may change.
pub async fn update(tx: &mut Tx, tenant: TenantId, key: &AccessKey) -> Result<()> {
    sqlx::query!(
        "update access_key set name = $3, enabled = $4 where tenant_id = $1 and id = $2",
        tenant.0,
        key.id.as_str(),
        key.name,
        key.enabled,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: &AccessKeyId) -> Result<()> {
    sqlx::query!("delete from access_key where tenant_id = $1 and id = $2", tenant.0, id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Deletes the user's keys in the tenant; answers which.
pub async fn delete_of(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Vec<AccessKey>> {
    let rows = sqlx::query_as!(
        Row,
        r#"delete from access_key where tenant_id = $1 and user_id = $2
           returning id, user_id, null::text as "user_email?", name, enabled, created_at, last_used_at, revision"#,
        tenant.0,
        user.0,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(AccessKey::try_from).collect()
}

/// Locks the key, if it is the tenant's, until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: &AccessKeyId) -> Result<()> {
    sqlx::query_scalar!(
        "select id from access_key where tenant_id = $1 and id = $2 for update",
        tenant.0,
        id.as_str()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(())
}

pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from access_key where tenant_id = $1"#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Those of `ids` that are the tenant's and, where one is given, that user's; in no order.
pub async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    user: Option<UserId>,
    ids: &[AccessKeyId],
) -> Result<Vec<AccessKey>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = select!(
        "where k.tenant_id = $1 and k.id = any($2) and ($3::uuid is null or k.user_id = $3)";
        tenant.0,
        &ids,
        user.map(|user| user.0),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(AccessKey::try_from).collect()
}

/// All, or one user's; oldest first, or from the end where the page says so.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    user: Option<UserId>,
    page: &Page,
) -> Result<Vec<AccessKey>> {
    macro_rules! ordered {
        ($order:literal) => {
            select!(
                "where k.tenant_id = $1
                   and ($2::timestamptz is null or (k.created_at, k.id) > ($2, $3))
                   and ($4::timestamptz is null or (k.created_at, k.id) < ($4, $5))
                   and ($7::uuid is null or k.user_id = $7)
                 order by ", $order, " limit $6";
                tenant.0,
                page.after_at(),
                page.after_id(),
                page.before_at(),
                page.before_id(),
                page.rows_max(),
                user.map(|user| user.0),
            )
            .fetch_all(&mut **tx)
            .await?
        };
    }
    let rows = if page.backward() {
        ordered!("k.created_at desc, k.id desc")
    } else {
        ordered!("k.created_at, k.id")
    };
    rows.into_iter().map(AccessKey::try_from).collect()
}

struct Row {
    id: String,
    user_id: Uuid,
    user_email: Option<String>,
    name: String,
    enabled: bool,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    revision: i64,
}

impl TryFrom<Row> for AccessKey {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id.parse()?,
            user: UserId(row.user_id),
            user_email: row.user_email,
            name: row.name,
            enabled: row.enabled,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            revision: row.revision,
        })
    }
}
