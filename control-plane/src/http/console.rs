//! The console's files, compiled in.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

use crate::error::Error;

/// What the build of `web/` left. A debug build reads the folder when it is asked.
#[derive(Embed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Files;

/// Said where there is no console to give.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Tollgate</title>\
    </head><body><h1>The console is not in this build</h1><p>Run <code>npm ci</code> and \
    <code>npm run build</code> in <code>web/</code>, then build Tollgate again. \
    The API at <code>/v1</code> and <code>/graphql</code> works without it.</p></body></html>";

/// The file at `path`; for any other path the one page, which finds the rest by itself.
pub(super) fn answer(path: &str, request: &HeaderMap) -> Response {
    let name = path.trim_start_matches('/');
    match Files::get(name) {
        // Their names hold a hash of what is in them.
        Some(file) if name.starts_with("assets/") => {
            send(file, "public, max-age=31536000, immutable", request)
        }
        Some(file) => send(file, "no-cache", request),
        None if name.starts_with("assets/") => Error::NotFound("this file").into_response(),
        None => {
            Files::get("index.html").map_or_else(not_built, |page| send(page, "no-cache", request))
        }
    }
}

fn not_built() -> Response {
    let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (StatusCode::SERVICE_UNAVAILABLE, html, NOT_BUILT).into_response()
}

fn send(file: EmbeddedFile, cache: &'static str, request: &HeaderMap) -> Response {
    // Weak: the same file may leave compressed or not.
    let tag = format!("W/\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let held = request.get(header::IF_NONE_MATCH).and_then(|held| held.to_str().ok());
    let mut response = if held.is_some_and(|held| held.split(',').any(|one| one.trim() == tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = match file.metadata.mimetype() {
            text @ ("text/html" | "text/css" | "text/javascript") => {
                format!("{text}; charset=utf-8")
            }
            other => other.to_owned(),
        };
        ([(header::CONTENT_TYPE, kind)], Body::from(file.data)).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
