//! What nodes count beside the ledger comes in, and is held against it.
//!
//! An hour of the access logs is compared when it is over and again when it is sealed, and as often as it takes while the
//! two are apart: what one side lacks may be on its way, from a node that was cut off. The count of a quota is compared
//! every ten minutes while the key is used. What stays apart is told by a metric, which raises an alert.

use std::collections::BTreeSet;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use proto::reconciliation::v1::{self as wire, CountReport};
use proto::segment::SUM_MAX;

use crate::app::{App, Job};
use crate::domain::reconciliation::Kind;
use crate::error::{Error, Result};
use crate::ids::{ApiKeyId, NodeId, TenantId, UsagePlanId};
use crate::ledger::intake::{AHEAD_MAX, LATE_MAX};
use crate::ledger::quota_use::PERIOD_MAX;
use crate::store::reconciliation::{LogCount, QuotaCount, Run};
use crate::{domain, store, telemetry};

/// Hours that are over are compared so long after.
const SETTLED_AFTER: TimeDelta = TimeDelta::minutes(2);
/// Each of the last hours is compared each time.
const LOOKED_BACK: TimeDelta = TimeDelta::hours(3);
const QUOTAS_EVERY: TimeDelta = TimeDelta::minutes(10);
/// Quotas in one transaction: the hours of a tenant are read once for all of them.
const QUOTAS_MAX: i64 = 20_000;
/// What is told of drift is of so long a time.
const TOLD: TimeDelta = TimeDelta::hours(24);
/// Counts by run are needed until their hours are sealed.
const RUNS_KEPT: TimeDelta = TimeDelta::days(8);
const KEPT: TimeDelta = TimeDelta::days(90);
const AGREED_KEPT: TimeDelta = TimeDelta::days(2);

/// Counts of a report that were not believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    pub counts: u32,
    /// Of the first of them.
    pub reason: Option<String>,
}

/// What is believed of a report.
pub struct Checked {
    pub run: Run,
    pub logs: Vec<LogCount>,
    pub quotas: Vec<QuotaCount>,
    pub refused: Refused,
}

/// Or why not.
type Believed<T> = std::result::Result<T, String>;

/// Takes in what can be believed of a report; answers what cannot.
pub async fn take(app: &App, node: NodeId, report: CountReport) -> Result<Refused> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Reconciliation).await?;
    let cells = store::usage_intake::cells(&mut tx, node).await?;
    let mut homes = store::usage_intake::homes(&mut tx, &tenants(&report)).await?;
    homes.retain(|_, cell| cells.contains(cell));
    let checked = check(report, &homes.into_keys().collect(), now);
    let Checked { run, logs, quotas, refused } =
        checked.map_err(|reason| Error::bad_request("report", reason))?;
    if !store::reconciliation::put_run(&mut tx, node, &run).await? {
        return Err(Error::bad_request("run", "another node has this run"));
    }
    store::reconciliation::put_log_counts(&mut tx, &run.run, &logs).await?;
    store::reconciliation::put_quota_counts(&mut tx, &quotas, now).await?;
    tx.commit().await?;
    if let Some(reason) = &refused.reason {
        tracing::warn!(node.id = %node, refused = refused.counts, reason, "a node's counts are not believed");
    }
    Ok(refused)
}

fn tenants(report: &CountReport) -> BTreeSet<TenantId> {
    let named = report.log_counts.iter().map(|count| &count.tenant_id);
    let named = named.chain(report.quota_counts.iter().map(|count| &count.tenant_id));
    named.filter_map(|id| id.parse().ok()).collect()
}

/// What of a report is believed of a node that serves these tenants; or why nothing is.
pub fn check(
    report: CountReport,
    tenants: &BTreeSet<TenantId>,
    now: DateTime<Utc>,
) -> Believed<Checked> {
    let run = run_of(&report, now)?;
    let mut checked =
        Checked { run, logs: Vec::new(), quotas: Vec::new(), refused: Refused::default() };
    let served = |id: &str| match id.parse() {
        Ok(tenant) if tenants.contains(&tenant) => Ok(tenant),
        _ => Err(format!("{id:?} is no tenant of a cell that the node serves")),
    };
    for count in report.log_counts {
        match served(&count.tenant_id).and_then(|tenant| log_count(tenant, &count, now)) {
            Ok(count) => checked.logs.push(count),
            Err(reason) => checked.refused.add(reason),
        }
    }
    for count in report.quota_counts {
        match served(&count.tenant_id).and_then(|tenant| quota_count(tenant, count, now)) {
            Ok(count) => checked.quotas.push(count),
            Err(reason) => checked.refused.add(reason),
        }
    }
    Ok(checked)
}

impl Refused {
    fn add(&mut self, reason: String) {
        self.counts += 1;
        self.reason.get_or_insert(reason);
    }
}

