//! A user's address: shown to be theirs by a link that is sent to it, and changed.

use crate::access::actor::{Caller, Origin};
use crate::access::link_token;
use crate::access::password::Password;
use crate::app::{App, Job};
use crate::domain::password::{self, Changed, Recorded};
use crate::domain::tenant::SignedUp;
use crate::domain::user::{Email, User};
use crate::domain::user_link::{self, Purpose};
use crate::domain::{outbox, sign_up};
use crate::error::{Error, Result};
use crate::ids::UserId;
use crate::mail::letter::Letter;
use crate::store;

/// Whose address a link has verified.
pub struct Verified {
    pub user: User,
    /// Where the link finished a sign-up.
    pub begun: Option<SignedUp>,
}

/// Whether a changed address is the user's already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Done,
    /// A letter went to it; opening its link makes it theirs.
    LetterSent,
}

/// Opens a link that was sent to an address: finishes a sign-up, or verifies the address of a user.
pub async fn verify(app: &App, origin: &Origin, token: &str) -> Result<Verified> {
    app.wall.log_in(&origin.address)?;
    if let Some(begun) = sign_up::finish(app, origin, token).await? {
        return Ok(Verified { user: begun.user.clone(), begun: Some(begun) });
    }
    let (hash, now) = (link_token::hash(token), app.clock.now());
    let mut tx = app.system(Job::LogIn).await?;
    let link = store::user_link::spend(&mut tx, Purpose::VerifyEmail, &hash, now).await?;
    let link = link.ok_or_else(|| {
        Error::bad_request("token", "this link was used, has expired, or is not the newest")
    })?;
    let before = store::user::get(&mut tx, link.user).await?;
    if before.email != link.email {
        store::user::set_email(&mut tx, link.user, &link.email).await?;
        store::user_link::delete_changes(&mut tx, link.user).await?;
        let (from, to) = (Recorded::of(&before.email), Recorded::of(&link.email));
        let changed = by_link(app, origin, link.user, from, to);
        password::record(app, &mut tx, "user.change_email", changed).await?;
        let letter = Letter::EmailChanged { to: before.email, at: now };
        outbox::post(app, &mut tx, None, &letter).await?;
    } else if !before.email_verified {
        let [from, to] = [false, true]
            .map(|verified| Recorded { email: &link.email, email_verified: Some(verified) });
        let changed = by_link(app, origin, link.user, from, to);
        password::record(app, &mut tx, "user.verify_email", changed).await?;
    }
    store::user::verify(&mut tx, link.user, &link.email, now).await?;
    let user = store::user::get(&mut tx, link.user).await?;
    tx.commit().await?;
    Ok(Verified { user, begun: None })
}

/// What a link changed, in no session.
fn by_link<'a>(
    app: &App,
    origin: &'a Origin,
    user: UserId,
    before: Recorded<'a>,
    after: Recorded<'a>,
) -> Changed<'a> {
    Changed { user, session: app.rng.id(), origin, before: Some(before), after }
}

/// Sends the caller another link to verify their address.
pub async fn resend(app: &App, caller: &Caller) -> Result<()> {
    must_send(app)?;
    let mut tx = app.system(Job::LogIn).await?;
    let user = store::user::get(&mut tx, caller.user()).await?;
    if user.email_verified {
        return Err(Error::conflict("", "this address is verified already"));
    }
    let wait = user_link::wait_seconds(app, &mut tx, user.id, Purpose::VerifyEmail).await?;
    if let Some(retry_after_seconds) = wait {
        return Err(Error::TooManyRequests { retry_after_seconds });
    }
    let whose = (user.id, user.email.as_str());
    let link = user_link::make(app, &mut tx, whose, Purpose::VerifyEmail, true).await?;
    let letter = Letter::Verification { to: user.email.clone(), link };
    outbox::post(app, &mut tx, None, &letter).await?;
    tx.commit().await?;
    Ok(())
}

/// Changes the caller's address, which takes their password, and ends their other sessions. Where letters can be sent
/// it becomes theirs when the link in one is opened; what is told is the same for an address that has an account.
pub async fn change(app: &App, caller: &Caller, new: &str, current: &Password) -> Result<Change> {
    let new = Email::new(new)?;
    let account = password::confirm(app, caller, "currentPassword", current).await?;
    let user = account.user;
    if user.email == new.as_str() {
        return Err(Error::bad_request("email", "this is your address already"));
    }
    let now = app.clock.now();
    let mut tx = app.system(Job::Sessions).await?;
    if !store::user::keep_password(&mut tx, user.id, &account.password_hash).await? {
        return Err(Error::conflict("currentPassword", "the password was changed meanwhile"));
    }
    let (change, action) = if app.mailer.is_some() {
        let wait = user_link::wait_seconds(app, &mut tx, user.id, Purpose::VerifyEmail).await?;
        if let Some(retry_after_seconds) = wait {
            return Err(Error::TooManyRequests { retry_after_seconds });
        }
        let whose = (user.id, new.as_str());
        let link = user_link::make(app, &mut tx, whose, Purpose::VerifyEmail, true).await?;
        let letter = Letter::Verification { to: new.as_str().to_owned(), link };
        outbox::post(app, &mut tx, None, &letter).await?;
        (Change::LetterSent, "user.request_email_change")
    } else {
        store::user::set_email(&mut tx, user.id, new.as_str()).await?;
        store::user_link::delete_changes(&mut tx, user.id).await?;
        (Change::Done, "user.change_email")
    };
    let changed = Changed {
        user: user.id,
        session: caller.session(),
        origin: caller.origin(),
        before: Some(Recorded::of(&user.email)),
        after: Recorded::of(new.as_str()),
    };
    password::record(app, &mut tx, action, changed).await?;
    let ended = store::session::revoke_others(&mut tx, user.id, caller.session(), now).await?;
    tx.commit().await?;
    for session in ended {
        app.revoke_here(session.id);
    }
    Ok(change)
}

