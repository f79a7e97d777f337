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
    let Some(text) = outbox::open(app, waiting).await? else {
        return outbox::forget(app, waiting.id).await;
    };
    let failed = mailer.send(waiting.id, &text).await.err();
    let old = app.clock.now() - waiting.created_at >= GIVEN_UP_AFTER;
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
