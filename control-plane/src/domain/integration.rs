//! An integration: what answers the calls of a route.

mod aws;
pub mod backend;
mod connection;
mod http;
pub mod mock;
pub mod openapi;
mod reach;
mod subtype;

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use plan::{RouteKey, UriTemplate};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::circuit_breaker::CircuitBreaker;
use crate::domain::limit::{self, LimitName};
use crate::domain::media::ContentHandling;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::retry_policy::RetryPolicy;
use crate::domain::tls_config::TlsConfig;
use crate::domain::{audit, auto_deployment, text};
use crate::error::{Error, Result};
use crate::ids::{ApiId, IntegrationId, VpcLinkId};
use crate::store;

pub use self::aws::{AwsSettings, InvocationType};
pub use self::backend::{Bounds, ForwardedPolicy, ResponseTransferMode};
pub use self::connection::ConnectionType;
pub use self::mock::{
    Header, IntegrationResponse, MOCK_BODY_BYTES_MAX, MOCK_HEADERS_MAX, MOCKS_BYTES_MAX,
    MockExample, MockResponse,
};
pub use self::reach::Reach;

/// The longest URI of a backend, in bytes.
pub const URI_BYTES_MAX: usize = 2048;
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Integration {
    #[serde(skip)]
    pub id: IntegrationId,
    #[serde(skip)]
    pub api: ApiId,
    #[serde(flatten)]
    pub settings: Settings,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

/// AWS's words for who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IntegrationType {
    /// A backend over HTTP: method, headers, query and body pass through.
    HttpProxy,
    /// A backend over HTTP: the body goes there with the fields that say what it is, and the answer's status says which
    /// integration response callers get.
    Http,
    /// A function: calls become AWS's Lambda proxy events, which go to its URI by POST, and its answers become theirs.
    AwsProxy,
    /// A service of AWS, or what speaks like it, and functions of Lambda's: the caller's body goes there as it is, signed.
    Aws,
    /// The gateway itself, always the same.
    Mock,
}

/// AWS's formats of a function's event and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum PayloadFormatVersion {
    #[serde(rename = "1.0")]
    V1,
    #[serde(rename = "2.0")]
    V2,
}

/// What a backend is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProtocolVersion {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, which gRPC needs: over https the backend must choose `h2` by ALPN, over http it must know that HTTP/2
    /// comes (h2c with prior knowledge).
    Http2,
}

