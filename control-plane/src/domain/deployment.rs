//! A deployment: an Api's draft, frozen. A stage points at one; pointing it at an older one is the way back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use prost::Message;
use proto::config::v1;
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, CHANGE_BYTES_MAX, Tx};
use crate::domain::api::Api;
use crate::domain::canary::{self, Canary, CanarySettings};
use crate::domain::integration::Reach;
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::patch::Patch;
use crate::domain::stage::{self, NewStage, Stage};
use crate::domain::{audit, auto_deployment, client_certificate, secret, text, vpc_link};
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId};
use crate::snapshot::compile;
use crate::snapshot::document::{
    Document, Needs, client_certificate_uses, secret_uses, vpc_link_uses,
};
use crate::snapshot::validate;
use crate::store;

/// How many deployments an Api keeps at most, unless the tenant's own limits say otherwise. The next one takes
/// the place of the oldest that no stage points at.
pub const DEPLOYMENTS_MAX: u32 = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    #[serde(skip)]
    pub id: DeploymentId,
    #[serde(skip)]
    pub api: ApiId,
    pub description: String,
    /// A name of its own among the Api's deployments, such as `v1.4`.
    pub label: Option<String>,
    /// It is kept for good, however many come after it.
    pub pinned: bool,
    /// A stage with `autoDeploy` had it made, and nobody else.
    pub auto_deployed: bool,
    /// SHA-256 of what was frozen, in hex: the same draft has the same.
    pub digest: String,
    /// The cell's version that last brought it to nodes; none while no stage ever pointed at it.
    #[serde(skip)]
    pub version: Option<u64>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

impl Versioned for Deployment {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for Deployment {
    const LIST: &'static str = "deployments";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// What to deploy, and the stage to point at it: made where the Api has none of that name.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    pub api: ApiId,
    pub stage: Option<String>,
    pub description: String,
    /// The stage keeps its deployment; this one becomes its canary, in the place of the one it had.
    pub canary: Option<CanarySettings>,
}

impl NewDeployment {
    pub fn new(api: ApiId, stage: Option<String>, description: String) -> Result<Self> {
        let description = text::description("description", description)?;
        if let Some(name) = &stage {
            stage::check_name("stage", name)?;
        }
        Ok(Self { api, stage, description, canary: None })
    }

    /// Makes it the canary of its stage.
    pub fn with_canary(self, canary: Option<CanarySettings>) -> Result<Self> {
        if canary.is_some() && self.stage.is_none() {
            return Err(Error::bad_request("stage", "is needed: a canary is one of a stage's"));
        }
        Ok(Self { canary: canary.map(CanarySettings::checked).transpose()?, ..self })
    }
}

/// What is told of a deployment beside what it is, which never changes. What is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct UpdateDeployment {
    pub description: Option<String>,
    pub label: Patch<String>,
    pub pinned: Option<bool>,
}

impl UpdateDeployment {
    /// Checks every field; an error names the field.
    pub fn checked(self) -> Result<Self> {
        let description = self.description.map(|text| text::description("description", text));
        Ok(Self {
            description: description.transpose()?,
            label: self.label.try_map(|label| text::name("label", &label))?,
            ..self
        })
    }
}

/// Checks the draft and freezes it, and points the stage at it, all in one transaction: a draft that must not
/// go live leaves everything as it was.
pub async fn create(
    app: &App,
    actor: &Actor,
    new: NewDeployment,
) -> Result<(Deployment, Option<Stage>)> {
    actor.may(Action::Deploy)?;

    let mut tx = app.begin(actor).await?;
    let api = store::api::lock(&mut tx, actor.tenant, new.api).await?;
    let deployment = freeze(app, &mut tx, actor, api.id, &new.description, false).await?;
    let stage = match (&new.stage, new.canary) {
        (None, _) => None,
        (Some(name), None) => Some(go_live(app, &mut tx, actor, &api, name, deployment.id).await?),
        (Some(name), Some(settings)) => {
            let canary = Canary { deployment: deployment.id, settings };
            Some(go_beside(app, &mut tx, actor, &api, name, canary).await?)
        }
    };
    let version = tx.commit().await?;
    Ok((Deployment { version, ..deployment }, stage))
}

