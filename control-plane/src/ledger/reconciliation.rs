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
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Actor;
    use crate::domain::page::Page;
    use crate::domain::reconciliation::{Filter, Reconciliation, State};
    use crate::ledger::intake::{self, tests as usage};
    use crate::ledger::rollup;
    use crate::testing;

    const PLAN: &str = "plan567890";
    const KEY: &str = "key4567890";

    fn ms(at: DateTime<Utc>) -> u64 {
        at.timestamp_millis().unsigned_abs()
    }

    /// The hour before the tests' noon.
    fn hour() -> DateTime<Utc> {
        testing::noon() - TimeDelta::hours(1)
    }

    /// A node that is there all the time, and the tenant's calls: so many, ten seconds before noon.
    async fn called(app: &App, tenant: TenantId, calls: i64) -> NodeId {
        let node = usage::node(app, "default").await;
        let mut tx = app.system(Job::Nodes).await.unwrap();
        sqlx::query("update node set created_at = $1, last_seen_at = 'infinity'")
            .bind(hour() - TimeDelta::days(1))
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        call(app, node, tenant, calls, 1).await;
        node
    }

    async fn call(app: &App, node: NodeId, tenant: TenantId, calls: i64, counter: i64) {
        let calls: Vec<_> = (0..calls).map(|_| usage::call(app, tenant)).collect();
        let segment = usage::segment(usage::place(counter), &calls);
        intake::take(app, node, &[segment]).await.unwrap();
        rollup::run(app).await.unwrap();
    }

    /// A run of a node that began yesterday and has told everything up to then.
    fn told(run: u8, until: DateTime<Utc>) -> CountReport {
        CountReport {
            run: vec![run; 16],
            started_ms: ms(hour() - TimeDelta::days(1)),
            until_ms: ms(until),
            last: false,
            logs: true,
            log_counts: Vec::new(),
            quota_counts: Vec::new(),
        }
    }

    fn logged(tenant: TenantId, written: u64, lost: u64) -> wire::LogCount {
        wire::LogCount { tenant_id: tenant.to_string(), hour_ms: ms(hour()), written, lost }
    }

    /// What is known of the tenant after everything was compared.
    async fn compared(app: &App, actor: &Actor) -> Vec<Reconciliation> {
        super::run(app).await.unwrap();
        let all = (Filter::default(), Page::default());
        domain::reconciliation::list(app, actor, &all.0, &all.1).await.unwrap().items
    }

    fn came_to(rows: &[Reconciliation]) -> Vec<(State, i64)> {
        rows.iter().map(|row| (row.state(), row.compared.map_or(0, |it| it.drift))).collect()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_hour_of_the_logs_is_held_against_the_ledger_until_the_two_agree(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, bob) = (testing::owner(&app).await, testing::owner(&app).await);
        let node = called(&app, alice.tenant, 5).await;
        let report = |written, lost, until| CountReport {
            log_counts: vec![logged(alice.tenant, written, lost)],
            ..told(1, until)
        };
        let noon = testing::noon();
        take(&app, node, report(3, 0, noon - TimeDelta::seconds(30))).await.unwrap();
        assert_eq!(compared(&app, &alice).await, [], "the hour is not over for long enough");
        app.clock.advance(TimeDelta::minutes(2));

        let early = compared(&app, &alice).await;
        take(&app, node, report(3, 0, noon)).await.unwrap();
        let apart = compared(&app, &alice).await;
        take(&app, node, report(4, 1, noon)).await.unwrap();
        take(&app, node, report(3, 0, noon)).await.unwrap(); // one that was on its way for long
        let agreed = compared(&app, &alice).await;

        assert_eq!(came_to(&early), [(State::Incomplete, 0)], "the rest may come");
        assert_eq!(came_to(&apart), [(State::Drifts, -2)]);
        assert_eq!(came_to(&agreed), [(State::Agrees, 0)]);
        let row = &agreed[0];
        assert_eq!((row.from, row.until, row.counted, row.lost), (hour(), noon, 4, 1));
        assert_eq!(row.compared.unwrap().ledger, (5, 5));
        assert_eq!(compared(&app, &bob).await, [], "it is another tenant's");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_a_killed_node_did_not_tell_is_no_drift_but_a_call_that_is_not_billed_is(
        db: PgPool,
    ) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let node = called(&app, alice.tenant, 5).await;
        let killed = hour() + TimeDelta::minutes(30);
        let counts = |written| vec![logged(alice.tenant, written, 0)];
        app.clock.advance(TimeDelta::minutes(2));
        // The next run tells all, the one before ended in the middle of the hour.
        let next = CountReport { started_ms: ms(killed), ..told(2, testing::noon()) };
        take(&app, node, CountReport { log_counts: counts(1), ..told(1, killed) }).await.unwrap();
        take(&app, node, CountReport { log_counts: counts(2), ..next.clone() }).await.unwrap();
        let missing = compared(&app, &alice).await;
        take(&app, node, CountReport { log_counts: counts(5), ..next.clone() }).await.unwrap();
        let unbilled = compared(&app, &alice).await;
        // It had said its last, which came late.
        let ended = CountReport { log_counts: counts(1), last: true, ..told(1, killed) };
        take(&app, node, ended).await.unwrap();
        call(&app, node, alice.tenant, 1, 2).await;
        app.clock.advance(TimeDelta::minutes(-2));
        call(&app, node, alice.tenant, 1, 3).await;
        app.clock.advance(TimeDelta::minutes(2));
        let whole = compared(&app, &alice).await;
        // A node that was there and told nothing.
        let silent = called(&app, alice.tenant, 0).await;
        let mut tx = app.system(Job::Nodes).await.unwrap();
        let reset = "update reconciliation set drift = 1";
        sqlx::query(reset).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let unheard = compared(&app, &alice).await;
        take(&app, silent, CountReport { logs: false, ..told(3, testing::noon()) }).await.unwrap();
        let without_a_log = compared(&app, &alice).await;

        assert_eq!(came_to(&missing), [(State::Incomplete, 0)]);
        assert_eq!(came_to(&unbilled), [(State::Drifts, 1)]);
        assert_eq!(came_to(&whole), [(State::Agrees, 0)]);
        assert_eq!(came_to(&unheard), [(State::Incomplete, 0)]);
        assert_eq!(came_to(&without_a_log), [(State::Incomplete, 0)]);
    }

    /// What Redis counts of the key's day.
    fn quota(tenant: TenantId, used: u64, read_at: DateTime<Utc>) -> wire::QuotaCount {
        let midnight = testing::noon() - TimeDelta::hours(12);
        wire::QuotaCount {
            tenant_id: tenant.to_string(),
            usage_plan_id: PLAN.to_owned(),
            api_key_id: KEY.to_owned(),
            period_from_s: midnight.timestamp(),
            period_until_s: midnight.timestamp() + 86_400,
            used,
            held: 0,
            read_ms: ms(read_at),
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_quota_may_count_what_the_ledger_has_and_what_was_on_its_way(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let node = called(&app, alice.tenant, 5).await;
        app.clock.advance(TimeDelta::minutes(5));
        call(&app, node, alice.tenant, 2, 2).await; // in the minute before 12:05
        let ask_held = async |used, held, read_at| {
            let count = quota(alice.tenant, used, read_at);
            let counts = vec![wire::QuotaCount { held, ..count }];
            let report = CountReport { quota_counts: counts, ..told(1, testing::noon()) };
            assert_eq!(take(&app, node, report).await.unwrap(), Refused::default());
            app.clock.advance(TimeDelta::minutes(10));
            let mut rows = compared(&app, &alice).await;
            rows.retain(|row| row.kind == Kind::Quota);
            assert_eq!(rows.len(), 1, "one period is one row");
            (rows[0].compared.unwrap().ledger, came_to(&rows)[0])
        };
        let ask = async |used, read_at| ask_held(used, 0, read_at).await;
        let five_past = testing::noon() + TimeDelta::minutes(5);

        // Five are older than two minutes, two may have come after the look.
        let most = ask(7, five_past).await;
        assert_eq!(most, ((5, 7), (State::Agrees, 0)));
        let later = five_past + TimeDelta::minutes(10);
        assert_eq!(ask(6, later).await, ((7, 7), (State::Drifts, -1)), "a call was forgotten");
        let latest = later + TimeDelta::minutes(10);
        assert_eq!(ask(7, latest).await.1, (State::Agrees, 0), "it was only late");
        let latest = latest + TimeDelta::minutes(10);
        assert_eq!(ask_held(4, 2, latest).await.1, (State::Drifts, -1), "two of three are told of");
        let latest = latest + TimeDelta::minutes(10);
        assert_eq!(ask_held(4, 3, latest).await.1, (State::Agrees, 0), "all of them may be made");
        let latest = latest + TimeDelta::minutes(10);
        assert_eq!(ask_held(9, 1, latest).await.1, (State::Drifts, 2), "two are not in the ledger");
        let drift = store_drift(&app).await;
        assert_eq!(drift, [("QUOTA".to_owned(), 2, 7)]);
        // They come, seconds or hours late, and the count that lacked them is still the one that is compared.
        app.clock.advance(TimeDelta::minutes(-10));
        call(&app, node, alice.tenant, 2, 3).await;
        app.clock.advance(TimeDelta::minutes(20));
        let rows = compared(&app, &alice).await;
        let row = rows.iter().find(|row| row.kind == Kind::Quota).unwrap();
        assert_eq!((row.counted, row.state()), (9, State::Agrees));

        app.clock.advance(TimeDelta::days(1));
        compared(&app, &alice).await;
        app.clock.advance(AGREED_KEPT);
        forget_old(&app).await.unwrap();
        let rows = compared(&app, &alice).await;
        assert!(rows.iter().all(|row| row.kind != Kind::Quota), "what agreed is not kept");
    }

    async fn store_drift(app: &App) -> Vec<(String, i64, i64)> {
        let mut tx = app.system(Job::Reconciliation).await.unwrap();
        let drifts = store::reconciliation::drift(&mut tx, app.clock.now() - TOLD).await.unwrap();
        let quota = drifts.into_iter().filter(|drift| drift.kind == "QUOTA");
        quota.map(|drift| (drift.kind, drift.drift, drift.compared)).collect()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_hour_is_compared_for_the_last_time_when_it_is_sealed(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let node = called(&app, alice.tenant, 5).await;
        let counts = vec![logged(alice.tenant, 5, 0)];
        app.clock.advance(TimeDelta::minutes(2));
        take(&app, node, CountReport { log_counts: counts, ..told(1, testing::noon()) })
            .await
            .unwrap();
        assert_eq!(came_to(&compared(&app, &alice).await), [(State::Agrees, 0)]);
        // Long after the hour was last looked at, two calls come twice, under another name.
        app.clock.advance(TimeDelta::hours(70));
        let mut late: Vec<_> = (0..2).map(|_| usage::call(&app, alice.tenant)).collect();
        for call in &mut late {
            call.record.started_ms = ms(hour());
            call.record.ended_ms = ms(hour());
        }
        let segment = usage::segment(usage::place(9), &late);
        intake::take(&app, node, &[segment]).await.unwrap();
        rollup::run(&app).await.unwrap();
        assert_eq!(came_to(&compared(&app, &alice).await), [(State::Agrees, 0)], "not yet");
        let mut tx = app.system(Job::Seal).await.unwrap();
        store::usage_root::close(&mut tx, testing::noon()).await.unwrap();
        tx.commit().await.unwrap();

        let sealed = compared(&app, &alice).await;

        assert_eq!(came_to(&sealed), [(State::Drifts, -2)]);
        assert!(sealed[0].compared.unwrap().is_final);
        app.clock.advance(TimeDelta::minutes(1));
        assert_eq!(compared(&app, &alice).await, sealed, "nothing more is done about it");
        app.clock.advance(KEPT);
        forget_old(&app).await.unwrap();
        assert_eq!(compared(&app, &alice).await, []);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_cannot_be_is_not_believed_and_the_rest_is(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let node = called(&app, alice.tenant, 1).await;
        let elsewhere = usage::node(&app, "default").await;
        let mut tx = app.system(Job::Nodes).await.unwrap();
        let moved = "update node set cells = '{other}' where id = $1";
        sqlx::query(moved).bind(elsewhere.0).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let (tenant, noon) = (alice.tenant, testing::noon());
        let good = logged(tenant, 1, 0);
        let wrong_logs = [
            wire::LogCount { tenant_id: "acme".to_owned(), ..good.clone() },
            wire::LogCount { tenant_id: uuid::Uuid::nil().to_string(), ..good.clone() },
            wire::LogCount { hour_ms: good.hour_ms + 1, ..good.clone() },
            wire::LogCount { hour_ms: ms(noon + TimeDelta::hours(25)), ..good.clone() },
            wire::LogCount { hour_ms: ms(noon - TimeDelta::hours(74)), ..good.clone() },
            wire::LogCount { hour_ms: u64::MAX, ..good.clone() },
            wire::LogCount { written: u64::MAX, ..good.clone() },
            wire::LogCount { lost: SUM_MAX + 1, ..good.clone() },
        ];
        let right = quota(tenant, 1, noon);
        let wrong_quotas = [
            wire::QuotaCount { usage_plan_id: "a plan".to_owned(), ..right.clone() },
            wire::QuotaCount { api_key_id: "\0".to_owned(), ..right.clone() },
            wire::QuotaCount { period_until_s: right.period_from_s, ..right.clone() },
            wire::QuotaCount { period_from_s: 0, ..right.clone() },
            wire::QuotaCount { period_from_s: i64::MIN, ..right.clone() },
            wire::QuotaCount { read_ms: ms(noon + TimeDelta::hours(12)), ..right.clone() },
            wire::QuotaCount { read_ms: 0, ..right.clone() },
            wire::QuotaCount { used: u64::MAX, ..right.clone() },
            wire::QuotaCount { held: u64::MAX, ..right.clone() },
        ];
        let mut report = told(1, noon);
        report.log_counts.extend(wrong_logs.iter().cloned().chain([good.clone()]));
        report.quota_counts.extend(wrong_quotas.iter().cloned().chain([right]));

        let refused = take(&app, node, report).await.unwrap();

        assert_eq!(refused.counts as usize, wrong_logs.len() + wrong_quotas.len());
        assert!(refused.reason.unwrap().contains("acme"));
        app.clock.advance(TimeDelta::minutes(2));
        let kept: Vec<_> = compared(&app, &alice).await.iter().map(|row| row.counted).collect();
        assert_eq!(kept, [1, 1], "one of each");
        let other_cell = CountReport { log_counts: vec![good], ..told(2, noon) };
        assert_eq!(take(&app, elsewhere, other_cell).await.unwrap().counts, 1);

        let many = vec![logged(tenant, 1, 0); proto::reconciliation::COUNTS_MAX + 1];
        let ahead = ms(noon + TimeDelta::hours(25));
        for impossible in [
            CountReport { run: vec![1; 15], ..told(1, noon) },
            CountReport { started_ms: ahead, ..told(1, noon) },
            CountReport { until_ms: ahead, ..told(1, noon) },
            CountReport { until_ms: u64::MAX, ..told(1, noon) },
            CountReport { log_counts: many, ..told(1, noon) },
        ] {
            assert!(matches!(take(&app, node, impossible).await, Err(Error::BadRequest { .. })));
        }
        let stolen = take(&app, elsewhere, told(1, noon)).await.unwrap_err();
        assert!(stolen.to_string().contains("another node"), "{stolen}");
    }
}
