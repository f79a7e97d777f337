//! How errors leave GraphQL: what the caller can mend is data (`userErrors`), the rest is a top-level error
//! whose `extensions` are REST's problem.

use std::any::Any;
use std::sync::Arc;

use async_graphql::{Enum, ErrorExtensionValues, Pos, Response, ServerError, SimpleObject, Value};

use crate::error::{Error, Result};
use crate::rest::problem::{self, Problem};
use crate::rest::{request_id, request_log};

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
    /// `/docs/errors/{code}`: what it means and what to do.
    #[graphql(name = "type")]
    pub kind: String,
    /// The id of the request that was refused; also in the `x-request-id` header.
    pub request_id: Option<String>,
    /// Where the console shows this request a moment later; null where the caller's tenant has no log of it.
    pub log_url: Option<String>,
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
        Error::NotFound(_) | Error::NotKept(_) => ErrorCode::NotFound,
        Error::PreconditionFailed { .. } => ErrorCode::VersionConflict,
        _ => return Err(error.into()),
    };
    request_log::failed(error.code());
    Ok((
        None,
        vec![UserError {
            code,
            message: error.to_string(),
            param: match code {
                ErrorCode::VersionConflict => Some("expectedVersion".to_owned()),
                _ => error.param().map(str::to_owned),
            },
            kind: problem::kind(error.code()),
            request_id: request_id::current(),
            log_url: request_log::url(),
        }],
    ))
}

/// How many errors one answer carries: a broken document can have thousands.
const ERRORS_MAX: usize = 20;

/// The answer to a request of which nothing will run.
pub fn refused(error: Error) -> Response {
    let message = error.to_string();
    let place = match &error {
        Error::PageSizeRequired { place, .. } => place.map(|(line, column)| Pos { line, column }),
        _ => None,
    };
    let source: Option<Arc<dyn Any + Send + Sync>> = Some(Arc::new(error));
    Response::from_errors(vec![ServerError { source, ..ServerError::new(message, place) }])
}

/// Gives every top-level error, as its `extensions`, all that a [`Problem`] tells in REST: the one place, over the
/// finished answer.
///
/// A resolver's error carries ours as its source. One without a source is GraphQL's own, about the document
/// or its variables, and the caller's to mend. Any other is our fault, and its text stays with us.
pub fn complete(answer: &mut Response) {
    answer.errors.truncate(ERRORS_MAX);
    for error in &mut answer.errors {
        let problem = match (error.source::<Error>(), &error.source) {
            (Some(ours), _) => {
                if let Error::Internal(cause) = ours {
                    tracing::error!(error = %cause, path = ?error.path, "a GraphQL field failed inside");
                }
                Problem::from(ours)
            }
            (None, Some(_)) => {
                tracing::error!(error = %error.message, path = ?error.path, "a GraphQL field failed inside");
                Problem::from(&Error::internal("not ours"))
            }
            (None, None) => {
                let param = argument(&error.message).unwrap_or_default();
                Problem::from(&Error::bad_request(param, &error.message))
            }
        };
        request_log::failed(&problem.code);
        error.extensions = Some(extensions(&problem));
        error.message = problem.detail;
    }
}

fn extensions(problem: &Problem) -> ErrorExtensionValues {
    let mut extensions = ErrorExtensionValues::default();
    // Text and numbers always are a value.
    if let Ok(Value::Object(told)) = async_graphql::to_value(problem) {
        for (name, value) in told {
            extensions.set(name, value);
        }
    }
    extensions
}

/// After how many seconds to try again, where the error says so.
pub fn retry_after_seconds(error: &ServerError) -> Option<u32> {
    error.source::<Error>()?.retry_after_seconds()
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

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::response::IntoResponse;
    use serde_json::json;

    use super::*;
    use crate::error::tests::one_of_each;

    #[tokio::test]
    async fn both_doors_say_the_same_of_every_error() {
        let id = "0192f0c1-2b5e-7c3a-9d51-6f0a4be0c001".to_owned();
        let compare = async {
            for (by_rest, by_graphql) in one_of_each().into_iter().zip(one_of_each()) {
                let rest = by_rest.into_response();
                let retry_after = rest.headers().get("retry-after").cloned();
                let body = to_bytes(rest.into_body(), usize::MAX).await.unwrap();
                let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let mut answer = refused(by_graphql);
                complete(&mut answer);
                let [error] = answer.errors.as_slice() else { panic!("one: {answer:?}") };

                assert_eq!(json!(error.extensions), problem);
                assert_eq!(json!(error.message), problem["detail"]);
                assert_eq!(problem["instance"], format!("urn:uuid:{id}"), "{problem}");
                assert_eq!(problem["requestId"], id, "{problem}");
                assert_eq!(problem["type"], problem::kind(problem["code"].as_str().unwrap()));
                let waits = retry_after.map(|seconds| seconds.to_str().unwrap().to_owned());
                assert_eq!(problem["retryAfterSeconds"].as_u64().map(|s| s.to_string()), waits);
                assert!(!problem.to_string().contains("secret"), "{problem}");
            }
        };
        request_id::within(id.clone(), compare).await;
    }

    #[test]
    fn what_is_graphqls_own_or_nobodys_is_told_in_the_same_words() {
        let own =
            ServerError::new("Invalid value for argument \"input.name\", expected String", None);
        let source: Option<Arc<dyn Any + Send + Sync>> = Some(Arc::new("a secret"));
        let strange = ServerError { source, ..ServerError::new("a secret", None) };
        let mut answer = Response::from_errors(vec![own, strange]);
        complete(&mut answer);

        let told =
            |of: usize| (answer.errors[of].message.clone(), json!(answer.errors[of].extensions));
        let (message, extensions) = told(0);
        let problem = Problem::from(&Error::bad_request("input.name", message));
        assert_eq!(extensions, json!(problem));
        let (message, extensions) = told(1);
        assert_eq!(
            (message.as_str(), extensions),
            ("internal error", json!(Problem::from(&Error::internal(""))))
        );
    }

    #[tokio::test]
    async fn a_user_error_leads_to_its_page_and_its_request() {
        for error in one_of_each() {
            let (code, kind) = (error.code(), problem::kind(error.code()));
            let asked = async { user_errors::<()>(Err(error)) };
            let mends =
                ["bad_request", "conflict", "limit_exceeded", "not_found", "precondition_failed"];
            match request_id::within("one".to_owned(), asked).await {
                Ok((_, told)) => {
                    assert_eq!(
                        (told[0].kind.as_str(), told[0].request_id.as_deref()),
                        (kind.as_str(), Some("one"))
                    );
                    assert!(mends.contains(&code), "{code}");
                }
                Err(_) => assert!(!mends.contains(&code), "{code}"),
            }
        }
    }
}
