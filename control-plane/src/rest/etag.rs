//! `ETag` on every noun that is read alone, `If-None-Match` and `If-Match`.
//!
//! A tag is the noun's version, then a digest of the answer's bytes: some answers also tell what changes beside the
//! noun. `If-None-Match` means the whole, `If-Match` the version alone.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::access::precondition::Precondition;
use crate::error::{Error, Result};

/// How many bytes of the digest a tag has.
const DIGEST_BYTES: usize = 8;
/// What stands between version and digest.
const SEPARATOR: char = '.';

/// A noun that knows its version, as an answer.
pub trait Tagged: Serialize {
    fn version(&self) -> &str;
}

/// The noun as JSON, with its `ETag`.
pub struct Tag<T>(pub T);

impl<T: Tagged> IntoResponse for Tag<T> {
    fn into_response(self) -> Response {
        let body = match serde_json::to_vec(&self.0) {
            Ok(body) => body,
            Err(cause) => return Error::internal(cause).into_response(),
        };
        let digest = hex::encode(&Sha256::digest(&body)[..DIGEST_BYTES]);
        let tag = format!("\"{}{SEPARATOR}{digest}\"", self.0.version());
        let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// Derived noun by noun: `tagged!(Api, Route)`.
macro_rules! tagged {
    ($($noun:ty),+) => {$(
        impl $crate::rest::etag::Tagged for $noun {
            fn version(&self) -> &str {
                &self.version
            }
        }
    )+};
}
pub(crate) use tagged;

/// What `If-Match` asks for.
pub fn precondition(headers: &HeaderMap) -> Result<Precondition> {
    let mut given = headers.get_all(header::IF_MATCH).iter().peekable();
    if given.peek().is_none() {
        return Ok(Precondition::default());
    }
    let wrong = || Error::bad_request("If-Match", "is * or a list of tags like \"a\", \"b\"");
    let mut versions = Vec::new();
    for line in given {
        for tag in line.to_str().map_err(|_| wrong())?.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(Precondition::default());
            }
            // A weak tag is nobody's (RFC 9110 §13.1.1).
            let strong = !tag.starts_with("W/");
            let tag = tag.trim_start_matches("W/").strip_prefix('"');
            let tag = tag.and_then(|tag| tag.strip_suffix('"')).ok_or_else(wrong)?;
            let version = tag.split_once(SEPARATOR).map_or(tag, |(version, _)| version);
            versions.extend(strong.then(|| version.to_owned()));
        }
    }
    Ok(Precondition::one_of(versions))
}

