//! Every operation of the document, called in each role with what could be right. The list is the document's own;
//! who may call is in `access::matrix`.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use tower::ServiceExt;

use crate::access::matrix;
use crate::access::role::Role;
use crate::rest::openapi::openapi_document;
use crate::testing;

/// Fields of bodies that may be left out, but not in what the walk makes.
const FILLED: [&str; 3] = ["method", "path", "uri"];

/// An operation and how it is called.
struct Operation {
    id: String,
    method: String,
    path: String,
    /// None where it takes no body.
    body: Option<Value>,
}

fn all() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&openapi_document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            all.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path: format!("/v1{}{}", filled(path), query(operation)),
                body: schema.is_object().then(|| value(&document, schema, "")),
            });
        }
    }
    all
}

/// The id of every operation.
pub(crate) fn operations() -> Vec<String> {
    all().into_iter().map(|operation| operation.id).collect()
}

/// The path with ids that could be some, and are nobody's.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{accessKeyId}" => "TGAKABCDEFGHIJKLMNOP",
        "{day}" => "2026-11-16",
        "{responseType}" => "THROTTLED",
        "{consumerId}"
        | "{secretId}"
        | "{sessionId}"
        | "{userId}"
        | "{invitationId}"
        | "{joinTokenId}"
        | "{nodeId}"
        | "{quarantinedSegmentId}"
        | "{tenantId}"
        | "{tenantInvitationId}" => "0198f2a0-0000-7000-8000-000000000000",
        part if part.ends_with("Id}") => "abc123xyz0",
        part if part.starts_with('{') => "prod",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The parameters that must be there.
fn query(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let required = parameters
        .filter(|parameter| parameter["in"] == "query" && parameter["required"] == true)
        .map(|parameter| parameter["name"].as_str().unwrap())
        .map(|name| format!("{name}={}", text(name)));
    let pairs: Vec<String> = required.collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// A value of this schema, the field `name` of a body.
fn value(document: &Value, schema: &Value, name: &str) -> Value {
    if let Some(to) = schema["$ref"].as_str() {
        return value(document, document.pointer(&to[1..]).unwrap(), name);
    }
    if let Some(values) = schema["enum"].as_array() {
        return values[0].clone();
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().map(|part| value(document, part, name));
        let fields = parts.filter_map(|part| part.as_object().cloned()).flatten();
        return Value::Object(fields.collect());
    }
    for key in ["oneOf", "anyOf"] {
        let parts = schema[key].as_array().into_iter().flatten();
        if let Some(first) = parts.into_iter().find(|part| part["type"] != "null") {
            return value(document, first, name);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].as_str(),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => {
            let required: Vec<&str> = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let fields = schema["properties"].as_object().into_iter().flatten();
            let chosen = fields
                .filter(|(name, _)| required.contains(&&***name) || FILLED.contains(&name.as_str()))
                .map(|(name, field)| (name.clone(), value(document, field, name)));
            Value::Object(chosen.collect::<Map<_, _>>())
        }
        Some("array") => json!([]),
        Some("boolean") => json!(true),
        Some("integer" | "number") => {
            schema["minimum"].as_i64().map_or(json!(1), |least| json!(least))
        }
        _ => json!(text(name)),
    }
}

/// Text that could be right in a field or parameter of this name.
fn text(name: &str) -> &'static str {
    match name {
        "month" => "2026-11",
        "hour" => "2026-11-16T09:00:00Z",
        "ledgerRow" => "00000000000000000000000000000000",
        "from" => "2026-11-19T00:00:00Z",
        "until" | "to" | "validFrom" => "2026-11-20T00:00:00Z",
        "currency" => "EUR",
        "method" => "GET",
        "path" => "/pets",
        "uri" => "http://example.com/",
        "email" => "somebody@example.com",
        "password" | "newPassword" => "violet otter juggles",
        "role" => "viewer",
        "userId" => "0198f2a0-0000-7000-8000-000000000000",
        name if name.ends_with("Id") => "abc123xyz0",
        name if name.contains("rice") || name.contains("erMillion") => "1.5",
        _ => "some",
    }
}

async fn call(router: &Router, operation: &Operation, token: &str) -> (u16, Value) {
    let request = Request::builder()
        .method(operation.method.as_str())
        .uri(&operation.path)
        .header("authorization", format!("Bearer {token}"));
    let request = match &operation.body {
        Some(body) => {
            request.header("content-type", "application/json").body(Body::from(body.to_string()))
        }
        None => request.body(Body::empty()),
    };
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[sqlx::test(migrations = "../migrations")]
async fn each_role_may_what_the_table_says(db: PgPool) {
    let app = testing::app(db).await;
    let router = crate::http::router(&app);
    let mut wrong = matrix::unknown(&operations());
    for role in Role::ALL {
        let token = testing::token(&app, &testing::member(&app, role).await);
        for operation in all() {
            let Some(who) = matrix::who(&operation.id) else { continue };
            let (status, answer) = call(&router, &operation, &token).await;
            // Not every 403 speaks of the role: who has no cookie is told of that.
            let refused = status == 403;
            let asked = who != matrix::Who::Anybody;
            if status >= 500 || asked && (status == 401 || refused == who.lets(role)) {
                let (id, body) = (&operation.id, &operation.body);
                wrong.push(format!("{id} as {role:?} with {body:?}: {status} {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_one_line_for_each_operation_and_no_dead_one() {
    let mut lines = matrix::operations();
    let all = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), all, "an operation has two lines");
    let served = [crate::graphql::walk::operations(), operations()].concat();
    let dead: Vec<&str> =
        lines.into_iter().filter(|line| !served.iter().any(|name| name == line)).collect();
    assert!(dead.is_empty(), "no face has {dead:?}");
}
