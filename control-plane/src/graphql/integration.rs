//! Integrations.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::integration::{AwsSettings as Aws, PayloadFormatVersion, Settings};
use crate::error::Error;
use crate::graphql::caller;
use crate::graphql::circuit_breaker::{CircuitBreaker, CircuitBreakerInput};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::integration_aws::{AwsSettings, AwsSettingsInput};
use crate::graphql::loader::Batches;
use crate::graphql::mock::{
    self, BodyTemplate, BodyTemplateInput, IntegrationResponse, IntegrationResponseInput,
    MockExample, MockExampleInput, MockResponse, MockResponseInput,
};
use crate::graphql::node::Kind;
use crate::graphql::retry_policy::{RetryPolicy, RetryPolicyInput};
use crate::graphql::tls_config::{TlsConfig, TlsConfigInput};
use crate::ids::IntegrationId;

#[derive(Default)]
pub struct IntegrationMutation;

/// What answers the calls of a route.
pub struct Integration(Box<domain::integration::Integration>);

impl From<domain::integration::Integration> for Integration {
    fn from(integration: domain::integration::Integration) -> Self {
        Self(Box::new(integration))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::integration::IntegrationType")]
pub enum IntegrationType {
    /// A backend over HTTP: method, headers, query and body pass through.
    HttpProxy,
    /// A backend over HTTP: the body goes there with the fields that say what it is, and the answer's status says which
    /// integration response callers get.
    Http,
    /// A function: calls become AWS's Lambda proxy events, which go to its URI by POST, and its answers become theirs.
    AwsProxy,
    /// A service of AWS, or what speaks like it, and functions of Lambda's: the caller's body goes there as it is, signed.
    #[graphql(name = "AWS")]
    Aws,
    /// The gateway itself, always the same.
    Mock,
}

/// Which way calls go to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::integration::ConnectionType")]
pub enum ConnectionType {
    /// To the host of the integration's URI.
    Internet,
    /// To the targets of a VPC link; `Host` and TLS name the host of the URI.
    VpcLink,
}

/// What a backend is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::integration::ProtocolVersion")]
pub enum ProtocolVersion {
    /// HTTP/1.1.
    #[graphql(name = "HTTP1")]
    Http1,
    /// HTTP/2, which gRPC needs: over https the backend must choose `h2` by ALPN, over http it must know that HTTP/2
    /// comes (h2c with prior knowledge).
    #[graphql(name = "HTTP2")]
    Http2,
}

/// What becomes of a payload on its way, by AWS's tables of text and binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::media::ContentHandling")]
pub enum ContentHandling {
    /// Base64 becomes the bytes that it stands for.
    ConvertToBinary,
    /// It is text: in the place of bytes stands their base64.
    ConvertToText,
}

/// What a backend is told of where a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::integration::ForwardedPolicy")]
pub enum ForwardedPolicy {
    /// What trusted proxies say goes on, with the caller's address behind it. What others say is dropped.
    Append,
    /// The client's address alone.
    Replace,
    /// Nothing.
    Remove,
}

/// How a backend's answer reaches its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::integration::ResponseTransferMode")]
pub enum ResponseTransferMode {
    /// Whole, up to 10 MiB; a larger one is refused with 502, in the AWS dialects 500.
    Buffered,
    /// As it comes, of any length.
    Stream,
}

/// All settings of an integration. Timeouts are from 50 ms on; 0 or left out: the default.
#[derive(InputObject)]
pub struct IntegrationInput {
    #[graphql(name = "type")]
    kind: IntegrationType,
    /// `HTTP_PROXY`, `HTTP`: where calls go. `AWS_PROXY`: where events go, by POST, or the ARN of a Lambda
    /// function. It may hold `{name}` for a path parameter of the route and `${stageVariables.name}`.
    uri: Option<String>,
    /// `HTTP_PROXY`, `HTTP`, `AWS`: the method to call with; left out: the caller's.
    method: Option<String>,
    /// `HTTP_PROXY`: the backend gets the caller's Host, not its own.
    preserve_host: Option<bool>,
    /// What the backend is spoken to in; left out: HTTP1.
    protocol_version: Option<ProtocolVersion>,
    /// `AWS_PROXY`, which needs it: the format of the event and of the function's answer, `1.0` or `2.0`.
    payload_format_version: Option<String>,
    /// `AWS`, which needs it, and `AWS_PROXY` whose URI is an ARN: by which credentials it is called, and where.
    aws: Option<AwsSettingsInput>,
    /// `HTTP_PROXY`, `HTTP`: which way calls go to the backend; left out: INTERNET.
    connection_type: Option<ConnectionType>,
    /// `VPC_LINK`, which needs it: the `vpcLinkId` of a VPC link.
    connection_id: Option<String>,
    /// `HTTP_PROXY`: what the backend is told of where a call comes from; left out: APPEND.
    forwarded: Option<ForwardedPolicy>,
    /// `HTTP_PROXY`, `HTTP`, `AWS`: how answers reach callers; left out: STREAM, and BUFFERED in the AWS dialects. `AWS_PROXY`: with STREAM a
    /// function's answer is its head in JSON, 8 NUL bytes, and its body as it comes; left out: BUFFERED.
    response_transfer_mode: Option<ResponseTransferMode>,
    /// At most 600000; the default is 5000.
    connect_timeout_ms: Option<i32>,
    /// From the request's last byte to the answer's head. The default is `timeoutMs`, and 30000 where that is 0.
    first_byte_timeout_ms: Option<i32>,
    /// Between two reads of the answer. The default is 300000.
    idle_timeout_ms: Option<i32>,
    /// The whole exchange with the backend. The default is as long as it takes. In `AWS_REST` it is at most 29000, in `AWS_HTTP`
    /// 30000, which is the default there; with STREAM it is at most 900000, which is the default then.
    timeout_ms: Option<i32>,
    /// `HTTP_PROXY` and `HTTP` over HTTP/1.1: when a call is sent again; left out: only where it surely had no effect.
    retry_policy: Option<RetryPolicyInput>,
    /// When a backend that fails is left alone for a while; left out: never.
    circuit_breaker: Option<CircuitBreakerInput>,
    /// MOCK: the fixed answer. A mock has this, or `integrationResponses`, or `examples`.
    mock_response: Option<MockResponseInput>,
    /// What the certificate of a backend over https must be; left out: its host's, by a public
    /// authority.
    tls_config: Option<TlsConfigInput>,
    /// MOCK: what becomes of the bodies of `mockResponse` and `examples`; left out: they are text. `HTTP`, `AWS`: what becomes
    /// of callers' bodies; left out: in `AWS_REST` what AWS's tables say, elsewhere nothing.
    content_handling: Option<ContentHandling>,
    /// MOCK: by a request's media type the status that it is to get, as a constant: `{"statusCode": 200}`.
    request_templates: Option<Vec<BodyTemplateInput>>,
    /// MOCK: the answers that `requestTemplates` choose from, the first whose pattern takes the status; a request that no
    /// template is for gets the one without a pattern. `HTTP`, `AWS`: what callers get, by the first whose pattern takes the
    /// status of the backend or service, or what a function throws; without any they get what was answered.
    integration_responses: Option<Vec<IntegrationResponseInput>>,
    /// MOCK: the answers that callers choose from by `Prefer: code=404, example=unknown` and by `Accept`; the first is
    /// everybody else's.
    examples: Option<Vec<MockExampleInput>>,
    /// MOCK: an operation of an OpenAPI description as JSON, with the `components` that it refers to beside its `responses`;
    /// `examples` are made of it.
    openapi_operation: Option<String>,
    description: Option<String>,
}

impl TryFrom<IntegrationInput> for Settings {
    type Error = Error;

    fn try_from(input: IntegrationInput) -> Result<Self, Error> {
        let ms = |param, timeout: Option<i32>| {
            u32::try_from(timeout.unwrap_or(0))
                .map_err(|_| Error::bad_request(param, "must not be below 0"))
        };
        Ok(Self {
            kind: input.kind.into(),
            uri: input.uri.unwrap_or_default(),
            method: input.method.unwrap_or_default(),
            preserve_host: input.preserve_host.unwrap_or(false),
            protocol_version: input.protocol_version.map(Into::into).unwrap_or_default(),
            payload_format_version: input
                .payload_format_version
                .map(|version| version.parse())
                .transpose()?,
            forwarded: input.forwarded.map(Into::into),
            response_transfer_mode: input.response_transfer_mode.map(Into::into),
            connection_type: input.connection_type.map(Into::into).unwrap_or_default(),
            connection_id: input
                .connection_id
                .filter(|id| !id.is_empty())
                .map(|id| {
                    id.parse()
                        .map_err(|_| Error::bad_request("connectionId", "is no id of a VPC link"))
                })
                .transpose()?,
            aws: input.aws.map(Aws::try_from).transpose()?,
            connect_timeout_ms: ms("connectTimeoutMs", input.connect_timeout_ms)?,
            first_byte_timeout_ms: ms("firstByteTimeoutMs", input.first_byte_timeout_ms)?,
            idle_timeout_ms: ms("idleTimeoutMs", input.idle_timeout_ms)?,
            timeout_ms: ms("timeoutMs", input.timeout_ms)?,
            retry_policy: input.retry_policy.map(TryInto::try_into).transpose()?,
            circuit_breaker: input.circuit_breaker.map(TryInto::try_into).transpose()?,
            mock_response: input.mock_response.map(TryInto::try_into).transpose()?,
            content_handling: input.content_handling.map(Into::into),
            tls_config: input.tls_config.map(TryInto::try_into).transpose()?,
            request_templates: mock::templates(
                "requestTemplates",
                input.request_templates.unwrap_or_default(),
            )?,
            integration_responses: mock::responses(
                input.integration_responses.unwrap_or_default(),
            )?,
            examples: mock::examples(input.examples.unwrap_or_default())?,
            openapi_operation: input
                .openapi_operation
                .map(|text| domain::integration::mock::operation(&text))
                .transpose()?,
            description: input.description.unwrap_or_default(),
        })
    }
}

#[derive(InputObject)]
struct CreateIntegrationInput {
    api_id: ID,
    integration: IntegrationInput,
}

/// `integration` takes the place of all the settings there were.
#[derive(InputObject)]
struct UpdateIntegrationInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    integration: IntegrationInput,
}

#[derive(SimpleObject)]
struct IntegrationPayload {
    integration: Option<Integration>,
    user_errors: Vec<UserError>,
}

impl IntegrationPayload {
    fn of(
        result: crate::error::Result<domain::integration::Integration>,
    ) -> async_graphql::Result<Self> {
        let (integration, user_errors) = user_errors(result)?;
        Ok(Self { integration: integration.map(Integration::from), user_errors })
    }
}

#[Object]
impl IntegrationMutation {
    async fn create_integration(
        &self,
        ctx: &Context<'_>,
        input: CreateIntegrationInput,
    ) -> async_graphql::Result<IntegrationPayload> {
        let (app, actor) = caller(ctx)?;
        let create = async || {
            let api = Kind::Api.parse(&input.api_id, "apiId")?;
            let within = |error: Error| error.within("integration");
            let settings = input.integration.try_into().map_err(within)?;
            domain::integration::create(app, actor, api, settings).await.map_err(within)
        };
        IntegrationPayload::of(create().await)
    }

