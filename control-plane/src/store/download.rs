//! Links to downloads, by the hash of their token.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::app::Tx;
use crate::error::Result;
use crate::ids::TenantId;

/// As `download_token.parameters` holds them.
#[derive(Debug, Serialize, Deserialize)]
struct Parameters {
    month: String,
}

pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    token_hash: &[u8],
    month: &str,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into download_token (tenant_id, token_hash, document, parameters, expires_at)
         values ($1, $2, 'usage_csv', $3, $4)",
        tenant.0,
        token_hash,
        Json(Parameters { month: month.to_owned() }) as _,
        expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whose it is and which month, to the first who asks in time.
pub async fn spend(
    tx: &mut Tx,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<(TenantId, String)>> {
    let spent = sqlx::query!(
        r#"update download_token set used_at = $2
         where token_hash = $1 and used_at is null and expires_at > $2
         returning tenant_id, parameters as "parameters: Json<Parameters>""#,
        token_hash,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(spent.map(|row| (TenantId(row.tenant_id), row.parameters.0.month)))
}

/// Forgets links that can no longer be used.
pub async fn prune(tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("delete from download_token where expires_at < $1", now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
