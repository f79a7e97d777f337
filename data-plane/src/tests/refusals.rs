//! Every refusal through the one door, in the words of its dialect.

use proto::config::v1::{
    ApiKey,
    Dialect::{self, AwsHttp, AwsRest, Native},
    KeyRestrictions, PathNormalization, PreviousValue, Resource, TrailingSlash, UsagePlan,
    resource::Kind,
};

use super::world::{API, PEPPER, TestNode, api, api_with, echo, key, mock, proxy};

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

/// An Api that sends callers away from the slash at a path's end, at a stage's address and at `$default`'s.
fn redirecting(normalization: PathNormalization) -> Vec<Resource> {
    let routes = vec![("GET /a", mock(200, ""), false), ("GET /b/{x}", mock(200, ""), false)];
    let mut resources = api_with(Native, routes, |(_, deployment, _)| {
        let api = deployment.api.as_mut().unwrap();
        api.trailing_slash = TrailingSlash::Redirect.into();
        api.path_normalization = normalization.into();
    });
    let Some(Kind::Stage(prod)) = resources[2].kind.clone() else { panic!("no stage") };
    let default = proto::config::v1::Stage { name: "$default".into(), ..prod };
    resources.push(Kind::Stage(default).into());
    resources
}

#[tokio::test]
async fn a_redirecting_api_sends_callers_to_the_path_without_the_slash_on_this_host() {
    use PathNormalization::{Normalize, Pass, Reject};
    let by_path = format!("/_api/{API}");
    let elsewhere = "host: 127.0.0.1";
    for (normalization, path, location) in [
        (Reject, "/prod/a/?q=1", "/prod/a?q=1"),
        (Reject, "/a/", "/a"),
        (Reject, "/prod/b/c%2Fd/", "/prod/b/c%2Fd"),
        // Each of these reads as `/a/`, though not all of them end in a slash.
        (Normalize, "/prod/a/.?q=1", "/prod/a?q=1"),
        (Normalize, "/prod/a/%2e", "/prod/a"),
        (Normalize, "/prod/a/b/..", "/prod/a"),
        (Normalize, "/prod//a//", "/prod/a"),
        (Normalize, "/%70rod/./b/c/.", "/%70rod/b/c"),
        (Normalize, "/./a/.", "/a"),
        (Normalize, "//a/", "/a"),
        // The stage too is chosen by the path as it reads.
        (Normalize, "/./prod/a/", "/prod/a"),
        (Normalize, "/x/../prod/b/c/", "/prod/b/c"),
        (Normalize, "/prod/../prod/a/", "/prod/a"),
        (Normalize, "/prod/../a/", "/a"),
        (Pass, "/prod/a/", "/prod/a"),
        (Pass, "/prod/b/../", "/prod/b/.."),
    ] {
        let node = TestNode::start(redirecting(normalization));
        let answer = node.get(path).await;
        assert_eq!((answer.status(), answer.field("location")), (308, Some(location)), "{path}");
        assert_eq!(node.get(location).await.status(), 200, "who follows {path} arrives");

        let path =
            format!("GET {by_path}{path} HTTP/1.1\r\n{elsewhere}\r\nconnection: close\r\n\r\n");
        let answer = node.raw(path.as_bytes()).await;
        let location = format!("{by_path}{location}");
        assert_eq!((answer.status(), answer.field("location")), (308, Some(&*location)), "{path}");
    }
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

/// An Api whose keys stand in these places, with a route that needs one and one that does not.
fn located(locations: &[&str], backend: std::net::SocketAddr) -> Vec<Resource> {
    let uri = format!("http://{backend}/");
    let routes = vec![("GET /k", proxy(&uri), true), ("GET /open", proxy(&uri), false)];
    let mut resources = api_with(Native, routes, |(_, deployment, _)| {
        let api = deployment.api.as_mut().unwrap();
        api.api_key_locations = locations.iter().map(|it| (*it).to_owned()).collect();
        for route in &mut deployment.routes {
            route.restrictions.push("apiKeyLocations".into());
        }
    });
    resources.extend(key("tg_live_right", gold(), |_| {}));
    resources
}

#[tokio::test]
async fn a_key_is_found_where_the_api_says_and_nowhere_else() {
    const HEADER: &str = "$request.header.X-Key";
    const QUERY: &str = "$request.querystring.api_key";
    const BEARER: &str = "$request.header.authorization";
    let (right, wrong) = ("x-key: tg_live_right", "x-key: tg_live_wrong");
    let backend = echo().await;
    for (locations, path, fields, status) in [
        (&[HEADER][..], "", &[right][..], 200),
        (&[HEADER], "", &["x-api-key: tg_live_right"], 403),
        (&[HEADER], "?api_key=tg_live_right", &[], 403),
        (&[HEADER], "", &[right, right], 403),
        (&[QUERY], "?api_key=tg_live_right", &[], 200),
        (&[QUERY], "?a=1&api%5Fkey=tg%5flive_right&b", &[], 200),
        (&[QUERY], "?api_key=tg_live_right&api_key=tg_live_right", &[], 403),
        (&[QUERY], "?API_KEY=tg_live_right", &[], 403),
        (&[QUERY], "", &["x-api-key: tg_live_right"], 403),
        (&[BEARER], "", &["authorization: Bearer tg_live_right"], 200),
        (&[BEARER], "", &["authorization: bearer  tg_live_right"], 200),
        (&[BEARER], "", &["authorization: Basic tg_live_right"], 403),
        (&[BEARER], "", &["authorization: tg_live_right"], 403),
        // The first that the call has decides.
        (&[HEADER, QUERY], "?api_key=tg_live_right", &[], 200),
        (&[HEADER, QUERY], "?api_key=tg_live_right", &[wrong], 403),
        (&[QUERY, HEADER], "?api_key=tg_live_right", &[wrong], 200),
        (&[BEARER, HEADER], "", &["authorization: Basic QQ==", right], 200),
        (&[], "", &["x-api-key: tg_live_right"], 200),
    ] {
        let node = TestNode::start(located(locations, backend));
        let answer = node.call(&format!("GET /prod/k{path}"), fields).await;
        assert_eq!(answer.status(), status, "{locations:?} {path} {fields:?}: {answer:?}");
        if status == 403 {
            assert_eq!(answer.json()["code"].as_str(), Some("INVALID_API_KEY"));
        }
    }
    let node = TestNode::start(located(&[HEADER, QUERY, BEARER], backend));
    let said = node.get("/prod/k").await.json()["message"].as_str().unwrap().to_owned();
    let places = "the field x-key or the query parameter api_key or Authorization, as Bearer";
    assert!(said.contains(places), "{said}");
}

#[tokio::test]
async fn a_key_in_the_query_never_reaches_the_backend_whatever_the_route_asks_for() {
    let node = TestNode::start(located(&["$request.querystring.key"], echo().await));
    for path in ["/prod/k", "/prod/open"] {
        for (query, left) in [
            ("?key=tg_live_right", "GET /\n"),
            ("?a=%20&key=tg_live_right&b=1", "GET /?a=%20&b=1\n"),
            ("?k%65y=tg_live_right&b", "GET /?b\n"),
        ] {
            let answer = node.get(&format!("{path}{query}")).await;
            assert_eq!(answer.status(), 200, "{path}{query}");
            assert!(answer.body().contains(left), "{path}{query}: {answer:?}");
            assert!(!answer.text.contains("tg_live_right"), "{path}{query}: {answer:?}");
        }
    }
    let twice = node.get("/prod/open?key=tg_live_right&key=tg_live_right&c=1").await;
    assert!(twice.body().contains("GET /?c=1\n"), "{twice:?}");
}

/// The value before `tg_live_right`.
fn rotated(until_ms: u64) -> impl FnOnce(&mut ApiKey) {
    move |key| {
        let digest = proto::digest::api_key(&PEPPER, b"tg_live_before").to_vec();
        key.previous = Some(PreviousValue { digest, until_ms });
    }
}

#[tokio::test]
async fn a_rotated_keys_value_before_opens_until_its_time_and_no_longer() {
    let far = crate::node::now_ms() + 1_000_000;
    let [now, before] = ["x-api-key: tg_live_right", "x-api-key: tg_live_before"];
    let mut node = TestNode::start(keyed(rotated(far)));
    for value in [now, before] {
        assert_eq!(node.call("GET /prod/k", &[value]).await.status(), 200, "{value}");
    }
    node.publish(keyed(rotated(1)));
    assert_eq!(node.call("GET /prod/k", &[now]).await.status(), 200);
    let answer = node.call("GET /prod/k", &[before]).await;
    assert_eq!((answer.status(), answer.json()["code"].as_str()), (403, Some("INVALID_API_KEY")));

    // Ended early, disabled, expired or deleted, the value before is as unknown as any.
    let spoils: [fn(&mut ApiKey); 3] =
        [|key| key.previous = None, |key| key.enabled = false, |key| key.expires_at_ms = 1];
    for spoil in spoils {
        node.publish(keyed(rotated(far)));
        assert_eq!(node.call("GET /prod/k", &[before]).await.status(), 200);
        node.publish(keyed(|key| {
            rotated(far)(key);
            spoil(key);
        }));
        assert_eq!(node.call("GET /prod/k", &[before]).await.status(), 403);
    }
    node.publish(keyed(rotated(far)));
    // Its value now is another key's, which was read first or second: nothing of the deleted key stays.
    for id in ["keyaaaaaa2", "keyaaaaaa3"].into_iter().cycle().take(20) {
        node.publish(keyed(|key| key.id = id.into()));
        assert_eq!(node.call("GET /prod/k", &[now]).await.status(), 200);
        assert_eq!(node.call("GET /prod/k", &[before]).await.status(), 403);
        node.publish(keyed(|key| {
            rotated(far)(key);
            key.id = format!("{id}x");
        }));
    }
}

/// A key that is good from these places.
fn restricted(networks: &[&str], origins: &[&str]) -> Vec<Resource> {
    let text = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
    let restrictions = KeyRestrictions {
        enabled: true,
        client_networks: text(networks),
        origins: text(origins),
        others: Vec::new(),
    };
    keyed(|key| {
        key.enabled = false; // as the control plane sends it, for nodes that do not know restrictions
        key.restrictions = Some(restrictions);
    })
}

#[tokio::test]
async fn a_key_is_good_only_from_the_networks_and_pages_that_it_names() {
    let page = "origin: https://shop.example.com";
    let client = Some("API_KEY_CLIENT_NOT_ALLOWED");
    let origin = Some("API_KEY_ORIGIN_NOT_ALLOWED");
    for (networks, origins, fields, code) in [
        (&["127.0.0.0/8"][..], &[][..], &[][..], None),
        (&["2001:db8::/32", "127.0.0.1/32"], &[], &[], None),
        (&["203.0.113.0/24"], &[], &[], client),
        (&["::/0"], &[], &[], client),
        (&["203.0.113.0/24"], &["https://*.example.com"], &[page], client),
        (&[], &["https://*.example.com"], &[page], None),
        (&["127.0.0.0/8"], &["http://a.test", "https://shop.example.com"], &[page], None),
        (&[], &["https://*.example.com"], &[], origin),
        (&[], &["https://*.example.com"], &["origin: null"], origin),
        (&[], &["https://*.example.com"], &["origin: https://example.com"], origin),
        (&[], &["https://*.example.com"], &[page, page], origin),
    ] {
        let node = TestNode::start(restricted(networks, origins));
        let fields = [&["x-api-key: tg_live_right"], fields].concat();
        let answer = node.call("GET /prod/k", &fields).await;
        let status = if code.is_some() { 403 } else { 200 };
        assert_eq!(answer.status(), status, "{networks:?} {origins:?} {fields:?}: {answer:?}");
        if code.is_some() {
            assert_eq!(answer.json()["code"].as_str(), code, "{networks:?} {origins:?} {fields:?}");
        }
        // Who does not hold the key is not told of it.
        let unknown = node.call("GET /prod/k", &["x-api-key: tg_live_wrong"]).await;
        assert_eq!(unknown.json()["code"].as_str(), Some("INVALID_API_KEY"));
    }
}

#[tokio::test]
async fn the_client_of_a_key_is_the_one_behind_trusted_proxies() {
    let networks = restricted(&["203.0.113.0/24"], &[]);
    let proxied = TestNode::start_with(networks.clone(), |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a range")];
    });
    let direct = TestNode::start(networks);
    for (client, through_proxy) in [("203.0.113.9", 200), ("198.51.100.9", 403)] {
        let forwarded = format!("x-forwarded-for: {client}");
        let fields = ["x-api-key: tg_live_right", &forwarded];
        assert_eq!(proxied.call("GET /prod/k", &fields).await.status(), through_proxy, "{client}");
        assert_eq!(direct.call("GET /prod/k", &fields).await.status(), 403, "anyone's word");
    }
}

