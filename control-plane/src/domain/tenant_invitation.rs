//! The operator's invitation to sign up: an address begins a tenant by its link, also where nobody else may. It is
//! gone when it was used, or after a week.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::access::actor::{Operator, Origin};
use crate::access::link_token::{self, LinkToken};
use crate::app::{App, Job};
use crate::config::Signup;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::tenant::{self, Founder, NewTenant, SignUp, SignedUp};
use crate::domain::user::Email;
use crate::domain::{audit, outbox};
use crate::error::{Error, Result};
use crate::ids::TenantInvitationId;
use crate::mail::letter::Letter;
use crate::store;

/// How long a link works.
pub const LIFE: TimeDelta = TimeDelta::days(7);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantInvitation {
    #[serde(skip)]
    pub id: TenantInvitationId,
    pub email: String,
    /// None where it is theirs to choose.
    pub tenant_name: Option<String>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl Keyed for TenantInvitation {
    const LIST: &'static str = "tenantInvitations";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// An invitation to be written.
pub struct NewTenantInvitation {
    pub invitation: TenantInvitation,
    pub token_hash: Vec<u8>,
    /// Whether the address itself gets the link, and nobody else.
    pub mailed: bool,
}

/// An invitation whose link was just made.
pub struct Sent {
    pub invitation: TenantInvitation,
    /// To be passed on by the operator, this once; none where it was mailed.
    pub link: Option<String>,
}

/// What a link is for.
pub struct Invited {
    pub email: String,
    pub tenant_name: Option<String>,
    pub mailed: bool,
}

/// Invites the address to begin a tenant, of this name where the operator gives one. An earlier invitation of the
/// address works no more.
pub async fn create(
    app: &App,
    operator: &Operator,
    email: &str,
    tenant_name: Option<&str>,
) -> Result<Sent> {
    if app.config.signup == Signup::Closed {
        return Err(Error::conflict("", CLOSED));
    }
    let email = Email::new(email)?;
    let name = tenant_name.map(|name| tenant::name_of("tenantName", name)).transpose()?;
    let (token, now) = (LinkToken::fresh(app.rng), app.clock.now());

    let mut tx = app.system(Job::Operator).await?;
    if store::user::account(&mut tx, &email).await?.is_some() {
        return Err(Error::conflict("email", "this address has an account already"));
    }
    if let Some(name) = &name
        && store::tenant::has_name(&mut tx, name).await?
    {
        return Err(Error::conflict("tenantName", "a tenant with this name exists"));
    }
    let invitation = TenantInvitation {
        id: app.rng.id(),
        email: email.as_str().to_owned(),
        tenant_name: name,
        created_at: now,
        expires_at: now + LIFE,
    };
    let mailed = app.mailer.is_some();
    let new = NewTenantInvitation { invitation, token_hash: token.hash(), mailed };
    store::tenant_invitation::delete_of(&mut tx, email.as_str()).await?;
    store::tenant_invitation::insert(&mut tx, &new).await?;
    let invitation = new.invitation;
    let noun_id = invitation.id.to_string();
    let (action, after) = ("tenant_invitation.create", Some(&invitation));
    audit::record_operator(app, &mut tx, operator, action, &noun_id, None, after).await?;
    let link = token.link(&app.config.public_url, "sign-up");
    let link = if mailed {
        let (to, tenant) = (invitation.email.clone(), invitation.tenant_name.clone());
        outbox::post(app, &mut tx, None, &Letter::TenantInvitation { to, tenant, link }).await?;
        None
    } else {
        Some(link)
    };
    tx.commit().await?;
    Ok(Sent { invitation, link })
}

/// Those whose links work, newest first.
pub async fn list(app: &App, _operator: &Operator, page: &Page) -> Result<Paged<TenantInvitation>> {
    let mut tx = app.system(Job::Operator).await?;
    page.cut(store::tenant_invitation::list(&mut tx, app.clock.now(), page).await?)
}

/// Revokes the invitation: its link works no more.
pub async fn delete(
    app: &App,
    operator: &Operator,
    id: TenantInvitationId,
) -> Result<TenantInvitation> {
    let mut tx = app.system(Job::Operator).await?;
    let gone = store::tenant_invitation::delete(&mut tx, id, app.clock.now()).await?;
    let gone = gone.ok_or(Error::NotFound("invitation"))?;
    let noun_id = id.to_string();
    let action = "tenant_invitation.delete";
    audit::record_operator(app, &mut tx, operator, action, &noun_id, Some(&gone), None).await?;
    tx.commit().await?;
    Ok(gone)
}

/// Signs up by the link. It takes no other letter: a mailed link shows that the address is theirs.
///
/// The link is spent by the transaction that makes the tenant: who is refused may mend the form and try again.
pub(crate) async fn accept(
    app: &App,
    origin: &Origin,
    token: &str,
    new: SignUp,
) -> Result<SignedUp> {
    if app.config.signup == Signup::Closed {
        return Err(Error::Forbidden(CLOSED));
    }
    app.wall.sign_up(&origin.address)?;
    let hash = link_token::hash(token);
    let mut tx = app.system(Job::SignUp).await?;
    let invited = store::tenant_invitation::opened(&mut tx, &hash, app.clock.now()).await?;
    let invited = invited.ok_or_else(spent)?; // before the costly hash
    drop(tx);
    let email = Email::new(&new.email)?;
    if !email.is(&Email::new(&invited.email)?) {
        return Err(Error::bad_request("email", "this invitation is for another address"));
    }
    let tenant = NewTenant::new(app, &new.tenant)?;
    if let Some(name) = invited.tenant_name.filter(|name| *name != tenant.name) {
        return Err(Error::bad_request("tenant", format!("this invitation is for {name}")));
    }
    new.password.accept(&[email.as_str(), &tenant.name])?;
    let password_hash = new.password.hash().await?;

    let mut tx = app.system(Job::SignUp).await?;
    if !store::tenant_invitation::spend(&mut tx, &hash, app.clock.now()).await? {
        return Err(spent());
    }
    let founder = Founder { email, password_hash, tenant, verified: invited.mailed };
    tenant::found(app, tx, origin, founder).await
}

const CLOSED: &str = "sign-up is closed on this installation";

fn spent() -> Error {
    Error::bad_request("token", "this invitation was used or has expired; ask for another")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Caller;
    use crate::access::password::Password;
    use crate::config::Config;
    use crate::domain::audit::AuditFilter;
    use crate::domain::sign_up;
    use crate::testing::{self, PASSWORD};

    fn with(signup: Signup, app: &App) -> App {
        let mut app = app.clone();
        app.config = Arc::new(Config { signup, ..testing::config() });
        app
    }

    async fn begin(app: &App, email: &str, tenant: &str, token: &str) -> Result<SignedUp> {
        let password = Password::new(PASSWORD);
        let new = SignUp { email: email.to_owned(), password, tenant: tenant.to_owned() };
        let begun = sign_up::begin(app, &Origin::default(), new, Some(token)).await?;
        Ok(begun.expect("an invitation takes no other letter"))
    }

    fn token_of(sent: &Sent) -> String {
        sent.link.as_deref().unwrap().split_once("/sign-up?token=").unwrap().1.to_owned()
    }

    fn refused<T>(answer: Result<T>) -> (&'static str, Option<String>) {
        let error = answer.err().unwrap();
        (error.code(), error.param().map(str::to_owned))
    }

    fn at(code: &'static str, param: &str) -> (&'static str, Option<String>) {
        (code, Some(param.to_owned()))
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_is_invited_signs_up_once_where_nobody_else_may(db: PgPool) {
        let app = with(Signup::Invite, &testing::app(db.clone()).await);
        let operator = testing::operator(&app).await;
        let sent = create(&app, &operator, "ada@example.com", Some(" Engines ")).await.unwrap();
        let token = token_of(&sent);
        let kept: Vec<Vec<u8>> = sqlx::query_scalar("select token_hash from tenant_invitation")
            .fetch_all(&db)
            .await
            .unwrap();
        assert_eq!(kept, [link_token::hash(&token)], "only the hash is kept");

        let other_address = begin(&app, "bob@example.com", "Engines", &token).await;
        assert_eq!(refused(other_address), at("bad_request", "email"));
        let other_name = begin(&app, "ada@example.com", "Looms", &token).await;
        assert_eq!(refused(other_name), at("bad_request", "tenant"));
        let unknown = begin(&app, "ada@example.com", "Engines", "unknown").await;
        assert_eq!(refused(unknown), at("bad_request", "token"));
        let begun = begin(&app, "ADA@example.com", "Engines", &token).await.unwrap();
        assert_eq!(begun.tenant.name, "Engines");
        assert!(!begun.user.email_verified, "the operator had the link too");
        let again = begin(&app, "ada@example.com", "Engines", &token).await;
        assert_eq!(refused(again), at("bad_request", "token"));

        let caller = Caller::Operator(operator);
        let told = audit::list(&app, &caller, &AuditFilter::default(), &Page::default()).await;
        let told = told.unwrap().items;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].action, "tenant_invitation.create");
        assert_eq!(told[0].after.as_ref().unwrap()["tenantName"], "Engines");
        assert!(!format!("{told:?}").contains(&token));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_mailed_link_verifies_the_address_and_works_a_week(db: PgPool) {
        let app = with(Signup::Invite, &testing::app_with_mail(db).await);
        let operator = testing::operator(&app).await;

        let sent = create(&app, &operator, "ada@example.com", None).await.unwrap();
        assert!(sent.link.is_none());
        let token = testing::token_in_newest_letter(&app).await;
        let begun = begin(&app, "ada@example.com", "Engines", &token).await.unwrap();
        assert!(begun.user.email_verified);

        create(&app, &operator, "bob@example.com", None).await.unwrap();
        let late = testing::token_in_newest_letter(&app).await;
        app.clock.advance(LIFE);
        let late = begin(&app, "bob@example.com", "Looms", &late).await;
        assert_eq!(refused(late), at("bad_request", "token"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_could_not_become_a_tenant_is_not_invited(db: PgPool) {
        let app = testing::app(db).await;
        let operator = testing::operator(&app).await;
        testing::user(&app, "ada@example.com").await;
        let cases = [
            ("ada", None, at("bad_request", "email")),
            ("ADA@example.com", None, at("conflict", "email")),
            ("bob@example.com", Some(" "), at("bad_request", "tenantName")),
            ("bob@example.com", Some("tenant of ada@example.com"), at("conflict", "tenantName")),
        ];
        for (email, name, expected) in cases {
            assert_eq!(refused(create(&app, &operator, email, name).await), expected, "{email}");
        }

        let token = token_of(&create(&app, &operator, "bob@example.com", None).await.unwrap());
        let closed = with(Signup::Closed, &app);
        let by_link = begin(&closed, "bob@example.com", "Looms", &token).await;
        assert_eq!(refused(by_link).0, "forbidden");
        let another = create(&closed, &operator, "eve@example.com", None).await;
        assert_eq!(refused(another).0, "conflict");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_invitation_that_waits_is_listed_and_can_be_revoked(db: PgPool) {
        let app = testing::app(db).await;
        let operator = testing::operator(&app).await;
        let listed = async || {
            let page = list(&app, &operator, &Page::default()).await.unwrap();
            page.items.into_iter().map(|it| it.email).collect::<Vec<_>>()
        };
        create(&app, &operator, "late@example.com", None).await.unwrap();
        app.clock.advance(LIFE - TimeDelta::hours(1));
        let ada = create(&app, &operator, "ada@example.com", Some("Engines")).await.unwrap();
        app.clock.advance(TimeDelta::minutes(1));
        let bob = create(&app, &operator, "bob@example.com", None).await.unwrap();
        assert_eq!(listed().await, ["bob@example.com", "ada@example.com", "late@example.com"]);
        app.clock.advance(TimeDelta::hours(1));
        assert_eq!(listed().await, ["bob@example.com", "ada@example.com"], "one has expired");

        assert_eq!(delete(&app, &operator, ada.invitation.id).await.unwrap(), ada.invitation);
        assert_eq!(listed().await, ["bob@example.com"]);
        let by_link = begin(&app, "ada@example.com", "Engines", &token_of(&ada)).await;
        assert_eq!(refused(by_link), at("bad_request", "token"));
        let again = delete(&app, &operator, ada.invitation.id).await;
        assert!(matches!(again, Err(Error::NotFound("invitation"))));

        begin(&app, "bob@example.com", "Looms", &token_of(&bob)).await.unwrap();
        assert!(listed().await.is_empty(), "who signed up is invited no more");
        let used = delete(&app, &operator, bob.invitation.id).await;
        assert!(matches!(used, Err(Error::NotFound("invitation"))));
        let caller = Caller::Operator(operator.clone());
        let told = audit::list(&app, &caller, &AuditFilter::default(), &Page::default()).await;
        let told = told.unwrap().items;
        let told: Vec<_> =
            told.iter().filter(|entry| entry.action == "tenant_invitation.delete").collect();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].before.as_ref().unwrap()["email"], "ada@example.com");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn only_the_newest_invitation_of_an_address_works(db: PgPool) {
        let app = testing::app(db).await;
        let operator = testing::operator(&app).await;
        let wrong = create(&app, &operator, "ada@example.com", Some("Enginse")).await.unwrap();
        let other = create(&app, &operator, "bob@example.com", None).await.unwrap();
        let right = create(&app, &operator, "ADA@example.com", Some("Engines")).await.unwrap();

        let answer = begin(&app, "ada@example.com", "Enginse", &token_of(&wrong)).await;
        assert_eq!(refused(answer), at("bad_request", "token"));
        begin(&app, "ada@example.com", "Engines", &token_of(&right)).await.unwrap();
        begin(&app, "bob@example.com", "Looms", &token_of(&other)).await.unwrap();
    }
}
