//! What goes away, and when: `Deprecation` (RFC 9745) and `Sunset` (RFC 8594) on its answers, and both in OpenAPI.
//! Between the two lie at least twelve months.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde_json::{Value, json};

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// An operation that goes away.
#[derive(Clone, Copy, Debug)]
pub struct Deprecated {
    /// `GET /apis/{apiId}`, as in OpenAPI.
    pub operation: &'static str,
    /// The day, `2026-11-20`, from which callers should use something else.
    pub since: &'static str,
    /// The day from which it is not answered any more.
    pub sunset: &'static str,
    /// What to call from now on: another operation's path, `/apis`.
    pub instead: &'static str,
}

/// Everything that goes away. Nothing does so far.
pub const DEPRECATED: &[Deprecated] = &[];

impl Deprecated {
    fn is(&self, method: &str, path: &str) -> bool {
        self.operation.split_once(' ') == Some((method, path))
    }
}

/// Midnight at the day's beginning.
fn moment(day: &str) -> Option<DateTime<Utc>> {
    Some(day.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc())
}

/// The layer around REST.
pub async fn layer(
    State(deprecated): State<&'static [Deprecated]>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let path = path.map(|path| path.strip_prefix("/v1").unwrap_or(path)).unwrap_or_default();
    let method = request.method().as_str();
    let going = deprecated.iter().find(|one| one.is(method, path));
    let mut response = next.run(request).await;
    let Some(going) = going else { return response };
    let Some((since, sunset)) = moment(going.since).zip(moment(going.sunset)) else {
        return response;
    };
    for (name, text) in [
        (DEPRECATION, format!("@{}", since.timestamp())),
        (SUNSET, sunset.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        (header::LINK, format!("</v1{}>; rel=\"successor-version\"", going.instead)),
    ] {
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Says in an OpenAPI document what goes away.
pub fn describe(document: &mut Value, deprecated: &[Deprecated]) {
    for going in deprecated {
        let Some((method, path)) = going.operation.split_once(' ') else { continue };
        let operation = &mut document["paths"][path][method.to_lowercase()];
        operation["deprecated"] = json!(true);
        operation["x-deprecated-since"] = json!(going.since);
        operation["x-sunset"] = json!(going.sunset);
        let text = operation["description"].as_str().unwrap_or_default();
        let (sunset, instead) = (going.sunset, going.instead);
        operation["description"] =
            json!(format!("{text}\n\nUntil {sunset}; use {instead} instead.").trim_start());
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use axum::{Router, middleware};
    use chrono::TimeDelta;
    use tower::ServiceExt;

    use super::*;

    const GOING: &[Deprecated] = &[Deprecated {
        operation: "GET /apis/{apiId}",
        since: "2026-11-20",
        sunset: "2027-11-20",
        instead: "/things",
    }];

    #[tokio::test]
    async fn what_goes_away_says_since_when_until_when_and_what_comes_instead() {
        let rest = Router::new()
            .route("/apis/{apiId}", get(async || "here").post(async || "here"))
            .layer(middleware::from_fn_with_state(GOING, layer));
        let router = Router::new().nest("/v1", rest);
        let call = async |method: &str| {
            let request = Request::builder().method(method).uri("/v1/apis/abc");
            let request = request.body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap().headers().clone()
        };
        let told = call("GET").await;
        assert_eq!(told[DEPRECATION], "@1795132800");
        assert_eq!(told[SUNSET], "Sat, 20 Nov 2027 00:00:00 GMT");
        assert_eq!(told[header::LINK], "</v1/things>; rel=\"successor-version\"");
        assert!(!call("POST").await.contains_key(DEPRECATION));
    }

    #[test]
    fn openapi_says_what_goes_away() {
        let mut document = json!({ "paths": { "/apis/{apiId}": { "get": {}, "post": {} } } });
        describe(&mut document, GOING);
        let going = &document["paths"]["/apis/{apiId}"];
        assert_eq!(going["get"]["deprecated"], true);
        assert_eq!(going["get"]["x-sunset"], "2027-11-20");
        assert_eq!(going["get"]["description"], "Until 2027-11-20; use /things instead.");
        assert_eq!(going["post"], json!({}));
    }

    #[test]
    fn what_goes_away_exists_and_stays_for_twelve_months() {
        let document: Value =
            serde_json::from_str(&crate::rest::openapi::openapi_document()).unwrap();
        for going in DEPRECATED {
            let (method, path) = going.operation.split_once(' ').unwrap();
            assert!(document["paths"][path][method.to_lowercase()]["operationId"].is_string());
            let stays = moment(going.sunset).unwrap() - moment(going.since).unwrap();
            assert!(stays >= TimeDelta::days(365), "{going:?}");
        }
    }
}
