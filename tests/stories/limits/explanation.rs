//! "Why was I limited?": a caller's `x-request-id` is enough to know which limit it was, whichever replica is asked.

use harness::{Answer, World};
use serde_json::{Value, json};

const EXPLANATION: &str = "query($id: String!) { explanation(requestId: $id) {
    requestId nodeId apiId stage deploymentId configVersion method route path status code
    apiKey { id name } usagePlan { name } shadowThrottledBy
    limits { name limit windowSeconds remaining resetsInSeconds }
    decision { name level check rateLimit burstLimit maxInFlight quotaLimit quotaPeriodSeconds
        remaining retryAfterSeconds } } }";

fn id(answer: &Answer) -> String {
    answer.header("x-request-id").expect("every answer has one").to_owned()
}

fn retry_after(answer: &Answer) -> Value {
    json!(answer.header("retry-after").unwrap().parse::<u64>().unwrap())
}

#[tokio::test]
async fn whoever_was_limited_learns_by_the_requests_id_by_what_and_nobody_else_does() {
    let world = World::start_many(2, 2).await;
    let origin = world.origin().await.replies(200, "hello");
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let api = acme.api("pets").await.get_route_with_key("/pets/{id}", &origin).await;
    let api = api.deploy("prod").await;
    // No token comes back within the story.
    let gold = api.usage_plan("gold").throttle(0.001, 1).key().await;
    let metered = api.usage_plan("metered").quota(1, "MONTH").key().await;
    let call = api.get("/pets/7?secret=planted").key(&gold.value);

    let passed = call.clone().at(world.endpoint_address_at(0)).await.expect(200);
    let refused = call.clone().at(world.endpoint_address_at(1)).await.expect(429);
    for replica in 0..2 {
        let at = world.management_address_at(replica);
        let path = format!("/v1/explanations/{}", id(&refused));
        let told = acme.rest("GET", &path).at(at).await.expect(200);
        assert!(!told.text().contains("planted"), "{}", told.text());
        let told = told.json();
        let decision = &told["decision"];
        assert_eq!(
            [&decision["name"], &decision["level"], &decision["check"]],
            [&json!("key"), &json!("KEY"), &json!("LEASE")],
            "{told}"
        );
        assert_eq!((&decision["rateLimit"], &decision["burstLimit"]), (&json!(0.001), &json!(1)));
        assert_eq!(decision["retryAfterSeconds"], retry_after(&refused));
        assert_eq!((&decision["quotaLimit"], &decision["remaining"]), (&Value::Null, &json!(0)));
        assert_eq!((&told["status"], &told["code"]), (&json!(429), &json!("THROTTLED")));
        assert_eq!((&told["apiId"], &told["stage"]), (&json!(api.api_id), &json!("prod")));
        assert_eq!((&told["route"], &told["path"]), (&json!("GET /pets/{id}"), &json!("/pets/7")));
        assert!(told["configVersion"].as_u64().is_some_and(|version| version > 0), "{told}");
    }

    let told = acme.graphql(EXPLANATION, json!({ "id": id(&refused) })).await;
    let told = &told["explanation"];
    assert_eq!(told["requestId"], id(&refused));
    assert_eq!(told["apiKey"], json!({ "id": gold.id, "name": "first" }));
    assert_eq!(told["usagePlan"], json!({ "name": "gold" }));
    assert_eq!((&told["decision"]["name"], &told["method"]), (&json!("key"), &json!("GET")));
    assert_eq!(told["limits"][0]["name"], "key");
    let refusing_node = told["nodeId"].clone();

    let told = acme.graphql(EXPLANATION, json!({ "id": id(&passed) })).await;
    let told = &told["explanation"];
    assert_eq!((&told["decision"], &told["status"]), (&Value::Null, &json!(200)));
    assert_ne!(told["nodeId"], refusing_node, "each node knows its own");

    let call = api.get("/pets/7").key(&metered.value);
    call.clone().await.expect(200);
    let over = call.await.expect(429);
    let told = acme.graphql(EXPLANATION, json!({ "id": id(&over) })).await;
    let decision = &told["explanation"]["decision"];
    assert_eq!((&decision["name"], &decision["check"]), (&json!("quota"), &json!("EXACT")));
    assert_eq!((&decision["quotaLimit"], &decision["rateLimit"]), (&json!(1), &Value::Null));
    assert_eq!(decision["retryAfterSeconds"], retry_after(&over));
    assert!(decision["quotaPeriodSeconds"].as_u64().is_some_and(|it| it >= 28 * 86_400));

    // What is somebody else's is not there, and says no more than what nobody has.
    let path = format!("/v1/explanations/{}", id(&refused));
    let strange = other.rest("GET", &path).await.expect(404).json();
    assert_eq!(strange["code"], "not_found");
    let detail = strange["detail"].as_str().unwrap();
    assert!(detail.contains("2 nodes") && detail.contains("remember"), "{detail}");
    assert!(!detail.contains("did not answer"), "{detail}");
    let answer = other.try_graphql(EXPLANATION, json!({ "id": id(&refused) })).await.json();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "not_found", "{answer}");
    let wrong = acme.rest("GET", "/v1/explanations/no-id").await.expect(400).json();
    assert_eq!((&wrong["code"], &wrong["param"]), (&json!("bad_request"), &json!("requestId")));
}