/// An integration as people write it. [`Settings::checked`] says whether it can be one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = IntegrationSettings)]
pub struct Settings {
    #[serde(rename = "type")]
    pub kind: IntegrationType,
    /// `HTTP_PROXY`, `HTTP`: where calls go. `AWS_PROXY`: where events go, by POST, or the ARN of a Lambda function. `AWS`: the ARN of a function,
    /// or `arn:aws:apigateway:{region}:{service}:action/{Action}` or `…:path/{path}`. It may hold `{name}` for a path parameter of the route and `${stageVariables.name}`.
    #[serde(default)]
    pub uri: String,
    /// `HTTP_PROXY`, `HTTP`, `AWS`: the method to call with; empty or `ANY`: the caller's. An action and a function get a POST.
    #[serde(default)]
    pub method: String,
    /// `HTTP_PROXY`: the backend gets the caller's `Host`, not its own.
    #[serde(default)]
    pub preserve_host: bool,
    /// What the backend is spoken to in.
    #[serde(default)]
    pub protocol_version: ProtocolVersion,
    /// `AWS_PROXY`, which needs it: the format of the event and of the function's answer.
    #[serde(default)]
    pub payload_format_version: Option<PayloadFormatVersion>,
    /// `AWS`, which needs it, and `AWS_PROXY` whose URI is an ARN, or which has a subtype: by which credentials it is called, and where.
    #[serde(default)]
    pub aws: Option<AwsSettings>,
    /// `HTTP_PROXY`, `HTTP`: which way calls go to the backend.
    #[serde(default)]
    pub connection_type: ConnectionType,
    /// `VPC_LINK`, which needs it: the id of a VPC link.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub connection_id: Option<VpcLinkId>,
    /// `HTTP_PROXY`: what the backend is told of where a call comes from; absent: `APPEND`.
    #[serde(default)]
    pub forwarded: Option<ForwardedPolicy>,
    /// `HTTP_PROXY`, `HTTP`, `AWS`: how answers reach callers; absent: `STREAM`, and `BUFFERED` in the AWS dialects. `AWS_PROXY`: with
    /// `STREAM` a function's answer is its head in JSON, 8 NUL bytes, and its body as it comes; absent: `BUFFERED`.
    #[serde(default)]
    pub response_transfer_mode: Option<ResponseTransferMode>,
    /// 50 to 600000; 0: 5000.
    #[serde(default)]
    pub connect_timeout_ms: u32,
    /// From the request's last byte to the answer's head. From 50; 0: as `timeoutMs`, and 30000 where that is 0.
    #[serde(default)]
    pub first_byte_timeout_ms: u32,
    /// Between two reads of the answer. From 50; 0: 300000.
    #[serde(default)]
    pub idle_timeout_ms: u32,
    /// The whole exchange with the backend. From 50 on; 0: as long as it takes. In `aws-rest` to 29000, in `aws-http` to
    /// 30000, which is what 0 is there; to 900000 with `STREAM`, which is what 0 is then.
    #[serde(default)]
    pub timeout_ms: u32,
    /// `HTTP_PROXY` and `HTTP` over HTTP/1.1: when a call is sent again; left out: only where it surely had no effect.
    #[serde(default)]
    pub retry_policy: Option<RetryPolicy>,
    /// When a backend that fails is left alone for a while; left out: never.
    #[serde(default)]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// `MOCK`: the fixed answer. A mock has this, or `integrationResponses`, or `examples`.
    #[serde(default)]
    pub mock_response: Option<MockResponse>,
    /// `MOCK`: by a request's media type the status that it is to get, as a constant: `{"statusCode": 200}`.
    #[serde(default)]
    pub request_templates: BTreeMap<String, String>,
    /// `MOCK`: the answers that `requestTemplates` choose from, the first whose pattern takes the status; a request that no
    /// template is for gets the one without a pattern. `HTTP`, `AWS`: what callers get, by the first whose pattern takes the
    /// status of the backend or service, or what a function throws; without any they get what was answered.
    #[serde(default)]
    pub integration_responses: Vec<IntegrationResponse>,
    /// `MOCK`: the answers that callers choose from by `Prefer: code=404, example=unknown` and by `Accept`; the first is
    /// everybody else's.
    #[serde(default)]
    pub examples: Vec<MockExample>,
    /// `MOCK`, when it is written: an operation of an OpenAPI description, with the `components` that it refers to beside its
    /// `responses`; `examples` are made of it.
    #[serde(default, skip_serializing)]
    #[schema(value_type = Option<Object>, write_only)]
    pub openapi_operation: Option<Value>,
    /// What the certificate of a backend over https must be; absent: its host's, by a public
    /// authority.
    #[serde(default)]
    pub tls_config: Option<TlsConfig>,
    /// `MOCK`: what becomes of the bodies of `mockResponse` and `examples`; null: they are text. `HTTP`, `AWS`: what becomes of
    /// callers' bodies.
    #[serde(default)]
    pub content_handling: Option<ContentHandling>,
    #[serde(default)]
    pub description: String,
}

impl Versioned for Integration {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for Integration {
    const LIST: &'static str = "integrations";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

impl IntegrationType {
    pub const ALL: [Self; 5] = [Self::HttpProxy, Self::Http, Self::AwsProxy, Self::Aws, Self::Mock];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::HttpProxy => "HTTP_PROXY",
            Self::Http => "HTTP",
            Self::AwsProxy => "AWS_PROXY",
            Self::Aws => "AWS",
            Self::Mock => "MOCK",
        }
    }
}

