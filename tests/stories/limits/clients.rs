//! Each client of a stage has a limit of its own: by its address, and by what a header says.

use harness::{World, eventually};
use serde_json::json;

#[tokio::test]
async fn each_client_has_a_limit_of_its_own_whatever_the_others_do() {
    let world = World::start_with(&[("TOLLGATE_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await;
    let api = api.get_route("/pets", &origin).await.get_route("/owners", &origin).await;
    let api = api.deploy("prod").await;

    // No token comes back within the story.
    let (rate, stage) = (0.01, format!("/v1/apis/{}/stages/prod", api.api_id));
    let input = json!({ "clientThrottles": [
        { "name": "per-ip", "key": "IP", "rateLimit": rate, "burstLimit": 4 },
        { "name": "per-user", "key": "HEADER", "headerName": "X-User", "routeKey": "GET /owners",
          "rateLimit": rate, "burstLimit": 1 },
    ] });
    let kept = acme.rest("PATCH", &stage).json(&input).await.expect(200).json();
    assert_eq!(kept["clientThrottles"][0]["enforcement"], "HARD", "unless it is said");
    assert_eq!(kept["clientThrottles"][1]["headerName"], "x-user");
    let query = "{ apis(first: 1) { nodes { stages(first: 1) { nodes { id
        clientThrottles { name key headerName routeKey rateLimit burstLimit enforcement mode outage }
        } } } } }";
    let shown = acme.graphql(query, json!({})).await;
    let shown = &shown["apis"]["nodes"][0]["stages"]["nodes"][0];
    assert_eq!(shown["clientThrottles"], kept["clientThrottles"]);
    world.settled().await;

    let call = async |path: &str, address: &str, user: Option<&str>| {
        let call = api.get(path).header("x-forwarded-for", address);
        match user {
            Some(user) => call.header("x-user", user).await,
            None => call.await,
        }
    };
    let (one, other) = ("192.0.2.1", "2001:db8::1");
    let first = call("/owners", one, Some("alice")).await.expect(200);
    let policy = first.header("ratelimit-policy").unwrap().to_owned();
    assert_eq!(policy, "\"per-ip\";q=4;w=400, \"per-user\";q=1;w=100");
    let refused = call("/owners", one, Some("alice")).await.expect(429);
    assert_eq!(refused.json()["code"], "THROTTLED");
    assert!(refused.header("retry-after").is_some());
    call("/owners", other, Some("alice")).await.expect(429);
    call("/owners", one, Some("bob")).await.expect(200);
    call("/owners", one, None).await.expect(200);
    call("/pets", one, Some("alice")).await.expect(200);
    call("/pets", one, Some("alice")).await.expect(429);
    // What a refused call took is given back: this one has all four.
    for _ in 0..4 {
        call("/pets", "2001:db8::2", None).await.expect(200);
    }
    call("/pets", other, None).await.expect(429);

    // A limit that is tried out first refuses nobody, and the log names it.
    let input = json!({ "id": shown["id"], "clientThrottles": [
        { "name": "trial", "key": "HEADER", "headerName": "x-user", "rateLimit": rate,
          "burstLimit": 1, "enforcement": "SHADOW" },
    ] });
    acme.mutate("updateStage", "UpdateStageInput!", input, "stage { id }").await;
    world.settled().await;
    for _ in 0..3 {
        let answer = call("/pets", one, Some("alice")).await.expect(200);
        assert_eq!(answer.header("ratelimit-policy"), None);
    }
    eventually("two calls beyond the trial in the log", async || {
        let files = std::fs::read_dir(world.logs()).unwrap().map(|file| file.unwrap().path());
        let log: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
        assert!(!log.contains("alice"), "the log says nothing of clients but their addresses");
        (log.matches(r#""shadow_throttled_by":"trial""#).count() == 2).then_some(())
    })
    .await;

    let kept = acme.rest("GET", &stage).await.expect(200).json();
    assert_eq!(kept["clientThrottles"][0]["name"], "trial");
}
