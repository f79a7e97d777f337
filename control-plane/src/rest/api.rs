//! Apis.

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
use crate::domain::api::{Dialect, NewApi, Protocol, UpdateApi};
use crate::domain::cors::CorsConfiguration;
use crate::domain::patch::Patch;
use crate::domain::paths::{PathNormalization, TrailingSlash};
use crate::error::Result;
use crate::ids::ApiId;
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

/// What a tenant publishes. Its routes and integrations are a draft until they are deployed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Api {
    #[schema(value_type = String)]
    id: ApiId,
    name: String,
    description: String,
    protocol: Protocol,
    dialect: Dialect,
    /// Where callers put their API key, such as `$request.header.x-api-key`; the first that a call has decides. A
    /// parameter of the query is not passed on. Of the draft: stages have it from their deployment.
    #[serde(rename = "apiKeyLocations")]
    key_locations: Vec<String>,
    /// Null: as the dialect has it, which is `strict`, and `ignore` in `aws-rest`. Of the draft, as `apiKeyLocations`.
    trailing_slash: Option<TrailingSlash>,
    /// Null: `reject`. Of the draft, as `apiKeyLocations`.
    path_normalization: Option<PathNormalization>,
    /// How many bytes an answer has at least that is compressed for callers who take it; null: nothing is compressed. Of
    /// the draft, as `apiKeyLocations`.
    minimum_compression_size: Option<u32>,
    /// Whether requests' bodies are decompressed before they go on, and those of a Content-Encoding that this API does not take are
    /// refused with `415 UNSUPPORTED_MEDIA_TYPE`. Null: as the dialect has it, which is always in `aws-rest`, never in `aws-http`,
    /// and for functions in `native`. Of the draft, as `apiKeyLocations`.
    decompress_requests: Option<bool>,
    /// Which payloads are binary. In `aws-rest` AWS's tables say what becomes of them; elsewhere they are base64 in the
    /// events of functions. Of the draft, as `apiKeyLocations`.
    binary_media_types: Vec<String>,
    /// Which pages may read answers; null: preflights are calls like others, and backends speak for themselves. Of the
    /// draft, as `apiKeyLocations`.
    cors_configuration: Option<CorsConfiguration>,
    /// Whether callers may name another method by `X-HTTP-Method-Override`, which the backend does not get. Null: as the
    /// dialect has it, which is in `aws-rest` alone. Of the draft, as `apiKeyLocations`.
    method_override: Option<bool>,
    /// Whether the draft differs from what each stage serves.
    pending_changes: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(Api);

impl Api {
    fn of(api: domain::api::Api, pending_changes: bool) -> Self {
        Self {
            version: api.version(),
            id: api.id,
            name: api.name,
            description: api.description,
            protocol: api.protocol,
            dialect: api.dialect,
            key_locations: api.api_key_locations,
            trailing_slash: api.trailing_slash,
            path_normalization: api.path_normalization,
            minimum_compression_size: api.minimum_compression_size,
            decompress_requests: api.decompress_requests,
            binary_media_types: api.binary_media_types,
            cors_configuration: api.cors_configuration,
            method_override: api.method_override,
            pending_changes,
            created_at: api.created_at,
            updated_at: api.updated_at,
        }
    }

