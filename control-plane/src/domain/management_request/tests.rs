use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;

use super::*;
use crate::access::actor::Actor;
use crate::access::role::Role;
use crate::testing;

/// A call through the whole of the listener's layers: what was answered, and under which id.
async fn call(app: &App, token: &str, line: &str, fields: &[(&str, &str)], body: Value) -> Value {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let body = match body {
        Value::Null => Body::empty(),
        body => {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        }
    };
    let response = crate::http::router(app).oneshot(request.body(body).unwrap()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    json!({ "status": status, "id": headers["x-request-id"].to_str().unwrap(), "body": body })
}

fn ask(query: &str) -> Value {
    json!({ "query": query })
}

/// What the log has for this member, once all that waits is written.
async fn logged(app: &App, actor: &Actor) -> Vec<ManagementRequest> {
    testing::write_requests(app).await;
    let caller = Caller::Member(actor.clone());
    let filter = ManagementRequestFilter::default();
    list(app, &caller, &filter, &Page::default()).await.unwrap().items
}

#[sqlx::test(migrations = "../migrations")]
async fn a_request_is_kept_with_who_asked_and_how_it_ended_and_found_by_both_its_ids(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    let token = testing::token(&app, &alice);
    let own = [("x-request-id", "order-7/try:2")];

    let refused = call(&app, &token, "GET /v1/apis/abc123xyz0?x=secret", &own, Value::Null).await;

    let kept = logged(&app, &alice).await.remove(0);
    let id = refused["id"].as_str().unwrap();
    assert_eq!(
        ManagementRequest { duration_ms: 0, ..kept.clone() },
        ManagementRequest {
            id: ManagementRequestId(id.parse().unwrap()),
            client_request_id: Some("order-7/try:2".to_owned()),
            tenant: Some(alice.tenant),
            user: alice.user,
            user_email: Some(format!("{}@example.com", alice.user)),
            started_at: testing::noon(),
            duration_ms: 0,
            method: "GET".to_owned(),
            path: "/v1/apis/{apiId}".to_owned(),
            operations: vec![],
            status: Some(404),
            codes: vec!["not_found".to_owned()],
            address: String::new(),
            api_version: Some(crate::access::api_version::FIRST),
        }
    );
    let url = &refused["body"]["logUrl"];
    assert_eq!(url, &json!(format!("http://127.0.0.1:8080/settings/requests/{id}")));
    for named in [id, "order-7/try:2"] {
        let found = get(&app, &Caller::Member(alice.clone()), named).await.unwrap();
        assert_eq!(found, kept);
        let foreign = get(&app, &Caller::Member(mallory.clone()), named).await.unwrap_err();
        assert_eq!(foreign.code(), "not_found");
    }
    assert_eq!(logged(&app, &mallory).await, []);
}

#[sqlx::test(migrations = "../migrations")]
async fn of_graphql_the_log_has_what_was_asked_and_the_codes_of_both_kinds_of_errors(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let token = testing::token(&app, &alice);
    let graphql = async |query: &str| call(&app, &token, "POST /graphql", &[], ask(query)).await;

    let twice = "query Mine { ...Both a: apis(first: 1) { nodes { id } } } fragment Both on Query { members(first: 1) { nodes { id } } apis(first: 1) { nodes { id } } }";
    assert_eq!(graphql(twice).await["body"]["errors"], Value::Null);
    let wrong =
        "mutation { createApi(input: { name: \"\" }) { userErrors { code requestId logUrl } } }";
    let wrong = graphql(wrong).await;
    let refused = graphql("{ tenants(first: 1) { nodes { members } } }").await;
    let nonsense = graphql("{ nothing").await;

    let error = &wrong["body"]["data"]["createApi"]["userErrors"][0];
    let url = |answer: &Value| {
        format!("http://127.0.0.1:8080/settings/requests/{}", answer["id"].as_str().unwrap())
    };
    assert_eq!((&error["requestId"], &error["logUrl"]), (&wrong["id"], &json!(url(&wrong))));
    for answer in [&refused, &nonsense] {
        let extensions = &answer["body"]["errors"][0]["extensions"];
        assert_eq!(extensions["logUrl"], json!(url(answer)), "{answer}");
    }
    let mut kept = logged(&app, &alice).await;
    kept.sort_by_key(|request| request.id);
    let seen: Vec<Value> = kept
        .iter()
        .map(|request| json!([request.path, request.status, request.operations, request.codes]))
        .collect();
    assert_eq!(
        seen,
        [
            json!(["/graphql", 200, ["members", "apis"], []]),
            json!(["/graphql", 200, ["createApi"], ["bad_request"]]),
            json!(["/graphql", 200, ["tenants"], ["forbidden"]]),
            json!(["/graphql", 400, [], ["bad_request"]]),
        ]
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn what_nobody_paid_for_is_not_kept_and_names_no_page(db: PgPool) {
    let mut app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let token = testing::token(&app, &alice);
    let points = std::num::NonZeroU32::new(1).unwrap();
    let config = crate::Config { user_points_per_minute: points, ..testing::config() };
    app.allowance = crate::access::allowance::Allowance::new(&config).into();

    let nobody = call(&app, "", "GET /v1/apis", &[], Value::Null).await;
    let forged = call(&app, "x.y.z", "GET /v1/apis", &[], Value::Null).await;
    let elsewhere = call(&app, &token, "GET /v1/nothing", &[], Value::Null).await;
    let page = call(&app, &token, "GET /docs/errors", &[], Value::Null).await;
    let paid = call(&app, &token, "GET /v1/apis", &[], Value::Null).await;
    let rest = call(&app, &token, "GET /v1/apis", &[], Value::Null).await;
    let graphql =
        call(&app, &token, "POST /graphql", &[], ask("{ apis(first: 1) { nodes { id } } }")).await;

    let statuses = [&nobody, &forged, &elsewhere, &page, &paid, &rest, &graphql];
    let statuses = statuses.map(|answer| answer["status"].as_u64().unwrap());
    assert_eq!(statuses, [401, 401, 404, 200, 200, 429, 429]);
    for answer in [nobody, forged, elsewhere, rest, graphql] {
        assert!(!answer["body"].to_string().contains("logUrl"), "{answer}");
    }
    testing::write_requests(&app).await;
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from management_request").fetch_all(&db).await.unwrap();
    assert_eq!(ids, [paid["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap()]);
}

#[sqlx::test(migrations = "../migrations")]
async fn the_operators_requests_are_the_operators_to_see(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, operator) = (testing::owner(&app).await, testing::operator(&app).await);
    let token = testing::operator_token(&app, &operator);

    let refused = call(&app, &token, "GET /v1/apis", &[], Value::Null).await;

    assert_eq!(logged(&app, &alice).await, []);
    assert!(refused["body"]["logUrl"].is_null(), "no page of the console has it");
    let caller = Caller::Operator(operator);
    let kept = get(&app, &caller, refused["id"].as_str().unwrap()).await.unwrap();
    assert_eq!((kept.tenant, kept.user, kept.status), (None, caller.user(), Some(403)));
    let filter = ManagementRequestFilter::default();
    assert_eq!(list(&app, &caller, &filter, &Page::default()).await.unwrap().items, [kept]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_token_whose_session_was_ended_is_seen_in_its_tenants_log(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    app.revoke_here(alice.session);

    let refused = call(&app, &testing::token(&app, &alice), "GET /v1/apis", &[], Value::Null).await;

    assert_eq!(refused["status"], 401);
    let kept = logged(&app, &alice).await.remove(0);
    assert_eq!((kept.user, kept.codes), (alice.user, vec!["unauthenticated".to_owned()]));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_caller_who_goes_away_leaves_a_request_without_a_status(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let token = testing::token(&app, &alice);
    // It waits for the tenant's row, which is not given back.
    let mut lock = db.begin().await.unwrap();
    sqlx::query("lock table member").execute(&mut *lock).await.unwrap();
    let asked = call(&app, &token, "GET /v1/apis", &[], Value::Null);

    tokio::select! {
        answer = asked => panic!("nothing answers: {answer}"),
        () = testing::somebody_waits(&db) => {}
    }
    lock.rollback().await.unwrap();

    let kept = logged(&app, &alice).await.remove(0);
    assert_eq!((kept.path.as_str(), kept.status, kept.api_version), ("/v1/apis", None, None));
}

#[sqlx::test(migrations = "../migrations")]
async fn an_own_id_that_no_log_could_hold_is_not_kept(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let token = testing::token(&app, &alice);
    let longest = "a".repeat(CLIENT_ID_BYTES_MAX);
    let long = "a".repeat(CLIENT_ID_BYTES_MAX + 1);
    for (sent, keeps) in [
        (longest.as_str(), true),
        (&long, false),
        ("two words", false),
        ("", false),
        ("<b>", false),
    ] {
        let answer =
            call(&app, &token, "GET /v1/apis", &[("x-request-id", sent)], Value::Null).await;
        logged(&app, &alice).await;
        let caller = Caller::Member(alice.clone());
        let kept = get(&app, &caller, answer["id"].as_str().unwrap()).await.unwrap();
        assert_eq!(kept.client_request_id.as_deref(), keeps.then_some(sent), "{sent}");
        assert_eq!(get(&app, &caller, sent).await.is_ok(), keeps, "{sent}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn the_log_is_filtered_by_each_of_its_columns(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let bob = testing::join(&app, alice.tenant, Role::Viewer).await;
    let own = [("x-request-id", "again")];
    for actor in [&alice, &bob] {
        let token = testing::token(&app, actor);
        for line in ["GET /v1/apis", "GET /v1/apis/abc123xyz0"] {
            app.clock.advance(TimeDelta::minutes(1));
            call(&app, &token, line, &own, Value::Null).await;
        }
    }
    testing::write_requests(&app).await;
    let caller = Caller::Member(alice.clone());
    let count = async |filter: ManagementRequestFilter| {
        list(&app, &caller, &filter, &Page::default()).await.unwrap().items.len()
    };
    let all = ManagementRequestFilter::default;
    let start = testing::noon();
    let newest = list(&app, &caller, &all(), &Page::default()).await.unwrap().items.remove(0);
    assert_eq!(get(&app, &caller, "again").await.unwrap(), newest);
    for (filter, found) in [
        (all(), 4),
        (ManagementRequestFilter { request_id: Some("again".to_owned()), ..all() }, 4),
        (ManagementRequestFilter { request_id: Some(newest.id.to_string()), ..all() }, 1),
        (ManagementRequestFilter { request_id: Some("other".to_owned()), ..all() }, 0),
        (ManagementRequestFilter { user: Some(bob.user), ..all() }, 2),
        (ManagementRequestFilter { status: Some(404), ..all() }, 2),
        (ManagementRequestFilter { failed: Some(false), user: Some(alice.user), ..all() }, 1),
        (ManagementRequestFilter { failed: Some(true), ..all() }, 2),
        (ManagementRequestFilter { since: Some(start + TimeDelta::minutes(2)), ..all() }, 3),
        (ManagementRequestFilter { until: Some(start + TimeDelta::minutes(2)), ..all() }, 1),
    ] {
        assert_eq!(count(filter.clone().checked().unwrap()).await, found, "{filter:?}");
    }
    for (filter, param) in [
        (ManagementRequestFilter { request_id: Some("a b".to_owned()), ..all() }, "requestId"),
        (ManagementRequestFilter { status: Some(99), ..all() }, "status"),
        (ManagementRequestFilter { since: Some(start), until: Some(start), ..all() }, "until"),
    ] {
        assert_eq!(filter.checked().unwrap_err().param(), Some(param));
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_change_that_is_tried_under_a_key_is_kept_as_any_other(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let token = testing::token(&app, &alice);
    let key = [("idempotency-key", "once")];
    for name in ["", "gold", "gold"] {
        call(&app, &token, "POST /v1/usage-plans", &key, json!({ "name": name })).await;
    }
    let mut kept = logged(&app, &alice).await;
    kept.sort_by_key(|request| request.id);
    let seen: Vec<_> =
        kept.into_iter().map(|request| (request.status.unwrap(), request.codes)).collect();
    assert_eq!(seen, [(400, vec!["bad_request".to_owned()]), (201, vec![]), (201, vec![])]);
}

/// How many requests the log has lost so far.
fn lost(app: &App) -> usize {
    let all = crate::telemetry::render(app).unwrap();
    let line = all.lines().find(|line| line.starts_with("tollgate_management_requests_lost"));
    line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_tenant_that_asks_without_end_does_not_fill_the_disk(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let before = lost(&app);
    let offered = TENANT_ROWS_AT_ONCE.get() + 3000;
    for n in 1..=offered {
        app.requests.offer(testing::management_request(&app, &alice));
        if n % 5000 == 0 {
            testing::write_requests(&app).await;
        }
    }
    let lost = lost(&app) - before;
    assert!(lost > 1000, "{lost} of {offered}");
    // The operator's are kept whatever comes.
    let operators = ManagementRequest { tenant: None, ..testing::management_request(&app, &alice) };
    app.requests.offer(operators.clone());
    testing::write_requests(&app).await;
    let kept = "select count(*) from management_request where id = $1";
    let kept: i64 = sqlx::query_scalar(kept).bind(operators.id.0).fetch_one(&db).await.unwrap();
    assert_eq!(kept, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_search_that_takes_too_long_ends_and_says_how_to_ask(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = Caller::Member(testing::owner(&app).await);
    let mut lock = db.begin().await.unwrap();
    let statement = "lock table management_request in access exclusive mode";
    sqlx::query(statement).execute(&mut *lock).await.unwrap();
    let (all, first) = (ManagementRequestFilter::default(), Page::default());
    let asked = list(&app, &alice, &all, &first);
    let refused = timeout(Duration::from_secs(20), asked).await.expect("it ends").unwrap_err();
    assert_eq!((refused.code(), refused.param()), ("limit_exceeded", Some("filter")));
    lock.rollback().await.unwrap();
    list(&app, &alice, &all, &first).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn more_than_can_wait_is_lost_and_counted_and_nobody_waits(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let before = lost(&app);
    for _ in 0..QUEUE_LEN_MAX + 3 {
        app.requests.offer(testing::management_request(&app, &alice));
    }
    assert!(lost(&app) >= before + 3);

    testing::write_requests(&app).await;

    let rows: i64 =
        sqlx::query_scalar("select count(*) from management_request").fetch_one(&db).await.unwrap();
    assert_eq!(rows, i64::try_from(QUEUE_LEN_MAX).unwrap());
}

#[sqlx::test(migrations = "../migrations")]
async fn the_writer_goes_on_after_rows_that_the_database_refuses(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let stop = CancellationToken::new();
    let rows = async {
        // A tenant that is not there: the database was restored to before it was. What came with it is written.
        let unknown = Actor { tenant: app.rng.id(), ..alice.clone() };
        app.requests.offer(testing::management_request(&app, &unknown));
        let good = testing::management_request(&app, &alice);
        app.requests.offer(good.clone());
        let caller = Caller::Member(alice.clone());
        while get(&app, &caller, &good.id.to_string()).await.is_err() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let all = Box::pin(async { tokio::join!(write(&app, stop.clone()), rows) });
    timeout(Duration::from_mins(1), all).await.expect("the good row is written");
}
