//! Errors as RFC 9457 problems: what REST answers with, and what GraphQL's errors have as their `extensions`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;
use crate::rest::{request_id, request_log};

/// An RFC 9457 problem: all that is told of an error, through either door. `requestId` is also in the `x-request-id`
/// header, which the outermost layer sets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `/docs/errors/{code}`: what it means and what to do.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// This one occurrence: `urn:uuid:` and the request's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// One of a fixed list, for programs.
    pub code: String,
    /// The field to mend, `throttle.rateLimit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// The noun's present version, where another was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// After how many seconds to try again; also in the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Where the console shows this request a moment later; absent where the caller's tenant has no log of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_url: Option<String>,
}

impl From<&Error> for Problem {
    /// What is told of an error in the request that this task serves.
    fn from(error: &Error) -> Self {
        let status = status(error);
        let request_id = request_id::current();
        Self {
            kind: kind(error.code()),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: error.to_string(),
            instance: request_id.as_ref().map(|id| format!("urn:uuid:{id}")),
            code: error.code().to_owned(),
            param: error.param().map(str::to_owned),
            version: error.present_version().map(str::to_owned),
            retry_after_seconds: error.retry_after_seconds(),
            request_id,
            log_url: request_log::url(),
        }
    }
}

/// Where it says what a code means and what to do.
pub fn kind(code: &str) -> String {
    format!("/docs/errors/{code}")
}

pub fn status(error: &Error) -> StatusCode {
    status_of_code(error.code())
}

/// The same by the error's code.
pub fn status_of_code(code: &str) -> StatusCode {
    match code {
        "bad_request" | "page_size_required" | "PERSISTED_QUERY_NOT_FOUND" => {
            StatusCode::BAD_REQUEST
        }
        "unauthenticated" => StatusCode::UNAUTHORIZED,
        "forbidden" | "tenant_suspended" => StatusCode::FORBIDDEN,
        "not_found" => StatusCode::NOT_FOUND,
        "conflict" | "idempotency_key_in_use" | "idempotency_answer_lost" => StatusCode::CONFLICT,
        "precondition_failed" => StatusCode::PRECONDITION_FAILED,
        "limit_exceeded" | "idempotency_key_reuse" => StatusCode::UNPROCESSABLE_ENTITY,
        "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "unsupported_media_type" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
        "timeout" => StatusCode::SERVICE_UNAVAILABLE,
        "too_many_requests" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Error::Internal(cause) = &self {
            tracing::error!(error = %cause, "a request failed inside");
        }
        request_log::failed(self.code());
        let mut response = (status(&self), Json(Problem::from(&self))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Error::Unauthenticated(_) = self {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
