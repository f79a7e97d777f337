//! "What have I left?": how the limits of a key stand at this moment, over all nodes, whichever replica is asked.

use harness::{World, eventually};
use serde_json::{Value, json};

const LIMIT_STATE: &str = "query($plan: ID!, $key: ID!) { limitState(usagePlanId: $plan, apiKeyId: $key) {
    asOf nodes { nodeId answer }
    limits { name level enforced route rateLimit burstLimit maxInFlight quotaLimit quotaPeriodSeconds resetsAt
        remaining inFlight used asOf nodes { nodeId counting remaining inFlight asOf } } } }";

fn named<'a>(told: &'a Value, name: &str) -> &'a Value {
    let limits = told["limits"].as_array().unwrap();
    limits.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no {name}: {told}"))
}

/// What each node is said to have answered.
fn said(told: &Value) -> Vec<&Value> {
    told["nodes"].as_array().unwrap().iter().map(|node| &node["answer"]).collect()
}

#[tokio::test]
async fn whoever_has_a_key_sees_what_its_limits_have_left_over_all_nodes_and_nobody_else_does() {
    let world = World::start_many(2, 2).await;
    let origin = world.origin().await.replies(200, "hello");
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
    let api = api.deploy("prod").await;
    // No token comes back within the story.
    let gold = api.usage_plan("gold").throttle(0.001, 5).quota(9, "MONTH").in_flight(4);
    let key = gold.key().await;
    let ids = "{ usagePlans(first: 1) { nodes { id usagePlanId } } apiKeys(first: 1) { nodes { apiKeyId } } }";
    let ids = acme.graphql(ids, json!({})).await;
    let plan = &ids["usagePlans"]["nodes"][0];
    let plan_path = format!("/v1/usage-plans/{}", plan["usagePlanId"].as_str().unwrap());
    let key_id = ids["apiKeys"]["nodes"][0]["apiKeyId"].as_str().unwrap();
    let path = format!("{plan_path}/api-keys/{key_id}/limits");
    // Redis is asked for each call: what it had left with the last one is known exactly.
    let exact = json!({ "throttle": { "rateLimit": 0.001, "burstLimit": 5, "mode": "EXACT" } });
    acme.rest("PATCH", &plan_path).json(&exact).await.expect(200);
    world.settled().await;
    let state = async |replica: usize| {
        let at = world.management_address_at(replica);
        acme.rest("GET", &path).at(at).await.expect(200).json()
    };
    for replica in 0..2 {
        let told = eventually("every node is there to be asked", async || {
            let told = state(replica).await;
            let answered = said(&told) == ["NOTHING_KNOWN"; 2];
            answered.then_some(told)
        });
        assert_eq!(told.await["limits"], json!([]), "nobody called");
    }

    let nodes = [0, 1].map(|node| world.endpoint_address_at(node));
    for node in [nodes[0], nodes[0], nodes[1]] {
        api.get("/pets").at(node).key(&key.value).await.expect(200);
    }
    origin.hold();
    let held = api.get("/pets").at(nodes[1]).key(&key.value);
    let look = async {
        origin.asked(4).await;
        for replica in 0..2 {
            let told = state(replica).await;
            assert_eq!(said(&told), ["KNOWN"; 2], "{told}");
            let throttle = named(&told, "key");
            assert_eq!((&throttle["level"], &throttle["enforced"]), (&json!("KEY"), &json!(true)));
            let figures = (&throttle["rateLimit"], &throttle["burstLimit"]);
            assert_eq!(figures, (&json!(0.001), &json!(5)));
            assert_eq!((&throttle["remaining"], &throttle["inFlight"]), (&json!(1), &Value::Null));
            let counting: Vec<_> =
                throttle["nodes"].as_array().unwrap().iter().map(|it| &it["counting"]).collect();
            assert_eq!(counting, ["EXACT"; 2]);
            let permits = named(&told, "key-concurrency");
            assert_eq!((&permits["inFlight"], &permits["remaining"]), (&json!(1), &json!(3)));
            let quota = named(&told, "quota");
            assert_eq!((&quota["used"], &quota["remaining"]), (&json!(4), &json!(5)), "{quota}");
            assert_eq!((&quota["quotaLimit"], &quota["maxInFlight"]), (&json!(9), &Value::Null));
        }
        origin.release();
    };
    let (held, ()) = tokio::join!(async { held.await }, look);
    held.expect(200);

    let by = json!({ "plan": plan["id"], "key": key.id });
    let told = eventually("the call has ended", async || {
        let told = acme.graphql(LIMIT_STATE, by.clone()).await["limitState"].take();
        (named(&told, "key-concurrency")["inFlight"] == 0).then_some(told)
    });
    let told = told.await;
    assert_eq!(named(&told, "key")["remaining"], 1, "{told}");
    assert_eq!(named(&told, "quota")["used"], 4, "{told}");

    // What is somebody else's is not there.
    let strange = other.rest("GET", &path).await.expect(404).json();
    assert_eq!(strange["code"], "not_found");
    let answer = other.try_graphql(LIMIT_STATE, by).await.json();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "not_found", "{answer}");
}
