//! Integrations.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use crate::app::Tx;
use crate::domain::circuit_breaker::CircuitBreaker;
use crate::domain::integration::{
    AwsSettings, ConnectionType, ForwardedPolicy, Integration, IntegrationResponse,
    IntegrationType, MockExample, MockResponse, PayloadFormatVersion, ProtocolVersion,
    ResponseTransferMode, Settings,
};
use crate::domain::media::ContentHandling;
use crate::domain::page::Page;
use crate::domain::retry_policy::RetryPolicy;
use crate::domain::tls_config::TlsConfig;
use crate::error::{Error, Result};
use crate::ids::{ApiId, IntegrationId, TenantId};

pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    id: IntegrationId,
    settings: &Settings,
) -> Result<Integration> {
    sqlx::query_as!(
        Row,
        r#"insert into integration (tenant_id, api_id, id, type, uri, http_method, preserve_host,
             protocol_version, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, timeout_ms,
             mock_response, description, payload_format_version, forwarded, transfer_mode,
             request_templates, responses, mock_examples, aws, retry_policy, circuit_breaker, content_handling, tls_config,
             connection_type, connection_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
             coalesce($25, '{}'::jsonb), $26, $27)
         returning id, api_id, type as kind, uri, http_method, preserve_host, protocol_version,
             payload_format_version, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, timeout_ms,
             mock_response as "mock_response: Json<MockResponse>", forwarded, transfer_mode,
             request_templates as "request_templates: Json<BTreeMap<String, String>>",
             responses as "responses: Json<Vec<IntegrationResponse>>",
             mock_examples as "mock_examples: Json<Vec<MockExample>>", aws as "aws: Json<AwsSettings>", retry_policy as "retry_policy: Json<RetryPolicy>",
             circuit_breaker as "circuit_breaker: Json<CircuitBreaker>", content_handling, connection_type, connection_id,
             nullif(tls_config, '{}'::jsonb) as "tls_config: Json<TlsConfig>", description, created_at, updated_at, revision"#,
        tenant.0,
        api.as_str(),
        id.as_str(),
        settings.kind.as_str(),
        settings.uri,
        settings.method,
        settings.preserve_host,
        settings.protocol_version.as_str(),
        ms(settings.connect_timeout_ms),
        ms(settings.first_byte_timeout_ms),
        ms(settings.idle_timeout_ms),
        ms(settings.timeout_ms),
        settings.mock_response.as_ref().map(Json) as Option<Json<&MockResponse>>,
        settings.description,
        payload_format(settings),
        forwarded(settings),
        transfer_mode(settings),
        Json(&settings.request_templates) as _,
        Json(&settings.integration_responses) as _,
        Json(&settings.examples) as _,
        settings.aws.as_ref().map(Json) as Option<Json<&AwsSettings>>,
        settings.retry_policy.as_ref().map(Json) as Option<Json<&RetryPolicy>>,
        settings.circuit_breaker.as_ref().map(Json) as Option<Json<&CircuitBreaker>>,
        settings.content_handling.map_or("", ContentHandling::as_str),
        settings.tls_config.as_ref().map(Json) as Option<Json<&TlsConfig>>,
        settings.connection_type.as_str(),
        settings.connection_id.map(|id| id.to_string()).unwrap_or_default(),
    )
    .fetch_one(&mut **tx)
    .await?
    .try_into()
}

