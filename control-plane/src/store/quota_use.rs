//! What is known to have been used of quotas: by the ledger, and by what Redis counted when nodes last told.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::error::Result;
use crate::ids::TenantId;

/// The quota of a key on its usage plan, in one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub tenant: TenantId,
    pub usage_plan_id: String,
    pub api_key_id: String,
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// So many calls at least, of each in its order: the greater of the two counts.
///
/// The ledger's are those that were let through for sure, as where it is held against a quota: in whole minutes of the
/// period, by day where that is whole and was rolled up long ago, else by hour, and by minute for the last two hours.
pub async fn sum(
    tx: &mut Tx,
    asked: &[Asked],
    minutes_kept_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar!(
        r#"with hours as (
             select asked.*, hour_from, greatest(hour_from, date_trunc('hour', $7::timestamptz, 'UTC') - interval '1 hour')
                 as hour_until, key.mode is not distinct from 'test' as test
             from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[]) with ordinality
                 as asked (tenant_id, usage_plan_id, api_key_id, from_at, until_at, place)
             cross join lateral (
                 select date_trunc('hour', from_at + interval '1 hour' - interval '1 microsecond', 'UTC') as hour_from
             ) first
             left join api_key key on key.tenant_id = asked.tenant_id and key.id = asked.api_key_id
         ), days as (
             select hours.*, day_from,
                 greatest(day_from, date_trunc('day', hour_until, 'UTC') - interval '24 hours') as day_until
             from hours cross join lateral (
                 select least(hour_until,
                     date_trunc('day', from_at + interval '24 hours' - interval '1 microsecond', 'UTC')) as day_from
             ) first
         ), spans as materialized (select * from days), parts as (
             select s.place, s.test, u.status_class, u.requests, u.billed_requests
             from spans s join usage_day u on u.tenant_id = s.tenant_id and u.api_key_id = s.api_key_id
                 and u.usage_plan_id = s.usage_plan_id and u.day >= s.day_from and u.day < s.day_until
             union all
             select s.place, s.test, u.status_class, u.requests, u.billed_requests
             from spans s join usage_hour u on u.tenant_id = s.tenant_id and u.api_key_id = s.api_key_id
                 and u.usage_plan_id = s.usage_plan_id and u.hour >= s.hour_from and u.hour < s.hour_until
                 and (u.hour < s.day_from or u.hour >= s.day_until)
             union all
             select s.place, s.test, u.status_class, u.requests, u.billed_requests
             from spans s join usage_minute u on u.tenant_id = s.tenant_id and u.api_key_id = s.api_key_id
                 and u.usage_plan_id = s.usage_plan_id and u.minute >= s.from_at and u.minute < s.until_at
                 and (u.minute >= s.hour_until or u.minute < s.hour_from and s.from_at >= $6)
         )
         select greatest(
             coalesce((select sum(case when test then requests else billed_requests end)
                 from parts p where p.place = s.place and (not test or status_class = 2)), 0)::bigint,
             (select counted + held from reconciliation r where r.kind = 'QUOTA' and r.tenant_id = s.tenant_id
                 and r.usage_plan_id = s.usage_plan_id and r.api_key_id = s.api_key_id
                 and r.from_at = s.from_at and r.until_at = s.until_at)
         ) as "used!"
         from spans s order by place"#,
        &asked.iter().map(|quota| quota.tenant.0).collect::<Vec<_>>(),
        &asked.iter().map(|quota| quota.usage_plan_id.clone()).collect::<Vec<_>>(),
        &asked.iter().map(|quota| quota.api_key_id.clone()).collect::<Vec<_>>(),
        &asked.iter().map(|quota| quota.from).collect::<Vec<_>>(),
        &asked.iter().map(|quota| quota.until).collect::<Vec<_>>(),
        minutes_kept_since,
        now,
    )
    .fetch_all(&mut **tx)
    .await?)
}