impl PayloadFormatVersion {
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

impl FromStr for PayloadFormatVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| Error::bad_request("payloadFormatVersion", "must be \"1.0\" or \"2.0\""))
    }
}

impl ProtocolVersion {
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP1",
            Self::Http2 => "HTTP2",
        }
    }
}

impl Settings {
    /// A proxy to this URI, with the plane's defaults.
    pub fn http_proxy(uri: &str) -> Self {
        Self {
            kind: IntegrationType::HttpProxy,
            uri: uri.to_owned(),
            method: String::new(),
            preserve_host: false,
            protocol_version: ProtocolVersion::default(),
            payload_format_version: None,
            connection_type: ConnectionType::default(),
            connection_id: None,
            forwarded: None,
            response_transfer_mode: None,
            aws: None,
            connect_timeout_ms: 0,
            first_byte_timeout_ms: 0,
            idle_timeout_ms: 0,
            timeout_ms: 0,
            retry_policy: None,
            circuit_breaker: None,
            mock_response: None,
            content_handling: None,
            tls_config: None,
            request_templates: BTreeMap::new(),
            integration_responses: Vec::new(),
            examples: Vec::new(),
            openapi_operation: None,
            description: String::new(),
        }
    }

    /// A function at this URI, with the plane's defaults.
    pub fn aws_proxy(uri: &str, version: PayloadFormatVersion) -> Self {
        Self {
            kind: IntegrationType::AwsProxy,
            payload_format_version: Some(version),
            ..Self::http_proxy(uri)
        }
    }

    /// Checks every field; an error names the field.
    pub fn checked(mut self, reach: &Reach) -> Result<Self> {
        self.description = text::description("description", self.description)?;
        self.check_connection()?;
        match self.kind {
            IntegrationType::HttpProxy => self.check_http_proxy(reach)?,
            IntegrationType::Http => self.check_http(reach)?,
            IntegrationType::AwsProxy => self.check_aws_proxy(reach)?,
            IntegrationType::Aws => self.check_aws_call(reach)?,
            IntegrationType::Mock => self.check_mock()?,
        }
        Ok(self)
    }

    fn check_aws_proxy(&self, reach: &Reach) -> Result<()> {
        for (param, set) in [
            ("method", !self.method.is_empty()),
            ("preserveHost", self.preserve_host),
            ("forwarded", self.forwarded.is_some()),
        ] {
            if set {
                let rule = "belongs to type HTTP_PROXY: a function is POSTed to, and its event says the rest";
                return Err(Error::bad_request(param, rule));
            }
        }
        if self.retry_policy.is_some() {
            return Err(Error::bad_request("retryPolicy", "belongs to type HTTP_PROXY"));
        }
        if let Some(aws) = self.aws.as_ref().filter(|aws| !aws.subtype.is_empty()) {
            if self.payload_format_version == Some(PayloadFormatVersion::V2) {
                let rule = "must be \"1.0\" with a subtype, or left out";
                return Err(Error::bad_request("payloadFormatVersion", rule));
            }
            return self.check_subtype(aws, reach);
        }
        if self.payload_format_version.is_none() {
            let rule = "AWS_PROXY needs a payloadFormatVersion: \"1.0\" or \"2.0\"";
            return Err(Error::bad_request("payloadFormatVersion", rule));
        }
        if self.uri.is_empty() {
            let rule = "AWS_PROXY needs a uri: where the function takes its events";
            return Err(Error::bad_request("uri", rule));
        }
        self.check_aws(reach)?;
        self.check_backend(reach)
    }

    /// Where something is sent to, and how long that may take.
    fn check_backend(&self, reach: &Reach) -> Result<()> {
        self.refuse_mocks()?;
        if self.content_handling.is_some() {
            let rule = "belongs to types MOCK, HTTP and AWS: what passes through keeps its bytes";
            return Err(Error::bad_request("contentHandling", rule));
        }
        self.check_address(reach)
    }

