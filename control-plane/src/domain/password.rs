//! A user's password: changed by who knows it, reset by who has a link.

use serde::Serialize;

use crate::access::actor::{Actor, Caller, Operator, Origin};
use crate::access::link_token;
use crate::access::password::Password;
use crate::access::precondition::Precondition;
use crate::app::{App, Job, Tx};
use crate::domain::login_failure;
use crate::domain::user::{Account, Email};
use crate::domain::user_link::{self, Purpose};
use crate::domain::{audit, outbox};
use crate::error::{Error, Result};
use crate::ids::{SessionId, UserId};
use crate::mail::letter::Letter;
use crate::store;

/// The audit log's view of a user's own account.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recorded<'a> {
    pub email: &'a str,
    /// None where it is not about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
}

impl<'a> Recorded<'a> {
    pub(crate) fn of(email: &'a str) -> Self {
        Self { email, email_verified: None }
    }
}

/// Whose account was changed, in which session and from where.
pub(crate) struct Changed<'a> {
    pub user: UserId,
    pub session: SessionId,
    pub origin: &'a Origin,
    /// Of a password nothing but whose it is.
    pub before: Option<Recorded<'a>>,
    pub after: Recorded<'a>,
}

/// Whether this is the caller's password. A wrong one counts like a log-in that failed.
pub(crate) async fn confirm(
    app: &App,
    caller: &Caller,
    param: &str,
    given: &Password,
) -> Result<Account> {
    let origin = caller.origin();
    app.wall.log_in(&origin.address)?;
    let mut tx = app.system(Job::LogIn).await?;
    let account = store::user::account_of(&mut tx, caller.user()).await?;
    let email = Email::new(&account.user.email)?;
    let attempt = login_failure::count(app, &mut tx, &email, Some(&account), origin).await?;
    tx.commit().await?;
    if !given.matches(Some(account.password_hash.clone())).await? {
        return Err(Error::bad_request(param, "this is not your password"));
    }
    let mut tx = app.system(Job::LogIn).await?;
    attempt.succeeded(&mut tx, app.clock.now()).await?;
    tx.commit().await?;
    Ok(account)
}

/// Changes the caller's password, and ends their other sessions.
pub async fn change(app: &App, caller: &Caller, current: &Password, new: &Password) -> Result<()> {
    let account = confirm(app, caller, "currentPassword", current).await?;
    new.accept(&[&account.user.email]).map_err(|refused| match refused {
        Error::BadRequest { message, .. } => Error::bad_request("newPassword", message),
        other => other,
    })?;
    let password_hash = new.hash().await?;

    let mut tx = app.system(Job::Sessions).await?;
    if !store::user::keep_password(&mut tx, account.user.id, &account.password_hash).await? {
        return Err(Error::conflict("currentPassword", "the password was changed meanwhile"));
    }
    store::user::set_password(&mut tx, account.user.id, &password_hash).await?;
    store::user_link::delete_changes(&mut tx, account.user.id).await?;
    let (present, now) = (caller.session(), app.clock.now());
    let ended = store::session::revoke_others(&mut tx, account.user.id, present, now).await?;
    let (user, origin) = (account.user.id, caller.origin());
    let after = Recorded::of(&account.user.email);
    let changed = Changed { user, session: present, origin, before: None, after };
    record(app, &mut tx, "user.change_password", changed).await?;
    let letter = Letter::PasswordChanged { to: account.user.email, at: now };
    outbox::post(app, &mut tx, None, &letter).await?;
    tx.commit().await?;
    end(app, ended.into_iter().map(|session| session.id));
    Ok(())
}

/// Sends a link that resets the password of this address's account. What is told, and the time it takes, are the same
/// where there is none.
pub async fn request_reset(app: &App, origin: &Origin, email: &str) -> Result<()> {
    app.wall.sign_up(&origin.address)?;
    let email = Email::new(email)?;
    if app.mailer.is_none() {
        let no_mail = "this installation sends no mail; its operator can make a link: \
                       tollgate member reset-link --email";
        return Err(Error::conflict("", no_mail));
    }
    let mut tx = app.system(Job::LogIn).await?;
    let letter = Letter::PasswordResetAsked { email: email.as_str().to_owned() };
    outbox::post(app, &mut tx, None, &letter).await?;
    tx.commit().await?;
    Ok(())
}

