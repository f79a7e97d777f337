//! That a segment of usage was taken is known for eight days: until one that comes again is too old to count. So are the
//! epochs that a node has left behind.

use crate::app::{App, Job};
use crate::error::Result;
use crate::ledger::intake::REMEMBERED;
use crate::store;

/// Rows that are deleted in one transaction.
const AT_ONCE: u32 = 10_000;

pub(super) async fn forget_old(app: &App) -> Result<()> {
    let mut tx = app.system(Job::Intake).await?;
    // A clock that runs ahead would forget what may still come again.
    let before = app.clock.not_after(store::usage_intake::now(&mut tx).await?) - REMEMBERED;
    drop(tx);
    let mut deleted = 0;
    loop {
        let mut tx = app.system(Job::Intake).await?;
        let gone = store::usage_intake::delete_segments(&mut tx, before, AT_ONCE.into()).await?;
        tx.commit().await?;
        deleted += gone;
        if gone < AT_ONCE.into() {
            break;
        }
    }
    let mut tx = app.system(Job::Intake).await?;
    let epochs = store::usage_intake::delete_epochs(&mut tx, before).await?;
    tx.commit().await?;
    if deleted > 0 || epochs > 0 {
        tracing::info!(deleted, epochs, "segments of usage were forgotten");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::PgPool;

    use super::*;
    use crate::ledger::intake::{self, Outcome, tests as ledger};
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn what_comes_again_after_it_was_forgotten_is_not_counted_twice(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (node, tenant) =
            (ledger::node(&app, "default").await, testing::owner(&app).await.tenant);
        let known = async || -> i64 {
            let known = sqlx::query_scalar("select count(*) from usage_segment");
            known.fetch_one(&db).await.unwrap()
        };
        // The latest call that a segment may bring: the node's clock runs a day ahead.
        let mut ahead = ledger::call(&app, tenant);
        ahead.record.ended_ms += 24 * 3_600_000;
        let old = [
            ledger::segment(ledger::place(1), &[ledger::call(&app, tenant)]),
            ledger::segment(ledger::place(2), &[ahead]),
        ];
        intake::take(&app, node, &old).await.unwrap();
        app.clock.advance(TimeDelta::seconds(1));
        let later = [ledger::segment(ledger::place(3), &[ledger::call(&app, tenant)])];
        intake::take(&app, node, &later).await.unwrap();
        app.clock.advance(REMEMBERED);

        forget_old(&app).await.unwrap();

        assert_eq!(known().await, 1, "the third came not so long ago");
        let marks = intake::open_epoch(&app, node, [1; 16]).await.unwrap().unwrap();
        assert_eq!(marks, [], "no node keeps what is so old");
        for (segment, outcome) in old.iter().zip(intake::take(&app, node, &old).await.unwrap()) {
            let Outcome::Quarantined(why) = &outcome else { panic!("{outcome:?}") };
            assert!(why.contains("too long ago"), "{why}: {:?}", segment.place);
        }
        let again = intake::take(&app, node, &later).await.unwrap();
        assert_eq!(again, [Outcome::Duplicate]);
        assert_eq!(ledger::total(&app, "usage_minute").await.requests, 3);
        // What was set aside and forgotten is kept aside once.
        app.clock.advance(REMEMBERED + TimeDelta::seconds(1));
        forget_old(&app).await.unwrap();
        let outcomes = intake::take(&app, node, &old).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Quarantined(_), Outcome::Quarantined(_)]));
        let aside: i64 = sqlx::query_scalar("select count(*) from usage_quarantine")
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(aside, 2);
        // What comes next goes on at its place.
        let next = ledger::segment(ledger::place(4), &[ledger::call(&app, tenant)]);
        assert_eq!(intake::take(&app, node, &[next]).await.unwrap(), [Outcome::Applied]);
        let marks = intake::open_epoch(&app, node, [1; 16]).await.unwrap().unwrap();
        assert_eq!(marks.iter().map(|mark| mark.counter).collect::<Vec<_>>(), [4]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_epoch_that_a_node_left_behind_is_forgotten_with_its_segments(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (node, tenant) =
            (ledger::node(&app, "default").await, testing::owner(&app).await.tenant);
        let known = async || -> (Vec<Vec<u8>>, i64) {
            let epochs = sqlx::query_scalar("select epoch from node_epoch order by epoch");
            let marks = sqlx::query_scalar("select count(*) from usage_high_water");
            (epochs.fetch_all(&db).await.unwrap(), marks.fetch_one(&db).await.unwrap())
        };
        let place = |epoch| intake::Place { epoch: [epoch; 16], ..ledger::place(1) };
        let open = async |epoch: u8| {
            intake::open_epoch(&app, node, [epoch; 16]).await.unwrap();
            let segment = ledger::segment(place(epoch), &[ledger::call(&app, tenant)]);
            intake::take(&app, node, &[segment]).await.unwrap();
        };
        open(1).await;
        app.clock.advance(TimeDelta::days(100));
        forget_old(&app).await.unwrap();
        assert_eq!(known().await, (vec![vec![1; 16]], 1), "it is the node's, however old");

        open(2).await;
        app.clock.advance(REMEMBERED);
        forget_old(&app).await.unwrap();
        assert_eq!(known().await.0.len(), 2, "the node may be about to change over");
        app.clock.advance(TimeDelta::seconds(1));
        forget_old(&app).await.unwrap();

        assert_eq!(known().await, (vec![vec![2; 16]], 1));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn replicas_that_forget_at_once_do_not_wait_for_each_other(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (node, tenant) =
            (ledger::node(&app, "default").await, testing::owner(&app).await.tenant);
        let segments: Vec<_> = (1..=4)
            .map(|at| ledger::segment(ledger::place(at), &[ledger::call(&app, tenant)]))
            .collect();
        intake::take(&app, node, &segments).await.unwrap();
        let before = app.clock.now() + TimeDelta::seconds(1);

        let mut here = app.system(Job::Intake).await.unwrap();
        let mut there = app.system(Job::Intake).await.unwrap();
        let forgotten = [
            store::usage_intake::delete_segments(&mut here, before, 3).await.unwrap(),
            store::usage_intake::delete_segments(&mut there, before, 3).await.unwrap(),
        ];

        assert_eq!(forgotten, [3, 1]);
    }
}
