//! Segments of usage that were set aside; `usage_intake` does so.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::page::Page;
use crate::domain::quarantined_segment::{QuarantineFilter, QuarantinedSegment, Settled};
use crate::error::Result;
use crate::ids::{NodeId, QuarantinedSegmentId, TenantId, UserId};

/// The last to come first.
pub async fn list(
    tx: &mut Tx,
    filter: QuarantineFilter,
    page: &Page,
) -> Result<Vec<QuarantinedSegment>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select q.id, q.node_id, n.name as node_name, q.epoch, q.thread, q.counter, q.sha256, q.received_at, q.reason,
             octet_length(q.content) as "bytes!", coalesce(q.applied_in_part, (
                 select s.records > 0 from usage_segment s
                 where s.node_id = q.node_id and s.epoch = q.epoch and s.thread = q.thread
                     and s.counter = q.counter and s.sha256 = q.sha256
             )) as applied_in_part,
             q.settled_at, q.settled_note, u.email as "settled_by?"
         from usage_quarantine q
         join node n on n.id = q.node_id
         left join user_account u on u.id = q.settled_by
         where ($1::uuid is null or q.node_id = $1)
           and ($2::boolean is null or (q.settled_at is not null) = $2)
           and ($3::timestamptz is null or (q.received_at, q.id) < ($3, $4))
           and ($5::timestamptz is null or (q.received_at, q.id) > ($5, $6))
         order by case when $7 then q.received_at end, case when $7 then q.id end, q.received_at desc, q.id desc
         limit $8"#,
        filter.node.map(|node| node.0),
        filter.settled,
        page.after_at(),
        page.after_uuid()?,
        page.before_at(),
        page.before_uuid()?,
        page.backward(),
        page.rows_max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(QuarantinedSegment::from).collect())
}

pub async fn get(tx: &mut Tx, id: QuarantinedSegmentId) -> Result<Option<QuarantinedSegment>> {
    let row = sqlx::query_as!(
        Row,
        r#"select q.id, q.node_id, n.name as node_name, q.epoch, q.thread, q.counter, q.sha256, q.received_at, q.reason,
             octet_length(q.content) as "bytes!", coalesce(q.applied_in_part, (
                 select s.records > 0 from usage_segment s
                 where s.node_id = q.node_id and s.epoch = q.epoch and s.thread = q.thread
                     and s.counter = q.counter and s.sha256 = q.sha256
             )) as applied_in_part,
             q.settled_at, q.settled_note, u.email as "settled_by?"
         from usage_quarantine q
         join node n on n.id = q.node_id
         left join user_account u on u.id = q.settled_by
         where q.id = $1"#,
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(QuarantinedSegment::from))
}

/// Nobody else changes it while this transaction lasts; None where there is none.
pub async fn lock(tx: &mut Tx, id: QuarantinedSegmentId) -> Result<Option<()>> {
    let found =
        sqlx::query_scalar!("select id from usage_quarantine where id = $1 for update", id.0)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(found.map(drop))
}

/// As the node sent it.
pub async fn content(tx: &mut Tx, id: QuarantinedSegmentId) -> Result<Option<Vec<u8>>> {
    let content = sqlx::query_scalar!("select content from usage_quarantine where id = $1", id.0)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(content)
}

/// Those of these tenants that there are.
pub async fn tenant_names(tx: &mut Tx, tenants: &[TenantId]) -> Result<HashMap<TenantId, String>> {
    let ids: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!("select id, name from tenant where id = any($1)", &ids)
        .fetch_all(&mut **tx)
        .await?;
    Ok(rows.into_iter().map(|row| (TenantId(row.id), row.name)).collect())
}

pub async fn settle(
    tx: &mut Tx,
    id: QuarantinedSegmentId,
    by: UserId,
    note: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update usage_quarantine set settled_at = $2, settled_note = $3, settled_by = $4 where id = $1",
        id.0,
        now,
        note,
        by.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// How many are open.
pub async fn open(tx: &mut Tx) -> Result<i64> {
    let open = sqlx::query_scalar!(
        r#"select count(*) as "open!" from usage_quarantine where settled_at is null"#
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(open)
}

/// Deletes those that were settled before; answers how many.
pub async fn delete_settled(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!("delete from usage_quarantine where settled_at < $1", before)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}

struct Row {
    id: Uuid,
    node_id: Uuid,
    node_name: String,
    epoch: Vec<u8>,
    thread: i32,
    counter: i64,
    sha256: Vec<u8>,
    received_at: DateTime<Utc>,
    reason: String,
    bytes: i32,
    applied_in_part: Option<bool>,
    settled_at: Option<DateTime<Utc>>,
    settled_note: Option<String>,
    settled_by: Option<String>,
}

impl From<Row> for QuarantinedSegment {
    fn from(row: Row) -> Self {
        let settled = row.settled_at.map(|at| Settled {
            at,
            note: row.settled_note.unwrap_or_default(),
            by: row.settled_by,
        });
        Self {
            id: QuarantinedSegmentId(row.id),
            node: NodeId(row.node_id),
            node_name: row.node_name,
            epoch: hex::encode(row.epoch),
            thread: row.thread,
            counter: row.counter,
            sha256: hex::encode(row.sha256),
            received_at: row.received_at,
            reason: row.reason,
            size_bytes: row.bytes.into(),
            applied_in_part: row.applied_in_part,
            settled,
        }
    }
}
