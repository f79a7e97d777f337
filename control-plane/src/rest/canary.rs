//! Canaries of stages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain;
use crate::domain::canary::CanaryStickiness;
use crate::ids::DeploymentId;

/// Another deployment, which a part of a stage's calls goes to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CanarySettings {
    #[schema(value_type = String)]
    deployment_id: DeploymentId,
    /// Of the stage's calls, from 0.0 to 100.0.
    percent_traffic: f64,
    /// In the place of the stage's variables of these names, and beside the others, for calls that go to the canary.
    stage_variable_overrides: BTreeMap<String, String>,
    stickiness: CanaryStickiness,
    /// Of `HEADER` and `COOKIE`: whose value tells callers apart.
    stickiness_name: Option<String>,
    /// Whether the canary takes answers from the stage's cache. A stage has none yet.
    use_stage_cache: bool,
}

/// What a new deployment becomes the canary by.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DeploymentCanarySettings {
    /// Of the stage's calls.
    #[schema(minimum = 0, maximum = 100)]
    percent_traffic: f64,
    #[serde(default)]
    stage_variable_overrides: BTreeMap<String, String>,
    #[serde(default)]
    stickiness: CanaryStickiness,
    /// Of `HEADER` and `COOKIE`, and of no other.
    #[schema(max_length = 128)]
    stickiness_name: Option<String>,
    /// Refused while stages have no cache.
    #[serde(default)]
    use_stage_cache: bool,
}

/// What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PatchCanarySettings {
    /// Needed where the stage has no canary.
    #[schema(value_type = Option<String>)]
    deployment_id: Option<DeploymentId>,
    /// Of the stage's calls. Needed where the stage has no canary.
    #[schema(minimum = 0, maximum = 100)]
    percent_traffic: Option<f64>,
    /// All of them, in the place of those it had.
    stage_variable_overrides: Option<BTreeMap<String, String>>,
    /// With its name.
    stickiness: Option<CanaryStickiness>,
    /// Of `HEADER` and `COOKIE`, and of no other.
    #[schema(max_length = 128)]
    stickiness_name: Option<String>,
    /// Refused while stages have no cache.
    use_stage_cache: Option<bool>,
}

impl From<domain::canary::Canary> for CanarySettings {
    fn from(canary: domain::canary::Canary) -> Self {
        let settings = canary.settings;
        Self {
            deployment_id: canary.deployment,
            percent_traffic: settings.percent_traffic,
            stage_variable_overrides: settings.stage_variable_overrides,
            stickiness: settings.stickiness,
            stickiness_name: settings.stickiness_name,
            use_stage_cache: settings.use_stage_cache,
        }
    }
}

impl From<DeploymentCanarySettings> for domain::canary::CanarySettings {
    fn from(body: DeploymentCanarySettings) -> Self {
        Self {
            percent_traffic: body.percent_traffic,
            stage_variable_overrides: body.stage_variable_overrides,
            stickiness: body.stickiness,
            stickiness_name: body.stickiness_name,
            use_stage_cache: body.use_stage_cache,
        }
    }
}

impl From<PatchCanarySettings> for domain::canary::UpdateCanary {
    fn from(body: PatchCanarySettings) -> Self {
        Self {
            deployment: body.deployment_id,
            percent_traffic: body.percent_traffic,
            stage_variable_overrides: body.stage_variable_overrides,
            stickiness: body.stickiness,
            stickiness_name: body.stickiness_name,
            use_stage_cache: body.use_stage_cache,
        }
    }
}
