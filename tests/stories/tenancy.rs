//! A stranger who knows every id of a tenant's things learns nothing and changes nothing.

use harness::World;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use std::collections::BTreeMap;

/// What one tenant has, by noun: GraphQL's id and REST's path.
struct Things {
    /// Noun, opaque id.
    ids: Vec<(&'static str, String)>,
    paths: Vec<String>,
    tenant: String,
}

async fn things(world: &World) -> Things {
    let origin = world.origin().await;
    let acme = world.tenant("acme").await;
    let api =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let key = api.usage_plan("gold").throttle(10.0, 10).key().await;
    let consumer = json!({ "name": "someone" });
    let consumer =
        acme.mutate("createConsumer", "CreateConsumerInput!", consumer, "consumer { id }").await;
    let query = "query($id: ID!) { node(id: $id) { ... on Api {
        resources(first: 1) { nodes { id } } routes(first: 1) { nodes { id } } integrations(first: 1) { nodes { id } }
        deployments(first: 1) { nodes { id } } } } usagePlans(first: 1) { nodes { id } } }";
    let data = acme.graphql(query, json!({ "id": api.id })).await;
    let first = |list: &Value| harness::tenant::text(&list["nodes"][0]["id"]);
    let ids = vec![
        ("Api", api.id.clone()),
        ("Resource", first(&data["node"]["resources"])),
        ("Route", first(&data["node"]["routes"])),
        ("Integration", first(&data["node"]["integrations"])),
        ("Deployment", first(&data["node"]["deployments"])),
        ("Stage", api.stage_id.clone()),
        ("UsagePlan", first(&data["usagePlans"])),
        ("ApiKey", key.id.clone()),
        ("Consumer", harness::tenant::text(&consumer["consumer"]["id"])),
    ];

    let mut paths = vec![format!("/v1/apis/{}", api.api_id)];
    for (list, is_child) in [
        ("resources", true),
        ("routes", true),
        ("integrations", true),
        ("deployments", true),
        ("stages", true),
        ("usage-plans", false),
        ("api-keys", false),
        ("consumers", false),
    ] {
        let path = if is_child {
            format!("/v1/apis/{}/{list}", api.api_id)
        } else {
            format!("/v1/{list}")
        };
        let items = acme.rest("GET", &path).await.expect(200).json();
        let item = &items["items"][0];
        let name = if list == "stages" { &item["name"] } else { &item["id"] };
        paths.push(format!("{path}/{}", harness::tenant::text(name)));
        if is_child {
            paths.push(path);
        }
    }
    Things { ids, paths, tenant: acme.plain_id().await }
}

/// A digest of every row of a tenant, by table.
async fn digests(database: &mut PgConnection, tenant: &str) -> BTreeMap<String, Option<String>> {
    let tables = "select c.relname::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid
                  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attname = 'tenant_id'";
    let tables = sqlx::query(tables).fetch_all(&mut *database).await.unwrap();
    let mut digests = BTreeMap::new();
    for row in tables {
        let name: String = row.get("name");
        let digest = format!(
            "select md5(string_agg(t::text, '|' order by t::text)) from {name} t where t.tenant_id = $1::uuid"
        );
        let digest = sqlx::query_scalar(AssertSqlSafe(digest))
            .bind(tenant)
            .fetch_one(&mut *database)
            .await
            .unwrap();
        digests.insert(name, digest);
    }
    digests
}

