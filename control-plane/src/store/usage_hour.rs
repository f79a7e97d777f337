//! The ledger by hour, and which hours are due.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::error::Result;
use crate::ids::TenantId;

/// An hour of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub tenant: TenantId,
    pub hour: DateTime<Utc>,
}

/// Takes due hours off the list, those that no other transaction holds.
pub async fn take_due(tx: &mut Tx, hours_max: i64) -> Result<Vec<Due>> {
    let rows = sqlx::query!(
        "delete from usage_hour_due where (tenant_id, hour) in (
             select tenant_id, hour from usage_hour_due order by hour, tenant_id limit $1
             for update skip locked
         ) returning tenant_id, hour",
        hours_max,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Due { tenant: TenantId(row.tenant_id), hour: row.hour })
        .collect())
}

/// Writes the sums of these hours' minutes over what was there.
pub async fn sum(tx: &mut Tx, hours: &[Due]) -> Result<()> {
    let tenants: Vec<Uuid> = hours.iter().map(|due| due.tenant.0).collect();
    let starts: Vec<DateTime<Utc>> = hours.iter().map(|due| due.hour).collect();
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
             billed_bytes_out = excluded.billed_bytes_out, duration_ms = excluded.duration_ms",
        &tenants,
        &starts,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
