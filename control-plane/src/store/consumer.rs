//! Consumers.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::consumer::{Consumer, NewConsumer};
use crate::domain::page::Page;
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ConsumerId, TenantId};

pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    id: ConsumerId,
    new: &NewConsumer,
) -> Result<Consumer> {
    let row = sqlx::query_as!(
        Row,
        "insert into consumer (tenant_id, id, name, external_id) values ($1, $2, $3, $4)
         returning id, name, external_id, created_at, updated_at",
        tenant.0,
        id.0,
        new.name,
        new.external_id,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("consumer_name_key", || {
        Error::conflict("name", format!("a consumer named {} exists", new.name))
    })?;
    Ok(row.into())
}

pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from consumer where tenant_id = $1"#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[ConsumerId]) -> Result<Vec<Consumer>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        "select id, name, external_id, created_at, updated_at from consumer
         where tenant_id = $1 and id = any($2)",
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(Consumer::from).collect())
}

/// Oldest first, or from the end where the page says so.
pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<Consumer>> {
    macro_rules! ordered {
        ($order:literal) => {
            sqlx::query_as!(
                Row,
                "select id, name, external_id, created_at, updated_at from consumer
                 where tenant_id = $1
                   and ($2::timestamptz is null or (created_at, id) > ($2, $3))
                   and ($4::timestamptz is null or (created_at, id) < ($4, $5))
                 order by "
                    + $order
                    + " limit $6",
                tenant.0,
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
    Ok(rows.into_iter().map(Consumer::from).collect())
}

/// Answers what was deleted.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: ConsumerId) -> Result<Consumer> {
    let row = sqlx::query_as!(
        Row,
        "delete from consumer where tenant_id = $1 and id = $2
         returning id, name, external_id, created_at, updated_at",
        tenant.0,
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await
    .on_constraint("api_key_consumer_fkey", || {
        Error::conflict("id", "the consumer still has API keys; delete them first")
    })?;
    row.map(Consumer::from).ok_or(Error::NotFound("consumer"))
}

struct Row {
    id: Uuid,
    name: String,
    external_id: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Consumer {
    fn from(row: Row) -> Self {
        Self {
            id: ConsumerId(row.id),
            name: row.name,
            external_id: row.external_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