    fn check_address(&self, reach: &Reach) -> Result<()> {
        if self.uri.len() > URI_BYTES_MAX {
            let rule = format!("must have at most {URI_BYTES_MAX} bytes");
            return Err(Error::bad_request("uri", rule));
        }
        let uri = self.backend_uri();
        reach.check(&uri).map_err(|reason| Error::bad_request("uri", reason))?;
        if let Some(tls) = &self.tls_config {
            tls.check(&uri)?;
        }
        UriTemplate::parse(&uri).map_err(|reason| Error::bad_request("uri", reason.to_string()))?;
        let breaker = self.circuit_breaker.as_ref().map(CircuitBreaker::check).transpose();
        breaker.map_err(|error| error.within("circuitBreaker"))?;
        self.check_timeouts()
    }

    /// Whether every `{name}` in the URI is a variable of the route.
    pub fn check_fit(&self, route: &RouteKey) -> Result<()> {
        if self.kind == IntegrationType::Mock {
            return Ok(());
        }
        self.check_parameters(route)?;
        UriTemplate::parse(&self.backend_uri())
            .and_then(|template| template.check(route))
            .map_err(|reason| Error::bad_request("uri", reason.to_string()))
    }

    fn check_mock(&mut self) -> Result<()> {
        for (param, set) in [
            ("uri", !self.uri.is_empty()),
            ("method", !self.method.is_empty()),
            ("preserveHost", self.preserve_host),
            ("protocolVersion", self.protocol_version != ProtocolVersion::default()),
            ("forwarded", self.forwarded.is_some()),
            ("responseTransferMode", self.response_transfer_mode.is_some()),
            ("connectTimeoutMs", self.connect_timeout_ms != 0),
            ("firstByteTimeoutMs", self.first_byte_timeout_ms != 0),
            ("idleTimeoutMs", self.idle_timeout_ms != 0),
            ("timeoutMs", self.timeout_ms != 0),
            ("retryPolicy", self.retry_policy.is_some()),
            ("circuitBreaker", self.circuit_breaker.is_some()),
            ("tlsConfig", self.tls_config.is_some()),
        ] {
            if set {
                return Err(Error::bad_request(param, "belongs to type HTTP_PROXY"));
            }
        }
        for (param, set) in [
            ("payloadFormatVersion", self.payload_format_version.is_some()),
            ("aws", self.aws.is_some()),
        ] {
            if set {
                return Err(Error::bad_request(param, "belongs to type AWS_PROXY"));
            }
        }
        self.check_answers()
    }
}

pub async fn create(
    app: &App,
    actor: &Actor,
    api: ApiId,
    settings: Settings,
) -> Result<Integration> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    store::api::lock(&mut tx, actor.tenant, api).await?;
    let integration = insert(app, &mut tx, actor, api, settings).await?;
    tx.commit().await?;
    Ok(integration)
}

/// Makes an integration in an Api that the transaction has locked.
pub(crate) async fn insert(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    api: ApiId,
    settings: Settings,
) -> Result<Integration> {
    let limit = limit::of(tx, actor.tenant, LimitName::IntegrationsPerApi).await?;
    if store::integration::count(tx, actor.tenant, api).await? >= limit {
        return Err(LimitName::IntegrationsPerApi.exceeded(limit));
    }
    let settings = settings.checked(&Reach::of(app, tx, actor.tenant).await?)?;
    Bounds::of(tx, actor.tenant, api).await?.check(&settings)?;
    aws::check_secret(tx, actor, &settings).await?;
    connection::check_named(tx, actor, &settings).await?;
    let integration =
        store::integration::insert(tx, actor.tenant, api, app.rng.id(), &settings).await?;
    check_mocks(tx, actor, &integration).await?;
    let id = integration.id.as_str();
    audit::record(app, tx, actor, "integration.create", id, None, Some(&integration)).await?;
    auto_deployment::draft_changed(tx, actor, api).await?;
    Ok(integration)
}

