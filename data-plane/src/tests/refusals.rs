//! Every refusal through the one door, in the words of its dialect.

use proto::config::v1::{
    ApiKey,
    Dialect::{self, AwsHttp, AwsRest, Native},
    Resource, TrailingSlash, UsagePlan,
    resource::Kind,
};

use super::world::{TestNode, api, api_with, key, mock};

fn pets(dialect: Dialect) -> Vec<Resource> {
    api(dialect, &[("GET /pets", mock(200, "pets")), ("POST /pets", mock(201, ""))])
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_dialects_words() {
    let missing = r#"{"message":"Missing Authentication Token"}"#;
    let not_found = r#"{"message":"Not Found"}"#;
    for (dialect, path, status, body) in
        [(AwsRest, "/prod/none", 403, missing), (AwsHttp, "/prod/none", 404, not_found)]
    {
        let node = TestNode::start(pets(dialect));
        for request in [format!("GET {path}"), "DELETE /prod/pets".to_owned()] {
            let answer = node.call(&request, &[]).await;
            assert_eq!((answer.status(), answer.body()), (status, body), "{dialect:?} {request}");
            assert_eq!(answer.field("content-type"), Some("application/json"));
            assert_eq!(answer.field("x-request-id").map(str::len), Some(36));
        }
        let error_type = node.get(path).await.field("x-amzn-errortype").map(str::to_owned);
        let expected =
            (dialect == AwsRest).then(|| "MissingAuthenticationTokenException".to_owned());
        assert_eq!(error_type, expected);
    }
    let node = TestNode::start(pets(Native));
    let answer = node.get("/prod/none").await;
    assert_eq!(
        (answer.status(), answer.json()["code"].as_str()),
        (404, Some("RESOURCE_NOT_FOUND"))
    );
    assert_eq!(answer.json()["requestId"].as_str(), answer.field("x-request-id"));
    let answer = node.call("DELETE /prod/pets", &[]).await;
    assert_eq!((answer.status(), answer.field("allow")), (405, Some("GET, POST")));
    for path in ["/other/pets", "/", "/pets"] {
        assert_eq!(node.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_default_stage_takes_paths_without_one_except_in_aws_rest() {
    for (dialect, status) in [(Native, 200), (AwsHttp, 200), (AwsRest, 404)] {
        let mut resources = pets(dialect);
        let Some(Kind::Stage(prod)) = resources[2].kind.clone() else { panic!("no stage") };
        let default = proto::config::v1::Stage { name: "$default".into(), ..prod };
        resources.push(Kind::Stage(default).into());
        let node = TestNode::start(resources);
        assert_eq!(node.get("/pets").await.status(), status, "{dialect:?}");
        assert_eq!(node.get("/prod/pets").await.status(), 200, "{dialect:?}");
        assert_ne!(node.get("/$default/pets").await.status(), 200, "{dialect:?}");
    }
}

#[tokio::test]
async fn a_path_with_two_readings_is_refused_before_any_route_is_chosen() {
    let node = TestNode::start(api(Native, &[("ANY /{proxy+}", mock(200, ""))]));
    for path in [
        "/prod//a",
        "/prod/a/../b",
        "/prod/a/%2e%2e/b",
        "/prod/a%2F..%2Fb",
        "/prod/%zz",
        "/prod/a%00",
    ] {
        let answer = node.get(path).await;
        assert_eq!(
            (answer.status(), answer.json()["code"].as_str()),
            (400, Some("BAD_REQUEST_PARAMETERS")),
            "{path}"
        );
    }
    assert_eq!(node.get("/prod/a%2Fb").await.status(), 200);
}

#[tokio::test]
async fn a_redirecting_api_sends_callers_to_the_path_without_the_slash_on_this_host() {
    let routes = vec![("GET /a", mock(200, ""), false)];
    let node = TestNode::start(api_with(Native, routes, |(_, deployment, _)| {
        deployment.api.as_mut().unwrap().trailing_slash = TrailingSlash::Redirect.into();
    }));
    let answer = node.get("/prod/a/?q=1").await;
    assert_eq!((answer.status(), answer.field("location")), (308, Some("/prod/a?q=1")));
}

fn gold() -> UsagePlan {
    UsagePlan { id: "planaaaaa1".into(), ..UsagePlan::default() }
}

fn keyed(change: impl FnOnce(&mut ApiKey)) -> Vec<Resource> {
    let mut resources = api_with(Native, vec![("GET /k", mock(200, "in"), true)], |_| {});
    resources.extend(key("tg_live_right", gold(), change));
    resources
}

#[tokio::test]
async fn an_encoded_slash_does_not_lead_around_a_route() {
    let admin = ("ANY /admin/{x+}", mock(200, "admin"), true);
    let open = ("ANY /{proxy+}", mock(200, "open"), false);
    let node = TestNode::start(api_with(Native, vec![admin, open], |_| {}));
    for path in ["/prod/admin%2Fusers", "/prod/admin%5cusers", "/prod/admin%2fa%2fb"] {
        let answer = node.get(path).await;
        assert_eq!(
            (answer.status(), answer.json()["code"].as_str()),
            (400, Some("BAD_REQUEST_PARAMETERS")),
            "{path}"
        );
    }
    assert_eq!(node.get("/prod/else%2Fwhere").await.status(), 200);
    assert_eq!(node.get("/prod/admin/users").await.status(), 403);
}

#[tokio::test]
async fn a_value_that_is_given_to_another_key_opens_with_that_key_alone() {
    let mut node = TestNode::start(keyed(|_| {}));
    // The one's removal and the other's arrival are compiled together, in either order.
    for id in ["keyaaaaaa2", "keyaaaaaa3"].into_iter().cycle().take(20) {
        node.publish(keyed(|key| key.id = id.into()));
        assert_eq!(node.call("GET /prod/k", &["x-api-key: tg_live_right"]).await.status(), 200);
    }
}

#[tokio::test]
async fn a_key_opens_its_stage_and_every_other_key_gets_one_and_the_same_answer() {
    let node = TestNode::start(keyed(|_| {}));
    assert_eq!(node.call("GET /prod/k", &["x-api-key: tg_live_right"]).await.status(), 200);
    let long = format!("x-api-key: {}", "a".repeat(300));
    for fields in [
        &[][..],
        &["x-api-key: tg_live_wrong"],
        &["x-api-key:"],
        &["x-api-key: tg_live_right", "x-api-key: tg_live_right"],
        &[long.as_str()],
        &["authorization: tg_live_right"],
    ] {
        let answer = node.call("GET /prod/k", fields).await;
        assert_eq!(
            (answer.status(), answer.json()["code"].as_str()),
            (403, Some("INVALID_API_KEY")),
            "{fields:?}"
        );
    }
    let far = crate::node::now_ms() + 1_000_000;
    let spoils: [fn(&mut ApiKey); 4] = [
        |key| key.enabled = false,
        |key| key.expires_at_ms = 1,
        |key| key.usage_plan_ids.clear(),
        |key| key.tenant_id = "018f0000-0000-7000-8000-00000000000f".into(),
    ];
    for spoil in spoils {
        let node = TestNode::start(keyed(spoil));
        assert_eq!(node.call("GET /prod/k", &["x-api-key: tg_live_right"]).await.status(), 403);
    }
    let node = TestNode::start(keyed(|key| key.expires_at_ms = far));
    assert_eq!(node.call("GET /prod/k", &["x-api-key: tg_live_right"]).await.status(), 200);
}

#[tokio::test]
async fn a_restriction_that_this_node_does_not_know_refuses_every_call() {
    let route = |change: fn(&mut proto::config::v1::Route)| {
        api_with(Native, vec![("GET /r", mock(200, ""), false)], |(_, deployment, _)| {
            change(&mut deployment.routes[0]);
        })
    };
    let of_stage = api_with(Native, vec![("GET /r", mock(200, ""), false)], |(_, _, stage)| {
        stage.restrictions.push("wafAcl".into());
    });
    for resources in [
        route(|route| route.authorization_type = "JWT".into()),
        route(|route| route.restrictions.push("resourcePolicy".into())),
        of_stage,
    ] {
        let answer = TestNode::start(resources).get("/prod/r").await;
        let code = "AUTHORIZER_CONFIGURATION_ERROR";
        assert_eq!((answer.status(), answer.json()["code"].as_str()), (500, Some(code)));
    }
    let suspended = api_with(Native, vec![("GET /r", mock(200, ""), false)], |(tenant, ..)| {
        tenant.suspended = true;
    });
    assert_eq!(TestNode::start(suspended).get("/prod/r").await.status(), 403);
    let closed = api_with(Native, vec![("GET /r", mock(200, ""), false)], |(_, deployment, _)| {
        deployment.api.as_mut().unwrap().disable_execute_api_endpoint = true;
    });
    assert_eq!(TestNode::start(closed).get("/prod/r").await.status(), 404);
}

#[tokio::test]
async fn what_does_not_compile_is_refused_by_name_and_the_last_good_version_serves_on() {
    use crate::snapshot::{
        Snapshot, compile,
        resources::{Applied, Resources},
    };
    let mut resources = Resources::default();
    let Ok(Applied::Changed(changed)) = resources.replace("default", 1, pets(Native)) else {
        panic!("not applied")
    };
    let (first, refusals) = compile(&resources, &changed, &Snapshot::default());
    assert!(refusals.is_empty(), "{refusals:?}");

    let bad = api_with(
        Native,
        vec![("GET /pets/{id}", mock(99, ""), false)],
        |(_, deployment, stage)| {
            deployment.id = "deploy0002".into();
            stage.deployment_id = "deploy0002".into();
        },
    );
    let Ok(Applied::Changed(changed)) = resources.replace("default", 2, bad) else {
        panic!("not applied")
    };
    let (second, refusals) = compile(&resources, &changed, &first);
    let mut refused: Vec<String> = refusals.iter().map(|refusal| refusal.reason.clone()).collect();
    refused.sort();
    assert_eq!(
        refused,
        [
            "deployment deploy0002 is not here",
            "integration integ00000: 99 is no status of an answer"
        ]
    );
    let served = |snapshot: &Snapshot| {
        let api = snapshot.api(super::world::API).unwrap();
        api.stage("prod").unwrap().deployment.clone().unwrap()
    };
    assert!(std::sync::Arc::ptr_eq(&served(&first), &served(&second)), "by the same pointer");
}
