//! An invitation: who may join a tenant, and as what. It is gone when it was accepted or revoked; after a week its
//! link works no more, until it is sent again.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::access::actor::{Actor, Caller, Origin};
use crate::access::link_token::{self, LinkToken};
use crate::access::password::Password;
use crate::access::precondition::{Precondition, Versioned};
use crate::access::role::{Action, Role};
use crate::app::{App, Job, Tx};
use crate::config::Signup;
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::session::{self, Grant};
use crate::domain::tenant::Tenant;
use crate::domain::user::{Email, NewUser, User};
use crate::domain::{audit, member, outbox};
use crate::error::{Error, Result};
use crate::ids::{InvitationId, SessionId, UserId};
use crate::mail::letter::Letter;
use crate::store;

/// How long a link works.
pub const LIFE: TimeDelta = TimeDelta::days(7);

/// How many invitations of a tenant wait at most, unless its own limits say otherwise.
pub const INVITATIONS_MAX: u32 = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    #[serde(skip)]
    pub id: InvitationId,
    pub email: String,
    pub role: Role,
    /// None where whoever invited is no longer a member.
    #[serde(skip)]
    pub invited_by: Option<String>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    /// When its newest link was made.
    #[serde(skip)]
    pub sent_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl Versioned for Invitation {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.sent_at.timestamp_micros()
    }
}

impl Keyed for Invitation {
    const LIST: &'static str = "invitations";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// An invitation to be written.
pub struct NewInvitation {
    pub id: InvitationId,
    pub email: Email,
    pub role: Role,
    pub invited_by: UserId,
    pub link: NewLink,
}

/// A link to be written.
pub struct NewLink {
    pub token_hash: Vec<u8>,
    /// Whether the address itself gets it, and nobody else.
    pub mailed: bool,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// An invitation whose link was just made.
pub struct Sent {
    pub invitation: Invitation,
    /// To be passed on by whoever invited, this once; none where it was mailed.
    pub link: Option<String>,
}

/// What the holder of a link is invited to.
#[derive(Clone, Debug)]
pub struct Opened {
    pub id: InvitationId,
    pub tenant: Tenant,
    pub email: String,
    pub role: Role,
    /// Whether the link went to the address itself, so that who has it reads that address's mail.
    pub mailed: bool,
    pub expires_at: DateTime<Utc>,
    /// Whether the address has an account already, which then has to be logged in.
    pub has_account: bool,
}

pub struct Accepted {
    pub tenant: Tenant,
    pub user: User,
    pub role: Role,
    /// For a new user; who has an account is logged in already.
    pub grant: Option<Grant>,
}

/// Invites the address, with a link of its own. Only an owner invites owners.
pub async fn create(app: &App, actor: &Actor, email: &str, role: Role) -> Result<Sent> {
    may_manage(actor, role)?;
    let email = Email::new(email)?;
    app.wall.invitation(actor.tenant)?;
    let (token, link) = fresh_link(app);

    let mut tx = app.begin(actor).await?;
    let limit = limit::of(&mut tx, actor.tenant, LimitName::Invitations).await?;
    if store::invitation::count(&mut tx, actor.tenant).await? >= limit {
        return Err(LimitName::Invitations.exceeded(limit));
    }
    let limit = limit::of(&mut tx, actor.tenant, LimitName::Members).await?;
    if store::member::count(&mut tx, actor.tenant).await? >= limit {
        return Err(LimitName::Members.exceeded(limit));
    }
    if store::member::has_email(&mut tx, actor.tenant, &email).await? {
        return Err(Error::conflict("email", "this address is a member's already"));
    }
    let new = NewInvitation { id: app.rng.id(), email, role, invited_by: actor.user, link };
    store::invitation::insert(&mut tx, actor.tenant, &new).await?;
    let invitation = one(&mut tx, actor, new.id).await?;
    record(app, &mut tx, actor, "invitation.create", None, Some(&invitation)).await?;
    let sent = send(app, &mut tx, actor, invitation, &token).await?;
    tx.commit().await?;
    Ok(sent)
}

/// Oldest first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<Invitation>> {
    actor.may(Action::ManageMembers)?;
    let mut tx = app.begin(actor).await?;
    page.cut(store::invitation::list(&mut tx, actor.tenant, page).await?)
}

pub async fn get(app: &App, actor: &Actor, id: InvitationId) -> Result<Invitation> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("invitation"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[InvitationId]) -> Result<Vec<Invitation>> {
    actor.may(Action::ManageMembers)?;
    let mut tx = app.begin(actor).await?;
    store::invitation::find(&mut tx, actor.tenant, ids).await
}

/// Gives the invitation another week and another link; the one before works no more.
pub async fn resend(app: &App, actor: &Actor, id: InvitationId) -> Result<Sent> {
    actor.may(Action::ManageMembers)?;
    app.wall.invitation(actor.tenant)?;
    let (token, link) = fresh_link(app);

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, id).await?;
    store::invitation::set_link(&mut tx, actor.tenant, id, &link).await?;
    let invitation = one(&mut tx, actor, id).await?;
    record(app, &mut tx, actor, "invitation.resend", Some(&before), Some(&invitation)).await?;
    let sent = send(app, &mut tx, actor, invitation, &token).await?;
    tx.commit().await?;
    Ok(sent)
}

