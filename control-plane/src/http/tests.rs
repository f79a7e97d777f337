use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;

use crate::access::actor::Actor;
use crate::app::App;
use crate::{Config, testing};

const PASSWORD: &str = "violet otter juggles";

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The name and value of the refresh cookie that the answer sets.
    fn cookie(&self) -> String {
        let set = self.header("set-cookie");
        set.split(';').next().unwrap().to_owned()
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response: Response<Body> = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Answer { status: parts.status, headers: parts.headers, text }
}

fn post(path: &str, body: &Value) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

fn bare(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

fn sign_up_body() -> Value {
    json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": "Engines" })
}

fn bearer(answer: &Answer) -> String {
    format!("Bearer {}", answer.json()["accessToken"].as_str().unwrap())
}

async fn open(db: PgPool) -> (App, Router) {
    let app = testing::app(db).await;
    let router = super::router(&app);
    (app, router)
}

#[sqlx::test(migrations = "../migrations")]
async fn a_sign_up_gives_a_token_and_a_cookie_that_serves_refreshing_only(db: PgPool) {
    let (_app, router) = open(db).await;

    let made = send(&router, post("/v1/signup", &sign_up_body())).await;

    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let body = made.json();
    assert_eq!(
        (&body["tenant"]["name"], &body["user"]["email"]),
        (&json!("Engines"), &json!("ada@example.com"))
    );
    assert_eq!(body["expiresInSeconds"], 600);
    let cookie = made.header("set-cookie");
    for attribute in [
        "tollgate_session=",
        "; Path=/v1/session",
        "; HttpOnly",
        "; SameSite=Strict",
        "; Max-Age=2592000",
    ] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure"));
    assert_eq!(made.header("cache-control"), "no-store");

    let me = send(&router, with(bare(Method::GET, "/v1/session"), "authorization", &bearer(&made)))
        .await;
    assert_eq!(me.json()["tenant"]["id"], body["tenant"]["id"]);
    assert_eq!((&me.json()["role"], &me.json()["operator"]), (&json!("owner"), &json!(false)));
    let by_cookie =
        send(&router, with(bare(Method::GET, "/v1/members"), "cookie", &made.cookie())).await;
    assert_eq!(by_cookie.status, StatusCode::UNAUTHORIZED);
}

#[sqlx::test(migrations = "../migrations")]
async fn over_tls_the_cookie_is_secure_and_the_origin_is_pinned(db: PgPool) {
    let mut app = testing::app(db).await;
    let public_url = "https://gate.example".to_owned();
    app.config = std::sync::Arc::new(Config { public_url, ..testing::config() });

    let made = send(&super::router(&app), post("/v1/signup", &sign_up_body())).await;

    assert!(made.header("set-cookie").ends_with("; Secure"));
    assert!(made.header("strict-transport-security").starts_with("max-age="));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_refresh_rotates_the_cookie_and_a_log_out_ends_all(db: PgPool) {
    let (app, router) = open(db).await;
    let made = send(&router, post("/v1/signup", &sign_up_body())).await;

    let refreshed =
        send(&router, with(bare(Method::POST, "/v1/session"), "cookie", &made.cookie())).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.text);
    assert_ne!(refreshed.cookie(), made.cookie());
    let other_tab =
        send(&router, with(bare(Method::POST, "/v1/session"), "cookie", &made.cookie())).await;
    assert_eq!((other_tab.status, other_tab.header("set-cookie")), (StatusCode::OK, ""));
    app.clock.advance(chrono::TimeDelta::minutes(5));
    let later =
        send(&router, with(bare(Method::POST, "/v1/session"), "cookie", &refreshed.cookie())).await;
    assert_eq!(later.status, StatusCode::OK);

    let token = bearer(&later);
    let out =
        send(&router, with(bare(Method::DELETE, "/v1/session"), "cookie", &later.cookie())).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.header("set-cookie").contains("tollgate_session=; Path=/v1/session; Max-Age=0"));
    let after =
        send(&router, with(bare(Method::POST, "/v1/session"), "cookie", &later.cookie())).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
    let after =
        send(&router, with(bare(Method::GET, "/v1/session"), "authorization", &token)).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
}

