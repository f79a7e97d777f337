//! Refusals as an Api's gateway responses have them look.

use std::collections::BTreeMap;

use proto::config::v1::{
    Cors,
    Dialect::{self, AwsHttp, AwsRest, Native},
    GatewayResponse, Resource, Throttle, integration,
};

use super::{
    limited::Limited,
    world::{TENANT, TestNode, api_with, mock, origin, proxy, proxy_with},
};

type Texts<'a> = &'a [(&'a str, &'a str)];

fn map(of: Texts<'_>) -> BTreeMap<String, String> {
    of.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn style(of: &str, status: u32, headers: Texts<'_>, bodies: Texts<'_>) -> GatewayResponse {
    let header = |(name, text): &(&str, &str)| {
        (format!("gatewayresponse.header.{name}"), (*text).to_owned())
    };
    GatewayResponse {
        response_type: of.to_owned(),
        status_code: status,
        response_parameters: headers.iter().map(header).collect(),
        response_templates: map(bodies),
    }
}

fn styled(
    dialect: Dialect,
    routes: Vec<(&str, integration::Kind, bool)>,
    styles: Vec<GatewayResponse>,
) -> Vec<Resource> {
    api_with(dialect, routes, |(_, deployment, stage)| {
        deployment.api.as_mut().unwrap().gateway_responses = styles;
        stage.variables = map(&[("who", "we <are>"), ("other", "secret")]);
    })
}

const JSON: &str = "application/json";

#[tokio::test]
async fn a_type_comes_before_the_default_of_its_class_and_that_before_the_gateways_own() {
    let routes =
        || vec![("GET /keyed", mock(200, ""), true), ("GET /open", mock(200, "ok"), false)];
    let own = style("INVALID_API_KEY", 0, &[("x-own", "'1'")], &[(JSON, "own")]);
    let default = style("DEFAULT_4XX", 418, &[("x-default", "'1'")], &[(JSON, "default")]);
    let key = "GET /prod/keyed";
    for (styles, status, body, fields) in [
        (vec![own.clone(), default.clone()], 418, Some("own"), (Some("1"), None)),
        (vec![own.clone()], 403, Some("own"), (Some("1"), None)),
        (vec![default.clone()], 418, Some("default"), (None, Some("1"))),
        (
            vec![style("THROTTLED", 418, &[], &[]), style("DEFAULT_5XX", 418, &[], &[])],
            403,
            None,
            (None, None),
        ),
        (vec![style("INVALID_API_KEY", 401, &[], &[]), default.clone()], 401, None, (None, None)),
    ] {
        for dialect in [Native, AwsRest, AwsHttp] {
            let node = TestNode::start(styled(dialect, routes(), styles.clone()));
            let answer = node.call(key, &[]).await;
            assert_eq!(answer.status(), status, "{dialect:?} {styles:?}");
            match body {
                Some(body) => assert_eq!(answer.body(), body),
                None => assert!(answer.json()["message"].is_string(), "the gateway's own"),
            }
            assert_eq!((answer.field("x-own"), answer.field("x-default")), fields);
            assert_eq!(answer.field("x-request-id").map(str::len), Some(36));
            assert_eq!(node.get("/prod/open").await.body(), "ok");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_of_the_dialects_type() {
    let styles: Vec<_> = [
        ("MISSING_AUTHENTICATION_TOKEN", 440),
        ("RESOURCE_NOT_FOUND", 441),
        ("DEFAULT_4XX", 442),
        ("BAD_REQUEST_PARAMETERS", 443),
    ]
    .map(|(of, status)| style(of, status, &[], &[(JSON, "$context.error.responseType")]))
    .into();
    for (dialect, missing, wrong_method) in
        [(Native, 441, 442), (AwsRest, 440, 440), (AwsHttp, 441, 442)]
    {
        let routes = vec![("GET /open", mock(200, "ok"), false)];
        let node = TestNode::start(styled(dialect, routes, styles.clone()));
        for (line, status) in [
            ("GET /prod/none", missing),
            ("PUT /prod/open", wrong_method),
            ("GET /prod/a/../b", 443),
        ] {
            let answer = node.call(line, &[]).await;
            assert_eq!(answer.status(), status, "{dialect:?} {line}");
            let of = styles.iter().find(|it| it.status_code == u32::from(status)).unwrap();
            assert_eq!(answer.body(), of.response_type);
        }
        // No stage is named, so nobody's gateway responses hold.
        assert!([403, 404].contains(&node.get("/other").await.status()));
        let allow = node.call("PUT /prod/open", &[]).await;
        assert_eq!(allow.field("allow"), Some("GET"), "the reason's own fields stay");
    }
}

#[tokio::test]
async fn variables_tell_of_the_request_after_its_backend_has_had_it_too() {
    let gone = style(
        "INTEGRATION_FAILURE",
        0,
        &[
            ("x-agent", "method.request.header.User-Agent"),
            ("x-twice", "method.request.multivalueheader.x-two"),
            ("x-none", "method.request.header.x-none"),
            ("x-page", "method.request.querystring.page"),
            ("x-pages", "method.request.multivaluequerystring.page"),
            ("x-pet", "method.request.path.pet"),
            ("x-stage", "stageVariables.who"),
            ("content-type", "'application/problem+json'"),
        ],
        &[(
            JSON,
            r#"{"m":$context.error.messageString,"a":"$method.request.header.user-agent","s":"$context.stage",
                "p":"$context.path","r":"$context.resourcePath","h":"$context.domainName","v":"$stageVariables.who",
                "i":"$context.requestId","t":"$context.error.responseType","n":"$stageVariables.nobody"}"#,
        )],
    );
    let routes = vec![("GET /pets/{pet}", proxy("http://127.0.0.1:9/"), false)];
    let node = TestNode::start(styled(AwsRest, routes, vec![gone]));
    let fields = ["user-agent: a\"b", "x-two: 1", "x-two: 2"];
    let answer = node.call("GET /prod/pets/a%20b?page=1%22&page=2", &fields).await;
    assert_eq!(answer.status(), 504);
    for (name, value) in [
        ("x-agent", Some("a\"b")),
        ("x-twice", Some("1,2")),
        ("x-none", None),
        ("x-page", Some("1\"")),
        ("x-pages", Some("1\",2")),
        ("x-pet", Some("a b")),
        ("x-stage", Some("we <are>")),
        ("content-type", Some("application/problem+json")),
    ] {
        assert_eq!(answer.field(name), value, "{name}");
    }
    let json = answer.json();
    for (name, value) in [
        ("m", "Network error communicating with endpoint"),
        ("a", "a\"b"),
        ("s", "prod"),
        ("p", "/prod/pets/a%20b"),
        ("r", "/pets/{pet}"),
        ("h", "localhost"),
        ("v", "we <are>"),
        ("t", "INTEGRATION_FAILURE"),
        ("n", ""),
    ] {
        let told = json[name].as_str().unwrap();
        assert!(told == value || name == "h" && told.contains("localhost"), "{name}: {told}");
    }
    assert_eq!(json["i"].as_str(), answer.field("x-request-id"));
    assert!(!answer.text.contains("secret"));
}

#[tokio::test]
async fn a_caller_gets_the_body_that_its_accept_likes_and_a_split_field_is_left_out() {
    let bodies: Texts<'_> = &[
        (JSON, r#"{"path":"$context.path"}"#),
        ("text/html", "<p>$method.request.header.x-name</p>"),
        ("text/plain", "no"),
    ];
    let headers: Texts<'_> = &[("x-name", "method.request.querystring.name")];
    let all = style("RESOURCE_NOT_FOUND", 0, headers, bodies);
    let routes = vec![("GET /open", mock(200, "ok"), false)];
    let node = TestNode::start(styled(Native, routes, vec![all]));
    let name = "x-name: <script>alert(1)</script>";
    for (accept, kind, body) in [
        ("*/*", JSON, r#"{"path":"/prod/none"}"#),
        ("image/png", JSON, r#"{"path":"/prod/none"}"#),
        ("text/plain", "text/plain", "no"),
        ("text/html", "text/html", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
    ] {
        let accept = format!("accept: {accept}");
        let answer = node.call("GET /prod/none?name=a%0d%0ax-evil:1", &[&accept, name]).await;
        assert_eq!((answer.field("content-type"), answer.body()), (Some(kind), body));
        assert_eq!((answer.field("x-name"), answer.field("x-evil")), (None, None));
    }
}

#[tokio::test]
async fn a_status_without_a_body_has_none() {
    let routes = vec![("GET /open", mock(200, "ok"), false)];
    let quiet = style("RESOURCE_NOT_FOUND", 204, &[("x-quiet", "'1'")], &[(JSON, "{}")]);
    let node = TestNode::start(styled(Native, routes, vec![quiet]));
    let answer = node.get("/prod/none").await;
    assert_eq!((answer.status(), answer.body(), answer.field("x-quiet")), (204, "", Some("1")));
    assert_eq!(answer.field("content-type"), None);
}

#[tokio::test]
async fn aws_keeps_the_answer_to_what_is_too_large_but_for_the_defaults_headers() {
    let large = style("REQUEST_TOO_LARGE", 400, &[("x-large", "'1'")], &[(JSON, "large")]);
    let default = style("DEFAULT_4XX", 418, &[("x-default", "'1'")], &[(JSON, "default")]);
    let routes = || vec![("POST /open", mock(200, "ok"), false)];
    for (dialect, status, body, of) in [
        (AwsRest, 413, r#"{"message":"Request Too Long"}"#, "x-default"),
        (AwsHttp, 400, "large", "x-large"),
    ] {
        let styles = vec![large.clone(), default.clone()];
        let node = TestNode::start(styled(dialect, routes(), styles));
        let answer = node.call("POST /prod/open", &["content-length: 10485761"]).await;
        assert_eq!((answer.status(), answer.body()), (status, body), "{dialect:?}");
        let fields = ["x-default", "x-large"].map(|name| (name, answer.field(name)));
        assert!(fields.iter().all(|(name, value)| value.is_some() == (*name == of)), "{fields:?}");
    }
}

#[tokio::test]
async fn limits_and_slow_backends_are_restyled_and_billed_as_they_were() {
    let limited = Limited::new();
    let slow = origin(|_| std::future::pending()).await;
    let slow = proxy_with(format!("http://{slow}/"), |proxy| proxy.total_timeout_ms = 50);
    let routes = vec![("GET /limited", mock(200, "ok"), true), ("GET /slow", slow, false)];
    let mut all = limited.with(routes, |stage, _| {
        stage.throttle =
            Some(Throttle { rate_limit: 0.001, burst_limit: 1, ..Throttle::default() });
    });
    for resource in &mut all {
        if let Some(proto::config::v1::resource::Kind::Deployment(it)) = &mut resource.kind {
            it.api.as_mut().unwrap().gateway_responses = vec![
                style("THROTTLED", 200, &[], &[(JSON, "later")]),
                style("INTEGRATION_TIMEOUT", 200, &[], &[(JSON, "slow")]),
            ];
        }
    }
    let node = TestNode::start(all);
    let path = |of: &str| format!("/{}{of}", limited.stage);
    let slow = node.get(&path("/slow")).await;
    assert_eq!((slow.status(), slow.body()), (200, "slow"));
    let refused = node.call(&format!("GET {}", path("/limited")), &["x-api-key: tg_live_1"]).await;
    assert_eq!((refused.status(), refused.body()), (200, "later"));
    let records = node.counted(2).await;
    for (names, record) in records {
        assert_eq!(record.billed, names.route == "GET /slow", "by what it is, not by its status");
    }
}

#[tokio::test]
async fn cors_is_told_by_the_apis_rules_and_else_as_the_response_says() {
    let told = style("DEFAULT_4XX", 0, &[("access-control-allow-origin", "'*'")], &[]);
    let page = "origin: https://a.example";
    for (origins, expected) in [(None, "*"), (Some("https://a.example"), "https://a.example")] {
        let routes = vec![("GET /keyed", mock(200, ""), true)];
        let all = api_with(AwsRest, routes, |(_, deployment, _)| {
            let api = deployment.api.as_mut().unwrap();
            api.gateway_responses = vec![told.clone()];
            api.cors =
                origins.map(|it| Cors { allow_origins: vec![it.to_owned()], ..Cors::default() });
        });
        let node = TestNode::start(all);
        let answer = node.call("GET /prod/keyed", &[page]).await;
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.field("access-control-allow-origin"), Some(expected));
    }
}

#[tokio::test]
async fn who_is_suspended_or_redirects_says_nothing_of_its_own() {
    let default = style("DEFAULT_4XX", 418, &[("x-default", "'1'")], &[(JSON, "default")]);
    let routes = || vec![("GET /open", mock(200, "ok"), false)];
    let suspended = api_with(Native, routes(), |(tenant, deployment, _)| {
        assert_eq!(tenant.id, TENANT);
        tenant.suspended = true;
        deployment.api.as_mut().unwrap().gateway_responses = vec![default.clone()];
    });
    let node = TestNode::start(suspended);
    for (path, status) in [("/prod/open", 403), ("/prod/none", 404)] {
        let answer = node.get(path).await;
        assert_eq!((answer.status(), answer.field("x-default")), (status, None), "{path}");
    }
    let disabled = api_with(Native, routes(), |(_, deployment, _)| {
        let api = deployment.api.as_mut().unwrap();
        api.disable_execute_api_endpoint = true;
        api.gateway_responses = vec![default.clone()];
    });
    let node = TestNode::start(disabled);
    assert_eq!(node.get("/prod/open").await.status(), 404);
    // A type that this node does not know, and a template that it cannot read, leave the gateway's own.
    let newer = vec![
        style("RESOURCE_NOT_FOUND", 0, &[], &[(JSON, "$context.ofTomorrow")]),
        style("OF_TOMORROW", 418, &[], &[]),
    ];
    let node = TestNode::start(styled(Native, routes(), newer));
    assert_eq!(node.get("/prod/none").await.json()["code"], "RESOURCE_NOT_FOUND");
}
