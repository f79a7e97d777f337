//! What is counted beside the ledger, and the sums of the ledger that it is held against.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::page::Page;
use crate::domain::reconciliation::{Compared, Filter, Kind, Reconciliation};
use crate::error::{Error, Result};
use crate::ids::{NodeId, ReconciliationId, TenantId};

/// A node from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub run: [u8; 16],
    pub started_at: DateTime<Utc>,
    /// Each request that ended before is in its counts.
    pub until: DateTime<Utc>,
    pub ended: bool,
    pub logs: bool,
}

/// The requests of a tenant that ended within an hour, by the log of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCount {
    pub tenant: TenantId,
    pub hour: DateTime<Utc>,
    pub written: i64,
    pub lost: i64,
}

/// Where the quota of a key on its usage plan stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaCount {
    pub tenant: TenantId,
    pub usage_plan_id: String,
    pub api_key_id: String,
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub used: i64,
    /// Taken ahead beside these, made or not.
    pub held: i64,
    pub read_at: DateTime<Utc>,
}

/// Between when a call is taken from a quota and when it ends, and between the clocks of two machines.
pub const ON_ITS_WAY: TimeDelta = TimeDelta::minutes(1);

/// False where the run is another node's.
pub async fn put_run(tx: &mut Tx, node: NodeId, run: &Run) -> Result<bool> {
    let put = sqlx::query!(
        "insert into access_log_run (run, node_id, started_at, until, ended, logs) values ($1, $2, $3, $4, $5, $6)
         on conflict (run) do update set until = greatest(access_log_run.until, excluded.until),
             ended = access_log_run.ended or excluded.ended
         where access_log_run.node_id = excluded.node_id",
        &run.run,
        node.0,
        run.started_at,
        run.until,
        run.ended,
        run.logs,
    )
    .execute(&mut **tx)
    .await?;
    Ok(put.rows_affected() == 1)
}

/// The greater of two totals stands: it is the later. In the order of the rows, so that replicas never deadlock.
pub async fn put_log_counts(tx: &mut Tx, run: &[u8; 16], counts: &[LogCount]) -> Result<()> {
    sqlx::query!(
        "insert into access_log_count (tenant_id, hour, run, written, lost)
         select tenant_id, hour, $1, max(written), max(lost)
         from unnest($2::uuid[], $3::timestamptz[], $4::bigint[], $5::bigint[]) as counts (tenant_id, hour, written, lost)
         group by tenant_id, hour order by tenant_id, hour
         on conflict (tenant_id, hour, run) do update set
             written = greatest(access_log_count.written, excluded.written),
             lost = greatest(access_log_count.lost, excluded.lost)",
        &run[..],
        &counts.iter().map(|count| count.tenant.0).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.hour).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.written).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.lost).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The latest count of a period stands. One that the ledger does not agree with yet is held for ten minutes: what it
/// lacks may be on its way, and a newer count would lack something else.
pub async fn put_quota_counts(
    tx: &mut Tx,
    counts: &[QuotaCount],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into reconciliation (tenant_id, kind, usage_plan_id, api_key_id, from_at, until_at, counted, held, counted_at)
         select distinct on (tenant_id, from_at, until_at, usage_plan_id, api_key_id)
             tenant_id, 'QUOTA', usage_plan_id, api_key_id, from_at, until_at, used, held, read_at
         from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::bigint[],
             $7::bigint[], $8::timestamptz[])
             as counts (tenant_id, usage_plan_id, api_key_id, from_at, until_at, used, held, read_at)
         order by tenant_id, from_at, until_at, usage_plan_id, api_key_id, read_at desc, used desc
         on conflict on constraint reconciliation_key do update set
             counted = excluded.counted, held = excluded.held, counted_at = excluded.counted_at
         where reconciliation.counted_at <= excluded.counted_at
             and (coalesce(reconciliation.drift, 0) = 0
                 or reconciliation.counted_at <= $9::timestamptz - interval '10 minutes')",
        &counts.iter().map(|count| count.tenant.0).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.usage_plan_id.clone()).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.api_key_id.clone()).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.from).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.until).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.used).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.held).collect::<Vec<_>>(),
        &counts.iter().map(|count| count.read_at).collect::<Vec<_>>(),
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// False where another replica is at it; until this transaction ends none other is.
pub async fn lock(tx: &mut Tx) -> Result<bool> {
    let locked =
        sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(7310017310014) as "locked!""#);
    Ok(locked.fetch_one(&mut **tx).await?)
}

