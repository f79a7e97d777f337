//! Drafts: what deploying an Api would freeze, and the settings that it could not carry yet.

use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::circuit_breaker::CircuitBreaker;
use crate::domain::cors::CorsConfiguration;
use crate::domain::gateway_response::GatewayResponse;
use crate::domain::integration::{AwsSettings, MockExample, MockResponse};
use crate::domain::retry_policy::RetryPolicy;
use crate::domain::tls_config::TlsConfig;
use crate::error::Result;
use crate::ids::{ApiId, TenantId};
use crate::store;

/// An Api and its routes and integrations, as they are now.
pub struct Draft {
    pub id: ApiId,
    pub api: ApiRow,
    pub routes: Vec<RouteRow>,
    pub integrations: Vec<IntegrationRow>,
    pub gateway_responses: Vec<GatewayResponse>,
}

pub struct ApiRow {
    pub id: String,
    pub tenant_id: Uuid,
    pub name: String,
    pub protocol: String,
    pub dialect: String,
    pub api_key_source: String,
    pub api_key_locations: Vec<String>,
    pub endpoint_configuration: Value,
    pub endpoint_access_mode: String,
    pub security_policy: String,
    pub policy: Option<Value>,
    pub disable_execute_api_endpoint: bool,
    pub trailing_slash: String,
    pub path_normalization: String,
    pub minimum_compression_size: Option<i32>,
    pub decompress_requests: Option<bool>,
    pub binary_media_types: Vec<String>,
    pub method_override: Option<bool>,
    pub cors_configuration: Option<Json<CorsConfiguration>>,
}

pub struct RouteRow {
    pub id: String,
    pub api_id: String,
    pub method: String,
    pub path: String,
    pub integration_id: Option<String>,
    pub api_key_required: bool,
    pub authorization_type: String,
    pub authorizer_id: String,
    pub authorization_scopes: Vec<String>,
    pub operation_name: String,
    pub request_validator_id: String,
    pub request_parameters: Value,
    pub request_models: Value,
    pub cors_configuration: Option<Json<CorsConfiguration>>,
}

pub struct IntegrationRow {
    pub id: String,
    pub api_id: String,
    pub kind: String,
    pub uri: String,
    pub http_method: String,
    pub connection_type: String,
    pub connection_id: String,
    pub credentials: String,
    pub connect_timeout_ms: i32,
    pub first_byte_timeout_ms: i32,
    pub idle_timeout_ms: i32,
    pub timeout_ms: i32,
    pub preserve_host: bool,
    pub protocol_version: String,
    pub payload_format_version: String,
    pub content_handling: String,
    pub request_parameters: Value,
    pub request_templates: Value,
    pub response_parameters: Value,
    pub responses: Value,
    pub tls_config: Option<Json<TlsConfig>>,
    pub mock_response: Option<Json<MockResponse>>,
    pub mock_examples: Json<Vec<MockExample>>,
    pub forwarded: String,
    pub transfer_mode: String,
    pub aws: Option<Json<AwsSettings>>,
    pub retry_policy: Option<Json<RetryPolicy>>,
    pub circuit_breaker: Option<Json<CircuitBreaker>>,
}

/// The drafts of those of `ids` that are the tenant's. Routes stand in the order of path and method, so that
/// the same draft reads the same each time; integrations that no route uses are not part of it.
pub async fn load(tx: &mut Tx, tenant: TenantId, ids: &[ApiId]) -> Result<Vec<Draft>> {
    let mut gateway_responses = store::gateway_response::find(tx, tenant, ids).await?;
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let apis = sqlx::query_as!(
        ApiRow,
        r#"select id, tenant_id, name, protocol, dialect, api_key_source, api_key_locations, endpoint_configuration,
             endpoint_access_mode, security_policy, policy, disable_execute_api_endpoint,
             trailing_slash, path_normalization, method_override, minimum_compression_size, decompress_requests,
             binary_media_types, cors_configuration as "cors_configuration: Json<CorsConfiguration>"
         from api where tenant_id = $1 and id = any($2)"#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut routes = sqlx::query_as!(
        RouteRow,
        r#"select id, api_id, method, path, integration_id, api_key_required, authorization_type,
             authorizer_id, authorization_scopes, operation_name, request_validator_id,
             request_parameters, request_models, cors_configuration as "cors_configuration: Json<CorsConfiguration>"
         from route where tenant_id = $1 and api_id = any($2)
         order by path collate "C", method collate "C""#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut integrations = sqlx::query_as!(
        IntegrationRow,
        r#"select id, api_id, type as kind, uri, http_method, connection_type, connection_id, credentials,
             connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, timeout_ms, preserve_host,
             protocol_version, payload_format_version, content_handling, request_parameters, request_templates, response_parameters,
             responses, nullif(tls_config, '{}'::jsonb) as "tls_config: Json<TlsConfig>", mock_response as "mock_response: Json<MockResponse>",
             mock_examples as "mock_examples: Json<Vec<MockExample>>", forwarded, transfer_mode,
             aws as "aws: Json<AwsSettings>",
             retry_policy as "retry_policy: Json<RetryPolicy>", circuit_breaker as "circuit_breaker: Json<CircuitBreaker>"
         from integration i where tenant_id = $1 and api_id = any($2)
             and exists (select 1 from route r where r.tenant_id = i.tenant_id
                 and r.api_id = i.api_id and r.integration_id = i.id)
         order by id collate "C""#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    apis.into_iter()
        .map(|api| {
            let id: ApiId = api.id.parse()?;
            Ok(Draft {
                id,
                gateway_responses: gateway_responses.extract_if(.., |it| it.api == id).collect(),
                routes: routes.extract_if(.., |route| route.api_id == api.id).collect(),
                integrations: integrations.extract_if(.., |row| row.api_id == api.id).collect(),
                api,
            })
        })
        .collect()
}