#[tokio::test]
async fn a_restriction_of_a_key_that_this_node_does_not_know_refuses_every_call_with_it() {
    for (others, networks, origins) in [
        (&["clientCountries"][..], &[][..], &[][..]),
        (&[], &["a newer kind of network"], &[]),
        (&[], &["127.0.0.0/8"], &["a newer kind of origin"]),
    ] {
        let mut resources = restricted(networks, origins);
        for resource in &mut resources {
            if let Some(Kind::ApiKey(key)) = &mut resource.kind {
                let restrictions = key.restrictions.as_mut().unwrap();
                restrictions.others = others.iter().map(|it| (*it).to_owned()).collect();
            }
        }
        let node = TestNode::start(resources);
        let answer = node.call("GET /prod/k", &["x-api-key: tg_live_right"]).await;
        let code = "AUTHORIZER_CONFIGURATION_ERROR";
        assert_eq!((answer.status(), answer.json()["code"].as_str()), (500, Some(code)));
    }
    let disabled = restricted(&["127.0.0.0/8"], &[]).into_iter().map(|mut resource| {
        if let Some(Kind::ApiKey(key)) = &mut resource.kind {
            key.restrictions.as_mut().unwrap().enabled = false;
        }
        resource
    });
    let node = TestNode::start(disabled.collect());
    let answer = node.call("GET /prod/k", &["x-api-key: tg_live_right"]).await;
    assert_eq!(answer.json()["code"].as_str(), Some("INVALID_API_KEY"));
}

#[tokio::test]
async fn a_flood_of_refusals_is_answered_whole_and_takes_nobodys_place() {
    const CONNECTIONS: usize = 8;
    const CALLS: usize = 50;
    let resources = api_with(
        Native,
        vec![("GET /pets", mock(200, "pets"), true), ("GET /open", mock(200, "open"), false)],
        |_| {},
    );
    // Of a tenant's calls one may be in progress: a refusal that waits for its turn is none of them.
    let node = TestNode::start_with(resources, |config| config.limits.tenant_in_flight_max = 1);
    let request = |path: &str, end: &str| {
        format!("GET /prod{path} HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n{end}\r\n")
    };
    let pipeline =
        request("/pets", "").repeat(CALLS - 1) + &request("/pets", "connection: close\r\n");
    let floods = (0..CONNECTIONS).map(|_| node.raw(pipeline.as_bytes()));
    let calm = async {
        for _ in 0..CALLS {
            assert_eq!(node.get("/prod/open").await.status(), 200);
        }
    };
    let (floods, ()) = tokio::join!(futures_util::future::join_all(floods), calm);
    for flood in floods {
        let refused = flood.text.matches("HTTP/1.1 403 ").count();
        assert_eq!(refused, CALLS, "{}", flood.text);
    }
}
