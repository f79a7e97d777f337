//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10) on every answer of the two doors, and
//! 429 where the allowance is spent.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::allowance::{CHANGE, READ, SUM, Spender, Standing, WINDOW_SECONDS};
use crate::app::App;
use crate::error::Result;
use crate::rest::{extract, request_log};

/// The paths for which much may have to be added up.
const SUMS: [&str; 3] =
    ["/v1/usage/groups", "/v1/usage/exports", "/v1/usage-plans/{usagePlanId}/usage"];

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Lets whoever a token names that we signed, whether or not the session still is, pay for the request; else the
/// address. Who is named finds what is paid for in the log.
pub fn spend(
    app: &App,
    headers: &HeaderMap,
    extensions: &Extensions,
    points: u32,
) -> (Spender, Standing, Result<()>) {
    let token = headers.get(header::AUTHORIZATION).and_then(extract::bearer);
    let bearer = token.and_then(|token| app.tokens.verify(&app.clock, token).ok());
    let spender = match &bearer {
        Some(bearer) => Spender::User(bearer.user),
        None => Spender::Address(extract::address(extensions)),
    };
    let (standing, allowed) = app.allowance.spend(&spender, points);
    if let (Ok(()), Some(bearer)) = (&allowed, &bearer) {
        request_log::keep(app, bearer);
    }
    (spender, standing, allowed)
}

/// Tells the caller where the allowance stands: `q` points in all, given back within `w` seconds; `r` are left, and
/// after `t` seconds none is missing.
pub fn tell(standing: Standing, headers: &mut HeaderMap) {
    let Standing { name, limit, remaining } = standing;
    let resets = standing.resets_in_seconds();
    for (field, text) in [
        (POLICY, format!("\"{name}\";q={limit};w={WINDOW_SECONDS}")),
        (STATE, format!("\"{name}\";r={remaining};t={resets}")),
    ] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(field, value);
        }
    }
}

