//! A stage's canary: another deployment beside its own, and the part of its calls that goes there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::actor::Actor;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::client_throttle::checked_header;
use crate::domain::deployment;
use crate::domain::stage::{self, Stage};
use crate::error::{Error, Result};
use crate::ids::{DeploymentId, StageId};

/// The longest name of a cookie that callers are told apart by.
pub const COOKIE_NAME_CHARS_MAX: usize = 128;

/// Which part of a stage's calls goes to its canary, and how a caller is kept on one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanarySettings {
    /// Of the stage's calls, from 0.0 to 100.0.
    pub percent_traffic: f64,
    /// In the place of the stage's variables of these names, and beside the others, for calls that go to the canary.
    #[serde(default)]
    pub stage_variable_overrides: BTreeMap<String, String>,
    #[serde(default)]
    pub stickiness: CanaryStickiness,
    /// Of HEADER and COOKIE: whose value tells callers apart. A header's stands in lower case.
    #[serde(default)]
    pub stickiness_name: Option<String>,
    /// Whether the canary takes answers from the stage's cache, and not from one of its own. A stage has none yet.
    #[serde(default)]
    pub use_stage_cache: bool,
}

/// A canary of a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    #[serde(rename = "deploymentId", serialize_with = "id_text")]
    pub deployment: DeploymentId,
    #[serde(flatten)]
    pub settings: CanarySettings,
}

fn id_text<S: serde::Serializer>(
    id: &DeploymentId,
    out: S,
) -> std::result::Result<S::Ok, S::Error> {
    id.as_str().serialize(out)
}

/// By what a caller stays with the deployment that it first came to. As `percentTraffic` grows, callers only move to the
/// canary, and none back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CanaryStickiness {
    /// Nothing: each call is drawn by itself, as AWS does.
    #[default]
    None,
    /// The API key that it sends, also past its rotation. Calls without one are drawn.
    ApiKey,
    /// A header's value. Calls without the header are drawn.
    Header,
    /// A cookie's value. Calls without the cookie are drawn.
    Cookie,
}

impl CanarySettings {
    /// Drawn call by call, with the stage's variables.
    #[cfg(test)]
    pub(crate) fn of(percent_traffic: f64) -> Self {
        Self {
            percent_traffic,
            stage_variable_overrides: BTreeMap::new(),
            stickiness: CanaryStickiness::None,
            stickiness_name: None,
            use_stage_cache: false,
        }
    }

    /// Checks every field; an error names the field within `canarySettings`.
    pub fn checked(self) -> Result<Self> {
        self.checked_fields().map_err(|error| error.within("canarySettings"))
    }

    fn checked_fields(self) -> Result<Self> {
        if !(0.0..=100.0).contains(&self.percent_traffic) {
            return Err(Error::bad_request("percentTraffic", "must be from 0.0 to 100.0"));
        }
        if self.use_stage_cache {
            let rule = "stages have no cache yet; leave it out, or say false";
            return Err(Error::bad_request("useStageCache", rule));
        }
        stage::check_variables("stageVariableOverrides", &self.stage_variable_overrides)?;
        let stickiness_name = match (self.stickiness, self.stickiness_name) {
            (CanaryStickiness::None | CanaryStickiness::ApiKey, Some(_)) => {
                let rule = "belongs to the stickiness HEADER or COOKIE only";
                return Err(Error::bad_request("stickinessName", rule));
            }
            (CanaryStickiness::None | CanaryStickiness::ApiKey, None) => None,
            (CanaryStickiness::Header, name) => {
                Some(checked_header("stickinessName", &name.unwrap_or_default())?)
            }
            (CanaryStickiness::Cookie, name) => Some(checked_cookie(name.unwrap_or_default())?),
        };
        Ok(Self { stickiness_name, ..self })
    }
}

/// A token (RFC 6265, 4.1.1).
fn checked_cookie(name: String) -> Result<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !(1..=COOKIE_NAME_CHARS_MAX).contains(&name.len()) || !name.bytes().all(token) {
        let rule = format!("must be a cookie's name of 1 to {COOKIE_NAME_CHARS_MAX} characters");
        return Err(Error::bad_request("stickinessName", rule));
    }
    Ok(name)
}

impl Canary {
    /// What its integrations' URIs take: the stage's variables, and its own in their place.
    pub fn variables(&self, of_stage: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut variables = of_stage.clone();
        let own = self.settings.stage_variable_overrides.iter();
        variables.extend(own.map(|(name, value)| (name.clone(), value.clone())));
        variables
    }
}

