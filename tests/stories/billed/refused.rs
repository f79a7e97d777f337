//! Calls that a backend is never asked for.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::caller::{call, call_at, closing, connect, request, send};
use super::{BESIDE, Proof, SETTINGS, Scene, Seen, mock, proxy};

/// Longer than a node waits for Redis.
const SLOW: Duration = Duration::from_secs(10);

pub(super) fn lines<'s>(scene: &'s Scene<'s>) -> Vec<(&'static str, Proof<'s>)> {
    vec![
        ("no route has the path", Box::pin(no_route(scene))),
        ("the path does not take the method", Box::pin(wrong_method(scene))),
        ("a path with two readings", Box::pin(two_readings(scene))),
        ("a preflight of a page", Box::pin(preflight(scene))),
        ("no key", Box::pin(no_key(scene))),
        ("a wrong key", Box::pin(wrong_key(scene))),
        ("a key from where it is not good", Box::pin(key_from_elsewhere(scene))),
        ("a key from a page where it is not good", Box::pin(key_from_another_page(scene))),
        ("throttled", Box::pin(throttled(scene))),
        ("beyond a hard quota", Box::pin(beyond_hard_quota(scene))),
        ("a body declared too large", Box::pin(declared_too_large(scene))),
        ("more in progress than a tenant may have", Box::pin(too_much_in_progress(scene))),
        ("limits that cannot be checked", Box::pin(limits_unavailable(scene))),
        ("a backend that no tenant may reach", Box::pin(not_to_be_reached(scene))),
        ("a suspended tenant", Box::pin(suspended(scene))),
        ("not HTTP", Box::pin(not_http(scene))),
        ("a head too large", Box::pin(head_too_large(scene))),
        ("a host that no API has", Box::pin(no_api(scene))),
    ]
}

async fn no_route(scene: &Scene<'_>) -> Seen {
    let api = scene.api(mock("hello")).await;
    let answer = call_at(&api, "/none", "GET", &[], b"").await.expect(404);
    Seen::answered(&api, 0, &answer).by("-")
}

async fn wrong_method(scene: &Scene<'_>) -> Seen {
    let route = json!({ "method": "GET", "path": BESIDE, "integration": mock("hello") });
    let api = scene.acme.api("line").await.route_of(route).await.deploy("prod").await;
    let answer = call_at(&api, BESIDE, "POST", &["content-length: 0"], b"").await.expect(405);
    Seen::answered(&api, 0, &answer).by("-")
}

async fn two_readings(scene: &Scene<'_>) -> Seen {
    let api = scene.api(mock("hello")).await;
    let answer = call_at(&api, "/none/../line", "GET", &[], b"").await.expect(400);
    Seen::answered(&api, 0, &answer).by("-")
}

async fn preflight(scene: &Scene<'_>) -> Seen {
    let route =
        json!({ "integration": mock("hello"), "corsConfiguration": { "allowOrigins": ["*"] } });
    let api = scene.draft_of(route).await.deploy("prod").await;
    let asks = ["origin: https://a.example", "access-control-request-method: PUT"];
    let answer = call(&api, "OPTIONS", &asks, b"").await.expect(204);
    Seen::answered(&api, 0, &answer).by("-")
}

async fn no_key(scene: &Scene<'_>) -> Seen {
    let api = scene.keyed().await;
    Seen::answered(&api, 0, &call(&api, "GET", &[], b"").await.expect(403))
}

async fn wrong_key(scene: &Scene<'_>) -> Seen {
    let api = scene.keyed().await;
    let answer = call(&api, "GET", &["x-api-key: tg_live_nobodys"], b"").await.expect(403);
    Seen::answered(&api, 0, &answer)
}

async fn key_from_elsewhere(scene: &Scene<'_>) -> Seen {
    let api = scene.keyed().await;
    let terms = json!({ "clientNetworks": ["203.0.113.0/24"] });
    let key = api.usage_plan("elsewhere").key_with(&terms).await;
    let key = format!("x-api-key: {}", key.value);
    Seen::answered(&api, 0, &call(&api, "GET", &[&key], b"").await.expect(403))
}

async fn key_from_another_page(scene: &Scene<'_>) -> Seen {
    let api = scene.keyed().await;
    let terms = json!({ "origins": ["https://shop.example"] });
    let key = api.usage_plan("page").key_with(&terms).await;
    let fields = [&*format!("x-api-key: {}", key.value), "origin: https://evil.example"];
    Seen::answered(&api, 0, &call(&api, "GET", &fields, b"").await.expect(403))
}

