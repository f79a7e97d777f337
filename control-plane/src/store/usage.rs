//! The ledger, read for its tenant.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::app::Tx;
use crate::domain::page::{Key, Page};
use crate::domain::usage::{Interval, Place, UsageFilter, UsagePoint, UsageRow};
use crate::domain::usage_tick::{Minute, Sums};
use crate::error::Result;
use crate::ids::TenantId;

/// The rows of a table by their order, between two exclusive keys. The order is the primary key's, so a page reads
/// no more of the ledger than it shows.
macro_rules! list {
    ($table:literal, $time:literal, $order:literal) => {
        concat!(
            "select ", $time, " as start, api_id, stage, route, api_key_id, usage_plan_id, consumer_id,
                 status_class, sum(requests)::bigint as requests,
                 sum(billed_requests)::bigint as billed_requests, sum(bytes_in)::bigint as bytes_in,
                 sum(bytes_out)::bigint as bytes_out
             from ", $table, "
             where tenant_id = $1 and ", $time, " >= $2 and ", $time, " < $3
                 and ($4::text is null or api_id = $4) and ($5::text is null or stage = $5)
                 and ($6::text is null or api_key_id = $6) and ($7::text is null or usage_plan_id = $7)
                 and ($8::text is null or consumer_id = $8)
                 and ($26::text is null or route = $26) and ($27::smallint is null or status_class = $27)
                 and ($9::timestamptz is null or (", $time, ", api_id, stage, route, api_key_id, usage_plan_id,
                     consumer_id, status_class) < ($9, $10, $11, $12, $13, $14, $15, $16))
                 and ($17::timestamptz is null or (", $time, ", api_id, stage, route, api_key_id, usage_plan_id,
                     consumer_id, status_class) > ($17, $18, $19, $20, $21, $22, $23, $24))
             group by 1, 2, 3, 4, 5, 6, 7, 8
             order by 1 ", $order, ", 2 ", $order, ", 3 ", $order, ", 4 ", $order, ", 5 ", $order, ",
                 6 ", $order, ", 7 ", $order, ", 8 ", $order, "
             limit $25"
        )
    };
}

/// Newest first, but from the end where the page is asked for from there.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &UsageFilter,
    page: &Page,
) -> Result<Vec<UsageRow>> {
    let sql = match (filter.interval, page.backward()) {
        (Interval::Minute, false) => list!("usage_minute", "minute", "desc"),
        (Interval::Minute, true) => list!("usage_minute", "minute", "asc"),
        (Interval::Hour, false) => list!("usage_hour", "hour", "desc"),
        (Interval::Hour, true) => list!("usage_hour", "hour", "asc"),
        (Interval::Day, false) => list!("usage_day", "day", "desc"),
        (Interval::Day, true) => list!("usage_day", "day", "asc"),
    };
    let wanted = &filter.wanted;
    let mut query = sqlx::query_as::<_, Row>(sql)
        .bind(tenant.0)
        .bind(filter.since)
        .bind(filter.until)
        .bind(wanted.api.map(|id| id.to_string()))
        .bind(wanted.stage.as_deref())
        .bind(wanted.api_key.map(|id| id.to_string()))
        .bind(wanted.usage_plan.map(|id| id.to_string()))
        .bind(wanted.consumer.map(|id| id.to_string()));
    for key in [page.after(), page.before()] {
        let Place { names, status_class } = key.map(Place::of).transpose()?.unwrap_or_default();
        query = query.bind(key.map(|Key { at, .. }| *at));
        for name in names {
            query = query.bind(name);
        }
        query = query.bind(status_class);
    }
    query = query.bind(page.rows_max()).bind(wanted.route.as_deref()).bind(wanted.status_class);
    let rows = query.fetch_all(&mut **tx).await?;
    Ok(rows.into_iter().map(UsageRow::from).collect())
}

