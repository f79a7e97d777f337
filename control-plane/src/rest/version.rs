//! `Api-Version`: the dated version of the API that a call speaks, and that its answer is in.
//!
//! A new version is begun when something would break callers; what only adds begins none. A version answers for at
//! least twelve months after it is announced to end (`deprecation`).

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{Error, Result};

pub const HEADER: HeaderName = HeaderName::from_static("api-version");

/// The versions that are answered, the newest last: it is the one of calls that name none.
pub const VERSIONS: [&str; 1] = ["2026-11-20"];

/// The version that a call names, or the newest.
fn asked(headers: &HeaderMap) -> Result<&'static str> {
    let newest = VERSIONS[VERSIONS.len() - 1];
    let mut named = headers.get_all(HEADER).iter();
    let Some(name) = named.next() else { return Ok(newest) };
    let known = VERSIONS.into_iter().find(|version| name == *version);
    known.filter(|_| named.next().is_none()).ok_or_else(|| {
        let rule = format!("is one header with one of the known versions: {}", VERSIONS.join(", "));
        Error::bad_request("Api-Version", rule)
    })
}

/// The layer around both doors.
pub async fn layer(request: Request, next: Next) -> Response {
    let (version, mut response) = match asked(request.headers()) {
        Ok(version) => (version, next.run(request).await),
        Err(refusal) => (VERSIONS[VERSIONS.len() - 1], refusal.into_response()),
    };
    response.headers_mut().insert(HEADER, HeaderValue::from_static(version));
    response
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn an_answer_names_its_version_and_an_unknown_one_is_refused_with_the_known(db: PgPool) {
        let app = testing::app(db).await;
        let token = testing::token(&app, &testing::owner(&app).await);
        let call = async |line: &str, versions: &[&'static str]| {
            let (method, path) = line.split_once(' ').unwrap();
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json");
            for version in versions {
                request = request.header(HEADER, *version);
            }
            let body = json!({ "query": "{ viewer { operator } }" }).to_string();
            let body = if method == "POST" { Body::from(body) } else { Body::empty() };
            let request = request.body(body).unwrap();
            let response = crate::http::router(&app).oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let version = response.headers().get(HEADER).cloned();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            (status, version.map(|version| version.to_str().unwrap().to_owned()), body)
        };
        let named = |version: Option<String>| version.unwrap_or_default();
        for line in ["GET /v1/apis", "POST /graphql"] {
            for versions in [&[][..], &["2026-11-20"]] {
                let (status, version, body) = call(line, versions).await;
                assert_eq!((status, named(version)), (200, "2026-11-20".to_owned()), "{body}");
            }
            for wrong in [&["2026-11-19"][..], &["2026-11-20", "2026-11-20"], &[""], &["latest"]] {
                let (status, version, body) = call(line, wrong).await;
                assert_eq!((status, &body["param"]), (400, &json!("Api-Version")), "{body}");
                assert!(body["detail"].as_str().unwrap().contains(VERSIONS[0]), "{body}");
                assert_eq!(named(version), VERSIONS[0]);
            }
        }
        // What fails says its version too.
        let (status, version, _) = call("GET /v1/apis/abc123xyz0", &[]).await;
        assert_eq!((status, named(version)), (404, VERSIONS[0].to_owned()));
    }

    #[test]
    fn versions_are_dates_in_order() {
        assert!(VERSIONS.is_sorted());
        for version in VERSIONS {
            assert!(version.parse::<chrono::NaiveDate>().is_ok(), "{version}");
        }
    }
}