    async fn update_integration(
        &self,
        ctx: &Context<'_>,
        input: UpdateIntegrationInput,
    ) -> async_graphql::Result<IntegrationPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let update = async || {
            let id = Kind::Integration.parse(&input.id, "id")?;
            let within = |error: Error| error.within("integration");
            let settings = input.integration.try_into().map_err(within)?;
            domain::integration::update(app, actor, id, settings).await.map_err(within)
        };
        IntegrationPayload::of(update().await)
    }

    /// Refused while a route leads to it.
    async fn delete_integration(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let delete = async || {
            let id = Kind::Integration.parse(&input.id, "id")?;
            domain::integration::delete(app, actor, id).await
        };
        let done = delete().await;
        DeletePayload::of(input.id, done)
    }
}

#[Object]
impl Integration {
    pub async fn id(&self) -> ID {
        Kind::Integration.id(self.0.id)
    }

    #[graphql(name = "type")]
    async fn kind(&self) -> IntegrationType {
        self.0.settings.kind.into()
    }

    /// `HTTP_PROXY`, `HTTP`: where calls go. `AWS_PROXY`: where events go, by POST, or the ARN of a Lambda function. Empty
    /// for MOCK.
    async fn uri(&self) -> &str {
        &self.0.settings.uri
    }

    /// `HTTP_PROXY`, `HTTP`, `AWS`: the method to call with; empty or ANY: the caller's.
    async fn method(&self) -> &str {
        &self.0.settings.method
    }

