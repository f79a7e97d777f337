//! The caller's own account: password, address, and its end.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use crate::access::password::Password;
use crate::domain;
use crate::domain::email::Change;
use crate::domain::session::Grant;
use crate::error::Result;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::session::{keep, origin};
use crate::graphql::tenant::{Tenant, User};
use crate::graphql::{app, identity};

#[derive(Default)]
pub struct UserAccountMutation;

#[derive(InputObject)]
pub struct RequestPasswordResetInput {
    email: String,
}

#[derive(InputObject)]
pub struct ResetPasswordInput {
    /// From the link in the letter, `{public URL}/reset-password?token=…`.
    token: String,
    /// 15 to 256 characters of any kind; not a common one, nor made of the email.
    password: String,
}

#[derive(InputObject)]
pub struct ChangePasswordInput {
    current_password: String,
    /// 15 to 256 characters of any kind; not a common one, nor made of the email.
    new_password: String,
}

#[derive(InputObject)]
pub struct ChangeEmailInput {
    email: String,
    current_password: String,
}

#[derive(InputObject)]
pub struct VerifyEmailInput {
    /// From the link in the letter, `{public URL}/verify-email?token=…`.
    token: String,
}

#[derive(InputObject)]
pub struct DeleteAccountInput {
    password: String,
}

/// Whether it was done.
#[derive(SimpleObject)]
pub struct DonePayload {
    done: bool,
    user_errors: Vec<UserError>,
}

impl DonePayload {
    fn of(result: Result<()>) -> async_graphql::Result<Self> {
        let (done, user_errors) = user_errors(result)?;
        Ok(Self { done: done.is_some(), user_errors })
    }
}

#[derive(SimpleObject)]
pub struct ChangeEmailPayload {
    /// Whether a letter went to the new address; it is the caller's when the link in it is opened.
    verification_sent: Option<bool>,
    user_errors: Vec<UserError>,
}

#[derive(Default, SimpleObject)]
pub struct VerifyEmailPayload {
    user: Option<User>,
    /// Where the link finished a sign-up.
    tenant: Option<Tenant>,
    /// Where the link finished a sign-up, which logs in.
    access_token: Option<String>,
    expires_in_seconds: Option<i64>,
    user_errors: Vec<UserError>,
}

#[Object]
impl UserAccountMutation {
    /// Sends a link to the address with which the password of its account is reset, once and within an hour. The
    /// answer is the same where it has no account.
    async fn request_password_reset(
        &self,
        ctx: &Context<'_>,
        input: RequestPasswordResetInput,
    ) -> async_graphql::Result<DonePayload> {
        let (app, origin) = (app(ctx), origin(ctx));
        DonePayload::of(domain::password::request_reset(app, origin, &input.email).await)
    }

    /// Gives the account of a link another password, and ends all its sessions.
    async fn reset_password(
        &self,
        ctx: &Context<'_>,
        input: ResetPasswordInput,
    ) -> async_graphql::Result<DonePayload> {
        let password = Password::new(&input.password);
        let reset = domain::password::reset(app(ctx), origin(ctx), &input.token, &password);
        DonePayload::of(reset.await)
    }

    /// Changes the caller's password, and ends their other sessions.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        input: ChangePasswordInput,
    ) -> async_graphql::Result<DonePayload> {
        let caller = identity(ctx)?;
        let (current, new) =
            (Password::new(&input.current_password), Password::new(&input.new_password));
        let change = domain::password::change(app(ctx), caller, &current, &new);
        DonePayload::of(change.await)
    }

    /// Opens a link that was sent to an address: verifies the address, or finishes a sign-up and logs in (sets the
    /// refresh cookie).
    async fn verify_email(
        &self,
        ctx: &Context<'_>,
        input: VerifyEmailInput,
    ) -> async_graphql::Result<VerifyEmailPayload> {
        let verified = domain::email::verify(app(ctx), origin(ctx), &input.token);
        let (verified, user_errors) = user_errors(verified.await)?;
        let Some(verified) = verified else {
            return Ok(VerifyEmailPayload { user_errors, ..Default::default() });
        };
        let (tenant, grant) = verified.begun.map(|begun| (begun.tenant, begun.grant)).unzip();
        if let Some(grant) = &grant {
            keep(ctx, app(ctx), grant);
        }
        Ok(VerifyEmailPayload {
            user: Some(verified.user.into()),
            tenant: tenant.map(Into::into),
            expires_in_seconds: grant.as_ref().map(Grant::expires_in_seconds),
            access_token: grant.map(|grant| grant.access_token),
            user_errors,
        })
    }

    /// Sends the caller another link to verify their address; once a minute.
    async fn resend_verification(&self, ctx: &Context<'_>) -> async_graphql::Result<DonePayload> {
        DonePayload::of(domain::email::resend(app(ctx), identity(ctx)?).await)
    }

    /// Changes the caller's address, and ends their other sessions. Where letters can be sent it becomes theirs when
    /// the link in one is opened.
    async fn change_email(
        &self,
        ctx: &Context<'_>,
        input: ChangeEmailInput,
    ) -> async_graphql::Result<ChangeEmailPayload> {
        let (caller, current) = (identity(ctx)?, Password::new(&input.current_password));
        let change = domain::email::change(app(ctx), caller, &input.email, &current);
        let (change, user_errors) = user_errors(change.await)?;
        let verification_sent = change.map(|change| change == Change::LetterSent);
        Ok(ChangeEmailPayload { verification_sent, user_errors })
    }

    /// Ends the caller's account: memberships, sessions and access keys. The last owner of a tenant stays.
    async fn delete_account(
        &self,
        ctx: &Context<'_>,
        input: DeleteAccountInput,
    ) -> async_graphql::Result<DonePayload> {
        let (caller, password) = (identity(ctx)?, Password::new(&input.password));
        let deleted = domain::user_account::delete(app(ctx), caller, &password);
        DonePayload::of(deleted.await)
    }
}
