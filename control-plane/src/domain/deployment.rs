//! A deployment: an Api's draft, frozen. A stage points at one; pointing it at an older one is the way back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use prost::Message;
use proto::config::v1;
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::role::Action;
use crate::app::{App, Job, Tx};
use crate::domain::api::Api;
use crate::domain::integration::Reach;
use crate::domain::node::{self, Progress};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::stage::{self, NewStage, Stage};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId};
use crate::snapshot::compile;
use crate::snapshot::document::Document;
use crate::snapshot::validate;
use crate::store;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    #[serde(skip)]
    pub id: DeploymentId,
    #[serde(skip)]
    pub api: ApiId,
    pub description: String,
    /// SHA-256 of what was frozen, in hex: the same draft has the same.
    pub digest: String,
    /// The cell's version that last brought it to nodes; none while no stage ever pointed at it.
    #[serde(skip)]
    pub version: Option<u64>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
}

impl Keyed for Deployment {
    fn key(&self) -> Key {
        Key::new(self.created_at, &self.id)
    }
}

/// What to deploy, and the stage to point at it: made where the Api has none of that name.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    pub api: ApiId,
    pub stage: Option<String>,
    pub description: String,
}

impl NewDeployment {
    pub fn new(api: ApiId, stage: Option<String>, description: String) -> Result<Self> {
        let description = text::description("description", description)?;
        if let Some(name) = &stage {
            stage::check_name("stage", name)?;
        }
        Ok(Self { api, stage, description })
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
    let reach = Reach::of(app, &mut tx, actor.tenant).await?;
    let mut drafts = store::draft::load(&mut tx, actor.tenant, &[api.id]).await?;
    let draft = drafts.pop().ok_or(Error::NotFound("api"))?;
    validate::deployable(&draft, &reach)?;
    let deployment = store::deployment::insert(
        &mut tx,
        actor,
        api.id,
        app.rng.id(),
        &new.description,
        &Document::of(&draft),
    )
    .await?;
    let id = deployment.id.as_str();
    audit::record(app, &mut tx, actor, "deployment.create", id, None, Some(&deployment)).await?;
    let stage = match &new.stage {
        None => None,
        Some(name) => Some(go_live(app, &mut tx, actor, &api, name, deployment.id).await?),
    };
    let version = tx.commit().await?;
    Ok((Deployment { version, ..deployment }, stage))
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
    validate::fits_stage(&document, variables, &Reach::of(app, tx, actor.tenant).await?)
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
    Ok(page.cut(store::deployment::list(&mut tx, actor.tenant, api, page).await?))
}

/// How far the nodes are with a deployment. Version 0: no stage ever pointed at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub version: u64,
    pub progress: Progress,
}

pub async fn status(app: &App, actor: &Actor, deployment: &Deployment) -> Result<Status> {
    let mut tx = app.begin(actor).await?;
    let cell = store::cell::of_current_tenant(&mut tx).await?;
    let stages = store::stage::of_api(&mut tx, actor.tenant, deployment.api).await?;
    drop(tx);
    let mut resources = vec![compile::deployment_name(deployment.id)];
    resources.extend(
        stages
            .iter()
            .filter(|stage| stage.deployment == Some(deployment.id))
            .map(|stage| compile::stage_name(stage.api, &stage.name)),
    );
    let named: Vec<String> = resources
        .into_iter()
        .filter_map(|resource| resource.kind.map(|kind| kind.to_string()))
        .collect();
    let version = deployment.version.unwrap_or(0);
    let mut tx = app.system(Job::Nodes).await?;
    let progress = node::progress(app, &mut tx, &cell, version, &named).await?;
    Ok(Status { version, progress })
}

impl Status {
    /// Whether it is on every node.
    pub fn live(&self) -> bool {
        self.version > 0 && self.progress.live()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proto::config::v1::{Delta, Update, update};
    use sqlx::PgPool;

    use super::*;
    use crate::app::outbox_context;
    use crate::domain::api::{self, Dialect, NewApi, Protocol};
    use crate::domain::integration::{IntegrationType, MockResponse, Settings};
    use crate::domain::patch::Patch;
    use crate::domain::route::{self, NewRoute, RouteIntegration, UpdateRoute};
    use crate::domain::stage::UpdateStage;
    use crate::testing;

    fn mock(body: &str) -> Settings {
        Settings {
            kind: IntegrationType::Mock,
            mock_response: Some(MockResponse {
                status: 200,
                headers: Vec::new(),
                body: body.to_owned(),
            }),
            ..Settings::http_proxy("")
        }
    }

    async fn an_api(app: &App, actor: &Actor, dialect: Dialect) -> ApiId {
        let new = NewApi::new("pets", String::new(), Protocol::Http, dialect).unwrap();
        api::create(app, actor, new).await.unwrap().id
    }

    async fn a_route(app: &App, actor: &Actor, api: ApiId, key: &str, settings: Settings) {
        let (method, path) = key.split_once(' ').unwrap_or(("", key));
        let integration = RouteIntegration::new(None, Some(settings)).unwrap();
        let new = NewRoute::new(method, path, false, "", integration).unwrap();
        route::create(app, actor, api, new).await.unwrap();
    }

    async fn deploy(app: &App, actor: &Actor, api: ApiId, stage: &str) -> Result<Deployment> {
        let new = NewDeployment::new(api, Some(stage.to_owned()), String::new())?;
        Ok(create(app, actor, new).await?.0)
    }

    /// Every message for nodes since the beginning.
    async fn outbox(app: &App) -> Vec<Delta> {
        let mut tx = app.system(Job::Publisher).await.unwrap();
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select version, message from outbox order by version")
                .fetch_all(&mut *tx)
                .await
                .unwrap();
        let open = |(version, message): &(i64, Vec<u8>)| {
            let context = outbox_context("default", u64::try_from(*version).unwrap());
            let bytes = app.master.unwrap(&context, message).unwrap();
            match Update::decode(bytes.as_slice()).unwrap().kind {
                Some(update::Kind::Delta(delta)) => delta,
                other => panic!("{other:?}"),
            }
        };
        rows.iter().map(open).collect()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn deploying_sends_nodes_the_whole_deployment_and_its_stage(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = an_api(&app, &alice, Dialect::Native).await;
        a_route(&app, &alice, api, "GET /pets", mock("pets")).await;
        assert!(outbox(&app).await.is_empty(), "a draft is no node's business");

        let first = deploy(&app, &alice, api, "prod").await.unwrap();

        let sent = outbox(&app).await;
        let mut tx = app.begin(&alice).await.unwrap();
        let deployment = compile::deployment(&mut tx, alice.tenant, first.id).await.unwrap();
        let stage = compile::stage(&mut tx, alice.tenant, api, "prod").await.unwrap();
        assert_eq!(sent[0].upserts, [deployment, stage]);
        assert!(sent[0].removals.is_empty());
        assert_eq!(first.version, Some(1));
        assert_eq!(get(&app, &alice, first.id).await.unwrap(), first);
    }
}
