//! API keys and the plans that they are on. Their digests are written here and never read: nodes get them
//! through `snapshot`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::api_key::{ApiKey, KeyMode};
use crate::domain::page::Page;
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ApiKeyId, ConsumerId, TenantId, UsagePlanId};

/// Every query that gives whole keys: `select!("where …", "order by …"; arguments)`.
macro_rules! select {
    ($($tail:literal),+; $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select k.id, k.name, k.description, k.hint, k.mode, k.enabled, k.consumer_id, k.expires_at,
                 k.previous_hint, k.overlap_ends_at, k.client_networks, k.origins,
                 (select u.last_used_at from api_key_use u
                     where u.tenant_id = k.tenant_id and u.api_key_id = k.id) as last_used_at,
                 k.created_at, k.updated_at, k.revision,
                 array(select p.usage_plan_id from usage_plan_key p
                     where p.tenant_id = k.tenant_id and p.api_key_id = k.id
                     order by p.usage_plan_id) as "usage_plan_ids!"
             from api_key k "# $(+ $tail)+,
            $($argument),*
        )
    };
}

/// Inserts the key itself, without its plans.
pub async fn insert(tx: &mut Tx, tenant: TenantId, key: &ApiKey, digest: &[u8; 32]) -> Result<()> {
    sqlx::query!(
        "insert into api_key (tenant_id, id, name, description, digest, hint, mode, enabled, consumer_id, expires_at,
             client_networks, origins)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        tenant.0,
        key.id.as_str(),
        key.name,
        key.description,
        digest.as_slice(),
        key.hint,
        key.mode.as_str(),
        key.enabled,
        key.consumer_id.map(|id| id.0),
        key.expires_at,
        &networks(key),
        &key.origins,
    )
    .execute(&mut **tx)
    .await
    .on_constraint("api_key_digest_key", || {
        Error::conflict("value", "another API key has this value")
    })
    .on_constraint("api_key_consumer_fkey", || Error::NotFound("consumer"))?;
    Ok(())
}

/// Writes the key itself, without its plans and its values. Its mode is for life.
pub async fn update(tx: &mut Tx, tenant: TenantId, key: &ApiKey) -> Result<()> {
    sqlx::query!(
        "update api_key
         set name = $3, description = $4, enabled = $5, consumer_id = $6, expires_at = $7, client_networks = $8,
             origins = $9, updated_at = now()
         where tenant_id = $1 and id = $2",
        tenant.0,
        key.id.as_str(),
        key.name,
        key.description,
        key.enabled,
        key.consumer_id.map(|id| id.0),
        key.expires_at,
        &networks(key),
        &key.origins,
    )
    .execute(&mut **tx)
    .await
    .on_constraint("api_key_consumer_fkey", || Error::NotFound("consumer"))?;
    Ok(())
}

