//! Minutes to hours. An hour whose minutes changed is summed again from all of them, so doing it twice, or stopping
//! in the middle, changes nothing.
//!
//! Minutes are kept longer than nodes may be late; an hour must not be summed again after its minutes were dropped.

use crate::app::{App, Job};
use crate::error::Result;
use crate::store;

/// Hours in one transaction.
const HOURS_MAX: i64 = 64;

/// Rolls up every hour that is due and that no other replica is at; answers how many.
pub async fn run(app: &App) -> Result<usize> {
    let mut all = 0;
    loop {
        let mut tx = app.system(Job::RollUp).await?;
        let hours = store::usage_hour::take_due(&mut tx, HOURS_MAX).await?;
        store::usage_hour::sum(&mut tx, &hours).await?;
        tx.commit().await?;
        all += hours.len();
        if hours.is_empty() {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::PgPool;

    use super::*;
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
    async fn an_hour_that_another_replica_holds_is_left_to_it(db: PgPool) {
        let app = testing::app(db).await;
        let (node, tenant) =
            (usage::node(&app, "default").await, testing::owner(&app).await.tenant);
        intake::take(&app, node, &[usage::segment(usage::place(1), &[usage::call(&app, tenant)])])
            .await
            .unwrap();
        let mut other = app.system_pool().begin().await.unwrap();
        sqlx::query("delete from usage_hour_due").execute(&mut *other).await.unwrap();

        assert_eq!(run(&app).await.unwrap(), 0);
        other.rollback().await.unwrap(); // it died; its work is due again
        assert_eq!(run(&app).await.unwrap(), 1);
    }
}
