//! Deployments.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::deployment::NewDeployment;
use crate::error::Error;
use crate::graphql::caller;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::stage::Stage;
use crate::ids::DeploymentId;

#[derive(Default)]
pub struct DeploymentMutation;

/// An Api's draft, frozen.
pub struct Deployment(domain::deployment::Deployment);

impl From<domain::deployment::Deployment> for Deployment {
    fn from(deployment: domain::deployment::Deployment) -> Self {
        Self(deployment)
    }
}

/// How far the nodes are. Live when every node acknowledged the version.
#[derive(SimpleObject)]
struct DeploymentStatus {
    /// 0 while no stage ever pointed at it.
    version: u64,
    nodes: u64,
    acknowledged: u64,
    live: bool,
    /// Why nodes refused it.
    refusals: Vec<String>,
}

impl From<domain::deployment::Status> for DeploymentStatus {
    fn from(status: domain::deployment::Status) -> Self {
        Self {
            live: status.live(),
            version: status.version,
            nodes: status.progress.nodes,
            acknowledged: status.progress.acknowledged,
            refusals: status.progress.refusals,
        }
    }
}

#[derive(InputObject)]
struct CreateDeploymentInput {
    api_id: ID,
    /// Pointed at the deployment; made if absent.
    stage: Option<String>,
    description: Option<String>,
}

#[derive(SimpleObject)]
struct DeploymentPayload {
    deployment: Option<Deployment>,
    stage: Option<Stage>,
    user_errors: Vec<UserError>,
}

#[Object]
impl DeploymentMutation {
    /// Checks the draft, freezes it and, when `stage` is named, points that stage at it (made if absent).
    async fn create_deployment(
        &self,
        ctx: &Context<'_>,
        input: CreateDeploymentInput,
    ) -> async_graphql::Result<DeploymentPayload> {
        let (app, actor) = caller(ctx)?;
        let create = async || {
            let api = Kind::Api.parse(&input.api_id, "apiId")?;
            let new = NewDeployment::new(api, input.stage, input.description.unwrap_or_default())?;
            domain::deployment::create(app, actor, new).await
        };
        let (made, user_errors) = user_errors(create().await)?;
        let (deployment, stage) = made.unzip();
        Ok(DeploymentPayload {
            deployment: deployment.map(Deployment),
            stage: stage.flatten().map(Into::into),
            user_errors,
        })
    }
}

#[Object]
impl Deployment {
    pub async fn id(&self) -> ID {
        Kind::Deployment.id(self.0.id)
    }

    /// The ten characters in URLs and logs.
    async fn deployment_id(&self) -> &str {
        self.0.id.as_str()
    }

    async fn description(&self) -> &str {
        &self.0.description
    }

    /// SHA-256 of what was frozen, in hex: the same draft has the same.
    async fn digest(&self) -> &str {
        &self.0.digest
    }

    async fn status(&self, ctx: &Context<'_>) -> async_graphql::Result<DeploymentStatus> {
        let (app, actor) = caller(ctx)?;
        Ok(domain::deployment::status(app, actor, &self.0).await?.into())
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

impl Loader<DeploymentId> for Batches {
    type Value = domain::deployment::Deployment;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[DeploymentId],
    ) -> Result<HashMap<DeploymentId, Self::Value>, Self::Error> {
        let found = domain::deployment::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|deployment| (deployment.id, deployment)).collect())
    }
}