/// Puts another value in the place of the present one, which is kept as the one before for as long as it overlaps.
pub async fn rotate(
    tx: &mut Tx,
    tenant: TenantId,
    id: ApiKeyId,
    digest: &[u8; 32],
    hint: &str,
    overlap_ends_at: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query!(
        "update api_key
         set digest = $3, hint = $4, overlap_ends_at = $5,
             previous_digest = case when $5::timestamptz is null then null else digest end,
             previous_hint = case when $5::timestamptz is null then null else hint end, updated_at = now()
         where tenant_id = $1 and id = $2",
        tenant.0,
        id.as_str(),
        digest.as_slice(),
        hint,
        overlap_ends_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets the value before the present one.
pub async fn end_overlap(tx: &mut Tx, tenant: TenantId, id: ApiKeyId) -> Result<()> {
    sqlx::query!(
        "update api_key
         set previous_digest = null, previous_hint = null, overlap_ends_at = null, updated_at = now()
         where tenant_id = $1 and id = $2",
        tenant.0,
        id.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Which key of the tenant had the value with this digest before its last rotation.
pub async fn previous(tx: &mut Tx, tenant: TenantId, digest: &[u8; 32]) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        "select id from api_key where tenant_id = $1 and previous_digest = $2 limit 1",
        tenant.0,
        digest.as_slice(),
    )
    .fetch_optional(&mut **tx)
    .await?)
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: ApiKeyId) -> Result<()> {
    sqlx::query!(
        "delete from api_key_use where tenant_id = $1 and api_key_id = $2",
        tenant.0,
        id.as_str()
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("delete from api_key where tenant_id = $1 and id = $2", tenant.0, id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Locks the key, if it is the tenant's, until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: ApiKeyId) -> Result<()> {
    sqlx::query_scalar!(
        "select id from api_key where tenant_id = $1 and id = $2 for update",
        tenant.0,
        id.as_str()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(())
}

pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from api_key where tenant_id = $1"#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[ApiKeyId]) -> Result<Vec<ApiKey>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = select!("where k.tenant_id = $1 and k.id = any($2)"; tenant.0, &ids)
        .fetch_all(&mut **tx)
        .await?;
    rows.into_iter().map(ApiKey::try_from).collect()
}

/// All, or those on one plan; oldest first, or from the end where the page says so.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    plan: Option<UsagePlanId>,
    page: &Page,
) -> Result<Vec<ApiKey>> {
    macro_rules! ordered {
        ($order:literal) => {
            select!(
                "where k.tenant_id = $1
                   and ($2::timestamptz is null or (k.created_at, k.id) > ($2, $3))
                   and ($4::timestamptz is null or (k.created_at, k.id) < ($4, $5))
                   and ($7::text is null or exists (
                     select from usage_plan_key p where p.usage_plan_id = $7 and p.api_key_id = k.id
                   ))
                 order by ", $order, " limit $6";
                tenant.0,
                page.after_at(),
                page.after_id(),
                page.before_at(),
                page.before_id(),
                page.rows_max(),
                plan.as_ref().map(UsagePlanId::as_str),
            )
            .fetch_all(&mut **tx)
            .await?
        };
    }
    let rows = if page.backward() {
        ordered!("k.created_at desc, k.id desc")
    } else {
        ordered!("k.created_at, k.id")
    };
    rows.into_iter().map(ApiKey::try_from).collect()
}

/// Puts the key on exactly these plans. A plan left frees the key's stages there.
pub async fn set_plans(
    tx: &mut Tx,
    tenant: TenantId,
    id: ApiKeyId,
    plans: &[UsagePlanId],
) -> Result<()> {
    let plans: Vec<String> = plans.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "delete from usage_plan_key
         where tenant_id = $1 and api_key_id = $2 and usage_plan_id <> all($3)",
        tenant.0,
        id.as_str(),
        &plans,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "insert into usage_plan_key (tenant_id, api_key_id, usage_plan_id)
         select $1, $2, unnest($3::text[]) on conflict do nothing",
        tenant.0,
        id.as_str(),
        &plans,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn networks(key: &ApiKey) -> Vec<String> {
    key.client_networks.iter().map(ToString::to_string).collect()
}

struct Row {
    id: String,
    name: String,
    description: String,
    hint: String,
    mode: String,
    enabled: bool,
    consumer_id: Option<Uuid>,
    usage_plan_ids: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    previous_hint: Option<String>,
    overlap_ends_at: Option<DateTime<Utc>>,
    client_networks: Vec<String>,
    origins: Vec<String>,
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for ApiKey {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let plans = row.usage_plan_ids.into_iter().map(UsagePlanId::try_from);
        let network =
            |text: &String| text.parse().map_err(|cause| Error::corrupt("client network", cause));
        Ok(Self {
            id: row.id.parse()?,
            name: row.name,
            description: row.description,
            hint: row.hint,
            mode: KeyMode::try_from(row.mode.as_str())?,
            enabled: row.enabled,
            consumer_id: row.consumer_id.map(ConsumerId),
            usage_plan_ids: plans.collect::<std::result::Result<_, _>>()?,
            expires_at: row.expires_at,
            previous_hint: row.previous_hint,
            overlap_ends_at: row.overlap_ends_at,
            client_networks: row.client_networks.iter().map(network).collect::<Result<_>>()?,
            origins: row.origins,
            last_used_at: row.last_used_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
