//! A log-in: how it begins, its access tokens, its refreshing, its end.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;

use crate::access::actor::{Actor, Caller, Operator, Origin};
use crate::access::api_version;
use crate::access::password::Password;
use crate::access::precondition::Precondition;
use crate::access::refresh::RefreshToken;
use crate::access::role::Role;
use crate::access::token::{self, Bearer};
use crate::access::wall::neighbourhood;
use crate::app::{App, Job, Tx};
use crate::domain::login_failure::{self, Attempt};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::tenant::Tenant;
use crate::domain::user::{Account, Email, User};
use crate::domain::{audit, outbox};
use crate::error::{Error, Result};
use crate::ids::{SessionId, TenantId, UserId};
use crate::mail::letter::Letter;
use crate::{store, telemetry};

/// How long one log-in lasts, however often it is refreshed (SP 800-63B-4 §2.1.3).
pub const LIFE: TimeDelta = TimeDelta::days(30);

/// How long the refresh value before the present one still works: two tabs may refresh at once.
pub const FORGIVEN: TimeDelta = TimeDelta::seconds(10);

/// The one answer to every log-in that fails, whatever was wrong.
const WRONG: Error = Error::Unauthenticated("the email or the password is wrong");
const ENDED: Error = Error::Unauthenticated("the session has ended; log in again");

/// What a log-in or a refresh gives. It has no `Debug` and no `Serialize`: faces take the token out.
pub struct Grant {
    pub session: SessionId,
    pub access_token: String,
    /// The new value of the refresh cookie; none where the present one stays.
    pub refresh: Option<Refresh>,
}

pub struct Refresh {
    pub token: RefreshToken,
    pub expires_in: TimeDelta,
}

impl Grant {
    /// How long the access token is good.
    pub fn expires_in_seconds(&self) -> i64 {
        token::LIFE.num_seconds()
    }
}

/// A session to be written.
pub struct NewSession<'a> {
    pub id: SessionId,
    pub user: UserId,
    pub tenant: Option<TenantId>,
    pub refresh_hash: Vec<u8>,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub api_version: NaiveDate,
    pub origin: &'a Origin,
}

/// A session as it is stored.
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    pub tenant: Option<TenantId>,
    pub refresh_hash: Vec<u8>,
    pub previous_refresh_hash: Option<Vec<u8>>,
    pub rotated_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// The version of the API that was the newest when it began.
    pub api_version: NaiveDate,
    /// As the browser called itself at log-in.
    pub user_agent: String,
}

/// A session as the audit log is told of it: one that was just begun, or ended.
pub struct Told {
    pub id: SessionId,
    pub user: UserId,
    /// None for the operator's.
    pub tenant: Option<TenantId>,
    pub user_agent: String,
}

impl From<Session> for Told {
    fn from(Session { id, user, tenant, user_agent, .. }: Session) -> Self {
        Self { id, user, tenant, user_agent }
    }
}

/// A session that has not ended, as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    pub id: SessionId,
    pub created_at: DateTime<Utc>,
    /// Of its refresh cookie.
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// As the browser called itself at log-in.
    pub user_agent: String,
    /// From where the log-in came.
    pub address: String,
}

impl Keyed for Active {
    const LIST: &'static str = "sessions";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// From where and with what a session was begun.
pub struct Place {
    pub address: String,
    pub user_agent: String,
}

/// What somebody logs in with.
pub struct LogIn {
    pub email: String,
    pub password: Password,
    /// A tenant's name or id; the one joined first where none is given.
    pub tenant: Option<String>,
}

/// Who calls, as they know themselves.
pub struct Viewer {
    pub user: User,
    /// None for the operator.
    pub tenant: Option<(Tenant, Role)>,
}

/// The audit log's view of a session.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recorded<'a> {
    user_agent: &'a str,
}

