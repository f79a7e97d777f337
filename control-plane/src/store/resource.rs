//! Resources. A row holds its own part of the path; its path is read off the rows above it.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::domain::page::Page;
use crate::domain::resource::Resource;
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ApiId, ResourceId, TenantId};

/// The root of a new Api.
pub async fn insert_root(tx: &mut Tx, tenant: TenantId, api: ApiId, id: ResourceId) -> Result<()> {
    sqlx::query!(
        "insert into resource (tenant_id, api_id, id, parent_id, path_part) values ($1, $2, $3, null, '')",
        tenant.0,
        api.as_str(),
        id.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// `path` is the parent's with the part.
pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    id: ResourceId,
    parent: &Resource,
    path_part: &str,
    path: String,
) -> Result<Resource> {
    let created_at = sqlx::query_scalar!(
        "insert into resource (tenant_id, api_id, id, parent_id, path_part)
         values ($1, $2, $3, $4, $5)
         returning created_at",
        tenant.0,
        parent.api.as_str(),
        id.as_str(),
        parent.id.as_str(),
        path_part,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("resource_path_part_key", || {
        Error::conflict("pathPart", format!("this API has a resource {path} already"))
    })?;
    Ok(Resource {
        id,
        api: parent.api,
        parent: Some(parent.id),
        path_part: path_part.to_owned(),
        path,
        created_at,
    })
}

pub async fn count(tx: &mut Tx, tenant: TenantId, api: ApiId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from resource where tenant_id = $1 and api_id = $2"#,
        tenant.0,
        api.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The part of the child that is a variable, of which there is at most one.
pub async fn variable_below(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    parent: ResourceId,
) -> Result<Option<String>> {
    let path_part = sqlx::query_scalar!(
        "select path_part from resource
         where tenant_id = $1 and api_id = $2 and parent_id = $3 and starts_with(path_part, '{')
         limit 1",
        tenant.0,
        api.as_str(),
        parent.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(path_part)
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[ResourceId]) -> Result<Vec<Resource>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"with recursive way (id, next_id, path) as (
             select id, parent_id, '/' || path_part
             from resource where tenant_id = $1 and id = any($2)
             union all
             select way.id, above.parent_id,
                 case when above.parent_id is null then '' else '/' || above.path_part end || way.path
             from way join resource above on above.tenant_id = $1 and above.id = way.next_id
         )
         select r.id, r.api_id, r.parent_id, r.path_part, way.path as "path!", r.created_at
         from resource r join way on way.id = r.id and way.next_id is null
         where r.tenant_id = $1"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub async fn list(tx: &mut Tx, tenant: TenantId, api: ApiId, page: &Page) -> Result<Vec<Resource>> {
    let rows = sqlx::query_as!(
        Row,
        r#"with recursive page as (
             select id, api_id, parent_id, path_part, created_at
             from resource
             where tenant_id = $1 and api_id = $2
                 and ($3::timestamptz is null or (created_at, id) > ($3, $4))
                 and ($5::timestamptz is null or (created_at, id) < ($5, $6))
             order by case when $7 then created_at end desc, case when $7 then id end desc,
                 created_at, id
             limit $8
         ), way (id, next_id, path) as (
             select id, parent_id, '/' || path_part from page
             union all
             select way.id, above.parent_id,
                 case when above.parent_id is null then '' else '/' || above.path_part end || way.path
             from way join resource above on above.tenant_id = $1 and above.id = way.next_id
         )
         select page.id, page.api_id, page.parent_id, page.path_part, way.path as "path!",
             page.created_at
         from page join way on way.id = page.id and way.next_id is null
         order by case when $7 then page.created_at end desc, case when $7 then page.id end desc,
             page.created_at, page.id"#,
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

/// The resource and all below it, by path.
pub async fn subtree(tx: &mut Tx, tenant: TenantId, id: ResourceId) -> Result<Vec<Resource>> {
    let ids = sqlx::query_scalar!(
        r#"with recursive tree (id) as (
             select id from resource where tenant_id = $1 and id = $2
             union all
             select child.id from tree
             join resource child on child.tenant_id = $1 and child.parent_id = tree.id
         )
         select id as "id!" from tree"#,
        tenant.0,
        id.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    let ids = ids.iter().map(|id| id.parse()).collect::<Result<Vec<ResourceId>, _>>()?;
    let mut tree = find(tx, tenant, &ids).await?;
    tree.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(tree)
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, ids: &[ResourceId]) -> Result<()> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    sqlx::query!("delete from resource where tenant_id = $1 and id = any($2)", tenant.0, &ids)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

struct Row {
    id: String,
    api_id: String,
    parent_id: Option<String>,
    path_part: String,
    path: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Resource {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id.parse()?,
            api: row.api_id.parse()?,
            parent: row.parent_id.map(|id| id.parse()).transpose()?,
            path_part: row.path_part,
            path: row.path,
            created_at: row.created_at,
        })
    }
}
