//! How errors leave GraphQL: what the caller can mend is data (`userErrors`), the rest is a top-level error
//! with the same fields in `extensions`.

use async_graphql::{Enum, ErrorExtensions, SimpleObject};

use crate::error::{Error, Result};

/// The codes of `userErrors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ErrorCode {
    BadRequest,
    Conflict,
    LimitExceeded,
    NotFound,
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
        _ => return Err(error.extend()),
    };
    Ok((
        None,
        vec![UserError {
            code,
            message: error.to_string(),
            param: error.param().map(str::to_owned),
        }],
    ))
}

impl ErrorExtensions for Error {
    fn extend(&self) -> async_graphql::Error {
        if let Self::Internal(cause) = self {
            tracing::error!(error = %cause, "a GraphQL field failed inside");
        }
        async_graphql::Error::new(self.to_string()).extend_with(|_, extensions| {
            extensions.set("code", self.code());
            if let Some(param) = self.param() {
                extensions.set("param", param);
            }
            if let Self::TooManyRequests { retry_after_seconds } = self {
                extensions.set("retryAfterSeconds", *retry_after_seconds);
            }
            if let Some(id) = crate::rest::request_id::current() {
                extensions.set("requestId", id);
            }
        })
    }
}
