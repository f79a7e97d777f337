//! Stages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::patch::Patch;
use crate::domain::stage::{NewStage, UpdateStage};
use crate::error::Error;
use crate::graphql::api::Api;
use crate::graphql::canary::{CanarySettings, CanarySettingsInput};
use crate::graphql::change::Changes;
use crate::graphql::client_certificate::ClientCertificate;
use crate::graphql::client_throttle::{ClientThrottle, ClientThrottleInput};
use crate::graphql::concurrency::{
    ConcurrencyLimit, ConcurrencyLimitInput, RouteConcurrencyLimit, RouteConcurrencyLimitInput,
};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::deployment::Deployment;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::sampling::{SamplingRule, SamplingRuleInput};
use crate::graphql::throttle::{RouteThrottle, RouteThrottleInput, Throttle, ThrottleInput};
use crate::graphql::{app, caller, loader};
use crate::ids::StageId;

#[derive(Default)]
pub struct StageMutation;

/// The name under which a deployment is called, and what is live beside it.
pub struct Stage(domain::stage::Stage);

impl From<domain::stage::Stage> for Stage {
    fn from(stage: domain::stage::Stage) -> Self {
        Self(stage)
    }
}

/// A value that integrations' URIs take by `${stageVariables.name}`.
#[derive(SimpleObject)]
pub struct StageVariable {
    name: String,
    value: String,
}

impl StageVariable {
    pub(super) fn all(variables: &BTreeMap<String, String>) -> Vec<Self> {
        let pair =
            |(name, value): (&String, &String)| Self { name: name.clone(), value: value.clone() };
        variables.iter().map(pair).collect()
    }
}

#[derive(InputObject)]
pub struct StageVariableInput {
    /// 1 to 64 letters, digits and `_`.
    name: String,
    /// 1 to 512 letters, digits and `-._~:/?#&=,`.
    value: String,
}

#[derive(InputObject)]
struct CreateStageInput {
    api_id: ID,
    /// `$default` or 1 to 128 letters, digits, `-` and `_`.
    name: String,
    deployment_id: Option<ID>,
    /// The stage serves the draft: it takes no `deploymentId`.
    auto_deploy: Option<bool>,
    description: Option<String>,
    variables: Option<Vec<StageVariableInput>>,
    throttle: Option<ThrottleInput>,
    /// At most 100, one for a route.
    route_throttles: Option<Vec<RouteThrottleInput>>,
    concurrency_limit: Option<ConcurrencyLimitInput>,
    /// At most 100, one for a route.
    route_concurrency_limits: Option<Vec<RouteConcurrencyLimitInput>>,
    /// At most 20, of which a call counts against at most four.
    client_throttles: Option<Vec<ClientThrottleInput>>,
    /// What backends over TLS are shown where they ask for a certificate.
    client_certificate_id: Option<ID>,
}

/// `throttle: null` and `concurrencyLimit: null` remove; a field left out stays.
#[derive(InputObject)]
struct UpdateStageInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    /// An older one is a roll-back; null takes the stage off the air.
    deployment_id: MaybeUndefined<ID>,
    /// What is left out in it stays; null ends the canary, and every call goes to the stage's own deployment.
    canary_settings: MaybeUndefined<CanarySettingsInput>,
    /// Whether the stage serves the draft: each change of that is deployed to it within moments. Such a stage takes no other
    /// deployment, and no canary.
    auto_deploy: Option<bool>,
    description: Option<String>,
    /// All of them, in the place of those it had.
    variables: Option<Vec<StageVariableInput>>,
    throttle: MaybeUndefined<ThrottleInput>,
    /// All of them, at most 100, in the place of those it had.
    route_throttles: Option<Vec<RouteThrottleInput>>,
    concurrency_limit: MaybeUndefined<ConcurrencyLimitInput>,
    /// All of them, at most 100, in the place of those it had.
    route_concurrency_limits: Option<Vec<RouteConcurrencyLimitInput>>,
    /// All of them, at most 20, in the place of those it had. A call counts against at most four.
    client_throttles: Option<Vec<ClientThrottleInput>>,
    /// Null: as the Api's dialect does.
    rate_limit_headers: MaybeUndefined<bool>,
    /// Whether `samplingRules` decide which traces of the stage's calls are kept; else each node's own setting does.
    tracing_enabled: Option<bool>,
    /// All of them, at most 50, in the place of those it had.
    sampling_rules: Option<Vec<SamplingRuleInput>>,
    /// What backends over TLS are shown where they ask for a certificate; null: nothing.
    client_certificate_id: MaybeUndefined<ID>,
}

#[derive(InputObject)]
struct PromoteCanaryInput {
    /// The stage's.
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
}

#[derive(SimpleObject)]
struct StagePayload {
    stage: Option<Stage>,
    user_errors: Vec<UserError>,
}

