//! Client certificates, their private keys wrapped, and which deployments need them.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use crate::app::Tx;
use crate::domain::client_certificate::{ClientCertificate, ClientCertificateOrigin, Kept};
use crate::domain::page::Page;
use crate::domain::tags::Tags;
use crate::error::{Error, Result};
use crate::ids::{ApiId, ClientCertificateId, DeploymentId, TenantId};

pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    id: ClientCertificateId,
    kept: &Kept,
) -> Result<ClientCertificate> {
    sqlx::query!(
        "insert into client_certificate (tenant_id, id, description, origin, chain, private_key, expires_at, tags)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant.0,
        id.as_str(),
        kept.description,
        kept.origin.as_str(),
        kept.chain,
        kept.private_key,
        kept.expires_at,
        Json(&kept.tags) as Json<&Tags>,
    )
    .execute(&mut **tx)
    .await?;
    get(tx, tenant, id).await
}

pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from client_certificate where tenant_id = $1"#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

async fn get(tx: &mut Tx, tenant: TenantId, id: ClientCertificateId) -> Result<ClientCertificate> {
    find(tx, tenant, &[id]).await?.pop().ok_or(Error::NotFound("client certificate"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    ids: &[ClientCertificateId],
) -> Result<Vec<ClientCertificate>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select id, description, origin, chain, expires_at, tags as "tags: Json<Tags>", created_at, updated_at,
             revision
         from client_certificate where tenant_id = $1 and id = any($2)"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Locks the certificate, so that it stays as it is until the transaction ends.
pub async fn lock(
    tx: &mut Tx,
    tenant: TenantId,
    id: ClientCertificateId,
) -> Result<ClientCertificate> {
    sqlx::query!(
        "select id from client_certificate where tenant_id = $1 and id = $2 for update",
        tenant.0,
        id.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    get(tx, tenant, id).await
}

/// Oldest first, or from the end where the page says so.
pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<ClientCertificate>> {
    macro_rules! ordered {
        ($order:literal) => {
            sqlx::query_as!(
                Row,
                r#"select id, description, origin, chain, expires_at, tags as "tags: Json<Tags>", created_at,
                     updated_at, revision
                 from client_certificate
                 where tenant_id = $1
                   and ($2::timestamptz is null or (created_at, id) > ($2, $3))
                   and ($4::timestamptz is null or (created_at, id) < ($4, $5))
                 order by "#
                    + $order
                    + " limit $6",
                tenant.0,
                page.after_at(),
                page.after_id(),
                page.before_at(),
                page.before_id(),
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

pub async fn update(
    tx: &mut Tx,
    tenant: TenantId,
    id: ClientCertificateId,
    description: &str,
    tags: &Tags,
) -> Result<ClientCertificate> {
    sqlx::query!(
        "update client_certificate set description = $3, tags = $4, updated_at = now()
         where tenant_id = $1 and id = $2",
        tenant.0,
        id.as_str(),
        description,
        Json(tags) as Json<&Tags>,
    )
    .execute(&mut **tx)
    .await?;
    get(tx, tenant, id).await
}

pub async fn insert_use(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    deployment: DeploymentId,
    id: ClientCertificateId,
) -> Result<()> {
    sqlx::query!(
        "insert into client_certificate_use (tenant_id, client_certificate_id, api_id, deployment_id)
         values ($1, $2, $3, $4) on conflict do nothing",
        tenant.0,
        id.as_str(),
        api.as_str(),
        deployment.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Who holds the certificate: a stage or an integration that names it, or a stage on a deployment that needs it.
pub async fn user_of(
    tx: &mut Tx,
    tenant: TenantId,
    id: ClientCertificateId,
) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        r#"select 'the stage ' || s.name || ' of the API ' || s.api_id as "user!"
         from stage s where s.tenant_id = $1 and s.shown_certificate_id = $2
         union all
         select 'the integration ' || i.id || ' of the API ' || i.api_id
         from integration i where i.tenant_id = $1 and i.shown_certificate_id = $2
         union all
         select 'the stage ' || s.name || ' of the API ' || s.api_id
         from client_certificate_use u join stage s
             on s.tenant_id = u.tenant_id and s.api_id = u.api_id
                 and u.deployment_id in (s.deployment_id, s.canary_deployment_id)
         where u.tenant_id = $1 and u.client_certificate_id = $2
         limit 1"#,
        tenant.0,
        id.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?)
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: ClientCertificateId) -> Result<()> {
    sqlx::query!(
        "delete from client_certificate where tenant_id = $1 and id = $2",
        tenant.0,
        id.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

struct Row {
    id: String,
    description: String,
    origin: String,
    chain: String,
    expires_at: DateTime<Utc>,
    tags: Json<Tags>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for ClientCertificate {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id.parse()?,
            description: row.description,
            origin: ClientCertificateOrigin::ALL
                .into_iter()
                .find(|origin| origin.as_str() == row.origin)
                .ok_or_else(|| Error::corrupt("origin of a client certificate", row.origin))?,
            pem_encoded_certificate: row.chain,
            expiration_date: row.expires_at,
            tags: row.tags.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