/// Who sent this access token. A revoked session, a member who left and a suspended operator are nobody.
pub async fn authenticate(app: &App, token: &str, origin: Origin) -> Result<Caller> {
    let bearer = app.tokens.verify(&app.clock, token)?;
    if app.revoked.borrow().contains(&bearer.session) {
        return Err(Error::Unauthenticated("the session was ended"));
    }
    let nobody = Error::Unauthenticated("the access token is not valid");
    let mut tx = app.system(Job::Sessions).await?;
    match bearer.tenant {
        Some(tenant) => {
            let role = store::member::role(&mut tx, tenant, bearer.user).await?.ok_or(nobody)?;
            Ok(Caller::Member(Actor {
                tenant,
                user: bearer.user,
                session: bearer.session,
                role,
                precondition: Precondition::default(),
                origin,
            }))
        }
        None if store::user::is_operator(&mut tx, bearer.user).await? => {
            Ok(Caller::Operator(Operator { user: bearer.user, session: bearer.session, origin }))
        }
        None => Err(nobody),
    }
}

/// Begins a session, and counts how that ended.
pub async fn log_in(app: &App, origin: &Origin, given: LogIn) -> Result<Grant> {
    let granted = try_log_in(app, origin, given).await;
    match &granted {
        Ok(_) => telemetry::logged_in(telemetry::LogIn::Succeeded),
        Err(Error::Unauthenticated(_)) => telemetry::logged_in(telemetry::LogIn::Failed),
        Err(Error::TooManyRequests { .. }) => telemetry::logged_in(telemetry::LogIn::Slowed),
        Err(_) => {}
    }
    granted
}

/// What may be wrong with the credentials shows in one answer and takes one time.
async fn try_log_in(app: &App, origin: &Origin, given: LogIn) -> Result<Grant> {
    app.wall.log_in(&origin.address)?;
    let email = Email::new(&given.email)?;

    let mut tx = app.system(Job::LogIn).await?;
    let account = store::user::account(&mut tx, &email).await?;
    // A failure until shown otherwise: tries made at once cannot outrun the count.
    let attempt = login_failure::count(app, &mut tx, &email, account.as_ref(), origin).await?;
    tx.commit().await?;

    let hash = account.as_ref().map(|account| account.password_hash.clone());
    if !given.password.matches(hash).await? {
        return Err(WRONG);
    }
    let account = account.ok_or(WRONG)?;
    admit(app, origin, &account, &attempt, given.tenant.as_deref()).await
}

/// Lets in who knew the account's password, unless it was changed meanwhile: who changes it ends all sessions
/// there are, and this one would come after.
async fn admit(
    app: &App,
    origin: &Origin,
    account: &Account,
    attempt: &Attempt,
    tenant: Option<&str>,
) -> Result<Grant> {
    let mut tx = app.system(Job::LogIn).await?;
    if !store::user::keep_password(&mut tx, account.user.id, &account.password_hash).await? {
        return Err(WRONG);
    }
    let membership = store::member::tenant(&mut tx, account.user.id, tenant).await?;
    if membership.is_none() && !(account.operator && tenant.is_none()) {
        return Err(WRONG);
    }
    attempt.succeeded(&mut tx, app.clock.now()).await?;
    tell_of_new_place(app, &mut tx, account, origin).await?;
    let tenant = membership.map(|(tenant, _)| tenant);
    let grant = begin(app, &mut tx, account.user.id, tenant, origin).await?;
    let (user, user_agent) = (account.user.id, origin.user_agent.clone());
    let begun = Told { id: grant.session, user, tenant, user_agent };
    record(app, &mut tx, "session.create", &begun, origin).await?;
    tx.commit().await?;
    Ok(grant)
}

/// A letter to who was logged in from an address or with a browser that none of their sessions of late had.
async fn tell_of_new_place(
    app: &App,
    tx: &mut Tx,
    account: &Account,
    origin: &Origin,
) -> Result<()> {
    if app.mailer.is_none() {
        return Ok(());
    }
    let at = app.clock.now();
    let since = at - login_failure::OWN_PLACE_FOR;
    let places = store::session::places(tx, Some(account.user.id), since).await?;
    let here = neighbourhood(&origin.address);
    let address_known = places.iter().any(|place| neighbourhood(&place.address) == here);
    let browser_known = places.iter().any(|place| place.user_agent == origin.user_agent);
    if address_known && browser_known {
        return Ok(());
    }
    let (to, address) = (account.user.email.clone(), origin.address.clone());
    let letter = Letter::LogIn { to, at, address, user_agent: origin.user_agent.clone() };
    outbox::post(app, tx, None, &letter).await
}

