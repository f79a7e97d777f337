//! Sessions that ended: known here within a second of any replica's saying so, and deleted in the end.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::access::token;
use crate::app::{App, Job};
use crate::domain::login_failure;
use crate::error::Result;
use crate::ids::SessionId;
use crate::store;

/// Replicas' clocks may differ by this much, or one's may jump so far: an ended session opens nothing all the same.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::hours(2);

/// How long an ended session stays readable.
const KEPT_FOR: TimeDelta = TimeDelta::days(30);

/// Learns which sessions were ended while access tokens of theirs may still be good. Nothing is unlearnt: what
/// this replica ended a moment ago may not be in what the query saw.
pub(super) async fn learn_revoked(app: &App) -> Result<()> {
    let revoked = revoked(app).await?;
    app.revoked_sender.send_if_modified(|known| {
        let changed = revoked.iter().any(|session| !known.contains(session));
        if changed {
            Arc::make_mut(known).extend(revoked);
        }
        changed
    });
    Ok(())
}

async fn revoked(app: &App) -> Result<HashSet<SessionId>> {
    let since = app.clock.now() - token::LIFE - CLOCKS_APART_MAX;
    let mut tx = app.system(Job::Sessions).await?;
    Ok(store::session::revoked_since(&mut tx, since).await?.into_iter().collect())
}

/// Deletes what no longer says anything: sessions, counts of failed log-ins, links, also those of downloads.
pub(super) async fn forget_old(app: &App) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Sessions).await?;
    let sessions = store::session::delete_ended(&mut tx, now - KEPT_FOR).await?;
    let counts =
        store::login_failure::delete_old(&mut tx, now - login_failure::FORGOTTEN_AFTER).await?;
    let links = store::one_time_link::delete_old(&mut tx, now - KEPT_FOR).await?;
    store::user_link::delete_old(&mut tx, now).await?;
    store::sign_up::delete_old(&mut tx, now).await?;
    store::tenant_invitation::delete_old(&mut tx, now).await?;
    store::download::prune(&mut tx, now).await?;
    tx.commit().await?;
    app.wall.forget_quiet();
    app.allowance.forget_quiet();
    app.requests.forget_quiet();
    let revoked = revoked(app).await?;
    app.revoked_sender.send_modify(|known| *known = Arc::new(revoked));
    if sessions + counts + links > 0 {
        tracing::info!(
            sessions,
            counts,
            links,
            "old sessions, counts of failures and links were deleted"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Origin;
    use crate::access::password::Password;
    use crate::domain::bill::Month;
    use crate::domain::tenant::{self, SignUp};
    use crate::domain::{download, session};
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn a_session_that_another_replica_ended_is_refused_here(db: PgPool) {
        let (here, there) = (testing::app(db.clone()).await, testing::app(db).await);
        let new = SignUp {
            email: "ada@example.com".to_owned(),
            password: Password::new("violet otter juggles"),
            tenant: "Engines".to_owned(),
        };
        let grant = tenant::sign_up(&there, &Origin::default(), new).await.unwrap().grant;
        let token = &grant.access_token;
        let cookie = grant.refresh.unwrap().token.to_cookie(&there.master);
        session::log_out(&there, &Origin::default(), &cookie).await.unwrap();
        assert!(session::authenticate(&there, token, Origin::default()).await.is_err());
        assert!(session::authenticate(&here, token, Origin::default()).await.is_ok());

        learn_revoked(&here).await.unwrap();

        assert!(session::authenticate(&here, token, Origin::default()).await.is_err());
        forget_old(&here).await.unwrap();
        assert!(session::authenticate(&here, token, Origin::default()).await.is_err());
        here.clock.advance(KEPT_FOR + KEPT_FOR);
        forget_old(&here).await.unwrap();
        assert!(here.revoked.borrow().is_empty());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_link_to_a_download_is_forgotten_when_its_time_is_over(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        download::create(&app, &alice, Month::new(&app, None).unwrap()).await.unwrap();
        let links = async || -> i64 {
            let links = sqlx::query_scalar("select count(*) from download_token");
            links.fetch_one(&db).await.unwrap()
        };

        forget_old(&app).await.unwrap();
        assert_eq!(links().await, 1);
        app.clock.advance(TimeDelta::hours(1));
        forget_old(&app).await.unwrap();
        assert_eq!(links().await, 0);
    }
}
