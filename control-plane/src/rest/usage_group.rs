//! Usage, added up.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::domain::page::Page;
use crate::domain::usage::Wanted;
use crate::domain::usage_group::{By, Dimension, Question};
use crate::error::{Error, Result};
use crate::rest::download::Download;
use crate::rest::extract::{Json, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;
use crate::rest::usage::{Interval, id};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(export))
}

/// Which calls, and how they are added up; each part left out matches every one.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UsageGroupQuery {
    /// Left out, the whole stretch is one interval, and what was called most comes first.
    #[param(inline)]
    interval: Option<Interval>,
    /// What rows are told apart by, with commas between: `api`, `stage`, `route`, `apiKey`, `usagePlan`, `consumer`,
    /// `statusClass`. Left out, one row of an interval is everything.
    group_by: Option<String>,
    /// From the interval that it lies in; at most 31 days before `until` by minute, 400 days by hour, 1100 by day.
    since: DateTime<Utc>,
    /// To the end of the interval that it lies in; now when left out.
    until: Option<DateTime<Utc>>,
    api_id: Option<String>,
    stage: Option<String>,
    /// `GET /pets/{id}`; `-` for calls that no route matched.
    route: Option<String>,
    api_key_id: Option<String>,
    usage_plan_id: Option<String>,
    consumer_id: Option<String>,
    /// 2 for 2xx; 0 for calls that were cut off before a status.
    #[param(minimum = 0, maximum = 5)]
    status_class: Option<i16>,
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum UsageDimension {
    Api,
    Stage,
    Route,
    ApiKey,
    UsagePlan,
    Consumer,
    StatusClass,
}

impl From<UsageDimension> for Dimension {
    fn from(dimension: UsageDimension) -> Self {
        match dimension {
            UsageDimension::Api => Self::Api,
            UsageDimension::Stage => Self::Stage,
            UsageDimension::Route => Self::Route,
            UsageDimension::ApiKey => Self::ApiKey,
            UsageDimension::UsagePlan => Self::UsagePlan,
            UsageDimension::Consumer => Self::Consumer,
            UsageDimension::StatusClass => Self::StatusClass,
        }
    }
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum UsageExportFormat {
    Csv,
    Ndjson,
}

/// Usage to take away; each part of what it matches left out matches every one.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateUsageExport {
    #[schema(inline)]
    format: UsageExportFormat,
    /// Left out, the whole stretch is one interval.
    #[schema(inline)]
    interval: Option<Interval>,
    /// What rows are told apart by; by nothing, one row of an interval is everything.
    #[serde(default)]
    #[schema(max_items = 7, inline)]
    group_by: Vec<UsageDimension>,
    /// From the interval that it lies in; at most 31 days before `until` by minute, 400 days by hour, 1100 by day.
    since: DateTime<Utc>,
    /// To the end of the interval that it lies in; now when left out.
    until: Option<DateTime<Utc>>,
    api_id: Option<String>,
    stage: Option<String>,
    route: Option<String>,
    api_key_id: Option<String>,
    usage_plan_id: Option<String>,
    consumer_id: Option<String>,
    #[schema(minimum = 0, maximum = 5)]
    status_class: Option<i16>,
}

/// Calls of one kind in one interval. What they are not told apart by is null, as is what they have none of.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageGroup {
    start: DateTime<Utc>,
    api_id: Option<String>,
    stage: Option<String>,
    /// `GET /pets/{id}`; `-` where no route matched.
    route: Option<String>,
    api_key_id: Option<String>,
    usage_plan_id: Option<String>,
    consumer_id: Option<String>,
    /// 2 for 2xx; 0 where the call was cut off before a status.
    status_class: Option<i16>,
    requests: i64,
    billed_requests: i64,
    bytes_in: i64,
    bytes_out: i64,
    /// The sum over the calls.
    duration_ms: i64,
}

impl From<domain::usage_group::Listed> for UsageGroup {
    fn from(row: domain::usage_group::Listed) -> Self {
        let row = row.group;
        Self {
            start: row.start,
            api_id: row.api_id,
            stage: row.stage,
            route: row.route,
            api_key_id: row.api_key_id,
            usage_plan_id: row.usage_plan_id,
            consumer_id: row.consumer_id,
            status_class: row.status_class,
            requests: row.requests,
            billed_requests: row.billed_requests,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
            duration_ms: row.duration_ms,
        }
    }
}