#[tokio::test]
async fn another_tenants_ids_are_not_found_by_graphql() {
    let world = World::start().await;
    let things = things(&world).await;
    let mallory = world.tenant("mallory").await;
    let mut database = world.database().await;
    let before = digests(&mut database, &things.tenant).await;
    let id = |noun: &str| things.ids.iter().find(|(name, _)| *name == noun).unwrap().1.clone();

    for (noun, id) in &things.ids {
        let query = "query($id: ID!) { node(id: $id) { id } nodes(ids: [$id]) { id } }";
        let data = mallory.graphql(query, json!({ "id": id })).await;
        assert_eq!(data, json!({ "node": null, "nodes": [null] }), "{noun}");
    }

    let route = json!({ "apiId": id("Api"), "method": "GET", "path": "/stolen", "integrationId": id("Integration") });
    let resource = json!({ "apiId": id("Api"), "parentId": id("Resource"), "pathPart": "stolen" });
    let integration = json!({ "type": "MOCK", "mockResponse": { "status": 200 } });
    let tries = [
        ("updateApi", "UpdateApiInput!", json!({ "id": id("Api"), "name": "stolen" })),
        ("deleteApi", "DeleteInput!", json!({ "id": id("Api") })),
        ("createResource", "CreateResourceInput!", resource),
        ("deleteResource", "DeleteInput!", json!({ "id": id("Resource") })),
        ("createRoute", "CreateRouteInput!", route),
        ("updateRoute", "UpdateRouteInput!", json!({ "id": id("Route"), "apiKeyRequired": false })),
        ("deleteRoute", "DeleteInput!", json!({ "id": id("Route") })),
        (
            "createIntegration",
            "CreateIntegrationInput!",
            json!({ "apiId": id("Api"), "integration": integration }),
        ),
        (
            "updateIntegration",
            "UpdateIntegrationInput!",
            json!({ "id": id("Integration"), "integration": integration }),
        ),
        ("deleteIntegration", "DeleteInput!", json!({ "id": id("Integration") })),
        (
            "createDeployment",
            "CreateDeploymentInput!",
            json!({ "apiId": id("Api"), "stage": "prod" }),
        ),
        ("createStage", "CreateStageInput!", json!({ "apiId": id("Api"), "name": "stolen" })),
        ("updateStage", "UpdateStageInput!", json!({ "id": id("Stage"), "description": "stolen" })),
        ("deleteStage", "DeleteInput!", json!({ "id": id("Stage") })),
        (
            "createUsagePlan",
            "CreateUsagePlanInput!",
            json!({ "name": "stolen", "stageIds": [id("Stage")] }),
        ),
        (
            "updateUsagePlan",
            "UpdateUsagePlanInput!",
            json!({ "id": id("UsagePlan"), "name": "stolen" }),
        ),
        ("deleteUsagePlan", "DeleteInput!", json!({ "id": id("UsagePlan") })),
        (
            "createApiKey",
            "CreateApiKeyInput!",
            json!({ "name": "stolen", "usagePlanIds": [id("UsagePlan")] }),
        ),
        (
            "createApiKey",
            "CreateApiKeyInput!",
            json!({ "name": "stolen", "consumerId": id("Consumer") }),
        ),
        ("updateApiKey", "UpdateApiKeyInput!", json!({ "id": id("ApiKey"), "enabled": false })),
        ("deleteApiKey", "DeleteInput!", json!({ "id": id("ApiKey") })),
        ("deleteConsumer", "DeleteInput!", json!({ "id": id("Consumer") })),
    ];
    for (name, input_type, input) in tries {
        let query = format!(
            "mutation($input: {input_type}) {{ {name}(input: $input) {{ userErrors {{ code }} }} }}"
        );
        let data = mallory.graphql(&query, json!({ "input": input })).await;
        assert_eq!(
            data[name]["userErrors"],
            json!([{ "code": "NOT_FOUND" }]),
            "{name} with {input}"
        );
    }

    assert_eq!(digests(&mut database, &things.tenant).await, before);
    let own = "query { apis(first: 10) { nodes { id } } usagePlans(first: 10) { nodes { id } } apiKeys(first: 10) { nodes { id } } }";
    let empty = json!({ "nodes": [] });
    assert_eq!(
        mallory.graphql(own, json!({})).await,
        json!({ "apis": empty, "usagePlans": empty, "apiKeys": empty })
    );
}

#[tokio::test]
async fn another_tenants_ids_are_not_found_by_rest() {
    let world = World::start().await;
    let things = things(&world).await;
    let mallory = world.tenant("mallory").await;
    let mut database = world.database().await;
    let before = digests(&mut database, &things.tenant).await;
    assert!(things.paths.len() >= 14, "{:?}", things.paths);

    for path in &things.paths {
        for method in ["GET", "PATCH", "DELETE", "POST"] {
            let call = mallory.rest(method, path);
            let call =
                if method == "GET" || method == "DELETE" { call } else { call.json(&json!({})) };
            let answer = call.await;
            // 405: this path has no such method. 400: its body was read first, and says nothing of the row.
            assert!(
                matches!(answer.status(), 404 | 405 | 400),
                "{method} {path}: {} {}",
                answer.status(),
                answer.text()
            );
            if method == "GET" {
                assert_eq!(answer.status(), 404, "{path}");
                assert_eq!(answer.json()["code"], "not_found", "{path}");
            }
        }
    }

    assert_eq!(digests(&mut database, &things.tenant).await, before);
}

#[tokio::test]
async fn without_a_token_every_door_but_the_front_one_is_closed() {
    let world = World::start().await;
    let things = things(&world).await;
    let lists = [
        "/v1/apis",
        "/v1/usage-plans",
        "/v1/api-keys",
        "/v1/consumers",
        "/v1/usage",
        "/v1/bill",
        "/v1/operator/price",
    ];
    for path in things.paths.iter().map(String::as_str).chain(lists) {
        let answer = world.management().get(path).await;
        assert_eq!(answer.status(), 401, "{path}: {}", answer.text());
    }
    let acme = world.tenant("someone").await;
    let answer = acme.rest("PUT", "/v1/operator/price").json(&json!({
        "currency": "EUR", "perMillionRequests": "1", "perGbOut": "1", "freeRequests": 0,
    }));
    assert_eq!(answer.await.status(), 403, "a tenant is not the operator");
}
