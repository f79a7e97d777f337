//! Downloads.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::domain::bill::Month;
use crate::error::Result;
use crate::rest::extract::{Json, Path};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(export)).routes(routes!(open))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateDownload {
    /// `2026-11`, a calendar month in UTC.
    month: String,
}

/// A link that works once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Download {
    url: String,
    expires_in_seconds: i32,
}

impl From<domain::download::Link> for Download {
    fn from(link: domain::download::Link) -> Self {
        Self { url: link.url, expires_in_seconds: link.expires_in_seconds }
    }
}

/// Makes a link to the month's usage as CSV; it works once, for 60 seconds.
#[utoipa::path(post, path = "/downloads", tag = "usage", operation_id = "createDownload", request_body = CreateDownload, responses(
    (status = 201, body = Download),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    Json(body): Json<CreateDownload>,
) -> Result<(StatusCode, axum::Json<Download>)> {
    let month = Month::new(&app, Some(&body.month))?;
    let link = domain::download::create(&app, &actor, month).await?;
    Ok((StatusCode::CREATED, axum::Json(link.into())))
}

/// Makes a link to everything of the tenant as NDJSON, without secrets; it works once, for 60 seconds. The first line
/// has how many of each kind follow, the last how many did.
#[utoipa::path(post, path = "/tenant/exports", tag = "tenant", operation_id = "createTenantExport", responses(
    (status = 201, body = Download),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn export(
    State(app): State<App>,
    actor: Actor,
) -> Result<(StatusCode, axum::Json<Download>)> {
    let link = domain::tenant_export::create(&app, &actor).await?;
    Ok((StatusCode::CREATED, axum::Json(link.into())))
}