/// Revokes the invitation: its link works no more.
pub async fn delete(app: &App, actor: &Actor, id: InvitationId) -> Result<()> {
    actor.may(Action::ManageMembers)?;

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    store::invitation::delete(&mut tx, actor.tenant, id).await?;
    record(app, &mut tx, actor, "invitation.delete", Some(&before), None).await?;
    tx.commit().await?;
    Ok(())
}

/// What the link's holder is invited to.
pub async fn open(app: &App, origin: &Origin, token: &str) -> Result<Opened> {
    app.wall.log_in(&origin.address)?;
    let mut tx = app.system(Job::SignUp).await?;
    opened(&mut tx, app, token).await
}

/// Joins the tenant: a new user by choosing a password, who has an account while logged in with it.
pub async fn accept(
    app: &App,
    origin: &Origin,
    caller: Option<&Caller>,
    token: &str,
    password: Option<Password>,
) -> Result<Accepted> {
    let invited = open(app, origin, token).await?;
    match caller {
        Some(caller) => join(app, caller, &invited, token).await,
        None => begin(app, origin, &invited, token, password).await,
    }
}

/// The caller becomes a member.
async fn join(app: &App, caller: &Caller, invited: &Opened, token: &str) -> Result<Accepted> {
    let mut tx = app.system(Job::SignUp).await?;
    let user = store::user::get(&mut tx, caller.user()).await?;
    if matches!(caller, Caller::Operator(_)) {
        return Err(Error::conflict("", "the operator is no tenant's member; log out first"));
    }
    if !Email::new(&user.email)?.is(&Email::new(&invited.email)?) {
        let whose = "this invitation is for another address than the one you are logged in with";
        return Err(Error::conflict("token", whose));
    }
    let actor = actor_of(invited, user.id, caller.session(), caller.origin());
    become_member(app, &mut tx, &actor, invited, token).await?;
    tx.commit().await?;
    Ok(Accepted { tenant: invited.tenant.clone(), user, role: invited.role, grant: None })
}

/// Somebody new becomes a user and a member, and is logged in.
async fn begin(
    app: &App,
    origin: &Origin,
    invited: &Opened,
    token: &str,
    password: Option<Password>,
) -> Result<Accepted> {
    if invited.has_account {
        let known = "this address has an account: log in, then open the link again";
        return Err(Error::conflict("email", known));
    }
    if app.config.signup == Signup::Closed {
        let closed = "sign-up is closed on this installation; only who has an account may accept";
        return Err(Error::Forbidden(closed));
    }
    let password = password
        .ok_or_else(|| Error::bad_request("password", "choose a password for the account"))?;
    let email = Email::new(&invited.email)?;
    password.accept(&[email.as_str(), &invited.tenant.name])?;
    let password_hash = password.hash().await?;

    let mut tx = app.system(Job::SignUp).await?;
    let new = NewUser { id: app.rng.id(), email, password_hash, operator: false };
    let mut user = store::user::insert(&mut tx, &new).await?;
    if invited.mailed {
        store::user::verify(&mut tx, user.id, &user.email, app.clock.now()).await?;
        user.email_verified = true;
    }
    let tenant = Some(invited.tenant.id);
    let grant = session::begin(app, &mut tx, user.id, tenant, origin).await?;
    let actor = actor_of(invited, user.id, grant.session, origin);
    become_member(app, &mut tx, &actor, invited, token).await?;
    tx.commit().await?;
    Ok(Accepted { tenant: invited.tenant.clone(), user, role: invited.role, grant: Some(grant) })
}

