//! The console's own documents, which it names by the SHA-256 of their text instead of sending them.
//!
//! The console's build leaves a manifest of them beside its files. Nobody adds to it: what is sent together with its
//! hash is run and forgotten, so that a stranger can neither fill our memory nor plant a document under a hash. In a
//! request the hash stands where Apollo's clients put it: `extensions.persistedQuery.sha256Hash`.

use std::collections::HashMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The extension of a request that names its document.
pub const EXTENSION: &str = "persistedQuery";
/// The one version that there is of it.
const VERSION: u64 = 1;

/// The SHA-256 of a document's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DocumentHash([u8; 32]);

impl DocumentHash {
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// The hash that a request's extension names: 64 hexadecimal digits, the letters small.
    pub fn named(extension: &Value) -> Result<Self> {
        let wrong = |field: &str, rule: &str| {
            Error::bad_request(field, rule).within(EXTENSION).within("extensions")
        };
        let Value::Object(given) = extension else {
            return Err(wrong("", "must be an object"));
        };
        if given.get("version").and_then(Value::as_u64) != Some(VERSION) {
            return Err(wrong("version", "must be 1"));
        }
        let hash = given.get("sha256Hash").and_then(Value::as_str).and_then(Self::read);
        hash.ok_or_else(|| wrong("sha256Hash", "must be 64 hexadecimal digits in lower case"))
    }

    fn read(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let small = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        (small && hex::decode_to_slice(text, &mut hash).is_ok()).then_some(Self(hash))
    }
}

/// The documents that need not be sent. There are as many as the console has.
#[derive(Debug, Default)]
pub struct Persisted(HashMap<DocumentHash, String>);

impl Persisted {
    /// Reads a manifest: an object with each document's text under its hash.
    pub fn new(manifest: &[u8]) -> Result<Self> {
        let corrupt = |cause: String| Error::corrupt("manifest of documents", cause);
        let listed: HashMap<String, String> =
            serde_json::from_slice(manifest).map_err(|cause| corrupt(cause.to_string()))?;
        let documents = listed.into_iter().map(|(hash, text)| {
            let held = DocumentHash::of(&text);
            match DocumentHash::read(&hash) {
                Some(named) if named == held => Ok((held, text)),
                _ => Err(corrupt(format!("{hash} is the hash of another document"))),
            }
        });
        documents.collect::<Result<_>>().map(Self)
    }

    /// The document that a request means, by its text, its hash, or both.
    pub fn document(&self, text: Option<String>, hash: Option<DocumentHash>) -> Result<String> {
        match (text, hash) {
            (Some(text), None) => Ok(text),
            // By the protocol of the WebSocket `query` cannot be left out; it is empty there.
            (Some(text), Some(hash)) if !text.is_empty() => {
                if hash == DocumentHash::of(&text) {
                    return Ok(text);
                }
                let rule = "has not the hash that extensions.persistedQuery.sha256Hash names";
                Err(Error::bad_request("query", rule))
            }
            (_, Some(hash)) => self.0.get(&hash).cloned().ok_or(Error::PersistedQueryNotFound),
            (None, None) => Err(Error::bad_request("query", "must be a string")),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::{HeaderMap, Request};
    use serde_json::json;
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::app::App;
    use crate::testing;

    const VIEWER: &str =
        "\n  query Viewer {\n  viewer { user { email } }\n  rateLimit { cost }\n}\n";
    const CREATE: &str =
        "mutation Create($input: CreateUsagePlanInput!) { createUsagePlan(input: $input) {
        usagePlan { id name } userErrors { code } } }";
    const DEEP: &str =
        "{ usagePlans(first: 100) { nodes { apiKeys(first: 100) { nodes { id } } } } }";
    const INTROSPECTION: &str = "{ __schema { queryType { name } } }";

    /// What a request has instead of a document.
    pub(crate) fn named(text: &str) -> Value {
        json!({ "persistedQuery": { "version": 1, "sha256Hash": hex::encode(DocumentHash::of(text).0) } })
    }

    pub(crate) fn holding(texts: &[&str]) -> Persisted {
        let hash = |text: &str| hex::encode(DocumentHash::of(text).0);
        let manifest: HashMap<_, _> = texts.iter().map(|text| (hash(text), *text)).collect();
        Persisted::new(json!(manifest).to_string().as_bytes()).unwrap()
    }

    struct Got {
        status: u16,
        headers: HeaderMap,
        body: Value,
    }

