//! The ledger, added up for its tenant from the coarsest sums that answer exactly.
//!
//! Whole days come from the days, the hours beside them from the hours, the minutes beside those from the minutes. A day
//! or an hour that is due is behind its parts and is read from them instead. All of it is one statement and so one
//! moment of the ledger: the answer is the sum of the minutes, whatever was rolled up.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;

use crate::app::Tx;
use crate::domain::page::Key;
use crate::domain::usage::Interval;
use crate::domain::usage_group::{By, Dimension, GroupPoint, Place, Question, UsageGroup};
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::store::time_limit;

/// The rows of the stretch, each in the interval that it belongs to, and the names that are asked for. `$4` to `$5` are
/// its whole hours, `$6` to `$7` its whole days.
///
/// Parts are looked up one by one, by index: `offset 0` keeps the planner from a join that reads the tables whole.
macro_rules! counted {
    ($rest:literal) => {
        concat!(
            "with stale_hour as materialized (
                 select hour from usage_hour_due where tenant_id = $1 and hour >= $4 and hour < $5
             ), stale_day as materialized (
                 select day from usage_day_due where tenant_id = $1 and day >= $6 and day < $7
                 union
                 select date_trunc('day', hour, 'UTC') from stale_hour where hour >= $6 and hour < $7
             ), by_hour (since, until) as materialized (
                 values ($4::timestamptz, $6::timestamptz), ($7, $5)
                 union all select day, day + interval '24 hours' from stale_day
             ), by_minute (since, until) as materialized (
                 values ($2::timestamptz, $4::timestamptz), ($5, $3)
                 union all select hour, hour + interval '1 hour' from stale_hour
             ), counted as (
                 select day as at, api_id, stage, route, api_key_id, usage_plan_id, consumer_id, status_class,
                     requests, billed_requests, bytes_in, bytes_out, duration_ms
                 from usage_day where tenant_id = $1 and day >= $6 and day < $7
                     and day not in (select day from stale_day)
                 union all
                 select hour, api_id, stage, route, api_key_id, usage_plan_id, consumer_id, status_class,
                     requests, billed_requests, bytes_in, bytes_out, duration_ms
                 from by_hour cross join lateral (
                     select * from usage_hour where tenant_id = $1 and hour >= since and hour < until offset 0
                 ) part
                 where hour not in (select hour from stale_hour)
                 union all
                 select minute, api_id, stage, route, api_key_id, usage_plan_id, consumer_id, status_class,
                     requests, billed_requests, bytes_in, bytes_out, duration_ms
                 from by_minute cross join lateral (
                     select * from usage_minute where tenant_id = $1 and minute >= since and minute < until offset 0
                 ) part
             ), grouped as (
                 select coalesce(date_trunc($8::text, at, 'UTC'), $2) as start,
                     case when $16 then api_id else '' end as api_id,
                     case when $17 then stage else '' end as stage,
                     case when $18 then route else '' end as route,
                     case when $19 then api_key_id else '' end as api_key_id,
                     case when $20 then usage_plan_id else '' end as usage_plan_id,
                     case when $21 then consumer_id else '' end as consumer_id,
                     case when $22 then status_class else -1::smallint end as status_class,
                     sum(requests)::bigint as requests, sum(billed_requests)::bigint as billed_requests,
                     sum(bytes_in)::bigint as bytes_in, sum(bytes_out)::bigint as bytes_out,
                     sum(duration_ms)::bigint as duration_ms
                 from counted
                 where ($9::text is null or api_id = $9) and ($10::text is null or stage = $10)
                     and ($11::text is null or route = $11) and ($12::text is null or api_key_id = $12)
                     and ($13::text is null or usage_plan_id = $13)
                     and ($14::text is null or consumer_id = $14)
                     and ($15::smallint is null or status_class = $15)
                 group by 1, 2, 3, 4, 5, 6, 7, 8
             )",
            $rest
        )
    };
}

/// One order: by start, of the same start by name; or, where `$42` says so, what was called most before what was called
/// less.
macro_rules! list {
    ($order:literal) => {
        concat!(
            counted!(
                ", ranked as (
                     select *, case when $42 then requests else 0 end as rank from grouped
                 )
                 select start, api_id, stage, route, api_key_id, usage_plan_id, consumer_id, status_class,
                     requests, billed_requests, bytes_in, bytes_out, duration_ms
                 from ranked
                 where ($23::timestamptz is null or (start, rank, api_id, stage, route, api_key_id,
                         usage_plan_id, consumer_id, status_class) < ($23, $24, $25, $26, $27, $28, $29, $30, $31))
                     and ($32::timestamptz is null or (start, rank, api_id, stage, route, api_key_id,
                         usage_plan_id, consumer_id, status_class) > ($32, $33, $34, $35, $36, $37, $38, $39, $40))
                 order by start "
            ),
            $order, ", rank ", $order, ", api_id ", $order, ", stage ", $order, ", route ", $order,
            ", api_key_id ", $order, ", usage_plan_id ", $order, ", consumer_id ", $order, ", status_class ", $order,
            " limit $41"
        )
    };
}

/// Between two exclusive keys, newest first, or, over the whole stretch, what was called most first; from the end where
/// `backward` says so.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    question: &Question,
    keys: (Option<&Key>, Option<&Key>),
    backward: bool,
    rows_max: i64,
) -> Result<Vec<UsageGroup>> {
    let sql = if backward { list!("asc") } else { list!("desc") };
    let query = between(ask(sqlx::query_as::<_, Row>(sql), tenant, question), keys)?;
    let ranked = question.interval.is_none();
    let query = query.bind(rows_max).bind(ranked);
    let rows = query.fetch_all(&mut **tx).await.map_err(too_long())?;
    Ok(rows.into_iter().map(|row| row.into_group(&question.by)).collect())
}

