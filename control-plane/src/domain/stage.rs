//! A stage: the name under which a deployment is called, and what is live beside it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::api::{Api, Dialect};
use crate::domain::canary::{self, Canary, UpdateCanary};
use crate::domain::client_throttle::{self, ClientThrottle};
use crate::domain::concurrency::{self, ConcurrencyLimit, RouteConcurrencyLimit};
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::patch::Patch;
use crate::domain::sampling::{self, SamplingRule};
use crate::domain::throttle::{self, RouteThrottle, Throttle};
use crate::domain::{audit, auto_deployment, client_certificate, deployment, text};
use crate::error::{Error, Result};
use crate::ids::{ApiId, ClientCertificateId, DeploymentId, StageId};
use crate::snapshot::compile;
use crate::store;

/// How many stages an Api has at most, unless the tenant's own limits say otherwise.
pub const STAGES_MAX: u32 = 10;
/// The most variables of a stage, and the longest name and value of one, in characters.
pub const VARIABLES_MAX: usize = 100;
pub const VARIABLE_NAME_CHARS_MAX: usize = 64;
pub const VARIABLE_VALUE_CHARS_MAX: usize = 512;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    #[serde(skip)]
    pub api: ApiId,
    /// Whose habits decide what is not set here.
    #[serde(skip)]
    pub dialect: Dialect,
    /// `$default` or `[A-Za-z0-9_-]{1,128}`.
    pub name: String,
    #[serde(serialize_with = "id_text")]
    pub deployment: Option<DeploymentId>,
    /// Another deployment, which a part of its calls goes to.
    #[serde(rename = "canarySettings")]
    pub canary: Option<Canary>,
    /// It serves the draft: each change of that is deployed to it.
    pub auto_deploy: bool,
    /// How its last automatic deployment went.
    #[serde(skip)]
    pub last_deployment_status_message: Option<String>,
    pub description: String,
    pub variables: BTreeMap<String, String>,
    pub throttle: Option<Throttle>,
    /// Of some of its routes, beside its own.
    pub route_throttles: Vec<RouteThrottle>,
    pub concurrency_limit: Option<ConcurrencyLimit>,
    /// Of some of its routes, beside its own.
    pub route_concurrency_limits: Vec<RouteConcurrencyLimit>,
    /// For each of its clients.
    pub client_throttles: Vec<ClientThrottle>,
    /// Whether answers carry `RateLimit` headers; none: as the dialect does.
    pub rate_limit_headers: Option<bool>,
    /// Whether `sampling_rules` decide which traces of its calls are kept; else a node's own setting does.
    pub tracing_enabled: bool,
    pub sampling_rules: Vec<SamplingRule>,
    /// What its backends are shown over TLS where they ask for a certificate.
    pub client_certificate_id: Option<ClientCertificateId>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn id_text<S: serde::Serializer>(
    id: &Option<DeploymentId>,
    out: S,
) -> std::result::Result<S::Ok, S::Error> {
    id.as_ref().map(DeploymentId::as_str).serialize(out)
}

impl Versioned for Stage {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for Stage {
    const LIST: &'static str = "stages";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.name)
    }
}

impl Stage {
    pub fn id(&self) -> StageId {
        StageId { api: self.api, name: self.name.clone() }
    }

    pub fn sends_rate_limit_headers(&self) -> bool {
        self.rate_limit_headers.unwrap_or(self.dialect == Dialect::Native)
    }

    /// What a consumer calls: `http://…/prod`.
    pub fn invoke_url(&self, app: &App) -> String {
        self.under(&app.config.endpoint_template)
    }

    /// The same for clients that cannot resolve `*.localhost`; none where path addressing is off.
    pub fn path_invoke_url(&self, app: &App) -> Option<String> {
        app.config.path_endpoint_template.as_ref().map(|template| self.under(template))
    }