/// Spends the invitation: of two who accept at once one becomes a member by it.
async fn become_member(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    invited: &Opened,
    token: &str,
) -> Result<()> {
    if !store::invitation::spend(tx, invited.id, &link_token::hash(token), app.clock.now()).await? {
        return Err(spent());
    }
    store::member::insert(tx, actor.tenant, actor.user, invited.role).await?;
    let after = member::Recorded { email: &invited.email, role: invited.role };
    let noun_id = actor.user.to_string();
    audit::record(app, tx, actor, "member.create", &noun_id, None, Some(&after)).await
}

async fn opened(tx: &mut Tx, app: &App, token: &str) -> Result<Opened> {
    let hash = link_token::hash(token);
    store::invitation::opened(tx, &hash, app.clock.now()).await?.ok_or_else(spent)
}

fn spent() -> Error {
    Error::bad_request(
        "token",
        "this invitation was accepted or revoked, or has expired; ask for another",
    )
}

fn actor_of(invited: &Opened, user: UserId, session: SessionId, origin: &Origin) -> Actor {
    Actor {
        tenant: invited.tenant.id,
        user,
        session,
        role: invited.role,
        precondition: Precondition::default(),
        origin: origin.clone(),
    }
}

fn fresh_link(app: &App) -> (LinkToken, NewLink) {
    let (token, now) = (LinkToken::fresh(app.rng), app.clock.now());
    let link = NewLink {
        token_hash: token.hash(),
        mailed: app.mailer.is_some(),
        now,
        expires_at: now + LIFE,
    };
    (token, link)
}

/// Mails the link to who is invited, or shows it to whoever invites.
async fn send(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    invitation: Invitation,
    token: &LinkToken,
) -> Result<Sent> {
    let link = token.link(&app.config.public_url, "invitation");
    if app.mailer.is_none() {
        return Ok(Sent { invitation, link: Some(link) });
    }
    let letter = Letter::Invitation {
        to: invitation.email.clone(),
        tenant: store::tenant::get(tx, actor.tenant).await?.name,
        inviter: store::user::get(tx, actor.user).await?.email,
        role: invitation.role,
        link,
    };
    outbox::post(app, tx, Some(actor.tenant), &letter).await?;
    Ok(Sent { invitation, link: None })
}

fn may_manage(actor: &Actor, role: Role) -> Result<()> {
    actor.may(Action::ManageMembers)?;
    if role == Role::Owner { actor.may(Action::ManageOwners) } else { Ok(()) }
}

async fn one(tx: &mut Tx, actor: &Actor, id: InvitationId) -> Result<Invitation> {
    let found = store::invitation::find(tx, actor.tenant, &[id]).await?.pop();
    found.ok_or(Error::NotFound("invitation"))
}

/// The invitation, locked until the transaction ends. An owner's is an owner's to touch: who has its link can become
/// that owner.
async fn locked(tx: &mut Tx, actor: &Actor, id: InvitationId) -> Result<Invitation> {
    store::invitation::lock(tx, actor.tenant, id).await?;
    let invitation = one(tx, actor, id).await?;
    may_manage(actor, invitation.role)?;
    Ok(invitation)
}

