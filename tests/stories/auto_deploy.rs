//! A stage that serves the draft: what is changed is called moments later, and a control plane that dies between forgets nothing.

use harness::World;
use serde_json::json;

#[tokio::test]
async fn a_change_of_the_draft_is_called_moments_later_also_when_the_control_plane_dies_between() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let call = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/first", &origin).await;
        let path = format!("/v1/apis/{}", api.api_id);
        let stage = json!({ "name": "prod", "autoDeploy": true });
        acme.rest("POST", &format!("{path}/stages")).json(&stage).await.expect(201);
        served(&api.client().get("/prod/first")).await;

        // Many changes at once are few deployments.
        let mut api = api;
        for at in 0..20 {
            api = api.get_route(&format!("/many/{at}"), &origin).await;
        }
        served(&api.client().get("/prod/many/19")).await;
        let made = acme.rest("GET", &format!("{path}/deployments")).await.expect(200).json();
        let made = made["items"].as_array().unwrap();
        assert!(made.len() < 15, "{} deployments of 21 changes", made.len());
        assert!(made.iter().all(|it| it["autoDeployed"] == true), "{made:?}");

        // What cannot be deployed is a matter of the stage, and not of the change.
        let bare = acme.rest("POST", &format!("{path}/routes"));
        let bare = bare.json(&json!({ "method": "GET", "path": "/bare" })).await.expect(201).json();
        let prod = format!("{path}/stages/prod");
        let told = harness::eventually("the stage says what is wrong", async || {
            let stage = acme.rest("GET", &prod).await.expect(200).json();
            let told = stage["lastDeploymentStatusMessage"].as_str().unwrap_or_default().to_owned();
            told.contains("integration").then_some(told)
        })
        .await;
        assert!(!told.contains("Successfully"), "{told}");
        served(&api.client().get("/prod/many/19")).await;
        let bare = format!("{path}/routes/{}", bare["id"].as_str().unwrap());
        acme.rest("DELETE", &bare).await.expect(204);

        let api = api.get_route("/last", &origin).await;
        api.client().get("/prod/last")
    };
    world.kill_control_plane();
    world.start_control_plane().await;
    served(&call).await;
}

async fn served(call: &harness::Call) {
    harness::eventually("the route is served", async || {
        (call.clone().await.status() == 200).then_some(())
    })
    .await;
}