/// Checks the draft of an Api that the transaction has locked, and freezes it.
pub(crate) async fn freeze(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    api: ApiId,
    description: &str,
    auto_deployed: bool,
) -> Result<Deployment> {
    let reach = Reach::of(app, tx, actor.tenant).await?;
    let mut drafts = store::draft::load(tx, actor.tenant, &[api]).await?;
    let draft = drafts.pop().ok_or(Error::NotFound("api"))?;
    validate::deployable(&draft, &reach)?;
    let document = Document::of(&draft);
    let uses = secret_uses(&draft);
    let links = vpc_link_uses(&draft);
    let certificates = client_certificate_uses(&draft);
    drop(draft);
    if document.bytes.len() > CHANGE_BYTES_MAX {
        let rule =
            format!("this draft is larger than the {CHANGE_BYTES_MAX} bytes that nodes take");
        return Err(Error::limit_exceeded("", rule));
    }
    make_room(app, tx, actor, api).await?;
    let id = app.rng.id();
    let deployment =
        store::deployment::insert(tx, actor, api, id, description, auto_deployed, &document)
            .await?;
    // Before the stage: what it needs is there when it is.
    secret::used_by(tx, app, actor.tenant, api, deployment.id, &uses).await?;
    vpc_link::used_by(tx, actor.tenant, api, deployment.id, &links).await?;
    let (tenant, id) = (actor.tenant, deployment.id);
    client_certificate::used_by(tx, app, tenant, api, id, &certificates).await?;
    let id = deployment.id.as_str();
    audit::record(app, tx, actor, "deployment.create", id, None, Some(&deployment)).await?;
    Ok(deployment)
}

/// Forgets the oldest deployments that nobody pinned and no stage of the locked Api points at, until there is room for one more.
/// No node holds them.
async fn make_room(app: &App, tx: &mut Tx, actor: &Actor, api: ApiId) -> Result<()> {
    let limit = limit::of(tx, actor.tenant, LimitName::DeploymentsPerApi).await?;
    let kept = store::deployment::count(tx, actor.tenant, api).await?;
    let Some(over) = (kept + 1).checked_sub(limit).filter(|over| *over > 0) else { return Ok(()) };
    let gone = store::deployment::delete_oldest_unused(tx, actor.tenant, api, over).await?;
    if gone.len() < over as usize {
        return Err(LimitName::DeploymentsPerApi.exceeded(limit));
    }
    for before in gone {
        let id = before.id.as_str();
        audit::record(app, tx, actor, "deployment.delete", id, Some(&before), None).await?;
    }
    Ok(())
}

/// Points the Api's stage of this name at the deployment, made if absent.
async fn go_live(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    api: &Api,
    name: &str,
    deployment: DeploymentId,
) -> Result<Stage> {
    if let Some(before) = store::stage::get(tx, actor.tenant, api.id, name).await? {
        canary::refuse_deployment(&before)?;
        auto_deployment::refuse_deployment(&before, "stage")?;
        validate::stage_enforced(&compile::stage(tx, actor.tenant, api.id, name).await?)?;
        let after = Stage { deployment: Some(deployment), ..before.clone() };
        return stage::put(app, tx, actor, before, after).await;
    }
    let new = NewStage { deployment: Some(deployment), ..NewStage::named(name) };
    stage::insert(app, tx, actor, api, new).await.map_err(|error| match error {
        Error::BadRequest { message, param } if param == "name" => {
            Error::bad_request("stage", message)
        }
        other => other,
    })
}

/// Puts the canary beside what the Api's stage of this name serves.
async fn go_beside(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    api: &Api,
    name: &str,
    canary: Canary,
) -> Result<Stage> {
    let before = store::stage::get(tx, actor.tenant, api.id, name).await?;
    let before = before.ok_or_else(|| {
        let rule = format!("there is no stage {name} that a canary could stand beside");
        Error::bad_request("stage", rule)
    })?;
    auto_deployment::refuse_deployment(&before, "stage")?;
    validate::stage_enforced(&compile::stage(tx, actor.tenant, api.id, name).await?)?;
    let after = Stage { canary: Some(canary), ..before.clone() };
    stage::put(app, tx, actor, before, after).await
}

