//! The partitions of usage are made before their time comes; minutes leave when they are no longer kept.
//!
//! Hours and days stay: bills and statements are made of them. A minute leaves only after its hour was sealed, so that
//! no hour is ever summed again from fewer minutes than it had.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::app::{App, Job};
use crate::domain::usage;
use crate::error::{Error, Result};
use crate::store::usage_partition::Step;
use crate::{store, telemetry};

/// What may have rows already: clocks of nodes run ahead by a day at most, and replicas' own differ.
const TAKEN: TimeDelta = TimeDelta::days(2);
/// Each table, and how long ahead it has partitions: of a day, a month and a year.
const AHEAD: [(&str, TimeDelta); 3] = [
    ("usage_minute", TimeDelta::days(9)),
    ("usage_hour", TimeDelta::days(62)),
    ("usage_day", TimeDelta::days(400)),
];
/// Rows that are deleted in one transaction.
const AT_ONCE: u32 = 10_000;

pub(super) async fn keep(app: &App) -> Result<()> {
    make_ahead(app).await?;
    drop_old(app).await
}

async fn make_ahead(app: &App) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Partitions).await?;
    let given_up = store::usage_partition::give_up(&mut tx, now + TAKEN).await?;
    tx.commit().await?;
    if given_up > 0 {
        tracing::warn!(
            given_up,
            "partitions of usage were not made in time; the default takes theirs"
        );
    }
    for (table, ahead) in AHEAD {
        let mut tx = app.system(Job::Partitions).await?;
        let missing =
            store::usage_partition::missing(&mut tx, table, now + TAKEN, now + ahead).await?;
        tx.commit().await?;
        let mut made = 0;
        for starts in missing {
            match make(app, table, starts).await {
                Ok(done) => made += i32::from(done),
                // It is there for the next hour's turn.
                Err(error) => {
                    tracing::warn!(table, %starts, ?error, "a partition of usage could not be made");
                }
            }
        }
        telemetry::partitions(telemetry::Partitions::Made, made);
        if made > 0 {
            tracing::info!(table, made, "partitions of usage were made");
        }
    }
    let mut tx = app.system(Job::Partitions).await?;
    let until = store::usage_partition::until(&mut tx).await?;
    tx.commit().await?;
    telemetry::partitions_until(until);
    Ok(())
}