/// Changes of a stage's canary; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateCanary {
    /// Needed where the stage has none.
    pub deployment: Option<DeploymentId>,
    pub percent_traffic: Option<f64>,
    /// All of them, in the place of those it had.
    pub stage_variable_overrides: Option<BTreeMap<String, String>>,
    /// With its name.
    pub stickiness: Option<CanaryStickiness>,
    pub stickiness_name: Option<String>,
    pub use_stage_cache: Option<bool>,
}

impl UpdateCanary {
    /// The canary after the change, checked.
    pub(crate) fn apply(self, before: Option<&Canary>) -> Result<Canary> {
        let needed = |field: &str| {
            let rule = "is needed: the stage has no canary yet";
            Error::bad_request(format!("canarySettings.{field}"), rule)
        };
        let deployment = self.deployment.or(before.map(|canary| canary.deployment));
        let deployment = deployment.ok_or_else(|| needed("deploymentId"))?;
        let settings = before.map(|canary| &canary.settings);
        let percent = self.percent_traffic.or(settings.map(|settings| settings.percent_traffic));
        let same_stickiness = self.stickiness.is_none();
        let kept = |get: fn(&CanarySettings) -> BTreeMap<String, String>| {
            settings.map(get).unwrap_or_default()
        };
        let settings = CanarySettings {
            percent_traffic: percent.ok_or_else(|| needed("percentTraffic"))?,
            stage_variable_overrides: self
                .stage_variable_overrides
                .unwrap_or_else(|| kept(|settings| settings.stage_variable_overrides.clone())),
            stickiness: self.stickiness.unwrap_or_else(|| {
                settings.map(|settings| settings.stickiness).unwrap_or_default()
            }),
            stickiness_name: self.stickiness_name.or_else(|| {
                settings.filter(|_| same_stickiness).and_then(|it| it.stickiness_name.clone())
            }),
            use_stage_cache: self.use_stage_cache.unwrap_or(false),
        };
        Ok(Canary { deployment, settings: settings.checked()? })
    }
}

/// What a stage with a canary must be: it has a deployment of its own, and not too many variables in all.
pub(crate) fn check_stage(stage: &Stage) -> Result<()> {
    let Some(canary) = &stage.canary else { return Ok(()) };
    if stage.deployment.is_none() {
        let rule = "the stage has no deployment that a canary could stand beside";
        return Err(Error::bad_request("canarySettings", rule));
    }
    stage::check_variables(
        "canarySettings.stageVariableOverrides",
        &canary.variables(&stage.variables),
    )
}

/// What a stage's canary is about to be: a deployment of the stage's Api, which its variables fill in.
pub(crate) async fn check_fit(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    stage: &Stage,
    canary: &Canary,
) -> Result<()> {
    let variables = canary.variables(&stage.variables);
    deployment::check_fit(app, tx, actor, stage.api, canary.deployment, &variables).await.map_err(
        |error| match error {
            Error::BadRequest { message, .. } => {
                Error::bad_request("canarySettings.stageVariableOverrides", message)
            }
            other => other,
        },
    )
}

/// An error that says how to end the canary, if the stage has one: only with canary settings does it take a deployment.
pub(crate) fn refuse_deployment(stage: &Stage) -> Result<()> {
    if stage.canary.is_none() {
        return Ok(());
    }
    let name = &stage.name;
    let rule = format!(
        "the stage {name} has a canary: promote it by promoteCanary, or end it by setting canarySettings to null, before \
         you deploy; or deploy to the canary with canarySettings"
    );
    Err(Error::conflict("stage", rule))
}

/// Makes the canary the stage's deployment, with its variables, and ends it. All calls go there.
pub async fn promote(app: &App, actor: &Actor, id: &StageId) -> Result<Stage> {
    actor.may(Action::Deploy)?;

    let mut tx = app.begin(actor).await?;
    let before = stage::lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    let Some(canary) = &before.canary else {
        return Err(Error::conflict("id", format!("the stage {} has no canary", before.name)));
    };
    let after = Stage {
        deployment: Some(canary.deployment),
        variables: canary.variables(&before.variables),
        canary: None,
        ..before.clone()
    };
    let stage = stage::put_as(app, &mut tx, actor, "canary.promote", before, after).await?;
    tx.commit().await?;
    Ok(stage)
}

#[cfg(test)]
mod tests;
