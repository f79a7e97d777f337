//! Canaries of stages.

use std::collections::BTreeMap;

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, SimpleObject};

use crate::domain;
use crate::error::Result;
use crate::graphql::deployment::Deployment;
use crate::graphql::loader;
use crate::graphql::node::Kind;
use crate::graphql::stage::{StageVariable, StageVariableInput, variables};
use crate::ids::DeploymentId;

/// Another deployment, which a part of a stage's calls goes to.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct CanarySettings {
    #[graphql(skip)]
    deployment: DeploymentId,
    /// Of the stage's calls, from 0.0 to 100.0.
    percent_traffic: f64,
    /// In the place of the stage's variables of these names, and beside the others, for calls that go to the canary.
    stage_variable_overrides: Vec<StageVariable>,
    stickiness: CanaryStickiness,
    /// Of `HEADER` and `COOKIE`: whose value tells callers apart.
    stickiness_name: Option<String>,
    /// Whether the canary takes answers from the stage's cache. A stage has none yet.
    use_stage_cache: bool,
}

/// By what a caller stays with the deployment that it first came to. As `percentTraffic` grows, callers only move to the
/// canary, and none back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::canary::CanaryStickiness")]
pub enum CanaryStickiness {
    /// Nothing: each call is drawn by itself, as AWS does.
    None,
    /// The API key that it sends, also past its rotation. Calls without one are drawn.
    ApiKey,
    /// A header's value. Calls without the header are drawn.
    Header,
    /// A cookie's value. Calls without the cookie are drawn.
    Cookie,
}

#[ComplexObject]
impl CanarySettings {
    async fn deployment(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Deployment>> {
        Ok(loader::one(ctx, self.deployment).await?.map(Into::into))
    }
}

/// What a new deployment becomes the canary by.
#[derive(InputObject)]
pub struct DeploymentCanarySettingsInput {
    /// Of the stage's calls, from 0.0 to 100.0.
    percent_traffic: f64,
    stage_variable_overrides: Option<Vec<StageVariableInput>>,
    #[graphql(default_with = "CanaryStickiness::None")]
    stickiness: CanaryStickiness,
    /// Of `HEADER` and `COOKIE`, and of no other: at most 128 characters.
    stickiness_name: Option<String>,
    /// Refused while stages have no cache.
    #[graphql(default)]
    use_stage_cache: bool,
}

/// What is left out stays.
#[derive(InputObject)]
pub struct CanarySettingsInput {
    /// Needed where the stage has no canary.
    deployment_id: Option<ID>,
    /// Of the stage's calls, from 0.0 to 100.0. Needed where the stage has no canary.
    percent_traffic: Option<f64>,
    /// All of them, in the place of those it had.
    stage_variable_overrides: Option<Vec<StageVariableInput>>,
    /// With its name.
    stickiness: Option<CanaryStickiness>,
    /// Of `HEADER` and `COOKIE`, and of no other: at most 128 characters.
    stickiness_name: Option<String>,
    /// Refused while stages have no cache.
    use_stage_cache: Option<bool>,
}

impl From<domain::canary::Canary> for CanarySettings {
    fn from(canary: domain::canary::Canary) -> Self {
        let settings = canary.settings;
        Self {
            deployment: canary.deployment,
            percent_traffic: settings.percent_traffic,
            stage_variable_overrides: StageVariable::all(&settings.stage_variable_overrides),
            stickiness: settings.stickiness.into(),
            stickiness_name: settings.stickiness_name,
            use_stage_cache: settings.use_stage_cache,
        }
    }
}

fn overrides(input: Vec<StageVariableInput>) -> Result<BTreeMap<String, String>> {
    variables("canarySettings.stageVariableOverrides", input)
}

impl DeploymentCanarySettingsInput {
    pub(super) fn settings(self) -> Result<domain::canary::CanarySettings> {
        Ok(domain::canary::CanarySettings {
            percent_traffic: self.percent_traffic,
            stage_variable_overrides: overrides(self.stage_variable_overrides.unwrap_or_default())?,
            stickiness: self.stickiness.into(),
            stickiness_name: self.stickiness_name,
            use_stage_cache: self.use_stage_cache,
        })
    }
}

impl CanarySettingsInput {
    pub(super) fn change(self) -> Result<domain::canary::UpdateCanary> {
        let deployment = self.deployment_id.as_ref();
        let deployment =
            deployment.map(|id| Kind::Deployment.parse(id, "canarySettings.deploymentId"));
        Ok(domain::canary::UpdateCanary {
            deployment: deployment.transpose()?,
            percent_traffic: self.percent_traffic,
            stage_variable_overrides: self.stage_variable_overrides.map(overrides).transpose()?,
            stickiness: self.stickiness.map(Into::into),
            stickiness_name: self.stickiness_name,
            use_stage_cache: self.use_stage_cache,
        })
    }
}
