//! How errors leave GraphQL: what the caller can mend is data (`userErrors`), the rest is a top-level error
//! with the same fields in `extensions`.

use std::any::Any;
use std::sync::Arc;

use async_graphql::{Enum, ErrorExtensionValues, Response, ServerError, SimpleObject, Value};

use crate::error::{Error, Result};
use crate::rest::{problem, request_id};

/// The codes of `userErrors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ErrorCode {
    BadRequest,
    Conflict,
    LimitExceeded,
    NotFound,
    /// `expectedVersion` is not the present one.
    VersionConflict,
}

/// What the caller can mend. `param` is the path of the input's field: `throttle.rateLimit`.
#[derive(Clone, Debug, SimpleObject)]
pub struct UserError {
    pub code: ErrorCode,
    pub message: String,
    pub param: Option<String>,
}

/// Splits an operation's result: a value, or errors that the caller can mend; anything else goes up.
pub fn user_errors<T>(result: Result<T>) -> async_graphql::Result<(Option<T>, Vec<UserError>)> {
    let error = match result {
        Ok(value) => return Ok((Some(value), Vec::new())),
        Err(error) => error,
    };
    let code = match &error {
        Error::BadRequest { .. } => ErrorCode::BadRequest,
        Error::Conflict { .. } => ErrorCode::Conflict,
        Error::LimitExceeded { .. } => ErrorCode::LimitExceeded,
        Error::NotFound(_) => ErrorCode::NotFound,
        Error::PreconditionFailed { .. } => ErrorCode::VersionConflict,
        _ => return Err(error.into()),
    };
    Ok((
        None,
        vec![UserError {
            code,
            message: error.to_string(),
            param: match code {
                ErrorCode::VersionConflict => Some("expectedVersion".to_owned()),
                _ => error.param().map(str::to_owned),
            },
        }],
    ))
}

/// How many errors one answer carries: a broken document can have thousands.
const ERRORS_MAX: usize = 20;

/// The answer to a request of which nothing will run.
pub fn refused(error: Error) -> Response {
    let message = error.to_string();
    let source: Option<Arc<dyn Any + Send + Sync>> = Some(Arc::new(error));
    Response::from_errors(vec![ServerError { source, ..ServerError::new(message, None) }])
}

/// Gives every top-level error its `code`, `type`, `param` and `requestId`: the one place, over the finished answer.
///
/// A resolver's error carries ours as its source. One without a source is GraphQL's own, about the document
/// or its variables, and the caller's to mend. Any other is our fault, and its text stays with us.
pub fn complete(answer: &mut Response) {
    answer.errors.truncate(ERRORS_MAX);
    for error in &mut answer.errors {
        let mut extensions = ErrorExtensionValues::default();
        match (error.source::<Error>(), &error.source) {
            (Some(ours), _) => {
                if let Error::Internal(cause) = ours {
                    tracing::error!(error = %cause, path = ?error.path, "a GraphQL field failed inside");
                }
                extensions.set("code", ours.code());
                if let Some(param) = ours.param() {
                    extensions.set("param", param);
                }
                if let Some(seconds) = ours.retry_after_seconds() {
                    extensions.set("retryAfterSeconds", seconds);
                }
            }
            (None, Some(_)) => {
                tracing::error!(error = %error.message, path = ?error.path, "a GraphQL field failed inside");
                "internal error".clone_into(&mut error.message);
                extensions.set("code", "internal");
            }
            (None, None) => {
                extensions.set("code", "bad_request");
                if let Some(param) = argument(&error.message) {
                    extensions.set("param", param);
                }
            }
        }
        if let Some(Value::String(code)) = extensions.get("code") {
            let kind = problem::kind(code);
            extensions.set("type", kind);
        }
        if let Some(id) = request_id::current() {
            extensions.set("requestId", id);
        }
        error.extensions = Some(extensions);
    }
}

/// Takes the schema's names out of what nobody is told: who may not ask for them shall not guess them either.
pub fn hide_suggestions(answer: &mut Response) {
    for error in &mut answer.errors {
        if let Some(end) = error.message.find(" Did you mean ") {
            error.message.truncate(end);
        }
    }
}

/// The code that [`complete`] gave an error.
pub fn code(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        _ => None,
    }
}

/// The argument that GraphQL's own message is about: `Invalid value for argument "input.name", …`.
fn argument(message: &str) -> Option<&str> {
    message.strip_prefix("Invalid value for argument \"")?.split('"').next()
}
