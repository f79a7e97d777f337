//! A function as people deploy them: an axum app behind `lambda_http`, which asks Lambda's Runtime API for each event.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request},
    http::{
        HeaderMap, StatusCode, Uri,
        header::{CONTENT_TYPE, COOKIE, SET_COOKIE},
    },
    response::{AppendHeaders, IntoResponse, Redirect},
    routing::{get, post, put},
};
use lambda_http::{RequestExt, request::RequestContext};
use serde_json::{Map, Value, json};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\xff";

async fn pet(
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
) -> impl IntoResponse {
    let (client, stage) = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(told)) => (&told.identity.source_ip, &told.stage),
        Some(RequestContext::ApiGatewayV2(told)) => (&told.http.source_ip, &told.stage),
        _ => (&None, &None),
    };
    let told = json!({
        "name": name,
        "q": query.iter().filter(|(name, _)| name == "q").map(|(_, value)| value).collect::<Vec<_>>(),
        "cookies": cookies(request.headers()),
        "many": listed(request.headers(), "x-many", ','),
        "client": client,
        "origin": origin(request.uri()),
        "stage": stage,
        "proxy": request.path_parameters().first("proxy"),
    });
    (AppendHeaders([("x-seen", "one"), ("x-seen", "two")]), Json(told))
}

/// A field's values, each of which may be a list.
fn listed(headers: &HeaderMap, name: &str, separator: char) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(separator)).map(|value| value.trim().to_owned()).collect()
}

fn cookies(headers: &HeaderMap) -> Map<String, Value> {
    let sent = listed(headers, COOKIE.as_str(), ';');
    let pairs = sent.iter().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn origin(uri: &Uri) -> Option<String> {
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

async fn create(Json(pet): Json<Value>) -> impl IntoResponse {
    let cookies = [(SET_COOKIE, "first=1; Path=/"), (SET_COOKIE, "second=2; Path=/; HttpOnly")];
    (StatusCode::CREATED, AppendHeaders(cookies), Json(pet))
}

async fn turned(body: Bytes) -> impl IntoResponse {
    body.iter().rev().copied().collect::<Vec<u8>>()
}

async fn image() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/png")], PNG)
}

async fn moved() -> Redirect {
    Redirect::to("/pets/tom")
}

async fn crash() -> Result<(), (StatusCode, &'static str)> {
    Err((StatusCode::INTERNAL_SERVER_ERROR, "the app's own fault"))
}

/// What the runtime tells Lambda as the function's error.
async fn unhandled() -> StatusCode {
    panic!("the handler's own fault")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    // Told once, to the Runtime API.
    std::panic::set_hook(Box::new(|_| ()));
    let app = Router::new()
        .route("/pets/{name}", get(pet))
        .route("/pets", post(create))
        .route("/turned", put(turned))
        .route("/image", get(image))
        .route("/moved", get(moved))
        .route("/crash", get(crash))
        .route("/unhandled", get(unhandled));
    lambda_http::run(app).await
}