fn run_of(report: &CountReport, now: DateTime<Utc>) -> Believed<Run> {
    let counts = report.log_counts.len() + report.quota_counts.len();
    if counts > proto::reconciliation::COUNTS_MAX {
        return Err(format!("a report has at most {} counts", proto::reconciliation::COUNTS_MAX));
    }
    let started_at = time(report.started_ms, now).ok_or("it started in the future")?;
    let until = time(report.until_ms, now).ok_or("it counted what is still to come")?;
    Ok(Run {
        run: report.run.as_slice().try_into().map_err(|_| "a run has 16 bytes")?,
        started_at,
        // Before it began there was nothing to count.
        until: until.max(started_at),
        ended: report.last,
        logs: report.logs,
    })
}

fn log_count(tenant: TenantId, count: &wire::LogCount, now: DateTime<Utc>) -> Believed<LogCount> {
    let hour = time(count.hour_ms, now)
        .filter(|hour| *hour >= now - LATE_MAX && hour.timestamp() % 3600 == 0)
        .filter(|hour| hour.timestamp_subsec_nanos() == 0);
    let hour = hour.ok_or_else(|| format!("{} is no hour of these days", count.hour_ms))?;
    Ok(LogCount { tenant, hour, written: sum(count.written)?, lost: sum(count.lost)? })
}

fn quota_count(
    tenant: TenantId,
    count: wire::QuotaCount,
    now: DateTime<Utc>,
) -> Believed<QuotaCount> {
    let id = |text: String, whose: &str| format!("{text:?} is no id of {whose}");
    if count.usage_plan_id.parse::<UsagePlanId>().is_err() {
        return Err(id(count.usage_plan_id, "a usage plan"));
    }
    if count.api_key_id.parse::<ApiKeyId>().is_err() {
        return Err(id(count.api_key_id, "a key"));
    }
    let second = |second| DateTime::from_timestamp(second, 0);
    let period = second(count.period_from_s).zip(second(count.period_until_s));
    let period = period.filter(|(from, until)| from < until && *until - *from <= PERIOD_MAX);
    let (from, until) = period.ok_or("the period of a quota is impossible")?;
    // Redis says the second.
    let read_at = time(count.read_ms, now)
        .filter(|at| (from..until).contains(at) && *at >= now - LATE_MAX)
        .ok_or("a quota was read at an impossible time")?;
    let (used, held) = (sum(count.used)?, sum(count.held)?);
    let (usage_plan_id, api_key_id) = (count.usage_plan_id, count.api_key_id);
    Ok(QuotaCount { tenant, usage_plan_id, api_key_id, from, until, used, held, read_at })
}

/// A node's clock may run ahead by a day, as for usage.
fn time(ms: u64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let time = DateTime::from_timestamp_millis(i64::try_from(ms).ok()?)?;
    Some(time).filter(|time| *time <= now + AHEAD_MAX)
}

fn sum(count: u64) -> Believed<i64> {
    i64::try_from(count)
        .ok()
        .filter(|_| count <= SUM_MAX)
        .ok_or_else(|| format!("{count} calls are impossible"))
}

/// Holds what was counted against the ledger, and tells how far the two are apart.
pub async fn run(app: &App) -> Result<()> {
    let now = app.clock.now();
    let hour = |time: DateTime<Utc>| time.duration_trunc(TimeDelta::hours(1)).unwrap_or(time);
    let until = hour(now - SETTLED_AFTER);
    let mut tx = app.system(Job::Reconciliation).await?;
    if store::reconciliation::lock(&mut tx).await? {
        let closed = store::usage_root::closed_until(&mut tx).await?;
        let hours = (until - LOOKED_BACK, until);
        store::reconciliation::compare_logs(&mut tx, hours, closed, now).await?;
        tx.commit().await?;
        let minutes = domain::usage::minutes_kept_since(app);
        loop {
            let mut tx = app.system(Job::Reconciliation).await?;
            let before = now - QUOTAS_EVERY;
            let compared =
                store::reconciliation::compare_quotas(&mut tx, QUOTAS_MAX, before, minutes, now);
            let compared = compared.await?;
            tx.commit().await?;
            if compared < QUOTAS_MAX.unsigned_abs() {
                break;
            }
        }
    }
    let mut tx = app.system(Job::Reconciliation).await?;
    let drifts = store::reconciliation::drift(&mut tx, now - TOLD).await?;
    for kind in Kind::ALL {
        let drift = drifts.iter().find(|drift| drift.kind == kind.as_str());
        let told = drift.map_or((0, 0), |drift| (drift.drift, drift.compared));
        telemetry::drift(kind.as_str(), told);
    }
    Ok(())
}

/// Forgets what is old.
pub async fn forget_old(app: &App) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Reconciliation).await?;
    let (runs, all, agreed) = (now - RUNS_KEPT, now - KEPT, now - AGREED_KEPT);
    store::reconciliation::forget(&mut tx, runs, all, agreed).await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests;