/// What a stage is about to be pointed at: it must be of the stage's Api, and the stage must fill it in.
pub(crate) async fn check_fit(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    api: ApiId,
    id: DeploymentId,
    variables: &BTreeMap<String, String>,
) -> Result<()> {
    let document = store::deployment::document(tx, actor.tenant, api, id).await?;
    let document = v1::Deployment::decode(document.as_slice())
        .map_err(|cause| Error::corrupt("deployment", cause))?;
    keep_needs(tx, actor, &document).await?;
    validate::fits_stage(&document, variables, &Reach::of(app, tx, actor.tenant).await?)
}

/// Keeps the secrets, VPC links and client certificates that a deployment needs until the transaction ends; refuses where one was deleted since.
async fn keep_needs(tx: &mut Tx, actor: &Actor, document: &v1::Deployment) -> Result<()> {
    let needs = Needs::of(document);
    for id in needs.secrets {
        let found = store::secret::lock(tx, actor.tenant, id.parse()?).await;
        found.map_err(|error| gone(error, "secret", id))?;
    }
    for id in needs.vpc_links {
        let found = store::vpc_link::lock(tx, actor.tenant, id.parse()?).await;
        found.map_err(|error| gone(error, "VPC link", id))?;
    }
    for id in needs.client_certificates {
        let found = store::client_certificate::lock(tx, actor.tenant, id.parse()?).await;
        found.map_err(|error| gone(error, "client certificate", id))?;
    }
    Ok(())
}

fn gone(error: Error, noun: &str, id: &str) -> Error {
    let Error::NotFound(_) = error else { return error };
    let rule = format!("needs the {noun} {id}, which was deleted; deploy the draft instead");
    Error::conflict("deploymentId", rule)
}

pub async fn update(
    app: &App,
    actor: &Actor,
    id: DeploymentId,
    change: UpdateDeployment,
) -> Result<Deployment> {
    actor.may(Action::Deploy)?;
    let change = change.checked()?;

    let mut tx = app.begin(actor).await?;
    let before = lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    let after = Deployment {
        description: change.description.unwrap_or_else(|| before.description.clone()),
        label: change.label.apply(before.label.clone()),
        pinned: change.pinned.unwrap_or(before.pinned),
        ..before.clone()
    };
    let after = store::deployment::update(&mut tx, actor.tenant, &after).await?;
    let noun = id.as_str();
    let (old, new) = (Some(&before), Some(&after));
    audit::record(app, &mut tx, actor, "deployment.update", noun, old, new).await?;
    tx.commit().await?;
    Ok(after)
}

/// Forgets a deployment. Refused while it is pinned, and while a stage is on it.
pub async fn delete(app: &App, actor: &Actor, id: DeploymentId) -> Result<()> {
    actor.may(Action::Deploy)?;

    let mut tx = app.begin(actor).await?;
    let before = lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    if before.pinned {
        return Err(Error::conflict("id", "is pinned: take the pin away first"));
    }
    if let Some(stage) = store::deployment::stage_on(&mut tx, actor.tenant, &before).await? {
        let rule = format!("the stage {stage} is on it: point that at another deployment first");
        return Err(Error::conflict("id", rule));
    }
    store::deployment::delete(&mut tx, actor.tenant, id).await?;
    let noun = id.as_str();
    audit::record(app, &mut tx, actor, "deployment.delete", noun, Some(&before), None).await?;
    tx.commit().await?;
    Ok(())
}

/// The deployment as it is once its Api is locked.
async fn lock(tx: &mut Tx, actor: &Actor, id: DeploymentId) -> Result<Deployment> {
    let missing = || Error::NotFound("deployment");
    let seen = store::deployment::find(tx, actor.tenant, &[id]).await?.pop();
    store::api::lock(tx, actor.tenant, seen.ok_or_else(missing)?.api).await?;
    store::deployment::find(tx, actor.tenant, &[id]).await?.pop().ok_or_else(missing)
}

pub async fn get(app: &App, actor: &Actor, id: DeploymentId) -> Result<Deployment> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("deployment"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[DeploymentId]) -> Result<Vec<Deployment>> {
    let mut tx = app.begin(actor).await?;
    store::deployment::find(&mut tx, actor.tenant, ids).await
}

/// Newest first.
pub async fn list(app: &App, actor: &Actor, api: ApiId, page: &Page) -> Result<Paged<Deployment>> {
    let mut tx = app.begin(actor).await?;
    store::api::must_exist(&mut tx, actor.tenant, api).await?;
    page.cut(store::deployment::list(&mut tx, actor.tenant, api, page).await?)
}

#[cfg(test)]
mod tests;
