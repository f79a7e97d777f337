//! What every request to the management listener goes through, whichever door it takes: an id, a log line and
//! counts, headers for browsers, a bound of time, and a net under panics.

pub mod admin;
pub mod client_address;
mod console;
mod docs;
mod guard;
pub mod listener;
mod schema;
#[cfg(test)]
mod tests;
mod unread;

use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

use crate::app::App;
use crate::error::Error;
use crate::rest::{self, request_id, request_log};

/// Everything on the management listener. The layer named last is the outermost.
pub fn router(app: &App) -> Router {
    // Only the console and the schema are compressed: they are public, and a token's length tells nothing then.
    let console = Router::new()
        .fallback(not_routed)
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(1024).and(only_console)));
    rest::router(app, console::documents())
        .merge(admin::probes(app))
        .merge(docs::routes())
        .merge(schema::routes())
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .fallback_service(console)
        .layer(middleware::from_fn_with_state(guard::ANSWER_WITHIN, guard::bound_time))
        .layer(CatchPanicLayer::custom(guard::answer_panic))
        .layer(middleware::from_fn_with_state(app.clone(), request_log::layer))
        .layer(middleware::from_fn_with_state(app.clone(), guard::add_headers))
        .layer(middleware::from_fn(guard::observe))
        .layer(middleware::from_fn(request_id::layer))
}

/// The console's pages are paths that only its own script knows; what programs call is an exact list.
async fn not_routed(request: Request) -> Response {
    let path = request.uri().path();
    let door = |prefix: &str| path == prefix || path.starts_with(&format!("{prefix}/"));
    if ["/v1", "/graphql", "/aws", "/docs"].into_iter().any(door) {
        return Error::NotFound("this path").into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Error::MethodNotAllowed.into_response();
    }
    console::answer(path, request.headers())
}

fn only_console(
    status: axum::http::StatusCode,
    _: axum::http::Version,
    _: &axum::http::HeaderMap,
    _: &axum::http::Extensions,
) -> bool {
    status.is_success()
}
