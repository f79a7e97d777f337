use axum::Router;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::oneshot;
use tower::ServiceExt;

use super::*;
use crate::access::actor::Actor;
use crate::domain::idempotency_key::{ABANDONED_AFTER, KEPT_FOR};
use crate::domain::usage_plan::{self, NewUsagePlan};
use crate::testing;

#[derive(Debug)]
struct Got {
    status: u16,
    replayed: bool,
    retry_after: bool,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, &self.json()["code"]), (status, &json!(code)), "{self:?}");
    }
}

async fn post(router: &Router, token: &str, key: &str, path: &str, body: &Value) -> Got {
    let request = Request::post(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header(HEADER, key)
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let replayed = response.headers().get("idempotent-replayed").is_some_and(|it| it == "true");
    let retry_after = response.headers().contains_key("retry-after");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Got { status, replayed, retry_after, body: String::from_utf8(bytes.to_vec()).unwrap() }
}

async fn count(db: &PgPool, of: &'static str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {of}"));
    sqlx::query_scalar(sql).fetch_one(db).await.unwrap()
}

async fn open(db: &PgPool) -> (App, Router, Actor, String) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let token = testing::token(&app, &alice);
    (app.clone(), crate::http::router(&app), alice, token)
}

/// A try of making a plan that ends where its process would die.
async fn dies(app: &App, actor: &Actor, key: &str, after_its_change: bool) {
    let caller = Caller::Member(actor.clone());
    let body = json!({ "name": "gold" }).to_string();
    let request = fingerprint(&["POST", "/usage-plans"], body.as_bytes());
    let claimed = idempotency_key::claim(app, &caller, key, &request).await.unwrap();
    let Claim::Ours(attempt) = claimed else { panic!("the key was not free") };
    if after_its_change {
        let new = NewUsagePlan { name: "gold".to_owned(), ..NewUsagePlan::default() };
        attempt.scope(usage_plan::create(app, actor, new)).await.unwrap();
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn the_first_answer_is_given_again_byte_for_byte_and_kept_unreadable(db: PgPool) {
    let (_, router, _, token) = open(&db).await;
    let body = json!({ "name": "k" });

    let first = post(&router, &token, "one", "/v1/api-keys", &body).await;
    let second = post(&router, &token, "one", "/v1/api-keys", &body).await;
    let other = post(&router, &token, "two", "/v1/api-keys", &body).await;

    assert_eq!((first.status, first.replayed), (201, false), "{first:?}");
    assert_eq!((second.status, second.replayed), (201, true));
    assert_eq!(second.body, first.body);
    assert_ne!(other.body, first.body);
    assert_eq!(count(&db, "api_key").await, 2);
    let value = first.json()["value"].as_str().unwrap().to_owned();
    let kept: Vec<Vec<u8>> =
        sqlx::query_scalar("select answer from idempotency_key").fetch_all(&db).await.unwrap();
    for kept in kept {
        assert!(!String::from_utf8_lossy(&kept).contains(&value));
        assert!(!kept.windows(8).any(|part| part == BASE64_STANDARD.encode(&value).as_bytes()));
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn an_answer_that_logs_somebody_in_is_not_kept(db: PgPool) {
    let (app, router, alice, token) = open(&db).await;
    let caller = Caller::Member(alice.clone());
    let made = {
        let app = app.clone();
        async move {
            let new = NewUsagePlan { name: "gold".to_owned(), ..NewUsagePlan::default() };
            usage_plan::create(&app, &alice, new).await.unwrap();
            let cookie = [(header::SET_COOKIE, "__Host-refresh=secret")];
            ((cookie, "{\"accessToken\":\"secret\"}").into_response(), Ended::Done)
        }
    };
    let fingerprint = fingerprint(&["POST", "/somewhere"], b"");
    let answer = once(&app, &caller, "k", &fingerprint, made).await.unwrap();
    assert!(answer.headers().contains_key(header::SET_COOKIE));
    let kept: Vec<Option<Vec<u8>>> =
        sqlx::query_scalar("select answer from idempotency_key").fetch_all(&db).await.unwrap();
    assert_eq!(kept, [None], "that it was done is known, and nothing of the answer");
    // Nor is it done again.
    let again = Box::pin(once(&app, &caller, "k", &fingerprint, async { panic!("it was done") }));
    assert!(matches!(again.await, Err(Error::IdempotencyKeyInUse { .. })));

    // Logging in takes no key in GraphQL either: each gives a token of its own.
    testing::user(&app, "ada@example.com").await;
    let who = json!({ "email": "ada@example.com", "password": testing::PASSWORD });
    let query = "mutation($input: LogInInput!) { logIn(input: $input) { accessToken } }";
    let body = json!({ "query": query, "variables": { "input": who } });
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let got = post(&router, &token, "log-in", "/graphql", &body).await;
        assert_eq!((got.status, got.replayed), (200, false), "{got:?}");
        tokens.push(got.json()["data"]["logIn"]["accessToken"].as_str().unwrap().to_owned());
    }
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(count(&db, "idempotency_key").await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_key_means_one_request_of_one_user_in_one_tenant(db: PgPool) {
    let (app, router, alice, token) = open(&db).await;
    let body = json!({ "name": "gold" });
    let first = post(&router, &token, "k", "/v1/usage-plans", &body).await;
    assert_eq!(first.status, 201, "{first:?}");

    let silver = json!({ "name": "silver" });
    let reused = post(&router, &token, "k", "/v1/usage-plans", &silver).await;
    reused.refused(422, "idempotency_key_reuse");
    let reused = post(&router, &token, "k", "/v1/consumers", &body).await;
    reused.refused(422, "idempotency_key_reuse");

    let colleague = testing::join(&app, alice.tenant, alice.role).await;
    let colleague = testing::token(&app, &colleague);
    let own = post(&router, &colleague, "k", "/v1/usage-plans", &silver).await;
    assert_eq!((own.status, own.replayed), (201, false), "{own:?}");
    let stranger = testing::token(&app, &testing::owner(&app).await);
    let own = post(&router, &stranger, "k", "/v1/usage-plans", &body).await;
    assert_eq!((own.status, own.replayed), (201, false), "{own:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_was_refused_is_not_kept(db: PgPool) {
    let (_, router, _, token) = open(&db).await;

    let wrong = post(&router, &token, "k", "/v1/usage-plans", &json!({ "name": "" })).await;
    wrong.refused(400, "bad_request");
    let right = post(&router, &token, "k", "/v1/usage-plans", &json!({ "name": "gold" })).await;
    assert_eq!((right.status, right.replayed), (201, false), "{right:?}");

    let twice = json!({ "name": "gold" });
    post(&router, &token, "l", "/v1/usage-plans", &twice).await.refused(409, "conflict");
    assert_eq!(count(&db, "idempotency_key").await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_key_is_1_to_255_visible_characters(db: PgPool) {
    let (_, router, _, token) = open(&db).await;
    let body = json!({ "name": "gold" });
    for wrong in ["", "a b", "\u{e9}", &"x".repeat(256)] {
        let got = post(&router, &token, wrong, "/v1/usage-plans", &body).await;
        got.refused(400, "bad_request");
        assert_eq!(got.json()["param"], "Idempotency-Key");
    }
    let longest = "~".repeat(255);
    assert_eq!(post(&router, &token, &longest, "/v1/usage-plans", &body).await.status, 201);
}

#[sqlx::test(migrations = "../migrations")]
async fn of_many_tries_at_once_on_two_replicas_one_takes_effect(db: PgPool) {
    let (here, router, _, token) = open(&db).await;
    let there = testing::app(db.clone()).await;
    let routers = [router, crate::http::router(&there)];
    drop(here);
    let tries = (0..60).map(|index| {
        let (router, token) = (routers[index % 2].clone(), token.clone());
        tokio::spawn(async move {
            post(&router, &token, "k", "/v1/apis", &json!({ "name": "pets", "protocol": "HTTP" }))
                .await
        })
    });
    let tries: Vec<_> = tries.collect();
    let (mut made, mut answers) = (0, std::collections::BTreeSet::new());
    for got in tries {
        let got = got.await.unwrap();
        if got.status == 201 {
            made += usize::from(!got.replayed);
            answers.insert(got.body);
        } else {
            got.refused(409, "idempotency_key_in_use");
            assert!(got.retry_after);
        }
    }
    assert_eq!((made, answers.len(), count(&db, "api").await), (1, 1, 1));
}

#[sqlx::test(migrations = "../migrations")]
async fn who_died_before_the_change_is_followed_by_the_next_try(db: PgPool) {
    let (app, router, alice, token) = open(&db).await;
    let body = json!({ "name": "gold" });
    dies(&app, &alice, "k", false).await;

    let early = post(&router, &token, "k", "/v1/usage-plans", &body).await;
    early.refused(409, "idempotency_key_in_use");
    app.clock.advance(ABANDONED_AFTER);
    let late = post(&router, &token, "k", "/v1/usage-plans", &body).await;
    assert_eq!((late.status, late.replayed), (201, false), "{late:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn who_died_after_the_change_is_said_to_have_made_it(db: PgPool) {
    let (app, router, alice, token) = open(&db).await;
    let body = json!({ "name": "gold" });
    dies(&app, &alice, "k", true).await;

    let early = post(&router, &token, "k", "/v1/usage-plans", &body).await;
    early.refused(409, "idempotency_key_in_use");
    app.clock.advance(ABANDONED_AFTER);
    let late = post(&router, &token, "k", "/v1/usage-plans", &body).await;
    late.refused(409, "idempotency_answer_lost");
    assert_eq!(count(&db, "usage_plan").await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_try_that_was_given_up_changes_nothing_any_more(db: PgPool) {
    let (app, router, alice, token) = open(&db).await;
    let caller = Caller::Member(alice.clone());
    let claimed = idempotency_key::claim(&app, &caller, "k", &[1; 32]).await.unwrap();
    let Claim::Ours(slow) = claimed else { panic!("the key was not free") };
    app.clock.advance(ABANDONED_AFTER);
    let gold = json!({ "name": "gold" });
    assert_eq!(post(&router, &token, "k", "/v1/usage-plans", &gold).await.status, 201);

    let new = NewUsagePlan { name: "late".to_owned(), ..NewUsagePlan::default() };
    let late = slow.scope(usage_plan::create(&app, &alice, new)).await;

    assert_eq!(late.unwrap_err().code(), "idempotency_key_in_use");
    assert_eq!(count(&db, "usage_plan").await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_try_goes_on_when_its_client_goes_away(db: PgPool) {
    let (app, _, alice, _) = open(&db).await;
    let caller = Caller::Member(alice);
    let (begin, begun) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let (done, finished) = oneshot::channel();
    let work = async move {
        begin.send(()).unwrap();
        ended.await.unwrap();
        done.send(()).unwrap();
        (StatusCode::CREATED.into_response(), Ended::Done)
    };
    tokio::select! {
        _ = once(&app, &caller, "k", &[1; 32], work) => panic!("it waits"),
        begun = begun => begun.unwrap(),
    }
    end.send(()).unwrap();
    finished.await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn nothing_runs_under_a_key_while_it_cannot_be_told_whose_it_is(db: PgPool) {
    let (_, router, _, token) = open(&db).await;
    let body = json!({ "email": "ada@example.com" });
    // This one is open to everybody.
    let asked = post(&router, &token, "k", "/v1/password-reset", &body).await;
    asked.refused(409, "conflict");

    sqlx::query("alter table member rename to away").execute(&db).await.unwrap();
    let asked = post(&router, &token, "k", "/v1/password-reset", &body).await;
    asked.refused(500, "internal");
    let asked = post(&router, "nobody's", "k", "/v1/password-reset", &body).await;
    asked.refused(409, "conflict");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_key_is_known_for_a_day(db: PgPool) {
    let (app, router, alice, _) = open(&db).await;
    let again = async |name: &str| {
        let token = testing::token(&app, &alice);
        post(&router, &token, "k", "/v1/usage-plans", &json!({ "name": name })).await
    };
    assert_eq!(again("gold").await.status, 201);
    app.clock.advance(KEPT_FOR - TimeDelta::seconds(1));
    assert!(again("gold").await.replayed);
    app.clock.advance(TimeDelta::seconds(1));
    let silver = again("silver").await;
    assert_eq!((silver.status, silver.replayed), (201, false), "{silver:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_mutation_has_a_key_too_and_then_stands_alone(db: PgPool) {
    let (_, router, _, token) = open(&db).await;
    let ask = async |key: &str, query: &str| {
        post(&router, &token, key, "/graphql", &json!({ "query": query })).await
    };
    let plan = |alias: &str, name: &str| {
        format!(
            "{alias}: createUsagePlan(input: {{ name: \"{name}\" }}) {{
                usagePlan {{ id name createdAt }} userErrors {{ code }} }}"
        )
    };
    let gold = format!("mutation {{ {} }}", plan("a", "gold"));
    let first = ask("k", &gold).await;
    let second = ask("k", &gold).await;
    assert_eq!(first.json()["data"]["a"]["usagePlan"]["name"], "gold", "{first:?}");
    assert_eq!((first.replayed, second.replayed, &second.body), (false, true, &first.body));

    let code = |got: &Got| got.json()["errors"][0]["extensions"]["code"].clone();
    let reused = ask("k", &format!("mutation {{ {} }}", plan("a", "silver"))).await;
    assert_eq!((reused.status, code(&reused)), (422, json!("idempotency_key_reuse")));
    let taken = ask("l", &gold).await;
    assert_eq!(taken.json()["data"]["a"]["userErrors"][0]["code"], "CONFLICT", "{taken:?}");
    assert!(!ask("l", &gold).await.replayed, "what was refused is not kept");
    let two = format!("mutation {{ {} {} }}", plan("a", "x"), plan("b", "y"));
    let two = ask("m", &two).await;
    assert_eq!((two.status, code(&two)), (400, json!("bad_request")), "{two:?}");
    assert!(!ask("k", "{ viewer { operator } }").await.replayed, "a question has no effect");
    assert_eq!(count(&db, "usage_plan").await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_mutation_that_failed_inside_may_have_had_its_effect_and_runs_no_second_time(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let router = crate::http::router(&app);
    let token = testing::user(&app, "ada@example.com").await.access_token;
    // The try is counted in a transaction of its own, and what follows fails.
    sqlx::query("alter table user_link rename to away").execute(&db).await.unwrap();
    let change = format!(
        "mutation {{ changePassword(input: {{ currentPassword: \"{}\", newPassword: \"amber walrus whistles\" }}) {{
            done userErrors {{ message }} }} }}",
        testing::PASSWORD
    );
    let ask = async || {
        let got = post(&router, &token, "k", "/graphql", &json!({ "query": change })).await;
        got.json()["errors"][0]["extensions"]["code"].clone()
    };

    assert_eq!(ask().await, "internal");
    assert_eq!(count(&db, "idempotency_key where effect_at is not null").await, 1);
    assert_eq!(ask().await, "idempotency_key_in_use");
    app.clock.advance(ABANDONED_AFTER);
    assert_eq!(ask().await, "idempotency_answer_lost");
}
