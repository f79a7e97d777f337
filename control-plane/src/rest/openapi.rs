//! The description of every REST path, OpenAPI 3.1, at `/v1/openapi.json`.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::api_version::VERSIONS;
use crate::app::App;
use crate::rest::deprecation;

/// What the operations are about.
const TAGS: [(&str, &str); 21] = [
    ("session", "Sign-up, log-in, and the session behind the refresh cookie."),
    ("user", "The caller's own account: password, address, and its end."),
    ("apis", "Apis: the draft that people edit."),
    ("resources", "Resources: the tree of an Api's paths; a method is a route on one."),
    ("routes", "Routes: a method and a path, and where calls of them go."),
    ("integrations", "Integrations: what answers a route's calls."),
    ("deployments", "Deployments: frozen copies of a draft."),
    ("stages", "Stages: what consumers call; each points at a deployment."),
    ("usage plans", "Usage plans: how fast and how much a key may call."),
    ("API keys", "API keys: what a consumer sends with each call."),
    ("consumers", "Consumers: the owners of keys."),
    (
        "vpc-links",
        "VPC links: the targets that integrations connect to, and how calls are spread among them.",
    ),
    (
        "client-certificates",
        "Client certificates: what nodes show to backends over TLS that ask for one.",
    ),
    (
        "secrets",
        "Secrets: texts and credentials of AWS that integrations use, written and never shown.",
    ),
    ("usage", "What was called, what it costs, and both to take away."),
    (
        "access keys",
        "Access keys: what programs are to sign management calls with, by AWS Signature Version 4. No operation takes a \
         signature yet.",
    ),
    ("tenant", "The tenant itself, and how much it may have."),
    ("members", "The members of the tenant, and who is invited to become one."),
    ("audit", "Who changed what."),
    (
        "management requests",
        "What was asked of this API in the last 30 days: where an error's `logUrl` leads.",
    ),
    ("operator", "For the operator of the installation."),
];

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "session", operation_id = "getOpenApi",
    responses((status = 200, body = Object, content_type = "application/json")))]
async fn get() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(openapi_document);
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}

/// The document as `tollgate print-openapi` prints it.
pub fn openapi_document() -> String {
    let mut text = format!("{:#}", document());
    text.push('\n');
    text
}

