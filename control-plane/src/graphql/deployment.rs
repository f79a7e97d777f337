//! Deployments.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::deployment::{NewDeployment, UpdateDeployment};
use crate::error::Error;
use crate::graphql::caller;
use crate::graphql::canary::DeploymentCanarySettingsInput;
use crate::graphql::change::Changes;
use crate::graphql::convergence::{DeploymentStatus, StatusOf};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::{self, Batches};
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

#[derive(InputObject)]
struct CreateDeploymentInput {
    api_id: ID,
    /// Pointed at the deployment; made if absent.
    stage: Option<String>,
    description: Option<String>,
    /// The stage, which must be there, keeps its deployment; this one becomes its canary, in the place of the one it had.
    canary_settings: Option<DeploymentCanarySettingsInput>,
}

/// A field left out stays; `label: null` takes it away. What was frozen never changes.
#[derive(InputObject)]
struct UpdateDeploymentInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    description: Option<String>,
    /// 1 to 128 characters; of the API's deployments one has it.
    label: MaybeUndefined<String>,
    /// Whether it is kept for good, however many come after it.
    pinned: Option<bool>,
}

#[derive(SimpleObject)]
struct UpdateDeploymentPayload {
    deployment: Option<Deployment>,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
struct DeploymentPayload {
    deployment: Option<Deployment>,
    stage: Option<Stage>,
    user_errors: Vec<UserError>,
}

#[Object]
impl DeploymentMutation {
    /// Checks the draft, freezes it and, when `stage` is named, points that stage at it (made if absent). A
    /// stage with a canary takes a deployment only with `canarySettings`.
    async fn create_deployment(
        &self,
        ctx: &Context<'_>,
        input: CreateDeploymentInput,
    ) -> async_graphql::Result<DeploymentPayload> {
        let (app, actor) = caller(ctx)?;
        let create = async || {
            let api = Kind::Api.parse(&input.api_id, "apiId")?;
            let new = NewDeployment::new(api, input.stage, input.description.unwrap_or_default())?;
            let canary = input.canary_settings.map(DeploymentCanarySettingsInput::settings);
            let new = new.with_canary(canary.transpose()?)?;
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

    /// Names, describes or pins a deployment.
    async fn update_deployment(
        &self,
        ctx: &Context<'_>,
        input: UpdateDeploymentInput,
    ) -> async_graphql::Result<UpdateDeploymentPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let update = async || {
            let id = Kind::Deployment.parse(&input.id, "id")?;
            let change = UpdateDeployment {
                description: input.description,
                label: input.label.into(),
                pinned: input.pinned,
            };
            domain::deployment::update(app, actor, id, change).await
        };
        let (deployment, user_errors) = user_errors(update().await)?;
        Ok(UpdateDeploymentPayload { deployment: deployment.map(Deployment), user_errors })
    }

    /// Refused while it is pinned, and while a stage is on it.
    async fn delete_deployment(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let delete = async || {
            let id = Kind::Deployment.parse(&input.id, "id")?;
            domain::deployment::delete(app, actor, id).await
        };
        let done = delete().await;
        DeletePayload::of(input.id, done)
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

    /// A name of its own among the API's deployments.
    async fn label(&self) -> Option<&str> {
        self.0.label.as_deref()
    }

    /// It is kept for good, however many come after it; others give way to newer ones at the limit `DEPLOYMENTS_PER_API`.
    async fn pinned(&self) -> bool {
        self.0.pinned
    }

    /// A stage with `autoDeploy` had it made.
    async fn auto_deployed(&self) -> bool {
        self.0.auto_deployed
    }

    /// SHA-256 of what was frozen, in hex: the same draft has the same.
    async fn digest(&self) -> &str {
        &self.0.digest
    }

    /// How far the nodes are with it.
    async fn status(&self, ctx: &Context<'_>) -> async_graphql::Result<DeploymentStatus> {
        let status = loader::one(ctx, StatusOf(self.0.id)).await?;
        Ok(status.ok_or(Error::NotFound("deployment"))?.into())
    }

    /// What it changed since another deployment of its API: the one before it, unless `since` names one.
    async fn changes(
        &self,
        ctx: &Context<'_>,
        since: Option<ID>,
    ) -> async_graphql::Result<Changes> {
        let (app, actor) = caller(ctx)?;
        let since = since.map(|id| Kind::Deployment.parse(&id, "since")).transpose();
        let changes = async { domain::change::of_deployment(app, actor, self.0.id, since?).await };
        Ok(changes.await?.into())
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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use crate::access::actor::Actor;
    use crate::app::App;
    use crate::graphql::persisted::Persisted;
    use crate::testing;

    /// The data of an answer without top-level errors.
    async fn ask(app: &App, actor: &Actor, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let request = Request::post("/graphql")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", testing::token(app, actor)))
            .body(Body::from(body))
            .unwrap();
        let response =
            crate::rest::router(app, Persisted::default()).oneshot(request).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"].take()
    }

    async fn change(app: &App, actor: &Actor, field: &str, input: Value) -> Value {
        let (name, give) = field.split_once(' ').unwrap();
        let kind = format!("{}{}Input", name[..1].to_uppercase(), &name[1..]);
        let kind = if name.starts_with("delete") { "DeleteInput".to_owned() } else { kind };
        let query = format!(
            "mutation($input: {kind}!) {{ {name}(input: $input) {{ {give} userErrors {{ code message param }} }} }}"
        );
        ask(app, actor, &query, json!({ "input": input })).await[name].take()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_api_is_made_published_and_taken_back_by_graphql(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;

        let made =
            change(&app, &alice, "createApi api { id apiId }", json!({ "name": "pets" })).await;
        let (api, plain) = (&made["api"]["id"], made["api"]["apiId"].as_str().unwrap());
        let wrong = json!({
            "apiId": api, "method": "GET", "path": "/pets/{id}",
            "integration": { "type": "HTTP_PROXY", "uri": "http://10.0.0.1/" },
        });
        let refused = change(&app, &alice, "createRoute route { id }", wrong).await;
        assert_eq!(refused["route"], Value::Null);
        assert_eq!(refused["userErrors"][0]["code"], "BAD_REQUEST");
        assert_eq!(refused["userErrors"][0]["param"], "integration.uri");
        let right = json!({
            "apiId": api, "method": "GET", "path": "/pets/{id}",
            "integration": { "type": "HTTP_PROXY", "uri": "http://127.0.0.1:7000/{id}" },
        });
        let route = change(&app, &alice, "createRoute route { id routeKey }", right).await;
        assert_eq!(route["route"]["routeKey"], "GET /pets/{id}");
        let deployed = change(
            &app,
            &alice,
            "createDeployment deployment { id digest status { version live publishedAt liveAfterMs nodeStatuses { nodeId state } } } stage { id name invokeUrl }",
            json!({ "apiId": api, "stage": "prod" }),
        )
        .await;
        let status = &deployed["deployment"]["status"];
        assert_eq!((&status["version"], &status["liveAfterMs"]), (&json!(1), &Value::Null));
        assert_eq!(status["nodeStatuses"], json!([]));
        assert_eq!(
            deployed["stage"]["invokeUrl"],
            format!("http://{plain}.execute-api.localhost:9080/prod")
        );

        let query = "query($id: ID!) { node(id: $id) { ... on Api {
            name pendingChanges dialect protocol
            routes(first: 10) { nodes { path integration { type uri } } }
            stages(first: 10) { nodes { name pendingChanges throttle { rateLimit } deployment { id } api { id } } }
            deployments(first: 10) { nodes { id } } integrations(first: 10) { nodes { id } } } } }";
        let seen = ask(&app, &alice, query, json!({ "id": api })).await["node"].take();
        assert_eq!(seen["pendingChanges"], false);
        assert_eq!(seen["routes"]["nodes"][0]["integration"]["uri"], "http://127.0.0.1:7000/{id}");
        assert_eq!(seen["stages"]["nodes"][0]["deployment"]["id"], deployed["deployment"]["id"]);
        assert_eq!(seen["stages"]["nodes"][0]["api"]["id"], *api);

        let stage = &deployed["stage"]["id"];
        let throttled = json!({ "id": stage, "throttle": { "rateLimit": 5.0, "burstLimit": 10 } });
        let give = "updateStage stage { throttle { rateLimit burstLimit } deployment { id } }";
        let throttled = change(&app, &alice, give, throttled).await;
        assert_eq!(throttled["stage"]["throttle"]["burstLimit"], 10);
        let freed = json!({ "id": stage, "throttle": null });
        let freed = change(&app, &alice, give, freed).await;
        assert_eq!(freed["stage"]["throttle"], Value::Null);
        assert_eq!(freed["stage"]["deployment"]["id"], deployed["deployment"]["id"]);

        let mallory = testing::owner(&app).await;
        for (field, input) in [
            ("deleteStage deletedId", json!({ "id": stage })),
            ("deleteApi deletedId", json!({ "id": api })),
            ("deleteRoute deletedId", json!({ "id": route["route"]["id"] })),
            ("createDeployment deployment { id }", json!({ "apiId": api, "stage": "prod" })),
        ] {
            let refused = change(&app, &mallory, field, input).await;
            assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND", "{field}: {refused}");
        }
        let hidden = ask(&app, &mallory, query, json!({ "id": api })).await;
        assert_eq!(hidden["node"], Value::Null);

        let gone = change(&app, &alice, "deleteApi deletedId", json!({ "id": api })).await;
        assert_eq!(gone["deletedId"], *api);
    }
}
