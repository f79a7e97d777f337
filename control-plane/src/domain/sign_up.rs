//! Signing up. Where letters can be sent, an account begins when the link in one is opened: whoever signs up is told
//! the same whether or not the address has an account, and the address is its owner's. Where they cannot, it begins
//! at once, and an address that has an account is refused as such.

use chrono::TimeDelta;

use crate::access::actor::Origin;
use crate::access::link_token::{self, LinkToken};
use crate::app::{App, Job};
use crate::domain::tenant::{self, Founder, NewTenant, SignUp, SignedUp};
use crate::domain::user::Email;
use crate::domain::{outbox, tenant_invitation};
use crate::error::{Error, Result};
use crate::mail::letter::Letter;
use crate::store;

/// How long the link works.
pub const LINK_LIFE: TimeDelta = TimeDelta::days(1);

/// A sign-up as it waits for its link.
pub struct Asked {
    pub email: String,
    pub password_hash: String,
    /// The tenant's name.
    pub tenant: String,
}

/// Begins an account, or sends the letter that does: then there is nothing yet. An invitation's token begins it.
pub async fn begin(
    app: &App,
    origin: &Origin,
    new: SignUp,
    token: Option<&str>,
) -> Result<Option<SignedUp>> {
    if let Some(token) = token {
        return tenant_invitation::accept(app, origin, token, new).await.map(Some);
    }
    if app.mailer.is_none() {
        return tenant::sign_up(app, origin, new).await.map(Some);
    }
    tenant::may_sign_up(app, origin)?;
    let email = Email::new(&new.email)?;
    let tenant = NewTenant::new(app, &new.tenant)?;
    new.password.accept(&[email.as_str(), &tenant.name])?;
    let password_hash = new.password.hash().await?;

    let mut tx = app.system(Job::SignUp).await?;
    if store::tenant::has_name(&mut tx, &tenant.name).await? {
        return Err(Error::conflict("tenant", "a tenant with this name exists; choose another"));
    }
    let (to, token, now) = (email.as_str().to_owned(), LinkToken::fresh(app.rng), app.clock.now());
    let known = store::user::account(&mut tx, &email).await?.is_some();
    let asked = Asked { email: to.clone(), password_hash, tenant: tenant.name };
    // Also for an address that has an account: to sign up takes one time. Nobody gets that link.
    store::sign_up::insert(&mut tx, &token.hash(), &asked, now, now + LINK_LIFE).await?;
    let public_url = &app.config.public_url;
    let letter = if known {
        Letter::SignUpAgain { to, log_in: format!("{}/log-in", public_url.trim_end_matches('/')) }
    } else {
        Letter::SignUp { to, link: token.link(public_url, "verify-email") }
    };
    outbox::post(app, &mut tx, None, &letter).await?;
    tx.commit().await?;
    Ok(None)
}

/// Begins the account whose link this is; none where it is no such link.
pub(crate) async fn finish(app: &App, origin: &Origin, token: &str) -> Result<Option<SignedUp>> {
    let mut tx = app.system(Job::SignUp).await?;
    let hash = link_token::hash(token);
    let Some(asked) = store::sign_up::spend(&mut tx, &hash, app.clock.now()).await? else {
        return Ok(None);
    };
    let founder = Founder {
        email: Email::new(&asked.email)?,
        password_hash: asked.password_hash,
        tenant: NewTenant::new(app, &asked.tenant)?,
        verified: true,
    };
    tenant::found(app, tx, origin, founder).await.map(Some)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sqlx::PgPool;

    use super::*;
    use crate::access::password::Password;
    use crate::access::role::Role;
    use crate::config::{Config, Signup};
    use crate::domain::invitation;
    use crate::testing::{self, PASSWORD};

    fn new(email: &str, tenant: &str) -> SignUp {
        let (email, tenant) = (email.to_owned(), tenant.to_owned());
        SignUp { email, password: Password::new(PASSWORD), tenant }
    }

    async fn asked(app: &App, email: &str, tenant: &str) -> Option<SignedUp> {
        begin(app, &Origin::default(), new(email, tenant), None).await.unwrap()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn with_mail_an_account_begins_with_its_letters_link_once_within_a_day(db: PgPool) {
        let app = testing::app_with_mail(db.clone()).await;
        assert!(asked(&app, "ada@example.com", "Engines").await.is_none());
        let late = testing::token_in_newest_letter(&app).await;
        let kept: Vec<Vec<u8>> =
            sqlx::query_scalar("select token_hash from sign_up").fetch_all(&db).await.unwrap();
        assert_eq!(kept, [link_token::hash(&late)], "only the hash is kept");
        app.clock.advance(LINK_LIFE);
        assert!(finish(&app, &Origin::default(), &late).await.unwrap().is_none());

        assert!(asked(&app, "ada@example.com", "Engines").await.is_none());
        let token = testing::token_in_newest_letter(&app).await;
        let begun = finish(&app, &Origin::default(), &token).await.unwrap().unwrap();
        assert!(begun.user.email_verified);
        assert_eq!(begun.tenant.name, "Engines");
        assert!(finish(&app, &Origin::default(), &token).await.unwrap().is_none());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_signs_up_with_a_known_address_learns_nothing_and_its_owner_does(db: PgPool) {
        let app = testing::app_with_mail(db.clone()).await;
        testing::user(&app, "ada@example.com").await;

        assert!(asked(&app, "ADA@example.com", "Engines").await.is_none());
        assert!(asked(&app, "bob@example.com", "Looms").await.is_none());

        let letters = testing::letters(&app).await;
        let told: Vec<(&str, bool)> = letters
            .iter()
            .map(|letter| (letter.subject.as_str(), letter.plain().contains("token=")))
            .collect();
        assert_eq!(told, [("You have an account already", false), ("Finish signing up", true)]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_may_sign_up_is_the_installations_to_say(db: PgPool) {
        let open = testing::app(db.clone()).await;
        let owner = testing::owner(&open).await;
        let cases = [
            (Signup::Open, true, true),
            (Signup::Invite, false, true),
            (Signup::Closed, false, false),
        ];
        for (signup, founds, joins) in cases {
            let config = Config { signup, ..testing::config() };
            let mut app = open.clone();
            app.config = Arc::new(config);
            let name = format!("{signup:?}").to_lowercase();
            let stranger = format!("{name}@stranger.example");
            let founded = begin(&app, &Origin::default(), new(&stranger, &name), None).await;
            assert_eq!(founded.is_ok(), founds, "{name}");
            if let Err(refused) = founded {
                assert_eq!(refused.code(), "forbidden", "{name}");
            }

            let invited = format!("{name}@invited.example");
            let sent = invitation::create(&app, &owner, &invited, Role::Viewer).await.unwrap();
            let link = sent.link.unwrap();
            let token = link.split_once("token=").unwrap().1;
            let password = Some(Password::new(PASSWORD));
            let joined = invitation::accept(&app, &Origin::default(), None, token, password).await;
            assert_eq!(joined.is_ok(), joins, "{name}");
        }
    }
}
