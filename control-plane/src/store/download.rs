//! Links to downloads, by the hash of their token.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::app::Tx;
use crate::domain::download::Document;
use crate::error::{Error, Result};
use crate::ids::TenantId;

pub async fn insert(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    token_hash: &[u8],
    document: &Document,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    // The column `document` has the tag, `parameters` the rest.
    let mut parameters = serde_json::to_value(document).map_err(Error::internal)?;
    let tag = parameters.as_object_mut().and_then(|fields| fields.remove(TAG));
    sqlx::query!(
        "insert into download_token (tenant_id, token_hash, document, parameters, expires_at)
         values ($1, $2, $3, $4, $5)",
        tenant.map(|tenant| tenant.0),
        token_hash,
        tag.as_ref().and_then(Value::as_str).unwrap_or_default(),
        parameters,
        expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whose it is and what, to the first who asks in time.
pub async fn spend(
    tx: &mut Tx,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<(Option<TenantId>, Document)>> {
    let spent = sqlx::query!(
        "update download_token set used_at = $2
         where token_hash = $1 and used_at is null and expires_at > $2
         returning tenant_id, document, parameters",
        token_hash,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    spent
        .map(|row| {
            let mut document = row.parameters;
            if let Some(fields) = document.as_object_mut() {
                fields.insert(TAG.to_owned(), row.document.into());
            }
            let document = serde_json::from_value(document)
                .map_err(|cause| Error::corrupt("download", cause))?;
            Ok((row.tenant_id.map(TenantId), document))
        })
        .transpose()
}

/// Forgets links that can no longer be used.
pub async fn prune(tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("delete from download_token where expires_at < $1", now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What [`Document`] names its variant by.
const TAG: &str = "document";
