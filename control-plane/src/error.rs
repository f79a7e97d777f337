//! What can go wrong, seen by a caller: one variant for each answer that a caller can act on.

use std::error::Error as StdError;

pub type BoxError = Box<dyn StdError + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One variant for each answer a caller can act on, not for each cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong. `param` is the path of the field to mend, `throttle.rateLimit`; empty
    /// where no single field is to blame.
    #[error("{message}")]
    BadRequest { param: String, message: String },
    /// Nobody, or somebody with an expired or forged token.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// A member whose role does not allow this. Another tenant's row is `NotFound`, never this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The operator suspended the tenant: its members read, and change nothing.
    #[error("this tenant is suspended, so nothing of it can be changed: {reason}")]
    TenantSuspended { reason: String },
    #[error("{0} not found")]
    NotFound(&'static str),
    /// It may have been there, and nobody remembers it: why, since when, and what to do.
    #[error("{0}")]
    NotKept(String),
    #[error("{message}")]
    Conflict { param: String, message: String },
    #[error("{message}")]
    LimitExceeded { param: String, message: String },
    /// A GraphQL connection is asked for, and not how many items of it. `place` is the field's line and column, where
    /// the document alone told.
    #[error("{message}")]
    PageSizeRequired { message: String, place: Option<(usize, usize)> },
    /// Too many tries; the caller may come back after this many seconds.
    #[error("too many requests; try again in {retry_after_seconds} s")]
    TooManyRequests { retry_after_seconds: u32 },
    /// `If-Match` or `expectedVersion` names another version than the present one.
    #[error(
        "this was changed since you read it and has the version {version} now; read it again and repeat your change"
    )]
    PreconditionFailed { version: String },
    /// The key was first sent with another request.
    #[error(
        "this Idempotency-Key was sent with another request within the last 24 hours; draw a new one for each change"
    )]
    IdempotencyKeyReuse,
    /// Another try under the same key has not ended.
    #[error(
        "another request with this Idempotency-Key is in progress; try again in {retry_after_seconds} s"
    )]
    IdempotencyKeyInUse { retry_after_seconds: u32 },
    /// The change was made, and its answer died with the process that made it.
    #[error(
        "the request {request_id} with this Idempotency-Key made its change, but its answer was lost; \
         nothing was done again. The audit log shows under that request id what was changed"
    )]
    IdempotencyAnswerLost { request_id: String },
    /// A GraphQL document was named by a hash that is not known here, as the console of another release may: it has to
    /// send the document. Message and code are Apollo's, by which clients know to do so.
    #[error("PersistedQueryNotFound")]
    PersistedQueryNotFound,
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("the Content-Type must be {0}")]
    UnsupportedMediaType(&'static str),
    /// A known path; the answer's `Allow` header names its methods.
    #[error("this path does not take this method")]
    MethodNotAllowed,
    #[error("the request took too long")]
    Timeout,
    /// Our fault. The cause goes to the log; the caller learns only that there was one.
    #[error("internal error")]
    Internal(#[source] BoxError),
}

impl Error {
    pub fn bad_request(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::BadRequest { param: param.into(), message: message.into() }
    }

    pub fn conflict(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Conflict { param: param.into(), message: message.into() }
    }

    pub fn limit_exceeded(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::LimitExceeded { param: param.into(), message: message.into() }
    }

    pub fn internal(cause: impl Into<BoxError>) -> Self {
        Self::Internal(cause.into())
    }

    /// A stored row that breaks our own rules: our fault, not the caller's.
    pub fn corrupt(what: &'static str, cause: impl Into<BoxError>) -> Self {
        Self::Internal(format!("corrupt {what}: {}", cause.into()).into())
    }

    /// The one list of codes that REST's problems and GraphQL's errors share: `snake_case`, but for Apollo's.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "bad_request",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::TenantSuspended { .. } => "tenant_suspended",
            Self::NotFound(_) | Self::NotKept(_) => "not_found",
            Self::Conflict { .. } => "conflict",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::PageSizeRequired { .. } => "page_size_required",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::PreconditionFailed { .. } => "precondition_failed",
            Self::IdempotencyKeyReuse => "idempotency_key_reuse",
            Self::IdempotencyKeyInUse { .. } => "idempotency_key_in_use",
            Self::IdempotencyAnswerLost { .. } => "idempotency_answer_lost",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::TooLarge { .. } => "too_large",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::Internal(_) => "internal",
        }
    }

    /// After how many seconds the caller may come back, where that is known.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::TooManyRequests { retry_after_seconds }
            | Self::IdempotencyKeyInUse { retry_after_seconds } => Some(*retry_after_seconds),
            _ => None,
        }
    }

    /// The version that the noun has, where another was expected.
    pub fn present_version(&self) -> Option<&str> {
        match self {
            Self::PreconditionFailed { version } => Some(version),
            _ => None,
        }
    }

    /// The field to mend, where there is one.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::BadRequest { param, .. }
            | Self::Conflict { param, .. }
            | Self::LimitExceeded { param, .. }
                if !param.is_empty() =>
            {
                Some(param)
            }
            Self::PageSizeRequired { .. } => Some("first"),
            _ => None,
        }
    }

    /// The same error about a field inside another: `throttle` + `rateLimit` is `throttle.rateLimit`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        if let Self::BadRequest { param, .. }
        | Self::Conflict { param, .. }
        | Self::LimitExceeded { param, .. } = &mut self
        {
            *param = if param.is_empty() { outer.to_owned() } else { format!("{outer}.{param}") };
        }
        self
    }
}