/// Whether the Api, which is locked, still holds its MOCK answers, now that this integration was written.
async fn check_mocks(tx: &mut Tx, actor: &Actor, written: &Integration) -> Result<()> {
    if written.settings.kind != IntegrationType::Mock {
        return Ok(());
    }
    let bytes = store::integration::mock_bytes(tx, actor.tenant, written.api).await?;
    if bytes > MOCKS_BYTES_MAX as u64 {
        let rule =
            format!("the MOCK answers of an API have at most {MOCKS_BYTES_MAX} bytes together");
        return Err(Error::limit_exceeded("mockResponse", rule));
    }
    Ok(())
}

pub async fn get(app: &App, actor: &Actor, id: IntegrationId) -> Result<Integration> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("integration"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[IntegrationId]) -> Result<Vec<Integration>> {
    let mut tx = app.begin(actor).await?;
    store::integration::find(&mut tx, actor.tenant, ids).await
}

/// Oldest first.
pub async fn list(app: &App, actor: &Actor, api: ApiId, page: &Page) -> Result<Paged<Integration>> {
    let mut tx = app.begin(actor).await?;
    store::api::must_exist(&mut tx, actor.tenant, api).await?;
    page.cut(store::integration::list(&mut tx, actor.tenant, api, page).await?)
}

/// Puts `settings` in the place of those it had.
pub async fn update(
    app: &App,
    actor: &Actor,
    id: IntegrationId,
    settings: Settings,
) -> Result<Integration> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    actor.expects(&lock(&mut tx, actor, id).await?)?;
    let integration = replace(app, &mut tx, actor, id, settings).await?;
    tx.commit().await?;
    Ok(integration)
}

/// The same inside another operation. Every route that leads here must have the URI's parameters.
pub(crate) async fn replace(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    id: IntegrationId,
    settings: Settings,
) -> Result<Integration> {
    let before = lock(tx, actor, id).await?;
    let settings = settings.checked(&Reach::of(app, tx, actor.tenant).await?)?;
    Bounds::of(tx, actor.tenant, before.api).await?.check(&settings)?;
    aws::check_secret(tx, actor, &settings).await?;
    connection::check_named(tx, actor, &settings).await?;
    for route in store::route::of_integration(tx, actor.tenant, before.api, id).await? {
        settings.check_fit(&route.parsed()?)?;
    }
    let after = store::integration::update(tx, actor.tenant, id, &settings).await?;
    check_mocks(tx, actor, &after).await?;
    audit::record(app, tx, actor, "integration.update", id.as_str(), Some(&before), Some(&after))
        .await?;
    auto_deployment::draft_changed(tx, actor, before.api).await?;
    Ok(after)
}

/// Refused while a route leads to it.
pub async fn delete(app: &App, actor: &Actor, id: IntegrationId) -> Result<()> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let before = lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    let routes = store::route::of_integration(&mut tx, actor.tenant, before.api, id).await?;
    if let Some(route) = routes.first() {
        let rule = format!("the route {} uses this integration", route.route_key());
        return Err(Error::conflict("id", rule));
    }
    store::integration::delete(&mut tx, actor.tenant, id).await?;
    let noun_id = id.as_str();
    audit::record(app, &mut tx, actor, "integration.delete", noun_id, Some(&before), None).await?;
    auto_deployment::draft_changed(&mut tx, actor, before.api).await?;
    tx.commit().await?;
    Ok(())
}

/// The integration as it is once its Api is locked.
async fn lock(tx: &mut Tx, actor: &Actor, id: IntegrationId) -> Result<Integration> {
    let missing = || Error::NotFound("integration");
    let seen = store::integration::find(tx, actor.tenant, &[id]).await?.pop();
    let api = seen.ok_or_else(missing)?.api;
    store::api::lock(tx, actor.tenant, api).await?;
    store::integration::find(tx, actor.tenant, &[id]).await?.pop().ok_or_else(missing)
}

#[cfg(test)]
mod tests;
