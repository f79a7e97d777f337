//! The ledger by hour, and which hours are due.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::error::Result;
use crate::ids::TenantId;

/// An hour of a tenant whose minutes changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub tenant: TenantId,
    pub hour: DateTime<Utc>,
    /// The last change when the list was read.
    pub change: i64,
    /// No other transaction is at it, nor will be before this one ends.
    pub mine: bool,
}

/// The first due hours after one, oldest first.
pub async fn due(tx: &mut Tx, after: Option<&Due>, hours_max: usize) -> Result<Vec<Due>> {
    let rows = sqlx::query!(
        r#"select tenant_id, hour, change,
             pg_try_advisory_xact_lock(731001, hashtext(concat(tenant_id, hour))) as "mine!"
         from (
             select tenant_id, hour, change from usage_hour_due
             where $2::timestamptz is null or (hour, tenant_id) > ($2, $3)
             order by hour, tenant_id limit $1
         ) due order by hour, tenant_id"#,
        i64::try_from(hours_max).unwrap_or(i64::MAX),
        after.map(|due| due.hour),
        after.map(|due| due.tenant.0),
    )
    .fetch_all(&mut **tx)
    .await?;
    let due = rows.into_iter().map(|row| Due {
        tenant: TenantId(row.tenant_id),
        hour: row.hour,
        change: row.change,
        mine: row.mine,
    });
    Ok(due.collect())
}

