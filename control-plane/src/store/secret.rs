//! Secrets, wrapped, and what deployments need them for.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::page::Page;
use crate::domain::secret::{Secret, SecretKind, SecretUse};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ApiId, DeploymentId, SecretId, TenantId};

pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    id: SecretId,
    name: &str,
    kind: SecretKind,
    value: &[u8],
    derived_for: NaiveDate,
) -> Result<Secret> {
    sqlx::query_as!(
        Row,
        "insert into secret (tenant_id, id, name, kind, value, derived_for) values ($1, $2, $3, $4, $5, $6)
         returning id, name, kind, value_updated_at, created_at, updated_at, revision",
        tenant.0,
        id.0,
        name,
        kind.as_str(),
        value,
        derived_for,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("secret_name_key", || named(name))?
    .try_into()
}

pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from secret where tenant_id = $1"#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[SecretId]) -> Result<Vec<Secret>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        "select id, name, kind, value_updated_at, created_at, updated_at, revision from secret
         where tenant_id = $1 and id = any($2)",
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Locks the secret, so that it stays as it is until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: SecretId) -> Result<Secret> {
    let row = sqlx::query_as!(
        Row,
        "select id, name, kind, value_updated_at, created_at, updated_at, revision from secret
         where tenant_id = $1 and id = $2 for update",
        tenant.0,
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.ok_or(Error::NotFound("secret"))?.try_into()
}

/// Oldest first, or from the end where the page says so.
pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<Secret>> {
    macro_rules! ordered {
        ($order:literal) => {
            sqlx::query_as!(
                Row,
                "select id, name, kind, value_updated_at, created_at, updated_at, revision from secret
                 where tenant_id = $1
                   and ($2::timestamptz is null or (created_at, id) > ($2, $3))
                   and ($4::timestamptz is null or (created_at, id) < ($4, $5))
                 order by "
                    + $order
                    + " limit $6",
                tenant.0,
                page.after_at(),
                page.after_uuid()?,
                page.before_at(),
                page.before_uuid()?,
                page.rows_max(),
            )
            .fetch_all(&mut **tx)
            .await?
        };
    }
    let rows = if page.backward() {
        ordered!("created_at desc, id desc")
    } else {
        ordered!("created_at, id")
    };
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Without a value it stays as it is.
pub async fn update(
    tx: &mut Tx,
    tenant: TenantId,
    id: SecretId,
    name: &str,
    value: Option<&[u8]>,
) -> Result<Secret> {
    sqlx::query_as!(
        Row,
        "update secret set name = $3, value = coalesce($4, value), updated_at = now(),
             value_updated_at = case when $4::bytea is null then value_updated_at else now() end
         where tenant_id = $1 and id = $2
         returning id, name, kind, value_updated_at, created_at, updated_at, revision",
        tenant.0,
        id.0,
        name,
        value,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("secret_name_key", || named(name))?
    .try_into()
}

/// Nodes get keys from this day on. False where they had them already.
pub async fn derive_for(
    tx: &mut Tx,
    tenant: TenantId,
    id: SecretId,
    day: NaiveDate,
) -> Result<bool> {
    let changed = sqlx::query!(
        "update secret set derived_for = $3 where tenant_id = $1 and id = $2 and derived_for < $3",
        tenant.0,
        id.0,
        day,
    )
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Of any tenant, those that deployments sign with and whose keys begin before this day.
pub async fn due(tx: &mut Tx, day: NaiveDate, most: i64) -> Result<Vec<(TenantId, SecretId)>> {
    let rows = sqlx::query!(
        "select tenant_id, id from secret s
         where kind = 'AWS_CREDENTIALS' and derived_for < $1
             and exists (select 1 from secret_use u where u.tenant_id = s.tenant_id and u.secret_id = s.id)
         order by derived_for, id limit $2",
        day,
        most,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (TenantId(row.tenant_id), SecretId(row.id))).collect())
}

pub async fn insert_use(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    deployment: DeploymentId,
    used: &SecretUse,
) -> Result<()> {
    let scope = used.scope.as_ref();
    sqlx::query!(
        "insert into secret_use (tenant_id, secret_id, api_id, deployment_id, region, service)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        tenant.0,
        used.secret.0,
        api.as_str(),
        deployment.as_str(),
        scope.map_or("", |scope| &scope.region),
        scope.map_or("", |scope| &scope.service),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Who holds the secret: an integration that names it, or a stage on a deployment that needs it.
pub async fn user_of(tx: &mut Tx, tenant: TenantId, id: SecretId) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        r#"select 'the integration ' || i.id || ' of the API ' || i.api_id as "user!"
         from integration i where i.tenant_id = $1 and i.secret_id = $2
         union all
         select 'the stage ' || s.name || ' of the API ' || s.api_id
         from secret_use u join stage s
             on s.tenant_id = u.tenant_id and s.api_id = u.api_id
                 and u.deployment_id in (s.deployment_id, s.canary_deployment_id)
         where u.tenant_id = $1 and u.secret_id = $2
         limit 1"#,
        tenant.0,
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?)
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: SecretId) -> Result<()> {
    sqlx::query!("delete from secret where tenant_id = $1 and id = $2", tenant.0, id.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn named(name: &str) -> Error {
    Error::conflict("name", format!("a secret named {name} exists"))
}

struct Row {
    id: Uuid,
    name: String,
    kind: String,
    value_updated_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for Secret {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: SecretId(row.id),
            name: row.name,
            kind: SecretKind::ALL
                .into_iter()
                .find(|kind| kind.as_str() == row.kind)
                .ok_or_else(|| Error::corrupt("kind of a secret", row.kind))?,
            value_updated_at: row.value_updated_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
