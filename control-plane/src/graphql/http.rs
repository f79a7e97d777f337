//! GraphQL over HTTP: one operation by POST as `application/json`. Its document, or the hash of one that is
//! [persisted](crate::graphql::persisted).
//!
//! What fails before anything runs (no JSON, no document, a document that asks for too much or does not fit
//! the schema) has the status that REST would give it, and no `data`. Once something ran, the status is 200
//! and each failed field is in `errors`; only who has to log in first, or to wait, is told so by the status.

use std::sync::Arc;

use async_graphql::Positioned;
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection};
use axum::Extension;
use axum::extract::{FromRequest, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tracing::Instrument;

use crate::access::actor::Caller;
use crate::access::allowance::{READ, Standing};
use crate::app::App;
use crate::error::{Error, Result};
use crate::graphql::limits::Shape;
use crate::graphql::nesting::NESTING_MAX;
use crate::graphql::persisted::Persisted;
use crate::graphql::rate_limit::Spent;
use crate::graphql::request::Body;
use crate::graphql::{GatewaySchema, Identity, error, loader};
use crate::rest::extract::{self, Json, origin};
use crate::rest::idempotency::Ended;
use crate::rest::{idempotency, problem, rate_limit, request_log};

/// What the door to GraphQL needs beside the application.
#[derive(Clone)]
pub struct Door {
    pub(super) schema: GatewaySchema,
    pub(super) shape: Arc<Shape>,
    pub(super) persisted: Arc<Persisted>,
}

impl Door {
    pub fn new(app: &App, persisted: Persisted) -> Self {
        let schema = super::schema().data(app.clone()).finish();
        let shape = Shape::new(&schema.sdl()).expect("a schema's SDL reads back: a test does it");
        Self { schema, shape: shape.into(), persisted: persisted.into() }
    }
}

const GRAPHQL_JSON: &str = "application/graphql-response+json";

/// The handler of `POST /graphql`.
pub async fn answer(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let accepts = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let content_type = match accepts {
        Some(accept) if accept.contains(GRAPHQL_JSON) => GRAPHQL_JSON,
        _ => "application/json",
    };
    let (standing, answered) = paid(&app, &door, parts, body).await;
    let mut response = answered.unwrap_or_else(|refusal| render(error::refused(refusal)));
    rate_limit::tell(standing, response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The answer to what the caller could pay. Reading the request costs as much as the cheapest question, and is paid before
/// a byte of it is read; then comes the rest.
async fn paid(
    app: &App,
    door: &Door,
    parts: Parts,
    body: axum::body::Body,
) -> (Standing, Result<Response>) {
    let (spender, standing, allowed) =
        rate_limit::spend(app, &parts.headers, &parts.extensions, READ);
    if let Err(refusal) = allowed {
        return (standing, Err(refusal));
    }
    let body = Json::from_request(Request::from_parts(parts.clone(), body), app).await;
    let mut asked = match read(app, door, &parts, body).await {
        Ok(asked) => asked,
        Err(refusal) => return (standing, Err(refusal)),
    };
    let Asked { cost, nodes, dry, .. } = asked;
    let points = if dry { READ } else { cost };
    let (standing, allowed) = app.allowance.spend_rest(&spender, standing, points);
    if let Err(refusal) = allowed {
        return (standing, Err(refusal));
    }
    asked.request = asked.request.data(Spent { cost, nodes, dry, standing: Some(standing) });
    (standing, execute(app, door, &parts, asked).await)
}

/// Runs the request; a mutation with an `Idempotency-Key` once.
async fn execute(app: &App, door: &Door, parts: &Parts, asked: Asked) -> Result<Response> {
    let Asked { mut request, caller, fingerprint, .. } = asked;
    let chosen = operation(&mut request);
    request_log::asked_for(chosen.fields.iter().map(String::as_str));
    let span = tracing::info_span!("graphql", otel.name = chosen.name);
    let schema = door.schema.clone();
    let known = caller.is_some();
    let run = async move {
        let mut answer = schema.execute(request).await;
        if !known {
            error::hide_suggestions(&mut answer);
        }
        answer
    };
    let run = Box::pin(run.instrument(span));
    // Beside other changes it is refused like these: they would be made again.
    let keyed = chosen.mutates && !(chosen.logs_in && chosen.only_field.is_some());
    let (Some(caller), true) = (caller, keyed) else { return Ok(render(run.await)) };
    let Some(key) = idempotency::key(&parts.headers)? else { return Ok(render(run.await)) };
    let Some(field) = chosen.only_field else {
        let rule = "is for a request with one mutation, written without a fragment";
        return Err(Error::bad_request("Idempotency-Key", rule));
    };
    let work = async move {
        let answer = run.await;
        let ended = ended(&answer, &field);
        (render(answer), ended)
    };
    idempotency::once(app, &caller, &key, &fingerprint, work).await
}

/// How this mutation ended. One that failed inside may have changed something, and one of which only something below
/// could not be told has.
fn ended(answer: &async_graphql::Response, field: &str) -> Ended {
    use async_graphql::Value::{List, Object};
    let Object(data) = &answer.data else {
        let refused = answer.errors.iter().all(|error| {
            let ours = error.source::<Error>().map(problem::status);
            error.path.len() <= 1 && ours.is_none_or(|status| status.is_client_error())
        });
        return if refused { Ended::Refused } else { Ended::Failed };
    };
    let Some(Object(payload)) = data.get(field) else { return Ended::Refused };
    match payload.get("userErrors") {
        Some(List(errors)) if !errors.is_empty() => Ended::Refused,
        _ => Ended::Done,
    }
}

/// A request that we will run.
struct Asked {
    request: async_graphql::Request,
    caller: Option<Caller>,
    /// Tells it from others under the same `Idempotency-Key`.
    fingerprint: [u8; 32],
    /// As [`limits::Measured`](crate::graphql::limits::Measured) has them.
    cost: u32,
    nodes: u64,
    dry: bool,
}

/// The request, if it is one that we will run.
async fn read(
    app: &App,
    door: &Door,
    parts: &Parts,
    body: Result<Json<Map<String, Value>>>,
) -> Result<Asked> {
    let identity = match extract::caller(app, parts).await {
        Ok(caller) => Identity::Known(caller),
        Err(Error::Unauthenticated(reason))
            if !parts.headers.contains_key(header::AUTHORIZATION) =>
        {
            Identity::Nobody(reason)
        }
        Err(error) => return Err(error),
    };
    let Body { query, operation_name, variables } = Body::read(body?.0, &door.persisted)?;
    // Of the document itself: a change may be tried again by its text where its hash is not known.
    let named = json!([query, operation_name, variables]).to_string();
    let fingerprint = idempotency::fingerprint(&["GraphQL"], named.as_bytes());
    let variables = async_graphql::Variables::from_json(Value::Object(variables));
    let measured = door.shape.measure(&query, &variables)?;
    if let (true, Identity::Nobody(reason)) = (measured.introspects, &identity) {
        return Err(Error::Unauthenticated(reason));
    }
    let (cost, nodes, dry) = (measured.cost, measured.nodes, measured.dry);
    let mut request = async_graphql::Request::new(query).variables(variables);
    request.operation_name = operation_name;
    request.set_parsed_query(measured.document);
    if let Identity::Known(Caller::Member(actor)) = &identity {
        request = request.data(loader::batches(app, actor));
    }
    let caller = match &identity {
        Identity::Known(caller) => Some(caller.clone()),
        Identity::Nobody(_) => None,
    };
    let request = request.data(identity).data(origin(parts));
    Ok(Asked { request, caller, fingerprint, cost, nodes, dry })
}

/// The operation of a document that will be run.
struct Chosen {
    /// What a trace calls it: its kind and the field of it that stands first, in the schema's words.
    name: String,
    mutates: bool,
    /// It gives tokens and a cookie, which must not be given twice, as what REST [excepts](idempotency::EXCEPTED).
    logs_in: bool,
    /// All that it begins with, in the schema's words.
    fields: Vec<String>,
    /// What the answer calls its field, where it has but one.
    only_field: Option<String>,
}

fn operation(request: &mut async_graphql::Request) -> Chosen {
    let none = || Chosen {
        name: "graphql".to_owned(),
        mutates: false,
        logs_in: false,
        fields: Vec::new(),
        only_field: None,
    };
    let chosen = request.operation_name.clone();
    let Ok(document) = request.parsed_query() else { return none() };
    let mut operations = document.operations.iter();
    let operation = operations.find(|(name, _)| {
        chosen.is_none() || name.map(async_graphql::Name::as_str) == chosen.as_deref()
    });
    let Some((_, operation)) = operation else { return none() };
    let mutates = operation.node.ty == OperationType::Mutation;
    let selected = &operation.node.selection_set.node.items;
    let mut fields = Vec::new();
    collect_fields(document, selected, NESTING_MAX, &mut fields);
    let logs_in = fields.iter().any(|field| ["logIn", "signUp"].contains(&field.as_str()));
    match selected.first().map(|selection| &selection.node) {
        Some(Selection::Field(field)) => Chosen {
            name: format!("{} {}", operation.node.ty, field.node.name.node),
            mutates,
            logs_in,
            fields,
            only_field: (selected.len() == 1).then(|| field.node.response_key().node.to_string()),
        },
        _ => Chosen {
            name: operation.node.ty.to_string(),
            mutates,
            logs_in,
            fields,
            only_field: None,
        },
    }
}

/// The fields that an operation begins with, those of its fragments too. `deep`: how many of them within one another are
/// looked into; how much that comes to was measured before.
fn collect_fields(
    document: &ExecutableDocument,
    selected: &[Positioned<Selection>],
    deep: usize,
    found: &mut Vec<String>,
) {
    for selection in selected {
        let within = match &selection.node {
            Selection::Field(field) => {
                let name = field.node.name.node.as_str();
                if !found.iter().any(|known| known == name) {
                    found.push(name.to_owned());
                }
                None
            }
            Selection::InlineFragment(fragment) => Some(&fragment.node.selection_set),
            Selection::FragmentSpread(spread) => document
                .fragments
                .get(&spread.node.fragment_name.node)
                .map(|fragment| &fragment.node.selection_set),
        };
        if let (Some(within), Some(deep)) = (within, deep.checked_sub(1)) {
            collect_fields(document, &within.node.items, deep, found);
        }
    }
}

fn render(mut answer: async_graphql::Response) -> Response {
    // An error without a path is one of the request, not of a field.
    let ran = answer.errors.iter().all(|error| !error.path.is_empty());
    error::complete(&mut answer);
    let failed = answer.data == async_graphql::Value::Null;
    let status = answer.errors.first().map_or(StatusCode::OK, |first| {
        let status = error::code(first).map_or(StatusCode::BAD_REQUEST, problem::status_of_code);
        match status {
            status if !ran => status,
            StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS if failed => status,
            _ => StatusCode::OK,
        }
    });
    let headers: HeaderMap = std::mem::take(&mut answer.http_headers);
    let wait = answer.errors.first().and_then(error::retry_after_seconds);
    let body = if ran { json!(answer) } else { json!({ "errors": answer.errors }) };
    let mut response = (status, headers, axum::Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    if let (false, Some(seconds)) = (status == StatusCode::OK, wait) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body as Bytes;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::testing;

    /// Posts `body` as it is; answers status and JSON.
    async fn post(app: &App, token: Option<&str>, body: &str) -> (StatusCode, Value) {
        let mut request = Request::post("/graphql").header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Bytes::from(body.to_owned())).unwrap();
        let response = crate::http::router(app).oneshot(request).await.unwrap();
        let status = response.status();
        assert!(response.headers().contains_key("x-request-id"));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn ask(app: &App, token: Option<&str>, query: &str) -> (StatusCode, Value) {
        post(app, token, &json!({ "query": query }).to_string()).await
    }

    /// The code and the param of the only error, which must also say its request.
    #[track_caller]
    fn error(answer: &Value) -> (&str, Option<&str>) {
        let errors = answer["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{answer}");
        let extensions = &errors[0]["extensions"];
        assert!(extensions["requestId"].is_string(), "{answer}");
        let code = extensions["code"].as_str().unwrap();
        assert_eq!(extensions["type"], format!("/docs/errors/{code}"), "{answer}");
        assert_eq!(extensions["detail"], errors[0]["message"], "{answer}");
        let id = extensions["requestId"].as_str().unwrap();
        assert_eq!(extensions["instance"], format!("urn:uuid:{id}"), "{answer}");
        let status = extensions["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let status = StatusCode::from_u16(status.unwrap()).unwrap();
        assert_eq!(extensions["title"], json!(status.canonical_reason()), "{answer}");
        (extensions["code"].as_str().unwrap(), extensions["param"].as_str())
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_cannot_run_has_a_precise_status_and_no_data(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let token = testing::token(&app, &alice);
        let cases = [
            ("not json", 400, "bad_request", None),
            ("[]", 400, "bad_request", None),
            (r#"[{"query": "{ viewer { operator } }"}]"#, 400, "bad_request", None),
            ("{}", 400, "bad_request", Some("query")),
            (r#"{"query": 7}"#, 400, "bad_request", Some("query")),
            (r#"{"query": "{", "variables": {}}"#, 400, "bad_request", Some("query")),
            (r#"{"query": "{ nothing }"}"#, 400, "bad_request", None),
            (
                r#"{"query": "{ __typename }", "variables": []}"#,
                400,
                "bad_request",
                Some("variables"),
            ),
            (r#"{"query": "{ __typename }", "extra": 1}"#, 400, "bad_request", Some("extra")),
            (
                r#"{"query": "query A { __typename }", "operationName": "B"}"#,
                400,
                "bad_request",
                None,
            ),
            (
                r#"{"query": "{ usagePlans(first: 100) { nodes { apiKeys(first: 100) { nodes { id } } } } }"}"#,
                422,
                "limit_exceeded",
                Some("query"),
            ),
            (
                r#"{"query": "{ viewer { operator } usagePlans(first: 1) { nodes { apiKeys { nodes { id } } } } }"}"#,
                400,
                "page_size_required",
                Some("first"),
            ),
        ];
        for (body, status, code, param) in cases {
            let (got, answer) = post(&app, Some(&token), body).await;
            assert_eq!((got.as_u16(), error(&answer)), (status, (code, param)), "{body}: {answer}");
            assert!(answer.get("data").is_none(), "{answer}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_bad_token_is_nobody_even_where_nobody_may_ask(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let token = testing::token(&app, &alice);
        let mut forged = token.clone().into_bytes();
        let middle = forged.len() / 2;
        forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();

        for wrong in [forged.as_str(), "x", ""] {
            let (status, answer) = ask(&app, Some(wrong), "{ __typename }").await;
            assert_eq!((status.as_u16(), error(&answer).0), (401, "unauthenticated"), "{wrong}");
        }
        let (status, answer) = ask(&app, Some(&token), "{ viewer { operator } }").await;
        assert_eq!((status.as_u16(), &answer["data"]["viewer"]["operator"]), (200, &json!(false)));
        app.clock.advance(chrono::TimeDelta::hours(1));
        let (status, answer) = ask(&app, Some(&token), "{ viewer { operator } }").await;
        assert_eq!((status.as_u16(), error(&answer).0), (401, "unauthenticated"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn introspection_is_for_who_is_logged_in(db: PgPool) {
        let app = testing::app(db).await;
        let token = testing::token(&app, &testing::owner(&app).await);
        let question = "{ __schema { queryType { name } } }";

        let (status, answer) = ask(&app, None, question).await;
        assert_eq!((status.as_u16(), error(&answer).0), (401, "unauthenticated"));
        let (status, answer) = ask(&app, Some(&token), question).await;
        assert_eq!(status, 200);
        assert_eq!(answer["data"]["__schema"]["queryType"]["name"], "Query");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_failed_field_says_code_param_and_request(db: PgPool) {
        let app = testing::app(db).await;
        let token = testing::token(&app, &testing::owner(&app).await);

        let (status, answer) =
            ask(&app, Some(&token), "{ apiKeys(first: 0) { nodes { id } } }").await;
        assert_eq!((status.as_u16(), error(&answer)), (200, ("bad_request", Some("first"))));
        // A page that only a variable could have told.
        let asked = "query($n: Int) { page: apiKeys(first: $n) { nodes { id } } }";
        let (status, answer) = ask(&app, Some(&token), asked).await;
        assert_eq!((status.as_u16(), error(&answer)), (200, ("page_size_required", Some("first"))));
        assert_eq!(answer["errors"][0]["path"], json!(["page"]));
        let (_, answer) = ask(&app, Some(&token), r#"{ node(id: "nonsense") { id } }"#).await;
        assert_eq!(error(&answer), ("bad_request", Some("id")));
        let (_, answer) = post(
            &app,
            Some(&token),
            &json!({
                "query": "query($ids: [ID!]!) { nodes(ids: $ids) { id } }",
                "variables": { "ids": vec!["x"; 101] },
            })
            .to_string(),
        )
        .await;
        assert_eq!(error(&answer), ("bad_request", Some("ids")));
        let (status, answer) = ask(&app, None, "{ apiKeys(first: 1) { nodes { id } } }").await;
        assert_eq!((status.as_u16(), error(&answer)), (401, ("unauthenticated", None)));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_broke_inside_stays_inside(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let token = testing::token(&app, &testing::owner(&app).await);
        sqlx::query("alter table api_key rename column hint to gone").execute(&db).await.unwrap();

        let (status, answer) =
            ask(&app, Some(&token), "{ apiKeys(first: 1) { nodes { id } } }").await;

        assert_eq!((status.as_u16(), error(&answer)), (200, ("internal", None)));
        assert_eq!(answer["errors"][0]["message"], "internal error");
        assert!(!answer.to_string().contains("hint"), "{answer}");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_plan_a_consumer_and_a_key_go_all_the_way(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let (token, stranger) = (testing::token(&app, &alice), testing::token(&app, &mallory));
        let (_, made) = ask(
            &app,
            Some(&token),
            r#"mutation {
                createUsagePlan(input: { name: "gold", quota: { limit: 1000000000000, period: WEEK }, throttle: { rateLimit: 2.5, burstLimit: 5 } }) {
                    usagePlan { id usagePlanId quota { limit period } throttle { rateLimit } } userErrors { code }
                }
                createConsumer(input: { name: "acme" }) { consumer { id } userErrors { code } }
            }"#,
        )
        .await;
        let plan = &made["data"]["createUsagePlan"]["usagePlan"];
        assert_eq!(plan["quota"], json!({ "limit": 1_000_000_000_000_u64, "period": "WEEK" }));
        let consumer = &made["data"]["createConsumer"]["consumer"]["id"];

        let create = json!({
            "query": "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) {
                value apiKey { id hint mode enabled consumer { name } usagePlans { name apiKeys(first: 1) { nodes { hint } } } }
                userErrors { code message param } } }",
            "variables": { "input": { "name": "k", "mode": "TEST", "usagePlanIds": [plan["id"]], "consumerId": consumer } },
        })
        .to_string();
        let (status, answer) = post(&app, Some(&token), &create).await;
        let payload = &answer["data"]["createApiKey"];
        let key = &payload["apiKey"];
        let value = payload["value"].as_str().unwrap();
        assert_eq!((status.as_u16(), &payload["userErrors"]), (200, &json!([])), "{answer}");
        assert!(value.starts_with("tg_test_") && value.ends_with(key["hint"].as_str().unwrap()));
        assert_eq!(key["consumer"]["name"], "acme");
        assert_eq!(key["usagePlans"][0]["apiKeys"]["nodes"][0]["hint"], key["hint"]);

        // Another tenant's ids: not found, as data.
        let (_, answer) = post(&app, Some(&stranger), &create).await;
        let refused = &answer["data"]["createApiKey"];
        assert_eq!((&refused["apiKey"], &refused["value"]), (&Value::Null, &Value::Null));
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND");
        let node = json!({ "query": "query($id: ID!) { node(id: $id) { id ... on ApiKey { hint } } }", "variables": { "id": key["id"] } })
            .to_string();
        assert_eq!(post(&app, Some(&token), &node).await.1["data"]["node"]["hint"], key["hint"]);
        assert_eq!(post(&app, Some(&stranger), &node).await.1["data"]["node"], Value::Null);

        // What can be mended is data, and names the field.
        let update = json!({
            "query": "mutation($input: UpdateUsagePlanInput!) { updateUsagePlan(input: $input) { usagePlan { throttle { rateLimit } quota { limit } } userErrors { code param } } }",
            "variables": { "input": { "id": plan["id"], "throttle": { "rateLimit": -1, "burstLimit": 1 } } },
        });
        let (_, answer) = post(&app, Some(&token), &update.to_string()).await;
        let errors = &answer["data"]["updateUsagePlan"]["userErrors"];
        assert_eq!(errors, &json!([{ "code": "BAD_REQUEST", "param": "throttle.rateLimit" }]));
        let mut clear = update;
        clear["variables"]["input"] = json!({ "id": plan["id"], "throttle": null });
        let (_, answer) = post(&app, Some(&token), &clear.to_string()).await;
        let changed = &answer["data"]["updateUsagePlan"]["usagePlan"];
        assert_eq!(
            (&changed["throttle"], &changed["quota"]["limit"]),
            (&Value::Null, &plan["quota"]["limit"])
        );
    }
}
