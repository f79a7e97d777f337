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
async fn what_a_killed_node_did_not_tell_is_no_drift_but_a_call_that_is_not_billed_is(db: PgPool) {
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
    take(&app, node, CountReport { log_counts: counts, ..told(1, testing::noon()) }).await.unwrap();
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