    fn under(&self, template: &str) -> String {
        let base = template.replace("{apiId}", self.api.as_str());
        if self.name == "$default" { base } else { format!("{base}/{}", self.name) }
    }
}

/// A stage to be made.
#[derive(Clone, Debug, Default)]
pub struct NewStage {
    pub name: String,
    pub deployment: Option<DeploymentId>,
    /// It serves the draft, and takes no `deployment`.
    pub auto_deploy: bool,
    pub description: String,
    pub variables: BTreeMap<String, String>,
    pub throttle: Option<Throttle>,
    pub route_throttles: Vec<RouteThrottle>,
    pub concurrency_limit: Option<ConcurrencyLimit>,
    pub route_concurrency_limits: Vec<RouteConcurrencyLimit>,
    pub client_throttles: Vec<ClientThrottle>,
    pub client_certificate_id: Option<ClientCertificateId>,
}

impl NewStage {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Checks every field; an error names the field.
    pub fn checked(self) -> Result<Self> {
        check_name("name", &self.name)?;
        check_variables("variables", &self.variables)?;
        Ok(Self {
            description: text::description("description", self.description)?,
            throttle: self.throttle.map(checked_throttle).transpose()?,
            route_throttles: throttle::checked_routes(self.route_throttles)?,
            concurrency_limit: self.concurrency_limit.map(checked_limit).transpose()?,
            route_concurrency_limits: concurrency::checked_routes(self.route_concurrency_limits)?,
            client_throttles: client_throttle::checked(self.client_throttles)?,
            ..self
        })
    }
}

/// A change of a stage.
#[derive(Clone, Debug, Default)]
pub struct UpdateStage {
    /// An older one is a roll-back; `Clear` takes the stage off the air.
    pub deployment: Patch<DeploymentId>,
    /// `Clear` ends it: all calls go to the stage's own deployment.
    pub canary: Patch<UpdateCanary>,
    pub auto_deploy: Option<bool>,
    pub description: Option<String>,
    /// All of them, in the place of those it had.
    pub variables: Option<BTreeMap<String, String>>,
    pub throttle: Patch<Throttle>,
    /// All of them, in the place of those it had.
    pub route_throttles: Option<Vec<RouteThrottle>>,
    pub concurrency_limit: Patch<ConcurrencyLimit>,
    /// All of them, in the place of those it had.
    pub route_concurrency_limits: Option<Vec<RouteConcurrencyLimit>>,
    /// All of them, in the place of those it had.
    pub client_throttles: Option<Vec<ClientThrottle>>,
    /// `Clear`: as the dialect does.
    pub rate_limit_headers: Patch<bool>,
    pub tracing_enabled: Option<bool>,
    /// All of them, in the place of those it had.
    pub sampling_rules: Option<Vec<SamplingRule>>,
    /// `Clear`: its backends are shown none.
    pub client_certificate_id: Patch<ClientCertificateId>,
}

impl UpdateStage {
    /// Checks every field; an error names the field.
    pub fn checked(self) -> Result<Self> {
        if let Some(variables) = &self.variables {
            check_variables("variables", variables)?;
        }
        let description = self.description.map(|text| text::description("description", text));
        Ok(Self {
            description: description.transpose()?,
            throttle: self.throttle.try_map(checked_throttle)?,
            route_throttles: self.route_throttles.map(throttle::checked_routes).transpose()?,
            concurrency_limit: self.concurrency_limit.try_map(checked_limit)?,
            route_concurrency_limits: self
                .route_concurrency_limits
                .map(concurrency::checked_routes)
                .transpose()?,
            client_throttles: self.client_throttles.map(client_throttle::checked).transpose()?,
            sampling_rules: self.sampling_rules.map(sampling::checked).transpose()?,
            ..self
        })
    }
}

fn checked_throttle(throttle: Throttle) -> Result<Throttle> {
    throttle.checked().map_err(|error| error.within("throttle"))
}

fn checked_limit(limit: ConcurrencyLimit) -> Result<ConcurrencyLimit> {
    limit.checked().map_err(|error| error.within("concurrencyLimit"))
}

