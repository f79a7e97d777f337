//! Apis.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use crate::app::Tx;
use crate::domain::api::{Api, NewApi};
use crate::domain::cors::CorsConfiguration;
use crate::domain::page::Page;
use crate::domain::paths::{PathNormalization, TrailingSlash};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ApiId, TenantId};

pub async fn insert(tx: &mut Tx, tenant: TenantId, id: ApiId, new: &NewApi) -> Result<Api> {
    sqlx::query_as!(
        Row,
        r#"insert into api (tenant_id, id, name, description, protocol, dialect, api_key_locations,
             trailing_slash, path_normalization, method_override, cors_configuration,
             minimum_compression_size, decompress_requests, binary_media_types)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         returning id, name, description, protocol, dialect, api_key_locations, trailing_slash,
             path_normalization, method_override, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             minimum_compression_size, decompress_requests, binary_media_types, created_at, updated_at, revision"#,
        tenant.0,
        id.as_str(),
        new.name,
        new.description,
        new.protocol.as_str(),
        new.dialect.as_str(),
        &new.api_key_locations,
        or_dialects(new.trailing_slash.map(TrailingSlash::as_str)),
        or_dialects(new.path_normalization.map(PathNormalization::as_str)),
        new.method_override,
        new.cors_configuration.as_ref().map(Json) as Option<Json<&CorsConfiguration>>,
        bytes(new.minimum_compression_size),
        new.decompress_requests,
        &new.binary_media_types,
    )
    .fetch_one(&mut **tx)
    .await?
    .try_into()
}

pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from api where tenant_id = $1"#,
        tenant.0
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[ApiId]) -> Result<Vec<Api>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, description, protocol, dialect, api_key_locations, trailing_slash,
             path_normalization, method_override, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             minimum_compression_size, decompress_requests, binary_media_types, created_at, updated_at, revision
         from api where tenant_id = $1 and id = any($2)"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The Api, whose draft and stages nobody else changes until this transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: ApiId) -> Result<Api> {
    sqlx::query_as!(
        Row,
        r#"select id, name, description, protocol, dialect, api_key_locations, trailing_slash,
             path_normalization, method_override, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             minimum_compression_size, decompress_requests, binary_media_types, created_at, updated_at, revision
         from api where tenant_id = $1 and id = $2 for no key update"#,
        tenant.0,
        id.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or(Error::NotFound("api"))?
    .try_into()
}

/// An error unless the Api is the tenant's.
pub async fn must_exist(tx: &mut Tx, tenant: TenantId, id: ApiId) -> Result<()> {
    sqlx::query!("select id from api where tenant_id = $1 and id = $2", tenant.0, id.as_str())
        .fetch_optional(&mut **tx)
        .await?
        .map(|_| ())
        .ok_or(Error::NotFound("api"))
}

pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<Api>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, description, protocol, dialect, api_key_locations, trailing_slash,
             path_normalization, method_override, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             minimum_compression_size, decompress_requests, binary_media_types, created_at, updated_at, revision
         from api
         where tenant_id = $1
             and ($2::timestamptz is null or (created_at, id) > ($2, $3))
             and ($4::timestamptz is null or (created_at, id) < ($4, $5))
         order by case when $6 then created_at end desc, case when $6 then id end desc,
             created_at, id
         limit $7"#,
        tenant.0,
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

/// Writes what of an Api may change.
pub async fn update(tx: &mut Tx, tenant: TenantId, api: &Api) -> Result<Api> {
    sqlx::query_as!(
        Row,
        r#"update api set name = $3, description = $4, api_key_locations = $5, trailing_slash = $6,
             path_normalization = $7, method_override = $8, cors_configuration = $9, minimum_compression_size = $10,
             binary_media_types = $11, decompress_requests = $12, updated_at = now()
         where tenant_id = $1 and id = $2
         returning id, name, description, protocol, dialect, api_key_locations, trailing_slash,
             path_normalization, method_override, cors_configuration as "cors_configuration: Json<CorsConfiguration>",
             minimum_compression_size, decompress_requests, binary_media_types, created_at, updated_at, revision"#,
        tenant.0,
        api.id.as_str(),
        api.name,
        api.description,
        &api.api_key_locations,
        or_dialects(api.trailing_slash.map(TrailingSlash::as_str)),
        or_dialects(api.path_normalization.map(PathNormalization::as_str)),
        api.method_override,
        api.cors_configuration.as_ref().map(Json) as Option<Json<&CorsConfiguration>>,
        bytes(api.minimum_compression_size),
        &api.binary_media_types,
        api.decompress_requests,
    )
    .fetch_one(&mut **tx)
    .await?
    .try_into()
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: ApiId) -> Result<()> {
    sqlx::query!("delete from api where tenant_id = $1 and id = $2", tenant.0, id.as_str())
        .execute(&mut **tx)
        .await
        .on_constraint("usage_plan_stage_stage_fkey", || {
            Error::conflict("id", "a usage plan holds a stage of this API")
        })?;
    Ok(())
}

/// A setting that an Api leaves to its dialect is empty text.
fn or_dialects(setting: Option<&'static str>) -> &'static str {
    setting.unwrap_or_default()
}

fn bytes(size: Option<u32>) -> Option<i32> {
    size.map(|bytes| i32::try_from(bytes).unwrap_or(i32::MAX)) // checked sizes are far below
}

/// A dialect's settings the other way.
fn own<'a, T: TryFrom<&'a str>>(setting: &'a str) -> Result<Option<T>, T::Error> {
    (!setting.is_empty()).then(|| setting.try_into()).transpose()
}

struct Row {
    id: String,
    name: String,
    description: String,
    protocol: String,
    dialect: String,
    api_key_locations: Vec<String>,
    trailing_slash: String,
    path_normalization: String,
    minimum_compression_size: Option<i32>,
    decompress_requests: Option<bool>,
    binary_media_types: Vec<String>,
    method_override: Option<bool>,
    cors_configuration: Option<Json<CorsConfiguration>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for Api {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id.parse()?,
            name: row.name,
            description: row.description,
            protocol: row.protocol.as_str().try_into()?,
            dialect: row.dialect.as_str().try_into()?,
            api_key_locations: row.api_key_locations,
            trailing_slash: own(&row.trailing_slash)?,
            path_normalization: own(&row.path_normalization)?,
            minimum_compression_size: row
                .minimum_compression_size
                .map(u32::try_from)
                .transpose()
                .map_err(|cause| Error::corrupt("compression size", cause))?,
            decompress_requests: row.decompress_requests,
            binary_media_types: row.binary_media_types,
            method_override: row.method_override,
            cors_configuration: row.cors_configuration.map(|cors| cors.0),
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