/// What the link was made for. A quarantined segment comes as its node sent it. Usage is a month by hour, one line for each row of the ledger. The first line names the columns: `ledger_row`,
/// `hour`, `cell`, `api_id`, `stage`, `route`, `api_key_id`, `usage_plan_id`, `consumer_id`, `status_class`,
/// `cache`, `requests`, `billed_requests`, `bytes_in`, `bytes_out`, `billed_bytes_out`, `duration_ms`.
#[utoipa::path(get, path = "/downloads/{token}", tag = "usage", operation_id = "getDownload", security(()), params(("token" = String, Path)),
responses(
    (status = 200, content((String = "text/csv"), (String = "application/x-ndjson"), (String = "application/octet-stream"))),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
))]
async fn open(
    State(app): State<App>,
    method: Method,
    Path(token): Path<String>,
) -> Result<Response> {
    if method != Method::GET {
        // A look must not spend the link.
        return Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response());
    }
    let download = domain::download::open(&app, &token).await?;
    let headers = [
        (header::CONTENT_TYPE, download.content_type().to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", download.file_name())),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let mut content = download.content(app)?;
    // What goes wrong before anything was sent can still be answered.
    let first = content.try_next().await?;
    let content = stream::iter(first.map(Ok)).chain(content);
    Ok((headers, Body::from_stream(content)).into_response())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::graphql::persisted::Persisted;
    use crate::ledger::intake::{self, tests as ledger};
    use crate::ledger::rollup;
    use crate::testing;

    /// Sends `POST /v1/bill` with a token and a body, and answers status, content type and text.
    async fn call(app: &App, line: &str, token: &str, body: Value) -> (u16, String, String) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = crate::rest::router(app, Persisted::default())
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let status = response.status().as_u16();
        let kind =
            response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind.unwrap_or_default(), String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn json_of(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_was_used_is_listed_billed_and_downloaded(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let operator = testing::operator(&app).await;
        let operator = testing::operator_token(&app, &operator);
        let token = testing::token(&app, &alice);
        let node = ledger::node(&app, "default").await;
        let mut used = ledger::call(&app, alice.tenant);
        used.record.requests = 2_000_000;
        intake::take(&app, node, &[ledger::segment(ledger::place(1), &[used])]).await.unwrap();
        rollup::run(&app).await.unwrap();

        let price = json!({ "currency": "EUR", "perMillionRequests": "3.50", "perGbOut": "0.09", "freeRequests": 0 });
        let (status, _, set) = call(&app, "PUT /v1/operator/price", &operator, price.clone()).await;
        assert_eq!((status, json_of(&set)["perMillionRequests"].clone()), (200, json!("3.5")));
        assert_eq!(call(&app, "PUT /v1/operator/price", &token, price).await.0, 403);
        let wrong = json!({ "currency": "EUR", "perMillionRequests": "-1", "perGbOut": "0", "freeRequests": 0 });
        let (status, _, problem) = call(&app, "PUT /v1/operator/price", &operator, wrong).await;
        assert_eq!(
            (status, json_of(&problem)["param"].clone()),
            (400, json!("perMillionRequests"))
        );

        let (status, _, usage) =
            call(&app, "GET /v1/usage?since=2026-11-20T11:00:00Z&stage=prod", &token, Value::Null)
                .await;
        assert_eq!(
            (status, json_of(&usage)["items"][0]["requests"].clone()),
            (200, json!(2_000_000))
        );
        let (status, _, problem) = call(&app, "GET /v1/usage?since=x", &token, Value::Null).await;
        assert_eq!((status, json_of(&problem)["param"].clone()), (400, json!("since")));
        let (status, _, bill) = call(&app, "GET /v1/bill", &token, Value::Null).await;
        assert_eq!((status, json_of(&bill)["total"].clone()), (200, json!("7.00")));

        let month = json!({ "month": "2026-11" });
        let (status, _, made) = call(&app, "POST /v1/downloads", &token, month.clone()).await;
        let url = json_of(&made)["url"].as_str().unwrap().to_owned();
        let path = url.strip_prefix("http://127.0.0.1:8080").unwrap();
        assert_eq!(status, 201);
        assert_eq!(call(&app, &format!("HEAD {path}"), "", Value::Null).await.0, 405);
        let (status, kind, csv) = call(&app, &format!("GET {path}"), "", Value::Null).await;
        assert_eq!((status, kind.as_str()), (200, "text/csv; charset=utf-8; header=present"));
        assert_eq!(csv.lines().count(), 2);
        assert!(csv.starts_with("ledger_row,hour,") && csv.contains(",2000000,"), "{csv}");
        assert_eq!(call(&app, &format!("GET {path}"), "", Value::Null).await.0, 404, "once");

        let query = "query($m: String) { bill(month: $m) { total open lines { amount } } price { freeRequests currency } \
            usage(filter: {since: \"2026-11-20T11:00:00Z\"}, first: 1) { nodes { route bytesOut consumerId } pageInfo { hasNextPage } } }";
        let asked = json!({ "query": query, "variables": { "m": "2026-11" } });
        let (_, _, answer) = call(&app, "POST /graphql", &token, asked).await;
        let answer = json_of(&answer);
        assert_eq!(answer["data"]["bill"]["total"], json!("7.00"), "{answer}");
        assert_eq!(answer["data"]["price"], json!({ "freeRequests": 0, "currency": "EUR" }));
        let row = json!({ "route": "GET /pets", "bytesOut": 1000, "consumerId": null });
        assert_eq!(answer["data"]["usage"]["nodes"], json!([row]));
        let set = "mutation { setPrice(input: {currency: \"EUR\", perMillionRequests: \"1\", perGbOut: \"0\", freeRequests: 5000000000}) \
            { price { freeRequests } userErrors { param } } }";
        let (_, _, answer) = call(&app, "POST /graphql", &operator, json!({ "query": set })).await;
        let price = &json_of(&answer)["data"]["setPrice"];
        assert_eq!(price["price"]["freeRequests"], json!(5_000_000_000_i64), "{answer}");
    }
}
