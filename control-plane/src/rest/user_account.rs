//! The caller's own account: password, address, and its end.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Caller;
use crate::access::password::Password;
use crate::app::App;
use crate::domain;
use crate::domain::email::Change;
use crate::error::Result;
use crate::rest::extract::{Json, origin};
use crate::rest::problem::Problem;
use crate::rest::session::{AccessToken, keep};
use crate::rest::tenant::{Tenant, User};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(request_reset, reset))
        .routes(routes!(change_password))
        .routes(routes!(verify))
        .routes(routes!(resend))
        .routes(routes!(change_email))
        .routes(routes!(delete))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestPasswordReset {
    #[schema(max_length = 254)]
    email: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResetPassword {
    /// From the link in the letter, `{public URL}/reset-password?token=…`.
    token: String,
    /// 15 to 256 characters of any kind; not a common one, nor made of the email.
    #[schema(value_type = String, format = Password)]
    password: Password,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangePassword {
    #[schema(value_type = String, format = Password)]
    current_password: Password,
    /// 15 to 256 characters of any kind; not a common one, nor made of the email.
    #[schema(value_type = String, format = Password)]
    new_password: Password,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeEmail {
    #[schema(max_length = 254)]
    email: String,
    #[schema(value_type = String, format = Password)]
    current_password: Password,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChangedEmail {
    /// Whether a letter went to the new address; it is the caller's when the link in it is opened.
    verification_sent: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteAccount {
    #[schema(value_type = String, format = Password)]
    password: Password,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VerifyEmail {
    /// From the link in the letter, `{public URL}/verify-email?token=…`.
    token: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VerifiedEmail {
    user: User,
    /// Where the link finished a sign-up, with the rest of what that gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<Tenant>,
    #[serde(flatten)]
    token: Option<AccessToken>,
}

/// Sends a link to the address with which the password of its account is reset, once and within an hour. The answer
/// is the same where it has no account.
#[utoipa::path(post, path = "/password-reset", tag = "user", operation_id = "requestPasswordReset",
    request_body = RequestPasswordReset, responses(
        (status = 202),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
async fn request_reset(
    State(app): State<App>,
    parts: Parts,
    Json(body): Json<RequestPasswordReset>,
) -> Result<StatusCode> {
    domain::password::request_reset(&app, &origin(&parts), &body.email).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Gives the account of a link another password, and ends all its sessions.
#[utoipa::path(put, path = "/password-reset", tag = "user", operation_id = "resetPassword",
    request_body = ResetPassword, responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
async fn reset(
    State(app): State<App>,
    parts: Parts,
    Json(body): Json<ResetPassword>,
) -> Result<StatusCode> {
    let origin = origin(&parts);
    let reset = domain::password::reset(&app, &origin, &body.token, &body.password);
    reset.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the caller's password, and ends their other sessions.
#[utoipa::path(put, path = "/password", tag = "user", operation_id = "changePassword",
    request_body = ChangePassword, responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn change_password(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<ChangePassword>,
) -> Result<StatusCode> {
    let (current, new) = (&body.current_password, &body.new_password);
    domain::password::change(&app, &caller, current, new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Opens a link that was sent to an address: verifies the address, or finishes a sign-up and logs in (sets the refresh
/// cookie).
#[utoipa::path(post, path = "/email-verification", tag = "user", operation_id = "verifyEmail",
    request_body = VerifyEmail, responses(
        (status = 200, body = VerifiedEmail),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
async fn verify(
    State(app): State<App>,
    parts: Parts,
    Json(body): Json<VerifyEmail>,
) -> Result<Response> {
    let origin = origin(&parts);
    let verified = domain::email::verify(&app, &origin, &body.token).await?;
    let (tenant, grant) = verified.begun.map(|begun| (begun.tenant, begun.grant)).unzip();
    let body = VerifiedEmail {
        user: verified.user.into(),
        tenant: tenant.map(Into::into),
        token: grant.as_ref().map(AccessToken::from),
    };
    let mut response = axum::Json(body).into_response();
    if let Some(grant) = &grant {
        keep(&app, grant, response.headers_mut());
    }
    Ok(response)
}

/// Sends the caller another link to verify their address; once a minute.
#[utoipa::path(post, path = "/email-verification/resend", tag = "user", operation_id = "resendVerification",
    responses(
        (status = 202),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn resend(State(app): State<App>, caller: Caller) -> Result<StatusCode> {
    domain::email::resend(&app, &caller).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Changes the caller's address, and ends their other sessions. Where letters can be sent it becomes theirs when the
/// link in one is opened.
#[utoipa::path(put, path = "/email", tag = "user", operation_id = "changeEmail",
    request_body = ChangeEmail, responses(
        (status = 200, body = ChangedEmail),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn change_email(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<ChangeEmail>,
) -> Result<axum::Json<ChangedEmail>> {
    let change = domain::email::change(&app, &caller, &body.email, &body.current_password);
    let verification_sent = change.await? == Change::LetterSent;
    Ok(axum::Json(ChangedEmail { verification_sent }))
}

/// Ends the caller's account: memberships, sessions and access keys. The last owner of a tenant stays.
#[utoipa::path(delete, path = "/account", tag = "user", operation_id = "deleteAccount",
    request_body = DeleteAccount, responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<DeleteAccount>,
) -> Result<StatusCode> {
    domain::user_account::delete(&app, &caller, &body.password).await?;
    Ok(StatusCode::NO_CONTENT)
}
