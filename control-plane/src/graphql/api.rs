//! Apis.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::api::{NewApi, UpdateApi};
use crate::domain::media;
use crate::domain::page::Key;
use crate::domain::patch::Patch;
use crate::error::Error;
use crate::graphql::connection::{connection, page};
use crate::graphql::cors::{CorsConfiguration, CorsConfigurationInput};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::deployment::Deployment;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::gateway_response::{self, GatewayResponse};
use crate::graphql::integration::Integration;
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::resource::Resource;
use crate::graphql::route::Route;
use crate::graphql::stage::Stage;
use crate::graphql::{caller, loader};
use crate::ids::ApiId;

#[derive(Default)]
pub struct ApiQuery;

#[derive(Default)]
pub struct ApiMutation;

/// What a tenant publishes. Its routes and integrations are a draft until they are deployed.
pub struct Api(domain::api::Api);

impl From<domain::api::Api> for Api {
    fn from(api: domain::api::Api) -> Self {
        Self(api)
    }
}

/// What an Api speaks with its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::api::Protocol")]
pub enum Protocol {
    Http,
    Websocket,
}

/// Whose observable habits an Api has: our own, or those of one of AWS's two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::api::Dialect")]
pub enum Dialect {
    Native,
    AwsRest,
    AwsHttp,
}

/// What a slash at the end of a call's path means, where a route has the path without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::paths::TrailingSlash")]
pub enum TrailingSlash {
    /// Another path, of which nothing is known.
    Strict,
    /// Nothing: the route answers to both.
    Ignore,
    /// Another path: its callers are sent to the one without the slash, by `308 Permanent Redirect`.
    Redirect,
}

/// What becomes of a path with a dot segment or a doubled slash, in any encoding, before a route is chosen for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::paths::PathNormalization")]
pub enum PathNormalization {
    /// The call is refused with `400 BAD_REQUEST_PARAMETERS`.
    Reject,
    /// The call goes on with the path that RFC 3986 §5.2.4 makes of it, each doubled slash one.
    Normalize,
    /// The call goes on with the path as it came, and no check is made that its backend reads it as the node does.
    Pass,
}

#[derive(InputObject)]
struct CreateApiInput {
    /// At most 128 characters.
    name: String,
    description: Option<String>,
    #[graphql(default_with = "Some(Protocol::Http)")]
    protocol: Option<Protocol>,
    #[graphql(default_with = "Some(Dialect::Native)")]
    dialect: Option<Dialect>,
    /// Where callers put their API key: `$request.header.NAME`, of which `Authorization` is the Bearer token, or
    /// `$request.querystring.NAME`; the first that a call has decides. One to five; `$request.header.x-api-key` when left
    /// out.
    api_key_locations: Option<Vec<String>>,
    /// Left out: as the dialect has it, which is `STRICT`, and `IGNORE` in `AWS_REST`.
    trailing_slash: Option<TrailingSlash>,
    /// Left out: `REJECT`.
    path_normalization: Option<PathNormalization>,
    /// How many bytes an answer has at least that is compressed for callers who take it, 0 to 10485760. Left out: nothing
    /// is compressed.
    minimum_compression_size: Option<i32>,
    /// Whether requests' bodies are decompressed before they go on. Left out: as the dialect has it, which is always in `AWS_REST`,
    /// never in `AWS_HTTP`, and for functions in `NATIVE`.
    decompress_requests: Option<bool>,
    /// Which payloads are binary, as `image/png`, `image/*` or `*/*`: at most 100.
    binary_media_types: Option<Vec<String>>,
    /// Which pages may read answers. Left out: preflights are calls like others, and backends speak for themselves.
    cors_configuration: Option<CorsConfigurationInput>,
    /// Whether callers may name another method by `X-HTTP-Method-Override`. Left out: in `AWS_REST` alone.
    method_override: Option<bool>,
}

