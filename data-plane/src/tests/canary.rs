//! Which of a stage's two deployments calls go to.

use proto::config::v1::{
    Canary, CanaryStickiness as By, Deployment, Dialect::Native, Resource, Route, Stage, Throttle,
    UsagePlan, resource::Kind,
};

use super::{
    access::Memory,
    world::{PEPPER, TestNode, api_with, key, mock, until},
};

const KEY: &str = "tg_live_1";

/// `/a` answers `old` at the stage and `new` at its canary, which alone has `/b`.
fn world(canary: Canary, change: impl FnOnce(&mut Stage)) -> Vec<Resource> {
    let of = |body: &str| vec![("GET /a", mock(200, body), false)];
    let mut beside = None;
    drop(api_with(Native, of("new"), |(_, deployment, _)| {
        let second =
            Route { id: "route00002".into(), path: "/b".into(), ..deployment.routes[0].clone() };
        deployment.routes.push(second);
        beside = Some(Deployment { id: "deploy0002".into(), ..deployment.clone() });
    }));
    let mut all = api_with(Native, of("old"), |(_, _, stage)| {
        stage.canary = Some(Canary { deployment_id: "deploy0002".into(), ..canary });
        change(stage);
    });
    all.push(Resource { kind: Some(Kind::Deployment(beside.unwrap())) });
    all.extend(key(KEY, UsagePlan { id: "planaaaaa1".into(), ..UsagePlan::default() }, |_| {}));
    all
}

fn percent(percent_traffic: f64) -> Canary {
    Canary { percent_traffic, ..Canary::default() }
}

fn sticky(by: By, name: &str) -> Canary {
    Canary { stickiness: by.into(), stickiness_name: name.into(), ..percent(50.0) }
}

/// How many of so many calls with these fields went to the canary.
async fn canaries(node: &TestNode, calls: u32, fields: &[&str]) -> u32 {
    let mut new = 0;
    for _ in 0..calls {
        let answer = node.call("GET /prod/a", fields).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        new += u32::from(answer.body() == "new");
    }
    new
}

#[tokio::test]
async fn calls_are_drawn_by_the_canarys_part() {
    for (part, least, most) in [(0.0, 0, 0), (100.0, 60, 60), (50.0, 8, 52)] {
        let node = TestNode::start(world(percent(part), |_| {}));
        let new = canaries(&node, 60, &[]).await;
        assert!((least..=most).contains(&new), "{new} of 60 at {part}");
    }
}

#[tokio::test]
async fn a_caller_stays_where_it_is_and_only_moves_to_the_canary() {
    for (by, name, field) in [
        (By::Header, "x-user", "x-user: "),
        (By::Cookie, "sid", "cookie: a=b; sid="),
        (By::ApiKey, "", "x-api-key: "),
    ] {
        let mut node = TestNode::start(world(sticky(by, name), |_| {}));
        let mut before = Vec::new();
        for caller in 0..40 {
            let field = format!("{field}caller-{caller}");
            let new = canaries(&node, 3, &[&field]).await;
            assert!(new == 0 || new == 3, "{field} was at both");
            before.push((field, new == 3));
        }
        let moved = before.iter().filter(|(_, canary)| *canary).count();
        assert!((4..=36).contains(&moved), "{moved} of 40 by {name}");

        node.publish(world(Canary { percent_traffic: 75.0, ..sticky(by, name) }, |_| {}));
        for (field, canary) in &before {
            let now = canaries(&node, 1, &[field]).await == 1;
            assert!(now || !canary, "{field} left the canary as that grew");
        }
    }
}

#[tokio::test]
async fn a_rotated_key_stays_where_it_was() {
    let mut all = world(sticky(By::ApiKey, ""), |_| {});
    let node = TestNode::start(all.clone());
    let before = canaries(&node, 1, &[&format!("x-api-key: {KEY}")]).await;
    // By its value alone one of twenty rotations would move it, but for one chance in a million.
    for value in 0..20 {
        let value = format!("tg_live_rotated_{value}");
        for resource in &mut all {
            if let Some(Kind::ApiKey(key)) = &mut resource.kind {
                key.digest = proto::digest::api_key(&PEPPER, value.as_bytes()).to_vec();
            }
        }
        let node = TestNode::start(all.clone());
        assert_eq!(canaries(&node, 1, &[&format!("x-api-key: {value}")]).await, before);
    }
}

#[tokio::test]
async fn what_went_to_the_canary_is_logged_and_counted_and_limited_as_the_stages() {
    let memory = Memory::default();
    let throttle = Throttle { rate_limit: 0.001, burst_limit: 3, ..Throttle::default() };
    let with = |part: f64| world(percent(part), |stage| stage.throttle = Some(throttle));
    let mut node = TestNode::start_with(with(100.0), |config| memory.config(config));

    assert_eq!(node.get("/prod/b").await.status(), 200, "only the canary has it");
    until(|| memory.len() == 1).await;
    let line = memory.last();
    assert_eq!(line["is_canary_request"], true, "{line}");
    assert_eq!((&line["deployment.id"], &line["stage"]), (&"deploy0002".into(), &"prod".into()));

    node.publish(with(0.0));
    assert_eq!(node.get("/prod/b").await.status(), 404);
    until(|| memory.len() == 2).await;
    let line = memory.last();
    assert_eq!(
        (&line["deployment.id"], line.get("is_canary_request")),
        (&"deploy0001".into(), None)
    );
    // One bucket for both: the first call's token is gone here too.
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(node.get("/prod/a").await.status());
    }
    assert_eq!(statuses, [200, 200, 429]);
    let counted = node.counted(5).await;
    assert!(counted.iter().all(|(names, _)| &*names.stage == "prod"), "{counted:?}");
    let canary = counted.iter().find(|(names, _)| names.route == "GET /b").unwrap();
    assert!(canary.1.billed);
}
