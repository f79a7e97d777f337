//! Routes.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use crate::app::Tx;
use crate::domain::cors::CorsConfiguration;
use crate::domain::page::Page;
use crate::domain::route::{NewRoute, Placed, Route};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ApiId, IntegrationId, ResourceId, RouteId, TenantId};

pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    id: RouteId,
    new: &NewRoute,
    place: &Placed,
    integration: Option<IntegrationId>,
) -> Result<Route> {
    sqlx::query_as!(
        Row,
        r#"insert into route (tenant_id, api_id, id, resource_id, method, path, integration_id,
             api_key_required, operation_name, cors_configuration)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         returning id, api_id, resource_id, method, path, integration_id, api_key_required,
             operation_name, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             created_at, updated_at, revision"#,
        tenant.0,
        api.as_str(),
        id.as_str(),
        place.resource.as_ref().map(ResourceId::as_str),
        new.method,
        place.path,
        integration.as_ref().map(IntegrationId::as_str),
        new.api_key_required,
        new.operation_name,
        new.cors_configuration.as_ref().map(Json) as Option<Json<&CorsConfiguration>>,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("route_key_key", || {
        let param = if place.resource.is_some() { "resourceId" } else { "path" };
        Error::conflict(param, format!("this API has a route {} already", place.key))
    })?
    .try_into()
}

/// Method and path of the Api's route with this operation name, but for `except`.
pub async fn of_operation(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    operation_name: &str,
    except: Option<RouteId>,
) -> Result<Option<(String, String)>> {
    let found = sqlx::query!(
        "select method, path from route
         where tenant_id = $1 and api_id = $2 and operation_name = $3 and ($4::text is null or id <> $4) limit 1",
        tenant.0,
        api.as_str(),
        operation_name,
        except.as_ref().map(RouteId::as_str),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(|row| (row.method, row.path)))
}

pub async fn count(tx: &mut Tx, tenant: TenantId, api: ApiId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from route where tenant_id = $1 and api_id = $2"#,
        tenant.0,
        api.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[RouteId]) -> Result<Vec<Route>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select id, api_id, resource_id, method, path, integration_id, api_key_required,
             operation_name, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             created_at, updated_at, revision
         from route where tenant_id = $1 and id = any($2)"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The routes that lead to an integration.
pub async fn of_integration(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    integration: IntegrationId,
) -> Result<Vec<Route>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, api_id, resource_id, method, path, integration_id, api_key_required,
             operation_name, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             created_at, updated_at, revision
         from route where tenant_id = $1 and api_id = $2 and integration_id = $3
         order by path, method"#,
        tenant.0,
        api.as_str(),
        integration.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The routes on these resources.
pub async fn of_resources(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    resources: &[ResourceId],
) -> Result<Vec<Route>> {
    let resources: Vec<String> = resources.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select id, api_id, resource_id, method, path, integration_id, api_key_required,
             operation_name, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             created_at, updated_at, revision
         from route where tenant_id = $1 and api_id = $2 and resource_id = any($3)
         order by path, method"#,
        tenant.0,
        api.as_str(),
        &resources,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub async fn list(tx: &mut Tx, tenant: TenantId, api: ApiId, page: &Page) -> Result<Vec<Route>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, api_id, resource_id, method, path, integration_id, api_key_required,
             operation_name, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             created_at, updated_at, revision
         from route
         where tenant_id = $1 and api_id = $2
             and ($3::timestamptz is null or (created_at, id) > ($3, $4))
             and ($5::timestamptz is null or (created_at, id) < ($5, $6))
         order by case when $7 then created_at end desc, case when $7 then id end desc,
             created_at, id
         limit $8"#,
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

pub async fn update(tx: &mut Tx, tenant: TenantId, route: &Route) -> Result<Route> {
    sqlx::query_as!(
        Row,
        r#"update route set integration_id = $3, api_key_required = $4, operation_name = $5,
             cors_configuration = $6, updated_at = now()
         where tenant_id = $1 and id = $2
         returning id, api_id, resource_id, method, path, integration_id, api_key_required,
             operation_name, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             created_at, updated_at, revision"#,
        tenant.0,
        route.id.as_str(),
        route.integration.as_ref().map(IntegrationId::as_str),
        route.api_key_required,
        route.operation_name,
        route.cors_configuration.as_ref().map(Json) as Option<Json<&CorsConfiguration>>,
    )
    .fetch_one(&mut **tx)
    .await?
    .try_into()
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: RouteId) -> Result<()> {
    sqlx::query!("delete from route where tenant_id = $1 and id = $2", tenant.0, id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

struct Row {
    id: String,
    api_id: String,
    resource_id: Option<String>,
    method: String,
    path: String,
    integration_id: Option<String>,
    api_key_required: bool,
    operation_name: String,
    cors_configuration: Option<Json<CorsConfiguration>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for Route {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id.parse()?,
            api: row.api_id.parse()?,
            resource: row.resource_id.map(|id| id.parse()).transpose()?,
            method: row.method,
            path: row.path,
            integration: row.integration_id.map(|id| id.parse()).transpose()?,
            api_key_required: row.api_key_required,
            operation_name: row.operation_name,
            cors_configuration: row.cors_configuration.map(|cors| cors.0),
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
