//! `GET /graphql/schema.graphql`: GraphQL's schema as SDL, for tools.
//!
//! It is the product's contract with everybody, and its source holds a copy; so nobody has to log in for it. Asking a
//! control plane about its schema by introspection is for who is logged in, since that is run.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest, Sha256};
use tower_http::compression::CompressionLayer;

use crate::graphql::schema_sdl;
use crate::http::console;

/// The schema, which is the same as long as the process lives, and its digest.
static SDL: LazyLock<(String, [u8; 32])> = LazyLock::new(|| {
    let sdl = schema_sdl();
    let digest = Sha256::digest(&sdl).into();
    (sdl, digest)
});

pub(super) fn routes() -> Router {
    Router::new().route("/graphql/schema.graphql", get(sdl)).layer(CompressionLayer::new())
}

/// As text, which a browser shows. There is no registered type for SDL.
async fn sdl(request: HeaderMap) -> Response {
    let (sdl, digest) = &*SDL;
    console::give(
        Body::from(sdl.as_str()),
        digest,
        "text/plain; charset=utf-8",
        "no-cache",
        &request,
    )
}