/// The layer that answers 304 where the caller has the answer already.
pub async fn layer(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let held: Vec<HeaderValue> =
        request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let response = next.run(request).await;
    let Some(tag) = response.headers().get(header::ETAG) else { return response };
    let Ok(name) = tag.to_str() else { return response };
    let mut held = held.iter().filter_map(|line| line.to_str().ok());
    let same = |tag: &str| tag == "*" || tag.trim_start_matches("W/") == name;
    if response.status() == StatusCode::OK
        && held.any(|line| line.split(',').map(str::trim).any(same))
    {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag.clone())]).into_response();
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::app::App;
    use crate::domain::api::Dialect;
    use crate::testing;

    struct Caller {
        router: Router,
        token: String,
    }

    #[derive(Debug)]
    struct Got {
        status: u16,
        tag: String,
        body: Value,
    }

    impl Caller {
        async fn new(app: &App) -> Self {
            let owner = testing::owner(app).await;
            Self { router: crate::http::router(app), token: testing::token(app, &owner) }
        }

        async fn send(&self, line: &str, condition: (&str, &str), body: &Value) -> Got {
            let (method, path) = line.split_once(' ').unwrap();
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header("authorization", format!("Bearer {}", self.token))
                .header("content-type", "application/json");
            if !condition.0.is_empty() {
                request = request.header(condition.0, condition.1);
            }
            let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
            let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
            let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
            let status = response.status().as_u16();
            let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            Got { status, tag: tag.unwrap_or_default(), body }
        }

        async fn get(&self, path: &str) -> Got {
            self.send(&format!("GET {path}"), ("", ""), &Value::Null).await
        }

        async fn made(&self, path: &str, body: Value) -> String {
            let got = self.send(&format!("POST {path}"), ("", ""), &body).await;
            assert_eq!(got.status, 201, "{path}: {got:?}");
            let id = ["id", "accessKeyId", "name"].iter().find_map(|id| got.body[*id].as_str());
            let id = id.unwrap();
            format!("{path}/{id}")
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn every_noun_is_changed_and_deleted_only_as_it_was_seen(db: PgPool) {
        let app = testing::app(db).await;
        let alice = Caller::new(&app).await;
        let api = alice.made("/v1/apis", json!({ "name": "pets", "dialect": "aws-rest" })).await;
        let tree = alice.get(&format!("{api}/resources")).await;
        let child = json!({ "parentId": tree.body["items"][0]["id"], "pathPart": "pets" });
        let mock = json!({ "type": "MOCK", "mockResponse": { "status": 200, "body": "" } });
        let route = json!({ "method": "GET", "path": "/cats" });
        let named = |name: &str| json!({ "name": name });
        let nouns = [
            (alice.made("/v1/usage-plans", named("gold")).await, named("silver")),
            (alice.made("/v1/api-keys", named("k")).await, named("l")),
            (alice.made("/v1/access-keys", named("k")).await, named("l")),
            (alice.made("/v1/consumers", named("acme")).await, Value::Null),
            (alice.made(&format!("{api}/resources"), child).await, Value::Null),
            (alice.made(&format!("{api}/routes"), route).await, json!({ "apiKeyRequired": true })),
            (
                alice.made(&format!("{api}/integrations"), mock).await,
                json!({ "type": "MOCK", "mockResponse": { "status": 201, "body": "" } }),
            ),
            (
                alice.made(&format!("{api}/stages"), named("prod")).await,
                json!({ "description": "live" }),
            ),
            (api, json!({ "description": "furry" })),
        ];
        for (path, change) in nouns {
            let first = alice.get(&path).await;
            assert!(first.status == 200 && first.tag.starts_with('"'), "{path}: {first:?}");
            let mut known = first.tag.clone();
            if !change.is_null() {
                let method = if path.contains("/integrations/") { "PUT" } else { "PATCH" };
                let change_line = format!("{method} {path}");
                let done = alice.send(&change_line, ("if-match", &known), &change).await;
                assert_eq!(done.status, 200, "{path}: {done:?}");
                let now = alice.get(&path).await;
                assert_ne!(now.body["version"], first.body["version"], "{path}");
                assert_eq!((&now.tag, &now.body), (&done.tag, &done.body), "{path}");
                let late = alice.send(&change_line, ("if-match", &known), &change).await;
                assert_eq!((late.status, &late.body["code"]), (412, &json!("precondition_failed")));
                assert_eq!(late.body["version"], now.body["version"], "{late:?}");
                assert_eq!(alice.get(&path).await.body, now.body, "{path}");
                known = now.tag;
                let delete = format!("DELETE {path}");
                let late = alice.send(&delete, ("if-match", &first.tag), &Value::Null).await;
                assert_eq!(late.status, 412, "{path}: {late:?}");
            }
            let delete = format!("DELETE {path}");
            for other in ["\"another\"", "W/\"weak\"", &format!("W/{known}")] {
                let refused = alice.send(&delete, ("if-match", other), &Value::Null).await;
                assert_eq!(refused.status, 412, "{path}: {refused:?}");
            }
            let either = format!("\"another\", {known}");
            let gone = alice.send(&delete, ("if-match", &either), &Value::Null).await;
            assert_eq!(gone.status, 204, "{path}: {gone:?}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn of_many_changes_of_one_version_one_is_made(db: PgPool) {
        let app = testing::app(db).await;
        let alice = std::sync::Arc::new(Caller::new(&app).await);
        let plan = alice.made("/v1/usage-plans", json!({ "name": "gold" })).await;
        let tag = alice.get(&plan).await.tag;
        let changes = (0..12).map(|index| {
            let (alice, plan, tag) = (alice.clone(), plan.clone(), tag.clone());
            tokio::spawn(async move {
                let change = json!({ "description": index.to_string() });
                alice.send(&format!("PATCH {plan}"), ("if-match", &tag), &change).await.status
            })
        });
        let mut done = Vec::new();
        for change in changes.collect::<Vec<_>>() {
            done.push(change.await.unwrap());
        }
        done.sort_unstable();
        assert_eq!(done[0], 200);
        assert!(done[1..].iter().all(|status| *status == 412), "{done:?}");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_has_the_answer_already_is_told_so(db: PgPool) {
        let app = testing::app(db).await;
        let alice = Caller::new(&app).await;
        let plan = alice.made("/v1/usage-plans", json!({ "name": "gold" })).await;
        let tag = alice.get(&plan).await.tag;
        let ask = async |held: &str| {
            alice.send(&format!("GET {plan}"), ("if-none-match", held), &Value::Null).await
        };
        for held in [tag.as_str(), "*", &format!("\"x\", W/{tag}")] {
            let got = ask(held).await;
            assert_eq!((got.status, &got.tag, &got.body), (304, &tag, &Value::Null), "{held}");
        }
        assert_eq!(ask("\"x\"").await.status, 200);
        alice.send(&format!("PATCH {plan}"), ("", ""), &json!({ "name": "silver" })).await;
        assert_eq!(ask(&tag).await.status, 200);
        let missing = alice.send("GET /v1/apis/abc123xyz0", ("if-none-match", "*"), &Value::Null);
        assert_eq!(missing.await.status, 404);
    }

    /// A stage also tells whether its Api's draft is ahead of it: another answer, the same stage.
    #[sqlx::test(migrations = "../migrations")]
    async fn what_changes_beside_the_noun_changes_the_tag_and_not_the_version(db: PgPool) {
        let app = testing::app(db).await;
        let owner = testing::owner(&app).await;
        let api = testing::new_api(&app, &owner, Dialect::Native).await;
        testing::new_route(&app, &owner, api, "GET /a", testing::mock("a")).await;
        testing::deploy(&app, &owner, api, "prod").await.unwrap();
        let alice =
            Caller { router: crate::http::router(&app), token: testing::token(&app, &owner) };
        let stage = format!("/v1/apis/{api}/stages/prod");
        let live = alice.get(&stage).await;
        testing::new_route(&app, &owner, api, "GET /b", testing::mock("b")).await;
        let behind = alice.get(&stage).await;
        assert_ne!(live.tag, behind.tag);
        assert_eq!(live.body["version"], behind.body["version"]);
        let change = json!({ "description": "live" });
        let done = alice.send(&format!("PATCH {stage}"), ("if-match", &live.tag), &change).await;
        assert_eq!(done.status, 200, "{done:?}");

        // The same name again is another stage.
        alice.send(&format!("DELETE {stage}"), ("", ""), &Value::Null).await;
        alice.made(&format!("/v1/apis/{api}/stages"), json!({ "name": "prod" })).await;
        let anew = alice.get(&stage).await;
        assert_ne!(anew.body["version"], live.body["version"]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_is_no_tag_is_named(db: PgPool) {
        let app = testing::app(db).await;
        let alice = Caller::new(&app).await;
        let plan = alice.made("/v1/usage-plans", json!({ "name": "gold" })).await;
        for wrong in ["", "x", "\"x", "\"a\",,"] {
            let change = json!({ "name": "silver" });
            let got = alice.send(&format!("PATCH {plan}"), ("if-match", wrong), &change).await;
            assert_eq!((got.status, &got.body["param"]), (400, &json!("If-Match")), "{wrong:?}");
        }
        let any = alice.send(&format!("DELETE {plan}"), ("if-match", "*"), &Value::Null).await;
        assert_eq!(any.status, 204);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn graphql_knows_the_same_versions(db: PgPool) {
        let app = testing::app(db).await;
        let alice = Caller::new(&app).await;
        let plan = alice.made("/v1/usage-plans", json!({ "name": "gold" })).await;
        let version = alice.get(&plan).await.body["version"].clone();
        let ask = async |query: &str, input: Value| {
            let body = json!({ "query": query, "variables": { "input": input } });
            alice.send("POST /graphql", ("", ""), &body).await.body
        };
        let list = ask("{ usagePlans(first: 1) { nodes { id version } } }", Value::Null).await;
        let node = &list["data"]["usagePlans"]["nodes"][0];
        assert_eq!(node["version"], version, "{list}");

        let update = "mutation($input: UpdateUsagePlanInput!) { updateUsagePlan(input: $input) {
            usagePlan { version } userErrors { code param message } } }";
        let change = |version: &Value| json!({ "id": node["id"], "name": "silver", "expectedVersion": version });
        let done = ask(update, change(&version)).await;
        let next = done["data"]["updateUsagePlan"]["usagePlan"]["version"].clone();
        assert!(next.is_string() && next != version, "{done}");
        let conflict = json!([{ "code": "VERSION_CONFLICT", "param": "expectedVersion" }]);
        let mut late = ask(update, change(&version)).await;
        let errors = &mut late["data"]["updateUsagePlan"]["userErrors"];
        let message = errors[0].as_object_mut().unwrap().remove("message").unwrap();
        assert!(message.as_str().unwrap().contains(next.as_str().unwrap()), "{message}");
        assert_eq!(*errors, conflict);
        let delete = "mutation($input: DeleteInput!) { deleteUsagePlan(input: $input) {
            deletedId userErrors { code param } } }";
        let remove = |version: &Value| json!({ "id": node["id"], "expectedVersion": version });
        let late = ask(delete, remove(&version)).await;
        assert_eq!(late["data"]["deleteUsagePlan"]["userErrors"], conflict, "{late}");
        let done = ask(delete, remove(&next)).await;
        assert_eq!(done["data"]["deleteUsagePlan"]["deletedId"], node["id"], "{done}");
    }
}
