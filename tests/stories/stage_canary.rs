//! A stage's canary on running nodes: who goes there, where a caller stays, and what is left when it is promoted or ended.

use harness::tenant::Api;
use harness::{Origin, World};
use serde_json::json;

const CALLERS: u32 = 40;

/// What the backend is asked for when this caller calls.
async fn asked(api: &Api<'_>, origin: &Origin, caller: u32) -> String {
    api.get("/side").header("x-user", &format!("user-{caller}")).await.expect(200);
    origin.received().last().unwrap().path.clone()
}

/// Which callers come to the canary. Each calls twice, and stays where it was.
async fn at_canary(api: &Api<'_>, origin: &Origin) -> Vec<u32> {
    let mut canaries = Vec::new();
    for caller in 0..CALLERS {
        let first = asked(api, origin, caller).await;
        assert_eq!(first, asked(api, origin, caller).await, "caller {caller} changed sides");
        match &*first {
            "/old/side" => {}
            "/new/side" => canaries.push(caller),
            other => panic!("caller {caller} came to {other}"),
        }
    }
    canaries
}

#[tokio::test]
async fn a_part_of_a_stages_callers_goes_to_its_canary_and_stays_there_until_it_is_promoted() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let uri = format!("{}/${{stageVariables.side}}/side", origin.url());
    let api = acme.api("sides").await.route("GET", "/side", false, &uri).await;
    let stages = format!("/v1/apis/{}/stages", api.api_id);
    let stage = json!({ "name": "prod", "variables": { "side": "old" } });
    acme.rest("POST", &stages).json(&stage).await.expect(201);
    let api = api.deploy("prod").await;
    assert_eq!(at_canary(&api, &origin).await, [0_u32; 0]);

    let prod = format!("{stages}/prod");
    let update = async |settings| {
        let change = json!({ "canarySettings": settings });
        let stage = acme.rest("PATCH", &prod).json(&change).await.expect(200).json();
        world.settled().await;
        stage
    };
    let canary = json!({
        "apiId": api.id, "stage": "prod", "canarySettings": {
            "percentTraffic": 0.0, "stickiness": "HEADER", "stickinessName": "X-User",
            "stageVariableOverrides": [{ "name": "side", "value": "new" }],
        },
    });
    let fields = "deployment { id } stage { id canarySettings { percentTraffic stickinessName } }";
    let made =
        acme.mutate("createDeployment", "CreateDeploymentInput!", canary.clone(), fields).await;
    assert_eq!(
        made["stage"]["canarySettings"],
        json!({ "percentTraffic": 0.0, "stickinessName": "x-user" })
    );
    world.settled().await;
    assert_eq!(at_canary(&api, &origin).await, [0_u32; 0]);

    // A larger part moves callers there, and none back.
    let mut before = Vec::new();
    for part in [30.0, 60.0, 100.0] {
        update(json!({ "percentTraffic": part })).await;
        let now = at_canary(&api, &origin).await;
        assert!(before.iter().all(|caller| now.contains(caller)), "{before:?}, then {now:?}");
        assert!(before.len() < now.len(), "{before:?}, then {now:?} at {part}");
        before = now;
    }
    assert_eq!(before, (0..CALLERS).collect::<Vec<_>>());

    // A stage with a canary takes no other deployment, and says what to do.
    let refused = acme
        .rest("POST", &format!("/v1/apis/{}/deployments", api.api_id))
        .json(&json!({ "stage": "prod" }))
        .await
        .expect(409);
    assert!(refused.text().contains("promoteCanary"), "{}", refused.text());

    // Ended, every caller comes back; promoted, all stay, with the canary's variables.
    update(json!(null)).await;
    assert_eq!(at_canary(&api, &origin).await, [0_u32; 0]);
    acme.mutate("createDeployment", "CreateDeploymentInput!", canary, fields).await;
    let promoted = acme.rest("POST", &format!("{prod}/promote-canary")).await.expect(200).json();
    assert_eq!(
        [&promoted["canarySettings"], &promoted["variables"]],
        [&json!(null), &json!({ "side": "new" })]
    );
    world.settled().await;
    assert_eq!(at_canary(&api, &origin).await.len(), CALLERS as usize);
}
