//! The chains of audit logs. Only the database writes links.

use uuid::Uuid;

use crate::app::Tx;
use crate::domain::audit_chain::{Chain, Head, Linked, Seal};
use crate::error::{Error, Result};
use crate::ids::{AuditEntryId, TenantId};

/// A chain by its tenant; the installation's own has no tenant, and zeros for an id.
pub(super) fn chain_id(tenant: Option<TenantId>) -> Uuid {
    tenant.map_or(Uuid::nil(), |tenant| tenant.0)
}

/// None where nothing was ever written.
pub async fn get(tx: &mut Tx, tenant: Option<TenantId>) -> Result<Option<Chain>> {
    let row = sqlx::query!(
        "select sequence, hash, sealed_sequence, seal from audit_chain where id = $1",
        chain_id(tenant),
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        let head = head(row.sequence, &row.hash)?;
        let sequence = unsigned(row.sealed_sequence)?;
        Ok(Chain { head, seal: row.seal.map(|signature| Seal { sequence, signature }) })
    })
    .transpose()
}

/// The tenants that have a chain.
pub async fn tenants(tx: &mut Tx) -> Result<Vec<TenantId>> {
    let ids = sqlx::query_scalar!(
        r#"select tenant_id as "tenant_id!" from audit_chain where tenant_id is not null order by tenant_id"#
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(TenantId).collect())
}

/// At most `limit` links after `after`, in order, each with its entry's text made anew. The text is the one of
/// the function `audit_entry_text`, written again here so that the check does not trust the database's copy.
pub async fn links(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    after: u64,
    until: Option<u64>,
    limit: i64,
) -> Result<Vec<Linked>> {
    let rows = sqlx::query!(
        r#"select link.sequence, link.entry_id, previous_hash, hash, created_at as "created_at?",
             case when entry.id is not null then jsonb_build_object(
                 'sequence', link.sequence, 'id', entry.id, 'tenantId', entry.tenant_id, 'userId', entry.user_id,
                 'action', entry.action, 'noun', entry.noun, 'nounId', entry.noun_id,
                 'before', entry.before, 'after', entry.after,
                 'requestId', entry.request_id, 'address', entry.address,
                 'createdAt', to_char(entry.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
             )::text end as "text?"
         from audit_link link left join audit_entry entry on entry.id = link.entry_id
         where chain = $1 and link.sequence > $2 and ($3::bigint is null or link.sequence <= $3)
         order by link.sequence limit $4"#,
        chain_id(tenant),
        signed(after)?,
        until.map(signed).transpose()?,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Linked {
                sequence: unsigned(row.sequence)?,
                entry: AuditEntryId(row.entry_id),
                previous_hash: row.previous_hash,
                hash: row.hash,
                text: row.text,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// An entry of the chain that no link of it knows.
pub async fn unlinked(tx: &mut Tx, tenant: Option<TenantId>) -> Result<Option<AuditEntryId>> {
    let id = sqlx::query_scalar!(
        "select id from audit_entry entry
         where coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) = $1
             and not exists (select from audit_link where entry_id = entry.id and chain = $1)
         order by id limit 1",
        chain_id(tenant),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(AuditEntryId))
}

/// At most `limit` chains that grew since they were sealed, locked; those that another replica seals right now
/// are left to it.
pub async fn unsealed(tx: &mut Tx, limit: i64) -> Result<Vec<(Option<TenantId>, Head)>> {
    let rows = sqlx::query!(
        "select tenant_id, sequence, hash from audit_chain where sequence > sealed_sequence
         order by id limit $1 for no key update skip locked",
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.tenant_id.map(TenantId), head(row.sequence, &row.hash)?)))
        .collect()
}

pub async fn seal(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    head: Head,
    signature: &[u8],
) -> Result<()> {
    sqlx::query!(
        "update audit_chain set sealed_sequence = $2, seal = $3 where id = $1",
        chain_id(tenant),
        signed(head.sequence)?,
        signature,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn head(sequence: i64, hash: &[u8]) -> Result<Head> {
    let hash = hash.try_into().map_err(|cause| Error::corrupt("audit chain", cause))?;
    Ok(Head { sequence: unsigned(sequence)?, hash })
}

fn unsigned(sequence: i64) -> Result<u64> {
    u64::try_from(sequence).map_err(|cause| Error::corrupt("audit sequence", cause))
}

fn signed(sequence: u64) -> Result<i64> {
    i64::try_from(sequence).map_err(|cause| Error::corrupt("audit sequence", cause))
}
