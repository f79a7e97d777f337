//! Deployments.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::App;
use crate::domain;
use crate::domain::convergence::{self, Convergence};
use crate::domain::deployment::{NewDeployment, UpdateDeployment};
use crate::domain::patch::Patch;
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId, NodeId};
use crate::rest::canary::DeploymentCanarySettings;
use crate::rest::etag::{Tag, Tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;
use crate::rest::stage::Stage;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

/// An Api's draft, frozen.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Deployment {
    #[schema(value_type = String)]
    id: DeploymentId,
    #[schema(value_type = String)]
    api_id: ApiId,
    description: String,
    /// A name of its own among the API's deployments.
    label: Option<String>,
    /// It is kept for good, however many come after it; others give way to newer ones at the limit `DEPLOYMENTS_PER_API`.
    pinned: bool,
    /// A stage with `autoDeploy` had it made.
    auto_deployed: bool,
    /// SHA-256 of what was frozen, in hex: the same draft has the same.
    digest: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

/// How far the nodes are. Live when every node that is there serves the version.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeploymentStatus {
    /// 0 while no stage ever pointed at it.
    version: u64,
    /// How many nodes are there.
    nodes: u64,
    /// How many of them answered.
    acknowledged: u64,
    /// How many of them could not compile it, and serve what was before.
    refused: u64,
    /// How many more were heard of within the hour, but not for 20 s.
    offline: u64,
    /// Whether every node that is there serves it.
    live: bool,
    /// Why nodes refused it: each reason once.
    refusals: Vec<String>,
    /// When its version was committed.
    published_at: Option<DateTime<Utc>>,
    /// Milliseconds from the commit to the last node that was there then; null until it is live, and after a week.
    live_after_ms: Option<i64>,
    /// Each node that was heard of within the hour.
    node_statuses: Vec<NodeStatus>,
}

/// How far one node is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    /// Says nothing but which node, here and in logs.
    #[schema(value_type = String)]
    node_id: NodeId,
    state: NodeState,
    /// The version that the node serves; null before its first.
    acknowledged_version: Option<u64>,
    /// When the node had this deployment's version; remembered for a week.
    acknowledged_at: Option<DateTime<Utc>>,
    /// Why the node refused it.
    reason: Option<String>,
}

/// What a node does with a version. `OFFLINE`: not heard of for 20 s; it serves what it holds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum NodeState {
    Pending,
    Live,
    Refused,
    Offline,
}