pub(crate) fn check_name(param: &str, name: &str) -> Result<()> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if name == "$default" || (letters && (1..=128).contains(&name.len())) {
        return Ok(());
    }
    Err(Error::bad_request(param, "must be $default or 1 to 128 letters, digits, - and _"))
}

/// An error names the field `param`.
pub(crate) fn check_variables(param: &str, variables: &BTreeMap<String, String>) -> Result<()> {
    let wrong = |name: &str, rule: String| {
        let shown: String = name.chars().take(VARIABLE_NAME_CHARS_MAX).collect();
        Err(Error::bad_request(param, format!("{shown:?} {rule}")))
    };
    if variables.len() > VARIABLES_MAX {
        let rule = format!("a stage has at most {VARIABLES_MAX} variables");
        return Err(Error::bad_request(param, rule));
    }
    for (name, value) in variables {
        let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !letters || !(1..=VARIABLE_NAME_CHARS_MAX).contains(&name.len()) {
            let rule = format!("is no name: 1 to {VARIABLE_NAME_CHARS_MAX} letters, digits and _");
            return wrong(name, rule);
        }
        let letters =
            value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#&=,".contains(&b));
        if !letters || !(1..=VARIABLE_VALUE_CHARS_MAX).contains(&value.len()) {
            let rule = format!(
                "must have a value of 1 to {VARIABLE_VALUE_CHARS_MAX} letters, digits and -._~:/?#&=,"
            );
            return wrong(name, rule);
        }
    }
    Ok(())
}

pub async fn create(app: &App, actor: &Actor, api: ApiId, new: NewStage) -> Result<Stage> {
    actor.may(Action::Deploy)?;
    let new = new.checked()?;

    let mut tx = app.begin(actor).await?;
    let api = store::api::lock(&mut tx, actor.tenant, api).await?;
    let stage = insert(app, &mut tx, actor, &api, new).await?;
    tx.commit().await?;
    Ok(stage)
}

/// Makes a stage of an Api that the transaction has locked.
pub(crate) async fn insert(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    api: &Api,
    new: NewStage,
) -> Result<Stage> {
    if api.dialect == Dialect::AwsRest && new.name == "$default" {
        return Err(Error::bad_request("name", "an aws-rest API has no $default stage"));
    }
    let limit = limit::of(tx, actor.tenant, LimitName::StagesPerApi).await?;
    if store::stage::count(tx, actor.tenant, api.id).await? >= limit {
        return Err(LimitName::StagesPerApi.exceeded(limit));
    }
    if new.auto_deploy && new.deployment.is_some() {
        let rule = "a stage with autoDeploy serves the draft as it is; leave it out";
        return Err(Error::bad_request("deploymentId", rule));
    }
    if let Some(id) = new.deployment {
        deployment::check_fit(app, tx, actor, api.id, id, &new.variables).await?;
    }
    check_certificate(tx, actor, new.client_certificate_id).await?;
    let stage = store::stage::insert(tx, actor.tenant, api, &new).await?;
    let id = stage.id().to_string();
    audit::record(app, tx, actor, "stage.create", &id, None, Some(&stage)).await?;
    show(app, tx, actor, &stage).await?;
    publish(tx, actor, &[], &stage).await?;
    auto_deployment::draft_changed(tx, actor, api.id).await?;
    Ok(stage)
}

/// Writes a changed stage of an Api that the transaction has locked.
pub(crate) async fn put(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    before: Stage,
    after: Stage,
) -> Result<Stage> {
    put_as(app, tx, actor, "stage.update", before, after).await
}

