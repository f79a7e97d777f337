//! What strangers send: each a precise 4xx that names the field, none a 500, nothing half-written.

use harness::{Answer, Client, Tenant, World, tenant};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The answer to something wrong: a problem with this status, whose `param` is that field.
fn assert_problem(answer: &Answer, status: u16, param: Option<&str>, what: &str) {
    assert_eq!(answer.status(), status, "{what}: {}", answer.text());
    let kind = answer.header("content-type").unwrap_or_default();
    assert_eq!(kind, "application/problem+json", "{what}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{what}");
    assert!(problem["code"].is_string() && problem["detail"].is_string(), "{what}: {problem}");
    assert_eq!(problem["requestId"].as_str(), answer.header("x-request-id"), "{what}");
    if let Some(param) = param {
        assert_eq!(problem["param"], param, "{what}: {problem}");
    }
}

#[tokio::test]
async fn rest_refuses_bodies_that_it_cannot_read() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let post = || acme.rest("POST", "/v1/apis");
    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(3 * 1024 * 1024));
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let table: [(&str, harness::client::Call, &[u16]); 8] = [
        (
            "malformed JSON",
            post().header("content-type", "application/json").body("{\"name\":"),
            &[400],
        ),
        ("no body", post().header("content-type", "application/json"), &[400]),
        ("a list", post().json(&json!([])), &[400, 422]),
        ("deep nesting", post().header("content-type", "application/json").body(deep), &[400]),
        (
            "not UTF-8",
            post().header("content-type", "application/json").body(vec![b'{', 0xff, b'}']),
            &[400],
        ),
        ("no content type", post().body("{\"name\":\"pets\"}"), &[415]),
        (
            "a form",
            post().header("content-type", "application/x-www-form-urlencoded").body("name=pets"),
            &[415],
        ),
        ("an oversized body", post().header("content-type", "application/json").body(long), &[413]),
    ];
    for (what, call, statuses) in table {
        let answer = call.await;
        assert!(
            statuses.contains(&answer.status()),
            "{what}: {} {}",
            answer.status(),
            answer.text()
        );
        assert_problem(&answer, answer.status(), None, what);
    }
    assert_eq!(acme.rest("GET", "/v1/apis").await.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn rest_names_the_field_that_is_wrong() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await;
    let routes = format!("/v1/apis/{}/routes", api.api_id);
    let route = |integration: Value| json!({ "method": "GET", "path": "/pets", "integration": integration });
    let proxy = |uri: &str| route(json!({ "type": "HTTP_PROXY", "uri": uri }));
    let table = [
        ("/v1/apis", json!({ "name": "" }), "name"),
        ("/v1/apis", json!({ "name": "a".repeat(129) }), "name"),
        ("/v1/apis", json!({ "name": "pets", "colour": "red" }), "colour"),
        ("/v1/apis", json!({ "name": 7 }), "name"),
        ("/v1/apis", json!({}), "name"),
        ("/v1/apis", json!({ "name": "pets", "protocol": "GOPHER" }), "protocol"),
        (&routes, proxy("not a URL"), "integration.uri"),
        (&routes, proxy("ftp://example.com/"), "integration.uri"),
        (&routes, proxy("http://user:secret@example.com/"), "integration.uri"),
        (
            &routes,
            json!({ "method": "FETCH ME", "path": "/pets", "integration": { "type": "MOCK" } }),
            "method",
        ),
        (
            &routes,
            json!({ "method": "GET", "path": "pets", "integration": { "type": "MOCK" } }),
            "path",
        ),
        (
            &routes,
            json!({ "method": "GET", "path": "/{a}/{a}", "integration": { "type": "MOCK" } }),
            "path",
        ),
        (&routes, route(json!({ "type": "TELNET" })), "integration.type"),
    ];
    refuses(&acme, &table).await;
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=%00nonsense", "cursor"),
        ("limit=many", "limit"),
    ] {
        assert_problem(
            &acme.rest("GET", &format!("/v1/apis?{query}")).await,
            400,
            Some(param),
            query,
        );
    }
}

