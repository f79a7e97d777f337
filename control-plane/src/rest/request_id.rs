//! The id of the request being served: a `UUIDv7`, in every answer's `x-request-id` and in every error.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that this task serves; none outside of one.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs `work`, in a task of its own, as part of the request that this task serves.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    within(current().unwrap_or_default(), work)
}

/// Runs `work` as part of the request with this id, after its answer has left.
pub fn within<F: Future>(id: String, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(id, work)
}

/// The outermost layer: draws the id, and puts it into the answer.
pub async fn layer(request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let value = HeaderValue::from_str(&id).ok();
    let mut response = CURRENT.scope(id, next.run(request)).await;
    if let Some(value) = value {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