/// The same, told to the audit log as another action.
pub(crate) async fn put_as(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    before: Stage,
    after: Stage,
) -> Result<Stage> {
    canary::check_stage(&after)?;
    auto_deployment::check_stage(&after)?;
    let same = before.deployment == after.deployment && before.variables == after.variables;
    if let Some(id) = after.deployment.filter(|_| !same) {
        deployment::check_fit(app, tx, actor, after.api, id, &after.variables).await?;
    }
    if let Some(canary) = &after.canary
        && !(same && before.canary == after.canary)
    {
        canary::check_fit(app, tx, actor, &after, canary).await?;
    }
    let shows_another = before.client_certificate_id != after.client_certificate_id;
    if shows_another {
        check_certificate(tx, actor, after.client_certificate_id).await?;
    }
    let after = store::stage::update(tx, actor.tenant, &after).await?;
    let id = after.id().to_string();
    audit::record(app, tx, actor, action, &id, Some(&before), Some(&after)).await?;
    if shows_another {
        show(app, tx, actor, &after).await?;
    }
    publish(tx, actor, &deployments(&before), &after).await?;
    Ok(after)
}

/// Those that its calls go to, each once.
pub(crate) fn deployments(stage: &Stage) -> Vec<DeploymentId> {
    let canary = stage.canary.as_ref().map(|canary| canary.deployment);
    let canary = canary.filter(|id| stage.deployment != Some(*id));
    stage.deployment.into_iter().chain(canary).collect()
}

/// Brings the stage to the nodes: its deployments first, and those it left, of `before`, away where no other
/// stage needs them.
async fn publish(tx: &mut Tx, actor: &Actor, before: &[DeploymentId], stage: &Stage) -> Result<()> {
    let after = deployments(stage);
    for id in after.iter().copied().filter(|id| !before.contains(id)) {
        let resource = compile::deployment(tx, actor.tenant, id).await?;
        tx.upsert(resource);
        tx.publishes(id);
    }
    let resource = compile::stage(tx, actor.tenant, stage.api, &stage.name).await?;
    tx.upsert(resource);
    for left in before.iter().copied().filter(|id| !after.contains(id)) {
        forget_unused(tx, actor, stage.api, left).await?;
    }
    Ok(())
}

/// Whether the client certificate is one of the tenant's. It stays until the transaction ends.
async fn check_certificate(
    tx: &mut Tx,
    actor: &Actor,
    id: Option<ClientCertificateId>,
) -> Result<()> {
    if let Some(id) = id {
        store::client_certificate::lock(tx, actor.tenant, id).await?;
    }
    Ok(())
}

/// Brings the stage's client certificate to the nodes, before the stage.
async fn show(app: &App, tx: &mut Tx, actor: &Actor, stage: &Stage) -> Result<()> {
    match stage.client_certificate_id {
        Some(id) => client_certificate::publish(tx, app, actor.tenant, id).await,
        None => Ok(()),
    }
}

async fn forget_unused(tx: &mut Tx, actor: &Actor, api: ApiId, id: DeploymentId) -> Result<()> {
    if !store::deployment::in_use(tx, actor.tenant, api, id).await? {
        tx.remove(compile::deployment_name(id));
    }
    Ok(())
}

/// Takes the stage from the nodes.
pub(crate) fn unpublish(tx: &mut Tx, stage: &Stage) {
    tx.remove(compile::stage_name(stage.api, &stage.name));
}

/// An error that names the usage plan that holds the stage, if one does.
pub(crate) async fn refuse_while_planned(tx: &mut Tx, actor: &Actor, stage: &Stage) -> Result<()> {
    match store::stage::usage_plan_name(tx, actor.tenant, stage.api, &stage.name).await? {
        None => Ok(()),
        Some(plan) => {
            let rule = format!("the usage plan {plan} holds the stage {}", stage.name);
            Err(Error::conflict("id", rule))
        }
    }
}

