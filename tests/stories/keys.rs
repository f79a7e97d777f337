//! API keys as consumers meet them.

use harness::World;
use harness::tenant::text;
use serde_json::json;

#[tokio::test]
async fn a_key_that_is_switched_off_or_deleted_opens_nothing() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let key = api.usage_plan("gold").throttle(1000.0, 1000).key().await;
    let call = || api.get("/pets").key(&key.value);
    call().await.expect(200);

    for (enabled, status) in [(false, 403), (true, 200)] {
        let input = json!({ "id": key.id, "enabled": enabled });
        acme.mutate("updateApiKey", "UpdateApiKeyInput!", input, "apiKey { enabled }").await;
        world.settled().await;
        call().await.expect(status);
    }
    acme.mutate("deleteApiKey", "DeleteInput!", json!({ "id": key.id }), "deletedId").await;
    world.settled().await;
    call().await.expect(403);
}

#[tokio::test]
async fn a_key_opens_only_its_own_tenants_stages() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let ours =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let theirs =
        other.api("cats").await.get_route_with_key("/cats", &origin).await.deploy("prod").await;
    let key = ours.usage_plan("gold").throttle(1000.0, 1000).key().await;

    ours.get("/pets").key(&key.value).await.expect(200);
    theirs.get("/cats").key(&key.value).await.expect(403);

    // A stage that the plan does not name is closed as well.
    let dev = acme.api("dogs").await.get_route_with_key("/dogs", &origin).await.deploy("dev").await;
    dev.get("/dogs").key(&key.value).await.expect(403);
    assert_eq!(origin.received().len(), 1);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_refused_without_asking_anyone() {
    let mut world = World::start_alone().await;
    let origin = world.origin().await.replies(200, "hello");
    let call = {
        let acme = world.tenant("acme").await;
        let api =
            acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
        api.get("/pets")
    };
    world.kill_control_plane();
    world.kill_database();
    world.kill_redis();

    for number in 0..300 {
        let key = format!("tg_live_{number:038}");
        call.clone().key(&key).await.expect(403);
    }
    assert_eq!(origin.received().len(), 0);
}

#[tokio::test]
async fn a_rotated_key_is_one_key_under_two_values_until_the_overlap_ends() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let key = api.usage_plan("gold").throttle(1000.0, 1000).quota(6, "MONTH").key().await;
    let call = |value: &str| api.get("/pets").key(value);
    call(&key.value).await.expect(200);

    let end = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let input = json!({ "id": key.id, "overlapEndsAt": end });
    let fields = "apiKey { id overlapEndsAt previousHint } value";
    let rotated = acme.mutate("rotateApiKey", "RotateApiKeyInput!", input, fields).await;
    let value = text(&rotated["value"]);
    assert_eq!(rotated["apiKey"]["id"], json!(key.id));
    assert!(key.value.ends_with(rotated["apiKey"]["previousHint"].as_str().unwrap()));
    world.settled().await;
    for value in [&key.value, &value, &key.value] {
        call(value).await.expect(200);
    }

    let path = format!(
        "/v1/api-keys/{}",
        acme.rest("GET", "/v1/api-keys").await.json()["items"][0]["id"].as_str().unwrap()
    );
    let ended = acme.rest("POST", &format!("{path}/end-overlap")).await.expect(200).json();
    assert_eq!((&ended["previousHint"], &ended["overlapEndsAt"]), (&json!(null), &json!(null)));
    world.settled().await;
    call(&key.value).await.expect(403);
    // Both values spent one quota: four of six calls are gone.
    for _ in 0..2 {
        call(&value).await.expect(200);
    }
    call(&value).await.expect(429);

    // Leaked: the present value stops at once.
    let leaked = acme.rest("POST", &format!("{path}/rotate")).json(&json!({})).await.expect(200);
    world.settled().await;
    call(&value).await.expect(403);
    call(&text(&leaked.json()["value"])).await.expect(429);
}

#[tokio::test]
async fn a_key_is_good_where_its_owner_says_and_its_last_use_is_known() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let key = api.usage_plan("gold").throttle(1000.0, 1000).key().await;
    let first = acme.rest("GET", "/v1/api-keys").await.expect(200).json();
    assert_eq!(first["items"][0]["lastUsedAt"], json!(null));
    let path = format!("/v1/api-keys/{}", text(&first["items"][0]["id"]));
    let restrict = async |body: serde_json::Value| {
        let answer = acme.rest("PATCH", &path).json(&body).await.expect(200).json();
        world.settled().await;
        answer
    };
    let page = || api.get("/pets").key(&key.value).header("origin", "https://shop.example.com");
    let code = |answer: harness::Answer| text(&answer.json()["code"]);

    let kept = restrict(json!({ "clientNetworks": ["203.0.113.0/24"] })).await;
    assert_eq!(kept["clientNetworks"], json!(["203.0.113.0/24"]));
    assert_eq!(code(page().await.expect(403)), "API_KEY_CLIENT_NOT_ALLOWED");
    restrict(json!({ "clientNetworks": ["127.0.0.0/8", "::1"] })).await;
    page().await.expect(200);
    let kept = restrict(json!({ "origins": ["https://*.Example.com:443"] })).await;
    assert_eq!(kept["origins"], json!(["https://*.example.com"]));
    page().await.expect(200);
    let elsewhere = api.get("/pets").key(&key.value).header("origin", "https://evil.test");
    assert_eq!(code(elsewhere.await.expect(403)), "API_KEY_ORIGIN_NOT_ALLOWED");
    let wrong = acme.rest("PATCH", &path).json(&json!({ "origins": ["example.com"] })).await;
    assert_eq!(wrong.expect(400).json()["param"], json!("origins"));

    let used = harness::eventually("the key's last use", async || {
        let key = acme.rest("GET", &path).await.expect(200).json();
        key["lastUsedAt"].as_str().map(str::to_owned)
    })
    .await;
    let used: jiff::Timestamp = used.parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(used).as_secs() < 60, "{used}");
}

#[tokio::test]
async fn a_key_stands_where_its_api_says_and_in_the_query_is_for_the_node_alone() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
    let input = json!({ "id": api.id, "apiKeyLocations":
        ["$request.querystring.api_key", "$request.header.Authorization"] });
    acme.mutate("updateApi", "UpdateApiInput!", input, "api { apiKeyLocations }").await;
    let api = api.deploy("prod").await;
    let key = api.usage_plan("gold").throttle(1000.0, 1000).key().await;

    api.get(&format!("/pets?a=1&api_key={}&b=2", key.value)).await.expect(200);
    api.get("/pets").bearer(&key.value).await.expect(200);
    api.get("/pets").key(&key.value).await.expect(403);
    acme.counted(3).await;

    let received = origin.received();
    assert_eq!(received.len(), 2);
    let queries: Vec<_> = received.iter().map(|it| it.path.clone()).collect();
    assert_eq!(queries, ["/pets?a=1&b=2", "/pets"]);
    assert!(!format!("{:?}", received[0]).contains(&key.value));
    let log = world.node().expect("a node runs").log();
    assert!(log.contains(r#""target":"access""#) && !log.contains(&key.value), "{log}");
}