#[tokio::test]
async fn rest_names_what_is_wrong_with_a_limit() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await;
    let stages = format!("/v1/apis/{}/stages", api.api_id);
    let plan = |throttle: Value| json!({ "name": "gold", "throttle": throttle });
    let in_flight =
        |most: Value| json!({ "name": "gold", "concurrencyLimit": { "maxInFlight": most } });
    let quota = |terms: Value| {
        let mut quota = json!({ "limit": 1, "period": "DAY" });
        quota.as_object_mut().unwrap().append(&mut terms.as_object().unwrap().clone());
        json!({ "name": "gold", "quota": quota })
    };
    let table = [
        (
            "/v1/usage-plans",
            plan(json!({ "rateLimit": -1, "burstLimit": 1 })),
            "throttle.rateLimit",
        ),
        (
            "/v1/usage-plans",
            plan(json!({ "rateLimit": 1, "burstLimit": -1 })),
            "throttle.burstLimit",
        ),
        (
            "/v1/usage-plans",
            plan(json!({ "rateLimit": 1, "burstLimit": 1, "enforcement": "SOFT" })),
            "throttle.enforcement",
        ),
        ("/v1/usage-plans", in_flight(json!(0)), "concurrencyLimit.maxInFlight"),
        ("/v1/usage-plans", in_flight(json!(-1)), "concurrencyLimit.maxInFlight"),
        ("/v1/usage-plans", in_flight(json!(1_000_001)), "concurrencyLimit.maxInFlight"),
        (
            "/v1/usage-plans",
            in_flight(json!(1_000_000_000_000_i64)),
            "concurrencyLimit.maxInFlight",
        ),
        ("/v1/usage-plans", in_flight(json!(1.5)), "concurrencyLimit.maxInFlight"),
        (
            "/v1/usage-plans",
            json!({ "name": "gold", "quota": { "limit": 0, "period": "DAY" } }),
            "quota.limit",
        ),
        (
            "/v1/usage-plans",
            json!({ "name": "gold", "quota": { "limit": 1, "period": "YEAR" } }),
            "quota.period",
        ),
        ("/v1/usage-plans", quota(json!({ "timeZone": "Mars/Olympus_Mons" })), "quota.timeZone"),
        ("/v1/usage-plans", quota(json!({ "anchor": "ANNIVERSARY" })), "quota.startsAt"),
        ("/v1/usage-plans", quota(json!({ "startsAt": "2026-01-31T00:00:00Z" })), "quota.startsAt"),
        (
            "/v1/usage-plans",
            quota(json!({ "anchor": "ANNIVERSARY", "startsAt": "2126-01-31T00:00:00Z" })),
            "quota.startsAt",
        ),
        ("/v1/usage-plans", quota(json!({ "initialUsed": -1 })), "quota.initialUsed"),
        ("/v1/usage-plans", quota(json!({ "initialUsed": 2 })), "quota.initialUsed"),
        ("/v1/usage-plans", quota(json!({ "enforcement": "MILD" })), "quota.enforcement"),
        (
            &stages,
            json!({ "name": "prod", "clientThrottles": [
                { "name": "per-ip", "key": "COOKIE", "rateLimit": 1, "burstLimit": 1 },
            ] }),
            "clientThrottles[0].key",
        ),
        (
            &stages,
            json!({ "name": "prod", "clientThrottles": [
                { "name": "per-user", "key": "HEADER", "rateLimit": 1, "burstLimit": 1 },
            ] }),
            "clientThrottles[0].headerName",
        ),
    ];
    refuses(&acme, &table).await;
}

/// Each of these is refused, by the name of its field.
async fn refuses(acme: &Tenant<'_>, table: &[(&str, Value, &str)]) {
    for (path, body, param) in table {
        let answer = acme.rest("POST", path).json(body).await;
        assert_problem(&answer, 400, Some(param), &body.to_string());
    }
}

#[tokio::test]
async fn what_exists_already_is_a_conflict() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let origin = world.origin().await;
    let api = acme.api("pets").await.get_route("/pets", &origin).await;

    let route = json!({ "method": "GET", "path": "/pets", "integration": { "type": "MOCK", "mockResponse": { "status": 200 } } });
    let answer = acme.rest("POST", &format!("/v1/apis/{}/routes", api.api_id)).json(&route).await;
    assert_problem(&answer, 409, None, "a route twice");
    let plan = json!({ "name": "gold" });
    acme.rest("POST", "/v1/usage-plans").json(&plan).await.expect(201);
    assert_problem(
        &acme.rest("POST", "/v1/usage-plans").json(&plan).await,
        409,
        Some("name"),
        "a plan twice",
    );
    let who =
        json!({ "email": "acme@EXAMPLE.com", "password": tenant::PASSWORD, "tenant": "another" });
    assert_problem(
        &world.management().post("/v1/signup").json(&who).await,
        409,
        Some("email"),
        "an email twice",
    );
    let who = json!({ "email": "new@example.com", "password": tenant::PASSWORD, "tenant": "acme" });
    assert_problem(
        &world.management().post("/v1/signup").json(&who).await,
        409,
        Some("tenant"),
        "a tenant twice",
    );
}

