//! Minutes to hours, and hours to days. An hour whose minutes changed is summed again from all of them, and so is a day
//! whose hours changed, so doing it twice, or stopping in the middle, changes nothing.
//!
//! What is due says at each moment which sums are behind: a question takes an hour or a day only while it is not
//! ([`store::usage_group`]). A roll-up sums first and then takes off the list what did not change since it had read it:
//! what comes in meanwhile waits for nothing, and stays due. Two replicas are never at the same hour or day, or the
//! older of two sums could be written last.
//!
//! Minutes are kept longer than nodes may be late; an hour must not be summed again after its minutes were dropped. Nor
//! after it was sealed: intake adds nothing to such an hour, but a replica of an earlier release might.

use crate::app::{App, Job};
use crate::error::Result;
use crate::store::{self, usage_day, usage_hour};

/// Hours in one transaction.
const HOURS_MAX: usize = 64;
/// Days in one transaction.
const DAYS_MAX: usize = 16;

/// Rolls up every hour that is due and that no other replica is at, each once; answers how many.
pub async fn run(app: &App) -> Result<usize> {
    let (mut all, mut last) = (0, None);
    loop {
        let mut tx = app.system(Job::RollUp).await?;
        // First, as in intake: who closes hours waits for both, and neither for the other.
        let closed = store::usage_root::closed_until(&mut tx).await?;
        let due = usage_hour::due(&mut tx, last.as_ref(), HOURS_MAX).await?;
        let hours: Vec<_> = due.iter().copied().filter(|due| due.mine).collect();
        let (open, sealed): (Vec<_>, Vec<_>) =
            hours.iter().partition(|due| closed.is_none_or(|closed| due.hour >= closed));
        for usage_hour::Due { tenant, hour, .. } in sealed {
            tracing::error!(tenant.id = %tenant, %hour, "minutes of a sealed hour changed; they are not counted");
        }
        usage_hour::sum(&mut tx, &open).await?;
        usage_hour::take_off(&mut tx, &hours).await?;
        tx.commit().await?;
        all += hours.len();
        last = due.last().copied();
        if due.len() < HOURS_MAX {
            return Ok(all);
        }
    }
}