/// The letter to who asked, if there is such an account and it did not get one a moment ago; `again` where this letter's
/// own try failed before. The operator's password is reset on the machine.
pub(crate) async fn reset_letter(app: &App, email: &str, again: bool) -> Result<Option<Letter>> {
    let mut tx = app.system(Job::Mail).await?;
    let account = store::user::account(&mut tx, &Email::new(email)?).await?;
    let Some(account) = account.filter(|account| !account.operator) else { return Ok(None) };
    let (user, to) = (account.user.id, account.user.email);
    let wait = user_link::wait_seconds(app, &mut tx, user, Purpose::ResetPassword).await?;
    if wait.is_some() && !again {
        return Ok(None);
    }
    let link = user_link::make(app, &mut tx, (user, &to), Purpose::ResetPassword, true).await?;
    tx.commit().await?;
    Ok(Some(Letter::PasswordReset { to, link }))
}

/// A link for the operator on the machine to pass on.
pub async fn create_reset_link(app: &App, email: &str) -> Result<String> {
    let email = Email::new(email)?;
    let mut tx = app.system(Job::Operator).await?;
    let account = store::user::account(&mut tx, &email).await?;
    let account = account.filter(|account| !account.operator).ok_or(Error::NotFound("user"))?;
    let whose = (account.user.id, account.user.email.as_str());
    let link = user_link::make(app, &mut tx, whose, Purpose::ResetPassword, false).await?;
    tx.commit().await?;
    Ok(link)
}

/// Gives the link's user another password, ends all their sessions, and forgets the log-ins that failed.
pub async fn reset(app: &App, origin: &Origin, token: &str, new: &Password) -> Result<()> {
    app.wall.log_in(&origin.address)?;
    let spent =
        || Error::bad_request("token", "this link was used, has expired, or is not the newest");
    let (hash, now) = (link_token::hash(token), app.clock.now());
    let mut tx = app.system(Job::LogIn).await?;
    let link = store::user_link::find(&mut tx, Purpose::ResetPassword, &hash, now).await?;
    let link = link.ok_or_else(spent)?; // before the costly hash
    drop(tx);
    new.accept(&[&link.email])?;
    let password_hash = new.hash().await?;

    let mut tx = app.system(Job::LogIn).await?;
    let link = store::user_link::spend(&mut tx, Purpose::ResetPassword, &hash, now).await?;
    let link = link.ok_or_else(spent)?;
    store::user::set_password(&mut tx, link.user, &password_hash).await?;
    store::user_link::delete_changes(&mut tx, link.user).await?;
    if link.mailed {
        store::user::verify(&mut tx, link.user, &link.email, now).await?;
    }
    login_failure::forgive(&mut tx, &Email::new(&link.email)?, origin, now).await?;
    let ended = store::session::revoke_all(&mut tx, link.user, now).await?;
    let (user, none, after) = (link.user, app.rng.id(), Recorded::of(&link.email));
    let changed = Changed { user, session: none, origin, before: None, after };
    record(app, &mut tx, "user.reset_password", changed).await?;
    outbox::post(app, &mut tx, None, &Letter::PasswordChanged { to: link.email, at: now }).await?;
    tx.commit().await?;
    end(app, ended);
    Ok(())
}

/// A user's own change is told in each tenant that they are in, and the operator's in the installation's log.
pub(crate) async fn record(
    app: &App,
    tx: &mut Tx,
    action: &str,
    changed: Changed<'_>,
) -> Result<()> {
    let Changed { user, session, origin, before, after } = changed;
    let (noun_id, before, after) = (user.to_string(), before.as_ref(), Some(&after));
    if store::user::is_operator(tx, user).await? {
        let operator = Operator { user, session, origin: origin.clone() };
        audit::record_operator(app, tx, &operator, action, &noun_id, before, after).await?;
    }
    for (tenant, role) in store::member::of_user(tx, user).await? {
        let (precondition, origin) = (Precondition::default(), origin.clone());
        let actor = Actor { tenant, user, session, role, precondition, origin };
        audit::record(app, tx, &actor, action, &noun_id, before, after).await?;
    }
    Ok(())
}

