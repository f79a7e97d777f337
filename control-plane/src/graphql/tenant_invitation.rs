//! The operator's invitations to sign up.

use async_graphql::{Context, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::operator;

#[derive(Default)]
pub struct TenantInvitationMutation;

/// Whom the operator invited to sign up.
#[derive(SimpleObject)]
pub struct TenantInvitation {
    email: String,
    /// What the tenant is to be called; null where that is theirs to choose.
    tenant_name: Option<String>,
    /// From when on the link works no more.
    expires_at: DateTime<Utc>,
}

impl From<domain::tenant_invitation::TenantInvitation> for TenantInvitation {
    fn from(invitation: domain::tenant_invitation::TenantInvitation) -> Self {
        let domain::tenant_invitation::TenantInvitation { email, tenant_name, expires_at, .. } =
            invitation;
        Self { email, tenant_name, expires_at }
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
        let (sent, user_errors) = user_errors(Box::pin(sent).await)?;
        let (invitation, link) = sent.map(|sent| (sent.invitation.into(), sent.link)).unzip();
        Ok(InviteTenantPayload { invitation, link: link.flatten(), user_errors })
    }
}
