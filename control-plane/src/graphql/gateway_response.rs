//! What Apis have the gateway say by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::gateway_response::Settings;
use crate::error::{Error, Result};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::mock::{self, BodyTemplate, BodyTemplateInput};
use crate::graphql::node::Kind;
use crate::graphql::{caller, loader};
use crate::ids::ApiId;

#[derive(Default)]
pub struct GatewayResponseMutation;

/// How an API answers what is of one type, where the gateway answers by itself.
pub struct GatewayResponse(domain::gateway_response::GatewayResponse);

/// What an answer is about, by AWS's names.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "plan::ResponseType")]
pub enum GatewayResponseType {
    AccessDenied,
    ApiConfigurationError,
    AuthorizerConfigurationError,
    AuthorizerFailure,
    BadRequestBody,
    BadRequestParameters,
    /// What of 4XX has no gateway response of its own.
    #[graphql(name = "DEFAULT_4XX")]
    Default4xx,
    /// What of 5XX has no gateway response of its own.
    #[graphql(name = "DEFAULT_5XX")]
    Default5xx,
    ExpiredToken,
    IntegrationFailure,
    IntegrationTimeout,
    InvalidApiKey,
    InvalidSignature,
    /// In `AWS_REST` a path that no route takes, too.
    MissingAuthenticationToken,
    QuotaExceeded,
    RequestTooLarge,
    ResourceNotFound,
    Throttled,
    Unauthorized,
    UnsupportedMediaType,
    WafFiltered,
}

/// A header of a gateway response.
#[derive(SimpleObject)]
struct ResponseParameter {
    /// `gatewayresponse.header.NAME`
    name: String,
    /// A constant in single quotes, or a variable.
    value: String,
}

/// A header of a gateway response.
#[derive(InputObject)]
struct ResponseParameterInput {
    /// `gatewayresponse.header.NAME`
    name: String,
    /// `'constant'`, `context.NAME`, `stageVariables.NAME`, `method.request.header.NAME`, `method.request.querystring.NAME`
    /// or `method.request.path.NAME`.
    value: String,
}

/// All of a gateway response; what is left out is as the gateway has it.
#[derive(InputObject)]
struct UpdateGatewayResponseInput {
    api_id: ID,
    response_type: GatewayResponseType,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    /// 200 to 599. Left out: that of the default for its class, else the gateway's.
    status_code: Option<i32>,
    /// At most 50.
    response_parameters: Option<Vec<ResponseParameterInput>>,
    /// Bodies, of which a caller gets the one that its `Accept` likes best. `$context.NAME`, `$stageVariables.NAME` and
    /// `$method.request.…` stand for values, and nothing else is read. At most 10, and 32 KiB.
    response_templates: Option<Vec<BodyTemplateInput>>,
}

#[derive(InputObject)]
struct DeleteGatewayResponseInput {
    api_id: ID,
    response_type: GatewayResponseType,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
}

#[derive(SimpleObject)]
struct GatewayResponsePayload {
    gateway_response: Option<GatewayResponse>,
    user_errors: Vec<UserError>,
}

impl GatewayResponsePayload {
    fn of(done: Result<domain::gateway_response::GatewayResponse>) -> async_graphql::Result<Self> {
        let (done, user_errors) = user_errors(done)?;
        Ok(Self { gateway_response: done.map(GatewayResponse), user_errors })
    }
}

#[Object]
impl GatewayResponseMutation {
    /// Has an API answer so what is of one type, from its next deployment on.
    async fn update_gateway_response(
        &self,
        ctx: &Context<'_>,
        input: UpdateGatewayResponseInput,
    ) -> async_graphql::Result<GatewayResponsePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let updated = async {
            let api = Kind::Api.parse(&input.api_id, "apiId")?;
            let status_code = input.status_code.map(|status| mock::status("statusCode", status));
            let templates = input.response_templates.unwrap_or_default();
            let settings = Settings {
                status_code: status_code.transpose()?,
                response_parameters: parameters(input.response_parameters.unwrap_or_default())?,
                response_templates: mock::templates("responseTemplates", templates)?,
            };
            let of = input.response_type.into();
            domain::gateway_response::update(app, actor, api, of, settings).await
        };
        GatewayResponsePayload::of(updated.await)
    }

    /// Has an API answer what is of one type as the gateway does, from its next deployment on.
    async fn delete_gateway_response(
        &self,
        ctx: &Context<'_>,
        input: DeleteGatewayResponseInput,
    ) -> async_graphql::Result<GatewayResponsePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let api = Kind::Api.parse(&input.api_id, "apiId")?;
            let of = input.response_type.into();
            domain::gateway_response::delete(app, actor, api, of).await
        };
        GatewayResponsePayload::of(deleted.await)
    }
}

fn parameters(input: Vec<ResponseParameterInput>) -> Result<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    for (at, ResponseParameterInput { name, value }) in input.into_iter().enumerate() {
        if parameters.insert(name, value).is_some() {
            let param = format!("responseParameters[{at}].name");
            return Err(Error::bad_request(param, "an earlier one has this name"));
        }
    }
    Ok(parameters)
}

#[Object]
impl GatewayResponse {
    async fn response_type(&self) -> GatewayResponseType {
        self.0.response_type.into()
    }

    /// Whether it is as the gateway has it.
    async fn default_response(&self) -> bool {
        self.0.default_response
    }

    /// Null: that of the default for its class, else the gateway's.
    async fn status_code(&self) -> Option<u16> {
        self.0.settings.status_code
    }

    /// What the gateway has where nobody says another; null for the two defaults.
    async fn default_status_code(&self) -> Option<u16> {
        self.0.response_type.default_status()
    }

    async fn response_parameters(&self) -> Vec<ResponseParameter> {
        let all = self.0.settings.response_parameters.iter();
        all.map(|(name, value)| ResponseParameter { name: name.clone(), value: value.clone() })
            .collect()
    }

    /// Without any the body is the gateway's.
    async fn response_templates(&self) -> Vec<BodyTemplate> {
        mock::told(&self.0.settings.response_templates)
    }

    /// When it was last changed; null where it is as the gateway has it.
    async fn updated_at(&self) -> Option<DateTime<Utc>> {
        self.0.updated_at
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
    }
}

/// The gateway responses of an Api.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OfApi(pub ApiId);

impl Loader<OfApi> for Batches {
    type Value = Vec<domain::gateway_response::GatewayResponse>;
    type Error = Arc<Error>;

    async fn load(&self, apis: &[OfApi]) -> Result<HashMap<OfApi, Self::Value>, Self::Error> {
        let ids: Vec<ApiId> = apis.iter().map(|OfApi(id)| *id).collect();
        let found = domain::gateway_response::find(&self.app, &self.actor, &ids).await?;
        Ok(found.into_iter().map(|(id, all)| (OfApi(id), all)).collect())
    }
}

/// Those of an Api: one of each type.
pub async fn of_api(ctx: &Context<'_>, api: ApiId) -> async_graphql::Result<Vec<GatewayResponse>> {
    let all = loader::one(ctx, OfApi(api)).await?.unwrap_or_default();
    Ok(all.into_iter().map(GatewayResponse).collect())
}