/// Counted calls, added up for each of what they are told apart by, seconds fresh. By an interval the newest first, at most
/// 1,500 intervals; without one the whole stretch is added up, what was called most first: a row that comes to stand before
/// the cursor while pages are read is on none of them. What takes more than 5 seconds to add up is refused.
#[utoipa::path(get, path = "/usage/groups", tag = "usage", operation_id = "listUsageGroups", params(UsageGroupQuery), responses(
    (status = 200, body = List<UsageGroup>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(query): Query<UsageGroupQuery>,
) -> Result<List<UsageGroup>> {
    let wanted = Wanted {
        api: id(query.api_id, "apiId")?,
        stage: query.stage,
        route: query.route,
        api_key: id(query.api_key_id, "apiKeyId")?,
        usage_plan: id(query.usage_plan_id, "usagePlanId")?,
        consumer: id(query.consumer_id, "consumerId")?,
        status_class: query.status_class,
    };
    let by = dimensions(query.group_by.as_deref().unwrap_or_default())?;
    let interval = query.interval.map(Into::into);
    let question = Question::new(&app, interval, query.since, query.until, wanted, by)?;
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    Ok(List::of(domain::usage_group::list(&app, &actor, &question, &page).await?))
}

fn dimensions(text: &str) -> Result<By> {
    let names = text.split(',').filter(|name| !name.is_empty());
    let parse = |name: &str| {
        let name = serde_json::Value::String(name.to_owned());
        let dimension = serde_json::from_value::<UsageDimension>(name);
        dimension.map(Into::into).map_err(|_| {
            let rule = "is of api, stage, route, apiKey, usagePlan, consumer, statusClass";
            Error::bad_request("groupBy", rule)
        })
    };
    names.map(parse).collect()
}

