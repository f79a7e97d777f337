//! The log of requests forgets what is a month old, piece by piece, so that no transaction of it lasts.

use crate::app::{App, Job};
use crate::domain::management_request::KEPT_FOR;
use crate::error::Result;
use crate::store;

/// Rows that are deleted in one transaction.
const AT_ONCE: u32 = 10_000;

pub(super) async fn forget_old(app: &App) -> Result<()> {
    let before = app.clock.now() - KEPT_FOR;
    let mut deleted = 0;
    loop {
        let mut tx = app.system(Job::ManagementRequests).await?;
        let gone = store::management_request::delete_old(&mut tx, before, AT_ONCE.into()).await?;
        tx.commit().await?;
        deleted += gone;
        if gone < AT_ONCE.into() {
            break;
        }
    }
    if deleted > 0 {
        tracing::info!(deleted, "requests were forgotten");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::PgPool;

    use super::*;
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn after_thirty_days_a_request_is_forgotten_and_no_tenants_call_takes_one_out(
        db: PgPool,
    ) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let kept = async || -> i64 {
            let kept = sqlx::query_scalar("select count(*) from management_request");
            kept.fetch_one(&db).await.unwrap()
        };
        for _ in 0..2 {
            app.requests.offer(testing::management_request(&app, &alice));
            app.clock.advance(TimeDelta::seconds(1));
        }
        testing::write_requests(&app).await;
        app.clock.advance(KEPT_FOR - TimeDelta::seconds(1));
        assert_eq!(kept().await, 2);

        forget_old(&app).await.unwrap();

        assert_eq!(kept().await, 1);
        let mut tx = app.begin(&alice).await.unwrap();
        let refused = sqlx::query("delete from management_request").execute(&mut *tx).await;
        assert!(refused.is_err(), "not even its own");
    }
}
