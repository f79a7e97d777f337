//! What public audits of GraphQL servers try, and others: bombs, guesses at the schema, other sites' pages.

use std::fmt::Write;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;

use crate::rest::BODY_BYTES_MAX;
use crate::testing;

/// An answer to a broken request is not much longer than what was sent.
const REFUSAL_BYTES_MAX: usize = 32 * 1024;

struct Target {
    router: Router,
    token: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn message(&self) -> String {
        self.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Nothing ran, and the caller is told what to mend.
    #[track_caller]
    fn is_refused(&self, code: &str) {
        let answer = self.json();
        assert!(self.status.is_client_error() && answer.get("data").is_none(), "{answer}");
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
        assert!(self.text.len() < REFUSAL_BYTES_MAX, "{} bytes", self.text.len());
    }
}

impl Target {
    async fn open(db: PgPool) -> Self {
        let app = testing::app(db).await;
        let token = testing::token(&app, &testing::owner(&app).await);
        Self { router: crate::http::router(&app), token }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    fn post(&self, user: bool, body: impl Into<Body>) -> Request<Body> {
        let mut request = Request::post("/graphql").header("content-type", "application/json");
        if user {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        request.body(body.into()).unwrap()
    }

    async fn nobody_asks(&self, query: &str) -> Answer {
        self.send(self.post(false, json!({ "query": query }).to_string())).await
    }

    async fn user_asks(&self, query: &str) -> Answer {
        self.send(self.post(true, json!({ "query": query }).to_string())).await
    }
}

fn each(count: usize, part: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut all, n| {
        let _ = write!(all, "{} ", part(n));
        all
    })
}

#[sqlx::test(migrations = "../migrations")]
async fn a_bomb_is_refused_before_anything_runs(db: PgPool) {
    let target = Target::open(db).await;
    let aliases = each(101, |n| format!("alias{n}: __typename"));
    let guesses = each(11, |n| {
        format!("a{n}: logIn(input: {{ email: \"a@b.c\", password: \"{n}\" }}) {{ accessToken }}")
    });
    let doubling = each(16, |n| format!("fragment F{n} on Viewer {{ ...F{0} ...F{0} }}", n + 1));
    let bombs = [
        format!("{{ {aliases} }}"),
        format!("{{ {} }}", each(500, |_| "__typename".to_owned())),
        format!("mutation {{ {guesses} }}"),
        format!("{{ __typename {} }}", each(10, |_| "@skip(if: false)".to_owned())),
        format!("query {} {{ __typename }}", each(10, |_| "@include(if: true)".to_owned())),
        format!("{{ ... {} {{ __typename }} }}", each(10, |_| "@skip(if: false)".to_owned())),
        format!("{{ viewer {{ ...F0 }} }} {doubling} fragment F16 on Viewer {{ operator }}"),
        each(11, |n| format!("query Q{n} {{ __typename }}")),
        "{ usagePlans(first: 100) { nodes { apiKeys(first: 100) { nodes { id } } } } }".to_owned(),
        format!("{{ __typename }} #{}", "x".repeat(64 * 1024)),
    ];
    for bomb in &bombs {
        for answer in [target.nobody_asks(bomb).await, target.user_asks(bomb).await] {
            answer.is_refused("limit_exceeded");
        }
    }
    let circle = "{ ...A } fragment A on Query { ...A }";
    target.nobody_asks(circle).await.is_refused("bad_request");
}

#[sqlx::test(migrations = "../migrations")]
async fn nesting_never_gets_to_who_reads_by_recursion(db: PgPool) {
    let target = Target::open(db).await;
    for (open, close) in [("{a", "}"), ("[", "]"), ("{a(b:", ")}")] {
        for levels in [100, 1000, 5000, 8000] {
            let (opened, closed) = (open.repeat(levels), close.repeat(levels));
            for document in [
                opened.clone(),
                format!("{opened}{closed}"),
                format!("{{ nodes(ids: {opened}1{closed}) {{ id }} }}"),
                format!("query($v: {opened}Int{closed}) {{ __typename }}"),
            ] {
                target.nobody_asks(&document).await.is_refused("limit_exceeded");
            }
        }
    }
    // A block string without end is none to the parser: it reads on behind the first two quotes, and looks for the
    // end of each anew.
    let hidden = [100, 1000, 3000]
        .map(|levels| format!("\"\"\"x\" {}1{}", "[".repeat(levels), "]".repeat(levels)));
    let slow = "\"\"\"\\\"\"".repeat(10_000);
    for hidden in hidden.into_iter().chain([slow]) {
        let answer = target.nobody_asks(&format!("{{ nodes(ids: [{hidden}]) {{ id }} }}")).await;
        answer.is_refused("bad_request");
        assert!(answer.message().contains("block string"), "{}", answer.text);
    }
    // As text, brackets are no nesting.
    let text =
        format!("{{ nodes(ids: [\"{}\"]) {{ id }} }} # {}", "[".repeat(100), "{".repeat(100));
    let answer = target.user_asks(&text).await;
    assert!(answer.message().contains("not an id"), "{}", answer.text);
}

#[sqlx::test(migrations = "../migrations")]
async fn requests_come_one_by_one(db: PgPool) {
    let target = Target::open(db).await;
    for batch in [
        "[]",
        r#"[{"query":"{ __typename }"}]"#,
        r#"[{"query":"{ a: __typename }"},{"query":"{ b: __typename }"}]"#,
    ] {
        target.send(target.post(true, batch)).await.is_refused("bad_request");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_wrong_with_a_document_is_told_in_few_words(db: PgPool) {
    let target = Target::open(db).await;
    let unused = each(4000, |n| format!("$v{n}: Int"));
    let unknown = each(40, |n| format!("{}{n}", "x".repeat(300)));
    let documents = [
        format!("query({unused}) {{ __typename }}"),
        format!("{{ {unknown} }}"),
        format!("{{ __typename }} {}", each(99, |n| format!("fragment F{n} on Nothing {{ a }}"))),
    ];
    for document in &documents {
        let answer = target.user_asks(document).await;
        answer.is_refused("bad_request");
        assert!(answer.json()["errors"].as_array().unwrap().len() <= 20);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn deep_and_wide_variables_end_in_a_refusal(db: PgPool) {
    let target = Target::open(db).await;
    let with = |variables: String| {
        let query = "query($v: [ID!]!) { nodes(ids: $v) { id } }";
        format!("{{\"query\":\"{query}\",\"variables\":{variables}}}")
    };
    let nested = |depth: usize| format!("{{\"v\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let objects =
        |depth: usize| format!("{{\"v\":{}1{}}}", "{\"v\":".repeat(depth), "}".repeat(depth));
    for depth in [2, 100, 500, 100_000] {
        for variables in [nested(depth), objects(depth)] {
            target.send(target.post(true, with(variables))).await.is_refused("bad_request");
        }
    }
    let wide = json!({ "v": vec!["x"; 10_001] }).to_string();
    target.send(target.post(true, with(wide))).await.is_refused("limit_exceeded");
    let long = with(json!({ "v": "x".repeat(BODY_BYTES_MAX) }).to_string());
    let answer = target.send(target.post(true, long)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.text);
}

#[sqlx::test(migrations = "../migrations")]
async fn nobody_learns_the_schema(db: PgPool) {
    let target = Target::open(db).await;
    for question in [
        "{ __schema { queryType { name } } }",
        "{ s: __schema { types { name } } }",
        "{ __type(name: \"Api\") { name } }",
        "{ ... { __type(name: \"Api\") { name } } }",
        "{ ... on Query { ...A } } fragment A on Query { __schema { types { name } } }",
        "mutation { __type(name: \"Api\") { name } }",
        "query A { __typename } query B { __schema { types { name } } }",
    ] {
        let answer = target.nobody_asks(question).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{question}: {}", answer.text);
        assert!(answer.json().get("data").is_none(), "{question}");
    }
    // What is not there is said; what is there instead is for who may ask.
    for (question, suggested) in [
        ("{ viewe { operator } }", "\"viewer\""),
        ("{ apis(last: 1, firs: 1) { nodes { id } } }", "\"first\""),
        ("mutation { logInn { accessToken } }", "\"logIn\""),
    ] {
        let (nobody, user) = (target.nobody_asks(question).await, target.user_asks(question).await);
        nobody.is_refused("bad_request");
        assert!(nobody.message().starts_with("Unknown "), "{}", nobody.text);
        assert!(!nobody.text.contains("Did you mean") && !nobody.message().contains(suggested));
        assert!(user.message().contains(suggested), "{}", user.text);
    }
}

/// A page elsewhere can make a browser send these with its cookies, and no others unasked.
#[sqlx::test(migrations = "../migrations")]
async fn another_sites_page_can_ask_nothing(db: PgPool) {
    let target = Target::open(db).await;
    let body = json!({ "query": "{ __typename }" }).to_string();
    for simple in [
        None,
        Some("text/plain"),
        Some("text/plain; application/json"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/graphql"),
    ] {
        let mut request = target.post(false, body.clone());
        request.headers_mut().remove(header::CONTENT_TYPE);
        if let Some(simple) = simple {
            request.headers_mut().insert(header::CONTENT_TYPE, simple.parse().unwrap());
        }
        let answer = target.send(request).await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{simple:?}: {}",
            answer.text
        );
    }
    for uri in ["/graphql?query=%7B__typename%7D", "/graphql?query=mutation%7BlogIn%7D", "/graphql"]
    {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            let request = Request::builder().method(method.clone()).uri(uri);
            let answer = target.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {uri}");
        }
    }
    // A browser asks first whether it may send JSON, and is not told so.
    let mut asked = Request::options("/graphql").body(Body::empty()).unwrap();
    asked.headers_mut().insert(header::ORIGIN, "https://evil.example".parse().unwrap());
    asked.headers_mut().insert("access-control-request-method", "POST".parse().unwrap());
    let answer = target.send(asked).await;
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")));

    // And a cookie opens nothing here.
    let login =
        json!({ "email": "eve@example.com", "password": "violet otter juggles", "tenant": "eve" });
    let signed_up = Request::post("/v1/signup").header("content-type", "application/json");
    let signed_up = target.send(signed_up.body(login.to_string().into()).unwrap()).await;
    let cookie = signed_up.headers[header::SET_COOKIE]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let mut request =
        target.post(false, json!({ "query": "{ apis(first: 1) { nodes { id } } }" }).to_string());
    request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
    assert_eq!(target.send(request).await.status, StatusCode::UNAUTHORIZED);
}