pub async fn count(tx: &mut Tx, tenant: TenantId, api: ApiId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from integration where tenant_id = $1 and api_id = $2"#,
        tenant.0,
        api.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// How many bytes the answers of the Api's MOCK integrations have together, and the templates that choose among them.
pub async fn mock_bytes(tx: &mut Tx, tenant: TenantId, api: ApiId) -> Result<u64> {
    let bytes = sqlx::query_scalar!(
        r#"select coalesce(sum(
             coalesce(octet_length(mock_response ->> 'headers') + octet_length(mock_response ->> 'body'), 0)
             + octet_length(request_templates::text) + octet_length(responses::text)
             + octet_length(mock_examples::text)
         ), 0)::bigint as "bytes!"
         from integration where tenant_id = $1 and api_id = $2 and type = 'MOCK'"#,
        tenant.0,
        api.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(bytes.unsigned_abs())
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    ids: &[IntegrationId],
) -> Result<Vec<Integration>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select id, api_id, type as kind, uri, http_method, preserve_host, protocol_version,
             payload_format_version, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, timeout_ms,
             mock_response as "mock_response: Json<MockResponse>", forwarded, transfer_mode,
             request_templates as "request_templates: Json<BTreeMap<String, String>>",
             responses as "responses: Json<Vec<IntegrationResponse>>",
             mock_examples as "mock_examples: Json<Vec<MockExample>>", aws as "aws: Json<AwsSettings>", retry_policy as "retry_policy: Json<RetryPolicy>",
             circuit_breaker as "circuit_breaker: Json<CircuitBreaker>", content_handling, connection_type, connection_id,
             nullif(tls_config, '{}'::jsonb) as "tls_config: Json<TlsConfig>", description, created_at, updated_at, revision
         from integration where tenant_id = $1 and id = any($2)"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    page: &Page,
) -> Result<Vec<Integration>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, api_id, type as kind, uri, http_method, preserve_host, protocol_version,
             payload_format_version, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, timeout_ms,
             mock_response as "mock_response: Json<MockResponse>", forwarded, transfer_mode,
             request_templates as "request_templates: Json<BTreeMap<String, String>>",
             responses as "responses: Json<Vec<IntegrationResponse>>",
             mock_examples as "mock_examples: Json<Vec<MockExample>>", aws as "aws: Json<AwsSettings>", retry_policy as "retry_policy: Json<RetryPolicy>",
             circuit_breaker as "circuit_breaker: Json<CircuitBreaker>", content_handling, connection_type, connection_id,
             nullif(tls_config, '{}'::jsonb) as "tls_config: Json<TlsConfig>", description, created_at, updated_at, revision
         from integration
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

pub async fn update(
    tx: &mut Tx,
    tenant: TenantId,
    id: IntegrationId,
    settings: &Settings,
) -> Result<Integration> {
    sqlx::query_as!(
        Row,
        r#"update integration set type = $3, uri = $4, http_method = $5, preserve_host = $6,
             protocol_version = $7, connect_timeout_ms = $8, first_byte_timeout_ms = $9,
             idle_timeout_ms = $10, timeout_ms = $11, mock_response = $12, description = $13,
             payload_format_version = $14, forwarded = $15, transfer_mode = $16, request_templates = $17,
             responses = $18, mock_examples = $19, aws = $20, retry_policy = $21, circuit_breaker = $22, content_handling = $23,
             tls_config = coalesce($24, '{}'::jsonb), connection_type = $25, connection_id = $26, updated_at = now()
         where tenant_id = $1 and id = $2
         returning id, api_id, type as kind, uri, http_method, preserve_host, protocol_version,
             payload_format_version, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, timeout_ms,
             mock_response as "mock_response: Json<MockResponse>", forwarded, transfer_mode,
             request_templates as "request_templates: Json<BTreeMap<String, String>>",
             responses as "responses: Json<Vec<IntegrationResponse>>",
             mock_examples as "mock_examples: Json<Vec<MockExample>>", aws as "aws: Json<AwsSettings>", retry_policy as "retry_policy: Json<RetryPolicy>",
             circuit_breaker as "circuit_breaker: Json<CircuitBreaker>", content_handling, connection_type, connection_id,
             nullif(tls_config, '{}'::jsonb) as "tls_config: Json<TlsConfig>", description, created_at, updated_at, revision"#,
        tenant.0,
        id.as_str(),
        settings.kind.as_str(),
        settings.uri,
        settings.method,
        settings.preserve_host,
        settings.protocol_version.as_str(),
        ms(settings.connect_timeout_ms),
        ms(settings.first_byte_timeout_ms),
        ms(settings.idle_timeout_ms),
        ms(settings.timeout_ms),
        settings.mock_response.as_ref().map(Json) as Option<Json<&MockResponse>>,
        settings.description,
        payload_format(settings),
        forwarded(settings),
        transfer_mode(settings),
        Json(&settings.request_templates) as _,
        Json(&settings.integration_responses) as _,
        Json(&settings.examples) as _,
        settings.aws.as_ref().map(Json) as Option<Json<&AwsSettings>>,
        settings.retry_policy.as_ref().map(Json) as Option<Json<&RetryPolicy>>,
        settings.circuit_breaker.as_ref().map(Json) as Option<Json<&CircuitBreaker>>,
        settings.content_handling.map_or("", ContentHandling::as_str),
        settings.tls_config.as_ref().map(Json) as Option<Json<&TlsConfig>>,
        settings.connection_type.as_str(),
        settings.connection_id.map(|id| id.to_string()).unwrap_or_default(),
    )
    .fetch_one(&mut **tx)
    .await?
    .try_into()
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: IntegrationId) -> Result<()> {
    sqlx::query!("delete from integration where tenant_id = $1 and id = $2", tenant.0, id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Of what is no function too, as in AWS.
fn payload_format(settings: &Settings) -> &'static str {
    settings.payload_format_version.unwrap_or(PayloadFormatVersion::V1).as_str()
}

fn forwarded(settings: &Settings) -> &'static str {
    settings.forwarded.map(ForwardedPolicy::as_str).unwrap_or_default()
}

