//! The operator's invitations to sign up.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::page::Key;
use crate::error::{Error, Result};
use crate::graphql::connection::{connection, page};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::operator;
use crate::ids::TenantInvitationId;

#[derive(Default)]
pub struct TenantInvitationQuery;

#[derive(Default)]
pub struct TenantInvitationMutation;

/// Whom the operator invited to sign up, and who has not done so yet.
#[derive(SimpleObject)]
pub struct TenantInvitation {
    id: ID,
    email: String,
    /// What the tenant is to be called; null where that is theirs to choose.
    tenant_name: Option<String>,
    created_at: DateTime<Utc>,
    /// From when on the link works no more.
    expires_at: DateTime<Utc>,
}

impl From<domain::tenant_invitation::TenantInvitation> for TenantInvitation {
    fn from(invitation: domain::tenant_invitation::TenantInvitation) -> Self {
        Self {
            id: invitation.id.to_string().into(),
            email: invitation.email,
            tenant_name: invitation.tenant_name,
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
        }
    }
}

#[derive(InputObject)]
pub struct InviteTenantInput {
    email: String,
    /// What the tenant is to be called, at most 128 characters; theirs to choose when left out.
    tenant_name: Option<String>,
}

#[derive(SimpleObject)]
pub struct InviteTenantPayload {
    invitation: Option<TenantInvitation>,
    /// Shown here and never again, to be passed on; null where the address gets it by mail.
    link: Option<String>,
    user_errors: Vec<UserError>,
}

#[derive(InputObject)]
pub struct DeleteTenantInvitationInput {
    tenant_invitation_id: String,
}

#[derive(SimpleObject)]
pub struct DeleteTenantInvitationPayload {
    /// As it was.
    invitation: Option<TenantInvitation>,
    user_errors: Vec<UserError>,
}

#[Object]
impl TenantInvitationQuery {
    /// Whom the operator invited to sign up and whose links work, the newest first; the operator's.
    async fn tenant_invitations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, TenantInvitation>> {
        let (app, operator) = operator(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::tenant_invitation::list(app, operator, &page).await?))
    }
}

#[Object]
impl TenantInvitationMutation {
    /// Invites an address to sign up, for a week: its link's `token` is what `signUp` takes, also where nobody else
    /// may. The operator's.
    async fn invite_tenant(
        &self,
        ctx: &Context<'_>,
        input: InviteTenantInput,
    ) -> async_graphql::Result<InviteTenantPayload> {
        let (app, operator) = operator(ctx)?;
        let name = input.tenant_name.as_deref();
        let sent = domain::tenant_invitation::create(app, operator, &input.email, name);
        let (sent, user_errors) = user_errors(sent.await)?;
        let (invitation, link) = sent.map(|sent| (sent.invitation.into(), sent.link)).unzip();
        Ok(InviteTenantPayload { invitation, link: link.flatten(), user_errors })
    }

    /// Revokes an invitation to sign up: its link works no more. The operator's.
    async fn delete_tenant_invitation(
        &self,
        ctx: &Context<'_>,
        input: DeleteTenantInvitationInput,
    ) -> async_graphql::Result<DeleteTenantInvitationPayload> {
        let (app, operator) = operator(ctx)?;
        let gone = async {
            let id = invitation(&input.tenant_invitation_id)?;
            domain::tenant_invitation::delete(app, operator, id).await
        };
        let (gone, user_errors) = user_errors(gone.await)?;
        Ok(DeleteTenantInvitationPayload { invitation: gone.map(Into::into), user_errors })
    }
}

fn invitation(text: &str) -> Result<TenantInvitationId> {
    text.parse().map_err(|_| Error::NotFound("invitation"))
}