/// Holds the access logs of each tenant's hours against the ledger: of those from `since` on, and of those that did not
/// agree or have been sealed since, all before `until`. An hour that is still to be rolled up waits. Answers how many.
///
/// A count is complete where each node of the tenant's cell, as far as it was there, told all of its requests up to the
/// hour's end. What an incomplete one lacks is no drift; what the log has and the ledger has not always is.
pub async fn compare_logs(
    tx: &mut Tx,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
    closed_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<u64> {
    let compared = sqlx::query!(
        "with hours as (
             select t.id as tenant_id, hour
             from tenant t, generate_series($1::timestamptz, $2::timestamptz - interval '1 hour', interval '1 hour') hour
             where exists (select from usage_hour u where u.tenant_id = t.id and u.hour = hour.hour)
                 or exists (select from access_log_count c where c.tenant_id = t.id and c.hour = hour.hour)
             union
             select tenant_id, from_at from reconciliation
             where kind = 'ACCESS_LOG' and not final and from_at < $2
                 and (drift <> 0 or not complete or from_at < $3)
         ), ready as materialized (
             select tenant_id, cell_id, hour, hour + interval '1 hour' as ends
             from hours join tenant on tenant.id = tenant_id
             where tenant.erased_at is null and not exists (
                 select from usage_hour_due d where d.tenant_id = hours.tenant_id and d.hour = hours.hour)
         ), told as materialized (
             select cell_id, hour, coalesce(bool_and(covered), false) as complete
             from (select distinct cell_id, hour, ends from ready) cells
             left join lateral (
                 select coalesce((
                     select bool_and(logs and (ended or r.until >= cells.ends)) from access_log_run r
                     where r.node_id = n.id and r.started_at < cells.ends and r.until >= cells.hour
                 ), false) as covered
                 from node n
                 where cells.cell_id = any(n.cells) and n.created_at < cells.ends and n.last_seen_at >= cells.hour
             ) nodes on true
             group by cell_id, hour
         ), counted as (
             select ready.*, complete,
                 coalesce((select sum(written) from access_log_count c
                     where c.tenant_id = ready.tenant_id and c.hour = ready.hour), 0)::bigint as written,
                 coalesce((select sum(lost) from access_log_count c
                     where c.tenant_id = ready.tenant_id and c.hour = ready.hour), 0)::bigint as lost,
                 coalesce((select sum(requests) from usage_hour u
                     where u.tenant_id = ready.tenant_id and u.hour = ready.hour), 0)::bigint as ledger
             from ready join told using (cell_id, hour)
         )
         insert into reconciliation (tenant_id, kind, from_at, until_at, counted, lost, counted_at, complete,
             ledger_least, ledger_most, drift, compared_at, final)
         select tenant_id, 'ACCESS_LOG', hour, ends, written, lost, $4, complete, ledger, ledger,
             case when complete or written + lost > ledger then written + lost - ledger else 0 end, $4,
             coalesce(hour < $3, false)
         from counted order by tenant_id, hour
         on conflict on constraint reconciliation_key do update set
             counted = excluded.counted, lost = excluded.lost, counted_at = excluded.counted_at,
             complete = excluded.complete, ledger_least = excluded.ledger_least, ledger_most = excluded.ledger_most,
             drift = excluded.drift, compared_at = excluded.compared_at, final = excluded.final",
        since,
        until,
        closed_until,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(compared.rows_affected())
}

/// Holds the counts of at most so many quotas against the ledger: those that are new, that went on or that did not
/// agree, if they were not compared since `before`. Answers how many.
///
/// What the ledger has is known to the minute, and a call is taken from a quota when it comes but is in the ledger when it
/// has ended. So the ledger gives two bounds: calls that must be in the count, and calls that may be. The count is uncertain
/// itself, by the calls that nodes held when it was read. A call that was let
/// through is billed; but not with a test key, and not where the gateway itself failed afterwards.
pub async fn compare_quotas(
    tx: &mut Tx,
    most: i64,
    before: DateTime<Utc>,
    minutes_kept_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64> {
    let compared = sqlx::query!(
        "with spans as materialized (
             select r.id, r.tenant_id, r.usage_plan_id, r.api_key_id, r.from_at, r.until_at, r.counted_at,
                 date_trunc('hour', r.from_at, 'UTC') + interval '1 hour' as body,
                 greatest(date_trunc('hour', r.from_at, 'UTC') + interval '1 hour',
                     date_trunc('hour', least(r.until_at, r.counted_at) - 2 * $4::interval, 'UTC')) as tail,
                 key.mode is not distinct from 'test' as test
             from reconciliation r
             left join api_key key on key.tenant_id = r.tenant_id and key.id = r.api_key_id
             where r.kind = 'QUOTA' and not r.final
                 and (r.compared_at is null or r.compared_at <= $2
                     and (r.counted_at >= r.compared_at or r.drift <> 0 or r.until_at < $3::timestamptz - interval '6 hours'))
             order by r.tenant_id, r.id limit $1
         ), parts as (
             select s.id, s.test, u.status_class, u.requests, u.billed_requests, true as sure
             from spans s join usage_hour u on u.tenant_id = s.tenant_id and u.api_key_id = s.api_key_id
                 and u.usage_plan_id = s.usage_plan_id and u.hour >= s.body and u.hour < s.tail
             union all
             select s.id, s.test, u.status_class, u.requests, u.billed_requests, false
             from spans s join usage_hour u on u.tenant_id = s.tenant_id and u.api_key_id = s.api_key_id
                 and u.usage_plan_id = s.usage_plan_id and u.hour = s.body - interval '1 hour'
             where s.from_at < $5
             union all
             select s.id, s.test, u.status_class, u.requests, u.billed_requests,
                 u.minute >= s.from_at + $4 and u.minute + $4 <= s.until_at and u.minute + 2 * $4::interval <= s.counted_at
             from spans s join usage_minute u on u.tenant_id = s.tenant_id and u.api_key_id = s.api_key_id
                 and u.usage_plan_id = s.usage_plan_id and u.minute <= s.until_at + $4
                 and (u.minute >= s.tail
                     or u.minute < s.body and u.minute >= date_trunc('minute', s.from_at, 'UTC') and s.from_at >= $5)
         ), sums as (
             select id,
                 coalesce(sum(case when test then requests else billed_requests end)
                     filter (where sure and (not test or status_class = 2)), 0)::bigint as least,
                 coalesce(sum(case when test or status_class in (0, 5) then requests else billed_requests end),
                     0)::bigint as most
             from spans left join parts using (id, test) group by id
         )
         update reconciliation r set ledger_least = least, ledger_most = most, compared_at = $3,
             drift = case when counted > most then counted - most
                 when counted + held < least then counted + held - least else 0 end,
             final = r.until_at < $3::timestamptz - interval '6 hours'
         from sums where r.id = sums.id",
        most,
        before,
        now,
        pg_interval(ON_ITS_WAY),
        minutes_kept_since,
    )
    .execute(&mut **tx)
    .await?;
    Ok(compared.rows_affected())
}

fn pg_interval(delta: TimeDelta) -> sqlx::postgres::types::PgInterval {
    sqlx::postgres::types::PgInterval {
        months: 0,
        days: 0,
        microseconds: delta.num_microseconds().unwrap_or(i64::MAX),
    }
}

/// How far the counts of one kind are apart.
pub struct Drift {
    pub kind: String,
    /// Calls, up and down.
    pub drift: i64,
    /// Calls of the ledger that were compared.
    pub compared: i64,
}

/// Of what ended since, or has not ended.
pub async fn drift(tx: &mut Tx, since: DateTime<Utc>) -> Result<Vec<Drift>> {
    Ok(sqlx::query_as!(
        Drift,
        r#"select kind, sum(abs(drift))::bigint as "drift!", sum(ledger_most)::bigint as "compared!"
         from reconciliation where until_at >= $1 and compared_at is not null group by kind"#,
        since,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// The latest first; of one tenant or of all.
pub async fn list(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Reconciliation>> {
    let rows = sqlx::query_as!(
        Row,
        "select r.id, tenant_id, tenant.name as tenant_name, kind, usage_plan_id, api_key_id, from_at, until_at, counted,
             lost, held, counted_at, complete, ledger_least, ledger_most, drift, compared_at, final
         from reconciliation r join tenant on tenant.id = tenant_id
         where ($1::uuid is null or tenant_id = $1)
           and ($2::text is null or kind = $2)
           and (not $3 or drift <> 0)
           and ($4::timestamptz is null or (from_at, r.id) < ($4, $5))
           and ($6::timestamptz is null or (from_at, r.id) > ($6, $7))
         order by case when $8 then from_at end, case when $8 then r.id end, from_at desc, r.id desc
         limit $9",
        tenant.map(|tenant| tenant.0),
        filter.kind.map(Kind::as_str),
        filter.drifting,
        page.after_at(),
        page.after_uuid()?,
        page.before_at(),
        page.before_uuid()?,
        page.backward(),
        page.rows_max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Reconciliation::try_from).collect()
}

/// Forgets runs and their counts that ended before the first, and what was compared and ended before the second; what
/// agreed and will not change, a day after it ended where it is of a key. Answers how many.
pub async fn forget(
    tx: &mut Tx,
    runs_before: DateTime<Utc>,
    before: DateTime<Utc>,
    agreed_before: DateTime<Utc>,
) -> Result<u64> {
    let mut gone = 0;
    for query in [
        sqlx::query!("delete from access_log_count where hour < $1", runs_before),
        sqlx::query!("delete from access_log_run where until < $1", runs_before),
        sqlx::query!("delete from reconciliation where until_at < $1", before),
        sqlx::query!(
            "delete from reconciliation where kind = 'QUOTA' and final and drift = 0 and until_at < $1",
            agreed_before
        ),
    ] {
        gone += query.execute(&mut **tx).await?.rows_affected();
    }
    Ok(gone)
}

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    tenant_name: String,
    kind: String,
    usage_plan_id: String,
    api_key_id: String,
    from_at: DateTime<Utc>,
    until_at: DateTime<Utc>,
    counted: i64,
    lost: i64,
    held: i64,
    counted_at: DateTime<Utc>,
    complete: bool,
    ledger_least: Option<i64>,
    ledger_most: Option<i64>,
    drift: Option<i64>,
    compared_at: Option<DateTime<Utc>>,
    r#final: bool,
}

impl TryFrom<Row> for Reconciliation {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let compared = row.compared_at.zip(row.ledger_least.zip(row.ledger_most)).zip(row.drift);
        Ok(Self {
            id: ReconciliationId(row.id),
            tenant: TenantId(row.tenant_id),
            tenant_name: row.tenant_name,
            kind: row.kind.parse()?,
            usage_plan_id: row.usage_plan_id,
            api_key_id: row.api_key_id,
            from: row.from_at,
            until: row.until_at,
            counted: row.counted,
            lost: row.lost,
            held: row.held,
            counted_at: row.counted_at,
            complete: row.complete,
            compared: compared.map(|((at, ledger), drift)| Compared {
                at,
                ledger,
                drift,
                is_final: row.r#final,
            }),
        })
    }
}