/// Makes a link to usage, added up, as CSV or NDJSON: all rows of it, however many, each once, the oldest first and of one
/// start by name; without an interval by name. It works once, for 60 seconds. What takes too long to add up is refused when
/// the link is opened.
#[utoipa::path(post, path = "/usage/exports", tag = "usage", operation_id = "createUsageExport", request_body = CreateUsageExport, responses(
    (status = 201, body = Download),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn export(
    State(app): State<App>,
    actor: Actor,
    Json(body): Json<CreateUsageExport>,
) -> Result<(StatusCode, axum::Json<Download>)> {
    let wanted = Wanted {
        api: id(body.api_id, "apiId")?,
        stage: body.stage,
        route: body.route,
        api_key: id(body.api_key_id, "apiKeyId")?,
        usage_plan: id(body.usage_plan_id, "usagePlanId")?,
        consumer: id(body.consumer_id, "consumerId")?,
        status_class: body.status_class,
    };
    let by = body.group_by.into_iter().map(Into::into).collect();
    let interval = body.interval.map(Into::into);
    let question = Question::new(&app, interval, body.since, body.until, wanted, by)?;
    let format = match body.format {
        UsageExportFormat::Csv => domain::usage_group::Format::Csv,
        UsageExportFormat::Ndjson => domain::usage_group::Format::Ndjson,
    };
    let link = domain::download::create_usage_export(&app, &actor, question, format).await?;
    Ok((StatusCode::CREATED, axum::Json(link.into())))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use crate::app::App;
    use crate::graphql::persisted::Persisted;
    use crate::ledger::intake::{self, tests as ledger};
    use crate::testing;

    async fn call(app: &App, line: &str, token: &str, body: Option<Value>) -> (u16, String) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let router = crate::rest::router(app, Persisted::default());
        let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn both_doors_answer_the_same_and_give_it_away_as_a_file(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let token = testing::token(&app, &alice);
        let node = ledger::node(&app, "default").await;
        let calls = ["GET /a", "GET /a", "GET /b"]
            .map(|route| ledger::Call { route, ..ledger::call(&app, alice.tenant) });
        intake::take(&app, node, &[ledger::segment(ledger::place(1), &calls)]).await.unwrap();
        let get = async |query: &str| {
            let line = format!("GET /v1/usage/groups?since=2026-11-20T11:00:00Z{query}");
            let (status, body) = call(&app, &line, &token, None).await;
            (status, serde_json::from_str::<Value>(&body).unwrap())
        };

        let (status, answer) = get("&groupBy=route,statusClass&limit=1").await;
        assert_eq!(status, 200, "{answer}");
        let expected = json!({ "start": "2026-11-20T11:00:00Z", "apiId": null, "stage": null, "route": "GET /a",
            "apiKeyId": null, "usagePlanId": null, "consumerId": null, "statusClass": 2, "requests": 2,
            "billedRequests": 2, "bytesIn": 200, "bytesOut": 2000, "durationMs": 40 });
        assert_eq!(answer["items"], json!([expected]));
        let next = format!(
            "&groupBy=route,statusClass&limit=1&cursor={}",
            answer["nextCursor"].as_str().unwrap()
        );
        let (_, answer) = get(&next).await;
        assert_eq!(answer["items"][0]["route"], json!("GET /b"));
        assert_eq!(answer["nextCursor"], Value::Null);
        for (query, param) in [
            ("&groupBy=colour", "groupBy"),
            ("&interval=week", "interval"),
            ("&statusClass=9", "statusClass"),
            ("&apiId=x", "apiId"),
            ("&until=2026-11-20T10:00:00Z", "since"),
        ] {
            let (status, problem) = get(query).await;
            assert_eq!((status, &problem["param"]), (400, &json!(param)), "{problem}");
        }

        let query = "{ usageGroups(filter: {since: \"2026-11-20T11:00:00Z\"}, groupBy: [ROUTE], first: 5) \
            { nodes { route requests apiId } } usageGroupSeries(filter: {since: \"2026-11-20T11:00:00Z\"}, \
            interval: MINUTE, groupBy: ROUTE, names: 1) { group other requests } }";
        let (_, answer) =
            call(&app, "POST /graphql", &token, Some(json!({ "query": query }))).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let nodes = json!([{ "route": "GET /a", "requests": 2, "apiId": null },
            { "route": "GET /b", "requests": 1, "apiId": null }]);
        assert_eq!(answer["data"]["usageGroups"]["nodes"], nodes, "{answer}");
        let line = |group: Value, other, requests| json!({ "group": group, "other": other, "requests": requests });
        let lines = json!([line(json!("GET /a"), false, 2), line(Value::Null, true, 1)]);
        assert_eq!(answer["data"]["usageGroupSeries"], lines, "{answer}");

        let wanted = json!({ "since": "2026-11-20T11:00:00Z", "groupBy": ["route"], "interval": "hour", "format": "ndjson" });
        let (status, made) = call(&app, "POST /v1/usage/exports", &token, Some(wanted)).await;
        assert_eq!(status, 201, "{made}");
        let made: Value = serde_json::from_str(&made).unwrap();
        let path = made["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:8080").unwrap();
        let (status, file) = call(&app, &format!("GET {path}"), "", None).await;
        let first: Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
        assert_eq!((status, file.lines().count()), (200, 2), "{file}");
        assert_eq!(first["start"], json!("2026-11-20T11:00:00Z"));
        assert_eq!(call(&app, &format!("GET {path}"), "", None).await.0, 404, "once");
        let mutation = "mutation { createUsageExport(input: {filter: {since: \"2026-11-20T11:00:00Z\"}, groupBy: [], \
            format: CSV}) { url userErrors { param } } }";
        let (_, made) =
            call(&app, "POST /graphql", &token, Some(json!({ "query": mutation }))).await;
        let made: Value = serde_json::from_str(&made).unwrap();
        let url = made["data"]["createUsageExport"]["url"].as_str().unwrap().to_owned();
        let path = url.strip_prefix("http://127.0.0.1:8080").unwrap();
        let (_, file) = call(&app, &format!("GET {path}"), "", None).await;
        let expected = "start,requests,billed_requests,bytes_in,bytes_out,duration_ms\r\n\
             2026-11-20T11:00:00Z,3,3,300,3000,60\r\n";
        assert_eq!(file, expected);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_goes_wrong_before_the_first_row_is_answered_and_not_cut_off(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let token = testing::token(&app, &testing::owner(&app).await);
        let wanted = json!({ "since": "2026-11-20T11:00:00Z", "format": "csv" });
        let (status, made) = call(&app, "POST /v1/usage/exports", &token, Some(wanted)).await;
        assert_eq!(status, 201, "{made}");
        let made: Value = serde_json::from_str(&made).unwrap();
        let path = made["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:8080").unwrap();
        sqlx::query("alter table usage_minute rename to elsewhere").execute(&db).await.unwrap();

        let (status, problem) = call(&app, &format!("GET {path}"), "", None).await;

        let problem: Value = serde_json::from_str(&problem).unwrap();
        assert_eq!((status, &problem["code"]), (500, &json!("internal")));
    }
}