/// Writes a new session, and makes its first tokens. The caller has checked who this is.
pub(crate) async fn begin(
    app: &App,
    tx: &mut Tx,
    user: UserId,
    tenant: Option<TenantId>,
    origin: &Origin,
) -> Result<Grant> {
    let now = app.clock.now();
    let id = app.rng.id();
    let token = RefreshToken::fresh(app.rng, id);
    let new = NewSession {
        id,
        user,
        tenant,
        refresh_hash: token.hash(),
        now,
        expires_at: now + LIFE,
        api_version: api_version::newest(app.api_versions),
        origin,
    };
    store::session::insert(tx, &new).await?;
    let bearer = Bearer { user, session: id, tenant, api_version: new.api_version };
    Ok(Grant {
        session: id,
        access_token: app.tokens.sign(&app.clock, bearer)?,
        refresh: Some(Refresh { token, expires_in: LIFE }),
    })
}

/// A new access token for the holder of the refresh cookie, whose value changes with it. With `tenant`, a name
/// or an id, the session moves to that tenant.
///
/// A value that was replaced works for [`FORGIVEN`] and changes nothing. After that it shows that two people
/// hold the session, and ends it.
pub async fn refresh(
    app: &App,
    origin: &Origin,
    cookie: &str,
    tenant: Option<&str>,
) -> Result<Grant> {
    app.wall.log_in(&origin.address)?;
    let token = RefreshToken::from_cookie(&app.master, cookie).ok_or(ENDED)?;
    let now = app.clock.now();

    let mut tx = app.system(Job::Sessions).await?;
    let session = store::session::lock(&mut tx, token.session).await?.ok_or(ENDED)?;
    if session.revoked_at.is_some() || session.expires_at <= now {
        return Err(ENDED);
    }
    let present = session.refresh_hash == token.hash();
    let forgiven = session.previous_refresh_hash.as_ref() == Some(&token.hash())
        && now < session.rotated_at + FORGIVEN;
    if !present && !forgiven {
        store::session::revoke(&mut tx, session.id, now).await?;
        let ended = session.into();
        record(app, &mut tx, "session.revoke", &ended, origin).await?;
        tx.commit().await?;
        app.revoke_here(ended.id);
        tracing::warn!(session.id = %ended.id, "a spent refresh cookie came back; the session was ended");
        return Err(ENDED);
    }

    let tenant = match (tenant, session.tenant) {
        (Some(name_or_id), _) => {
            let found = store::member::tenant(&mut tx, session.user, Some(name_or_id)).await?;
            Some(found.ok_or(Error::NotFound("tenant"))?.0)
        }
        (None, Some(id)) => {
            store::member::role(&mut tx, id, session.user).await?.ok_or(ENDED)?;
            Some(id)
        }
        (None, None) => {
            let operator = store::user::is_operator(&mut tx, session.user).await?;
            operator.then_some(None).ok_or(ENDED)?
        }
    };
    let next = present.then(|| RefreshToken::fresh(app.rng, session.id));
    store::session::used(&mut tx, session.id, tenant, next.as_ref(), now).await?;
    tx.commit().await?;
    let Session { id, user, api_version, .. } = session;
    let bearer = Bearer { user, session: id, tenant, api_version };
    Ok(Grant {
        session: session.id,
        access_token: app.tokens.sign(&app.clock, bearer)?,
        refresh: next.map(|token| Refresh { token, expires_in: session.expires_at - now }),
    })
}