#[tokio::test]
async fn sign_up_and_log_in_refuse_what_is_weak_or_wrong() {
    let world = World::start().await;
    let management = world.management();
    let sign_up = |email: &str, password: &str, tenant: &str| {
        management
            .post("/v1/signup")
            .json(&json!({ "email": email, "password": password, "tenant": tenant }))
    };
    let good = tenant::PASSWORD;
    for (call, param) in [
        (sign_up("nobody", good, "acme"), "email"),
        (sign_up("a@b", good, &"t".repeat(129)), "tenant"),
        (sign_up("ann@example.com", "short", "acme"), "password"),
        (sign_up("ann@example.com", good, ""), "tenant"),
        (sign_up("ann@example.com", &"p".repeat(5000), "acme"), "password"),
    ] {
        assert_problem(&call.await, 400, Some(param), param);
    }
    sign_up("ann@example.com", good, "acme").await.expect(201);
    let log_in = |email: &str, password: &str| {
        management.post("/v1/login").json(&json!({ "email": email, "password": password }))
    };
    // The same words for an unknown person and a wrong password: nobody learns who is here.
    let (unknown, wrong) = (
        log_in("bob@example.com", good).await,
        log_in("ann@example.com", "not the password!").await,
    );
    assert_problem(&unknown, 401, None, "an unknown person");
    assert_problem(&wrong, 401, None, "a wrong password");
    assert_eq!(unknown.json()["detail"], wrong.json()["detail"]);
}

#[tokio::test]
async fn expired_and_forged_tokens_open_nothing() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let parts: Vec<&str> = acme.token.split('.').collect();
    let none = base64::Engine::encode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        br#"{"alg":"none","typ":"JWT"}"#,
    );
    let claims = |change: &dyn Fn(&mut Value)| {
        use base64::Engine;
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let mut claims: Value = serde_json::from_slice(&engine.decode(parts[1]).unwrap()).unwrap();
        change(&mut claims);
        engine.encode(claims.to_string())
    };
    let later = claims(&|claims| claims["exp"] = json!(4_000_000_000_u64));
    let flipped: String = parts[2].chars().rev().collect();
    let table = [
        ("no token", String::new()),
        ("nonsense", "nonsense".to_owned()),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("algorithm none", format!("{none}.{}.", parts[1])),
        ("another signature", format!("{}.{}.{flipped}", parts[0], parts[1])),
        ("changed claims", format!("{}.{later}.{}", parts[0], parts[2])),
    ];
    for (what, token) in table {
        let answer = world.management().get("/v1/apis").bearer(&token).await;
        assert_problem(&answer, 401, None, what);
        let answer =
            tenant::graphql(&world, Some(&token), "{ viewer { user { email } } }", json!({})).await;
        let body = answer.json();
        assert_eq!(body["errors"][0]["extensions"]["code"], "unauthenticated", "{what}: {body}");
        assert!(body["data"].is_null(), "{what}: {body}");
    }
}

#[tokio::test]
async fn graphql_bombs_are_refused_before_they_are_run() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let nested = format!(
        "{{ apis(first: 1) {{ nodes {{ {} id {} }} }} }}",
        "stages(first: 1) { nodes { api { ".repeat(20),
        "} } }".repeat(20)
    );
    let wide = format!(
        "{{ {} }}",
        (0..2000)
            .map(|number| format!("a{number}: viewer {{ user {{ email }} }}"))
            .collect::<Vec<_>>()
            .join(" ")
    );
    let pages = "{ apis(first: 100) { nodes { routes(first: 100) { nodes { id } } stages(first: 100) { nodes { id } } \
                 deployments(first: 100) { nodes { id } } integrations(first: 100) { nodes { id } } } } \
                 more: apis(first: 100) { nodes { routes(first: 100) { nodes { id } } stages(first: 100) { nodes { api { routes(first: 100) { nodes { id } } } } } } } }";
    let table = [
        ("deep nesting", nested),
        ("a thousand aliases", wide),
        ("pages of pages", pages.to_owned()),
        ("a page of 101", "{ apis(first: 101) { nodes { id } } }".to_owned()),
        ("a negative page", "{ apis(first: -1) { nodes { id } } }".to_owned()),
        ("101 ids", format!("{{ nodes(ids: [{}]) {{ id }} }}", "\"x\",".repeat(101))),
        (
            "a fragment in itself",
            "{ viewer { ...a } } fragment a on Viewer { user { id } ...a }".to_owned(),
        ),
        ("an unknown field", "{ viewer { shoeSize } }".to_owned()),
        ("half a query", "{ viewer {".to_owned()),
        ("brackets", format!("{}{}", "{a".repeat(10_000), "}".repeat(10_000))),
    ];
    for (what, query) in table {
        let answer = acme.try_graphql(&query, json!({})).await;
        assert!(
            matches!(answer.status(), 200 | 400 | 413 | 422),
            "{what}: {} {}",
            answer.status(),
            answer.text()
        );
        let body = answer.json();
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("{what} passed: {body}"));
        assert_ne!(errors[0]["extensions"]["code"], "internal", "{what}: {body}");
        assert!(body["data"].is_null(), "{what}: {body}");
    }
    let unknown = json!({ "input": { "name": "pets", "colour": "red" } });
    let query = "mutation($input: CreateApiInput!) { createApi(input: $input) { api { id } } }";
    let body = acme.try_graphql(query, unknown).await.json();
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("colour"), "{body}");
    // Nothing but a POST of application/json runs anything: no forged form, no link.
    let form = world
        .management()
        .post("/graphql")
        .bearer(&acme.token)
        .header("content-type", "text/plain");
    assert_eq!(form.body("{\"query\":\"{ viewer { operator } }\"}").await.status() / 100, 4);
    let link = world
        .management()
        .get("/graphql?query=%7Bviewer%7Boperator%7D%7D")
        .bearer(&acme.token)
        .await;
    assert!(!link.text().contains("\"operator\""), "{}", link.text());
}