    impl Got {
        #[track_caller]
        fn is_refused(&self, status: u16, code: &str, param: Option<&str>) {
            let error = &self.body["errors"][0];
            let told = (
                self.status,
                error["extensions"]["code"].as_str(),
                error["extensions"]["param"].as_str(),
            );
            assert_eq!(told, (status, Some(code), param), "{}", self.body);
            assert!(self.body.get("data").is_none(), "{}", self.body);
        }
    }

    struct Caller {
        router: Router,
        token: Option<String>,
    }

    impl Caller {
        /// Somebody who calls a control plane that came with a console of these documents.
        async fn of(app: &App, texts: &[&str]) -> Self {
            let token = Some(testing::token(app, &testing::owner(app).await));
            Self { router: crate::rest::router(app, holding(texts)), token }
        }

        async fn post(&self, body: &Value, key: Option<&str>) -> Got {
            let mut request = Request::post("/graphql").header("content-type", "application/json");
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let request = request.body(Body::from(body.to_string())).unwrap();
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let body = serde_json::from_slice(&body).unwrap();
            Got { status: parts.status.as_u16(), headers: parts.headers, body }
        }

        async fn ask(&self, body: Value) -> Got {
            self.post(&body, None).await
        }
    }

    #[test]
    fn a_manifest_is_taken_whole_or_not_at_all() {
        let hash = hex::encode(DocumentHash::of(VIEWER).0);
        let taken = Persisted::new(json!({ &hash: VIEWER }).to_string().as_bytes()).unwrap();
        assert_eq!(taken.document(None, Some(DocumentHash::of(VIEWER))).unwrap(), VIEWER);
        for wrong in [
            json!({ &hash: VIEWER, "0".repeat(64): "{ viewer { operator } }" }),
            json!({ format!("sha256:{hash}"): VIEWER }),
            json!({ hash.to_uppercase(): VIEWER }),
            json!({ &hash: 7 }),
            json!([VIEWER]),
        ] {
            assert!(Persisted::new(wrong.to_string().as_bytes()).is_err(), "{wrong}");
        }
        assert!(Persisted::new(b"").is_err());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_document_is_run_by_its_hash_as_it_is_by_its_text(db: PgPool) {
        let app = testing::app(db).await;
        let caller = Caller::of(&app, &[VIEWER]).await;
        let by_text = caller.ask(json!({ "query": VIEWER })).await;
        assert!(by_text.body["data"]["viewer"]["user"]["email"].is_string(), "{}", by_text.body);
        for body in [
            json!({ "extensions": named(VIEWER) }),
            json!({ "query": null, "extensions": named(VIEWER), "operationName": "Viewer" }),
            json!({ "query": "", "extensions": named(VIEWER), "variables": {} }),
            json!({ "query": VIEWER, "extensions": named(VIEWER) }),
        ] {
            let got = caller.ask(body.clone()).await;
            assert_eq!((got.status, &got.body), (200, &by_text.body), "{body}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_unknown_hash_is_told_in_apollos_words_and_nobody_can_make_it_known(db: PgPool) {
        let app = testing::app(db).await;
        let caller = Caller::of(&app, &[]).await;
        let unknown = async || {
            let got = caller.ask(json!({ "extensions": named(VIEWER) })).await;
            got.is_refused(400, "PERSISTED_QUERY_NOT_FOUND", None);
            assert_eq!(got.body["errors"][0]["message"], "PersistedQueryNotFound");
        };
        unknown().await;
        let both = caller.ask(json!({ "query": VIEWER, "extensions": named(VIEWER) })).await;
        assert!(both.status == 200 && both.body.get("errors").is_none(), "{}", both.body);
        unknown().await;
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_hash_that_is_none_or_of_another_document_is_refused(db: PgPool) {
        let app = testing::app(db).await;
        let caller = Caller::of(&app, &[VIEWER]).await;
        let good = named(VIEWER)["persistedQuery"]["sha256Hash"].as_str().unwrap().to_owned();
        let whole = "extensions.persistedQuery";
        let hash = "extensions.persistedQuery.sha256Hash";
        let version = "extensions.persistedQuery.version";
        for (given, param) in [
            (json!({ "version": 1, "sha256Hash": good[1..] }), hash),
            (json!({ "version": 1, "sha256Hash": format!("{good}0") }), hash),
            (json!({ "version": 1, "sha256Hash": format!("sha256:{good}") }), hash),
            (json!({ "version": 1, "sha256Hash": good.to_uppercase() }), hash),
            (json!({ "version": 1, "sha256Hash": "g".repeat(64) }), hash),
            (json!({ "version": 1, "sha256Hash": "é".repeat(32) }), hash),
            (json!({ "version": 1, "sha256Hash": "" }), hash),
            (json!({ "version": 1, "sha256Hash": 7 }), hash),
            (json!({ "version": 1, "sha256Hash": [good] }), hash),
            (json!({ "version": 1, "sha256Hash": null }), hash),
            (json!({ "version": 1 }), hash),
            (json!({ "sha256Hash": good }), version),
            (json!({ "version": 2, "sha256Hash": good }), version),
            (json!({ "version": "1", "sha256Hash": good }), version),
            (json!(good), whole),
            (json!([]), whole),
        ] {
            for query in [None, Some(VIEWER)] {
                let mut body = json!({ "extensions": { "persistedQuery": given } });
                if let Some(query) = query {
                    body["query"] = json!(query);
                }
                caller.ask(body).await.is_refused(400, "bad_request", Some(param));
            }
        }
        let other = json!({ "query": "{ viewer { operator } }", "extensions": named(VIEWER) });
        caller.ask(other).await.is_refused(400, "bad_request", Some("query"));
        for none in
            [json!({ "persistedQuery": null }), json!({ "other": 1 }), json!({}), json!(null)]
        {
            let body = json!({ "query": VIEWER, "extensions": none });
            assert_eq!(caller.ask(body).await.status, 200);
            let body = json!({ "extensions": none });
            caller.ask(body).await.is_refused(400, "bad_request", Some("query"));
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_hash_passes_by_no_limit_and_opens_no_other_door(db: PgPool) {
        let app = testing::app(db).await;
        let nested = "{ ".to_owned() + &"[".repeat(100);
        let long = format!("{{ __typename }} #{}", "x".repeat(64 * 1024));
        let mut caller = Caller::of(&app, &[DEEP, &nested, &long, INTROSPECTION, CREATE]).await;
        for text in [DEEP, &nested, &long] {
            let got = caller.ask(json!({ "extensions": named(text) })).await;
            got.is_refused(422, "limit_exceeded", Some("query"));
        }
        let body = json!({ "extensions": named(CREATE), "variables": { "input": { "name": 7 } } });
        caller.ask(body).await.is_refused(400, "bad_request", Some("input.name"));

        caller.token = None;
        let got = caller.ask(json!({ "extensions": named(INTROSPECTION) })).await;
        got.is_refused(401, "unauthenticated", None);
        let extensions = named(CREATE).to_string();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("extensions", &extensions)
            .append_pair("variables", r#"{"input":{"name":"gold"}}"#)
            .finish();
        let request = Request::get(format!("/graphql?{query}")).body(Body::empty()).unwrap();
        let response = caller.router.clone().oneshot(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"POST".parse().unwrap())
        );
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_idempotency_key_knows_a_change_by_hash_and_by_text_for_the_same(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let caller = Caller::of(&app, &[CREATE]).await;
        let hash = |name: &str| json!({ "extensions": named(CREATE), "variables": { "input": { "name": name } } });
        let text =
            |name: &str| json!({ "query": CREATE, "variables": { "input": { "name": name } } });
        let first = caller.post(&hash("gold"), Some("k")).await;
        assert_eq!(
            first.body["data"]["createUsagePlan"]["usagePlan"]["name"], "gold",
            "{}",
            first.body
        );
        assert!(!first.headers.contains_key("idempotent-replayed"));
        // The second is sent whole, to a replica of another release.
        for again in [hash("gold"), text("gold")] {
            let again = caller.post(&again, Some("k")).await;
            assert!(again.headers.contains_key("idempotent-replayed"), "{}", again.body);
            assert_eq!(again.body, first.body);
        }
        let other = caller.post(&hash("silver"), Some("k")).await;
        other.is_refused(422, "idempotency_key_reuse", None);
        let plans: i64 =
            sqlx::query_scalar("select count(*) from usage_plan").fetch_one(&db).await.unwrap();
        assert_eq!(plans, 1);

        // A hash that was not known leaves the key as it was.
        let unknown = json!({ "extensions": named("mutation { gone }") });
        caller.post(&unknown, Some("l")).await.is_refused(400, "PERSISTED_QUERY_NOT_FOUND", None);
        let made = caller.post(&text("silver"), Some("l")).await;
        assert_eq!(made.body["data"]["createUsagePlan"]["userErrors"], json!([]), "{}", made.body);
    }
}