async fn throttled(scene: &Scene<'_>) -> Seen {
    let api = scene.keyed().await;
    let key = api.usage_plan("throttled").throttle(0.001, 1).key().await;
    let key = format!("x-api-key: {}", key.value);
    call_at(&api, BESIDE, "GET", &[&key], b"").await.expect(200);
    Seen::answered(&api, 0, &call(&api, "GET", &[&key], b"").await.expect(429))
}

async fn beyond_hard_quota(scene: &Scene<'_>) -> Seen {
    let api = scene.keyed().await;
    let key = api.usage_plan("hard").quota(1, "MONTH").key().await;
    let key = format!("x-api-key: {}", key.value);
    call_at(&api, BESIDE, "GET", &[&key], b"").await.expect(200);
    Seen::answered(&api, 0, &call(&api, "GET", &[&key], b"").await.expect(429))
}

async fn declared_too_large(scene: &Scene<'_>) -> Seen {
    let api = scene.acme.api_in("AWS_HTTP", "line").await;
    let api = super::with_line(api, json!({ "integration": mock("hello") })).await;
    let api = api.deploy("prod").await;
    let answer = call(&api, "POST", &["content-length: 10485761"], b"").await.expect(413);
    Seen::answered(&api, 0, &answer)
}

async fn too_much_in_progress(scene: &Scene<'_>) -> Seen {
    let (_, share) = SETTINGS[1];
    let share: usize = share.parse().unwrap();
    let origin = scene.world.origin().await.replies(200, "beside");
    origin.hold();
    let beside = json!({ "method": "ANY", "path": BESIDE, "integration": proxy(&origin.url()) });
    let api = scene.draft(mock("hello")).await.route_of(beside).await.deploy("prod").await;
    let mut calls = JoinSet::new();
    for _ in 0..share {
        let head = request(&api, "GET", BESIDE, &closing(&[]));
        let stream = connect(&api).await;
        calls.spawn(async move { send(stream, &head, b"").await });
    }
    origin.asked(share).await;
    let answer = call(&api, "GET", &[], b"").await.expect(503);
    origin.release();
    for answer in calls.join_all().await {
        answer.expect(200);
    }
    Seen::answered(&api, 0, &answer)
}

async fn limits_unavailable(scene: &Scene<'_>) -> Seen {
    let api = scene.keyed().await;
    let key = api.usage_plan("limited").throttle(100.0, 100).quota(100, "MONTH").key().await;
    let key = format!("x-api-key: {}", key.value);
    scene.detour.delay(SLOW);
    let answer = call(&api, "GET", &[&key], b"").await.expect(503);
    scene.detour.delay(Duration::ZERO);
    Seen::answered(&api, 0, &answer)
}

async fn not_to_be_reached(scene: &Scene<'_>) -> Seen {
    // The node's Redis, of which the control plane is not told that it is one of ours.
    let redis = scene.detour.url().replace("redis://", "http://");
    let api = scene.api(proxy(&redis)).await;
    let answer = call(&api, "GET", &[], b"").await.expect(500);
    Seen::answered(&api, 0, &answer)
}

async fn suspended(scene: &Scene<'_>) -> Seen {
    let api = scene.api(mock("hello")).await;
    let operator = scene.world.operator().await;
    let (id, why) = (json!({ "id": scene.acme.id }), "the bill is not paid");
    let reason = json!({ "id": scene.acme.id, "reason": why });
    operator.mutate("suspendTenant", "SuspendTenantInput!", reason, "tenant { id }").await;
    scene.world.settled().await;
    let answer = call(&api, "GET", &[], b"").await.expect(403);
    operator.mutate("resumeTenant", "ResumeTenantInput!", id, "tenant { id }").await;
    scene.world.settled().await;
    Seen::answered(&api, 0, &answer)
}

async fn not_http(scene: &Scene<'_>) -> Seen {
    let api = scene.api(mock("hello")).await;
    let head = request(&api, "GET", "/line", &["no field at all"]);
    let answer = send(connect(&api).await, &head, b"").await.expect(400);
    Seen::answered(&api, 0, &answer)
}

async fn head_too_large(scene: &Scene<'_>) -> Seen {
    let api = scene.api(mock("hello")).await;
    let path = format!("/line?{}", "x".repeat(17_000));
    call_at(&api, &path, "GET", &[], b"").await.expect(414);
    let field = format!("x-long: {}", "x".repeat(33_000));
    let answer = call(&api, "GET", &[&field], b"").await.expect(431);
    Seen::answered(&api, 0, &answer)
}

async fn no_api(scene: &Scene<'_>) -> Seen {
    let api = scene.api(mock("hello")).await;
    let head = request(&api, "GET", "/line", &closing(&[]));
    let head = head.replace(&api.api_id, "none456789");
    let answer = send(connect(&api).await, &head, b"").await.expect(404);
    Seen::answered(&api, 0, &answer)
}
