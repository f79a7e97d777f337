//! Tenants.

use crate::app::Tx;
use crate::error::{Error, Result};
use crate::ids::TenantId;

/// The tenant's data key, wrapped by the master key.
pub async fn data_key(tx: &mut Tx, tenant: TenantId) -> Result<Vec<u8>> {
    sqlx::query_scalar!("select data_key from tenant where id = $1", tenant.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::NotFound("tenant"))
}

/// The pepper of the tenant's API keys, wrapped by its data key.
pub async fn key_pepper(tx: &mut Tx, tenant: TenantId) -> Result<Vec<u8>> {
    sqlx::query_scalar!("select key_pepper from tenant where id = $1", tenant.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::NotFound("tenant"))
}