#[sqlx::test(migrations = "../migrations")]
async fn another_site_can_neither_refresh_nor_log_out(db: PgPool) {
    let (_app, router) = open(db).await;
    let made = send(&router, post("/v1/signup", &sign_up_body())).await;
    let refused = [
        ("origin", "https://evil.example"),
        ("origin", "http://127.0.0.1:9080"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    for method in [Method::POST, Method::DELETE] {
        for (name, value) in refused {
            let request = with(bare(method.clone(), "/v1/session"), "cookie", &made.cookie());
            let answer = send(&router, with(request, name, value)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
        }
    }
    for own in ["http://127.0.0.1:8080", "http://localhost:8080"] {
        let request = with(bare(Method::POST, "/v1/session"), "cookie", &made.cookie());
        let request = with(request, "sec-fetch-site", "same-origin");
        let answer = send(&router, with(request, "origin", own)).await;
        assert_eq!(answer.status, StatusCode::OK, "{own}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn graphql_signs_up_and_logs_in_with_the_same_cookie(db: PgPool) {
    let (_app, router) = open(db).await;
    let sign_up = json!({
        "query": "mutation($input: SignUpInput!) { signUp(input: $input) {
            tenant { id name } user { email } accessToken expiresInSeconds userErrors { code param } } }",
        "variables": { "input": sign_up_body() },
    });
    let made = send(&router, post("/graphql", &sign_up)).await;
    let payload = &made.json()["data"]["signUp"];
    assert_eq!(payload["userErrors"], json!([]), "{}", made.text);
    assert!(made.cookie().starts_with("tollgate_session="));

    let again = send(&router, post("/graphql", &sign_up)).await;
    let payload = &again.json()["data"]["signUp"];
    assert_eq!(payload["userErrors"], json!([{ "code": "CONFLICT", "param": "email" }]));
    assert_eq!((&payload["accessToken"], again.header("set-cookie")), (&Value::Null, ""));

    let log_in = |password: &str| {
        json!({
            "query": "mutation($input: LogInInput!) { logIn(input: $input) { accessToken userErrors { code } } }",
            "variables": { "input": { "email": "ada@example.com", "password": password } },
        })
    };
    let wrong = send(&router, post("/graphql", &log_in("quiet heron marches"))).await;
    assert_eq!(wrong.json()["errors"][0]["extensions"]["code"], "unauthenticated");
    let inside = send(&router, post("/graphql", &log_in(PASSWORD))).await;
    let token = inside.json()["data"]["logIn"]["accessToken"].as_str().unwrap().to_owned();
    assert!(inside.cookie().starts_with("tollgate_session="));

    let viewer = json!({ "query": "{ viewer { operator role user { email } tenant { name } }
        members(first: 5) { nodes { role user { email } } }
        auditEntries(first: 5) { nodes { action userEmail } pageInfo { hasNextPage } }
        installation { endpointTemplate } }" });
    let seen =
        send(&router, with(post("/graphql", &viewer), "authorization", &format!("Bearer {token}")))
            .await;
    let data = &seen.json()["data"];
    assert_eq!(data["viewer"]["role"], "OWNER", "{}", seen.text);
    assert_eq!(data["members"]["nodes"][0]["user"]["email"], "ada@example.com");
    let actions: Vec<_> = data["auditEntries"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| &node["action"])
        .collect();
    assert_eq!(actions, ["session.create", "tenant.create"]);
}

#[sqlx::test(migrations = "../migrations")]
async fn every_refusal_is_a_problem_that_says_what_to_mend(db: PgPool) {
    let (_app, router) = open(db).await;
    let text = |path: &str, kind: &str, body: String| {
        Request::post(path).header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
    };
    let deep = format!("{{\"email\":{}", "[".repeat(100_000));
    let large = format!("{{\"email\":\"{}\"}}", "a".repeat(1024 * 1024));
    let extra = json!({ "email": "a@b.c", "password": PASSWORD, "tenant": "x", "role": "owner" });
    let cases = [
        (bare(Method::GET, "/v1/nothing"), 404, "not_found", None),
        (bare(Method::GET, "/v1"), 404, "not_found", None),
        (bare(Method::POST, "/v1/nothing"), 404, "not_found", None),
        (bare(Method::GET, "/assets/gone.js"), 404, "not_found", None),
        (bare(Method::DELETE, "/v1/signup"), 405, "method_not_allowed", None),
        (bare(Method::POST, "/somewhere"), 405, "method_not_allowed", None),
        (
            text("/v1/signup", "text/plain", sign_up_body().to_string()),
            415,
            "unsupported_media_type",
            None,
        ),
        (text("/v1/signup", "application/json", large), 413, "too_large", None),
        (
            text("/v1/signup", "application/json", "{\"email\":".to_owned()),
            400,
            "bad_request",
            None,
        ),
        (text("/v1/signup", "application/json", deep), 400, "bad_request", Some("email")),
        (post("/v1/signup", &json!({ "email": "a@b.c" })), 400, "bad_request", Some("password")),
        (post("/v1/signup", &extra), 400, "bad_request", Some("role")),
        (
            post("/v1/login", &json!({ "email": 7, "password": "x" })),
            400,
            "bad_request",
            Some("email"),
        ),
        (bare(Method::GET, "/v1/session"), 401, "unauthenticated", None),
        (
            with(bare(Method::GET, "/v1/session"), "authorization", "Bearer x.y.z"),
            401,
            "unauthenticated",
            None,
        ),
        (
            with(bare(Method::GET, "/v1/session"), "authorization", "Basic eA=="),
            401,
            "unauthenticated",
            None,
        ),
        (bare(Method::POST, "/v1/session"), 401, "unauthenticated", None),
    ];
    for (request, status, code, param) in cases {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = send(&router, request).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
        let problem = answer.json();
        assert_eq!((&problem["code"], problem["param"].as_str()), (&json!(code), param), "{what}");
        assert_eq!(problem["requestId"], answer.header("x-request-id"), "{what}");
    }
    let wrong_method = send(&router, bare(Method::PUT, "/v1/session")).await;
    let mut allowed: Vec<_> = wrong_method.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "POST"]);
    let by_get = send(&router, bare(Method::GET, "/graphql?query={viewer{operator}}")).await;
    assert_eq!((by_get.status.as_u16(), by_get.header("allow")), (405, "POST"));
}

#[sqlx::test(migrations = "../migrations")]
async fn every_answer_tells_browsers_to_trust_nothing_else(db: PgPool) {
    let (_app, router) = open(db).await;
    for path in ["/", "/apis/abc", "/v1/nothing", "/livez", "/assets/gone.js"] {
        let answer = send(&router, bare(Method::GET, path)).await;
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "style-src 'self';",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert!(answer.header("permissions-policy").contains("camera=()"));
        assert_eq!(answer.header("x-request-id").len(), 36);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn any_page_of_the_console_is_the_one_page(db: PgPool) {
    let (_app, router) = open(db).await;
    let root = send(&router, bare(Method::GET, "/")).await;
    let page = send(&router, bare(Method::GET, "/usage-plans/new?x=1")).await;

    assert_eq!((root.status, &root.text), (page.status, &page.text));
    assert!(root.header("content-type").starts_with("text/html"));
    assert!(root.header("cache-control").starts_with("no-"));
    let head = send(&router, bare(Method::HEAD, "/")).await;
    assert_eq!((head.status, head.text.as_str()), (root.status, ""));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_schema_is_given_to_everybody_and_once_to_who_keeps_it(db: PgPool) {
    const PATH: &str = "/graphql/schema.graphql";
    let (_app, router) = open(db).await;
    let given = send(&router, bare(Method::GET, PATH)).await;
    assert_eq!(
        (given.status, given.text.as_str()),
        (StatusCode::OK, crate::graphql::schema_sdl().as_str())
    );
    assert_eq!(given.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(given.header("cache-control"), "no-cache");

    let tag = given.header("etag");
    for held in [tag.to_owned(), format!("\"other\", {tag}")] {
        let again = send(&router, with(bare(Method::GET, PATH), "if-none-match", &held)).await;
        let told = (again.status, again.text.as_str(), again.header("etag"));
        assert_eq!(told, (StatusCode::NOT_MODIFIED, "", tag), "{held}");
    }
    let other = send(&router, with(bare(Method::GET, PATH), "if-none-match", "\"other\"")).await;
    assert_eq!((other.status, other.text == given.text), (StatusCode::OK, true));

    let small = send(&router, with(bare(Method::GET, PATH), "accept-encoding", "gzip")).await;
    assert_eq!((small.header("content-encoding"), small.header("etag")), ("gzip", tag));
    let head = send(&router, bare(Method::HEAD, PATH)).await;
    assert_eq!((head.status, head.text.as_str(), head.header("etag")), (StatusCode::OK, "", tag));
    let written = send(&router, post(PATH, &json!({ "query": "{ viewer { operator } }" }))).await;
    assert_eq!(
        (written.status.as_u16(), written.json()["code"].as_str()),
        (405, Some("method_not_allowed"))
    );
    let beside = send(&router, bare(Method::GET, "/graphql/schema.json")).await;
    assert_eq!(beside.status, StatusCode::NOT_FOUND);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_panic_is_one_requests_failure_and_tells_nothing(db: PgPool) {
    use tower_http::catch_panic::CatchPanicLayer;
    let _ = db;
    let router = Router::new()
        .route("/", axum::routing::get(async || -> &'static str { panic!("secret detail") }))
        .layer(CatchPanicLayer::custom(super::guard::answer_panic))
        .layer(axum::middleware::from_fn(crate::rest::request_id::layer));

    let answer = send(&router, bare(Method::GET, "/")).await;

    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (500, Some("internal")));
    assert!(!answer.text.contains("secret"));
    assert_eq!(answer.json()["requestId"], answer.header("x-request-id"));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let router = Router::new()
        .route("/", axum::routing::get(async || std::future::pending::<&'static str>().await))
        .layer(axum::middleware::from_fn_with_state(Duration::ZERO, super::guard::bound_time));

    let answer = send(&router, bare(Method::GET, "/")).await;

    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (503, Some("timeout")));
}

#[sqlx::test(migrations = "../migrations")]
async fn readiness_follows_the_database_and_the_stop(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let stopping = tokio_util::sync::CancellationToken::new();
    let admin = super::admin::router(&app, stopping.clone());
    let ready = async || send(&admin, bare(Method::GET, "/readyz")).await.status.as_u16();

    assert_eq!(ready().await, 200);
    sqlx::query(
        "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)",
    )
    .execute(&db)
    .await
    .unwrap();
    assert_eq!(ready().await, 503);
    stopping.cancel();
    let answer = send(&admin, bare(Method::GET, "/readyz")).await;
    assert!(answer.text.contains("stopping"));
    assert_eq!(send(&admin, bare(Method::GET, "/livez")).await.status.as_u16(), 200);
}

#[sqlx::test(migrations = "../migrations")]
async fn metrics_name_route_templates_and_never_paths(db: PgPool) {
    let (app, router) = open(db).await;
    send(&router, bare(Method::GET, "/v1/session")).await;
    send(&router, bare(Method::GET, "/v1/usage-plans/abc123xyz0")).await;
    send(&router, bare(Method::GET, "/some-stranger-path")).await;
    let admin = super::admin::router(&app, tokio_util::sync::CancellationToken::new());

    let metrics = send(&admin, bare(Method::GET, "/metrics")).await.text;

    let line = "tollgate_http_requests_total{method=\"GET\",route=\"/v1/session\",status=\"4xx\"}";
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.contains("tollgate_database_connections{role=\"tollgate_app\""));
    assert!(!metrics.contains("abc123xyz0") && !metrics.contains("stranger"));
}

#[sqlx::test(migrations = "../migrations")]
async fn lists_page_by_cursor_and_refuse_strange_ones(db: PgPool) {
    let (app, router) = open(db).await;
    let made = send(&router, post("/v1/signup", &sign_up_body())).await;
    let token = bearer(&made);
    let tenant = made.json()["tenant"]["id"].as_str().unwrap().parse().unwrap();
    for _ in 0..4 {
        let _: Actor = testing::join(&app, tenant, crate::access::role::Role::Viewer).await;
    }
    let get = async |query: &str| {
        let path = format!("/v1/members{query}");
        send(&router, with(bare(Method::GET, &path), "authorization", &token)).await
    };

    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = get(&query).await.json();
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["user"]["id"].to_string()),
        );
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen.len(), 5);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);

    let not_a_uuid = crate::domain::page::Key::new("members", app.clock.now(), &"x").to_cursor();
    for (query, param) in [
        ("?limit=0".to_owned(), "limit"),
        ("?limit=101".to_owned(), "limit"),
        ("?cursor=zzz".to_owned(), "cursor"),
        (format!("?cursor={not_a_uuid}"), "cursor"),
        ("?page=2".to_owned(), "page"),
    ] {
        let answer = get(&query).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["param"].as_str()),
            (400, Some(param)),
            "{query}"
        );
    }
}