#[derive(InputObject)]
struct UpdateApiInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    name: Option<String>,
    description: Option<String>,
    /// All places where callers put their API key: one to five.
    api_key_locations: Option<Vec<String>>,
    /// Null: as the Api's dialect has it.
    trailing_slash: MaybeUndefined<TrailingSlash>,
    /// Null: `REJECT`.
    path_normalization: MaybeUndefined<PathNormalization>,
    /// 0 to 10485760. Null: nothing is compressed.
    minimum_compression_size: MaybeUndefined<i32>,
    /// Null: as the Api's dialect has it.
    decompress_requests: MaybeUndefined<bool>,
    /// All media types that are binary: at most 100.
    binary_media_types: Option<Vec<String>>,
    /// All of it; null: off.
    cors_configuration: MaybeUndefined<CorsConfigurationInput>,
    /// Null: as the Api's dialect has it.
    method_override: MaybeUndefined<bool>,
}

#[derive(SimpleObject)]
struct ApiPayload {
    api: Option<Api>,
    user_errors: Vec<UserError>,
}

impl ApiPayload {
    fn of(result: crate::error::Result<domain::api::Api>) -> async_graphql::Result<Self> {
        let (api, user_errors) = user_errors(result)?;
        Ok(Self { api: api.map(Api), user_errors })
    }
}

#[Object]
impl ApiQuery {
    /// The tenant's Apis, oldest first.
    async fn apis(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Api>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::api::list(app, actor, &page).await?))
    }
}

#[Object]
impl ApiMutation {
    async fn create_api(
        &self,
        ctx: &Context<'_>,
        input: CreateApiInput,
    ) -> async_graphql::Result<ApiPayload> {
        let (app, actor) = caller(ctx)?;
        let create = async || {
            let new = NewApi::new(
                &input.name,
                input.description.unwrap_or_default(),
                input.protocol.unwrap_or(Protocol::Http).into(),
                input.dialect.unwrap_or(Dialect::Native).into(),
            )?;
            let new = NewApi {
                trailing_slash: input.trailing_slash.map(Into::into),
                path_normalization: input.path_normalization.map(Into::into),
                cors_configuration: input.cors_configuration.map(Into::into),
                method_override: input.method_override,
                decompress_requests: input.decompress_requests,
                ..new.located(input.api_key_locations)?
            };
            let size = input.minimum_compression_size.map(Into::into);
            let new = new.with_media(size, input.binary_media_types)?;
            domain::api::create(app, actor, new).await
        };
        ApiPayload::of(create().await)
    }

    async fn update_api(
        &self,
        ctx: &Context<'_>,
        input: UpdateApiInput,
    ) -> async_graphql::Result<ApiPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let update = async || {
            let id = Kind::Api.parse(&input.id, "id")?;
            let size: Patch<i32> = input.minimum_compression_size.into();
            let change = UpdateApi {
                name: input.name,
                description: input.description,
                api_key_locations: input.api_key_locations,
                trailing_slash: input.trailing_slash.map_value(Into::into).into(),
                path_normalization: input.path_normalization.map_value(Into::into).into(),
                minimum_compression_size: size
                    .try_map(|bytes| media::compression_size(bytes.into()))?,
                binary_media_types: input.binary_media_types,
                cors_configuration: input.cors_configuration.map_value(Into::into).into(),
                method_override: input.method_override.into(),
                decompress_requests: input.decompress_requests.into(),
            };
            domain::api::update(app, actor, id, change).await
        };
        ApiPayload::of(update().await)
    }

    /// Deletes the Api with its draft, its deployments and its stages. Refused while a usage plan holds a stage.
    async fn delete_api(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let delete =
            async || domain::api::delete(app, actor, Kind::Api.parse(&input.id, "id")?).await;
        let done = delete().await;
        DeletePayload::of(input.id, done)
    }
}

#[Object]
impl Api {
    pub async fn id(&self) -> ID {
        Kind::Api.id(self.0.id)
    }

