//! Hours that cannot change any more get their roots.
//!
//! That none changes afterwards is seen to in two steps. First an hour is closed: the database notes how far, while no
//! intake is under way and nothing of it waits for the roll-up; from then on intake sets aside what comes for it, by
//! the same note, whatever its own clock says. Only then are the rows read that its roots are made of.
//!
//! The hour was over for longer than a node can be late, and a margin, by this replica's clock and by the database's:
//! one of them that runs ahead closes nothing early.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::app::{App, Job, Tx};
use crate::domain::audit_chain;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::ledger::intake::LATE_MAX;
use crate::ledger::merkle::Hash;
use crate::ledger::row;
use crate::ledger::statement::Hour;
use crate::store;
use crate::store::usage_hour::LedgerRow;
use crate::store::usage_root::Root;

/// More than clocks differ, and than intake takes.
const MARGIN: TimeDelta = TimeDelta::hours(3);
/// Rows that are in memory at once, beside the hashes of their hour.
const ROWS_MAX: i64 = 5000;

/// Closes what can be closed and seals what is closed; answers how many roots that made.
pub async fn run(app: &App) -> Result<usize> {
    close(app).await?;
    let mut all = 0;
    while let Some(roots) = next(app).await? {
        all += roots;
    }
    Ok(all)
}

async fn close(app: &App) -> Result<()> {
    let mut tx = app.system(Job::Seal).await?;
    let Some(seal) = store::usage_root::lock(&mut tx).await? else { return Ok(()) };
    let until = over_before(app.clock.not_after(seal.now))?;
    if seal.closed_until.is_none_or(|closed| closed < until) {
        store::usage_root::close(&mut tx, until).await?;
    }
    // Also where nothing was closed: a transaction that is only dropped keeps its lock for a moment longer.
    tx.commit().await?;
    Ok(())
}

/// The end of the last hour that nothing comes for any more.
fn over_before(now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    (now - LATE_MAX - MARGIN).duration_trunc(TimeDelta::hours(1)).map_err(Error::internal)
}

/// Seals the next hour that has rows, of every tenant, in one transaction. None where there is none, or another replica
/// is at it.
async fn next(app: &App) -> Result<Option<usize>> {
    let mut tx = app.system(Job::Seal).await?;
    let Some(seal) = store::usage_root::lock(&mut tx).await? else { return Ok(None) };
    let Some(until) =
        seal.closed_until.filter(|until| seal.rooted_until.is_none_or(|to| to < *until))
    else {
        tx.commit().await?;
        return Ok(None);
    };
    let hour = store::usage_root::next_hour(&mut tx, seal.rooted_until, until).await?;
    let tenants = match hour {
        Some(hour) => store::usage_root::tenants(&mut tx, hour).await?,
        None => Vec::new(),
    };
    let key = audit_chain::key(app)?;
    for tenant in tenants.iter().copied() {
        let Some(hour) = hour else { break };
        let sealed = Hour::over(hour, leaves(&mut tx, tenant, hour, |_| {}).await?);
        let root = Root {
            hour,
            rows: i64::try_from(sealed.rows).map_err(Error::internal)?,
            root: sealed.root.0.to_vec(),
            signature: sealed.sign(tenant, &key),
        };
        store::usage_root::insert(&mut tx, tenant, &root, app.clock.now()).await?;
    }
    let rooted = hour.map_or(until, |hour| hour + TimeDelta::hours(1));
    store::usage_root::set_rooted_until(&mut tx, rooted).await?;
    tx.commit().await?;
    Ok(hour.map(|_| tenants.len()))
}