/// Writes the sums of these hours' minutes over what was there, where they differ. Their days are due: that is written
/// first, and in one order, so that roll-ups wait for one another and never deadlock.
pub async fn sum(tx: &mut Tx, hours: &[Due]) -> Result<()> {
    let (tenants, starts, _) = columns(hours);
    sqlx::query!(
        "insert into usage_day_due (tenant_id, day)
             select distinct tenant_id, date_trunc('day', hour, 'UTC')
             from unnest($1::uuid[], $2::timestamptz[]) as due (tenant_id, hour) order by 1, 2
         on conflict (tenant_id, day) do update set day = excluded.day",
        &tenants,
        &starts,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "insert into usage_hour (cell_id, tenant_id, consumer_id, api_id, stage, route, api_key_id,
             usage_plan_id, status_class, cache, hour, requests, billed_requests, bytes_in, bytes_out,
             billed_bytes_out, duration_ms)
         select cell_id, m.tenant_id, consumer_id, api_id, stage, route, api_key_id, usage_plan_id,
             status_class, cache, due.hour, sum(requests)::bigint, sum(billed_requests)::bigint,
             sum(bytes_in)::bigint, sum(bytes_out)::bigint, sum(billed_bytes_out)::bigint,
             sum(duration_ms)::bigint
         from unnest($1::uuid[], $2::timestamptz[]) as due (tenant_id, hour)
         join usage_minute m on m.tenant_id = due.tenant_id
             and m.minute >= due.hour and m.minute < due.hour + interval '1 hour'
         group by cell_id, m.tenant_id, consumer_id, api_id, stage, route, api_key_id, usage_plan_id,
             status_class, cache, due.hour
         on conflict (tenant_id, hour, api_id, stage, route, api_key_id, usage_plan_id, consumer_id,
             status_class, cache, cell_id) do update set
             requests = excluded.requests, billed_requests = excluded.billed_requests,
             bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out,
             billed_bytes_out = excluded.billed_bytes_out, duration_ms = excluded.duration_ms
         where (usage_hour.requests, usage_hour.billed_requests, usage_hour.bytes_in, usage_hour.bytes_out,
             usage_hour.billed_bytes_out, usage_hour.duration_ms)
             <> (excluded.requests, excluded.billed_requests, excluded.bytes_in, excluded.bytes_out,
             excluded.billed_bytes_out, excluded.duration_ms)",
        &tenants,
        &starts,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes hours off the list but those whose minutes changed since it was read; in the order in which intake takes them.
/// One that is no longer on it was taken off for sums that these may have replaced: it is due again.
pub async fn take_off(tx: &mut Tx, hours: &[Due]) -> Result<()> {
    let (tenants, starts, changes) = columns(hours);
    sqlx::query!(
        "insert into usage_hour_due (tenant_id, hour)
             select * from unnest($1::uuid[], $2::timestamptz[]) order by 1, 2
         on conflict (tenant_id, hour) do nothing",
        &tenants,
        &starts,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "with seen (tenant_id, hour, change) as (
             select * from unnest($1::uuid[], $2::timestamptz[], $3::bigint[])
         ), held as materialized (
             select tenant_id, hour, change from usage_hour_due
             where (tenant_id, hour) in (select tenant_id, hour from seen)
             order by tenant_id, hour for update
         )
         delete from usage_hour_due where (tenant_id, hour) in (
             select tenant_id, hour from held join seen using (tenant_id, hour, change)
         )",
        &tenants,
        &starts,
        &changes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn columns(hours: &[Due]) -> (Vec<Uuid>, Vec<DateTime<Utc>>, Vec<i64>) {
    (
        hours.iter().map(|due| due.tenant.0).collect(),
        hours.iter().map(|due| due.hour).collect(),
        hours.iter().map(|due| due.change).collect(),
    )
}

/// What a tenant is charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billed {
    pub requests: i64,
    pub bytes_out: i64,
}

pub async fn billed(
    tx: &mut Tx,
    tenant: TenantId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Billed> {
    Ok(sqlx::query_as!(
        Billed,
        r#"select coalesce(sum(billed_requests), 0)::bigint as "requests!",
             coalesce(sum(billed_bytes_out), 0)::bigint as "bytes_out!"
         from usage_hour where tenant_id = $1 and hour >= $2 and hour < $3"#,
        tenant.0,
        from,
        until,
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// One row of the ledger, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    pub hour: DateTime<Utc>,
    pub api_id: String,
    pub stage: String,
    pub route: String,
    pub api_key_id: String,
    pub usage_plan_id: String,
    pub consumer_id: String,
    pub status_class: i16,
    pub cache: i16,
    pub cell_id: String,
    pub requests: i64,
    pub billed_requests: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
    pub billed_bytes_out: i64,
    pub duration_ms: i64,
}

/// The rows of a time after `last`, in the order of their primary key.
pub async fn export(
    tx: &mut Tx,
    tenant: TenantId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    last: Option<&LedgerRow>,
    rows_max: i64,
) -> Result<Vec<LedgerRow>> {
    let name = |of: fn(&LedgerRow) -> &String| last.map(|row| of(row).as_str());
    Ok(sqlx::query_as!(
        LedgerRow,
        "select hour, api_id, stage, route, api_key_id, usage_plan_id, consumer_id, status_class, cache,
             cell_id, requests, billed_requests, bytes_in, bytes_out, billed_bytes_out, duration_ms
         from usage_hour
         where tenant_id = $1 and hour >= $2 and hour < $3
             and ($4::timestamptz is null or (hour, api_id, stage, route, api_key_id, usage_plan_id,
                 consumer_id, status_class, cache, cell_id)
                 > ($4, $5::text, $6::text, $7::text, $8::text, $9::text, $10::text, $11::smallint,
                     $12::smallint, $13::text))
         order by hour, api_id, stage, route, api_key_id, usage_plan_id, consumer_id, status_class, cache,
             cell_id
         limit $14",
        tenant.0,
        from,
        until,
        last.map(|row| row.hour),
        name(|row| &row.api_id),
        name(|row| &row.stage),
        name(|row| &row.route),
        name(|row| &row.api_key_id),
        name(|row| &row.usage_plan_id),
        name(|row| &row.consumer_id),
        last.map(|row| row.status_class),
        last.map(|row| row.cache),
        name(|row| &row.cell_id),
        rows_max,
    )
    .fetch_all(&mut **tx)
    .await?)
}
