//! Sign-up, and how users and tenants look.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::{Actor, Caller};
use crate::access::password::Password;
use crate::app::App;
use crate::domain;
use crate::domain::account::CLOSED_KEPT;
use crate::domain::limit::LimitName;
use crate::domain::tenant::Status;
use crate::error::Result;
use crate::rest::extract::{Json, origin};
use crate::rest::problem::Problem;
use crate::rest::session::{AccessToken, keep};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sign_up)).routes(routes!(get)).routes(routes!(limits))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tenant {
    id: String,
    name: String,
    created_at: DateTime<Utc>,
    /// One of active, suspended (its calls are refused; its members read) and closed.
    #[schema(value_type = String)]
    status: Status,
    suspended_at: Option<DateTime<Utc>>,
    /// What the operator says to the tenant's members.
    suspended_reason: Option<String>,
    closed_at: Option<DateTime<Utc>>,
    /// When a closed tenant is erased; until then it can be reopened.
    erases_at: Option<DateTime<Utc>>,
}

/// A limit of a tenant, and how far it is used.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TenantLimit {
    #[schema(value_type = String)]
    name: LimitName,
    /// The one in force.
    limit: u32,
    /// Where the operator set none.
    default: u32,
    /// The operator set it. Otherwise it is the default, or what the other of `requestsPerSecond` and `requestBurst` says;
    /// where neither is set, there is no limit of calls.
    adjusted: bool,
    /// Of what is limited for each API: in the API that has the most.
    used: u64,
}

impl From<domain::limit::Limit> for TenantLimit {
    fn from(limit: domain::limit::Limit) -> Self {
        let domain::limit::Limit { name, limit, default, adjusted, used } = limit;
        Self { name, limit, default, adjusted, used }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    id: String,
    email: String,
    /// Whether somebody showed that the address is theirs.
    email_verified: bool,
    created_at: DateTime<Utc>,
}

impl From<domain::tenant::Tenant> for Tenant {
    fn from(tenant: domain::tenant::Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name,
            created_at: tenant.created_at,
            status: tenant.status,
            suspended_at: tenant.suspended_at,
            suspended_reason: tenant.suspended_reason,
            closed_at: tenant.closed_at,
            erases_at: tenant.closed_at.map(|at| at + CLOSED_KEPT),
        }
    }
}

impl From<domain::user::User> for User {
    fn from(user: domain::user::User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            email_verified: user.email_verified,
            created_at: user.created_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignUp {
    email: String,
    /// 15 to 256 characters of any kind; not a common one, nor made of the email or the tenant.
    #[schema(value_type = String, format = Password)]
    password: Password,
    /// The tenant's name, unique in the installation.
    tenant: String,
    /// The `token` of an invitation's link, which the operator sends (`inviteTenant`): the account begins at once,
    /// also where nobody else may sign up.
    token: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SignedUp {
    tenant: Tenant,
    user: User,
    #[serde(flatten)]
    token: AccessToken,
}

/// Where letters can be sent, signing up goes on by one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AskedToSignUp {
    /// Always true: a letter went to the address.
    verification_sent: bool,
}

/// Makes a user, a tenant and its owner, and logs in. Sets the refresh cookie. Where the installation sends mail,
/// that waits for the link in a letter (`verifyEmail`), and the answer is the same if the address has an account.
#[utoipa::path(post, path = "/signup", tag = "session", operation_id = "signUp", request_body = SignUp, responses(
    (status = 201, body = SignedUp),
    (status = 202, body = AskedToSignUp),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
))]
async fn sign_up(
    State(app): State<App>,
    parts: Parts,
    Json(body): Json<SignUp>,
) -> Result<Response> {
    let new =
        domain::tenant::SignUp { email: body.email, password: body.password, tenant: body.tenant };
    let origin = origin(&parts);
    let token = body.token.as_deref();
    let Some(made) = domain::sign_up::begin(&app, &origin, new, token).await? else {
        let sent = axum::Json(AskedToSignUp { verification_sent: true });
        return Ok((StatusCode::ACCEPTED, sent).into_response());
    };
    let token = AccessToken::from(&made.grant);
    let body = SignedUp { tenant: made.tenant.into(), user: made.user.into(), token };
    let mut response = (StatusCode::CREATED, axum::Json(body)).into_response();
    keep(&app, &made.grant, response.headers_mut());
    Ok(response)
}

/// The caller's tenant.
#[utoipa::path(get, path = "/tenant", tag = "tenant", operation_id = "getTenant", responses(
    (status = 200, body = Tenant),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn get(State(app): State<App>, actor: Actor) -> Result<axum::Json<Tenant>> {
    Ok(axum::Json(domain::tenant::get(&app, &actor).await?.into()))
}

/// How much the caller's tenant may have, and has.
#[utoipa::path(get, path = "/tenant/limits", tag = "tenant", operation_id = "listTenantLimits", responses(
    (status = 200, body = [TenantLimit]),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn limits(State(app): State<App>, actor: Actor) -> Result<axum::Json<Vec<TenantLimit>>> {
    let tenant = actor.tenant;
    let limits = domain::limit::list(&app, &Caller::Member(actor), tenant).await?;
    Ok(axum::Json(limits.into_iter().map(Into::into).collect()))
}