    async fn load(app: &App, actor: &Actor, api: domain::api::Api) -> Result<Self> {
        let pending = domain::pending_changes::of_apis(app, actor, &[api.id]).await?;
        let pending = pending.get(&api.id).copied().unwrap_or(false);
        Ok(Self::of(api, pending))
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateApi {
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
    /// `HTTP` when left out.
    protocol: Option<Protocol>,
    /// `native` when left out.
    dialect: Option<Dialect>,
    /// Where callers put their API key: `$request.header.NAME`, of which `Authorization` is the Bearer token, or
    /// `$request.querystring.NAME`. `$request.header.x-api-key` when left out.
    #[schema(min_items = 1, max_items = 5)]
    api_key_locations: Option<Vec<String>>,
    /// When left out as the dialect has it, which is `strict`, and `ignore` in `aws-rest`.
    trailing_slash: Option<TrailingSlash>,
    /// `reject` when left out.
    path_normalization: Option<PathNormalization>,
    /// How many bytes an answer has at least that is compressed for callers who take it. When left out nothing is
    /// compressed.
    #[schema(minimum = 0, maximum = 10_485_760)]
    minimum_compression_size: Option<u32>,
    /// Whether requests' bodies are decompressed before they go on. When left out as the dialect has it, which is always in
    /// `aws-rest`, never in `aws-http`, and for functions in `native`.
    decompress_requests: Option<bool>,
    /// Which payloads are binary, as `image/png`, `image/*` or `*/*`.
    #[schema(max_items = 100)]
    binary_media_types: Option<Vec<String>>,
    cors_configuration: Option<CorsConfiguration>,
    /// Whether callers may name another method by `X-HTTP-Method-Override`; when left out in `aws-rest` alone.
    method_override: Option<bool>,
}

/// A field left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PatchApi {
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// All places where callers put their API key.
    #[schema(min_items = 1, max_items = 5)]
    api_key_locations: Option<Vec<String>>,
    /// Null: as the Api's dialect has it.
    #[serde(default)]
    #[schema(value_type = Option<TrailingSlash>)]
    trailing_slash: Patch<TrailingSlash>,
    /// Null: `reject`.
    #[serde(default)]
    #[schema(value_type = Option<PathNormalization>)]
    path_normalization: Patch<PathNormalization>,
    /// Null: nothing is compressed.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 10_485_760)]
    minimum_compression_size: Patch<u32>,
    /// Null: as the Api's dialect has it.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    decompress_requests: Patch<bool>,
    /// All media types that are binary.
    #[schema(max_items = 100)]
    binary_media_types: Option<Vec<String>>,
    /// All of it; null: off.
    #[serde(default)]
    #[schema(value_type = Option<CorsConfiguration>)]
    cors_configuration: Patch<CorsConfiguration>,
    /// Null: as the Api's dialect has it.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    method_override: Patch<bool>,
}

/// The tenant's Apis, oldest first.
#[utoipa::path(get, path = "/apis", tag = "apis", operation_id = "listApis",
    params(PageQuery), responses(
        (status = 200, body = List<Api>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<Api>> {
    let apis = domain::api::list(&app, &actor, &page.try_into()?).await?;
    let ids: Vec<ApiId> = apis.items.iter().map(|api| api.id).collect();
    let pending = domain::pending_changes::of_apis(&app, &actor, &ids).await?;
    Ok(List::map(apis, |api| {
        let pending = pending.get(&api.id).copied().unwrap_or(false);
        Api::of(api, pending)
    }))
}

/// Makes an Api.
#[utoipa::path(post, path = "/apis", tag = "apis", operation_id = "createApi",
    request_body = CreateApi, responses(
        (status = 201, body = Api),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateApi>,
) -> Result<(StatusCode, Tag<Api>)> {
    let new = NewApi::new(
        &body.name,
        body.description,
        body.protocol.unwrap_or(Protocol::Http),
        body.dialect.unwrap_or(Dialect::Native),
    )?
    .located(body.api_key_locations)?;
    let new = NewApi {
        trailing_slash: body.trailing_slash,
        path_normalization: body.path_normalization,
        cors_configuration: body.cors_configuration,
        method_override: body.method_override,
        decompress_requests: body.decompress_requests,
        ..new
    };
    let size = body.minimum_compression_size.map(Into::into);
    let new = new.with_media(size, body.binary_media_types)?;
    let api = domain::api::create(&app, &actor, new).await?;
    Ok((StatusCode::CREATED, Tag(Api::of(api, false))))
}

/// One Api.
#[utoipa::path(get, path = "/apis/{apiId}", tag = "apis", operation_id = "getApi",
    params(("apiId" = String, Path)), responses(
        (status = 200, body = Api),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(State(app): State<App>, actor: Actor, Path(id): Path<ApiId>) -> Result<Tag<Api>> {
    let api = domain::api::get(&app, &actor, id).await?;
    Ok(Tag(Api::load(&app, &actor, api).await?))
}

/// Changes an Api's name, description, where its callers put their key, how it reads their paths, or what it says of bodies.
#[utoipa::path(patch, path = "/apis/{apiId}", tag = "apis", operation_id = "updateApi",
    params(("apiId" = String, Path)), request_body = PatchApi, responses(
        (status = 200, body = Api),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ApiId>,
    extract::Json(body): extract::Json<PatchApi>,
) -> Result<Tag<Api>> {
    let change = UpdateApi {
        name: body.name,
        description: body.description,
        api_key_locations: body.api_key_locations,
        trailing_slash: body.trailing_slash,
        path_normalization: body.path_normalization,
        minimum_compression_size: body.minimum_compression_size,
        decompress_requests: body.decompress_requests,
        binary_media_types: body.binary_media_types,
        cors_configuration: body.cors_configuration,
        method_override: body.method_override,
    };
    let api = domain::api::update(&app, &actor, id, change).await?;
    Ok(Tag(Api::load(&app, &actor, api).await?))
}

/// Deletes an Api with its draft, its deployments and its stages; refused while a usage plan holds a stage.
#[utoipa::path(delete, path = "/apis/{apiId}", tag = "apis", operation_id = "deleteApi",
    params(("apiId" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(State(app): State<App>, actor: Actor, Path(id): Path<ApiId>) -> Result<StatusCode> {
    domain::api::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
