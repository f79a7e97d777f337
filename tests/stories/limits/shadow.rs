//! A limit is tried out on real calls before it refuses any.

use std::collections::HashSet;

use harness::socket::Socket;
use harness::tenant::text;
use harness::{Answer, World, eventually};
use serde_json::{Value, json};

const REQUESTS: &str =
    "subscription { requests { requests { requestId throttledBy shadowThrottledBy } } }";

/// The call's id beside its status.
fn told(answer: &Answer) -> (String, u16) {
    (answer.header("x-request-id").unwrap().to_owned(), answer.status())
}

/// Each call that the node has written down.
fn access_log(world: &World) -> Vec<Value> {
    let files = std::fs::read_dir(world.logs()).unwrap().map(|file| file.unwrap().path());
    let texts: Vec<_> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let calls = lines.filter(|line| line.ends_with(r#""target":"access"}"#));
    calls.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_limit_is_tried_out_beside_one_that_refuses_and_then_enforced() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await;
    let api = api.get_route("/pets", &origin).await.get_route("/owners", &origin).await;
    let api = api.deploy("prod").await;

    // No token comes back within the story.
    let (tried, enforced) = ((0.001, 3), (0.001, 5));
    let stage = format!("/v1/apis/{}/stages/prod", api.api_id);
    let input = json!({
        "throttle": { "rateLimit": tried.0, "burstLimit": tried.1, "enforcement": "SHADOW" },
        "routeThrottles": [
            { "routeKey": "GET /pets", "rateLimit": enforced.0, "burstLimit": enforced.1 },
        ],
    });
    let kept = acme.rest("PATCH", &stage).json(&input).await.expect(200).json();
    let mut written = input["throttle"].clone();
    (written["mode"], written["outage"]) = (Value::Null, Value::Null);
    assert_eq!(kept["throttle"], written);
    assert_eq!(kept["routeThrottles"][0]["enforcement"], "HARD", "unless it is said");
    let query = "{ apis(first: 1) { nodes { stages(first: 1) { nodes { id
        throttle { enforcement } routeThrottles { enforcement } } } } } }";
    let shown = acme.graphql(query, json!({})).await;
    let shown = &shown["apis"]["nodes"][0]["stages"]["nodes"][0];
    assert_eq!(shown["throttle"]["enforcement"], "SHADOW");
    assert_eq!(shown["routeThrottles"], json!([{ "enforcement": "HARD" }]));
    world.settled().await;

    let mut live = Socket::of(world.management_address(), &acme.token).await;
    live.subscribe("it", REQUESTS, json!({})).await;
    live.data("it").await; // it has begun
    let (mut calls, mut names) = (Vec::new(), Vec::new());
    for path in ["/pets"; 8].into_iter().chain(["/owners"; 4]) {
        let answer = api.get(path).await;
        names.push(answer.header("ratelimit-policy").unwrap_or("-").to_owned());
        calls.push(told(&answer));
    }
    let statuses: Vec<_> = calls.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429, 200, 200, 200, 200]);
    let limited = names[..8].iter().all(|names| names.starts_with("\"route\";q=5;"));
    assert!(limited && !names.concat().contains("stage"), "what limits callers, alone: {names:?}");
    assert_eq!(names[8..], ["-"; 4]);

    // Beyond the limit on trial are those after its burst that the other one let through.
    let beyond = |at: usize| at >= 3 && statuses[at] == 200;
    let mut seen = Vec::<Value>::new();
    while seen.len() < calls.len() {
        let mut batch = live.data("it").await["requests"]["requests"].take();
        seen.append(batch.as_array_mut().expect("a list"));
    }
    for (at, (id, _)) in calls.iter().enumerate() {
        let of_it = seen.iter().find(|request| request["requestId"] == **id).expect("it is shown");
        let names = if beyond(at) { json!(["stage"]) } else { json!([]) };
        assert_eq!(of_it["shadowThrottledBy"], names, "call {at}");
        let by = if statuses[at] == 429 { json!("route") } else { Value::Null };
        assert_eq!(of_it["throttledBy"], by, "call {at}");
    }
    let count = (0..calls.len()).filter(|at| beyond(*at)).count();
    let lines = eventually("every call in the log", async || {
        let lines = access_log(&world);
        let has = |id: &str| lines.iter().any(|line| line["request.id"] == *id);
        calls.iter().all(|(id, _)| has(id)).then_some(lines)
    })
    .await;
    let in_log = lines.iter().filter(|line| line["shadow_throttled_by"] == "stage");
    // Threads write each for itself.
    let in_log: HashSet<_> = in_log.map(|line| text(&line["request.id"])).collect();
    let expected = calls.iter().enumerate().filter(|(at, _)| beyond(*at));
    assert_eq!(in_log, expected.map(|(_, (id, _))| id.clone()).collect());
    let refused = lines.iter().filter(|line| line["throttled_by"] == "route");
    assert_eq!(refused.count(), 3);
    for (outcome, count) in [("shadowed", count), ("refused", 3)] {
        let sample = format!(
            r#"tollgate_ratelimit_decisions_total{{by="lease",outcome="{outcome}"}} {count}"#
        );
        eventually(&sample, async || {
            let metrics = world.node_admin().get("/metrics").await.text();
            metrics.lines().any(|line| line == sample).then_some(())
        })
        .await;
    }

    // Enforced, it goes on where its bucket stands, for a route that nothing limited so far.
    let input = json!({
        "id": shown["id"], "throttle": { "rateLimit": tried.0, "burstLimit": tried.1 },
    });
    let fields = "stage { throttle { enforcement } }";
    let changed = acme.mutate("updateStage", "UpdateStageInput!", input, fields).await;
    assert_eq!(changed["stage"]["throttle"]["enforcement"], "HARD");
    world.settled().await;
    let refused = api.get("/owners").await.expect(429);
    assert_eq!(refused.json()["code"], "THROTTLED");
    assert!(refused.header("retry-after").is_some());
}
