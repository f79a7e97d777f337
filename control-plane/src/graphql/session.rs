//! Sign-up, log-in, and who calls.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::actor::{Caller, Origin};
use crate::access::password::Password;
use crate::app::App;
use crate::domain;
use crate::domain::page::Key;
use crate::domain::session::Grant;
use crate::error::{Error, Result};
use crate::graphql::connection::{connection_of, page};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::member::Role;
use crate::graphql::node::Kind;
use crate::graphql::tenant::{Tenant, User};
use crate::graphql::{app, identity};
use crate::rest::session::cookie;

#[derive(Default)]
pub struct SessionQuery;

#[derive(Default)]
pub struct SessionMutation;

/// Who calls, and as what.
#[derive(SimpleObject)]
pub struct Viewer {
    user: User,
    /// Null for the operator.
    tenant: Option<Tenant>,
    /// Null for the operator.
    role: Option<Role>,
    /// Whether this is the operator of the installation, who belongs to no tenant.
    operator: bool,
}

#[derive(InputObject)]
struct SignUpInput {
    email: String,
    /// 15 to 256 characters of any kind; not a common one, nor made of the email or the tenant.
    password: String,
    /// The tenant's name, unique in the installation.
    tenant: String,
    /// The `token` of an invitation's link, which the operator sends (`inviteTenant`): the account begins at once,
    /// also where nobody else may sign up.
    token: Option<String>,
}

#[derive(Default, SimpleObject)]
struct SignUpPayload {
    tenant: Option<Tenant>,
    user: Option<User>,
    access_token: Option<String>,
    expires_in_seconds: Option<i64>,
    /// Whether a letter went to the address, with the link that finishes signing up; then there is no account yet.
    verification_sent: bool,
    user_errors: Vec<UserError>,
}

#[derive(InputObject)]
struct LogInInput {
    email: String,
    password: String,
    /// A tenant's name or id; the one joined first where none is given.
    tenant: Option<String>,
}

#[derive(SimpleObject)]
struct LogInPayload {
    access_token: Option<String>,
    expires_in_seconds: Option<i64>,
    user_errors: Vec<UserError>,
}

/// A log-in of the caller's own that has not ended.
pub struct Session {
    of: domain::session::Active,
    current: bool,
}

impl Session {
    pub(crate) fn of(caller: &Caller, session: domain::session::Active) -> Self {
        Self { current: session.id == caller.session(), of: session }
    }
}

#[Object]
impl Session {
    pub async fn id(&self) -> ID {
        Kind::Session.id(self.of.id)
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.of.created_at
    }

    /// When an access token was last renewed in it.
    async fn last_used_at(&self) -> DateTime<Utc> {
        self.of.last_used_at
    }

    async fn expires_at(&self) -> DateTime<Utc> {
        self.of.expires_at
    }

    /// As the browser called itself at log-in.
    async fn user_agent(&self) -> &str {
        &self.of.user_agent
    }

    /// From where the log-in came.
    async fn address(&self) -> &str {
        &self.of.address
    }

    /// Whether this call was made in it.
    async fn current(&self) -> bool {
        self.current
    }
}

#[derive(SimpleObject)]
struct RevokeOtherSessionsPayload {
    /// How many were ended.
    revoked: Option<usize>,
    user_errors: Vec<UserError>,
}

#[Object]
impl SessionQuery {
    /// The caller's own sessions, in every tenant; oldest first.
    async fn sessions(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Session>> {
        let caller = identity(ctx)?;
        let page = page(first, after, last, before)?;
        let sessions = domain::session::list(app(ctx), caller, &page).await?;
        Ok(connection_of(sessions, |session| Session::of(caller, session)))
    }

    /// Who calls.
    async fn viewer(&self, ctx: &Context<'_>) -> async_graphql::Result<Viewer> {
        let caller: &Caller = identity(ctx)?;
        let viewer = domain::session::viewer(app(ctx), caller).await?;
        let (tenant, role) = viewer.tenant.unzip();
        Ok(Viewer {
            user: viewer.user.into(),
            operator: tenant.is_none(),
            tenant: tenant.map(Into::into),
            role: role.map(Into::into),
        })
    }
}

#[Object]
impl SessionMutation {
    /// Makes a user, a tenant and its owner, and logs in. Sets the refresh cookie. Where the installation sends mail,
    /// that waits for the link in a letter (`verifyEmail`), and the answer is the same if the address has an account.
    async fn sign_up(
        &self,
        ctx: &Context<'_>,
        input: SignUpInput,
    ) -> async_graphql::Result<SignUpPayload> {
        let new = domain::tenant::SignUp {
            email: input.email,
            password: Password::new(&input.password),
            tenant: input.tenant,
        };
        let token = input.token.as_deref();
        let begun = domain::sign_up::begin(app(ctx), origin(ctx), new, token).await;
        let (begun, user_errors) = user_errors(begun)?;
        let Some(made) = begun.flatten() else {
            let verification_sent = user_errors.is_empty();
            return Ok(SignUpPayload { verification_sent, user_errors, ..Default::default() });
        };
        keep(ctx, app(ctx), &made.grant);
        Ok(SignUpPayload {
            tenant: Some(made.tenant.into()),
            user: Some(made.user.into()),
            expires_in_seconds: Some(made.grant.expires_in_seconds()),
            access_token: Some(made.grant.access_token),
            verification_sent: false,
            user_errors,
        })
    }

    /// Ends one of the caller's own sessions, within five seconds wherever its access tokens are shown.
    async fn revoke_session(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let caller = identity(ctx)?;
        let revoked = async {
            let id = Kind::Session.parse(&input.id, "id")?;
            if input.expected_version.is_some() {
                return Err(Error::bad_request("expectedVersion", "a session has no versions"));
            }
            domain::session::revoke(app(ctx), caller, id).await
        };
        let revoked = revoked.await;
        DeletePayload::of(input.id, revoked)
    }

    /// Ends all of the caller's sessions but the one that asks.
    async fn revoke_other_sessions(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<RevokeOtherSessionsPayload> {
        let revoked = domain::session::revoke_others(app(ctx), identity(ctx)?).await;
        let (revoked, user_errors) = user_errors(revoked)?;
        Ok(RevokeOtherSessionsPayload { revoked, user_errors })
    }

    /// Logs in. Sets the refresh cookie.
    async fn log_in(
        &self,
        ctx: &Context<'_>,
        input: LogInInput,
    ) -> async_graphql::Result<LogInPayload> {
        let given = domain::session::LogIn {
            email: input.email,
            password: Password::new(&input.password),
            tenant: input.tenant,
        };
        let grant: Result<Grant> = domain::session::log_in(app(ctx), origin(ctx), given).await;
        let (grant, user_errors) = user_errors(grant)?;
        if let Some(grant) = &grant {
            keep(ctx, app(ctx), grant);
        }
        Ok(LogInPayload {
            expires_in_seconds: grant.as_ref().map(Grant::expires_in_seconds),
            access_token: grant.map(|grant| grant.access_token),
            user_errors,
        })
    }
}

/// Sets the refresh cookie on the answer.
pub(crate) fn keep(ctx: &Context<'_>, app: &App, grant: &Grant) {
    if let Some(cookie) = cookie(app, grant) {
        ctx.append_http_header("set-cookie", cookie);
    }
}

/// From where the request came; the HTTP handler sets it.
pub(crate) fn origin<'a>(ctx: &Context<'a>) -> &'a Origin {
    ctx.data_unchecked::<Origin>()
}
