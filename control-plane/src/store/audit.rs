//! The audit log: rows are added, never changed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::audit::{AuditEntry, Change};
use crate::domain::page::Page;
use crate::error::Result;
use crate::ids::{AuditEntryId, TenantId, UserId};

pub async fn insert(
    tx: &mut Tx,
    id: AuditEntryId,
    tenant: Option<TenantId>,
    user: UserId,
    change: &Change<'_>,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<()> {
    sqlx::query!(
        "insert into audit_entry (id, tenant_id, user_id, action, noun, noun_id, before, after, request_id, address)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id.0,
        tenant.map(|tenant| tenant.0),
        user.0,
        change.action,
        change.noun(),
        change.noun_id,
        before,
        after,
        change.origin.request_id,
        change.origin.address,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Newest first; ids are in order of time.
pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<AuditEntry>> {
    let (after, before) = (page.after_uuid()?, page.before_uuid()?);
    let rows = if page.backward() {
        sqlx::query_as!(
            Row,
            r#"select e.id, action, noun, noun_id, u.email as "user_email?", before, after, request_id, e.created_at
             from audit_entry e left join user_account u on u.id = e.user_id
             where tenant_id = $1 and ($2::uuid is null or e.id < $2) and ($3::uuid is null or e.id > $3)
             order by e.id limit $4"#,
            tenant.0,
            after,
            before,
            page.rows_max(),
        )
        .fetch_all(&mut **tx)
        .await?
    } else {
        sqlx::query_as!(
            Row,
            r#"select e.id, action, noun, noun_id, u.email as "user_email?", before, after, request_id, e.created_at
             from audit_entry e left join user_account u on u.id = e.user_id
             where tenant_id = $1 and ($2::uuid is null or e.id < $2) and ($3::uuid is null or e.id > $3)
             order by e.id desc limit $4"#,
            tenant.0,
            after,
            before,
            page.rows_max(),
        )
        .fetch_all(&mut **tx)
        .await?
    };
    Ok(rows.into_iter().map(AuditEntry::from).collect())
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[AuditEntryId]) -> Result<Vec<AuditEntry>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select e.id, action, noun, noun_id, u.email as "user_email?", before, after, request_id, e.created_at
         from audit_entry e left join user_account u on u.id = e.user_id
         where tenant_id = $1 and e.id = any($2)"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(AuditEntry::from).collect())
}

struct Row {
    id: Uuid,
    action: String,
    noun: String,
    noun_id: String,
    user_email: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
    request_id: String,
    created_at: DateTime<Utc>,
}

impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        Self {
            id: AuditEntryId(row.id),
            action: row.action,
            noun: row.noun,
            noun_id: row.noun_id,
            user_email: row.user_email,
            before: row.before,
            after: row.after,
            request_id: row.request_id,
            created_at: row.created_at,
        }
    }
}
