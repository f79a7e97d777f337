//! Routes.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::patch::Patch;
use crate::domain::route::{NewRoute, RouteIntegration, RoutePlace, UpdateRoute};
use crate::error::Error;
use crate::graphql::cors::{CorsConfiguration, CorsConfigurationInput};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::integration::{Integration, IntegrationInput};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::resource::Resource;
use crate::graphql::{caller, loader};
use crate::ids::{IntegrationId, RouteId};

#[derive(Default)]
pub struct RouteMutation;

/// Which calls go to which integration.
pub struct Route(domain::route::Route);

impl From<domain::route::Route> for Route {
    fn from(route: domain::route::Route) -> Self {
        Self(route)
    }
}

#[derive(InputObject)]
struct CreateRouteInput {
    api_id: ID,
    /// GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS or ANY; left out for `$default`.
    method: Option<String>,
    /// `/pets/{id}`, `/files/{proxy+}`, or `$default`.
    path: Option<String>,
    /// The resource that the route is a method of, in the place of `path`.
    resource_id: Option<ID>,
    api_key_required: Option<bool>,
    /// At most 64 characters.
    operation_name: Option<String>,
    integration_id: Option<ID>,
    integration: Option<IntegrationInput>,
    /// In the place of the Api's; without origins it is off here.
    cors_configuration: Option<CorsConfigurationInput>,
}

/// A field left out stays; `integrationId: null` leaves the route without one.
#[derive(InputObject)]
struct UpdateRouteInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    api_key_required: Option<bool>,
    operation_name: Option<String>,
    integration_id: MaybeUndefined<ID>,
    /// Changes the route's integration, or makes one where it has none or shares it.
    integration: Option<IntegrationInput>,
    /// In the place of the Api's; without origins it is off here, null: the Api's.
    cors_configuration: MaybeUndefined<CorsConfigurationInput>,
}

#[derive(SimpleObject)]
struct RoutePayload {
    route: Option<Route>,
    user_errors: Vec<UserError>,
}

impl RoutePayload {
    fn of(result: crate::error::Result<domain::route::Route>) -> async_graphql::Result<Self> {
        let (route, user_errors) = user_errors(result)?;
        Ok(Self { route: route.map(Route), user_errors })
    }
}

fn integration_id(id: &ID) -> crate::error::Result<IntegrationId> {
    Kind::Integration.parse(id, "integrationId")
}

#[Object]
impl RouteMutation {
    /// With `integration` the route's integration is made in the same transaction.
    async fn create_route(
        &self,
        ctx: &Context<'_>,
        input: CreateRouteInput,
    ) -> async_graphql::Result<RoutePayload> {
        let (app, actor) = caller(ctx)?;
        let create = async || {
            let api = Kind::Api.parse(&input.api_id, "apiId")?;
            let existing = input.integration_id.as_ref().map(integration_id).transpose()?;
            let made = input.integration.map(TryInto::try_into).transpose();
            let made = made.map_err(|error: Error| error.within("integration"))?;
            let resource = input.resource_id.as_ref();
            let resource = resource.map(|id| Kind::Resource.parse(id, "resourceId")).transpose()?;
            let new = NewRoute::new(
                input.method.as_deref().unwrap_or_default(),
                RoutePlace::new(input.path, resource)?,
                input.api_key_required.unwrap_or(false),
                input.operation_name.as_deref().unwrap_or_default(),
                RouteIntegration::new(existing, made)?,
            )?
            .shared(input.cors_configuration.map(Into::into))?;
            domain::route::create(app, actor, api, new).await
        };
        RoutePayload::of(create().await)
    }

    async fn update_route(
        &self,
        ctx: &Context<'_>,
        input: UpdateRouteInput,
    ) -> async_graphql::Result<RoutePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let update = async || {
            let id = Kind::Route.parse(&input.id, "id")?;
            let existing = Patch::from(input.integration_id).try_map(|id| integration_id(&id))?;
            let made = input.integration.map(TryInto::try_into).transpose();
            let made = made.map_err(|error: Error| error.within("integration"))?;
            let change = UpdateRoute {
                api_key_required: input.api_key_required,
                operation_name: input.operation_name,
                integration: RouteIntegration::change(existing, made)?,
                cors_configuration: input.cors_configuration.map_value(Into::into).into(),
            };
            domain::route::update(app, actor, id, change).await
        };
        RoutePayload::of(update().await)
    }

    /// Its integration stays, for other routes.
    async fn delete_route(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let delete =
            async || domain::route::delete(app, actor, Kind::Route.parse(&input.id, "id")?).await;
        let done = delete().await;
        DeletePayload::of(input.id, done)
    }
}

#[Object]
impl Route {
    pub async fn id(&self) -> ID {
        Kind::Route.id(self.0.id)
    }

    /// `GET /pets/{id}` or `$default`.
    async fn route_key(&self) -> String {
        self.0.route_key()
    }

    /// GET, …, or ANY; empty for `$default`.
    async fn method(&self) -> &str {
        &self.0.method
    }

    async fn path(&self) -> &str {
        &self.0.path
    }

    /// Set where the route is a method of a resource, whose path it has.
    async fn resource(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Resource>> {
        let Some(id) = self.0.resource else { return Ok(None) };
        Ok(loader::one(ctx, id).await?.map(Into::into))
    }

    async fn api_key_required(&self) -> bool {
        self.0.api_key_required
    }

    async fn operation_name(&self) -> &str {
        &self.0.operation_name
    }

    /// What answers its calls; null while it has none, and then the Api cannot be deployed.
    async fn integration(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Integration>> {
        let Some(id) = self.0.integration else { return Ok(None) };
        Ok(loader::one(ctx, id).await?.map(Into::into))
    }

    /// In the place of the Api's; null: the Api's.
    async fn cors_configuration(&self) -> Option<CorsConfiguration> {
        self.0.cors_configuration.clone().map(Into::into)
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

impl Loader<RouteId> for Batches {
    type Value = domain::route::Route;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[RouteId]) -> Result<HashMap<RouteId, Self::Value>, Self::Error> {
        let found = domain::route::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|route| (route.id, route)).collect())
    }
}
