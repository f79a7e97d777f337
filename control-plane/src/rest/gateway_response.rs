//! What Apis have the gateway say by itself.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::app::App;
use crate::domain;
use crate::domain::gateway_response::{Settings, response_type};
use crate::error::Result;
use crate::ids::ApiId;
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path};
use crate::rest::page::List;
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, update, delete))
}

/// How an API answers what is of one type, where the gateway answers by itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GatewayResponse {
    /// AWS's name, such as `THROTTLED`.
    response_type: &'static str,
    /// Whether it is as the gateway has it.
    default_response: bool,
    /// Null: that of the default for its class, else the gateway's.
    status_code: Option<u16>,
    /// What the gateway has where nobody says another; null for the two defaults.
    default_status_code: Option<u16>,
    /// `gatewayresponse.header.NAME` to a constant in single quotes, or to a variable.
    response_parameters: BTreeMap<String, String>,
    /// A media type to a template; without any the body is the gateway's.
    response_templates: BTreeMap<String, String>,
    /// When it was last changed; null where it is as the gateway has it.
    updated_at: Option<DateTime<Utc>>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(GatewayResponse);

impl From<domain::gateway_response::GatewayResponse> for GatewayResponse {
    fn from(of: domain::gateway_response::GatewayResponse) -> Self {
        Self {
            version: of.version(),
            response_type: of.response_type.as_str(),
            default_response: of.default_response,
            status_code: of.settings.status_code,
            default_status_code: of.response_type.default_status(),
            response_parameters: of.settings.response_parameters,
            response_templates: of.settings.response_templates,
            updated_at: of.updated_at,
        }
    }
}

/// All of a gateway response; what is left out is as the gateway has it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateGatewayResponse {
    /// Left out: that of the default for its class, else the gateway's.
    #[serde(default)]
    #[schema(minimum = 200, maximum = 599)]
    status_code: Option<u16>,
    /// `gatewayresponse.header.NAME` to `'constant'`, `context.NAME`, `stageVariables.NAME`, `method.request.header.NAME`,
    /// `method.request.querystring.NAME` or `method.request.path.NAME`. At most 50.
    #[serde(default)]
    response_parameters: BTreeMap<String, String>,
    /// A media type to a body, of which a caller gets the one that its `Accept` likes best. `$context.NAME`,
    /// `$stageVariables.NAME` and `$method.request.…` stand for values, and nothing else is read. At most 10, and 32 KiB.
    #[serde(default)]
    response_templates: BTreeMap<String, String>,
}

/// The gateway responses of an API: one of each type.
#[utoipa::path(get, path = "/apis/{apiId}/gateway-responses", tag = "apis",
    operation_id = "listGatewayResponses", params(("apiId" = String, Path)), responses(
        (status = 200, body = List<GatewayResponse>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
) -> Result<List<GatewayResponse>> {
    let all = domain::gateway_response::list(&app, &actor, api).await?;
    Ok(List { items: all.into_iter().map(Into::into).collect(), next_cursor: None })
}

/// How an API answers what is of one type.
#[utoipa::path(get, path = "/apis/{apiId}/gateway-responses/{responseType}", tag = "apis",
    operation_id = "getGatewayResponse",
    params(("apiId" = String, Path), ("responseType" = String, Path)), responses(
        (status = 200, body = GatewayResponse),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path((api, of)): Path<(ApiId, String)>,
) -> Result<Tag<GatewayResponse>> {
    let of = response_type(&of)?;
    Ok(Tag(domain::gateway_response::get(&app, &actor, api, of).await?.into()))
}

/// Has an API answer so what is of one type, from its next deployment on.
#[utoipa::path(put, path = "/apis/{apiId}/gateway-responses/{responseType}", tag = "apis",
    operation_id = "updateGatewayResponse",
    params(("apiId" = String, Path), ("responseType" = String, Path)),
    request_body = UpdateGatewayResponse, responses(
        (status = 200, body = GatewayResponse),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path((api, of)): Path<(ApiId, String)>,
    extract::Json(body): extract::Json<UpdateGatewayResponse>,
) -> Result<Tag<GatewayResponse>> {
    let settings = Settings {
        status_code: body.status_code,
        response_parameters: body.response_parameters,
        response_templates: body.response_templates,
    };
    let of = response_type(&of)?;
    Ok(Tag(domain::gateway_response::update(&app, &actor, api, of, settings).await?.into()))
}

/// Has an API answer what is of one type as the gateway does, from its next deployment on.
#[utoipa::path(delete, path = "/apis/{apiId}/gateway-responses/{responseType}", tag = "apis",
    operation_id = "deleteGatewayResponse",
    params(("apiId" = String, Path), ("responseType" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path((api, of)): Path<(ApiId, String)>,
) -> Result<StatusCode> {
    domain::gateway_response::delete(&app, &actor, api, response_type(&of)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