/// Ends the session of this refresh cookie, at once here and within seconds on every replica. A cookie that is
/// nobody's is as good as logged out.
pub async fn log_out(app: &App, origin: &Origin, cookie: &str) -> Result<()> {
    let Some(token) = RefreshToken::from_cookie(&app.master, cookie) else { return Ok(()) };
    let mut tx = app.system(Job::Sessions).await?;
    let Some(session) = store::session::lock(&mut tx, token.session).await? else { return Ok(()) };
    if session.revoked_at.is_some() {
        return Ok(());
    }
    store::session::revoke(&mut tx, session.id, app.clock.now()).await?;
    let ended = session.into();
    record(app, &mut tx, "session.delete", &ended, origin).await?;
    tx.commit().await?;
    app.revoke_here(ended.id);
    Ok(())
}

/// The caller's own sessions in every tenant, oldest first.
pub async fn list(app: &App, caller: &Caller, page: &Page) -> Result<Paged<Active>> {
    let mut tx = app.system(Job::Sessions).await?;
    page.cut(store::session::list(&mut tx, caller.user(), app.clock.now(), page).await?)
}

/// One of the caller's own that has not ended.
pub async fn find(app: &App, caller: &Caller, id: SessionId) -> Result<Option<Active>> {
    let mut tx = app.system(Job::Sessions).await?;
    store::session::active(&mut tx, caller.user(), id, app.clock.now()).await
}

/// Ends one of the caller's own sessions, at once here and within seconds on every replica.
pub async fn revoke(app: &App, caller: &Caller, id: SessionId) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Sessions).await?;
    let session = store::session::lock(&mut tx, id).await?;
    let own = |session: &Session| session.user == caller.user() && session.expires_at > now;
    let session = session.filter(own).ok_or(Error::NotFound("session"))?;
    if session.revoked_at.is_some() {
        return Ok(());
    }
    store::session::revoke(&mut tx, id, now).await?;
    record(app, &mut tx, "session.revoke", &session.into(), caller.origin()).await?;
    tx.commit().await?;
    app.revoke_here(id);
    Ok(())
}

/// Ends all of the caller's sessions but the one that asks; answers how many those were.
pub async fn revoke_others(app: &App, caller: &Caller) -> Result<usize> {
    let mut tx = app.system(Job::Sessions).await?;
    let (user, present) = (caller.user(), caller.session());
    let ended = store::session::revoke_others(&mut tx, user, present, app.clock.now()).await?;
    for session in &ended {
        record(app, &mut tx, "session.revoke", session, caller.origin()).await?;
    }
    tx.commit().await?;
    for session in &ended {
        app.revoke_here(session.id);
    }
    Ok(ended.len())
}

pub async fn viewer(app: &App, caller: &Caller) -> Result<Viewer> {
    let mut tx = app.system(Job::Sessions).await?;
    match caller {
        Caller::Member(actor) => Ok(Viewer {
            user: store::user::get(&mut tx, actor.user).await?,
            tenant: Some((store::tenant::get(&mut tx, actor.tenant).await?, actor.role)),
        }),
        Caller::Operator(operator) => {
            Ok(Viewer { user: store::user::get(&mut tx, operator.user).await?, tenant: None })
        }
    }
}

/// Tells the log of the tenant that the session is in, or the installation's, that it was begun or ended.
async fn record(
    app: &App,
    tx: &mut Tx,
    action: &str,
    session: &Told,
    origin: &Origin,
) -> Result<()> {
    let Told { id, user, tenant, ref user_agent } = *session;
    let noun_id = id.to_string();
    let recorded = Recorded { user_agent };
    let (before, after) = match action {
        "session.create" => (None, Some(&recorded)),
        _ => (Some(&recorded), None),
    };
    let origin = origin.clone();
    if let Some(tenant) = tenant {
        // Only who and where is taken of the actor; a log-in asks no role's permission.
        let (role, precondition) = (Role::Viewer, Precondition::default());
        let actor = Actor { tenant, user, session: id, role, precondition, origin };
        audit::record(app, tx, &actor, action, &noun_id, before, after).await
    } else {
        let operator = Operator { user, session: id, origin };
        audit::record_operator(app, tx, &operator, action, &noun_id, before, after).await
    }
}

#[cfg(test)]
mod tests;