impl StagePayload {
    fn of(result: crate::error::Result<domain::stage::Stage>) -> async_graphql::Result<Self> {
        let (stage, user_errors) = user_errors(result)?;
        Ok(Self { stage: stage.map(Stage), user_errors })
    }
}

/// An error names the field `param`.
pub(super) fn variables(
    param: &str,
    input: Vec<StageVariableInput>,
) -> crate::error::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for StageVariableInput { name, value } in input {
        if variables.contains_key(&name) {
            return Err(Error::bad_request(param, format!("{name:?} is given twice")));
        }
        variables.insert(name, value);
    }
    Ok(variables)
}

fn route_throttles(input: Vec<RouteThrottleInput>) -> Vec<domain::throttle::RouteThrottle> {
    input.into_iter().map(Into::into).collect()
}

fn route_limits(
    input: Vec<RouteConcurrencyLimitInput>,
) -> Vec<domain::concurrency::RouteConcurrencyLimit> {
    input.into_iter().map(Into::into).collect()
}

fn client_throttles(
    input: Vec<ClientThrottleInput>,
) -> Vec<domain::client_throttle::ClientThrottle> {
    input.into_iter().map(Into::into).collect()
}

#[Object]
impl StageMutation {
    async fn create_stage(
        &self,
        ctx: &Context<'_>,
        input: CreateStageInput,
    ) -> async_graphql::Result<StagePayload> {
        let (app, actor) = caller(ctx)?;
        let create = async || {
            let api = Kind::Api.parse(&input.api_id, "apiId")?;
            let deployment = input.deployment_id.as_ref();
            let new = NewStage {
                name: input.name,
                deployment: deployment
                    .map(|id| Kind::Deployment.parse(id, "deploymentId"))
                    .transpose()?,
                auto_deploy: input.auto_deploy.unwrap_or(false),
                description: input.description.unwrap_or_default(),
                variables: variables("variables", input.variables.unwrap_or_default())?,
                throttle: input.throttle.map(Into::into),
                route_throttles: route_throttles(input.route_throttles.unwrap_or_default()),
                concurrency_limit: input.concurrency_limit.map(Into::into),
                route_concurrency_limits: route_limits(
                    input.route_concurrency_limits.unwrap_or_default(),
                ),
                client_throttles: client_throttles(input.client_throttles.unwrap_or_default()),
                client_certificate_id: input
                    .client_certificate_id
                    .map(|id| Kind::ClientCertificate.parse(&id, "clientCertificateId"))
                    .transpose()?,
            };
            domain::stage::create(app, actor, api, new).await
        };
        StagePayload::of(create().await)
    }

    /// What is left out stays. Everything here is live within moments.
    async fn update_stage(
        &self,
        ctx: &Context<'_>,
        input: UpdateStageInput,
    ) -> async_graphql::Result<StagePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let update = async || {
            let id: StageId = Kind::Stage.parse(&input.id, "id")?;
            let change = UpdateStage {
                deployment: Patch::from(input.deployment_id)
                    .try_map(|id| Kind::Deployment.parse(&id, "deploymentId"))?,
                auto_deploy: input.auto_deploy,
                description: input.description,
                canary: Patch::from(input.canary_settings).try_map(CanarySettingsInput::change)?,
                variables: input
                    .variables
                    .map(|given| variables("variables", given))
                    .transpose()?,
                throttle: Patch::from(input.throttle)
                    .try_map(|throttle| Ok::<_, Error>(throttle.into()))?,
                route_throttles: input.route_throttles.map(route_throttles),
                concurrency_limit: Patch::from(input.concurrency_limit.map_value(Into::into)),
                route_concurrency_limits: input.route_concurrency_limits.map(route_limits),
                client_throttles: input.client_throttles.map(client_throttles),
                rate_limit_headers: input.rate_limit_headers.into(),
                tracing_enabled: input.tracing_enabled,
                sampling_rules: input
                    .sampling_rules
                    .map(|rules| rules.into_iter().map(Into::into).collect()),
                client_certificate_id: Patch::from(input.client_certificate_id)
                    .try_map(|id| Kind::ClientCertificate.parse(&id, "clientCertificateId"))?,
            };
            domain::stage::update(app, actor, &id, change).await
        };
        StagePayload::of(update().await)
    }

    /// Makes a stage's canary its deployment, with the canary's variables, and ends the canary. All calls go there.
    async fn promote_canary(
        &self,
        ctx: &Context<'_>,
        input: PromoteCanaryInput,
    ) -> async_graphql::Result<StagePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let promote = async || {
            let id: StageId = Kind::Stage.parse(&input.id, "id")?;
            domain::canary::promote(app, actor, &id).await
        };
        StagePayload::of(promote().await)
    }

    /// Refused while a usage plan holds the stage.
    async fn delete_stage(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let delete = async || {
            let id: StageId = Kind::Stage.parse(&input.id, "id")?;
            domain::stage::delete(app, actor, &id).await
        };
        let done = delete().await;
        DeletePayload::of(input.id, done)
    }
}

