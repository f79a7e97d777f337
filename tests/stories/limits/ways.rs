//! Throttles of one stage, each counted in its own way and with an outage policy of its own.

use harness::tenant::Api;
use harness::{Origin, World, eventually};
use serde_json::{Value, json};

const ROUTES: [&str; 4] = ["/a", "/b", "/c", "/d"];

/// A throttle of each route, two calls each: none of their tokens comes back within the story.
fn throttles(ways: [Value; 4]) -> Value {
    let throttles = ROUTES.into_iter().zip(ways).map(|(path, mut way)| {
        way["routeKey"] = json!(format!("GET {path}"));
        way["rateLimit"] = json!(0.001);
        way["burstLimit"] = json!(2);
        way
    });
    json!({ "routeThrottles": throttles.collect::<Vec<_>>() })
}

async fn api<'w>(world: &'w World, origin: &Origin, ways: [Value; 4]) -> Api<'w> {
    let acme = world.tenant("acme").await;
    let mut api = acme.api("pets").await;
    for path in ROUTES {
        api = api.get_route(path, origin).await;
    }
    let api = api.deploy("prod").await;
    let stage = format!("/v1/apis/{}/stages/prod", api.api_id);
    let kept = acme.rest("PATCH", &stage).json(&throttles(ways.clone())).await.expect(200).json();
    let query = "{ apis(first: 1) { nodes { stages(first: 1) { nodes {
        routeThrottles { mode outage } } } } } }";
    let shown = acme.graphql(query, json!({})).await;
    let shown = &shown["apis"]["nodes"][0]["stages"]["nodes"][0]["routeThrottles"];
    for (at, way) in ways.iter().enumerate() {
        for field in ["mode", "outage"] {
            let kept = &kept["routeThrottles"][at][field];
            assert_eq!((kept, &shown[at][field]), (&way[field], &way[field]), "{at}: {field}");
        }
    }
    world.settled().await;
    api
}

async fn statuses(api: &Api<'_>, path: &str) -> [u16; 3] {
    let mut statuses = [0; 3];
    for status in &mut statuses {
        *status = api.get(path).await.status();
    }
    statuses
}

#[tokio::test]
async fn each_throttle_is_counted_as_it_says() {
    let world = World::start().await;
    let ways = [
        json!({ "mode": "EXACT" }),
        json!({ "mode": "LEASED" }),
        json!({ "mode": "LOCAL", "outage": "FAIL_CLOSED" }),
        json!({}),
    ];
    let origin = world.origin().await.replies(200, "hello");
    let api = api(&world, &origin, ways).await;
    for path in ROUTES {
        assert_eq!(statuses(&api, path).await, [200, 200, 429], "{path}");
    }
    for (by, count) in [("redis", 2), ("lease", 4), ("share", 2)] {
        let sample = format!(
            r#"tollgate_ratelimit_decisions_total{{by="{by}",outcome="admitted"}} {count}"#
        );
        eventually(&sample, async || {
            let metrics = world.node_admin().get("/metrics").await.text();
            metrics.lines().any(|line| line == sample).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn while_redis_is_away_each_throttle_does_as_it_says() {
    let away = [("REDIS_URL", "redis://127.0.0.1:1/"), ("TOLLGATE_LIMITER_OUTAGE", "fail_closed")];
    let world = World::start_with(&away).await;
    let ways = [
        json!({ "outage": "LOCAL_FALLBACK" }),
        json!({ "mode": "EXACT", "outage": "FAIL_OPEN" }),
        json!({ "outage": "FAIL_CLOSED" }),
        json!({ "mode": "LOCAL" }),
    ];
    let origin = world.origin().await.replies(200, "hello");
    let api = api(&world, &origin, ways).await;
    assert_eq!(statuses(&api, "/a").await, [200, 200, 429]);
    assert_eq!(statuses(&api, "/b").await, [200, 200, 200]);
    let refused = api.get("/c").await.expect(503);
    assert_eq!(refused.json()["code"], "LIMITS_UNAVAILABLE");
    assert_eq!(statuses(&api, "/d").await, [200, 200, 429], "Redis is nothing to it");
}