impl From<sqlx::Error> for Error {
    fn from(cause: sqlx::Error) -> Self {
        Self::internal(cause)
    }
}

/// Lets the database judge, and translates its constraint by name.
pub trait OnConstraint<T> {
    /// A violation of `name` becomes `error()`; anything else stays an internal error.
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T>;
}

impl<T> OnConstraint<T> for Result<T, sqlx::Error> {
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T> {
        self.map_err(|cause| match &cause {
            sqlx::Error::Database(database) if database.constraint() == Some(name) => error(),
            _ => cause.into(),
        })
    }
}

impl<T> OnConstraint<T> for Result<T> {
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T> {
        self.map_err(|already| match &already {
            Error::Internal(cause) => match cause.downcast_ref::<sqlx::Error>() {
                Some(sqlx::Error::Database(database)) if database.constraint() == Some(name) => {
                    error()
                }
                _ => already,
            },
            _ => already,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The codes that [`Error::code`] can give, by its own text.
    pub(crate) fn codes() -> BTreeSet<&'static str> {
        let source = include_str!("error.rs");
        let (_, code) = source.split_once("pub fn code(&self)").unwrap();
        let (code, _) = code.split_once("\n    }\n").unwrap();
        code.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
    }

    /// One error of each code, with all that it can say.
    pub(crate) fn one_of_each() -> Vec<Error> {
        let each = vec![
            Error::bad_request("throttle.rateLimit", "must be more than 0"),
            Error::Unauthenticated("this token has expired"),
            Error::Forbidden("only an owner may do this"),
            Error::TenantSuspended { reason: "the bill".to_owned() },
            Error::NotFound("this usage plan"),
            Error::conflict("name", "a usage plan named gold exists"),
            Error::limit_exceeded("query", "costs 1041 points"),
            Error::PageSizeRequired { message: "give it first or last".to_owned(), place: None },
            Error::TooManyRequests { retry_after_seconds: 7 },
            Error::PreconditionFailed { version: "12".to_owned() },
            Error::IdempotencyKeyReuse,
            Error::IdempotencyKeyInUse { retry_after_seconds: 2 },
            Error::IdempotencyAnswerLost { request_id: "the first".to_owned() },
            Error::PersistedQueryNotFound,
            Error::TooLarge { bytes_max: 1024 },
            Error::UnsupportedMediaType("application/json"),
            Error::MethodNotAllowed,
            Error::Timeout,
            Error::internal("a secret cause"),
        ];
        assert_eq!(each.iter().map(Error::code).collect::<BTreeSet<_>>(), codes());
        each
    }
}
