//! VPC links, and which deployments need them.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use crate::app::Tx;
use crate::domain::page::Page;
use crate::domain::vpc_link::{Balancing, NewVpcLink, VpcLink, VpcLinkStatus};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ApiId, DeploymentId, TenantId, VpcLinkId};

pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    id: VpcLinkId,
    new: &NewVpcLink,
) -> Result<VpcLink> {
    sqlx::query_as!(
        Row,
        r#"insert into vpc_link (tenant_id, id, name, description, balancing) values ($1, $2, $3, $4, $5)
         returning id, name, description, status, balancing as "balancing: Json<Balancing>", created_at,
             updated_at, revision"#,
        tenant.0,
        id.as_str(),
        new.name,
        new.description,
        Json(&new.balancing) as _,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("vpc_link_name_key", || named(&new.name))?
    .try_into()
}

pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from vpc_link where tenant_id = $1"#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[VpcLinkId]) -> Result<Vec<VpcLink>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, description, status, balancing as "balancing: Json<Balancing>", created_at,
             updated_at, revision
         from vpc_link where tenant_id = $1 and id = any($2)"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Locks the link, so that it stays as it is until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: VpcLinkId) -> Result<VpcLink> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, name, description, status, balancing as "balancing: Json<Balancing>", created_at,
             updated_at, revision
         from vpc_link where tenant_id = $1 and id = $2 for update"#,
        tenant.0,
        id.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.ok_or(Error::NotFound("VPC link"))?.try_into()
}

/// Oldest first, or from the end where the page says so.
pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<VpcLink>> {
    macro_rules! ordered {
        ($order:literal) => {
            sqlx::query_as!(
                Row,
                r#"select id, name, description, status, balancing as "balancing: Json<Balancing>", created_at,
                     updated_at, revision
                 from vpc_link
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
    id: VpcLinkId,
    after: &NewVpcLink,
) -> Result<VpcLink> {
    sqlx::query_as!(
        Row,
        r#"update vpc_link set name = $3, description = $4, balancing = $5, updated_at = now()
         where tenant_id = $1 and id = $2
         returning id, name, description, status, balancing as "balancing: Json<Balancing>", created_at,
             updated_at, revision"#,
        tenant.0,
        id.as_str(),
        after.name,
        after.description,
        Json(&after.balancing) as _,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("vpc_link_name_key", || named(&after.name))?
    .try_into()
}

pub async fn insert_use(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    deployment: DeploymentId,
    id: VpcLinkId,
) -> Result<()> {
    sqlx::query!(
        "insert into vpc_link_use (tenant_id, vpc_link_id, api_id, deployment_id) values ($1, $2, $3, $4)
         on conflict do nothing",
        tenant.0,
        id.as_str(),
        api.as_str(),
        deployment.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Who holds the link: an integration that names it, or a stage on a deployment that needs it.
pub async fn user_of(tx: &mut Tx, tenant: TenantId, id: VpcLinkId) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        r#"select 'the integration ' || i.id || ' of the API ' || i.api_id as "user!"
         from integration i where i.tenant_id = $1 and i.vpc_link_id = $2
         union all
         select 'the stage ' || s.name || ' of the API ' || s.api_id
         from vpc_link_use u join stage s
             on s.tenant_id = u.tenant_id and s.api_id = u.api_id
                 and u.deployment_id in (s.deployment_id, s.canary_deployment_id)
         where u.tenant_id = $1 and u.vpc_link_id = $2
         limit 1"#,
        tenant.0,
        id.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?)
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: VpcLinkId) -> Result<()> {
    sqlx::query!("delete from vpc_link where tenant_id = $1 and id = $2", tenant.0, id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn named(name: &str) -> Error {
    Error::conflict("name", format!("a VPC link named {name} exists"))
}

struct Row {
    id: String,
    name: String,
    description: String,
    status: String,
    balancing: Json<Balancing>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for VpcLink {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id.parse()?,
            name: row.name,
            description: row.description,
            status: VpcLinkStatus::ALL
                .into_iter()
                .find(|status| status.as_str() == row.status)
                .ok_or_else(|| Error::corrupt("status of a VPC link", row.status))?,
            balancing: row.balancing.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