fn must_send(app: &App) -> Result<()> {
    match app.mailer {
        Some(_) => Ok(()),
        None => Err(Error::conflict("", "this installation sends no mail")),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::domain::session;
    use crate::testing::{self, PASSWORD};

    async fn caller(app: &App, email: &str) -> Caller {
        let token = testing::user(app, email).await.access_token;
        session::authenticate(app, &token, Origin::default()).await.unwrap()
    }

    async fn open(app: &App, token: &str) -> Result<Verified> {
        verify(app, &Origin::default(), token).await
    }

    async fn address(app: &App, caller: &Caller) -> User {
        session::viewer(app, caller).await.unwrap().user
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_new_address_is_the_users_once_its_letter_is_opened(db: PgPool) {
        let app = testing::app_with_mail(db).await;
        let ada = caller(&app, "ada@example.com").await;
        let right = Password::new(PASSWORD);
        let wrong = change(&app, &ada, "ada@new.example", &Password::new("wrong")).await;
        assert_eq!(wrong.unwrap_err().param(), Some("currentPassword"));

        let change = change(&app, &ada, "ada@new.example", &right).await.unwrap();
        assert_eq!(change, Change::LetterSent);
        assert_eq!(address(&app, &ada).await.email, "ada@example.com");
        let token = testing::token_in_newest_letter(&app).await;
        open(&app, &token).await.unwrap();

        let user = address(&app, &ada).await;
        assert_eq!((user.email.as_str(), user.email_verified), ("ada@new.example", true));
        let told = testing::letters(&app).await.pop().unwrap();
        let expected = ("ada@example.com", "Your address was changed");
        assert_eq!((told.to.as_str(), told.subject.as_str()), expected);
        assert_eq!(open(&app, &token).await.err().unwrap().param(), Some("token"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_asks_for_a_taken_address_is_told_nothing_and_who_reads_its_mail_is(db: PgPool) {
        let app = testing::app_with_mail(db).await;
        let (ada, _bob) =
            (caller(&app, "ada@example.com").await, caller(&app, "bob@example.com").await);

        let told = change(&app, &ada, "bob@example.com", &Password::new(PASSWORD)).await;
        assert_eq!(told.unwrap(), Change::LetterSent);
        let token = testing::token_in_newest_letter(&app).await;
        assert_eq!(open(&app, &token).await.err().unwrap().param(), Some("email"));
        assert_eq!(address(&app, &ada).await.email, "ada@example.com");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_address_is_verified_by_the_newest_letter_of_one_a_minute(db: PgPool) {
        let app = testing::app_with_mail(db).await;
        let ada = caller(&app, "ada@example.com").await;

        resend(&app, &ada).await.unwrap();
        let first = testing::token_in_newest_letter(&app).await;
        let soon = resend(&app, &ada).await.unwrap_err();
        assert!(matches!(soon, Error::TooManyRequests { retry_after_seconds: 1..=60 }));
        app.clock.advance(user_link::LETTERS_APART);
        resend(&app, &ada).await.unwrap();
        let second = testing::token_in_newest_letter(&app).await;

        assert!(open(&app, &first).await.is_err());
        assert!(!address(&app, &ada).await.email_verified);
        open(&app, &second).await.unwrap();
        assert!(address(&app, &ada).await.email_verified);
        assert!(matches!(resend(&app, &ada).await, Err(Error::Conflict { .. })));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn without_mail_an_address_changes_at_once_and_is_not_verified(db: PgPool) {
        let app = testing::app(db).await;
        let (ada, _bob) =
            (caller(&app, "ada@example.com").await, caller(&app, "bob@example.com").await);
        let right = Password::new(PASSWORD);

        let taken = change(&app, &ada, "BOB@example.com", &right).await.unwrap_err();
        assert_eq!((taken.code(), taken.param()), ("conflict", Some("email")));
        assert_eq!(change(&app, &ada, "ada@new.example", &right).await.unwrap(), Change::Done);
        let user = address(&app, &ada).await;
        assert_eq!((user.email.as_str(), user.email_verified), ("ada@new.example", false));
        assert!(matches!(resend(&app, &ada).await, Err(Error::Conflict { .. })));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_password_that_is_changed_meanwhile_changes_no_address(db: PgPool) {
        let app = testing::app_with_mail(db.clone()).await;
        let ada = caller(&app, "ada@example.com").await;
        let mut meanwhile = db.begin().await.unwrap();
        let lock = "select id from user_account where id = $1 for update";
        sqlx::query(lock).bind(ada.user().0).execute(&mut *meanwhile).await.unwrap();
        let app_too = app.clone();
        let changed = tokio::spawn(async move {
            change(&app_too, &ada, "mallory@example.com", &Password::new(PASSWORD)).await
        });
        testing::somebody_waits(&db).await;
        let other = "update user_account set password_hash = 'another'";
        sqlx::query(other).execute(&mut *meanwhile).await.unwrap();
        meanwhile.commit().await.unwrap();

        let refused = changed.await.unwrap().unwrap_err();
        assert_eq!((refused.code(), refused.param()), ("conflict", Some("currentPassword")));
        assert!(testing::letters(&app).await.is_empty());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_clock_that_goes_back_keeps_no_letter_back(db: PgPool) {
        let app = testing::app_with_mail(db).await;
        let ada = caller(&app, "ada@example.com").await;
        resend(&app, &ada).await.unwrap();

        app.clock.advance(chrono::TimeDelta::hours(-1));

        resend(&app, &ada).await.unwrap();
    }
}