/// Rolls up every day that is due and that no other replica is at, each once; answers how many.
pub async fn days(app: &App) -> Result<usize> {
    let (mut all, mut last) = (0, None);
    loop {
        let mut tx = app.system(Job::RollUp).await?;
        let due = usage_day::due(&mut tx, last.as_ref(), DAYS_MAX).await?;
        let days: Vec<_> = due.iter().copied().filter(|due| due.mine).collect();
        usage_day::sum(&mut tx, &days).await?;
        usage_day::take_off(&mut tx, &days).await?;
        tx.commit().await?;
        all += days.len();
        last = due.last().copied();
        if due.len() < DAYS_MAX {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::TimeDelta;
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Actor;
    use crate::domain::page::Page;
    use crate::domain::usage::{Interval, Wanted};
    use crate::domain::usage_group::{self, By, Question};
    use crate::ids::TenantId;
    use crate::ledger::intake::{self, tests as usage};
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn rolling_up_again_changes_nothing(db: PgPool) {
        let app = testing::app(db).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        let early = usage::segment(usage::place(1), &[usage::call(&app, tenant)]);
        app.clock.advance(TimeDelta::minutes(5));
        let late = usage::segment(usage::place(2), &[usage::call(&app, tenant)]);
        intake::take(&app, node, &[early, late]).await.unwrap();

        assert_eq!(run(&app).await.unwrap(), 2, "11:59 and 12:04 lie in two hours");
        assert_eq!(run(&app).await.unwrap(), 0, "nothing is due");
        let rolled_up = usage::total(&app, "usage_hour").await;
        assert_eq!(rolled_up, usage::total(&app, "usage_minute").await);

        let mut tx = app.system(Job::RollUp).await.unwrap();
        sqlx::query("insert into usage_hour_due select distinct tenant_id, hour from usage_hour")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(run(&app).await.unwrap(), 2);
        assert_eq!(usage::total(&app, "usage_hour").await, rolled_up);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn late_usage_makes_its_hour_due_again(db: PgPool) {
        let app = testing::app(db).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        let late = usage::segment(usage::place(2), &[usage::call(&app, tenant)]);
        let first = usage::segment(usage::place(1), &[usage::call(&app, tenant)]);
        intake::take(&app, node, &[first]).await.unwrap();
        run(&app).await.unwrap();

        app.clock.advance(TimeDelta::hours(70));
        intake::take(&app, node, &[late]).await.unwrap();

        assert_eq!(run(&app).await.unwrap(), 1);
        assert_eq!(usage::total(&app, "usage_hour").await.requests, 2);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_hour_that_another_replica_is_at_is_left_to_it(db: PgPool) {
        let app = testing::app(db).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        intake::take(&app, node, &[usage::segment(usage::place(1), &[usage::call(&app, tenant)])])
            .await
            .unwrap();
        let mut other = app.system(Job::RollUp).await.unwrap();
        assert!(usage_hour::due(&mut other, None, 1).await.unwrap()[0].mine);

        assert_eq!(run(&app).await.unwrap(), 0);
        other.commit().await.unwrap(); // it gave up
        assert_eq!(run(&app).await.unwrap(), 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_comes_in_while_its_hour_is_summed_waits_for_nothing_and_is_summed_next(
        db: PgPool,
    ) {
        let app = testing::app(db.clone()).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        let segment = |at| usage::segment(usage::place(at), &[usage::call(&app, tenant)]);
        intake::take(&app, node, &[segment(1)]).await.unwrap();
        for begun in [false, true] {
            let mut rolling = app.system(Job::RollUp).await.unwrap();
            let due = usage_hour::due(&mut rolling, None, 1).await.unwrap();
            usage_hour::sum(&mut rolling, &due).await.unwrap();
            if begun {
                // Intake has marked the hour, and ends while the roll-up waits for it.
                let mut taking = app.system_pool().begin().await.unwrap();
                sqlx::query("update usage_hour_due set hour = hour")
                    .execute(&mut *taking)
                    .await
                    .unwrap();
                let commit = async {
                    testing::somebody_waits(&db).await;
                    taking.commit().await.unwrap();
                };
                tokio::join!(
                    async { usage_hour::take_off(&mut rolling, &due).await.unwrap() },
                    commit
                );
            } else {
                intake::take(&app, node, &[segment(2)]).await.unwrap();
                usage_hour::take_off(&mut rolling, &due).await.unwrap();
            }
            rolling.commit().await.unwrap();
            assert_eq!(run(&app).await.unwrap(), 1, "it is due still");
            assert_eq!(run(&app).await.unwrap(), 0);
            assert_eq!(usage::total(&app, "usage_hour").await.requests, 2);
            sqlx::query(
                "insert into usage_hour_due select distinct tenant_id, hour from usage_hour",
            )
            .execute(&db)
            .await
            .unwrap();
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_hour_that_a_replica_of_the_release_before_took_off_the_list_is_due_again(
        db: PgPool,
    ) {
        let app = testing::app(db.clone()).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        intake::take(&app, node, &[usage::segment(usage::place(1), &[usage::call(&app, tenant)])])
            .await
            .unwrap();
        let mut rolling = app.system(Job::RollUp).await.unwrap();
        let due = usage_hour::due(&mut rolling, None, 1).await.unwrap();
        sqlx::query("delete from usage_hour_due").execute(&db).await.unwrap();
        usage_hour::sum(&mut rolling, &due).await.unwrap();
        usage_hour::take_off(&mut rolling, &due).await.unwrap();
        rolling.commit().await.unwrap();

        assert_eq!(run(&app).await.unwrap(), 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_hour_that_was_taken_off_the_list_and_came_back_meanwhile_is_still_due(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        let segment = |at| usage::segment(usage::place(at), &[usage::call(&app, tenant)]);
        intake::take(&app, node, &[segment(1)]).await.unwrap();
        let mut rolling = app.system(Job::RollUp).await.unwrap();
        let due = usage_hour::due(&mut rolling, None, 1).await.unwrap();
        usage_hour::sum(&mut rolling, &due).await.unwrap();
        sqlx::query("delete from usage_hour_due").execute(&db).await.unwrap();
        intake::take(&app, node, &[segment(2)]).await.unwrap();
        usage_hour::take_off(&mut rolling, &due).await.unwrap();
        rolling.commit().await.unwrap();

        assert_eq!(run(&app).await.unwrap(), 1);
        assert_eq!(usage::total(&app, "usage_hour").await.requests, 2);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_intake_of_two_tenants_and_a_roll_up_of_both_wait_in_one_order(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let node = usage::node(&app, "default").await;
        let mut tenants = [testing::owner(&app).await.tenant, testing::owner(&app).await.tenant];
        tenants.sort();
        let calls = tenants.map(|tenant| usage::call(&app, tenant));
        intake::take(&app, node, &[usage::segment(usage::place(1), &calls)]).await.unwrap();
        let mut rolling = app.system(Job::RollUp).await.unwrap();
        let due = usage_hour::due(&mut rolling, None, 2).await.unwrap();
        usage_hour::sum(&mut rolling, &due).await.unwrap();
        // The first has changed since, and an intake holds it, which will want the second.
        let mark = async |tx: &mut sqlx::PgConnection, tenant: TenantId| {
            let mark = "update usage_hour_due set hour = hour where tenant_id = $1";
            sqlx::query(mark).bind(tenant.0).execute(tx).await.unwrap();
        };
        mark(&mut *db.acquire().await.unwrap(), tenants[0]).await;
        let mut taking = db.begin().await.unwrap();
        mark(&mut taking, tenants[0]).await;
        let take = async {
            testing::somebody_waits(&db).await;
            mark(&mut taking, tenants[1]).await;
            taking.commit().await.unwrap();
        };

        tokio::join!(async { usage_hour::take_off(&mut rolling, &due).await.unwrap() }, take);

        rolling.commit().await.unwrap();
        assert_eq!(run(&app).await.unwrap(), 2, "both changed");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_sum_that_did_not_change_is_not_written(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        intake::take(&app, node, &[usage::segment(usage::place(1), &[usage::call(&app, tenant)])])
            .await
            .unwrap();
        let written = async || -> (String, String) {
            let sql =
                "select (select xmin::text from usage_hour), (select xmin::text from usage_day)";
            sqlx::query_as(sql).fetch_one(&db).await.unwrap()
        };
        run(&app).await.unwrap();
        days(&app).await.unwrap();
        let before = written().await;
        sqlx::query("insert into usage_hour_due select distinct tenant_id, hour from usage_hour")
            .execute(&db)
            .await
            .unwrap();

        assert_eq!((run(&app).await.unwrap(), days(&app).await.unwrap()), (1, 1));
        assert_eq!(written().await, before);
    }

    /// Every row of a table of the ledger, by its names and its day.
    async fn by_day(app: &App, table: &'static str) -> BTreeMap<String, Vec<i64>> {
        macro_rules! by_day {
            ($table:literal, $time:literal) => {
                concat!(
                    "select concat_ws(' ', date_trunc('day', ", $time, ", 'UTC'), tenant_id, route, status_class, cell_id),
                         array[sum(requests), sum(billed_requests), sum(bytes_in), sum(bytes_out),
                             sum(billed_bytes_out), sum(duration_ms)]::bigint[]
                     from ", $table, " group by 1"
                )
            };
        }
        let sql = match table {
            "usage_minute" => by_day!("usage_minute", "minute"),
            "usage_hour" => by_day!("usage_hour", "hour"),
            _ => by_day!("usage_day", "day"),
        };
        let mut tx = app.system(Job::RollUp).await.unwrap();
        let rows: Vec<(String, Vec<i64>)> = sqlx::query_as(sql).fetch_all(&mut *tx).await.unwrap();
        rows.into_iter().collect()
    }

    /// Steps of a roll-up that never committed.
    async fn die_in_the_middle(app: &App) {
        let mut tx = app.system(Job::RollUp).await.unwrap();
        let hours = usage_hour::due(&mut tx, None, HOURS_MAX).await.unwrap();
        usage_hour::sum(&mut tx, &hours).await.unwrap();
        usage_hour::take_off(&mut tx, &hours).await.unwrap();
        let days = usage_day::due(&mut tx, None, DAYS_MAX).await.unwrap();
        usage_day::sum(&mut tx, &days).await.unwrap();
        usage_day::take_off(&mut tx, &days).await.unwrap();
    }

    /// What the tenant is told that it used, whatever is due.
    async fn told(app: &App, actor: &Actor, interval: Option<Interval>) -> i64 {
        let now = app.clock.now();
        let since = now - TimeDelta::days(4);
        let wanted = Wanted::default();
        let question =
            Question::new(app, interval, since, Some(now), wanted, By::default()).unwrap();
        let page = Page::first(100, None, None).unwrap();
        let rows = usage_group::list(app, actor, &question, &page).await.unwrap();
        assert!(!rows.has_next);
        rows.items.iter().map(|row| row.requests).sum()
    }

    /// The model is a number: calls taken. Whatever comes in whatever order, a question answers it at every moment, and
    /// when nothing is due any more, hours and days are the sums of the minutes, row by row.
    #[sqlx::test(migrations = "../migrations")]
    async fn late_usage_deaths_and_repetitions_in_any_order_give_the_sums_of_the_minutes(
        db: PgPool,
    ) {
        let app = testing::app(db).await;
        let node = usage::node(&app, "default").await;
        let alice = testing::owner(&app).await;
        let routes = ["GET /a", "GET /b", "-"];
        // Any seed must do; a failure names the one that did not.
        let seed = u64::from_be_bytes(app.rng.bytes::<8>());
        let mut state = seed | 1;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut kept = Vec::new();
        let mut calls = 0;
        for step in 0..120 {
            match draw(8) {
                0..=3 => {
                    let mut some = Vec::new();
                    for _ in 0..=draw(3) {
                        let route = routes[usize::try_from(draw(3)).unwrap()];
                        let mut call = usage::Call { route, ..usage::call(&app, alice.tenant) };
                        let late_ms = draw(72 * 3_600_000);
                        call.record.started_ms -= late_ms;
                        call.record.ended_ms -= late_ms;
                        some.push(call);
                    }
                    calls += i64::try_from(some.len()).unwrap();
                    let segment = usage::segment(usage::place(step + 1), &some);
                    intake::take(&app, node, std::slice::from_ref(&segment)).await.unwrap();
                    kept.push(segment);
                }
                4 => drop(run(&app).await.unwrap()),
                5 => drop(days(&app).await.unwrap()),
                6 => die_in_the_middle(&app).await,
                _ if kept.is_empty() => {}
                _ => {
                    let again = &kept[usize::try_from(draw(kept.len() as u64)).unwrap()];
                    intake::take(&app, node, std::slice::from_ref(again)).await.unwrap();
                }
            }
            let interval = [None, Some(Interval::Day), Some(Interval::Hour)];
            let interval = interval[usize::try_from(draw(3)).unwrap()];
            assert_eq!(told(&app, &alice, interval).await, calls, "step {step} of seed {seed}");
        }
        run(&app).await.unwrap();
        days(&app).await.unwrap();

        let minutes = by_day(&app, "usage_minute").await;
        assert_eq!(by_day(&app, "usage_hour").await, minutes, "seed {seed}");
        assert_eq!(by_day(&app, "usage_day").await, minutes, "seed {seed}");
        assert_eq!((run(&app).await.unwrap(), days(&app).await.unwrap()), (0, 0));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn late_usage_makes_only_its_own_day_due_again(db: PgPool) {
        let app = testing::app(db).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        let yesterday = usage::segment(usage::place(1), &[usage::call(&app, tenant)]);
        let late = usage::segment(usage::place(3), &[usage::call(&app, tenant)]);
        app.clock.advance(TimeDelta::days(1));
        let today = usage::segment(usage::place(2), &[usage::call(&app, tenant)]);
        intake::take(&app, node, &[yesterday, today]).await.unwrap();
        run(&app).await.unwrap();
        assert_eq!(days(&app).await.unwrap(), 2);

        intake::take(&app, node, &[late]).await.unwrap();

        assert_eq!((run(&app).await.unwrap(), days(&app).await.unwrap()), (1, 1));
        assert_eq!(usage::total(&app, "usage_day").await.requests, 3);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_day_that_another_replica_is_at_is_left_to_it(db: PgPool) {
        let app = testing::app(db).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        let segment = usage::segment(usage::place(1), &[usage::call(&app, tenant)]);
        intake::take(&app, node, &[segment]).await.unwrap();
        run(&app).await.unwrap();
        let mut other = app.system(Job::RollUp).await.unwrap();
        assert!(usage_day::due(&mut other, None, 1).await.unwrap()[0].mine);

        assert_eq!(days(&app).await.unwrap(), 0);
        other.commit().await.unwrap(); // it gave up
        assert_eq!(days(&app).await.unwrap(), 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_hour_that_the_release_before_rolled_up_makes_its_day_due(db: PgPool) {
        let app = testing::app(db).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        let segment = usage::segment(usage::place(1), &[usage::call(&app, tenant)]);
        intake::take(&app, node, &[segment]).await.unwrap();
        run(&app).await.unwrap();
        days(&app).await.unwrap();

        let mut tx = app.system(Job::RollUp).await.unwrap();
        sqlx::query("update usage_hour set requests = 7").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(days(&app).await.unwrap(), 1);
        assert_eq!(usage::total(&app, "usage_day").await.requests, 7);
    }
}
