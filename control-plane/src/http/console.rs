//! The console's files, compiled in, and how a file of ours is given.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

use crate::error::Error;
use crate::graphql::persisted::Persisted;

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

/// What the build calls its manifest of GraphQL documents.
const DOCUMENTS: &str = "persisted-documents.json";

/// The documents that the console names by their hashes; none where it was not built.
pub(super) fn documents() -> Persisted {
    let Some(manifest) = Files::get(DOCUMENTS) else { return Persisted::default() };
    Persisted::new(&manifest.data).unwrap_or_else(|error| {
        tracing::warn!(?error, "the console will send its documents whole");
        Persisted::default()
    })
}

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
    let kind = match file.metadata.mimetype() {
        text @ ("text/html" | "text/css" | "text/javascript") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    };
    give(Body::from(file.data), &file.metadata.sha256_hash(), &kind, cache, request)
}

/// What has this digest; 304 where the caller has it already.
pub(super) fn give(
    body: Body,
    digest: &[u8; 32],
    kind: &str,
    cache: &'static str,
    request: &HeaderMap,
) -> Response {
    // Weak: the same file may leave compressed or not.
    let tag = format!("W/\"{}\"", hex::encode(&digest[..16]));
    let held = request.get(header::IF_NONE_MATCH).and_then(|held| held.to_str().ok());
    let mut response = if held.is_some_and(|held| held.split(',').any(|one| one.trim() == tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, kind)], body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