/// Tries a backend: refused when the route is written, or else never reached by the node.
async fn assert_unreachable(world: &World, acme: &Tenant<'_>, number: usize, uri: &str) {
    let api = acme.api(&format!("forbidden {number}")).await;
    let integration = json!({ "type": "HTTP_PROXY", "uri": uri });
    let body = json!({ "method": "GET", "path": "/x", "integration": integration });
    let answer = acme.rest("POST", &format!("/v1/apis/{}/routes", api.api_id)).json(&body).await;
    if answer.status() == 400 {
        assert_problem(&answer, 400, Some("integration.uri"), uri);
        return;
    }
    let _ = answer.expect(201);
    let api = api.deploy("prod").await;
    let answer = api.get("/x").await;
    assert!(
        matches!(answer.status(), 502..=504 | 403),
        "{uri} answered {}: {}",
        answer.status(),
        answer.text()
    );
    assert!(
        world.listeners().len() == 5 && !answer.text().contains("tollgate_"),
        "{uri} leaked: {}",
        answer.text()
    );
}

#[tokio::test]
async fn no_backend_may_be_a_forbidden_address() {
    // Loopback is open here, as under `up`; our own ports stay closed all the same.
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let own = world.listeners();
    let mut uris: Vec<String> =
        own.iter().map(|address| format!("http://{address}/metrics")).collect();
    let port = own[1].port();
    uris.extend([
        format!("http://localhost:{port}/metrics"),
        format!("http://[::ffff:127.0.0.1]:{port}/metrics"),
        format!("http://0.0.0.0:{port}/metrics"),
        format!("http://2130706433:{port}/metrics"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::ffff:169.254.169.254]/latest/meta-data/".to_owned(),
        "http://[64:ff9b::a9fe:a9fe]/latest/meta-data/".to_owned(),
        "http://[2002:a9fe:a9fe::1]/latest/meta-data/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://192.168.0.1/".to_owned(),
        "http://100.64.0.1/".to_owned(),
        "http://[fd00::1]/".to_owned(),
        "http://[fe80::1]/".to_owned(),
    ]);
    for (number, uri) in uris.iter().enumerate() {
        assert_unreachable(&world, &acme, number, uri).await;
    }
}

#[tokio::test]
async fn a_redirect_of_a_backend_is_passed_on_and_not_followed() {
    let world = World::start().await;
    let origin = world.origin().await.replies(302, "moved");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
    assert_eq!(api.get("/pets").await.expect(302).text(), "moved");
    assert_eq!(origin.received().len(), 1);
}

#[tokio::test]
async fn a_node_refuses_what_is_not_http_and_what_is_too_large() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
    let client: Client = api.client();

    let long = format!("/prod/pets?{}", "a".repeat(20 * 1024));
    assert!(matches!(client.get(&long).await.status(), 414 | 431), "a long address");
    let big = "b".repeat(40 * 1024);
    assert_eq!(api.get("/pets").header("x-big", &big).await.status(), 431, "large headers");
    let nobody = world.endpoint().host("nobodyhere.execute-api.localhost").get("/prod/pets").await;
    assert!(matches!(nobody.status(), 403 | 404), "an unknown API: {}", nobody.status());
    assert_eq!(
        world.endpoint().get("/metrics").await.status() / 100,
        4,
        "admin pages are on their own port"
    );
    api.get("/nowhere").await.expect(404);
    let answer = api.call("DELETE", "/pets").await.expect(405);
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");

    // Two lengths that differ, as smugglers send them.
    let mut stream = tokio::net::TcpStream::connect(world.endpoint_address()).await.unwrap();
    let request = format!(
        "POST /prod/pets HTTP/1.1\r\nhost: {}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        api.host()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(origin.received().len(), 0);
}
