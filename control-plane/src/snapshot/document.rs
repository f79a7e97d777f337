//! An Api's draft, frozen: the immutable document that a deployment is.

use std::collections::BTreeSet;

use plan::KeyLocation;
use prost::Message;
use proto::config::v1::{
    Api, Cors, Deployment, Dialect, ForwardedPolicy, Function, GatewayResponse, Http, HttpProxy,
    Integration, Lambda, LinkedProxy, PathNormalization, PayloadFormatVersion, Protocol,
    ProtocolVersion, ResponseTransferMode as Mode, Route, TlsConfig, TrailingSlash, integration,
};
use sha2::{Digest, Sha256};
use sqlx::types::Json;

use crate::domain::cors::CorsConfiguration;
use crate::domain::gateway_response as domain;
use crate::domain::integration::ResponseTransferMode;
use crate::domain::secret::{SecretUse, SigningScope};
use crate::domain::tls_config;
use crate::ids::{ClientCertificateId, VpcLinkId};
use crate::snapshot::{aws, mocks, resilience, validate};
use crate::store::draft::{ApiRow, Draft, IntegrationRow, RouteRow};

/// The encoded message, without the deployment's id: the same draft gives the same bytes.
pub struct Document {
    pub bytes: Vec<u8>,
}

impl Document {
    /// What deploying this draft gives.
    pub fn of(draft: &Draft) -> Self {
        let locations = key_locations(&draft.api);
        let deployment = Deployment {
            id: String::new(),
            api: Some(api(draft, &locations)),
            routes: draft.routes.iter().map(|row| route(row, draft, &locations)).collect(),
            integrations: draft.integrations.iter().map(integration).collect(),
        };
        Self { bytes: deployment.encode_to_vec() }
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

/// Where callers put their API key; nothing where that is AWS's field, as in drafts from before there was a choice.
fn key_locations(row: &ApiRow) -> Vec<String> {
    let usual = row.api_key_locations == [KeyLocation::DEFAULT];
    if usual { Vec::new() } else { row.api_key_locations.clone() }
}

/// Whether a node that does not know of these locations would let a call of the route do what it must not: open it with
/// a key from another place, or tell its backend of a key in the query.
fn restricts(locations: &[String], row: &RouteRow) -> bool {
    let in_query = |it: &String| matches!(KeyLocation::parse(it), Ok(KeyLocation::Query(_)));
    row.api_key_required && !locations.is_empty() || locations.iter().any(in_query)
}

fn api(draft: &Draft, locations: &[String]) -> Api {
    let row = &draft.api;
    Api {
        id: row.id.clone(),
        tenant_id: row.tenant_id.to_string(),
        name: row.name.clone(),
        protocol: match row.protocol.as_str() {
            "HTTP" => Protocol::Http,
            "WEBSOCKET" => Protocol::Websocket,
            _ => Protocol::Unspecified,
        }
        .into(),
        dialect: match row.dialect.as_str() {
            "native" => Dialect::Native,
            "aws-rest" => Dialect::AwsRest,
            "aws-http" => Dialect::AwsHttp,
            _ => Dialect::Unspecified,
        }
        .into(),
        disable_execute_api_endpoint: row.disable_execute_api_endpoint,
        trailing_slash: match row.trailing_slash.as_str() {
            "strict" => TrailingSlash::Strict,
            "ignore" => TrailingSlash::Ignore,
            "redirect" => TrailingSlash::Redirect,
            _ => TrailingSlash::Unspecified,
        }
        .into(),
        path_normalization: match row.path_normalization.as_str() {
            "reject" => PathNormalization::Reject,
            "normalize" => PathNormalization::Normalize,
            "pass" => PathNormalization::Pass,
            _ => PathNormalization::Unspecified,
        }
        .into(),
        api_key_locations: locations.to_vec(),
        minimum_compression_size: row
            .minimum_compression_size
            .and_then(|bytes| bytes.try_into().ok()),
        decompress_requests: row.decompress_requests,
        binary_media_types: row.binary_media_types.clone(),
        method_override: row.method_override,
        cors: row.cors_configuration.as_ref().map(cors),
        gateway_responses: draft.gateway_responses.iter().map(gateway_response).collect(),
    }
}

fn gateway_response(of: &domain::GatewayResponse) -> GatewayResponse {
    GatewayResponse {
        response_type: of.response_type.as_str().to_owned(),
        status_code: of.settings.status_code.map_or(0, Into::into),
        response_parameters: of.settings.response_parameters.clone(),
        response_templates: of.settings.response_templates.clone(),
    }
}

fn cors(row: &Json<CorsConfiguration>) -> Cors {
    let row = &row.0;
    Cors {
        allow_origins: row.allow_origins.clone(),
        allow_methods: row.allow_methods.clone(),
        allow_headers: row.allow_headers.clone(),
        expose_headers: row.expose_headers.clone(),
        allow_credentials: row.allow_credentials,
        max_age_s: row.max_age,
    }
}

fn route(row: &RouteRow, draft: &Draft, locations: &[String]) -> Route {
    let id = row.integration_id.as_deref();
    let integration = id.and_then(|id| draft.integrations.iter().find(|known| known.id == id));
    let tls = integration.and_then(|it| it.tls_config.as_ref());
    let pinned = tls.is_some_and(|tls| tls.trusts_otherwise()).then_some("tlsConfig");
    let showing = tls.and_then(|tls| tls.client_certificate_id).map(|_| "clientCertificateId");
    let located = restricts(locations, row).then_some("apiKeyLocations");
    Route {
        id: row.id.clone(),
        method: row.method.clone(),
        path: row.path.clone(),
        integration_id: row.integration_id.clone().unwrap_or_default(),
        api_key_required: row.api_key_required,
        authorization_type: row.authorization_type.clone(),
        operation_name: row.operation_name.clone(),
        // A draft that has one that is not enforced is not deployed; a node that met it all the same would refuse every
        // call, as one does that does not know where keys stand, whom to trust as a backend, or who to be to it.
        restrictions: validate::unenforced_of_route(row)
            .chain(located)
            .chain(pinned)
            .chain(showing)
            .map(str::to_owned)
            .collect(),
        cors: row.cors_configuration.as_ref().map(cors),
    }
}

/// The default goes unsaid, as in documents that were frozen before there was a choice.
fn protocol_version(name: &str) -> ProtocolVersion {
    match name {
        "HTTP2" => ProtocolVersion::Http2,
        _ => ProtocolVersion::Unspecified,
    }
}

fn payload_format_version(name: &str) -> PayloadFormatVersion {
    match name {
        "1.0" => PayloadFormatVersion::PayloadFormatVersion10,
        "2.0" => PayloadFormatVersion::PayloadFormatVersion20,
        _ => PayloadFormatVersion::Unspecified,
    }
}

fn tls_config(of: &tls_config::TlsConfig) -> TlsConfig {
    TlsConfig {
        insecure_skip_verification: of.insecure_skip_verification,
        server_name_to_verify: of.server_name_to_verify.clone(),
        ca_bundle: of.ca_bundle.clone(),
        client_certificate_id: of
            .client_certificate_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
    }
}

fn backend(row: &IntegrationRow) -> HttpProxy {
    let ms = |timeout: i32| u32::try_from(timeout).unwrap_or(0);
    HttpProxy {
        uri: backend_uri(row),
        method: row.http_method.clone(),
        connect_timeout_ms: ms(row.connect_timeout_ms),
        first_byte_timeout_ms: ms(row.first_byte_timeout_ms),
        idle_timeout_ms: ms(row.idle_timeout_ms),
        total_timeout_ms: ms(row.timeout_ms),
        preserve_host: row.preserve_host,
        protocol_version: protocol_version(&row.protocol_version).into(),
        retry_policy: row.retry_policy.as_deref().map(resilience::retry_policy),
        circuit_breaker: row.circuit_breaker.as_deref().map(resilience::circuit_breaker),
        // Empty text goes unsaid, and is the dialect's.
        forwarded: match row.forwarded.as_str() {
            "APPEND" => ForwardedPolicy::Append,
            "REPLACE" => ForwardedPolicy::Replace,
            "REMOVE" => ForwardedPolicy::Remove,
            _ => ForwardedPolicy::Unspecified,
        }
        .into(),
        response_transfer_mode: match row.transfer_mode.as_str() {
            "BUFFERED" => Mode::Buffered,
            "STREAM" => Mode::Stream,
            _ => Mode::Unspecified,
        }
        .into(),
        tls_config: row.tls_config.as_deref().map(tls_config),
    }
}

/// Where requests go: the URI, or what its ARN means.
pub(super) fn backend_uri(row: &IntegrationRow) -> String {
    match (aws::called(row), &row.aws) {
        (Some(uri), Some(aws)) if streams(row) => uri.streaming().url(aws.endpoint()),
        (Some(uri), Some(aws)) => uri.url(aws.endpoint()),
        _ => row.uri.clone(),
    }
}

fn streams(row: &IntegrationRow) -> bool {
    row.transfer_mode == ResponseTransferMode::Stream.as_str()
}

fn lambda(row: &IntegrationRow, function: &Function) -> Option<Lambda> {
    Some(Lambda {
        function: Some(function.clone()),
        signing: Some(aws::signing(row)?),
        invocation_type: aws::invocation_type(row)?.into(),
        stream: streams(row),
    })
}

/// What a deployment of the draft needs of the tenant's secrets; in order, each once.
pub fn secret_uses(draft: &Draft) -> Vec<SecretUse> {
    let uses = draft.integrations.iter().filter_map(|row| {
        let (uri, aws) = (aws::called(row)?, row.aws.as_ref()?);
        let scope = SigningScope { region: uri.region, service: uri.service };
        Some(SecretUse { secret: aws.secret_id, scope: Some(scope) })
    });
    uses.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The VPC links that a deployment of the draft needs; in order, each once.
pub fn vpc_link_uses(draft: &Draft) -> Vec<VpcLinkId> {
    let ids = draft.integrations.iter().filter(|row| row.connection_type == "VPC_LINK");
    let ids = ids.filter_map(|row| row.connection_id.parse().ok());
    ids.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The client certificates that a deployment of the draft needs beside its stages'; in order, each once.
pub fn client_certificate_uses(draft: &Draft) -> Vec<ClientCertificateId> {
    let tls = draft.integrations.iter().filter_map(|row| row.tls_config.as_ref());
    let ids = tls.filter_map(|tls| tls.client_certificate_id);
    ids.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What a deployment needs that is not in it, by id; in order, each once.
pub struct Needs<'a> {
    pub secrets: BTreeSet<&'a str>,
    pub vpc_links: BTreeSet<&'a str>,
    /// Beside its stages'.
    pub client_certificates: BTreeSet<&'a str>,
}

impl<'a> Needs<'a> {
    pub fn of(deployment: &'a Deployment) -> Self {
        let mut needs = Self {
            secrets: BTreeSet::new(),
            vpc_links: BTreeSet::new(),
            client_certificates: BTreeSet::new(),
        };
        for row in &deployment.integrations {
            let signing = match &row.kind {
                Some(integration::Kind::Lambda(lambda)) => lambda.signing.as_ref(),
                Some(integration::Kind::AwsService(service)) => service.signing.as_ref(),
                Some(integration::Kind::AwsFunction(function)) => function.signing.as_ref(),
                Some(integration::Kind::AwsSubtype(subtype)) => subtype.signing.as_ref(),
                Some(integration::Kind::Http(http)) => {
                    let link = Some(http.vpc_link_id.as_str()).filter(|id| !id.is_empty());
                    needs.vpc_links.extend(link);
                    None
                }
                Some(integration::Kind::LinkedProxy(linked)) => {
                    needs.vpc_links.insert(&linked.vpc_link_id);
                    None
                }
                _ => None,
            };
            needs.secrets.extend(signing.map(|signing| signing.secret_id.as_str()));
            let tls = validate::backend(row).and_then(|backend| backend.tls_config.as_ref());
            let shown = tls.map(|tls| tls.client_certificate_id.as_str());
            needs.client_certificates.extend(shown.filter(|id| !id.is_empty()));
        }
        needs
    }
}

/// None where its answers cannot be read.
fn http(row: &IntegrationRow) -> Option<Http> {
    Some(Http {
        backend: Some(backend(row)),
        vpc_link_id: row.connection_id.clone(),
        responses: mocks::responses(row)?,
        content_handling: mocks::content_handling(row)?,
    })
}

fn integration(row: &IntegrationRow) -> Integration {
    let kind = match row.kind.as_str() {
        "HTTP_PROXY" if row.connection_type == "VPC_LINK" => {
            Some(integration::Kind::LinkedProxy(LinkedProxy {
                backend: Some(backend(row)),
                vpc_link_id: row.connection_id.clone(),
            }))
        }
        "HTTP_PROXY" => Some(integration::Kind::HttpProxy(backend(row))),
        "HTTP" => http(row).map(integration::Kind::Http),
        "AWS_PROXY" if row.aws.as_ref().is_some_and(|aws| !aws.subtype.is_empty()) => {
            aws::subtype(row, backend(row)).map(integration::Kind::AwsSubtype)
        }
        "AWS_PROXY" => {
            let function = Function {
                backend: Some(backend(row)),
                payload_format_version: payload_format_version(&row.payload_format_version).into(),
            };
            Some(match lambda(row, &function) {
                Some(lambda) => integration::Kind::Lambda(lambda),
                None => integration::Kind::Function(function),
            })
        }
        "AWS" => aws::kind(row, backend(row)),
        "MOCK" => mocks::mock(row).map(integration::Kind::Mock),
        _ => None,
    };
    Integration { id: row.id.clone(), kind }
}
