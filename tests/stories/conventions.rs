//! What every answer has in common: an id, a version, how the caller's points stand, and errors that lead to their page.

use std::net::SocketAddr;

use harness::{Answer, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than are ever needed to spend 60 points, of which one comes back each second.
const CALLS_MAX: usize = 500;

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_come_back_and_others_are_not_slowed() {
    let world = World::start_with(&[("TOLLGATE_USER_POINTS_PER_MINUTE", "60")]).await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);

    let first = acme.rest("GET", "/v1/apis").await.expect(200);
    assert_eq!(first.header("ratelimit-policy"), Some("\"user\";q=60;w=60"));
    assert!(first.header("ratelimit").unwrap().starts_with("\"user\";r="), "{first:?}");
    let mut refused = first;
    for _ in 0..CALLS_MAX {
        refused = acme.rest("POST", "/v1/usage-plans").json(&json!({ "name": "" })).await;
        if refused.status() == 429 {
            break;
        }
    }
    let problem = refused.json();
    assert_eq!((refused.status(), &problem["code"]), (429, &json!("too_many_requests")));
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(
        (1..=5).contains(&wait),
        "a change is 5 points, and one comes back each second: {wait}"
    );

    // The same points on the other face.
    let query = "mutation { deleteUsagePlan(input: { id: \"x\" }) { deletedId } }";
    let mut refused = acme.try_graphql(query, Value::Null).await;
    for _ in 0..CALLS_MAX {
        if refused.status() == 429 {
            break;
        }
        refused = acme.try_graphql(query, Value::Null).await;
    }
    let error = &refused.json()["errors"][0]["extensions"];
    assert_eq!((refused.status(), &error["code"]), (429, &json!("too_many_requests")));
    assert!(refused.header("retry-after").is_some());

    globex.rest("GET", "/v1/apis").await.expect(200);
    let cost = "{ rateLimit { cost limit } usagePlans(first: 20) { nodes { name } } }";
    let told = globex.graphql(cost, Value::Null).await;
    assert_eq!(told["rateLimit"], json!({ "cost": 2, "limit": 60 }));
}

#[tokio::test]
async fn a_graphql_list_is_asked_for_by_pages_and_a_change_gives_its_name_back() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let query = "{ apis(first: 2) {\n  nodes { stages { nodes { id } } } } }";
    let refused = acme.try_graphql(query, Value::Null).await.expect(400).json();
    let error = &refused["errors"][0];
    assert_eq!(
        (&error["extensions"]["code"], refused.get("data")),
        (&json!("page_size_required"), None)
    );
    assert_eq!(error["locations"], json!([{ "line": 2, "column": 11 }]));
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("apis.nodes.stages is a connection"), "{message}");
    let meaning = world.management().get(error["extensions"]["type"].as_str().unwrap()).await;
    assert!(meaning.expect(200).text().contains("apiKeys(first: 20)"));

    let query = "mutation($input: CreateApiInput!) { createApi(input: $input) {
        clientMutationId api { stages(last: 1) { nodes { id } } } userErrors { code } } }";
    for (name, errors) in [("pets", json!([])), ("", json!([{ "code": "BAD_REQUEST" }]))] {
        let input = json!({ "name": name, "clientMutationId": format!("make {name}") });
        let made = acme.graphql(query, json!({ "input": input })).await["createApi"].take();
        assert_eq!(
            (&made["clientMutationId"], &made["userErrors"]),
            (&input["clientMutationId"], &errors)
        );
    }
}

/// What comes back for bytes that are no request.
async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The answer's id is a UUID, and also in what it says.
fn assert_id(answer: &Answer, what: &str) {
    let id = answer.header("x-request-id").unwrap_or_default();
    assert_eq!(id.len(), 36, "{what}: {id}");
    assert!(answer.text().contains(id), "{what}: {}", answer.text());
}

#[tokio::test]
async fn every_refusal_has_an_id_and_leads_to_what_it_means() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let console = world.management();
    let wrong_version = acme.rest("GET", "/v1/apis").header("api-version", "2020-01-01");
    let table = [
        ("no such path", console.get("/v1/nothing"), 404),
        ("no token", console.get("/v1/apis"), 401),
        ("a wrong method", acme.rest("DELETE", "/v1/apis"), 405),
        ("a console's path by POST", console.post("/somewhere"), 405),
        ("no such Api", acme.rest("GET", "/v1/apis/abc123xyz0"), 404),
        ("no JSON", acme.rest("POST", "/v1/apis").body("x"), 415),
        ("no page of 0", acme.rest("GET", "/v1/apis?limit=0"), 400),
        ("an unknown version", wrong_version, 400),
    ];
    for (what, call, status) in table {
        let answer = call.await.expect(status);
        assert_id(&answer, what);
        let problem = answer.json();
        assert_eq!(
            problem["instance"],
            json!(format!("urn:uuid:{}", problem["requestId"].as_str().unwrap()))
        );
        let page = console.get(problem["type"].as_str().unwrap()).await.expect(200);
        assert!(page.text().contains(problem["code"].as_str().unwrap()), "{what}");
    }
    let refused = console.post("/graphql").json(&json!({ "query": "{ nothing }" })).await;
    assert_id(&refused, "GraphQL");
    let unread = raw(world.management_address(), "nonsense\r\n\r\n").await;
    let id = unread.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    assert!(unread.contains(&format!("\"requestId\":\"{id}\"")), "{unread}");

    // A node's own answers, too.
    let stranger = world.endpoint().host("nothing.example.com").get("/").await;
    assert_eq!(stranger.header("x-request-id").map(str::len), Some(36), "{stranger:?}");

    let answer = acme.rest("GET", "/v1/apis").await.expect(200);
    assert_eq!(answer.header("api-version"), Some("2026-11-20"));
    assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
}
