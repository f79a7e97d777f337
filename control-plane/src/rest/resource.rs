//! Resources.

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
use crate::domain::resource::NewResource;
use crate::error::{Error, Result};
use crate::ids::{ApiId, ResourceId};
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, delete))
}

/// A segment of an Api's tree of paths. A method is a route on one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[schema(value_type = String)]
    id: ResourceId,
    #[schema(value_type = String)]
    api_id: ApiId,
    /// Null for the root.
    #[schema(value_type = Option<String>)]
    parent_id: Option<ResourceId>,
    /// `pets`, `{id}` or `{proxy+}`; empty for the root.
    path_part: String,
    /// `/`, `/pets/{id}`.
    path: String,
    created_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(Resource);

impl From<domain::resource::Resource> for Resource {
    fn from(resource: domain::resource::Resource) -> Self {
        Self {
            version: resource.version(),
            id: resource.id,
            api_id: resource.api,
            parent_id: resource.parent,
            path_part: resource.path_part,
            path: resource.path,
            created_at: resource.created_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateResource {
    /// A resource of the same Api; its root is the first of its resources.
    #[schema(value_type = String)]
    parent_id: ResourceId,
    /// Letters, digits and `- _ . , :`, or one whole variable: `{id}`, or `{proxy+}` for the rest of the path.
    path_part: String,
}

/// The resource, if it is of this Api.
async fn find(
    app: &App,
    actor: &Actor,
    api: ApiId,
    id: ResourceId,
) -> Result<domain::resource::Resource> {
    let resource = domain::resource::get(app, actor, id).await?;
    if resource.api == api { Ok(resource) } else { Err(Error::NotFound("resource")) }
}

/// An Api's resources: its root, which every Api has, then the oldest first.
#[utoipa::path(get, path = "/apis/{apiId}/resources", tag = "resources",
    operation_id = "listResources", params(("apiId" = String, Path), PageQuery), responses(
        (status = 200, body = List<Resource>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    Query(page): Query<PageQuery>,
) -> Result<List<Resource>> {
    Ok(List::of(domain::resource::list(&app, &actor, api, &page.try_into()?).await?))
}

/// Makes a resource below another; a resource has at most one child that is a variable.
#[utoipa::path(post, path = "/apis/{apiId}/resources", tag = "resources",
    operation_id = "createResource", params(("apiId" = String, Path)),
    request_body = CreateResource, responses(
        (status = 201, body = Resource),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    Path(api): Path<ApiId>,
    extract::Json(body): extract::Json<CreateResource>,
) -> Result<(StatusCode, Tag<Resource>)> {
    let new = NewResource::new(body.parent_id, &body.path_part)?;
    let resource = domain::resource::create(&app, &actor, api, new).await?;
    Ok((StatusCode::CREATED, Tag(resource.into())))
}

/// One resource.
#[utoipa::path(get, path = "/apis/{apiId}/resources/{resourceId}", tag = "resources",
    operation_id = "getResource", params(("apiId" = String, Path), ("resourceId" = String, Path)),
    responses(
        (status = 200, body = Resource),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, ResourceId)>,
) -> Result<Tag<Resource>> {
    Ok(Tag(find(&app, &actor, api, id).await?.into()))
}

/// Deletes a resource, all below it and the routes on them; the root cannot be deleted.
#[utoipa::path(delete, path = "/apis/{apiId}/resources/{resourceId}", tag = "resources",
    operation_id = "deleteResource",
    params(("apiId" = String, Path), ("resourceId" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path((api, id)): Path<(ApiId, ResourceId)>,
) -> Result<StatusCode> {
    actor.may(Action::ManageApis)?; // before the look whether it is of this Api
    find(&app, &actor, api, id).await?;
    domain::resource::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
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
    use crate::domain::api::Dialect;
    use crate::graphql::persisted::Persisted;
    use crate::testing;

    /// Sends `GET /apis` or `POST /apis` with a body, and answers status and JSON.
    async fn call(app: &App, actor: &Actor, line: String, body: Value) -> (u16, Value) {
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
    async fn a_tree_is_built_and_cut_by_rest(db: PgPool) {
        let app = testing::app(db).await;
        let (owner, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let api = testing::new_api(&app, &owner, Dialect::AwsRest).await;
        let other = testing::new_api(&app, &owner, Dialect::AwsRest).await;
        let alice = async |line: String, body: Value| call(&app, &owner, line, body).await;
        let tree = format!("/apis/{api}/resources");

        let (status, page) = alice(format!("GET {tree}"), Value::Null).await;
        let root = &page["items"][0];
        assert_eq!((status, &root["path"], &root["parentId"]), (200, &json!("/"), &Value::Null));
        let pets = json!({ "parentId": root["id"], "pathPart": "pets" });
        let (status, pets) = alice(format!("POST {tree}"), pets).await;
        assert_eq!((status, &pets["parentId"]), (201, &root["id"]), "{pets}");
        let pet = json!({ "parentId": pets["id"], "pathPart": "{id}" });
        let (status, pet) = alice(format!("POST {tree}"), pet).await;
        assert_eq!((status, &pet["path"]), (201, &json!("/pets/{id}")), "{pet}");
        let text = |id: &Value| id["id"].as_str().unwrap().to_owned();

        for (body, status, code, param) in [
            (json!({ "parentId": root["id"], "pathPart": "pets" }), 409, "conflict", "pathPart"),
            (json!({ "parentId": pets["id"], "pathPart": "{x}" }), 409, "conflict", "pathPart"),
            (json!({ "parentId": root["id"], "pathPart": "a/b" }), 400, "bad_request", "pathPart"),
            (json!({ "parentId": root["id"] }), 400, "bad_request", "pathPart"),
            (
                json!({ "parentId": root["id"], "pathPart": "a", "path": "/a" }),
                400,
                "bad_request",
                "path",
            ),
        ] {
            let (got, problem) = alice(format!("POST {tree}"), body).await;
            let told = (got, problem["code"].as_str(), problem["param"].as_str());
            assert_eq!(told, (status, Some(code), Some(param)), "{problem}");
        }

        let route = json!({ "method": "GET", "resourceId": pet["id"] });
        let (status, route) = alice(format!("POST /apis/{api}/routes"), route).await;
        assert_eq!((status, &route["routeKey"]), (201, &json!("GET /pets/{id}")), "{route}");
        assert_eq!(route["resourceId"], pet["id"]);
        for both in [json!({ "path": "/a", "resourceId": pet["id"] }), json!({})] {
            let mut body = both;
            body["method"] = json!("PUT");
            let (status, problem) = alice(format!("POST /apis/{api}/routes"), body).await;
            assert_eq!((status, &problem["param"]), (400, &json!("path")), "{problem}");
        }

        let one = format!("{tree}/{}", text(&pet));
        for method in ["GET", "DELETE"] {
            let (status, _) = call(&app, &mallory, format!("{method} {one}"), Value::Null).await;
            assert_eq!(status, 404);
            let elsewhere = format!("{method} /apis/{other}/resources/{}", text(&pet));
            assert_eq!(alice(elsewhere, Value::Null).await.0, 404);
        }
        assert_eq!(alice(format!("GET {one}"), Value::Null).await, (200, pet));
        assert_eq!(alice(format!("DELETE {tree}/{}", text(root)), Value::Null).await.0, 409);
        assert_eq!(alice(format!("DELETE {tree}/{}", text(&pets)), Value::Null).await.0, 204);
        assert_eq!(alice(format!("GET {one}"), Value::Null).await.0, 404);
        let gone = format!("GET /apis/{api}/routes/{}", text(&route));
        assert_eq!(alice(gone, Value::Null).await.0, 404);
    }
}
