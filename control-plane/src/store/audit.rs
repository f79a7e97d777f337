//! The audit log: rows are added, never changed.

use serde_json::Value;

use crate::app::Tx;
use crate::domain::audit::Change;
use crate::error::Result;
use crate::ids::{AuditEntryId, TenantId, UserId};

pub async fn insert(
    tx: &mut Tx,
    id: AuditEntryId,
    tenant: Option<TenantId>,
    user: UserId,
    change: &Change<'_>,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<()> {
    sqlx::query!(
        "insert into audit_entry (id, tenant_id, user_id, action, noun, noun_id, before, after, request_id, address)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id.0,
        tenant.map(|tenant| tenant.0),
        user.0,
        change.action,
        change.noun(),
        change.noun_id,
        before,
        after,
        change.origin.request_id,
        change.origin.address,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
