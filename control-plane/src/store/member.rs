//! Members: users in tenants.

use crate::access::role::Role;
use crate::app::Tx;
use crate::error::Result;
use crate::ids::{TenantId, UserId};

/// The user's role in the tenant, if a member of it.
pub async fn role(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Option<Role>> {
    let role = sqlx::query_scalar!(
        "select role from member where tenant_id = $1 and user_id = $2",
        tenant.0,
        user.0
    )
    .fetch_optional(&mut **tx)
    .await?;
    role.map(|role| Role::try_from(role.as_str())).transpose()
}
