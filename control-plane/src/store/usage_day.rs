//! The ledger by day, and which days are due.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::error::Result;
use crate::ids::TenantId;

/// A day of a tenant whose hours changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub tenant: TenantId,
    pub day: DateTime<Utc>,
    /// The last change when the list was read.
    pub change: i64,
    /// No other transaction is at it, nor will be before this one ends.
    pub mine: bool,
}

/// The first due days after one, oldest first.
pub async fn due(tx: &mut Tx, after: Option<&Due>, days_max: usize) -> Result<Vec<Due>> {
    let rows = sqlx::query!(
        r#"select tenant_id, day, change,
             pg_try_advisory_xact_lock(731002, hashtext(concat(tenant_id, day))) as "mine!"
         from (
             select tenant_id, day, change from usage_day_due
             where $2::timestamptz is null or (day, tenant_id) > ($2, $3)
             order by day, tenant_id limit $1
         ) due order by day, tenant_id"#,
        i64::try_from(days_max).unwrap_or(i64::MAX),
        after.map(|due| due.day),
        after.map(|due| due.tenant.0),
    )
    .fetch_all(&mut **tx)
    .await?;
    let due = rows.into_iter().map(|row| Due {
        tenant: TenantId(row.tenant_id),
        day: row.day,
        change: row.change,
        mine: row.mine,
    });
    Ok(due.collect())
}

/// Writes the sums of these days' hours over what was there, where they differ.
pub async fn sum(tx: &mut Tx, days: &[Due]) -> Result<()> {
    let (tenants, starts, _) = columns(days);
    sqlx::query!(
        "insert into usage_day (cell_id, tenant_id, consumer_id, api_id, stage, route, api_key_id,
             usage_plan_id, status_class, cache, day, requests, billed_requests, bytes_in, bytes_out,
             billed_bytes_out, duration_ms)
         select cell_id, h.tenant_id, consumer_id, api_id, stage, route, api_key_id, usage_plan_id,
             status_class, cache, due.day, sum(requests)::bigint, sum(billed_requests)::bigint,
             sum(bytes_in)::bigint, sum(bytes_out)::bigint, sum(billed_bytes_out)::bigint,
             sum(duration_ms)::bigint
         from unnest($1::uuid[], $2::timestamptz[]) as due (tenant_id, day)
         join usage_hour h on h.tenant_id = due.tenant_id
             and h.hour >= due.day and h.hour < due.day + interval '24 hours'
         group by cell_id, h.tenant_id, consumer_id, api_id, stage, route, api_key_id, usage_plan_id,
             status_class, cache, due.day
         on conflict (tenant_id, day, api_id, stage, route, api_key_id, usage_plan_id, consumer_id,
             status_class, cache, cell_id) do update set
             requests = excluded.requests, billed_requests = excluded.billed_requests,
             bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out,
             billed_bytes_out = excluded.billed_bytes_out, duration_ms = excluded.duration_ms
         where (usage_day.requests, usage_day.billed_requests, usage_day.bytes_in, usage_day.bytes_out,
             usage_day.billed_bytes_out, usage_day.duration_ms)
             <> (excluded.requests, excluded.billed_requests, excluded.bytes_in, excluded.bytes_out,
             excluded.billed_bytes_out, excluded.duration_ms)",
        &tenants,
        &starts,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes days off the list but those whose hours changed since it was read; in the order in which the roll-up of hours takes them.
/// One that is no longer on it was taken off for sums that these may have replaced: it is due again.
pub async fn take_off(tx: &mut Tx, days: &[Due]) -> Result<()> {
    let (tenants, starts, changes) = columns(days);
    sqlx::query!(
        "insert into usage_day_due (tenant_id, day)
             select * from unnest($1::uuid[], $2::timestamptz[]) order by 1, 2
         on conflict (tenant_id, day) do nothing",
        &tenants,
        &starts,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "with seen (tenant_id, day, change) as (
             select * from unnest($1::uuid[], $2::timestamptz[], $3::bigint[])
         ), held as materialized (
             select tenant_id, day, change from usage_day_due
             where (tenant_id, day) in (select tenant_id, day from seen)
             order by tenant_id, day for update
         )
         delete from usage_day_due where (tenant_id, day) in (
             select tenant_id, day from held join seen using (tenant_id, day, change)
         )",
        &tenants,
        &starts,
        &changes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn columns(days: &[Due]) -> (Vec<Uuid>, Vec<DateTime<Utc>>, Vec<i64>) {
    (
        days.iter().map(|due| due.tenant.0).collect(),
        days.iter().map(|due| due.day).collect(),
        days.iter().map(|due| due.change).collect(),
    )
}