fn transfer_mode(settings: &Settings) -> &'static str {
    settings.response_transfer_mode.map(ResponseTransferMode::as_str).unwrap_or_default()
}

fn ms(timeout: u32) -> i32 {
    i32::try_from(timeout).unwrap_or(i32::MAX) // checked settings are far below
}

struct Row {
    id: String,
    api_id: String,
    kind: String,
    uri: String,
    http_method: String,
    preserve_host: bool,
    protocol_version: String,
    payload_format_version: String,
    connect_timeout_ms: i32,
    first_byte_timeout_ms: i32,
    idle_timeout_ms: i32,
    timeout_ms: i32,
    mock_response: Option<Json<MockResponse>>,
    content_handling: String,
    tls_config: Option<Json<TlsConfig>>,
    forwarded: String,
    transfer_mode: String,
    request_templates: Json<BTreeMap<String, String>>,
    responses: Json<Vec<IntegrationResponse>>,
    mock_examples: Json<Vec<MockExample>>,
    aws: Option<Json<AwsSettings>>,
    retry_policy: Option<Json<RetryPolicy>>,
    circuit_breaker: Option<Json<CircuitBreaker>>,
    connection_type: String,
    connection_id: String,
    description: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for Integration {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let kind = IntegrationType::ALL
            .into_iter()
            .find(|kind| kind.as_str() == row.kind)
            .ok_or_else(|| Error::corrupt("integration type", row.kind))?;
        let protocol_version = ProtocolVersion::ALL
            .into_iter()
            .find(|version| version.as_str() == row.protocol_version)
            .ok_or_else(|| Error::corrupt("integration protocol version", row.protocol_version))?;
        let payload_format_version = PayloadFormatVersion::ALL
            .into_iter()
            .find(|version| version.as_str() == row.payload_format_version)
            .ok_or_else(|| Error::corrupt("payload format version", row.payload_format_version))?;
        let forwarded = ForwardedPolicy::ALL.into_iter().find(|it| it.as_str() == row.forwarded);
        if forwarded.is_none() && !row.forwarded.is_empty() {
            return Err(Error::corrupt("policy for Forwarded", row.forwarded));
        }
        let response_transfer_mode =
            ResponseTransferMode::ALL.into_iter().find(|it| it.as_str() == row.transfer_mode);
        if response_transfer_mode.is_none() && !row.transfer_mode.is_empty() {
            return Err(Error::corrupt("response transfer mode", row.transfer_mode));
        }
        let ms = |timeout: i32| {
            u32::try_from(timeout).map_err(|cause| Error::corrupt("integration timeout", cause))
        };
        Ok(Self {
            id: row.id.parse()?,
            api: row.api_id.parse()?,
            settings: Settings {
                kind,
                uri: row.uri,
                method: row.http_method,
                preserve_host: row.preserve_host,
                protocol_version,
                payload_format_version: (kind == IntegrationType::AwsProxy)
                    .then_some(payload_format_version),
                forwarded,
                response_transfer_mode,
                connect_timeout_ms: ms(row.connect_timeout_ms)?,
                first_byte_timeout_ms: ms(row.first_byte_timeout_ms)?,
                idle_timeout_ms: ms(row.idle_timeout_ms)?,
                timeout_ms: ms(row.timeout_ms)?,
                aws: row.aws.map(|aws| aws.0),
                retry_policy: row.retry_policy.map(|policy| policy.0),
                circuit_breaker: row.circuit_breaker.map(|breaker| breaker.0),
                connection_type: ConnectionType::ALL
                    .into_iter()
                    .find(|it| it.as_str() == row.connection_type)
                    .ok_or_else(|| Error::corrupt("connectionType", row.connection_type))?,
                connection_id: match row.connection_id.as_str() {
                    "" => None,
                    id => Some(id.parse()?),
                },
                mock_response: row.mock_response.map(|mock| mock.0),
                content_handling: ContentHandling::stored(&row.content_handling)?,
                tls_config: row.tls_config.map(|tls| tls.0),
                request_templates: row.request_templates.0,
                integration_responses: row.responses.0,
                examples: row.mock_examples.0,
                openapi_operation: None,
                description: row.description,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
