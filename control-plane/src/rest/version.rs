//! `Api-Version`: the dated version of the API that a call speaks, and that its answer is in. A call that names none
//! speaks the one to which its session was pinned when it began, and without a session the newest.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;

use crate::access::api_version::{newest, spoken};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::extract;

pub const HEADER: HeaderName = HeaderName::from_static("api-version");

/// The version that a call is answered in.
fn asked(app: &App, headers: &HeaderMap) -> Result<NaiveDate> {
    let known = app.api_versions;
    let mut named = headers.get_all(HEADER).iter();
    let Some(name) = named.next() else {
        let token = headers.get(header::AUTHORIZATION).and_then(extract::bearer);
        let bearer = token.and_then(|token| app.tokens.verify(&app.clock, token).ok());
        return Ok(bearer.map_or(newest(known), |bearer| spoken(known, bearer.api_version)));
    };
    let version = known.iter().find(|version| *name == version.to_string());
    version.filter(|_| named.next().is_none()).copied().ok_or_else(|| {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let rule = format!("is one header with one of the known versions: {}", known.join(", "));
        Error::bad_request("Api-Version", rule)
    })
}

/// The layer around both doors.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let (version, mut response) = match asked(&app, request.headers()) {
        Ok(version) => (version, next.run(request).await),
        Err(refusal) => (newest(app.api_versions), refusal.into_response()),
    };
    if let Ok(version) = HeaderValue::try_from(version.to_string()) {
        response.headers_mut().insert(HEADER, version);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::access::actor::Origin;
    use crate::access::api_version;
    use crate::domain::session;
    use crate::testing;

    const FIRST: &str = "2026-11-20";

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
                assert!(body["detail"].as_str().unwrap().contains(FIRST), "{body}");
                assert_eq!(named(version), FIRST);
            }
        }
        // What fails says its version too.
        let (status, version, _) = call("GET /v1/apis/abc123xyz0", &[]).await;
        assert_eq!((status, named(version)), (404, FIRST.to_owned()));
    }

    /// The same installation before and after a version was begun.
    #[sqlx::test(migrations = "../migrations")]
    async fn a_session_stays_with_the_version_that_was_the_newest_when_it_began(db: PgPool) {
        const NEXT: NaiveDate = NaiveDate::from_ymd_opt(2027, 6, 1).unwrap();
        let before = testing::app(db.clone()).await;
        let owner = testing::owner(&before).await;
        let mut after = testing::app(db).await;
        after.api_versions = &[api_version::FIRST, NEXT];
        let speaks = async |token: &str, named: Option<&str>| {
            let mut request = Request::get("/v1/apis");
            if !token.is_empty() {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if let Some(named) = named {
                request = request.header(HEADER, named);
            }
            let request = request.body(Body::empty()).unwrap();
            let response = crate::http::router(&after).oneshot(request).await.unwrap();
            response.headers()[HEADER].to_str().unwrap().to_owned()
        };

        let old = testing::log_in(&before, &owner).await;
        let new = testing::log_in(&after, &owner).await;
        assert_eq!(speaks(&old.access_token, None).await, FIRST);
        assert_eq!(speaks(&old.access_token, Some("2027-06-01")).await, "2027-06-01");
        assert_eq!(speaks(&new.access_token, None).await, "2027-06-01");
        assert_eq!(speaks(&new.access_token, Some(FIRST)).await, FIRST);
        assert_eq!(speaks("", None).await, "2027-06-01");
        // However often it is refreshed.
        let cookie = old.refresh.unwrap().token.to_cookie(&after.master);
        let origin = Origin::default();
        let renewed = session::refresh(&after, &origin, &cookie, None).await.unwrap();
        assert_eq!(speaks(&renewed.access_token, None).await, FIRST);
    }
}
