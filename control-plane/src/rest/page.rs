//! Pages in REST: `?limit=&cursor=` in, `{items, nextCursor}` out, and where to go on in `Link` (RFC 8288).

use axum::Json;
use axum::extract::{OriginalUri, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use crate::domain::page::{Key, Keyed, LIMIT_DEFAULT, Page, Paged};
use crate::error::{Error, Result};

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u32>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl TryFrom<PageQuery> for Page {
    type Error = Error;

    fn try_from(query: PageQuery) -> Result<Self> {
        let after = query.cursor.map(|cursor| Key::from_cursor(&cursor, "cursor")).transpose()?;
        Page::first(query.limit.unwrap_or(LIMIT_DEFAULT), after, None)
            .map_err(|_| Error::bad_request("limit", "limit is from 1 to 100"))
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    pub items: Vec<T>,
    /// Asks for the page after this one; null on the last.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// The page in REST's form of its items.
    pub fn of<D: Keyed + Into<T>>(paged: Paged<D>) -> Self {
        Self::map(paged, Into::into)
    }

    /// The same where the form needs more than the item.
    pub fn map<D: Keyed>(paged: Paged<D>, form: impl FnMut(D) -> T) -> Self {
        let next_cursor = paged.next_cursor();
        Self { items: paged.items.into_iter().map(form).collect(), next_cursor }
    }
}

/// The `nextCursor` of an answer, for [`layer`].
#[derive(Clone)]
struct NextCursor(String);

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        let next = self.next_cursor.clone();
        let mut response = Json(self).into_response();
        if let Some(cursor) = next {
            response.extensions_mut().insert(NextCursor(cursor));
        }
        response
    }
}

/// The layer that says where the next page is: the question again, but for its cursor.
pub async fn layer(OriginalUri(uri): OriginalUri, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let Some(NextCursor(cursor)) = response.extensions_mut().remove() else { return response };
    let asked = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(asked.filter(|(name, _)| name != "cursor"))
        .append_pair("cursor", &cursor)
        .finish();
    if let Ok(link) = HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path())) {
        response.headers_mut().append(header::LINK, link);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use crate::rest::openapi::openapi_document;
    use crate::testing::{self, Furnished};

    struct Caller {
        router: Router,
        token: String,
    }

    impl Caller {
        async fn get(&self, path: &str) -> (u16, Value) {
            let (status, _, body) = self.follow(path).await;
            (status, body)
        }

        /// The same with the target of `Link: <…>; rel="next"`, empty where there is none.
        async fn follow(&self, path: &str) -> (u16, String, Value) {
            let request = Request::get(path)
                .header("authorization", format!("Bearer {}", self.token))
                .body(Body::empty())
                .unwrap();
            let response = self.router.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let link = response.headers().get("link").map_or("", |link| link.to_str().unwrap());
            let next =
                link.split_once('<').and_then(|(_, link)| link.split_once(">; rel=\"next\""));
            let next = next.map(|(next, _)| next.to_owned()).unwrap_or_default();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            (status, next, serde_json::from_slice(&body).unwrap_or_default())
        }
    }

    /// The path of each operation that takes a cursor, up to where its query goes on.
    fn lists(of: &Furnished) -> Vec<String> {
        let document: Value = serde_json::from_str(&openapi_document()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let lists = paths.filter(|(_, item)| {
            let parameters = item["get"]["parameters"].as_array();
            parameters.into_iter().flatten().any(|parameter| parameter["name"] == "cursor")
        });
        let plan = of.plan.to_string();
        lists
            .map(|(path, _)| path.replace("{apiId}", of.api.as_str()))
            .map(|path| format!("/v1{}?", path.replace("{usagePlanId}", &plan)))
            .map(|path| {
                // Usage, added up or not, and that of a plan's keys.
                let timed = path.ends_with("/usage?") || path.ends_with("/usage/groups?");
                if timed { format!("{path}since=2026-11-20T11:00:00Z&") } else { path }
            })
            .collect()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn every_list_is_paged_whole_and_takes_no_other_cursor(db: PgPool) {
        let app = testing::app(db).await;
        let of = testing::furnished(&app).await;
        let token = testing::token(&app, &of.owner);
        let alice = Caller { router: crate::http::router(&app), token };
        let operator = testing::operator(&app).await;
        testing::invite_tenants(&app, &operator).await;
        testing::quarantine_segments(&app).await;
        testing::count_quotas(&app, of.owner.tenant).await;
        let token = testing::operator_token(&app, &operator);
        let operator = Caller { router: crate::http::router(&app), token };
        let foreign = async |path: &str| {
            let other = if path == "/v1/apis?" { "/v1/members" } else { "/v1/apis" };
            let (_, page) = alice.get(&format!("{other}?limit=1")).await;
            page["nextCursor"].as_str().unwrap().to_owned()
        };
        let lists = lists(&of);
        assert!(lists.len() >= 16, "{lists:?}");
        for path in lists {
            let caller = if path.starts_with("/v1/operator/") { &operator } else { &alice };
            let (status, whole) = caller.get(&format!("{path}limit=100")).await;
            assert_eq!((status, &whole["nextCursor"]), (200, &Value::Null), "{path}: {whole}");
            let whole = whole["items"].as_array().unwrap();
            // Nobody called this tenant's Apis.
            let uncalled = ["/v1/usage?", "/v1/usage/groups?"];
            let uncalled = uncalled.iter().any(|it| path.starts_with(it));
            assert_eq!(whole.len() < 3, uncalled, "{path}: {whole:?}");
            let (mut paged, mut question) = (Vec::new(), format!("{path}limit=1"));
            loop {
                let (status, next, page) = caller.follow(&question).await;
                assert_eq!(status, 200, "{question}: {page}");
                paged.extend(page["items"].as_array().unwrap().clone());
                assert!(paged.len() <= whole.len(), "{path} goes round");
                let Some(cursor) = page["nextCursor"].as_str() else {
                    assert_eq!(next, "", "{question}");
                    break;
                };
                let named = format!("limit=1&cursor={cursor}");
                assert!(next.ends_with(&named) && next.starts_with("/v1/"), "{question}: {next}");
                question = next;
            }
            assert_eq!(&paged, whole, "{path}");

            let foreign = foreign(&path).await;
            for (query, param) in [
                ("limit=0", "limit"),
                ("limit=101", "limit"),
                ("limit=-1", "limit"),
                ("limit=x", "limit"),
                ("cursor=", "cursor"),
                ("cursor=nonsense", "cursor"),
                (&format!("cursor={foreign}"), "cursor"),
            ] {
                let (status, refused) = caller.get(&format!("{path}{query}")).await;
                let told = (status, &refused["code"], &refused["param"]);
                assert_eq!(told, (400, &json!("bad_request"), &json!(param)), "{path}{query}");
            }
        }
    }
}