fn end(app: &App, sessions: impl IntoIterator<Item = SessionId>) {
    for session in sessions {
        app.revoke_here(session);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::PgPool;

    use super::*;
    use crate::domain::account;
    use crate::domain::session::{self, LogIn};
    use crate::testing::{self, PASSWORD};

    const OTHER: &str = "quiet heron marches";

    async fn enter(app: &App, email: &str, password: &str) -> Result<session::Grant> {
        let (email, password) = (email.to_owned(), Password::new(password));
        session::log_in(app, &Origin::default(), LogIn { email, password, tenant: None }).await
    }

    async fn reset_to_other(app: &App, token: &str) -> Result<()> {
        reset(app, &Origin::default(), token, &Password::new(OTHER)).await
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_link_resets_once_within_an_hour_and_ends_every_session(db: PgPool) {
        let app = testing::app_with_mail(db.clone()).await;
        let ada = testing::user(&app, "ada@example.com").await;
        for email in ["ada@example.com", "nobody@example.com"] {
            request_reset(&app, &Origin::default(), email).await.unwrap();
        }
        let letters = testing::letters(&app).await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        let late = testing::token_in(&letters[0]);
        app.clock.advance(TimeDelta::minutes(61));
        let refused = reset_to_other(&app, &late).await.unwrap_err();
        assert_eq!(refused.param(), Some("token"));

        request_reset(&app, &Origin::default(), "ADA@example.com").await.unwrap();
        let token = testing::token_in_newest_letter(&app).await;
        let kept: Vec<Vec<u8>> =
            sqlx::query_scalar("select token_hash from user_link").fetch_all(&db).await.unwrap();
        assert_eq!(kept, [link_token::hash(&token)], "only the hash is kept");
        let weak = reset(&app, &Origin::default(), &token, &Password::new("short")).await;
        assert_eq!(weak.unwrap_err().param(), Some("password"), "and the link is not spent");
        reset_to_other(&app, &token).await.unwrap();

        assert_eq!(reset_to_other(&app, &token).await.unwrap_err().param(), Some("token"));
        let ended = session::authenticate(&app, &ada.access_token, Origin::default()).await;
        assert!(matches!(ended, Err(Error::Unauthenticated(_))), "{ended:?}");
        assert!(enter(&app, "ada@example.com", PASSWORD).await.is_err());
        assert!(enter(&app, "ada@example.com", OTHER).await.is_ok());
        let told = testing::letters(&app).await.pop().unwrap();
        assert_eq!(told.subject, "Your password was changed");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_suspended_tenants_member_changes_their_own_password(db: PgPool) {
        let app = testing::app(db).await;
        let ada = testing::user(&app, "ada@example.com").await;
        let caller = session::authenticate(&app, &ada.access_token, Origin::default()).await;
        let caller = caller.unwrap();
        let (actor, operator) = (caller.member().unwrap(), testing::operator(&app).await);
        account::suspend(&app, &operator, actor.tenant, "unpaid").await.unwrap();

        change(&app, &caller, &Password::new(PASSWORD), &Password::new(OTHER)).await.unwrap();

        assert!(enter(&app, "ada@example.com", OTHER).await.is_ok());
        let told = testing::audited(&app, actor).await;
        assert!(told.iter().any(|entry| entry.action == "user.change_password"), "{told:?}");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_letter_that_is_tried_again_holds_the_newest_link(db: PgPool) {
        let app = testing::app_with_mail(db).await;
        testing::user(&app, "ada@example.com").await;

        let first = reset_letter(&app, "ada@example.com", false).await.unwrap();
        assert!(matches!(first, Some(Letter::PasswordReset { .. })));
        assert!(reset_letter(&app, "ada@example.com", false).await.unwrap().is_none());
        assert!(reset_letter(&app, "ada@example.com", true).await.unwrap().is_some());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_knows_the_password_changes_it_and_stays_while_other_sessions_end(db: PgPool) {
        let app = testing::app_with_mail(db).await;
        testing::user(&app, "ada@example.com").await;
        let (home, away) = (
            enter(&app, "ada@example.com", PASSWORD).await.unwrap(),
            enter(&app, "ada@example.com", PASSWORD).await.unwrap(),
        );
        let caller =
            session::authenticate(&app, &home.access_token, Origin::default()).await.unwrap();
        let [right, other, weak] = [PASSWORD, OTHER, "short"].map(Password::new);

        let wrong = change(&app, &caller, &other, &other).await.unwrap_err();
        assert_eq!(wrong.param(), Some("currentPassword"));
        let refused = change(&app, &caller, &right, &weak).await.unwrap_err();
        assert_eq!(refused.param(), Some("newPassword"));
        change(&app, &caller, &right, &other).await.unwrap();

        assert!(session::authenticate(&app, &home.access_token, Origin::default()).await.is_ok());
        let ended = session::authenticate(&app, &away.access_token, Origin::default()).await;
        assert!(matches!(ended, Err(Error::Unauthenticated("the session was ended"))));
        assert!(enter(&app, "ada@example.com", OTHER).await.is_ok());
        let told = testing::audited(&app, caller.member().unwrap()).await;
        assert!(told.iter().any(|entry| entry.action == "user.change_password"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_changed_password_spends_links_that_would_undo_it(db: PgPool) {
        let app = testing::app_with_mail(db).await;
        let ada = testing::user(&app, "ada@example.com").await;
        let caller =
            session::authenticate(&app, &ada.access_token, Origin::default()).await.unwrap();
        let right = Password::new(PASSWORD);
        crate::domain::email::change(&app, &caller, "mallory@example.com", &right).await.unwrap();
        let taken_over = testing::token_in_newest_letter(&app).await;
        let reset = create_reset_link(&app, "ada@example.com").await.unwrap();
        let reset = reset.split_once("token=").unwrap().1;

        reset_to_other(&app, reset).await.unwrap();

        let refused = crate::domain::email::verify(&app, &Origin::default(), &taken_over).await;
        assert_eq!(refused.err().unwrap().param(), Some("token"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn nobody_guesses_a_password_through_a_session(db: PgPool) {
        let app = testing::app(db).await;
        let ada = testing::user(&app, "ada@example.com").await;
        let caller =
            session::authenticate(&app, &ada.access_token, Origin::default()).await.unwrap();
        let wrong = Password::new(OTHER);

        for _ in 0..10 {
            let refused = confirm(&app, &caller, "password", &wrong).await.err().unwrap();
            assert_eq!(refused.param(), Some("password"));
        }
        let slowed = confirm(&app, &caller, "password", &wrong).await.err().unwrap();
        assert!(matches!(slowed, Error::TooManyRequests { .. }), "{slowed:?}");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn no_tenants_suspension_or_end_keeps_a_user_from_their_own_password(db: PgPool) {
        use crate::domain::account;

        let app = testing::app(db).await;
        let ada = testing::user(&app, "ada@example.com").await;
        let caller =
            session::authenticate(&app, &ada.access_token, Origin::default()).await.unwrap();
        let (tenant, operator) = (caller.tenant().unwrap(), testing::operator(&app).await);
        let [right, other] = [PASSWORD, OTHER].map(Password::new);
        let reset_link = async || {
            let link = create_reset_link(&app, "ada@example.com").await.unwrap();
            link.split_once("token=").unwrap().1.to_owned()
        };

        account::suspend(&app, &operator, tenant, "the bill").await.unwrap();
        change(&app, &caller, &right, &other).await.unwrap();
        reset_to_other(&app, &reset_link().await).await.unwrap();
        let told = testing::audited(&app, caller.member().unwrap()).await;
        assert_eq!(told[0].action, "user.reset_password");
        let name = "tenant of ada@example.com";
        account::close(&app, &operator, tenant, name).await.unwrap();
        reset_to_other(&app, &reset_link().await).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn the_operators_own_change_is_told_in_the_installations_log(db: PgPool) {
        use crate::domain::audit::AuditFilter;
        use crate::domain::page::Page;

        let app = testing::app(db.clone()).await;
        let operator = testing::operator(&app).await;
        let [right, other] = [PASSWORD, OTHER].map(Password::new);
        sqlx::query("update user_account set password_hash = $2 where id = $1")
            .bind(operator.user.0)
            .bind(Password::new(PASSWORD).hash().await.unwrap())
            .execute(&db)
            .await
            .unwrap();
        let caller = Caller::Operator(operator);

        change(&app, &caller, &right, &other).await.unwrap();

        let log = audit::list(&app, &caller, &AuditFilter::default(), &Page::default()).await;
        let log = log.unwrap().items;
        assert_eq!(log[0].action, "user.change_password");
        assert_eq!(log[0].user, Some(caller.user()));
    }
}
