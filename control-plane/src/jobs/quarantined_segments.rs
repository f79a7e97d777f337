//! Usage that the ledger did not take: how much of it waits for the operator is counted, and what is settled leaves.

use crate::app::{App, Job};
use crate::domain::quarantined_segment::SETTLED_KEPT;
use crate::error::Result;
use crate::{store, telemetry};

pub(super) async fn count_open(app: &App) -> Result<()> {
    let mut tx = app.system(Job::Quarantine).await?;
    telemetry::quarantined(store::quarantined_segment::open(&mut tx).await?);
    Ok(())
}

pub(super) async fn forget_settled(app: &App) -> Result<()> {
    let before = app.clock.now() - SETTLED_KEPT;
    let mut tx = app.system(Job::Quarantine).await?;
    let deleted = store::quarantined_segment::delete_settled(&mut tx, before).await?;
    tx.commit().await?;
    if deleted > 0 {
        tracing::info!(deleted, "settled segments of usage were forgotten");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::PgPool;

    use super::*;
    use crate::domain::page::Page;
    use crate::domain::quarantined_segment::{self, QuarantineFilter};
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn ninety_days_after_it_was_settled_a_segment_leaves_and_what_is_open_stays(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let operator = testing::operator(&app).await;
        testing::quarantine_segments(&app).await;
        let kept = async || {
            let (any, page) = (QuarantineFilter::default(), Page::default());
            let page = quarantined_segment::list(&app, &operator, any, &page).await.unwrap();
            page.items.into_iter().map(|one| one.id).collect::<Vec<_>>()
        };
        let open = async || {
            let mut tx = app.system(Job::Quarantine).await.unwrap();
            store::quarantined_segment::open(&mut tx).await.unwrap()
        };
        let ids = kept().await;
        assert_eq!((ids.len(), open().await), (3, 3));
        quarantined_segment::settle(&app, &operator, ids[2], "a test").await.unwrap();
        app.clock.advance(TimeDelta::seconds(1));
        quarantined_segment::settle(&app, &operator, ids[0], "a test").await.unwrap();
        assert_eq!(open().await, 1);
        app.clock.advance(SETTLED_KEPT);

        forget_settled(&app).await.unwrap();

        assert_eq!(kept().await, [ids[0], ids[1]]);
        app.clock.advance(SETTLED_KEPT);
        forget_settled(&app).await.unwrap();
        assert_eq!(kept().await, [ids[1]], "nobody has looked at it");
    }
}