pub async fn get(app: &App, actor: &Actor, id: &StageId) -> Result<Stage> {
    let mut tx = app.begin(actor).await?;
    store::stage::get(&mut tx, actor.tenant, id.api, &id.name)
        .await?
        .ok_or(Error::NotFound("stage"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[StageId]) -> Result<Vec<Stage>> {
    let mut tx = app.begin(actor).await?;
    store::stage::find(&mut tx, actor.tenant, ids).await
}

/// Oldest first.
pub async fn list(app: &App, actor: &Actor, api: ApiId, page: &Page) -> Result<Paged<Stage>> {
    let mut tx = app.begin(actor).await?;
    store::api::must_exist(&mut tx, actor.tenant, api).await?;
    page.cut(store::stage::list(&mut tx, actor.tenant, api, page).await?)
}

pub async fn update(app: &App, actor: &Actor, id: &StageId, change: UpdateStage) -> Result<Stage> {
    actor.may(Action::Deploy)?;
    let change = change.checked()?;

    let mut tx = app.begin(actor).await?;
    let before = lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    let canary = change.canary.try_map(|change| change.apply(before.canary.as_ref()))?;
    let auto_deploy = change.auto_deploy.unwrap_or(before.auto_deploy);
    let last_deployment_status_message = before.last_deployment_status_message.clone();
    let after = Stage {
        auto_deploy,
        last_deployment_status_message: last_deployment_status_message.filter(|_| auto_deploy),
        deployment: change.deployment.apply(before.deployment),
        canary: canary.apply(before.canary.clone()),
        description: change.description.unwrap_or_else(|| before.description.clone()),
        variables: change.variables.unwrap_or_else(|| before.variables.clone()),
        throttle: change.throttle.apply(before.throttle),
        route_throttles: change.route_throttles.unwrap_or_else(|| before.route_throttles.clone()),
        concurrency_limit: change.concurrency_limit.apply(before.concurrency_limit),
        route_concurrency_limits: change
            .route_concurrency_limits
            .unwrap_or_else(|| before.route_concurrency_limits.clone()),
        client_throttles: change
            .client_throttles
            .unwrap_or_else(|| before.client_throttles.clone()),
        rate_limit_headers: change.rate_limit_headers.apply(before.rate_limit_headers),
        tracing_enabled: change.tracing_enabled.unwrap_or(before.tracing_enabled),
        sampling_rules: change.sampling_rules.unwrap_or_else(|| before.sampling_rules.clone()),
        client_certificate_id: change.client_certificate_id.apply(before.client_certificate_id),
        ..before.clone()
    };
    if after.deployment != before.deployment {
        auto_deployment::refuse_deployment(&after, "deploymentId")?;
    }
    let stage = put(app, &mut tx, actor, before, after).await?;
    // It may have been behind, or not fit until now.
    auto_deployment::draft_changed(&mut tx, actor, id.api).await?;
    tx.commit().await?;
    Ok(stage)
}

/// Refused while a usage plan holds the stage.
pub async fn delete(app: &App, actor: &Actor, id: &StageId) -> Result<()> {
    actor.may(Action::Deploy)?;

    let mut tx = app.begin(actor).await?;
    let before = lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    refuse_while_planned(&mut tx, actor, &before).await?;
    store::stage::delete(&mut tx, actor.tenant, id.api, &id.name).await?;
    unpublish(&mut tx, &before);
    for left in deployments(&before) {
        forget_unused(&mut tx, actor, id.api, left).await?;
    }
    let noun_id = id.to_string();
    audit::record(app, &mut tx, actor, "stage.delete", &noun_id, Some(&before), None).await?;
    tx.commit().await?;
    Ok(())
}

/// The stage as it is once its Api is locked.
pub(crate) async fn lock(tx: &mut Tx, actor: &Actor, id: &StageId) -> Result<Stage> {
    let missing = || Error::NotFound("stage");
    store::stage::get(tx, actor.tenant, id.api, &id.name).await?.ok_or_else(missing)?;
    store::api::lock(tx, actor.tenant, id.api).await?;
    store::stage::get(tx, actor.tenant, id.api, &id.name).await?.ok_or_else(missing)
}

#[cfg(test)]
mod tests;
