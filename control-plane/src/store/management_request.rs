//! The log of requests to the management API: rows are added, and deleted when they are old.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::management_request::{ManagementRequest, ManagementRequestFilter};
use crate::domain::page::Page;
use crate::error::{Error, Result};
use crate::ids::{ManagementRequestId, TenantId, UserId};
use crate::store::audit_chain::chain_id;
use crate::store::time_limit;

/// Adds what is not there yet.
pub async fn insert(tx: &mut Tx, requests: &[ManagementRequest]) -> Result<()> {
    let rows: Vec<Value> = requests.iter().map(row).collect();
    sqlx::query!(
        "insert into management_request (id, client_request_id, tenant_id, user_id, started_at, duration_ms, method,
             path, operations, status, codes, address, api_version)
         select * from jsonb_to_recordset($1) as r (id uuid, client_request_id text, tenant_id uuid, user_id uuid,
             started_at timestamptz, duration_ms integer, method text, path text, operations text[], status smallint,
             codes text[], address text, api_version date)
         on conflict (id) do nothing",
        Value::Array(rows),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn row(request: &ManagementRequest) -> Value {
    json!({
        "id": request.id,
        "client_request_id": request.client_request_id,
        "tenant_id": request.tenant,
        "user_id": request.user,
        "started_at": request.started_at,
        "duration_ms": request.duration_ms,
        "method": request.method,
        "path": request.path,
        "operations": request.operations,
        "status": request.status,
        "codes": request.codes,
        "address": request.address,
        "api_version": request.api_version,
    })
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    filter: &ManagementRequestFilter,
    page: &Page,
) -> Result<Vec<ManagementRequest>> {
    time_limit::set(tx, time_limit::ANSWER).await?;
    let whose = chain_id(tenant);
    let (after, before) = (page.after_uuid()?, page.before_uuid()?);
    let status = filter.status.map(i32::from);
    let rows = if page.backward() {
        sqlx::query_as!(
            Row,
            r#"select r.id, client_request_id, r.tenant_id, r.user_id, u.email as "user_email?", started_at, duration_ms,
                 method, path, operations, r.status, codes, address, api_version
             from management_request r left join user_account u on u.id = r.user_id
             where coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) = $1
                 and ($2::timestamptz is null or (started_at, r.id) < ($2, $3))
                 and ($4::timestamptz is null or (started_at, r.id) > ($4, $5))
                 and ($6::text is null or client_request_id = $6 or r.id = $7)
                 and ($8::uuid is null or r.user_id = $8)
                 and ($9::int is null or r.status = $9)
                 and ($10::boolean is null or (codes <> '{}' or coalesce(r.status, 499) >= 400) = $10)
                 and ($11::timestamptz is null or started_at >= $11)
                 and ($12::timestamptz is null or started_at < $12)
             order by started_at, r.id limit $13"#,
            whose,
            page.after_at(),
            after,
            page.before_at(),
            before,
            filter.request_id,
            uuid_of(filter.request_id.as_deref()),
            filter.user.map(|user| user.0),
            status,
            filter.failed,
            filter.since,
            filter.until,
            page.rows_max(),
        )
        .fetch_all(&mut **tx)
        .await
        .map_err(time_limit::passed("filter", TOO_LONG))?
    } else {
        sqlx::query_as!(
            Row,
            r#"select r.id, client_request_id, r.tenant_id, r.user_id, u.email as "user_email?", started_at, duration_ms,
                 method, path, operations, r.status, codes, address, api_version
             from management_request r left join user_account u on u.id = r.user_id
             where coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) = $1
                 and ($2::timestamptz is null or (started_at, r.id) < ($2, $3))
                 and ($4::timestamptz is null or (started_at, r.id) > ($4, $5))
                 and ($6::text is null or client_request_id = $6 or r.id = $7)
                 and ($8::uuid is null or r.user_id = $8)
                 and ($9::int is null or r.status = $9)
                 and ($10::boolean is null or (codes <> '{}' or coalesce(r.status, 499) >= 400) = $10)
                 and ($11::timestamptz is null or started_at >= $11)
                 and ($12::timestamptz is null or started_at < $12)
             order by started_at desc, r.id desc limit $13"#,
            whose,
            page.after_at(),
            after,
            page.before_at(),
            before,
            filter.request_id,
            uuid_of(filter.request_id.as_deref()),
            filter.user.map(|user| user.0),
            status,
            filter.failed,
            filter.since,
            filter.until,
            page.rows_max(),
        )
        .fetch_all(&mut **tx)
        .await
        .map_err(time_limit::passed("filter", TOO_LONG))?
    };
    Ok(rows.into_iter().map(ManagementRequest::from).collect())
}

/// A filter that hardly anything matches makes the server look through a month.
const TOO_LONG: &str = "too few of too many requests match: give since and until closer together";

/// The one with this id, which may be the caller's own: then the newest that had it.
pub async fn get(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    request_id: &str,
) -> Result<ManagementRequest> {
    let row = sqlx::query_as!(
        Row,
        r#"select r.id, client_request_id, r.tenant_id, r.user_id, u.email as "user_email?", started_at, duration_ms,
             method, path, operations, r.status, codes, address, api_version
         from management_request r left join user_account u on u.id = r.user_id
         where coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) = $1
             and (client_request_id = $2 or r.id = $3)
         order by coalesce(r.id = $3, false) desc, started_at desc limit 1"#,
        chain_id(tenant),
        request_id,
        uuid_of(Some(request_id)),
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(ManagementRequest::from).ok_or(Error::NotFound("management request"))
}

/// Deletes at most so many that began before then; answers how many.
pub async fn delete_old(tx: &mut Tx, before: DateTime<Utc>, most: i64) -> Result<u64> {
    let deleted = sqlx::query!(
        "delete from management_request where id in (
             select id from management_request where started_at < $1 order by started_at limit $2
         )",
        before,
        most,
    )
    .execute(&mut **tx)
    .await?;
    Ok(deleted.rows_affected())
}

/// The id, where it can be one that we drew.
fn uuid_of(request_id: Option<&str>) -> Option<Uuid> {
    request_id.and_then(|id| id.parse().ok())
}

struct Row {
    id: Uuid,
    client_request_id: Option<String>,
    tenant_id: Option<Uuid>,
    user_id: Uuid,
    user_email: Option<String>,
    started_at: DateTime<Utc>,
    duration_ms: i32,
    method: String,
    path: String,
    operations: Vec<String>,
    status: Option<i16>,
    codes: Vec<String>,
    address: String,
    api_version: Option<NaiveDate>,
}

impl From<Row> for ManagementRequest {
    fn from(row: Row) -> Self {
        Self {
            id: ManagementRequestId(row.id),
            client_request_id: row.client_request_id,
            tenant: row.tenant_id.map(TenantId),
            user: UserId(row.user_id),
            user_email: row.user_email,
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            method: row.method,
            path: row.path,
            operations: row.operations,
            status: row.status,
            codes: row.codes,
            address: row.address,
            api_version: row.api_version,
        }
    }
}
