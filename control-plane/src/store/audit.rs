//! The audit log: rows are added, never changed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::audit::{AuditEntry, AuditFilter, Change, Link};
use crate::domain::page::Page;
use crate::error::Result;
use crate::ids::{AuditEntryId, TenantId, UserId};
use crate::store::audit_chain::chain_id;

pub async fn insert(
    tx: &mut Tx,
    id: AuditEntryId,
    tenant: Option<TenantId>,
    user: Option<UserId>,
    change: &Change<'_>,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<()> {
    sqlx::query!(
        "insert into audit_entry (id, tenant_id, user_id, action, noun, noun_id, before, after, request_id, address)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id.0,
        tenant.map(|tenant| tenant.0),
        user.map(|user| user.0),
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

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    filter: &AuditFilter,
    page: &Page,
) -> Result<Vec<AuditEntry>> {
    let chain = chain_id(tenant);
    let (after, before) = (page.after_uuid()?, page.before_uuid()?);
    let rows = if page.backward() {
        sqlx::query_as!(
            Row,
            r#"select e.id, action, noun, noun_id, e.user_id, u.email as "user_email?", before, after, request_id, address,
                 e.created_at, l.sequence as "sequence?", l.hash as "hash?"
             from audit_entry e left join user_account u on u.id = e.user_id left join audit_link l on l.entry_id = e.id
             where coalesce(e.tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) = $1
                 and ($2::timestamptz is null or (e.created_at, e.id) < ($2, $3))
                 and ($4::timestamptz is null or (e.created_at, e.id) > ($4, $5))
                 and ($6::uuid is null or e.user_id = $6)
                 and ($7::text is null or noun = $7) and ($8::text is null or noun_id = $8)
                 and ($9::text is null or action = $9)
                 and ($10::timestamptz is null or e.created_at >= $10)
                 and ($11::timestamptz is null or e.created_at < $11)
                 and ($12::text is null or request_id = $12)
             order by e.created_at, e.id limit $13"#,
            chain,
            page.after_at(),
            after,
            page.before_at(),
            before,
            filter.user.map(|user| user.0),
            filter.noun,
            filter.noun_id,
            filter.action,
            filter.since,
            filter.until,
            filter.request_id,
            page.rows_max(),
        )
        .fetch_all(&mut **tx)
        .await?
    } else {
        sqlx::query_as!(
            Row,
            r#"select e.id, action, noun, noun_id, e.user_id, u.email as "user_email?", before, after, request_id, address,
                 e.created_at, l.sequence as "sequence?", l.hash as "hash?"
             from audit_entry e left join user_account u on u.id = e.user_id left join audit_link l on l.entry_id = e.id
             where coalesce(e.tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) = $1
                 and ($2::timestamptz is null or (e.created_at, e.id) < ($2, $3))
                 and ($4::timestamptz is null or (e.created_at, e.id) > ($4, $5))
                 and ($6::uuid is null or e.user_id = $6)
                 and ($7::text is null or noun = $7) and ($8::text is null or noun_id = $8)
                 and ($9::text is null or action = $9)
                 and ($10::timestamptz is null or e.created_at >= $10)
                 and ($11::timestamptz is null or e.created_at < $11)
                 and ($12::text is null or request_id = $12)
             order by e.created_at desc, e.id desc limit $13"#,
            chain,
            page.after_at(),
            after,
            page.before_at(),
            before,
            filter.user.map(|user| user.0),
            filter.noun,
            filter.noun_id,
            filter.action,
            filter.since,
            filter.until,
            filter.request_id,
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
        r#"select e.id, action, noun, noun_id, e.user_id, u.email as "user_email?", before, after, request_id, address,
                 e.created_at, l.sequence as "sequence?", l.hash as "hash?"
             from audit_entry e left join user_account u on u.id = e.user_id left join audit_link l on l.entry_id = e.id
             where e.tenant_id = $1 and e.id = any($2)"#,
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
    user_id: Option<Uuid>,
    user_email: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
    request_id: String,
    address: String,
    created_at: DateTime<Utc>,
    sequence: Option<i64>,
    hash: Option<Vec<u8>>,
}

impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        let link = row.sequence.zip(row.hash);
        Self {
            id: AuditEntryId(row.id),
            action: row.action,
            noun: row.noun,
            noun_id: row.noun_id,
            user: row.user_id.map(UserId),
            user_email: row.user_email,
            before: row.before,
            after: row.after,
            request_id: row.request_id,
            address: row.address,
            created_at: row.created_at,
            link: link.map(|(sequence, hash)| Link { sequence, hash }),
        }
    }
}