impl From<Convergence> for DeploymentStatus {
    fn from(convergence: Convergence) -> Self {
        Self {
            version: convergence.version,
            nodes: convergence.online(),
            acknowledged: convergence.acknowledged(),
            refused: convergence.count(convergence::NodeState::Refused),
            offline: convergence.count(convergence::NodeState::Offline),
            live: convergence.live(),
            refusals: convergence.refusals(),
            published_at: convergence.published_at,
            live_after_ms: convergence.took().map(|took| took.num_milliseconds()),
            node_statuses: convergence.nodes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<convergence::NodeStatus> for NodeStatus {
    fn from(status: convergence::NodeStatus) -> Self {
        Self {
            node_id: status.node,
            state: match status.state {
                convergence::NodeState::Pending => NodeState::Pending,
                convergence::NodeState::Live => NodeState::Live,
                convergence::NodeState::Refused => NodeState::Refused,
                convergence::NodeState::Offline => NodeState::Offline,
            },
            acknowledged_version: status.acknowledged_version,
            acknowledged_at: status.acknowledged_at,
            reason: (!status.refusals.is_empty()).then(|| status.refusals.join("; ")),
        }
    }
}

/// A deployment and how far the nodes are with it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FollowedDeployment {
    #[serde(flatten)]
    deployment: Deployment,
    status: DeploymentStatus,
}

impl Tagged for FollowedDeployment {
    fn version(&self) -> &str {
        &self.deployment.version
    }
}

/// A new deployment, and the stage that points at it where one was named.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreatedDeployment {
    #[serde(flatten)]
    deployment: FollowedDeployment,
    stage: Option<Stage>,
}

impl From<domain::deployment::Deployment> for Deployment {
    fn from(deployment: domain::deployment::Deployment) -> Self {
        Self {
            version: deployment.version(),
            label: deployment.label,
            pinned: deployment.pinned,
            updated_at: deployment.updated_at,
            id: deployment.id,
            api_id: deployment.api,
            description: deployment.description,
            auto_deployed: deployment.auto_deployed,
            digest: deployment.digest,
            created_at: deployment.created_at,
        }
    }
}

impl FollowedDeployment {
    async fn load(
        app: &App,
        actor: &Actor,
        deployment: domain::deployment::Deployment,
    ) -> Result<Self> {
        let id = deployment.id;
        let mut found = convergence::of_deployments(app, actor, &[id]).await?;
        let status = found.remove(&id).ok_or(Error::NotFound("deployment"))?.into();
        Ok(Self { deployment: deployment.into(), status })
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateDeployment {
    /// Pointed at the deployment; made if absent.
    stage: Option<String>,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
    /// The stage, which must be there, keeps its deployment; this one becomes its canary, in the place of the one it had.
    canary_settings: Option<DeploymentCanarySettings>,
}

/// A field left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PatchDeployment {
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// 1 to 128 characters; of the API's deployments one has it. Null takes it away.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    label: Patch<String>,
    /// Whether it is kept for good, however many come after it.
    pinned: Option<bool>,
}

/// An Api's deployments, newest first.
#[utoipa::path(get, path = "/apis/{apiId}/deployments", tag = "deployments",
    operation_id = "listDeployments", params(("apiId" = String, Path), PageQuery), responses(
        (status = 200, body = List<Deployment>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    Query(page): Query<PageQuery>,
) -> Result<List<Deployment>> {
    Ok(List::of(domain::deployment::list(&app, &actor, api, &page.try_into()?).await?))
}

/// Checks the draft, freezes it and, when `stage` is named, points that stage at it. A stage with a canary takes a
/// deployment only with `canarySettings`.
#[utoipa::path(post, path = "/apis/{apiId}/deployments", tag = "deployments",
    operation_id = "createDeployment", params(("apiId" = String, Path)),
    request_body = CreateDeployment, responses(
        (status = 201, body = CreatedDeployment),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    extract::Json(body): extract::Json<CreateDeployment>,
) -> Result<(StatusCode, Json<CreatedDeployment>)> {
    let new = NewDeployment::new(api, body.stage, body.description)?;
    let new = new.with_canary(body.canary_settings.map(Into::into))?;
    let (deployment, stage) = domain::deployment::create(&app, &actor, new).await?;
    let created = CreatedDeployment {
        deployment: FollowedDeployment::load(&app, &actor, deployment).await?,
        stage: stage.map(|stage| Stage::of(&app, stage, false)),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// One deployment.
#[utoipa::path(get, path = "/apis/{apiId}/deployments/{deploymentId}", tag = "deployments",
    operation_id = "getDeployment",
    params(("apiId" = String, Path), ("deploymentId" = String, Path)), responses(
        (status = 200, body = FollowedDeployment),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, DeploymentId)>,
) -> Result<Tag<FollowedDeployment>> {
    let deployment = of_api(&app, &actor, api, id).await?;
    Ok(Tag(FollowedDeployment::load(&app, &actor, deployment).await?))
}

/// Names, describes or pins a deployment. What was frozen never changes.
#[utoipa::path(patch, path = "/apis/{apiId}/deployments/{deploymentId}", tag = "deployments",
    operation_id = "updateDeployment",
    params(("apiId" = String, Path), ("deploymentId" = String, Path)),
    request_body = PatchDeployment, responses(
        (status = 200, body = FollowedDeployment),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, DeploymentId)>,
    extract::Json(body): extract::Json<PatchDeployment>,
) -> Result<Tag<FollowedDeployment>> {
    let change =
        UpdateDeployment { description: body.description, label: body.label, pinned: body.pinned };
    actor.may(Action::Deploy)?;
    of_api(&app, &actor, api, id).await?;
    let deployment = domain::deployment::update(&app, &actor, id, change).await?;
    Ok(Tag(FollowedDeployment::load(&app, &actor, deployment).await?))
}

/// Forgets a deployment; refused while it is pinned, and while a stage is on it.
#[utoipa::path(delete, path = "/apis/{apiId}/deployments/{deploymentId}", tag = "deployments",
    operation_id = "deleteDeployment",
    params(("apiId" = String, Path), ("deploymentId" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, DeploymentId)>,
) -> Result<StatusCode> {
    actor.may(Action::Deploy)?;
    of_api(&app, &actor, api, id).await?;
    domain::deployment::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The deployment, if it is this Api's.
async fn of_api(
    app: &App,
    actor: &Actor,
    api: ApiId,
    id: DeploymentId,
) -> Result<domain::deployment::Deployment> {
    let deployment = domain::deployment::get(app, actor, id).await?;
    if deployment.api == api { Ok(deployment) } else { Err(Error::NotFound("deployment")) }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::graphql::persisted::Persisted;
    use crate::testing;

    /// Sends `GET /apis` or `POST /apis` with a body, and answers status and JSON.
    async fn call(app: &App, actor: &Actor, line: &str, body: Value) -> (u16, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1{path}"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", testing::token(app, actor)))
            .body(if body.is_null() { Body::empty() } else { Body::from(body.to_string()) })
            .unwrap();
        let response =
            crate::rest::router(app, Persisted::default()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_api_is_made_published_and_taken_back_by_rest(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let alice = async |line: String, body: Value| call(&app, &alice, &line, body).await;

        let (status, api) = alice("POST /apis".into(), json!({ "name": "pets" })).await;
        assert_eq!(
            (status, &api["dialect"], &api["protocol"]),
            (201, &json!("native"), &json!("HTTP"))
        );
        let api = format!("/apis/{}", api["id"].as_str().unwrap());
        let mock = json!({ "type": "MOCK", "mockResponse": { "status": 200, "body": "hello" } });
        let route = json!({ "method": "GET", "path": "/pets", "integration": mock });
        let (status, route) = alice(format!("POST {api}/routes"), route).await;
        assert_eq!((status, &route["routeKey"]), (201, &json!("GET /pets")));
        let (status, made) =
            alice(format!("POST {api}/deployments"), json!({ "stage": "prod" })).await;
        assert_eq!((status, &made["status"]["version"]), (201, &json!(1)), "{made}");
        assert_eq!(made["stage"]["deploymentId"], made["id"]);
        let path = format!("{api}/deployments/{}", made["id"].as_str().unwrap());
        let status = alice(format!("GET {path}"), Value::Null).await.1["status"].take();
        assert!(status["publishedAt"].is_string(), "{status}");
        assert_eq!((&status["nodeStatuses"], &status["live"]), (&json!([]), &json!(false)));

        let (status, seen) = alice(format!("GET {api}"), Value::Null).await;
        assert_eq!((status, &seen["pendingChanges"]), (200, &json!(false)));
        let variables = json!({ "variables": { "a": "b" }, "throttle": null });
        let (status, stage) = alice(format!("PATCH {api}/stages/prod"), variables).await;
        assert_eq!((status, &stage["variables"]), (200, &json!({ "a": "b" })));
        let integration = route["integrationId"].as_str().unwrap();
        let (status, changed) = alice(format!("PUT {api}/integrations/{integration}"), mock).await;
        assert_eq!((status, &changed["type"]), (200, &json!("MOCK")));
        for list in ["routes", "integrations", "deployments", "stages"] {
            let (status, page) = alice(format!("GET {api}/{list}?limit=1"), Value::Null).await;
            assert_eq!((status, page["items"].as_array().unwrap().len()), (200, 1), "{list}");
            assert_eq!(page["nextCursor"], Value::Null);
        }

        let id = route["id"].as_str().unwrap();
        let deployment = made["id"].as_str().unwrap();
        for line in [
            format!("GET {api}"),
            format!("PATCH {api}"),
            format!("DELETE {api}"),
            format!("GET {api}/routes"),
            format!("GET {api}/routes/{id}"),
            format!("PATCH {api}/routes/{id}"),
            format!("DELETE {api}/routes/{id}"),
            format!("GET {api}/integrations/{integration}"),
            format!("DELETE {api}/integrations/{integration}"),
            format!("GET {api}/deployments"),
            format!("POST {api}/deployments"),
            format!("GET {api}/deployments/{deployment}"),
            format!("GET {api}/stages/prod"),
            format!("PATCH {api}/stages/prod"),
            format!("DELETE {api}/stages/prod"),
            "GET /apis/nothing".to_owned(),
            "GET /apis/%00".to_owned(),
        ] {
            let body = if line.starts_with('P') { json!({}) } else { Value::Null };
            let (status, problem) = call(&app, &mallory, &line, body).await;
            assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{line}");
        }
        for wrong in
            ["GET /apis/{}/stages/%00", "GET /apis/{}/stages/a%2Fb", "GET /apis/{}/routes/x"]
        {
            let line = wrong.replace("/apis/{}", &api);
            assert_eq!(alice(line, Value::Null).await.0, 404, "{wrong}");
        }

        assert_eq!(alice(format!("DELETE {api}/routes/{id}"), Value::Null).await.0, 204);
        assert_eq!(
            alice(format!("DELETE {api}/integrations/{integration}"), Value::Null).await.0,
            204
        );
        assert_eq!(alice(format!("DELETE {api}/stages/prod"), Value::Null).await.0, 204);
        assert_eq!(alice(format!("DELETE {api}"), Value::Null).await.0, 204);
        assert_eq!(alice(format!("GET {api}"), Value::Null).await.0, 404);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_wrong_body_is_a_problem_that_names_its_field(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = testing::new_api(&app, &alice, domain::api::Dialect::Native).await;
        let proxy = |uri: &str| json!({ "type": "HTTP_PROXY", "uri": uri });
        for (line, body, param) in [
            ("POST /apis", json!({}), "name"),
            ("POST /apis", json!({ "name": "" }), "name"),
            ("POST /apis", json!({ "name": "a", "colour": "red" }), "colour"),
            ("POST /apis", json!({ "name": "a", "protocol": "WEBSOCKET" }), "protocol"),
            ("POST /apis", json!({ "name": "a", "dialect": "other" }), "dialect"),
            ("PATCH /apis/{}", json!({ "dialect": "aws-rest" }), "dialect"),
            ("POST /apis/{}/routes", json!({ "method": "FETCH", "path": "/" }), "method"),
            ("POST /apis/{}/routes", json!({ "method": "GET", "path": "a" }), "path"),
            (
                "POST /apis/{}/routes",
                json!({ "method": "GET", "path": "/", "integration": proxy("http://10.0.0.1") }),
                "integration.uri",
            ),
            ("POST /apis/{}/integrations", proxy("ftp://h"), "uri"),
            ("POST /apis/{}/deployments", json!({ "stage": "a b" }), "stage"),
            ("POST /apis/{}/deployments", json!({}), "routes"),
            ("POST /apis/{}/stages", json!({ "name": "a/b" }), "name"),
            (
                "POST /apis/{}/stages",
                json!({ "name": "a", "throttle": { "rateLimit": 0, "burstLimit": 1 } }),
                "throttle.rateLimit",
            ),
            ("GET /apis?limit=101", Value::Null, "limit"),
            ("GET /apis?cursor=x", Value::Null, "cursor"),
        ] {
            let line = line.replace("{}", api.as_str());
            let (status, problem) = call(&app, &alice, &line, body).await;
            assert_eq!((status, &problem["param"]), (400, &json!(param)), "{line}: {problem}");
        }
    }
}
