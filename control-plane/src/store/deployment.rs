//! Deployments, and how far nodes are with them.

use chrono::{DateTime, Utc};

use crate::access::actor::Actor;
use crate::app::Tx;
use crate::domain::deployment::Deployment;
use crate::domain::page::Page;
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ApiId, DeploymentId, TenantId};
use crate::snapshot::document::Document;

pub async fn insert(
    tx: &mut Tx,
    actor: &Actor,
    api: ApiId,
    id: DeploymentId,
    description: &str,
    auto_deployed: bool,
    document: &Document,
) -> Result<Deployment> {
    sqlx::query_as!(
        Row,
        "insert into deployment (tenant_id, api_id, id, description, document, digest, created_by, auto_deployed)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         returning id, api_id, description, label, pinned, auto_deployed, digest, version, created_at,
             updated_at, revision",
        actor.tenant.0,
        api.as_str(),
        id.as_str(),
        description,
        document.bytes,
        &document.digest(),
        actor.user.0,
        auto_deployed,
    )
    .fetch_one(&mut **tx)
    .await?
    .try_into()
}

/// The frozen document.
pub async fn document(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    id: DeploymentId,
) -> Result<Vec<u8>> {
    sqlx::query_scalar!(
        "select document from deployment where tenant_id = $1 and api_id = $2 and id = $3",
        tenant.0,
        api.as_str(),
        id.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or(Error::NotFound("deployment"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[DeploymentId]) -> Result<Vec<Deployment>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        "select id, api_id, description, label, pinned, auto_deployed, digest, version, created_at,
             updated_at, revision
         from deployment where tenant_id = $1 and id = any($2)",
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    page: &Page,
) -> Result<Vec<Deployment>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, api_id, description, label, pinned, auto_deployed, digest, version, created_at,
             updated_at, revision
         from deployment
         where tenant_id = $1 and api_id = $2
             and ($3::timestamptz is null or (created_at, id) < ($3, $4))
             and ($5::timestamptz is null or (created_at, id) > ($5, $6))
         order by case when $7 then created_at end, case when $7 then id end,
             created_at desc, id desc
         limit $8",
        tenant.0,
        api.as_str(),
        page.after_at(),
        page.after_id(),
        page.before_at(),
        page.before_id(),
        page.backward(),
        page.rows_max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The one that was made before it, if that is still there.
pub async fn before(
    tx: &mut Tx,
    tenant: TenantId,
    deployment: &Deployment,
) -> Result<Option<DeploymentId>> {
    let id = sqlx::query_scalar!(
        "select id from deployment
         where tenant_id = $1 and api_id = $2 and (created_at, id) < ($3, $4)
         order by created_at desc, id desc limit 1",
        tenant.0,
        deployment.api.as_str(),
        deployment.created_at,
        deployment.id.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(|id| id.parse()).transpose()?)
}

pub async fn count(tx: &mut Tx, tenant: TenantId, api: ApiId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from deployment where tenant_id = $1 and api_id = $2"#,
        tenant.0,
        api.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Deletes at most `most` deployments that nobody pinned and no stage points at, the oldest; answers which.
pub async fn delete_oldest_unused(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    most: u32,
) -> Result<Vec<Deployment>> {
    let rows = sqlx::query_as!(
        Row,
        "delete from deployment where tenant_id = $1 and api_id = $2 and id in (
             select d.id from deployment d
             where d.tenant_id = $1 and d.api_id = $2 and not d.pinned and not exists (
                 select 1 from stage s
                 where s.tenant_id = $1 and s.api_id = $2
                     and d.id in (s.deployment_id, s.canary_deployment_id)
             )
             order by d.created_at, d.id limit $3
         )
         returning id, api_id, description, label, pinned, auto_deployed, digest, version, created_at,
             updated_at, revision",
        tenant.0,
        api.as_str(),
        i64::from(most),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// What is told of it beside what it is; the deployment as it now is.
pub async fn update(tx: &mut Tx, tenant: TenantId, deployment: &Deployment) -> Result<Deployment> {
    sqlx::query_as!(
        Row,
        "update deployment set description = $3, label = $4, pinned = $5, updated_at = now()
         where tenant_id = $1 and id = $2
         returning id, api_id, description, label, pinned, auto_deployed, digest, version, created_at,
             updated_at, revision",
        tenant.0,
        deployment.id.as_str(),
        deployment.description,
        deployment.label,
        deployment.pinned,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("deployment_label_key", || {
        let label = deployment.label.as_deref().unwrap_or_default();
        Error::conflict("label", format!("another deployment of this API has the label {label}"))
    })?
    .try_into()
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: DeploymentId) -> Result<()> {
    sqlx::query!("delete from deployment where tenant_id = $1 and id = $2", tenant.0, id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A stage that points at it, or whose canary does, by name.
pub async fn stage_on(
    tx: &mut Tx,
    tenant: TenantId,
    deployment: &Deployment,
) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        "select name from stage
         where tenant_id = $1 and api_id = $2 and $3 in (deployment_id, canary_deployment_id)
         order by name limit 1",
        tenant.0,
        deployment.api.as_str(),
        deployment.id.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Whether a stage points at it, or its canary does.
pub async fn in_use(tx: &mut Tx, tenant: TenantId, api: ApiId, id: DeploymentId) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (
             select 1 from stage
             where tenant_id = $1 and api_id = $2 and $3 in (deployment_id, canary_deployment_id)
         ) as "in_use!""#,
        tenant.0,
        api.as_str(),
        id.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// The version that brought it to nodes, which is about to be committed.
pub async fn set_version(tx: &mut Tx, id: DeploymentId, version: u64) -> Result<()> {
    let version = i64::try_from(version).map_err(|cause| Error::corrupt("cell version", cause))?;
    sqlx::query!(
        "update deployment set version = $2, published_at = clock_timestamp() where id = $1",
        id.as_str(),
        version,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

struct Row {
    id: String,
    api_id: String,
    description: String,
    label: Option<String>,
    pinned: bool,
    auto_deployed: bool,
    digest: Vec<u8>,
    version: Option<i64>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for Deployment {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let version = row.version.map(u64::try_from).transpose();
        Ok(Self {
            id: row.id.parse()?,
            api: row.api_id.parse()?,
            description: row.description,
            label: row.label,
            pinned: row.pinned,
            auto_deployed: row.auto_deployed,
            digest: hex::encode(row.digest),
            version: version.map_err(|cause| Error::corrupt("deployment version", cause))?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
