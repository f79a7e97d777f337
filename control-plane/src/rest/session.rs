//! Log-in, and the session behind the refresh cookie.

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Caller;
use crate::access::password::Password;
use crate::access::role::Role;
use crate::app::App;
use crate::domain;
use crate::domain::session::Grant;
use crate::error::{Error, Result};
use crate::ids::SessionId;
use crate::rest::extract::{Json, Path, Query, origin};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;
use crate::rest::tenant::{Tenant, User};

/// The refresh cookie. Only refreshing and logging out read it; all else takes the access token.
pub const COOKIE: &str = "tollgate_session";
const COOKIE_PATH: &str = "/v1/session";

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(log_in))
        .routes(routes!(get, refresh, log_out))
        .routes(routes!(list, revoke_others))
        .routes(routes!(revoke))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogIn {
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Password,
    /// A tenant's name or id; the one joined first where none is given.
    #[serde(default)]
    tenant: Option<String>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refresh {
    /// The name or id of another tenant to move this session to.
    #[serde(default)]
    tenant: Option<String>,
}

/// An access token: `Authorization: Bearer …`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessToken {
    access_token: String,
    expires_in_seconds: i64,
}

/// Who calls.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Session {
    user: User,
    /// Null for the operator.
    tenant: Option<Tenant>,
    /// One of owner, admin, developer, billing, viewer; null for the operator.
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
    operator: bool,
}

/// A log-in of the caller's own that has not ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ActiveSession {
    #[schema(value_type = String, format = Uuid)]
    id: SessionId,
    created_at: DateTime<Utc>,
    /// When an access token was last renewed in it.
    last_used_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// As the browser called itself at log-in.
    user_agent: String,
    /// From where the log-in came.
    address: String,
    /// Whether this call was made in it.
    current: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RevokedSessions {
    /// How many were ended.
    revoked: usize,
}

impl From<&Grant> for AccessToken {
    fn from(grant: &Grant) -> Self {
        Self {
            access_token: grant.access_token.clone(),
            expires_in_seconds: grant.expires_in_seconds(),
        }
    }
}

/// Logs in. Sets the refresh cookie.
#[utoipa::path(post, path = "/login", tag = "session", operation_id = "logIn", request_body = LogIn, responses(
    (status = 200, body = AccessToken),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
))]
async fn log_in(State(app): State<App>, parts: Parts, Json(body): Json<LogIn>) -> Result<Response> {
    let given =
        domain::session::LogIn { email: body.email, password: body.password, tenant: body.tenant };
    let grant = domain::session::log_in(&app, &origin(&parts), given).await?;
    Ok(answer(&app, StatusCode::OK, &grant))
}

/// Who calls.
#[utoipa::path(get, path = "/session", tag = "session", operation_id = "getSession", responses(
    (status = 200, body = Session),
    (status = 401, body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn get(State(app): State<App>, caller: Caller) -> Result<axum::Json<Session>> {
    let viewer = domain::session::viewer(&app, &caller).await?;
    let (tenant, role) = viewer.tenant.unzip();
    Ok(axum::Json(Session {
        user: viewer.user.into(),
        operator: tenant.is_none(),
        tenant: tenant.map(Into::into),
        role,
    }))
}

/// Gives a new access token to the holder of the refresh cookie, and replaces the cookie.
#[utoipa::path(post, path = "/session", tag = "session", operation_id = "refreshSession", request_body = Option<Refresh>, responses(
    (status = 200, body = AccessToken),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("refreshCookie" = [])))]
async fn refresh(
    State(app): State<App>,
    parts: Parts,
    body: Option<Json<Refresh>>,
) -> Result<Response> {
    same_origin(&app, &parts.headers)?;
    let cookie = held(&parts.headers).ok_or(Error::Unauthenticated("there is no session"))?;
    let Json(body) = body.unwrap_or(Json(Refresh::default()));
    let tenant = body.tenant.as_deref();
    match domain::session::refresh(&app, &origin(&parts), &cookie, tenant).await {
        Ok(grant) => Ok(answer(&app, StatusCode::OK, &grant)),
        // A browser need not keep what is of no use any more.
        Err(error @ Error::Unauthenticated(_)) => {
            Ok(([(header::SET_COOKIE, forget(&app))], error).into_response())
        }
        Err(error) => Err(error),
    }
}