    /// The ten characters in hostnames.
    async fn api_id(&self) -> &str {
        self.0.id.as_str()
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn description(&self) -> &str {
        &self.0.description
    }

    async fn protocol(&self) -> Protocol {
        self.0.protocol.into()
    }

    async fn dialect(&self) -> Dialect {
        self.0.dialect.into()
    }

    /// Where callers put their API key, such as `$request.header.x-api-key`; the first that a call has decides. A
    /// parameter of the query is not passed on. Of the draft: stages have it from their deployment.
    async fn api_key_locations(&self) -> &[String] {
        &self.0.api_key_locations
    }

    /// Null: as the dialect has it, which is `STRICT`, and `IGNORE` in `AWS_REST`. Of the draft, as `apiKeyLocations`.
    async fn trailing_slash(&self) -> Option<TrailingSlash> {
        self.0.trailing_slash.map(Into::into)
    }

    /// Null: `REJECT`. Of the draft, as `apiKeyLocations`.
    async fn path_normalization(&self) -> Option<PathNormalization> {
        self.0.path_normalization.map(Into::into)
    }

    /// How many bytes an answer has at least that is compressed for callers who take it; null: nothing is compressed. Of
    /// the draft, as `apiKeyLocations`.
    async fn minimum_compression_size(&self) -> Option<u32> {
        self.0.minimum_compression_size
    }

    /// Whether requests' bodies are decompressed before they go on, and those of a Content-Encoding that this API does not take are
    /// refused with `415 UNSUPPORTED_MEDIA_TYPE`. Null: as the dialect has it, which is always in `AWS_REST`, never in `AWS_HTTP`,
    /// and for functions in `NATIVE`. Of the draft, as `apiKeyLocations`.
    async fn decompress_requests(&self) -> Option<bool> {
        self.0.decompress_requests
    }

    /// Which payloads are binary. In `AWS_REST` AWS's tables say what becomes of them; elsewhere they are base64 in the
    /// events of functions. Of the draft, as `apiKeyLocations`.
    async fn binary_media_types(&self) -> &[String] {
        &self.0.binary_media_types
    }

    /// Which pages may read answers; null: preflights are calls like others, and backends speak for themselves. Of the
    /// draft, as `apiKeyLocations`.
    async fn cors_configuration(&self) -> Option<CorsConfiguration> {
        self.0.cors_configuration.clone().map(Into::into)
    }

    /// Whether callers may name another method by `X-HTTP-Method-Override`, which the backend does not get. Null: as the
    /// dialect has it, which is in `AWS_REST` alone. Of the draft, as `apiKeyLocations`.
    async fn method_override(&self) -> Option<bool> {
        self.0.method_override
    }

    /// What the gateway answers by itself, one of each type. Of the draft, as `apiKeyLocations`.
    async fn gateway_responses(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Vec<GatewayResponse>> {
        gateway_response::of_api(ctx, self.0.id).await
    }

    /// Whether the draft differs from what each stage serves.
    async fn pending_changes(&self, ctx: &Context<'_>) -> async_graphql::Result<bool> {
        Ok(loader::one(ctx, PendingChanges(self.0.id)).await?.unwrap_or(false))
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

    /// The tree of paths: its root, which every Api has, then the oldest first.
    async fn resources(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Resource>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::resource::list(app, actor, self.0.id, &page).await?))
    }

    /// Oldest first.
    async fn routes(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Route>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::route::list(app, actor, self.0.id, &page).await?))
    }

    /// Oldest first.
    async fn integrations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Integration>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::integration::list(app, actor, self.0.id, &page).await?))
    }

    /// Newest first.
    async fn deployments(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Deployment>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::deployment::list(app, actor, self.0.id, &page).await?))
    }

    /// Oldest first.
    async fn stages(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Stage>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::stage::list(app, actor, self.0.id, &page).await?))
    }
}

impl Loader<ApiId> for Batches {
    type Value = domain::api::Api;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[ApiId]) -> Result<HashMap<ApiId, Self::Value>, Self::Error> {
        let found = domain::api::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|api| (api.id, api)).collect())
    }
}

/// Asks whether an Api's draft differs from what its stages serve.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct PendingChanges(ApiId);

impl Loader<PendingChanges> for Batches {
    type Value = bool;
    type Error = Arc<Error>;

    async fn load(
        &self,
        of: &[PendingChanges],
    ) -> Result<HashMap<PendingChanges, bool>, Self::Error> {
        let ids: Vec<ApiId> = of.iter().map(|api| api.0).collect();
        let pending = domain::pending_changes::of_apis(&self.app, &self.actor, &ids).await?;
        Ok(pending.into_iter().map(|(api, pending)| (PendingChanges(api), pending)).collect())
    }
}
