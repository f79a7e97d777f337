//! API keys as consumers meet them.

use harness::World;
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