/// Ends the session. Its access tokens are refused within five seconds, wherever they are shown.
#[utoipa::path(delete, path = "/session", tag = "session", operation_id = "endSession", responses(
    (status = 204),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("refreshCookie" = []), ()))]
async fn log_out(State(app): State<App>, parts: Parts) -> Result<Response> {
    same_origin(&app, &parts.headers)?;
    if let Some(cookie) = held(&parts.headers) {
        domain::session::log_out(&app, &origin(&parts), &cookie).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, forget(&app))]).into_response())
}

/// The caller's own sessions, in every tenant; oldest first.
#[utoipa::path(get, path = "/sessions", tag = "session", operation_id = "listSessions", params(PageQuery), responses(
    (status = 200, body = List<ActiveSession>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Result<List<ActiveSession>> {
    let sessions = domain::session::list(&app, &caller, &page.try_into()?).await?;
    Ok(List::map(sessions, |session| ActiveSession {
        current: session.id == caller.session(),
        id: session.id,
        created_at: session.created_at,
        last_used_at: session.last_used_at,
        expires_at: session.expires_at,
        user_agent: session.user_agent,
        address: session.address,
    }))
}

/// Ends one of the caller's own sessions, within five seconds wherever its access tokens are shown.
#[utoipa::path(delete, path = "/sessions/{sessionId}", tag = "session", operation_id = "revokeSession",
    params(("sessionId" = String, Path, format = Uuid)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> Result<StatusCode> {
    domain::session::revoke(&app, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all of the caller's sessions but the one that asks.
#[utoipa::path(delete, path = "/sessions", tag = "session", operation_id = "revokeOtherSessions", responses(
    (status = 200, body = RevokedSessions),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn revoke_others(
    State(app): State<App>,
    caller: Caller,
) -> Result<axum::Json<RevokedSessions>> {
    let revoked = domain::session::revoke_others(&app, &caller).await?;
    Ok(axum::Json(RevokedSessions { revoked }))
}

/// An access token as the body, the refresh cookie beside it.
pub(crate) fn answer(app: &App, status: StatusCode, grant: &Grant) -> Response {
    let mut response = (status, axum::Json(AccessToken::from(grant))).into_response();
    keep(app, grant, response.headers_mut());
    response
}

/// Sets the refresh cookie where the grant has a new value for it; nothing here may be stored on the way.
pub(crate) fn keep(app: &App, grant: &Grant, headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie(app, grant) {
        headers.append(header::SET_COOKIE, cookie);
    }
}

/// The `Set-Cookie` of a grant.
pub(crate) fn cookie(app: &App, grant: &Grant) -> Option<HeaderValue> {
    let refresh = grant.refresh.as_ref()?;
    let value = refresh.token.to_cookie(&app.master);
    Some(set_cookie(app, &value, refresh.expires_in.num_seconds()))
}

fn forget(app: &App) -> HeaderValue {
    set_cookie(app, "", 0)
}

fn set_cookie(app: &App, value: &str, max_age_seconds: i64) -> HeaderValue {
    let secure = if app.config.public_url.starts_with("https:") { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={value}; Path={COOKIE_PATH}; Max-Age={max_age_seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    let mut header =
        HeaderValue::from_str(&cookie).expect("base64url and fixed attributes are header text");
    header.set_sensitive(true);
    header
}

fn held(headers: &HeaderMap) -> Option<String> {
    CookieJar::from_headers(headers).get(COOKIE).map(|cookie| cookie.value().to_owned())
}

/// Refuses what another site's page sent. Who is no browser sends neither header, and has no cookie by itself.
fn same_origin(app: &App, headers: &HeaderMap) -> Result<()> {
    let foreign = Error::Forbidden("this comes from another origin");
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return Err(foreign);
    }
    match headers.get(header::ORIGIN) {
        Some(origin) if !is_own(&app.config.public_url, origin) => Err(foreign),
        _ => Ok(()),
    }
}

/// Whether `origin` is the console's. While that is on loopback, loopback's other names are too.
pub(crate) fn is_own(public_url: &str, origin: &HeaderValue) -> bool {
    let parse = |text: &str| text.parse::<Url>().ok();
    let (Some(own), Some(origin)) = (parse(public_url), origin.to_str().ok().and_then(parse))
    else {
        return false;
    };
    let loopback = |url: &Url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    own.origin() == origin.origin()
        || (own.scheme() == origin.scheme()
            && own.port_or_known_default() == origin.port_or_known_default()
            && loopback(&own)
            && loopback(&origin))
}