fn document() -> Value {
    let (_, described) = super::api().split_for_parts();
    let mut document = json!(described);
    document["openapi"] = json!("3.1.0");
    document["info"] = json!({
        "title": "Tollgate",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "The management API of a multi-tenant API gateway. JSON is camelCase, times are RFC 3339 \
            in UTC. Lists take `limit` (1 to 100, 20 by default) and `cursor`, and give `{items, nextCursor}`, and the \
            next page as `Link: <…>; rel=\"next\"` (RFC 8288) too. \
            Errors are RFC 9457 problems with `code`, `param`, `requestId` and, where the caller's tenant has the request \
            in its log, `logUrl`; an `x-request-id` of the caller's own finds it there too. Unknown fields are refused. A body \
            has at most 1 MiB. A POST with an `Idempotency-Key` takes effect once in 24 hours, whichever replicas \
            get its tries. The key is ignored by sign-up, log-in and the refreshing of sessions, whose answers hold \
            tokens. What is read alone has an `ETag`, for `If-None-Match` and `If-Match`. `Api-Version` names the \
            dated version that a call speaks; where it is left out, that which was the newest when the session \
            began. Each answer has it. What goes away \
            has `Deprecation` (RFC 9745) and `Sunset` (RFC 8594) for at least twelve months. `RateLimit` tells what \
            is left of the caller's points, of which a GET takes 1, a change 5, and what adds usage up 20; 429 where there are too few.".to_owned()
            + &super::parity::text(),
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    document["x-api-versions"] = json!(VERSIONS);
    document["servers"] = json!([{ "url": "/v1" }]);
    document["components"]["securitySchemes"] = json!({
        "accessToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "What sign-up, log-in and refreshing give; it lasts for minutes.",
        },
        "refreshCookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": super::session::COOKIE,
            "description": "Refreshes and ends a session, and nothing else.",
        },
    });
    let tags = TAGS.map(|(name, description)| json!({ "name": name, "description": description }));
    document["tags"] = json!(tags);
    join_parts(&mut document["components"]["schemas"]);
    describe_versions(&mut document);
    deprecation::describe(&mut document, deprecation::DEPRECATED);
    for (method, operation) in operations_mut(&mut document) {
        add_parameter(operation, api_version());
        let post = method == "post";
        if post && operation["security"][0]["accessToken"].is_array() {
            add_parameter(operation, idempotency_key());
        }
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        if parameters.any(|parameter| parameter["name"] == "cursor") {
            operation["responses"]["200"]["headers"]["Link"] = json!({
                "description": "The next page, where there is one: `<…>; rel=\"next\"`.",
                "schema": { "type": "string" },
            });
        }
        // OpenAPI wants a description of each response.
        let responses = operation["responses"].as_object_mut();
        for (status, response) in responses.into_iter().flat_map(Map::iter_mut) {
            if response["description"].is_null() {
                let text =
                    if status.starts_with('4') { "What the caller can mend." } else { "Done." };
                response["description"] = json!(text);
            }
        }
        // Whatever else goes wrong is a problem too.
        operation["responses"]["default"] = json!({
            "description": "A problem.",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
    }
    document
}

/// A path whose GET answers with a noun's `version` has an `ETag`, which its other methods take as `If-Match`.
fn describe_versions(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for path in document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        let content = &path["get"]["responses"]["200"]["content"]["application/json"];
        let name = content["schema"]["$ref"].as_str().and_then(|to| to.rsplit('/').next());
        let of = name.map(|name| &schemas[name]["properties"]["version"]["type"]);
        if of != Some(&json!("string")) {
            continue;
        }
        let header = |name: &str, description: &str| {
            let schema = json!({ "type": "string" });
            json!({ "name": name, "in": "header", "description": description, "schema": schema })
        };
        let get = &mut path["get"];
        add_parameter(get, header("If-None-Match", "`ETag`s that the caller has the answer of."));
        get["responses"]["200"]["headers"] = json!({ "ETag": { "schema": { "type": "string" } } });
        get["responses"]["304"] = json!({ "description": "The caller has the answer already." });
        for method in ["put", "patch", "delete"] {
            if path.get(method).is_some() {
                let rule = "The `ETag` or `version` that is to be changed; 412 where it is another by now.";
                add_parameter(&mut path[method], header("If-Match", rule));
            }
        }
    }
}

/// Writes what is flattened into an object among the object's own properties. Under `allOf`, a part that takes no
/// other properties would refuse those of the rest.
fn join_parts(schemas: &mut Value) {
    fn walk(schemas: &Value, at: &mut Value) {
        let joined = at["allOf"].is_array().then(|| properties(schemas, at)).flatten();
        if let (Some((properties, required)), Some(schema)) = (joined, at.as_object_mut()) {
            schema.remove("allOf");
            schema.insert("type".to_owned(), json!("object"));
            schema.insert("properties".to_owned(), Value::Object(properties));
            schema.insert("required".to_owned(), json!(required));
        }
        match at {
            Value::Object(fields) => fields.values_mut().for_each(|field| walk(schemas, field)),
            Value::Array(items) => items.iter_mut().for_each(|item| walk(schemas, item)),
            _ => {}
        }
    }
    let written = schemas.clone();
    walk(&written, schemas);
}

/// The properties of an object with all its parts, and which of them are always there; none for what is no object.
fn properties(schemas: &Value, schema: &Value) -> Option<(Map<String, Value>, Vec<Value>)> {
    if let Some(name) = schema["$ref"].as_str() {
        return properties(schemas, &schemas[name.rsplit('/').next()?]);
    }
    if let Some(either) = schema["oneOf"].as_array() {
        // An optional part.
        let [part, none] = either.as_slice() else { return None };
        let (properties, _) = properties(schemas, part).filter(|_| none["type"] == "null")?;
        return Some((properties, Vec::new()));
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let (mut all, mut always) = (Map::new(), Vec::new());
        for part in parts {
            let (properties, required) = properties(schemas, part)?;
            all.extend(properties);
            always.extend(required);
        }
        return Some((all, always));
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    Some((schema["properties"].as_object()?.clone(), required))
}

fn add_parameter(operation: &mut Value, parameter: Value) {
    match &mut operation["parameters"] {
        Value::Array(parameters) => parameters.push(parameter),
        none => *none = json!([parameter]),
    }
}

fn api_version() -> Value {
    json!({
        "name": "Api-Version",
        "in": "header",
        "description": "The dated version that this call speaks. Where it is left out: that which was the newest when \
            the session began.",
        "schema": { "type": "string", "enum": VERSIONS },
    })
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Drawn by the caller for this one change. The same key and request again give the first \
            answer again, with `Idempotent-Replayed: true`; another request gives 422 `idempotency_key_reuse`, a \
            try while one is in progress 409 `idempotency_key_in_use`. What failed is not kept.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
    })
}