#[Object]
impl Stage {
    pub async fn id(&self) -> ID {
        Kind::Stage.id(self.0.id())
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn description(&self) -> &str {
        &self.0.description
    }

    async fn api(&self, ctx: &Context<'_>) -> async_graphql::Result<Api> {
        let api = loader::one(ctx, self.0.api).await?;
        Ok(api.ok_or(Error::NotFound("api"))?.into())
    }

    /// Null while nothing is deployed to it.
    async fn deployment(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Deployment>> {
        let Some(id) = self.0.deployment else { return Ok(None) };
        Ok(loader::one(ctx, id).await?.map(Into::into))
    }

    /// Another deployment, which a part of its calls goes to. Null: it has no canary.
    async fn canary_settings(&self) -> Option<CanarySettings> {
        self.0.canary.clone().map(Into::into)
    }

    /// The stage serves the draft: each change of that is deployed to it within moments.
    async fn auto_deploy(&self) -> bool {
        self.0.auto_deploy
    }

    /// How the last automatic deployment went: why the draft is not served, where it cannot be. Null before the first.
    async fn last_deployment_status_message(&self) -> Option<&str> {
        self.0.last_deployment_status_message.as_deref()
    }

    /// The draft differs from this stage's deployment.
    async fn pending_changes(&self, ctx: &Context<'_>) -> async_graphql::Result<bool> {
        Ok(loader::one(ctx, PendingChanges(self.0.id())).await?.unwrap_or(false))
    }

    /// What deploying the draft to this stage would change, field by field.
    async fn changes(&self, ctx: &Context<'_>) -> async_graphql::Result<Changes> {
        let (app, actor) = caller(ctx)?;
        let changes = domain::change::of_stage(app, actor, &self.0.id()).await;
        Ok(changes?.into())
    }

    async fn variables(&self) -> Vec<StageVariable> {
        StageVariable::all(&self.0.variables)
    }

    async fn throttle(&self) -> Option<Throttle> {
        self.0.throttle.map(Into::into)
    }

    /// Of some of its routes, beside its own.
    async fn route_throttles(&self) -> Vec<RouteThrottle> {
        self.0.route_throttles.iter().cloned().map(Into::into).collect()
    }

    async fn concurrency_limit(&self) -> Option<ConcurrencyLimit> {
        self.0.concurrency_limit.map(Into::into)
    }

    /// Of some of its routes, beside its own.
    async fn route_concurrency_limits(&self) -> Vec<RouteConcurrencyLimit> {
        self.0.route_concurrency_limits.iter().cloned().map(Into::into).collect()
    }

    /// For each of its clients.
    async fn client_throttles(&self) -> Vec<ClientThrottle> {
        self.0.client_throttles.iter().cloned().map(Into::into).collect()
    }

    /// Whether answers carry `RateLimit` headers.
    async fn rate_limit_headers(&self) -> bool {
        self.0.sends_rate_limit_headers()
    }

    /// Whether `samplingRules` decide which traces of the stage's calls are kept; else each node's own setting does.
    async fn tracing_enabled(&self) -> bool {
        self.0.tracing_enabled
    }

    /// In order: the first that names a call's route decides.
    async fn sampling_rules(&self) -> Vec<SamplingRule> {
        self.0.sampling_rules.iter().cloned().map(Into::into).collect()
    }

    /// What its backends over TLS are shown where they ask for a certificate. Null: nothing.
    async fn client_certificate(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Option<ClientCertificate>> {
        let Some(id) = self.0.client_certificate_id else { return Ok(None) };
        Ok(loader::one(ctx, id).await?.map(Into::into))
    }

    /// `http://…/prod`: what a consumer calls.
    async fn invoke_url(&self, ctx: &Context<'_>) -> String {
        self.0.invoke_url(app(ctx))
    }

    /// The same without *.localhost names; null where path addressing is off.
    async fn path_invoke_url(&self, ctx: &Context<'_>) -> Option<String> {
        self.0.path_invoke_url(app(ctx))
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

impl Loader<StageId> for Batches {
    type Value = domain::stage::Stage;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[StageId]) -> Result<HashMap<StageId, Self::Value>, Self::Error> {
        let found = domain::stage::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|stage| (stage.id(), stage)).collect())
    }
}

/// Asks whether the draft differs from what a stage serves.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PendingChanges(StageId);

impl Loader<PendingChanges> for Batches {
    type Value = bool;
    type Error = Arc<Error>;

    async fn load(
        &self,
        of: &[PendingChanges],
    ) -> Result<HashMap<PendingChanges, bool>, Self::Error> {
        let ids: Vec<StageId> = of.iter().map(|stage| stage.0.clone()).collect();
        let pending = domain::pending_changes::of_stages(&self.app, &self.actor, &ids).await?;
        Ok(pending.into_iter().map(|(stage, pending)| (PendingChanges(stage), pending)).collect())
    }
}