async fn record(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    before: Option<&Invitation>,
    after: Option<&Invitation>,
) -> Result<()> {
    let Some(noun_id) = before.or(after).map(|invitation| invitation.id.to_string()) else {
        return Ok(());
    };
    audit::record(app, tx, actor, action, &noun_id, before, after).await
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::password::Password;
    use crate::testing;

    const PASSWORD: &str = "violet otter juggles";

    fn token(sent: &Sent) -> String {
        sent.link.as_ref().unwrap().rsplit_once("token=").unwrap().1.to_owned()
    }

    async fn invite(app: &App, actor: &Actor, email: &str, role: Role) -> String {
        token(&create(app, actor, email, role).await.unwrap())
    }

    async fn accepted(app: &App, token: &str, password: Option<&str>) -> Result<Accepted> {
        let password = password.map(Password::new);
        accept(app, &Origin::default(), None, token, password).await
    }

    async fn actor(app: &App, accepted: &Accepted) -> Actor {
        let token = &accepted.grant.as_ref().unwrap().access_token;
        let caller = session::authenticate(app, token, Origin::default()).await.unwrap();
        caller.member().unwrap().clone()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn somebody_new_joins_with_a_password_and_is_logged_in(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let link = create(&app, &alice, "Bob@example.com", Role::Billing).await.unwrap();
        assert!(link.link.as_ref().unwrap().starts_with("http://127.0.0.1:8080/invitation?token="));
        let stored: Vec<u8> =
            sqlx::query_scalar("select token_hash from invitation").fetch_one(&db).await.unwrap();
        assert_eq!(stored, link_token::hash(&token(&link)), "only the hash is kept");

        let shown = open(&app, &Origin::default(), &token(&link)).await.unwrap();
        assert_eq!((shown.tenant.id, shown.has_account), (alice.tenant, false));
        for (password, param) in [(None, "password"), (Some("short"), "password")] {
            let refused = accepted(&app, &token(&link), password).await.err().unwrap();
            assert_eq!((refused.code(), refused.param()), ("bad_request", Some(param)));
        }
        let bob = accepted(&app, &token(&link), Some(PASSWORD)).await.unwrap();

        let bob = actor(&app, &bob).await;
        assert_eq!((bob.tenant, bob.role), (alice.tenant, Role::Billing));
        let again = accepted(&app, &token(&link), Some(PASSWORD)).await.err().unwrap();
        assert_eq!(again.param(), Some("token"));
        assert!(list(&app, &alice, &Page::default()).await.unwrap().items.is_empty());
        let told = testing::audited(&app, &alice).await;
        let actions: Vec<&str> = told.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["member.create", "invitation.create"]);
        assert!(!format!("{told:?}").contains(&token(&link)));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_has_an_account_joins_while_logged_in_with_that_address(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, bob) = (testing::owner(&app).await, testing::owner(&app).await);
        let mallory = testing::owner(&app).await;
        let email = format!("{}@EXAMPLE.com", bob.user);
        let token = invite(&app, &alice, &email, Role::Developer).await;
        let accept_as = async |caller: &Actor| {
            let caller = Caller::Member(caller.clone());
            accept(&app, &Origin::default(), Some(&caller), &token, None).await
        };

        let nobody = accepted(&app, &token, Some(PASSWORD)).await.err().unwrap();
        assert_eq!((nobody.code(), nobody.param()), ("conflict", Some("email")));
        let other = accept_as(&mallory).await.err().unwrap();
        assert_eq!((other.code(), other.param()), ("conflict", Some("token")));
        let joined = accept_as(&bob).await.unwrap();

        assert_eq!((joined.tenant.id, joined.role), (alice.tenant, Role::Developer));
        assert!(joined.grant.is_none());
        let member = member::get(&app, &alice, bob.user).await.unwrap();
        assert_eq!(member.role, Role::Developer);
        let again = create(&app, &alice, &email, Role::Viewer).await.err().unwrap();
        assert_eq!((again.code(), again.param()), ("conflict", Some("email")));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn of_many_who_accept_at_once_one_joins(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let token = invite(&app, &alice, "bob@example.com", Role::Viewer).await;

        let tries = (0..8).map(|_| accepted(&app, &token, Some(PASSWORD)));
        let answers = futures_util::future::join_all(tries).await;

        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        for refused in answers.into_iter().filter_map(Result::err) {
            assert!(["conflict", "bad_request"].contains(&refused.code()), "{refused}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn only_the_newest_link_works_and_for_a_week(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let first = create(&app, &alice, "bob@example.com", Role::Viewer).await.unwrap();
        let second = create(&app, &alice, "BOB@example.com", Role::Viewer).await.err().unwrap();
        assert_eq!((second.code(), second.param()), ("conflict", Some("email")));
        app.clock.advance(TimeDelta::days(6));

        let newest = resend(&app, &alice, first.invitation.id).await.unwrap();
        assert_eq!(newest.invitation.expires_at, app.clock.now() + LIFE);
        assert!(accepted(&app, &token(&first), Some(PASSWORD)).await.is_err());
        app.clock.advance(LIFE);
        assert!(accepted(&app, &token(&newest), Some(PASSWORD)).await.is_err());

        let revoked = resend(&app, &alice, first.invitation.id).await.unwrap();
        delete(&app, &alice, first.invitation.id).await.unwrap();
        assert!(open(&app, &Origin::default(), &token(&revoked)).await.is_err());
        let gone = delete(&app, &alice, first.invitation.id).await;
        assert!(matches!(gone, Err(Error::NotFound("invitation"))), "{gone:?}");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_is_invited_holds_a_members_place_until_they_join_or_are_not_awaited(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        sqlx::query("update tenant set limits = '{\"members\": 3}' where id = $1")
            .bind(alice.tenant.0)
            .execute(&db)
            .await
            .unwrap();
        let bob = invite(&app, &alice, "bob@example.com", Role::Viewer).await;
        let eve = create(&app, &alice, "eve@example.com", Role::Viewer).await.unwrap();
        let refused = async |app: &App| {
            let refused = create(app, &alice, "dan@example.com", Role::Viewer).await.err().unwrap();
            assert_eq!(refused.code(), "limit_exceeded");
            let told = refused.to_string();
            assert!(told.contains("may have 3 members"), "{told}");
            assert!(told.ends_with("raise the limit members"), "{told}");
        };
        let used = async || {
            let caller = Caller::Member(alice.clone());
            let limits = limit::list(&app, &caller, alice.tenant).await.unwrap();
            let limit = limits.into_iter().find(|limit| limit.name == LimitName::Members).unwrap();
            (limit.used, limit.limit)
        };

        refused(&app).await;
        accepted(&app, &bob, Some(PASSWORD)).await.unwrap();
        refused(&app).await;
        assert_eq!(used().await, (3, 3));
        assert!(create(&app, &mallory, "dan@example.com", Role::Viewer).await.is_ok());

        delete(&app, &alice, eve.invitation.id).await.unwrap();
        assert_eq!(used().await, (2, 3));
        create(&app, &alice, "dan@example.com", Role::Viewer).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_owners_invitation_is_an_owners_and_a_strangers_is_nobodys(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let admin = testing::join(&app, alice.tenant, Role::Admin).await;
        let new = create(&app, &alice, "bob@example.com", Role::Owner).await.unwrap();
        let id = new.invitation.id;

        let answers = [
            create(&app, &admin, "eve@example.com", Role::Owner).await.map(drop),
            resend(&app, &admin, id).await.map(drop),
            delete(&app, &admin, id).await,
        ];
        for answer in answers {
            assert!(matches!(answer, Err(Error::Forbidden(_))), "{answer:?}");
        }
        let answers = [
            get(&app, &mallory, id).await.map(drop),
            resend(&app, &mallory, id).await.map(drop),
            delete(&app, &mallory, id).await,
        ];
        for answer in answers {
            assert!(matches!(answer, Err(Error::NotFound("invitation"))), "{answer:?}");
        }
        assert!(create(&app, &admin, "eve@example.com", Role::Admin).await.is_ok());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_closed_installation_takes_nobody_new_and_an_inviting_one_does(db: PgPool) {
        let mut app = testing::app(db).await;
        let (alice, bob) = (testing::owner(&app).await, testing::owner(&app).await);
        let new = invite(&app, &alice, "new@example.com", Role::Viewer).await;
        let email = format!("{}@example.com", bob.user);
        let known = invite(&app, &alice, &email, Role::Viewer).await;
        let set = |app: &mut App, signup| {
            app.config = std::sync::Arc::new(crate::Config { signup, ..testing::config() });
        };

        set(&mut app, Signup::Closed);
        let refused = accepted(&app, &new, Some(PASSWORD)).await.err().unwrap();
        assert_eq!(refused.code(), "forbidden");
        let caller = Caller::Member(bob);
        assert!(accept(&app, &Origin::default(), Some(&caller), &known, None).await.is_ok());
        set(&mut app, Signup::Invite);
        assert!(accepted(&app, &new, Some(PASSWORD)).await.is_ok());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_tenant_has_as_many_invitations_as_its_limits_say(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        sqlx::query("update tenant set limits = '{\"invitations\": 1}' where id = $1")
            .bind(alice.tenant.0)
            .execute(&db)
            .await
            .unwrap();

        invite(&app, &alice, "bob@example.com", Role::Viewer).await;
        let refused = create(&app, &alice, "eve@example.com", Role::Viewer).await.err().unwrap();

        assert_eq!(refused.code(), "limit_exceeded");
    }
}
