//! What nodes shipped, and the sums by minute that it adds up to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::error::{Error, Result};
use crate::ids::{NodeId, TenantId};

/// A segment as a node sent it.
#[derive(Clone, Debug)]
pub struct Shipped {
    pub place: Place,
    pub sha256: [u8; 32],
    pub content: Vec<u8>,
}

/// Where a segment stands in its node's journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub epoch: [u8; 16],
    pub thread: i32,
    /// From 1.
    pub counter: i64,
}

/// One row of `usage_minute`, but for its sums. The order in which rows are locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute {
    pub tenant: TenantId,
    pub minute: DateTime<Utc>,
    pub api_id: String,
    pub stage: String,
    pub route: String,
    pub api_key_id: String,
    pub usage_plan_id: String,
    pub consumer_id: String,
    pub status_class: i16,
    pub cache: i16,
    pub cell: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub requests: i64,
    pub billed_requests: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
    pub billed_bytes_out: i64,
    pub duration_ms: i64,
}

/// Up to which counter the ledger has every segment, by epoch and thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HighWater {
    pub epoch: [u8; 16],
    pub thread: i32,
    pub counter: i64,
}

/// The cells that a node serves; none where it is unknown.
pub async fn cells(tx: &mut Tx, node: NodeId) -> Result<HashSet<String>> {
    let cells = sqlx::query_scalar!("select cells from node where id = $1", node.0)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(cells.unwrap_or_default().into_iter().collect())
}

/// The cell of each tenant that exists.
pub async fn homes(tx: &mut Tx, tenants: &BTreeSet<TenantId>) -> Result<HashMap<TenantId, String>> {
    let ids: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!("select id, cell_id from tenant where id = any($1)", &ids)
        .fetch_all(&mut **tx)
        .await?;
    Ok(rows.into_iter().map(|row| (TenantId(row.id), row.cell_id)).collect())
}

/// False where it was taken before.
pub async fn insert_segment(
    tx: &mut Tx,
    node: NodeId,
    shipped: &Shipped,
    records: i32,
    now: DateTime<Utc>,
) -> Result<bool> {
    let inserted = sqlx::query!(
        "insert into usage_segment (node_id, epoch, thread, counter, sha256, records, received_at)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        node.0,
        &shipped.place.epoch,
        shipped.place.thread,
        shipped.place.counter,
        &shipped.sha256,
        records,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Whether a segment of another hash has this one's place.
pub async fn others_at(tx: &mut Tx, node: NodeId, shipped: &Shipped) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select 1 from usage_segment
         where node_id = $1 and epoch = $2 and thread = $3 and counter = $4 and sha256 <> $5) as "others!""#,
        node.0,
        &shipped.place.epoch,
        shipped.place.thread,
        shipped.place.counter,
        &shipped.sha256,
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Keeps a segment aside: why, and whether the rest of it counts.
pub async fn quarantine(
    tx: &mut Tx,
    node: NodeId,
    shipped: &Shipped,
    (reason, applied_in_part): (&str, bool),
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into usage_quarantine (node_id, epoch, thread, counter, sha256, reason, content, received_at,
             applied_in_part)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (node_id, epoch, thread, counter, sha256) do nothing",
        node.0,
        &shipped.place.epoch,
        shipped.place.thread,
        shipped.place.counter,
        &shipped.sha256,
        reason,
        &shipped.content,
        now,
        applied_in_part,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The database's own time.
pub async fn now(tx: &mut Tx) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(&mut **tx).await?)
}

/// Forgets segments that came before; answers how many. What another replica is about to forget is left to it.
pub async fn delete_segments(tx: &mut Tx, before: DateTime<Utc>, rows_max: i64) -> Result<u64> {
    let deleted = sqlx::query!(
        "delete from usage_segment where ctid = any(array(
             select ctid from usage_segment where received_at < $1 limit $2 for update skip locked
         ))",
        before,
        rows_max,
    );
    Ok(deleted.execute(&mut **tx).await?.rows_affected())
}