/// What comes after the key, the oldest first and of the same start by name, which no call changes: who goes on reading
/// while calls are counted meets no row twice.
pub async fn export(
    tx: &mut Tx,
    tenant: TenantId,
    question: &Question,
    after: Option<&Key>,
    rows_max: i64,
) -> Result<Vec<UsageGroup>> {
    let query = ask(sqlx::query_as::<_, Row>(list!("asc")), tenant, question);
    let query = between(query, (None, after))?.bind(rows_max).bind(false);
    let rows = query.fetch_all(&mut **tx).await.map_err(too_long())?;
    Ok(rows.into_iter().map(|row| row.into_group(&question.by)).collect())
}

/// Binds `$23` to `$40`: what the rows come before, and after, in ascending order.
fn between<T>(
    mut query: Asked<T>,
    (before, after): (Option<&Key>, Option<&Key>),
) -> Result<Asked<T>> {
    for key in [before, after] {
        let Place { rank, names, status_class } =
            key.map(Place::of).transpose()?.unwrap_or_default();
        query = query.bind(key.map(|key| key.at)).bind(rank);
        for name in names {
            query = query.bind(name);
        }
        query = query.bind(status_class);
    }
    Ok(query)
}

pub(super) fn too_long() -> impl FnOnce(sqlx::Error) -> Error {
    time_limit::passed("since", TOO_LONG)
}

/// Where a statement took longer than it may.
const TOO_LONG: &str = "adding this up takes too long: ask for a shorter time, since and until closer together, or \
                                   tell calls apart by less";

/// What a chart draws, oldest first: a line for each of the names that were called most, and one for the rest.
const SERIES: &str = counted!(
    ", named as (
         select *, concat(api_id, stage, route, api_key_id, usage_plan_id, consumer_id,
             case when $22 then status_class::text end) as name
         from grouped
     ), most as (
         select name from named group by name order by sum(requests) desc, name limit $23
     )
     select start, coalesce(most.name, '') as name, most.name is null as other,
         sum(requests)::bigint as requests, sum(billed_requests)::bigint as billed_requests,
         sum(bytes_in)::bigint as bytes_in, sum(bytes_out)::bigint as bytes_out,
         sum(duration_ms)::bigint as duration_ms
     from named left join most on most.name = named.name
     group by 1, 2, 3 order by 1, 3, 2"
);

pub async fn series(
    tx: &mut Tx,
    tenant: TenantId,
    question: &Question,
    names_max: i64,
) -> Result<Vec<GroupPoint>> {
    let query = ask(sqlx::query_as::<_, Point>(SERIES), tenant, question);
    let points = query.bind(names_max).fetch_all(&mut **tx).await.map_err(too_long())?;
    Ok(points.into_iter().map(GroupPoint::from).collect())
}

pub(super) use counted;

type Asked<T> = QueryAs<'static, sqlx::Postgres, T, PgArguments>;

/// Binds `$1` to `$22`.
pub(super) fn ask<T>(query: Asked<T>, tenant: TenantId, question: &Question) -> Asked<T> {
    let (hours, days) = question.whole();
    let wanted = &question.wanted;
    let mut query = query
        .bind(tenant.0)
        .bind(question.since)
        .bind(question.until)
        .bind(hours.start)
        .bind(hours.end)
        .bind(days.start)
        .bind(days.end)
        .bind(question.interval.map(Interval::as_str))
        .bind(wanted.api.map(|id| id.to_string()))
        .bind(wanted.stage.clone())
        .bind(wanted.route.clone())
        .bind(wanted.api_key.map(|id| id.to_string()))
        .bind(wanted.usage_plan.map(|id| id.to_string()))
        .bind(wanted.consumer.map(|id| id.to_string()))
        .bind(wanted.status_class);
    for dimension in [
        Dimension::Api,
        Dimension::Stage,
        Dimension::Route,
        Dimension::ApiKey,
        Dimension::UsagePlan,
        Dimension::Consumer,
        Dimension::StatusClass,
    ] {
        query = query.bind(question.by.contains(&dimension));
    }
    query
}

#[derive(FromRow)]
struct Row {
    start: DateTime<Utc>,
    api_id: String,
    stage: String,
    route: String,
    api_key_id: String,
    usage_plan_id: String,
    consumer_id: String,
    status_class: i16,
    requests: i64,
    billed_requests: i64,
    bytes_in: i64,
    bytes_out: i64,
    duration_ms: i64,
}

fn present(name: String) -> Option<String> {
    if name.is_empty() { None } else { Some(name) }
}

impl Row {
    fn into_group(self, by: &By) -> UsageGroup {
        UsageGroup {
            start: self.start,
            api_id: present(self.api_id),
            stage: present(self.stage),
            route: present(self.route),
            api_key_id: present(self.api_key_id),
            usage_plan_id: present(self.usage_plan_id),
            consumer_id: present(self.consumer_id),
            status_class: by.contains(&Dimension::StatusClass).then_some(self.status_class),
            requests: self.requests,
            billed_requests: self.billed_requests,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration_ms: self.duration_ms,
        }
    }
}

#[derive(FromRow)]
struct Point {
    start: DateTime<Utc>,
    name: String,
    other: bool,
    requests: i64,
    billed_requests: i64,
    bytes_in: i64,
    bytes_out: i64,
    duration_ms: i64,
}

impl From<Point> for GroupPoint {
    fn from(point: Point) -> Self {
        Self {
            start: point.start,
            group: present(point.name),
            other: point.other,
            requests: point.requests,
            billed_requests: point.billed_requests,
            bytes_in: point.bytes_in,
            bytes_out: point.bytes_out,
            duration_ms: point.duration_ms,
        }
    }
}
