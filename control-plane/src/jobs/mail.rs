//! Letters leave: whichever replica takes one from the outbox sends it, and tries again, ever later, for a day.

use chrono::TimeDelta;
use futures_util::future;

use crate::app::{App, Job};
use crate::domain::outbox::{self, Waiting};
use crate::error::Result;
use crate::mail::{Failed, Mailer};
use crate::{store, telemetry};

/// How long a letter is tried for.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::days(1);
/// Letters in hand at once.
const AT_ONCE: i64 = 8;
/// Before the second try; twice that before the third, and so on. Longer than one letter may take, so that no other
/// replica takes it meanwhile.
const FIRST_WAIT_SECONDS: i32 = 60;
const LONGEST_WAIT_SECONDS: i32 = 3600;

/// Sends what waits.
pub(super) async fn send_waiting(app: &App) -> Result<()> {
    let Some(mailer) = &app.mailer else { return Ok(()) };
    loop {
        let mut tx = app.system(Job::Mail).await?;
        let (first, longest) = (FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS);
        let now = app.clock.now();
        let taken = store::mail::take(&mut tx, now, AT_ONCE, first, longest).await?;
        tx.commit().await?;
        if taken.is_empty() {
            return Ok(());
        }
        // Each to its end: what is in hand when another fails may have arrived already.
        let sent = future::join_all(taken.iter().map(|waiting| send(app, mailer, waiting))).await;
        sent.into_iter().collect::<Result<()>>()?;
    }
}

async fn send(app: &App, mailer: &Mailer, waiting: &Waiting) -> Result<()> {
    let old = app.clock.now() - waiting.created_at >= GIVEN_UP_AFTER;
    let failed = match outbox::open(app, waiting).await {
        Ok(Some(text)) => mailer.send(waiting.id, &text).await.err(),
        Ok(None) => return outbox::forget(app, waiting.id).await,
        Err(error) if old => Some(Failed::ForGood(error.to_string())),
        // A newer release may have written it.
        Err(error) => return Err(error),
    };
    match failed {
        None => telemetry::mailed(telemetry::Mailed::Sent),
        Some(Failed::ForNow(cause)) if !old => {
            telemetry::mailed(telemetry::Mailed::Delayed);
            tracing::warn!(mail.id = %waiting.id, tries = waiting.tries, cause, "a letter was not taken; it will be tried again");
            return Ok(());
        }
        Some(Failed::ForNow(cause) | Failed::ForGood(cause)) => {
            telemetry::mailed(telemetry::Mailed::GivenUp);
            tracing::error!(mail.id = %waiting.id, tries = waiting.tries, cause, "a letter was given up");
        }
    }
    outbox::forget(app, waiting.id).await
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn a_letter_that_cannot_be_read_is_given_up_after_a_day_too(db: PgPool) {
        let app = testing::app_with_mail(db.clone()).await;
        let mut tx = app.system(Job::Mail).await.unwrap();
        store::mail::insert(&mut tx, app.rng.id(), None, b"x", app.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let left = async || -> i64 {
            let left = sqlx::query_scalar("select count(*) from mail");
            left.fetch_one(&db).await.unwrap()
        };

        assert!(send_waiting(&app).await.is_err());
        assert_eq!(left().await, 1, "another release may read it");
        app.clock.advance(GIVEN_UP_AFTER);
        send_waiting(&app).await.unwrap();
        assert_eq!(left().await, 0);
    }
}
