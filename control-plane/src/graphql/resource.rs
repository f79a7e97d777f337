//! Resources.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::resource::NewResource;
use crate::error::Error;
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::{caller, loader};
use crate::ids::ResourceId;

#[derive(Default)]
pub struct ResourceMutation;

/// A segment of an Api's tree of paths. A method is a route on one.
pub struct Resource(domain::resource::Resource);

impl From<domain::resource::Resource> for Resource {
    fn from(resource: domain::resource::Resource) -> Self {
        Self(resource)
    }
}

#[derive(InputObject)]
struct CreateResourceInput {
    api_id: ID,
    /// A resource of the same Api; its root is the first of its `resources`.
    parent_id: ID,
    /// Letters, digits and `- _ . , :`, or one whole variable: `{id}`, or `{proxy+}` for the rest of the path.
    path_part: String,
}

#[derive(SimpleObject)]
struct ResourcePayload {
    resource: Option<Resource>,
    user_errors: Vec<UserError>,
}

impl ResourcePayload {
    fn of(result: crate::error::Result<domain::resource::Resource>) -> async_graphql::Result<Self> {
        let (resource, user_errors) = user_errors(result)?;
        Ok(Self { resource: resource.map(Resource), user_errors })
    }
}

#[Object]
impl ResourceMutation {
    /// Makes a resource below another; a resource has at most one child that is a variable.
    async fn create_resource(
        &self,
        ctx: &Context<'_>,
        input: CreateResourceInput,
    ) -> async_graphql::Result<ResourcePayload> {
        let (app, actor) = caller(ctx)?;
        let create = async || {
            let api = Kind::Api.parse(&input.api_id, "apiId")?;
            let parent = Kind::Resource.parse(&input.parent_id, "parentId")?;
            let new = NewResource::new(parent, &input.path_part)?;
            domain::resource::create(app, actor, api, new).await
        };
        ResourcePayload::of(create().await)
    }

    /// Deletes the resource, all below it and the routes on them; the routes' integrations stay. The root
    /// cannot be deleted.
    async fn delete_resource(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let delete = async || {
            domain::resource::delete(app, actor, Kind::Resource.parse(&input.id, "id")?).await
        };
        let done = delete().await;
        DeletePayload::of(input.id, done)
    }
}

#[Object]
impl Resource {
    pub async fn id(&self) -> ID {
        Kind::Resource.id(self.0.id)
    }

    /// `pets`, `{id}` or `{proxy+}`; empty for the root.
    async fn path_part(&self) -> &str {
        &self.0.path_part
    }

    /// `/`, `/pets/{id}`.
    async fn path(&self) -> &str {
        &self.0.path
    }

    /// Null for the root.
    async fn parent(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Resource>> {
        let Some(id) = self.0.parent else { return Ok(None) };
        Ok(loader::one(ctx, id).await?.map(Into::into))
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

impl Loader<ResourceId> for Batches {
    type Value = domain::resource::Resource;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[ResourceId],
    ) -> Result<HashMap<ResourceId, Self::Value>, Self::Error> {
        let found = domain::resource::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|resource| (resource.id, resource)).collect())
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
    use crate::domain::api::Dialect;
    use crate::graphql::node::Kind;
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

    const CREATE: &str =
        "mutation($input: CreateResourceInput!) { do: createResource(input: $input) {
        resource { id pathPart path parent { id path } } userErrors { code param } } }";
    const CREATE_ROUTE: &str =
        "mutation($input: CreateRouteInput!) { do: createRoute(input: $input) {
        route { id routeKey resource { id path } } userErrors { code param } } }";
    const DELETE: &str = "mutation($input: DeleteInput!) { do: deleteResource(input: $input) {
        deletedId userErrors { code param } } }";

    #[sqlx::test(migrations = "../migrations")]
    async fn a_tree_is_built_and_cut_by_graphql(db: PgPool) {
        let app = testing::app(db).await;
        let (owner, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let api = Kind::Api.id(testing::new_api(&app, &owner, Dialect::AwsRest).await);
        let change = async |actor: &Actor, query: &str, input: Value| {
            ask(&app, actor, query, json!({ "input": input })).await["do"].take()
        };

        let query = "query($id: ID!) { node(id: $id) { ... on Api {
            resources(first: 10) { nodes { id path } } routes(first: 10) { nodes { path } } } } }";
        let seen = ask(&app, &owner, query, json!({ "id": *api })).await;
        let root = &seen["node"]["resources"]["nodes"][0];
        assert_eq!(root["path"], "/");
        let input = json!({ "apiId": *api, "parentId": root["id"], "pathPart": "pets" });
        let pets = change(&owner, CREATE, input.clone()).await["resource"].take();
        assert_eq!(pets["parent"], *root);
        let again = change(&owner, CREATE, input.clone()).await;
        assert_eq!(again["userErrors"], json!([{ "code": "CONFLICT", "param": "pathPart" }]));
        let stolen = change(&mallory, CREATE, input).await;
        assert_eq!(stolen["userErrors"], json!([{ "code": "NOT_FOUND", "param": null }]));

        let mut input = json!({ "apiId": *api, "method": "GET", "resourceId": pets["id"] });
        let route = change(&owner, CREATE_ROUTE, input.clone()).await["route"].take();
        assert_eq!(route["routeKey"], "GET /pets");
        assert_eq!(route["resource"], json!({ "id": pets["id"], "path": "/pets" }));
        input["path"] = json!("/pets");
        let both = change(&owner, CREATE_ROUTE, input).await;
        assert_eq!(both["userErrors"], json!([{ "code": "BAD_REQUEST", "param": "path" }]));

        let node =
            "query($id: ID!) { node(id: $id) { id ... on Resource { pathPart parent { path } } } }";
        let id = json!({ "id": pets["id"] });
        let seen = ask(&app, &owner, node, id.clone()).await;
        assert_eq!(
            seen["node"],
            json!({ "id": pets["id"], "pathPart": "pets", "parent": { "path": "/" } })
        );
        assert_eq!(ask(&app, &mallory, node, id.clone()).await["node"], Value::Null);
        let stolen = change(&mallory, DELETE, id.clone()).await;
        assert_eq!(stolen["userErrors"], json!([{ "code": "NOT_FOUND", "param": null }]));
        let kept = change(&owner, DELETE, json!({ "id": root["id"] })).await;
        assert_eq!(kept["userErrors"], json!([{ "code": "CONFLICT", "param": "id" }]));

        let gone = change(&owner, DELETE, id).await;
        assert_eq!(gone, json!({ "deletedId": pets["id"], "userErrors": [] }));
        let left = ask(&app, &owner, query, json!({ "id": *api })).await;
        assert_eq!(
            left["node"],
            json!({ "resources": { "nodes": [root] }, "routes": { "nodes": [] } })
        );
    }
}
