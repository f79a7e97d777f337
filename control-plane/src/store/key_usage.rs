//! What the keys of a usage plan used, day by day.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};

use crate::app::Tx;
use crate::domain::key_usage::Asked;
use crate::domain::page::Page;
use crate::domain::quota::Grant;
use crate::error::Result;
use crate::ids::TenantId;
use crate::store::usage_group::{ask, counted, too_long};

/// Every day of every key that is on the plan or called by it, what it used since the period began that is named by `$23`,
/// and when it was put on the plan. The page is cut before anything is summed, from the fewest days that fill it: a day
/// before its first, whose keys may all be behind it, and as many as hold its rows.
macro_rules! list {
    ($order:literal) => {
        concat!(
            counted!(
                ", keys as materialized (
                     select api_key_id from usage_plan_key
                     where tenant_id = $1 and usage_plan_id = $13 and ($12::text is null or api_key_id = $12)
                     union select api_key_id from grouped where api_key_id <> ''
                 ), days as (
                     select day from generate_series($24, $3 - interval '24 hours', interval '24 hours') day
                     where ($25::timestamptz is null or day <= $25) and ($27::timestamptz is null or day >= $27)
                     order by day "
            ),
            $order,
            "        limit 2 + $29 / greatest(1, (select count(*) from keys))
                 ), page as materialized (
                     select day, api_key_id from days cross join keys
                     where ($25::timestamptz is null or (day, api_key_id) < ($25, $26))
                         and ($27::timestamptz is null or (day, api_key_id) > ($27, $28))
                     order by day ", $order, ", api_key_id ", $order, " limit $29
                 ), spent as materialized (
                     select start, grouped.api_key_id,
                         case key.mode when 'test' then requests else billed_requests end as calls
                     from grouped left join api_key key on key.tenant_id = $1 and key.id = grouped.api_key_id
                     where grouped.api_key_id in (select api_key_id from page)
                         and start >= (select min(date_trunc($23, day, 'UTC')) from page)
                         and start <= (select max(day) from page)
                 )
                 select day, page.api_key_id, used, used_in_period, created_at, quota_extra_calls, quota_extra_from,
                     quota_extra_until
                 from page cross join lateral (
                     select coalesce(sum(calls) filter (where start = day), 0)::bigint as used,
                         coalesce(sum(calls), 0)::bigint as used_in_period
                     from spent
                     where spent.api_key_id = page.api_key_id and start <= day
                         and start >= date_trunc($23, day, 'UTC')
                 ) sums left join usage_plan_key on usage_plan_key.tenant_id = $1
                     and usage_plan_key.usage_plan_id = $13 and usage_plan_key.api_key_id = page.api_key_id
                 order by day ", $order, ", api_key_id ", $order
        )
    };
}

/// A key's day.
pub struct Day {
    pub day: DateTime<Utc>,
    pub api_key_id: String,
    pub used: i64,
    /// Since the day's period began.
    pub used_in_period: i64,
    /// When it was put on the plan, if it is on it.
    pub joined_at: Option<DateTime<Utc>>,
    /// What it was granted beside the quota last.
    pub grant: Option<Grant>,
}

impl FromRow<'_, PgRow> for Day {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let from: Option<DateTime<Utc>> = row.try_get("quota_extra_from")?;
        let until: Option<DateTime<Utc>> = row.try_get("quota_extra_until")?;
        let calls: Option<i64> = row.try_get("quota_extra_calls")?;
        let grant = calls.zip(from.zip(until));
        Ok(Self {
            day: row.try_get("day")?,
            api_key_id: row.try_get("api_key_id")?,
            used: row.try_get("used")?,
            used_in_period: row.try_get("used_in_period")?,
            joined_at: row.try_get("created_at")?,
            grant: grant.map(|(calls, (from, until))| Grant { calls, from, until }),
        })
    }
}

/// Newest first, but from the end where the page is asked for from there.
pub async fn list(tx: &mut Tx, tenant: TenantId, asked: &Asked, page: &Page) -> Result<Vec<Day>> {
    let sql = if page.backward() { list!("asc") } else { list!("desc") };
    ask(sqlx::query_as::<_, Day>(sql), tenant, &asked.question)
        .bind(asked.period.as_str().to_lowercase())
        .bind(asked.since)
        .bind(page.after_at())
        .bind(page.after_id().map(str::to_owned))
        .bind(page.before_at())
        .bind(page.before_id().map(str::to_owned))
        .bind(page.rows_max())
        .fetch_all(&mut **tx)
        .await
        .map_err(too_long())
}