async fn make(app: &App, table: &str, starts: DateTime<Utc>) -> Result<bool> {
    for step in [Step::Fence, Step::Search, Step::Attach] {
        let mut tx = app.system(Job::Partitions).await?;
        let goes_on = store::usage_partition::make(&mut tx, table, starts, step).await?;
        tx.commit().await?;
        if !goes_on {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn drop_old(app: &App) -> Result<()> {
    let mut tx = app.system(Job::Partitions).await?;
    let sealed = store::usage_root::rooted_until(&mut tx).await?;
    tx.commit().await?;
    // Nothing is sealed yet: nothing is old.
    let Some(sealed) = sealed else { return Ok(()) };
    let before = whole_days(usage::minutes_kept_since(app).min(sealed))?;
    let mut tx = app.system(Job::Partitions).await?;
    let dropped = store::usage_partition::drop_minutes(&mut tx, before).await?;
    tx.commit().await?;
    telemetry::partitions(telemetry::Partitions::Dropped, dropped);
    let mut deleted = 0;
    loop {
        let mut tx = app.system(Job::Partitions).await?;
        let gone = store::usage_partition::delete_minutes(&mut tx, before, AT_ONCE.into()).await?;
        tx.commit().await?;
        deleted += gone;
        if gone < AT_ONCE.into() {
            break;
        }
    }
    if dropped > 0 || deleted > 0 {
        tracing::info!(dropped, deleted, %before, "usage by minute was forgotten");
    }
    Ok(())
}

fn whole_days(time: DateTime<Utc>) -> Result<DateTime<Utc>> {
    time.duration_trunc(TimeDelta::days(1)).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::ledger::intake::{self, Outcome, tests as ledger};
    use crate::ledger::{rollup, seal};
    use crate::testing;

    /// The partitions of a table but for the default, in the order of their names.
    async fn partitions(db: &PgPool, table: &str) -> Vec<String> {
        let sql = "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = $1::regclass and c.relname !~ 'default$' order by 1";
        sqlx::query_scalar(sql).bind(table).fetch_all(db).await.unwrap()
    }

    /// Where the rows of minutes lie.
    async fn places(db: &PgPool) -> Vec<String> {
        let sql = "select tableoid::regclass::text from usage_minute order by minute";
        sqlx::query_scalar(sql).fetch_all(db).await.unwrap()
    }

    async fn count(app: &App, at: i64) {
        let node = ledger::node(app, "default").await;
        let tenant = testing::owner(app).await.tenant;
        let segment = ledger::segment(ledger::place(at), &[ledger::call(app, tenant)]);
        assert_eq!(intake::take(app, node, &[segment]).await.unwrap(), [Outcome::Applied]);
        rollup::run(app).await.unwrap();
        rollup::days(app).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn partitions_are_made_ahead_once_and_what_comes_lies_in_them(db: PgPool) {
        let app = testing::app(db.clone()).await;

        keep(&app).await.unwrap();
        keep(&app).await.unwrap();

        let minutes = partitions(&db, "usage_minute").await;
        assert_eq!(minutes.first().map(String::as_str), Some("usage_minute_20261123"));
        assert_eq!(minutes.last().map(String::as_str), Some("usage_minute_20261129"));
        assert_eq!(minutes.len(), 7);
        let months = ["usage_hour_20261201", "usage_hour_20270101"];
        assert_eq!(partitions(&db, "usage_hour").await, months);
        assert_eq!(partitions(&db, "usage_day").await, ["usage_day_20270101"]);
        count(&app, 1).await;
        app.clock.advance(TimeDelta::days(3));
        count(&app, 2).await;
        assert_eq!(places(&db).await, ["usage_minute_default", "usage_minute_20261123"]);
        keep(&app).await.unwrap();
        assert_eq!(partitions(&db, "usage_minute").await.len(), 10, "three days, three more");
        let open = "select count(*) from pg_class where relname ~ '^usage_(minute|hour|day)'
             and relkind in ('r', 'p') and not (relrowsecurity and relforcerowsecurity)
             and relname !~ '_due$'";
        let open: i64 = sqlx::query_scalar(open).fetch_one(&db).await.unwrap();
        assert_eq!(open, 0, "each is fenced");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_day_that_has_rows_already_keeps_them_where_they_are(db: PgPool) {
        let app = testing::app(db.clone()).await;
        app.clock.advance(TimeDelta::days(3));
        count(&app, 1).await;
        app.clock.advance(TimeDelta::days(-3));

        keep(&app).await.unwrap();

        let minutes = partitions(&db, "usage_minute").await;
        assert_eq!(minutes.len(), 6);
        assert!(!minutes.contains(&"usage_minute_20261123".to_owned()), "{minutes:?}");
        assert_eq!(places(&db).await, ["usage_minute_default"]);
        let fences = "select count(*) from pg_constraint where conname like 'none_of_%'";
        let fences: i64 = sqlx::query_scalar(fences).fetch_one(&db).await.unwrap();
        assert_eq!(fences, 0, "what comes for it later lies there too");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn the_default_is_searched_while_usage_comes_in_and_an_end_in_the_middle_is_made_good(
        db: PgPool,
    ) {
        let app = testing::app(db.clone()).await;
        let starts = whole_days(app.clock.now() + TimeDelta::days(4)).unwrap();
        let mut tx = app.system(Job::Partitions).await.unwrap();
        let make = store::usage_partition::make;
        assert!(make(&mut tx, "usage_minute", starts, Step::Fence).await.unwrap());
        assert!(!make(&mut tx, "usage_minute", starts, Step::Attach).await.unwrap(), "unsearched");
        tx.commit().await.unwrap();
        let mut tx = app.system(Job::Partitions).await.unwrap();
        assert!(make(&mut tx, "usage_minute", starts, Step::Search).await.unwrap());
        count(&app, 1).await; // it waits for no search
        tx.commit().await.unwrap();

        keep(&app).await.unwrap();

        assert!(
            partitions(&db, "usage_minute").await.contains(&"usage_minute_20261124".to_owned())
        );
        assert_eq!(places(&db).await, ["usage_minute_default"]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_was_begun_and_not_ended_keeps_nothing_out_when_its_day_comes(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let starts = whole_days(app.clock.now() + TimeDelta::days(4)).unwrap();
        let mut tx = app.system(Job::Partitions).await.unwrap();
        let make = store::usage_partition::make;
        assert!(make(&mut tx, "usage_minute", starts, Step::Fence).await.unwrap());
        tx.commit().await.unwrap();
        app.clock.advance(TimeDelta::days(4));

        keep(&app).await.unwrap();
        count(&app, 1).await;

        assert_eq!(places(&db).await, ["usage_minute_default"]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn minutes_leave_when_they_are_no_longer_kept_and_hours_and_days_stay(db: PgPool) {
        let app = testing::app(db.clone()).await;
        keep(&app).await.unwrap();
        count(&app, 1).await; // in the default
        app.clock.advance(TimeDelta::days(3));
        count(&app, 2).await; // in its partition
        app.clock.advance(TimeDelta::days(i64::from(app.config.usage_minutes_kept_days)));
        count(&app, 3).await;

        // Their hours are not sealed: a late segment may still come for them.
        drop_old(&app).await.unwrap();
        assert_eq!(places(&db).await.len(), 3);
        // The first is sealed and too old, the second is sealed and not too old.
        seal::run(&app).await.unwrap();
        drop_old(&app).await.unwrap();
        assert_eq!(places(&db).await.len(), 2);
        assert_eq!(partitions(&db, "usage_minute").await.first().unwrap(), "usage_minute_20261123");
        app.clock.advance(TimeDelta::days(1));
        drop_old(&app).await.unwrap();

        assert_eq!(places(&db).await, ["usage_minute_default"]);
        assert_eq!(partitions(&db, "usage_minute").await.first().unwrap(), "usage_minute_20261124");
        assert_eq!(ledger::total(&app, "usage_minute").await.requests, 1);
        assert_eq!(ledger::total(&app, "usage_hour").await.requests, 3);
        assert_eq!(ledger::total(&app, "usage_day").await.requests, 3);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn nobody_drops_hours_and_no_tenants_call_drops_anything(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let mut tx = app.system(Job::Partitions).await.unwrap();
        let hours = sqlx::query("select drop_usage_partitions('usage_hour', now())");
        assert!(hours.execute(&mut *tx).await.is_err());
        let mut tx = app.begin(&alice).await.unwrap();
        let minutes = sqlx::query("select drop_usage_partitions('usage_minute', now())");
        assert!(minutes.execute(&mut *tx).await.is_err());
    }
}
