//! What the gateway answers by itself, as a tenant has it look: limits, and back again.

use harness::World;
use serde_json::json;

#[tokio::test]
async fn a_tenants_own_words_for_its_limits_are_live_with_a_deployment_until_they_are_reset() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await;
    let mock = json!({ "type": "MOCK", "mockResponse": { "status": 200, "body": "pets" } });
    let route =
        json!({ "method": "GET", "path": "/pets", "apiKeyRequired": true, "integration": mock });
    let api = api.route_of(route).await;
    let host = api.host();
    let all = format!("/v1/apis/{}/gateway-responses", host.split('.').next().unwrap());
    let listed = acme.rest("GET", &all).await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 21);

    let body = r#"{"sorry":$context.error.messageString,"type":"$context.error.responseType"}"#;
    let settings = json!({
        "statusCode": 420, "responseTemplates": { "application/json": body },
        "responseParameters": { "gatewayresponse.header.x-asked": "method.request.header.x-asked" },
    });
    for of in ["THROTTLED", "QUOTA_EXCEEDED"] {
        acme.rest("PUT", &format!("{all}/{of}")).json(&settings).await.expect(200);
    }
    let stranger = world.tenant("mallory").await;
    stranger.rest("PUT", &format!("{all}/THROTTLED")).json(&settings).await.expect(404);
    acme.rest("PUT", &format!("{all}/TOO_LATE")).json(&settings).await.expect(404);
    let refused =
        json!({ "responseParameters": { "gatewayresponse.header.connection": "'close'" } });
    let refused = acme.rest("PUT", &format!("{all}/THROTTLED")).json(&refused).await.expect(400);
    assert_eq!(refused.json()["param"], "responseParameters");

    let api = api.deploy("prod").await;
    let throttled = api.usage_plan("throttled").throttle(0.001, 1).key().await;
    let spent = api.usage_plan("spent").quota(1, "MONTH").key().await;
    world.settled().await;
    for (key, of) in [(&throttled, "THROTTLED"), (&spent, "QUOTA_EXCEEDED")] {
        api.get("/pets").key(&key.value).await.expect(200);
        let told = api.get("/pets").key(&key.value).header("x-asked", "a\"b").await.expect(420);
        assert_eq!((&told.json()["type"], told.header("x-asked")), (&json!(of), Some("a\"b")));
        assert!(told.json()["sorry"].is_string(), "{told:?}");
    }

    acme.rest("DELETE", &format!("{all}/THROTTLED")).await.expect(204);
    acme.rest("DELETE", &format!("{all}/THROTTLED")).await.expect(404);
    api.get("/pets").key(&throttled.value).await.expect(420);
    let api = api.deploy("prod").await;
    world.settled().await;
    assert_eq!(
        api.get("/pets").key(&throttled.value).await.expect(429).json()["code"],
        "THROTTLED"
    );
    api.get("/pets").key(&spent.value).await.expect(420);
}