/// The leaves of the rows that a tenant has in an hour, in no order; shows each row on the way.
pub async fn leaves(
    tx: &mut Tx,
    tenant: TenantId,
    hour: DateTime<Utc>,
    mut show: impl FnMut(&LedgerRow),
) -> Result<Vec<Hash>> {
    let mut leaves = Vec::new();
    let mut last: Option<LedgerRow> = None;
    loop {
        let until = hour + TimeDelta::hours(1);
        let rows =
            store::usage_hour::export(tx, tenant, hour, until, last.as_ref(), ROWS_MAX).await?;
        leaves.extend(rows.iter().map(|row| row::leaf(tenant, row)));
        rows.iter().for_each(&mut show);
        if i64::try_from(rows.len()) != Ok(ROWS_MAX) {
            return Ok(leaves);
        }
        last = rows.into_iter().next_back();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::ids::NodeId;
    use crate::ledger::intake::{self, Outcome, tests as usage};
    use crate::ledger::rollup;
    use crate::testing;

    /// Longer than the hour of a call ten seconds ago stays open.
    pub(crate) const UNTIL_SEALED: TimeDelta = TimeDelta::hours(77);

    /// So many calls of the tenant, in the hour before noon, in one segment at this place.
    pub(crate) async fn calls(
        app: &App,
        node: NodeId,
        tenant: TenantId,
        at: i64,
        routes: &[&'static str],
    ) {
        let calls: Vec<_> =
            routes.iter().map(|route| usage::Call { route, ..usage::call(app, tenant) }).collect();
        let taken = intake::take(app, node, &[usage::segment(usage::place(at), &calls)]).await;
        assert_eq!(taken.unwrap(), [Outcome::Applied]);
        rollup::run(app).await.unwrap();
    }

    async fn seal(app: &App) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let sql = "select closed_until, rooted_until from usage_seal";
        sqlx::query_as(sql).fetch_one(app.system_pool()).await.unwrap()
    }

    async fn roots(app: &App, tenant: TenantId) -> Vec<Root> {
        let mut tx = app.system(Job::Seal).await.unwrap();
        let (from, until) =
            (testing::noon() - TimeDelta::days(10), testing::noon() + TimeDelta::days(10));
        store::usage_root::list(&mut tx, tenant, from, until).await.unwrap()
    }

    fn eleven() -> DateTime<Utc> {
        testing::noon() - TimeDelta::hours(1)
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_hour_is_sealed_once_it_cannot_change_and_not_before(db: PgPool) {
        let app = testing::app(db).await;
        let node = usage::node(&app, "default").await;
        let (alice, bob) = (testing::owner(&app).await.tenant, testing::owner(&app).await.tenant);
        calls(&app, node, alice, 1, &["GET /a", "GET /b", "GET /a"]).await;
        calls(&app, node, bob, 2, &["GET /a"]).await;
        let idle = testing::owner(&app).await.tenant;

        app.clock.advance(LATE_MAX + MARGIN - TimeDelta::seconds(1));
        assert_eq!(run(&app).await.unwrap(), 0);
        assert_eq!(seal(&app).await, (Some(eleven()), Some(eleven())));

        app.clock.advance(TimeDelta::seconds(1));
        assert_eq!(run(&app).await.unwrap(), 2);
        assert_eq!(run(&app).await.unwrap(), 0, "once");
        assert_eq!(seal(&app).await, (Some(testing::noon()), Some(testing::noon())));
        let sealed = roots(&app, alice).await;
        assert_eq!((sealed.len(), sealed[0].hour, sealed[0].rows), (1, eleven(), 2));
        assert_ne!(sealed[0].root, roots(&app, bob).await[0].root);
        assert_eq!(roots(&app, idle).await, []);
        let key = audit_chain::public_key(&app);
        let hour = Hour {
            hour: eleven(),
            rows: 2,
            root: crate::ledger::statement::Hex(sealed[0].root.clone().try_into().unwrap()),
        };
        assert!(hour.signed(alice, &key, &sealed[0].signature));
        assert!(!hour.signed(bob, &key, &sealed[0].signature));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_waits_for_the_roll_up_keeps_its_hour_open(db: PgPool) {
        let app = testing::app(db).await;
        let node = usage::node(&app, "default").await;
        let alice = testing::owner(&app).await.tenant;
        let segment = usage::segment(usage::place(1), &[usage::call(&app, alice)]);
        intake::take(&app, node, &[segment]).await.unwrap();
        app.clock.advance(UNTIL_SEALED);

        assert_eq!(run(&app).await.unwrap(), 0);
        assert_eq!(seal(&app).await.0, Some(eleven()));
        // Nor while the roll-up is at it.
        let mut rolling = app.system_pool().begin().await.unwrap();
        sqlx::query("delete from usage_hour_due").execute(&mut *rolling).await.unwrap();
        assert_eq!(run(&app).await.unwrap(), 0);
        rolling.rollback().await.unwrap();

        rollup::run(&app).await.unwrap();
        assert_eq!(run(&app).await.unwrap(), 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_comes_for_a_sealed_hour_is_set_aside_whatever_the_clock_says(db: PgPool) {
        let app = testing::app(db.clone()).await;
        // A replica whose clock stayed where it was.
        let behind = testing::app(db).await;
        let node = usage::node(&app, "default").await;
        let alice = testing::owner(&app).await.tenant;
        calls(&app, node, alice, 1, &["GET /a"]).await;
        let late = usage::call(&behind, alice);
        app.clock.advance(UNTIL_SEALED);
        run(&app).await.unwrap();
        let sealed = roots(&app, alice).await;
        let counted = usage::total(&app, "usage_minute").await;

        let only = usage::segment(usage::place(2), &[late]);
        let outcome = intake::take(&behind, node, std::slice::from_ref(&only)).await.unwrap();
        let [Outcome::Quarantined(why)] = &outcome[..] else { panic!("{outcome:?}") };
        assert!(why.contains("2026-11-20T11:00:00Z is sealed"), "{why}");
        let again = intake::take(&behind, node, &[only]).await.unwrap();
        assert_eq!(again, [Outcome::Duplicate]);
        assert_eq!(usage::total(&app, "usage_minute").await, counted);

        // What lies beside it counts.
        let mut open = usage::call(&behind, alice);
        open.record.ended_ms += 2 * 3_600_000;
        let both = usage::segment(usage::place(3), &[usage::call(&behind, alice), open]);
        let outcome = intake::take(&behind, node, &[both]).await.unwrap();
        assert_eq!(outcome, [Outcome::Applied]);
        assert_eq!(usage::total(&app, "usage_minute").await.requests, counted.requests + 1);
        rollup::run(&behind).await.unwrap();
        run(&app).await.unwrap();
        assert_eq!(roots(&app, alice).await[..1], sealed);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn no_hour_is_closed_while_intake_is_under_way(db: PgPool) {
        let app = testing::app(db).await;
        let node = usage::node(&app, "default").await;
        let alice = testing::owner(&app).await.tenant;
        calls(&app, node, alice, 1, &["GET /a"]).await;
        app.clock.advance(UNTIL_SEALED);
        let mut intake = app.system(Job::Intake).await.unwrap();
        assert_eq!(store::usage_root::closed_until(&mut intake).await.unwrap(), None);

        // The closing waits, and what it waited for is in the root.
        let closing = tokio::spawn({
            let app = app.clone();
            async move { run(&app).await }
        });
        let waits =
            "select exists (select from pg_locks where locktype = 'advisory' and not granted
             and database = (select oid from pg_database where datname = current_database()))";
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(app.system_pool()).await.unwrap() {
            tokio::task::yield_now().await;
        }
        sqlx::query(
            "insert into usage_hour select cell_id, tenant_id, consumer_id, api_id, stage, 'GET /late', api_key_id,
                 usage_plan_id, status_class, cache, hour, 1, 1, 1, 1, 1, 1 from usage_hour",
        )
        .execute(&mut *intake)
        .await
        .unwrap();
        intake.commit().await.unwrap();

        assert_eq!(closing.await.unwrap().unwrap(), 1);
        assert_eq!(roots(&app, alice).await[0].rows, 2);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_sealed_hour_is_not_summed_again_whoever_added_minutes_to_it(db: PgPool) {
        let app = testing::app(db).await;
        let node = usage::node(&app, "default").await;
        let alice = testing::owner(&app).await.tenant;
        calls(&app, node, alice, 1, &["GET /a"]).await;
        app.clock.advance(UNTIL_SEALED);
        run(&app).await.unwrap();
        let sealed = usage::total(&app, "usage_hour").await;
        let mut tx = app.system(Job::RollUp).await.unwrap();
        for sql in [
            "update usage_minute set requests = requests + 1",
            "insert into usage_hour_due select distinct tenant_id, hour from usage_hour",
        ] {
            sqlx::query(sql).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();

        assert_eq!(rollup::run(&app).await.unwrap(), 1);

        assert_eq!(usage::total(&app, "usage_hour").await, sealed);
        assert_eq!(rollup::run(&app).await.unwrap(), 0, "it is not due for ever");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn two_replicas_seal_each_hour_once_and_alike(db: PgPool) {
        let (here, there) = (testing::app(db.clone()).await, testing::app(db).await);
        let node = usage::node(&here, "default").await;
        let alice = testing::owner(&here).await.tenant;
        for at in 1..=5 {
            calls(&here, node, alice, at, &["GET /a", "GET /b"]).await;
            for app in [&here, &there] {
                app.clock.advance(TimeDelta::hours(1));
            }
        }
        for app in [&here, &there] {
            app.clock.advance(UNTIL_SEALED);
        }

        let (one, other) = tokio::join!(run(&here), run(&there));
        let rest = run(&here).await.unwrap();

        assert_eq!(one.unwrap() + other.unwrap() + rest, 5);
        let hours: Vec<_> = roots(&here, alice).await.iter().map(|root| root.hour).collect();
        assert_eq!(hours, (0..5).map(|hour| eleven() + TimeDelta::hours(hour)).collect::<Vec<_>>());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_root_is_changed_by_nobody_who_serves(db: PgPool) {
        let app = testing::app(db).await;
        let node = usage::node(&app, "default").await;
        let alice = testing::owner(&app).await;
        calls(&app, node, alice.tenant, 1, &["GET /a"]).await;
        app.clock.advance(UNTIL_SEALED);
        run(&app).await.unwrap();

        for sql in ["update usage_root set rows = 2", "truncate usage_root"] {
            let mut tx = app.system(Job::Seal).await.unwrap();
            assert!(sqlx::query(sql).execute(&mut *tx).await.is_err(), "{sql}");
        }
        for sql in ["delete from usage_root", "update usage_seal set closed_until = null"] {
            let mut tx = app.begin(&alice).await.unwrap();
            assert!(sqlx::query(sql).execute(&mut *tx).await.is_err(), "{sql}");
        }
        let mallory = testing::owner(&app).await;
        let mut tx = app.begin(&mallory).await.unwrap();
        let seen: i64 = sqlx::query_scalar("select count(*) from usage_root")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(seen, 0);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn the_root_of_a_hundred_thousand_rows_is_made_in_seconds(db: PgPool) {
        let app = testing::app(db).await;
        let node = usage::node(&app, "default").await;
        let alice = testing::owner(&app).await;
        calls(&app, node, alice.tenant, 1, &["GET /a"]).await;
        let mut tx = app.system(Job::RollUp).await.unwrap();
        sqlx::query(
            "insert into usage_hour select cell_id, tenant_id, '', api_id, stage, 'GET /items/{' || n || '}', api_key_id,
                 usage_plan_id, 2, 0, hour, n, n, n, n, n, n from usage_hour, generate_series(1, 99999) n",
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        app.clock.advance(UNTIL_SEALED);
        let started = std::time::Instant::now();

        assert_eq!(run(&app).await.unwrap(), 1);

        println!("an hour of 100,000 rows was sealed in {:?}", started.elapsed());
        assert_eq!(roots(&app, alice.tenant).await[0].rows, 100_000);
    }

    #[test]
    fn an_hour_is_over_when_every_clock_says_so() {
        let noon = testing::noon();
        assert_eq!(over_before(noon).unwrap(), noon - TimeDelta::hours(76));
        let nearly = noon - TimeDelta::milliseconds(1);
        assert_eq!(over_before(nearly).unwrap(), noon - TimeDelta::hours(77));
    }
}