    async fn preserve_host(&self) -> bool {
        self.0.settings.preserve_host
    }

    /// What the backend is spoken to in.
    async fn protocol_version(&self) -> ProtocolVersion {
        self.0.settings.protocol_version.into()
    }

    /// `AWS_PROXY`: the format of the event and of the function's answer, `1.0` or `2.0`.
    async fn payload_format_version(&self) -> Option<&str> {
        self.0.settings.payload_format_version.map(PayloadFormatVersion::as_str)
    }

    /// `HTTP_PROXY`: what the backend is told of where a call comes from; null: APPEND.
    async fn forwarded(&self) -> Option<ForwardedPolicy> {
        self.0.settings.forwarded.map(Into::into)
    }

    /// `HTTP_PROXY`, `HTTP`: which way calls go to the backend.
    async fn connection_type(&self) -> ConnectionType {
        self.0.settings.connection_type.into()
    }

    /// The `vpcLinkId` of a VPC link.
    async fn connection_id(&self) -> Option<String> {
        self.0.settings.connection_id.map(|id| id.to_string())
    }

    /// `HTTP_PROXY`, `HTTP`, `AWS`: how answers reach callers; null: STREAM, and BUFFERED in the AWS dialects. `AWS_PROXY`: null is BUFFERED.
    async fn response_transfer_mode(&self) -> Option<ResponseTransferMode> {
        self.0.settings.response_transfer_mode.map(Into::into)
    }