/// Adds up the rows of a table by time and status class. Bounded by the filter's span, not by a page.
macro_rules! series {
    ($table:literal, $time:literal) => {
        concat!(
            "select ", $time, " as start, status_class, sum(requests)::bigint as requests,
                 sum(billed_requests)::bigint as billed_requests, sum(bytes_in)::bigint as bytes_in,
                 sum(bytes_out)::bigint as bytes_out
             from ", $table, "
             where tenant_id = $1 and ", $time, " >= $2 and ", $time, " < $3
                 and ($4::text is null or api_id = $4) and ($5::text is null or stage = $5)
                 and ($6::text is null or api_key_id = $6) and ($7::text is null or usage_plan_id = $7)
                 and ($8::text is null or consumer_id = $8)
                 and ($9::text is null or route = $9) and ($10::smallint is null or status_class = $10)
             group by 1, 2
             order by 1, 2"
        )
    };
}

/// Oldest first.
pub async fn series(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &UsageFilter,
) -> Result<Vec<UsagePoint>> {
    let sql = match filter.interval {
        Interval::Minute => series!("usage_minute", "minute"),
        Interval::Hour => series!("usage_hour", "hour"),
        Interval::Day => series!("usage_day", "day"),
    };
    let wanted = &filter.wanted;
    let points = sqlx::query_as::<_, UsagePoint>(sql)
        .bind(tenant.0)
        .bind(filter.since)
        .bind(filter.until)
        .bind(wanted.api.map(|id| id.to_string()))
        .bind(wanted.stage.as_deref())
        .bind(wanted.api_key.map(|id| id.to_string()))
        .bind(wanted.usage_plan.map(|id| id.to_string()))
        .bind(wanted.consumer.map(|id| id.to_string()))
        .bind(wanted.route.as_deref())
        .bind(wanted.status_class)
        .fetch_all(&mut **tx)
        .await?;
    Ok(points)
}

/// No more rows than these, of all tenants together, are read for those who watch.
const FRESH_ROWS_MAX: i64 = 50_000;

/// The minutes since `since` of each of these tenants, newest first.
pub async fn since(
    tx: &mut Tx,
    tenants: &[TenantId],
    since: DateTime<Utc>,
) -> Result<Vec<(TenantId, Minute, Sums)>> {
    let tenants: Vec<_> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!(
        r#"select tenant_id, minute, api_id, stage, sum(requests)::bigint as "requests!",
             sum(billed_requests)::bigint as "billed_requests!",
             coalesce(sum(requests) filter (where status_class = 4), 0)::bigint as "client_errors!",
             coalesce(sum(requests) filter (where status_class = 5), 0)::bigint as "server_errors!",
             sum(bytes_in)::bigint as "bytes_in!", sum(bytes_out)::bigint as "bytes_out!"
         from usage_minute where tenant_id = any($1) and minute >= $2
         group by 1, 2, 3, 4 order by 2 desc limit $3"#,
        &tenants,
        since,
        FRESH_ROWS_MAX,
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = rows.into_iter().map(|row| {
        let minute = Minute { start: row.minute, api: row.api_id, stage: row.stage };
        let sums = Sums {
            requests: row.requests,
            billed_requests: row.billed_requests,
            client_errors: row.client_errors,
            server_errors: row.server_errors,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
        };
        (TenantId(row.tenant_id), minute, sums)
    });
    Ok(read.collect())
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
}

impl From<Row> for UsageRow {
    fn from(row: Row) -> Self {
        let present = |name: String| if name.is_empty() { None } else { Some(name) };
        Self {
            start: row.start,
            api_id: row.api_id,
            stage: row.stage,
            route: row.route,
            api_key_id: present(row.api_key_id),
            usage_plan_id: present(row.usage_plan_id),
            consumer_id: present(row.consumer_id),
            status_class: row.status_class,
            requests: row.requests,
            billed_requests: row.billed_requests,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
        }
    }
}
