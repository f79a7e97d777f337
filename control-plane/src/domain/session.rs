//! A log-in: how it begins, its access tokens, its refreshing, its end.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::access::actor::{Actor, Caller, Operator, Origin};
use crate::access::password::Password;
use crate::access::refresh::RefreshToken;
use crate::access::role::Role;
use crate::access::token::{self, Bearer};
use crate::app::{App, Job, Tx};
use crate::domain::audit;
use crate::domain::login_failure;
use crate::domain::tenant::Tenant;
use crate::domain::user::{Email, User};
use crate::error::{Error, Result};
use crate::ids::{SessionId, TenantId, UserId};
use crate::store;

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
                origin,
            }))
        }
        None if store::user::is_operator(&mut tx, bearer.user).await? => {
            Ok(Caller::Operator(Operator { user: bearer.user, session: bearer.session, origin }))
        }
        None => Err(nobody),
    }
}

/// Begins a session. What may be wrong with the credentials shows in one answer and takes one time.
pub async fn log_in(app: &App, origin: &Origin, given: LogIn) -> Result<Grant> {
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

    let mut tx = app.system(Job::LogIn).await?;
    let membership =
        store::member::tenant(&mut tx, account.user.id, given.tenant.as_deref()).await?;
    if membership.is_none() && !(account.operator && given.tenant.is_none()) {
        return Err(WRONG);
    }
    attempt.succeeded(&mut tx).await?;
    let tenant = membership.map(|(tenant, _)| tenant);
    let grant = begin(app, &mut tx, account.user.id, tenant, origin).await?;
    record(app, &mut tx, "session.create", grant.session, account.user.id, tenant, origin).await?;
    tx.commit().await?;
    Ok(grant)
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
        origin,
    };
    store::session::insert(tx, &new).await?;
    Ok(Grant {
        session: id,
        access_token: app.tokens.sign(&app.clock, Bearer { user, session: id, tenant })?,
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
        record(app, &mut tx, "session.revoke", session.id, session.user, session.tenant, origin)
            .await?;
        tx.commit().await?;
        app.revoke_here(session.id);
        tracing::warn!(session.id = %session.id, "a spent refresh cookie came back; the session was ended");
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
    let bearer = Bearer { user: session.user, session: session.id, tenant };
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
    record(app, &mut tx, "session.delete", session.id, session.user, session.tenant, origin)
        .await?;
    tx.commit().await?;
    app.revoke_here(session.id);
    Ok(())
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

async fn record(
    app: &App,
    tx: &mut Tx,
    action: &str,
    session: SessionId,
    user: UserId,
    tenant: Option<TenantId>,
    origin: &Origin,
) -> Result<()> {
    let noun_id = session.to_string();
    let after = Recorded { user_agent: &origin.user_agent };
    let origin = origin.clone();
    if let Some(tenant) = tenant {
        // Only who and where is taken of the actor; a log-in asks no role's permission.
        let actor = Actor { tenant, user, session, role: Role::Viewer, origin };
        audit::record(app, tx, &actor, action, &noun_id, None, Some(&after)).await
    } else {
        let operator = Operator { user, session, origin };
        audit::record_operator(app, tx, &operator, action, &noun_id, None, Some(&after)).await
    }
}
