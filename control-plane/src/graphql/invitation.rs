//! Invitations.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::password::Password;
use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::invitation::Sent;
use crate::domain::page::Key;
use crate::domain::session::Grant;
use crate::error::{Error, Result};
use crate::graphql::connection::{connection, page};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::member::Role;
use crate::graphql::node::Kind;
use crate::graphql::session::{keep, origin};
use crate::graphql::tenant::{Tenant, User};
use crate::graphql::{app, caller, identity};
use crate::ids::InvitationId;

#[derive(Default)]
pub struct InvitationQuery;

#[derive(Default)]
pub struct InvitationMutation;

/// Who was invited into the tenant and has not answered yet.
pub struct Invitation(domain::invitation::Invitation);

impl From<domain::invitation::Invitation> for Invitation {
    fn from(invitation: domain::invitation::Invitation) -> Self {
        Self(invitation)
    }
}

/// What the holder of an invitation's link is invited to.
#[derive(SimpleObject)]
pub struct InvitationPreview {
    tenant: Tenant,
    email: String,
    role: Role,
    expires_at: DateTime<Utc>,
    /// Whether the address has an account, which accepts while it is logged in.
    has_account: bool,
}

#[derive(InputObject)]
pub struct CreateInvitationInput {
    email: String,
    /// Only an owner invites owners.
    role: Role,
}

#[derive(InputObject)]
pub struct ResendInvitationInput {
    id: ID,
}

#[derive(InputObject)]
pub struct AcceptInvitationInput {
    /// The `token` of the link.
    token: String,
    /// What a new user chooses: 15 to 256 characters. Left out by who is logged in.
    password: Option<String>,
}

#[derive(SimpleObject)]
pub struct InvitationPayload {
    invitation: Option<Invitation>,
    /// Shown here and never again, to be passed on; null where the address gets it by mail.
    link: Option<String>,
    user_errors: Vec<UserError>,
}

impl InvitationPayload {
    fn of(sent: Result<Sent>) -> async_graphql::Result<Self> {
        let (sent, user_errors) = user_errors(sent)?;
        let (invitation, link) = sent.map(|sent| (sent.invitation.into(), sent.link)).unzip();
        Ok(Self { invitation, link: link.flatten(), user_errors })
    }
}

#[derive(Default, SimpleObject)]
pub struct AcceptInvitationPayload {
    tenant: Option<Tenant>,
    user: Option<User>,
    role: Option<Role>,
    /// For a new user, who is thereby logged in.
    access_token: Option<String>,
    expires_in_seconds: Option<i64>,
    user_errors: Vec<UserError>,
}

#[Object]
impl InvitationQuery {
    /// The invitations into the caller's tenant that nobody answered yet, oldest first.
    async fn invitations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Invitation>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::invitation::list(app, actor, &page).await?))
    }

    /// What the holder of an invitation's link is invited to.
    async fn invitation_preview(
        &self,
        ctx: &Context<'_>,
        token: String,
    ) -> async_graphql::Result<InvitationPreview> {
        let opened = domain::invitation::open(app(ctx), origin(ctx), &token).await?;
        Ok(InvitationPreview {
            tenant: opened.tenant.into(),
            email: opened.email,
            role: opened.role.into(),
            expires_at: opened.expires_at,
            has_account: opened.has_account,
        })
    }
}

#[Object]
impl InvitationMutation {
    /// Invites an address into the caller's tenant for a week.
    async fn create_invitation(
        &self,
        ctx: &Context<'_>,
        input: CreateInvitationInput,
    ) -> async_graphql::Result<InvitationPayload> {
        let (app, actor) = caller(ctx)?;
        let role = input.role.into();
        InvitationPayload::of(domain::invitation::create(app, actor, &input.email, role).await)
    }

    /// Gives an invitation another week and another link; the one before works no more.
    async fn resend_invitation(
        &self,
        ctx: &Context<'_>,
        input: ResendInvitationInput,
    ) -> async_graphql::Result<InvitationPayload> {
        let (app, actor) = caller(ctx)?;
        let sent = async {
            let id = Kind::Invitation.parse(&input.id, "id")?;
            domain::invitation::resend(app, actor, id).await
        };
        InvitationPayload::of(sent.await)
    }

    /// Revokes an invitation: its link works no more.
    async fn delete_invitation(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let id = Kind::Invitation.parse(&input.id, "id")?;
            domain::invitation::delete(app, actor, id).await
        };
        let deleted = deleted.await;
        DeletePayload::of(input.id, deleted)
    }

    /// Joins the tenant of an invitation's link: a new user with a password, who is thereby logged in (sets the
    /// refresh cookie); who has an account with the link's address, while logged in with it.
    async fn accept_invitation(
        &self,
        ctx: &Context<'_>,
        input: AcceptInvitationInput,
    ) -> async_graphql::Result<AcceptInvitationPayload> {
        let password = input.password.as_deref().map(Password::new);
        let known = identity(ctx).ok();
        let accepted =
            domain::invitation::accept(app(ctx), origin(ctx), known, &input.token, password);
        let (accepted, user_errors) = user_errors(accepted.await)?;
        let Some(accepted) = accepted else {
            return Ok(AcceptInvitationPayload { user_errors, ..Default::default() });
        };
        if let Some(grant) = &accepted.grant {
            keep(ctx, app(ctx), grant);
        }
        Ok(AcceptInvitationPayload {
            tenant: Some(accepted.tenant.into()),
            user: Some(accepted.user.into()),
            role: Some(accepted.role.into()),
            expires_in_seconds: accepted.grant.as_ref().map(Grant::expires_in_seconds),
            access_token: accepted.grant.map(|grant| grant.access_token),
            user_errors,
        })
    }
}

#[Object]
impl Invitation {
    pub async fn id(&self) -> ID {
        Kind::Invitation.id(self.0.id)
    }

    async fn email(&self) -> &str {
        &self.0.email
    }

    async fn role(&self) -> Role {
        self.0.role.into()
    }

    /// The email of whoever invited; null where they are no longer a member.
    async fn invited_by(&self) -> Option<&str> {
        self.0.invited_by.as_deref()
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When its newest link was made.
    async fn sent_at(&self) -> DateTime<Utc> {
        self.0.sent_at
    }

    /// From when on that link works no more.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.expires_at
    }
}

impl Loader<InvitationId> for Batches {
    type Value = domain::invitation::Invitation;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[InvitationId],
    ) -> Result<HashMap<InvitationId, Self::Value>, Self::Error> {
        let found = domain::invitation::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|invitation| (invitation.id, invitation)).collect())
    }
}