    /// `AWS_PROXY` whose URI is an ARN: by which credentials the function is called, and where.
    async fn aws(&self) -> Option<AwsSettings> {
        self.0.settings.aws.as_ref().map(Into::into)
    }

    /// 0: the default, as for the other timeouts.
    async fn connect_timeout_ms(&self) -> u32 {
        self.0.settings.connect_timeout_ms
    }

    async fn first_byte_timeout_ms(&self) -> u32 {
        self.0.settings.first_byte_timeout_ms
    }

    async fn idle_timeout_ms(&self) -> u32 {
        self.0.settings.idle_timeout_ms
    }

    async fn timeout_ms(&self) -> u32 {
        self.0.settings.timeout_ms
    }

    /// `HTTP_PROXY` and `HTTP` over HTTP/1.1: when a call is sent again; null: only where it surely had no effect.
    async fn retry_policy(&self) -> Option<RetryPolicy> {
        self.0.settings.retry_policy.as_ref().map(Into::into)
    }

    /// When a backend that fails is left alone for a while; null: never.
    async fn circuit_breaker(&self) -> Option<CircuitBreaker> {
        self.0.settings.circuit_breaker.as_ref().map(Into::into)
    }

    /// MOCK: the fixed answer.
    async fn mock_response(&self) -> Option<MockResponse> {
        self.0.settings.mock_response.as_ref().map(Into::into)
    }

    /// What the certificate of a backend over https must be; null: its host's, by a public authority.
    async fn tls_config(&self) -> Option<TlsConfig> {
        self.0.settings.tls_config.as_ref().map(Into::into)
    }

    /// MOCK: what becomes of the bodies of `mockResponse` and `examples`; null: they are text. `HTTP`, `AWS`: what becomes of
    /// callers' bodies; null: in `AWS_REST` what AWS's tables say, elsewhere nothing.
    async fn content_handling(&self) -> Option<ContentHandling> {
        self.0.settings.content_handling.map(Into::into)
    }

    /// MOCK: by a request's media type the status that it is to get, as a constant.
    async fn request_templates(&self) -> Vec<BodyTemplate> {
        mock::told(&self.0.settings.request_templates)
    }

    /// MOCK: the answers that `requestTemplates` choose from. `HTTP`, `AWS`: what callers get, by what was answered.
    async fn integration_responses(&self) -> Vec<IntegrationResponse> {
        self.0.settings.integration_responses.iter().map(Into::into).collect()
    }

    /// MOCK: the answers that callers choose from.
    async fn examples(&self) -> Vec<MockExample> {
        self.0.settings.examples.iter().map(Into::into).collect()
    }

    async fn description(&self) -> &str {
        &self.0.settings.description
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

impl Loader<IntegrationId> for Batches {
    type Value = domain::integration::Integration;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[IntegrationId],
    ) -> Result<HashMap<IntegrationId, Self::Value>, Self::Error> {
        let found = domain::integration::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|integration| (integration.id, integration)).collect())
    }
}