fn operations_mut(document: &mut Value) -> impl Iterator<Item = (String, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    paths
        .filter_map(Value::as_object_mut)
        .flat_map(Map::iter_mut)
        .filter_map(|(key, value)| METHODS.contains(&key.as_str()).then(|| (key.clone(), value)))
}

/// The methods that an OpenAPI path may have.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::Router;
    use axum::body::Body;
    use axum::http::{Method, Request, StatusCode};
    use http_body_util::BodyExt;
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::access::role::Role;
    use crate::testing;

    /// What may be called without an access token. Anything else that nobody may call is a mistake.
    const PUBLIC: [(&str, &str); 12] = [
        ("delete", "/session"), // by the refresh cookie
        ("post", "/session"),   // by the refresh cookie
        ("get", "/openapi.json"),
        ("get", "/downloads/{token}"),    // by the link's own token
        ("post", "/invitations/accept"),  // by the invitation's token
        ("post", "/invitations/preview"), // by the invitation's token
        ("post", "/email-verification"),  // by the link's token
        ("post", "/password-reset"),
        ("put", "/password-reset"), // by the link's token
        ("post", "/login"),
        ("post", "/operator/session"), // by the one-time link's token
        ("post", "/signup"),
    ];

    /// Every (method, path, operation) of the document.
    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let paths = document["paths"].as_object().unwrap();
        let all = paths.iter().flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(|(method, operation)| (method.clone(), path.clone(), operation.clone()))
        });
        all.collect()
    }

    /// A path with ids that could be some.
    fn filled(path: &str) -> String {
        let parts = path.split('/').map(|part| match part {
            "{consumerId}" | "{invitationId}" | "{secretId}" | "{userId}" => {
                "0198f2a0-0000-7000-8000-000000000000"
            }
            "{accessKeyId}" => "TGAKABCDEFGHIJKLMNOP",
            "{responseType}" => "THROTTLED",
            part if part.ends_with("Id}") => "abc123xyz0",
            part if part.starts_with('{') => "prod",
            part => part,
        });
        format!("/v1{}", parts.collect::<Vec<_>>().join("/"))
    }

    async fn call(
        router: &Router,
        method: &str,
        path: &str,
        token: Option<&str>,
    ) -> (StatusCode, Value) {
        let method: Method = method.to_uppercase().parse().unwrap();
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from("{}")).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[test]
    fn every_operation_has_an_id_of_its_own_a_tag_a_summary_and_problems() {
        let document = document();
        let tags: BTreeSet<&str> = TAGS.iter().map(|(name, _)| *name).collect();
        let mut ids = BTreeSet::new();
        for (method, path, operation) in operations(&document) {
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert!(
                id.len() > 4 && id.chars().all(char::is_alphanumeric),
                "{method} {path}: {id:?}"
            );
            assert!(ids.insert(id.to_owned()), "{method} {path}: {id} is another's");
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            assert!(tags.contains(tag), "{method} {path}: {tag:?}");
            assert!(operation["summary"].is_string(), "{method} {path} says nothing");
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            for response in operation["responses"].as_object().unwrap().values() {
                assert!(response["description"].is_string(), "{method} {path}: {response}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["schema"].is_object(), "{method} {path}: {parameter}");
            }
        }
        assert!(document["components"]["schemas"]["Problem"].is_object());
    }

    #[test]
    fn what_is_flattened_is_described_as_one_object() {
        let document = document();
        assert!(!document["components"].to_string().contains("allOf"));
        let schemas = &document["components"]["schemas"];
        let of = |name: &str, list: &str| schemas[name][list].to_string();
        for field in ["\"id\"", "\"uri\"", "\"createdAt\""] {
            assert!(of("Integration", "properties").contains(field), "{field}");
        }
        assert!(of("CreatedAccessKey", "required").contains("secretAccessKey"));
        assert!(of("CreatedAccessKey", "required").contains("accessKeyId"));
        // Who had an account already is not logged in by an invitation.
        assert!(of("AcceptedInvitation", "properties").contains("accessToken"));
        assert!(!of("AcceptedInvitation", "required").contains("accessToken"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(document: &Value, at: &Value) {
            match at {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        let pointer = to.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{to}");
                    }
                    fields.values().for_each(|field| walk(document, field));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(document, item)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn the_document_lists_every_route_and_no_other(db: PgPool) {
        let app = testing::app(db).await;
        let document = document();
        let documented: BTreeSet<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        // axum names its paths nowhere else.
        let (rest, _) = super::super::api().split_for_parts();
        let debug = format!("{rest:?}");
        let routed: BTreeSet<&str> =
            debug.split('"').filter(|text| text.len() > 1 && text.starts_with('/')).collect();
        // The fallback is not a route of ours.
        let routed: BTreeSet<&str> =
            routed.into_iter().filter(|path| !path.contains("__private")).collect();
        assert_eq!(routed, documented);

        let router = crate::http::router(&app);
        for path in documented {
            for method in ["get", "put", "post", "delete", "patch"] {
                let known = document["paths"][path].get(method).is_some();
                let (status, _) = call(&router, method, &filled(path), None).await;
                let served = status != StatusCode::METHOD_NOT_ALLOWED;
                assert_eq!(served, known, "{method} {path} gave {status}");
            }
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn nobody_gets_in_but_by_the_public_doors(db: PgPool) {
        let app = testing::app(db).await;
        let router = crate::http::router(&app);
        for (method, path, operation) in operations(&document()) {
            let public = PUBLIC.contains(&(method.as_str(), path.as_str()));
            let scheme = operation["security"][0].as_object().and_then(|one| one.keys().next());
            let asks = scheme.is_some_and(|scheme| scheme == "accessToken");
            assert_ne!(public, asks, "{method} {path} is either public or asks for a token");
            if public {
                continue;
            }
            let (status, problem) = call(&router, &method, &filled(&path), None).await;
            assert_eq!(
                (status.as_u16(), problem["code"].as_str()),
                (401, Some("unauthenticated")),
                "{method} {path}"
            );
            assert!(problem["requestId"].is_string(), "{method} {path}");
        }
    }

    /// Ids that are nobody's, empty bodies: a stranger gets no answer of value and never a 500.
    #[sqlx::test(migrations = "../migrations")]
    async fn a_stranger_finds_nothing_by_ids_that_are_not_its_own(db: PgPool) {
        let app = testing::app(db).await;
        let router = crate::http::router(&app);
        let viewer = testing::token(&app, &testing::member(&app, Role::Viewer).await);
        let owner = testing::token(&app, &testing::owner(&app).await);
        for (method, path, _) in operations(&document()) {
            if PUBLIC.contains(&(method.as_str(), path.as_str())) {
                continue;
            }
            for token in [&viewer, &owner] {
                let (status, answer) = call(&router, &method, &filled(&path), Some(token)).await;
                assert!(!status.is_server_error(), "{method} {path}: {status} {answer}");
                if path.contains('{') {
                    assert!(status.is_client_error(), "{method} {path}: {status} {answer}");
                }
                if status.is_client_error() {
                    assert!(answer["code"].is_string(), "{method} {path}: {status} {answer}");
                }
            }
        }
    }
}