/// Forgets the epochs of each node that another one followed before then, with their marks, once no segment of theirs is
/// known; the node's last stays. Answers how many.
pub async fn delete_epochs(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let deleted = sqlx::query!(
        "with gone as (
             delete from node_epoch e where exists (
                 select from node_epoch later
                 where later.node_id = e.node_id and later.opened_at > e.opened_at and later.opened_at < $1
             ) and not exists (
                 select from usage_segment s where s.node_id = e.node_id and s.epoch = e.epoch
             ) returning node_id, epoch
         ), marks as (
             delete from usage_high_water mark using gone
             where mark.node_id = gone.node_id and mark.epoch = gone.epoch
         )
         select from gone",
        before,
    );
    Ok(deleted.execute(&mut **tx).await?.rows_affected())
}

/// Moves the mark up to the last segment before a gap.
pub async fn advance(tx: &mut Tx, node: NodeId, epoch: [u8; 16], thread: i32) -> Result<()> {
    let mark = sqlx::query_scalar!(
        "insert into usage_high_water (node_id, epoch, thread, counter) values ($1, $2, $3, 0)
         on conflict (node_id, epoch, thread) do update set counter = usage_high_water.counter
         returning counter",
        node.0,
        &epoch,
        thread,
    )
    .fetch_one(&mut **tx)
    .await?;
    sqlx::query!(
        "update usage_high_water set counter = last.counter
         from (
             select max(counter) as counter from (
                 select counter, row_number() over (order by counter) as place from (
                     select distinct counter from usage_segment
                     where node_id = $1 and epoch = $2 and thread = $3 and counter > $4
                     order by counter limit 10000
                 ) later
             ) placed where counter = $4 + place
         ) last
         where node_id = $1 and epoch = $2 and thread = $3 and last.counter is not null",
        node.0,
        &epoch,
        thread,
        mark,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Adds to the minutes, in their order, and marks their hours as due for the roll-up. Taking a due hour's row
/// makes a roll-up of it wait for this transaction, or this one for the roll-up.
pub async fn add(tx: &mut Tx, sums: &BTreeMap<Minute, Sums>) -> Result<()> {
    if sums.is_empty() {
        return Ok(());
    }
    let keys = || sums.keys();
    let values = || sums.values();
    let text = |of: fn(&Minute) -> &String| keys().map(|key| of(key).clone()).collect::<Vec<_>>();
    let number = |of: fn(&Sums) -> i64| values().map(of).collect::<Vec<_>>();
    sqlx::query!(
        "insert into usage_minute (cell_id, tenant_id, consumer_id, api_id, stage, route, api_key_id,
             usage_plan_id, status_class, cache, minute, requests, billed_requests, bytes_in, bytes_out,
             billed_bytes_out, duration_ms)
         select * from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
             $7::text[], $8::text[], $9::smallint[], $10::smallint[], $11::timestamptz[], $12::bigint[],
             $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[])
         on conflict (tenant_id, minute, api_id, stage, route, api_key_id, usage_plan_id, consumer_id,
             status_class, cache, cell_id) do update set
             requests = usage_minute.requests + excluded.requests,
             billed_requests = usage_minute.billed_requests + excluded.billed_requests,
             bytes_in = usage_minute.bytes_in + excluded.bytes_in,
             bytes_out = usage_minute.bytes_out + excluded.bytes_out,
             billed_bytes_out = usage_minute.billed_bytes_out + excluded.billed_bytes_out,
             duration_ms = usage_minute.duration_ms + excluded.duration_ms",
        &text(|key| &key.cell),
        &keys().map(|key| key.tenant.0).collect::<Vec<_>>(),
        &text(|key| &key.consumer_id),
        &text(|key| &key.api_id),
        &text(|key| &key.stage),
        &text(|key| &key.route),
        &text(|key| &key.api_key_id),
        &text(|key| &key.usage_plan_id),
        &keys().map(|key| key.status_class).collect::<Vec<_>>(),
        &keys().map(|key| key.cache).collect::<Vec<_>>(),
        &keys().map(|key| key.minute).collect::<Vec<_>>(),
        &number(|sums| sums.requests),
        &number(|sums| sums.billed_requests),
        &number(|sums| sums.bytes_in),
        &number(|sums| sums.bytes_out),
        &number(|sums| sums.billed_bytes_out),
        &number(|sums| sums.duration_ms),
    )
    .execute(&mut **tx)
    .await?;

    let hour =
        |key: &Minute| key.minute.duration_trunc(TimeDelta::hours(1)).map_err(Error::internal);
    let hours =
        keys().map(|key| Ok((key.tenant.0, hour(key)?))).collect::<Result<BTreeSet<_>>>()?;
    let (tenants, hours): (Vec<Uuid>, Vec<DateTime<Utc>>) = hours.into_iter().unzip();
    sqlx::query!(
        "insert into usage_hour_due (tenant_id, hour) select * from unnest($1::uuid[], $2::timestamptz[])
         on conflict (tenant_id, hour) do update set hour = excluded.hour",
        &tenants,
        &hours,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes when these keys were used last, in their order. A key whose note is 15 seconds old or less keeps it, so that
/// many calls are one write.
pub async fn use_keys(
    tx: &mut Tx,
    used: &BTreeMap<(TenantId, String), DateTime<Utc>>,
) -> Result<()> {
    if used.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into api_key_use (tenant_id, api_key_id, last_used_at)
         select used.tenant_id, used.api_key_id, used.at
         from unnest($1::uuid[], $2::text[], $3::timestamptz[]) as used (tenant_id, api_key_id, at)
         join api_key k on k.tenant_id = used.tenant_id and k.id = used.api_key_id
         left join api_key_use known
             on known.tenant_id = used.tenant_id and known.api_key_id = used.api_key_id
         where known.last_used_at is null or known.last_used_at < used.at - interval '15 seconds'
         order by used.tenant_id, used.api_key_id
         on conflict (tenant_id, api_key_id) do update
             set last_used_at = greatest(api_key_use.last_used_at, excluded.last_used_at)",
        &used.keys().map(|(tenant, _)| tenant.0).collect::<Vec<_>>(),
        &used.keys().map(|(_, key)| key.clone()).collect::<Vec<_>>(),
        &used.values().copied().collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The node that has this epoch: the first that asked.
pub async fn open_epoch(
    tx: &mut Tx,
    node: NodeId,
    epoch: [u8; 16],
    now: DateTime<Utc>,
) -> Result<NodeId> {
    let owner = sqlx::query_scalar!(
        "insert into node_epoch (epoch, node_id, opened_at) values ($1, $2, $3)
         on conflict (epoch) do update set node_id = node_epoch.node_id returning node_id",
        &epoch,
        node.0,
        now,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(NodeId(owner))
}

/// The node's marks in epochs that had a segment since then.
pub async fn high_water(tx: &mut Tx, node: NodeId, since: DateTime<Utc>) -> Result<Vec<HighWater>> {
    let rows = sqlx::query!(
        "select epoch, thread, counter from usage_high_water mark
         where node_id = $1 and exists (
             select 1 from usage_segment segment
             where segment.node_id = $1 and segment.epoch = mark.epoch and segment.thread = mark.thread
                 and segment.counter >= mark.counter and segment.received_at >= $2
         )
         order by epoch, thread",
        node.0,
        since,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let epoch =
                row.epoch.try_into().map_err(|_| Error::corrupt("epoch", "not 16 bytes long"))?;
            Ok(HighWater { epoch, thread: row.thread, counter: row.counter })
        })
        .collect()
}
