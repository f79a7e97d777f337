//! The log of requests to the management API: an error leads to its own entry, and to what was changed.

use harness::tenant::text;
use harness::{Answer, Tenant, World, eventually};
use serde_json::{Value, json};

/// The log's entry of this request by REST, once it is there.
async fn entry(tenant: &Tenant<'_>, request_id: &str) -> Value {
    let path = format!("/v1/management-requests/{request_id}");
    eventually("the request in the log", async || {
        let answer = tenant.rest("GET", &path).await;
        (answer.status() == 200).then(|| answer.json())
    })
    .await
}

fn id(answer: &Answer) -> String {
    answer.header("x-request-id").unwrap().to_owned()
}

/// The last part of a problem's `logUrl`, which is the console's.
fn named(world: &World, url: &Value) -> String {
    let url: url::Url = text(url).parse().unwrap();
    assert_eq!(url.port(), Some(world.management_address().port()), "{url}");
    let path = url.path().strip_prefix("/settings/requests/");
    path.unwrap_or_else(|| panic!("no page of requests: {url}")).to_owned()
}

#[tokio::test]
async fn an_errors_log_url_leads_its_tenant_and_nobody_else_to_the_request() {
    let world = World::start().await;
    let (acme, mallory) = (world.tenant("acme").await, world.tenant("mallory").await);

    let refused = acme
        .rest("GET", "/v1/apis/abc123xyz0?secret=hunter2")
        .header("x-request-id", "deploy-42")
        .await
        .expect(404);

    let problem = refused.json();
    let request_id = named(&world, &problem["logUrl"]);
    assert_eq!((&json!(request_id), &request_id), (&problem["requestId"], &id(&refused)));
    let found = entry(&acme, &request_id).await;
    for (field, value) in [
        ("requestId", json!(request_id)),
        ("clientRequestId", json!("deploy-42")),
        ("userEmail", json!(acme.email)),
        ("method", json!("GET")),
        ("path", json!("/v1/apis/{apiId}")),
        ("status", json!(404)),
        ("codes", json!(["not_found"])),
        ("address", json!("127.0.0.1")),
        ("apiVersion", json!("2026-11-20")),
    ] {
        assert_eq!(found[field], value, "{field}: {found}");
    }
    assert!(!found.to_string().contains("hunter2"), "{found}");
    // The same by the caller's own id, on the other face, and in the list.
    assert_eq!(entry(&acme, "deploy-42").await, found);
    let query = "query($id: String!) { managementRequest(requestId: $id) { requestId codes }
        managementRequests(first: 10, filter: { requestId: $id }) { nodes { requestId codes } } }";
    let asked = acme.graphql(query, json!({ "id": "deploy-42" })).await;
    let expected = json!({ "requestId": request_id, "codes": ["not_found"] });
    assert_eq!(asked["managementRequest"], expected);
    assert_eq!(asked["managementRequests"]["nodes"], json!([expected]));

    for name in [request_id.as_str(), "deploy-42"] {
        let path = format!("/v1/management-requests/{name}");
        assert_eq!(mallory.rest("GET", &path).await.expect(404).json()["code"], "not_found");
        let foreign = mallory.graphql(query, json!({ "id": name })).await;
        assert_eq!(foreign["managementRequest"], Value::Null);
        assert_eq!(foreign["managementRequests"]["nodes"], json!([]));
    }
    let nobody = world.management().get("/v1/apis").await.expect(401).json();
    assert_eq!(nobody.get("logUrl"), None, "nobody's request is in no log: {nobody}");
}

#[tokio::test]
async fn what_a_request_changed_is_found_in_the_audit_log_by_its_id() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    acme.rest("POST", "/v1/usage-plans").json(&json!({ "name": "gold" })).await.expect(201);
    let create = "mutation($input: CreateApiInput!) {
        createApi(input: $input) { api { apiId } userErrors { code logUrl } } }";
    let made = acme.try_graphql(create, json!({ "input": { "name": "pets" } })).await;
    let refused = acme.try_graphql(create, json!({ "input": { "name": "" } })).await;

    let error = &refused.json()["data"]["createApi"]["userErrors"][0];
    assert_eq!(named(&world, &error["logUrl"]), id(&refused));
    let found = entry(&acme, &id(&refused)).await;
    let told = (&found["operations"], &found["status"], &found["codes"]);
    assert_eq!(told, (&json!(["createApi"]), &json!(200), &json!(["bad_request"])));

    let path = format!("/v1/audit-entries?requestId={}", id(&made));
    let entries = acme.rest("GET", &path).await.expect(200).json();
    let query = "query($id: String!) { auditEntries(first: 10, filter: { requestId: $id }) { nodes { action nounId } } }";
    let nodes = acme.graphql(query, json!({ "id": id(&made) })).await;
    let nodes = nodes["auditEntries"]["nodes"].as_array().unwrap().clone();
    let api = &made.json()["data"]["createApi"]["api"]["apiId"];
    assert_eq!(nodes, [json!({ "action": "api.create", "nounId": api })]);
    assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");
    assert_eq!(entries["items"][0]["nounId"], *api);
}

#[tokio::test]
async fn what_waits_to_be_written_is_written_when_the_control_plane_stops() {
    let mut world = World::start().await;
    let (token, last) = {
        let acme = world.tenant("acme").await;
        let mut last = String::new();
        for _ in 0..50 {
            last = id(&acme.rest("GET", "/v1/apis").await.expect(200));
        }
        (acme.token.clone(), last)
    };
    world.stop_control_plane().await;

    let rows: i64 =
        sqlx::query_scalar("select count(*) from management_request where path = '/v1/apis'")
            .fetch_one(&mut world.database().await)
            .await
            .unwrap();
    assert_eq!(rows, 50);
    world.start_control_plane().await;
    let path = format!("/v1/management-requests/{last}");
    world.management().get(&path).bearer(&token).await.expect(200);
}