/// The layer around REST.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let points = match *request.method() {
        _ if path.is_some_and(|path| SUMS.contains(&path)) => SUM,
        Method::GET | Method::HEAD | Method::OPTIONS => READ,
        _ => CHANGE,
    };
    let (_, standing, allowed) = spend(&app, request.headers(), request.extensions(), points);
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    tell(standing, response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Router;
    use axum::body::{Body, Bytes, to_bytes};
    use futures_util::stream;
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::access::allowance::Allowance;
    use crate::testing;

    struct Got {
        status: u16,
        headers: HeaderMap,
        body: Value,
    }

    impl Got {
        fn field(&self, name: &str) -> &str {
            self.headers.get(name).map_or("", |value| value.to_str().unwrap())
        }

        /// What `RateLimit` says is left.
        fn remaining(&self) -> u32 {
            let mut parts = self.field("ratelimit").split(';');
            parts.find_map(|part| part.strip_prefix("r=")).unwrap().parse().unwrap()
        }
    }

    async fn call(router: &Router, line: &str, token: &str, body: Value) -> Got {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        let response = router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Got { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    /// An application whose callers have so many points.
    async fn with_points(db: PgPool, points: u32) -> App {
        let mut app = testing::app(db).await;
        let points = NonZeroU32::new(points).unwrap();
        let mut config = testing::config();
        config.user_points_per_minute = points;
        config.address_points_per_minute = points;
        app.allowance = Arc::new(Allowance::new(&config));
        app
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn each_answer_tells_what_is_left_and_a_spent_allowance_is_429(db: PgPool) {
        let app = with_points(db, 20).await;
        let router = crate::http::router(&app);
        let alice = testing::token(&app, &testing::owner(&app).await);
        let bob = testing::token(&app, &testing::owner(&app).await);

        let read = call(&router, "GET /v1/apis", &alice, Value::Null).await;
        assert_eq!((read.status, read.remaining()), (200, 20 - READ));
        assert_eq!(read.field("ratelimit-policy"), "\"user\";q=20;w=60");
        let plan = json!({ "name": "gold" });
        let changed = call(&router, "POST /v1/usage-plans", &alice, plan).await;
        assert_eq!(changed.status, 201);
        assert!(changed.remaining() <= 20 - READ - CHANGE + 1, "{}", changed.remaining());
        let mut refused = changed;
        for _ in 0..20 {
            refused = call(&router, "POST /v1/usage-plans", &alice, json!({})).await;
            if refused.status == 429 {
                break;
            }
        }
        assert_eq!((refused.status, &refused.body["code"]), (429, &json!("too_many_requests")));
        let wait: u32 = refused.field("retry-after").parse().unwrap();
        assert!((1..=15).contains(&wait), "{wait}");
        assert_eq!(refused.remaining(), 0);
        assert!(refused.body["requestId"].is_string());

        // Nobody else is slowed: another user, or who has no token.
        assert_eq!(call(&router, "GET /v1/apis", &bob, Value::Null).await.status, 200);
        let nobody = call(&router, "GET /v1/apis", "", Value::Null).await;
        assert_eq!(nobody.status, 401);
        assert_eq!(nobody.field("ratelimit-policy"), "\"address\";q=20;w=60");
        // A forged token is nobody's.
        let forged = call(&router, "GET /v1/apis", "nonsense", Value::Null).await;
        assert_eq!(forged.field("ratelimit-policy"), "\"address\";q=20;w=60");
        assert_eq!(call(&router, "GET /livez", "", Value::Null).await.field("ratelimit"), "");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_adds_usage_up_is_dearer(db: PgPool) {
        let app = with_points(db, 100).await;
        let router = crate::http::router(&app);
        let alice = testing::token(&app, &testing::owner(&app).await);
        for (call_, least) in [
            ("GET /v1/usage/groups?since=2026-11-20T00:00:00Z", 100 - SUM),
            ("GET /v1/usage-plans/unknown/usage?since=2026-11-20T00:00:00Z", 100 - 2 * SUM),
            ("POST /v1/usage/exports", 100 - 3 * SUM),
            ("GET /v1/usage-plans", 100 - 3 * SUM - READ),
        ] {
            let left = call(&router, call_, &alice, Value::Null).await.remaining();
            assert!((least..least + SUM / 2).contains(&left), "{call_}: {left}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn nothing_is_read_of_a_graphql_request_that_cannot_be_paid(db: PgPool) {
        let app = with_points(db, 1).await;
        let router = crate::http::router(&app);
        let ask = async || {
            let read = Arc::<AtomicBool>::default();
            let seen = read.clone();
            let body = stream::once(async move {
                seen.store(true, Ordering::Relaxed);
                Ok::<_, Infallible>(Bytes::from(r#"{"query": "{"}"#))
            });
            let request = Request::post("/graphql").header("content-type", "application/json");
            let request = request.body(Body::from_stream(body)).unwrap();
            let status = router.clone().oneshot(request).await.unwrap().status().as_u16();
            (status, read.load(Ordering::Relaxed))
        };
        assert_eq!(ask().await, (400, true));
        assert_eq!(ask().await, (429, false));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_graphql_request_spends_what_it_costs(db: PgPool) {
        let app = with_points(db, 30).await;
        let router = crate::http::router(&app);
        let alice = testing::token(&app, &testing::owner(&app).await);
        let ask = async |query: &str| {
            call(&router, "POST /graphql", &alice, json!({ "query": query })).await
        };
        let all = "cost limit remaining used nodeCount resetAt";

        let got = ask(&format!("{{ rateLimit {{ {all} }} usagePlans(first: 9) {{ nodes {{ apiKeys(first: 1) {{ nodes {{ id }} }} }} }} }}")).await;
        let told = &got.body["data"]["rateLimit"];
        // The field itself, the plans, and the keys of each of nine.
        assert_eq!((got.status, &told["cost"]), (200, &json!(11)), "{}", got.body);
        assert_eq!((&told["limit"], &told["nodeCount"]), (&json!(30), &json!(18 + 1)));
        assert_eq!((&told["remaining"], &told["used"]), (&json!(19), &json!(11)));
        assert_eq!(got.remaining(), 19);

        let asked = format!(
            "query($n: Int) {{ rateLimit(dryRun: true) {{ {all} }} ...Plans }}
             fragment Plans on Query {{ usagePlans(first: $n) {{ nodes {{ apiKeys(last: 20) {{ nodes {{ id }} }} }} }} }}"
        );
        let body = json!({ "query": asked, "variables": { "n": 13 } });
        let dry = call(&router, "POST /graphql", &alice, body).await;
        let told = &dry.body["data"];
        assert_eq!(told["rateLimit"]["cost"], 17, "{}", dry.body);
        assert!(told.get("usagePlans").is_none() && dry.remaining() >= 18, "{}", dry.body);

        // In a fragment it would come too late.
        let late = "{ ...Late } fragment Late on Query { rateLimit(dryRun: true) { cost } }";
        assert_eq!(ask(late).await.body["errors"][0]["extensions"]["param"], "dryRun");

        let mut refused = got;
        for _ in 0..20 {
            let query =
                "mutation { a: createUsagePlan(input: { name: \"\" }) { userErrors { code } } }";
            refused = ask(query).await;
            if refused.status == 429 {
                break;
            }
        }
        let error = &refused.body["errors"][0]["extensions"];
        assert_eq!((refused.status, &error["code"]), (429, &json!("too_many_requests")));
        assert_eq!(error["retryAfterSeconds"].to_string(), refused.field("retry-after"));
        assert!(refused.body.get("data").is_none());
    }
}
