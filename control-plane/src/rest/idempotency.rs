//! `Idempotency-Key` on every POST of a member or the operator: the same key and request again give the first
//! answer again. It serves both faces.

use std::error::Error as _;
use std::panic::{AssertUnwindSafe, resume_unwind};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt;
use http_body_util::LengthLimitError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use crate::access::actor::Caller;
use crate::access::attempt::Attempt;
use crate::app::App;
use crate::domain::idempotency_key::{self, ANSWER_BYTES_MAX, Claim, TRY_WITHIN};
use crate::error::{BoxError, Error, Result};
use crate::rest::{BODY_BYTES_MAX, extract, request_id, request_log};

pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The longest key, in characters.
const KEY_LENGTH_MAX: usize = 255;

/// What has no caller yet, or gives tokens and cookies, which must not be given twice.
pub const EXCEPTED: [&str; 4] = ["/signup", "/login", "/session", "/operator/session"];

/// The key that a request carries, if it does.
pub fn key(headers: &HeaderMap) -> Result<Option<String>> {
    let mut given = headers.get_all(HEADER).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let fits = |key: &&str| {
        (1..=KEY_LENGTH_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = key.to_str().ok().filter(fits).filter(|_| given.next().is_none());
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        let rule = format!("is one header of 1 to {KEY_LENGTH_MAX} visible ASCII characters");
        Error::bad_request("Idempotency-Key", rule)
    })
}

/// The layer around REST.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Result<Response> {
    if request.method() != Method::POST || EXCEPTED.contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let Some(key) = key(request.headers())? else { return Ok(next.run(request).await) };
    let (parts, body) = request.into_parts();
    let caller = match extract::caller(&app, &parts).await {
        Ok(caller) => caller,
        // The handler says why, or is open to everybody.
        Err(Error::Unauthenticated(_)) => {
            return Ok(next.run(Request::from_parts(parts, body)).await);
        }
        // Who cannot be asked for their name now may have it a moment later: nothing runs without the key.
        Err(error) => return Err(error),
    };
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|cause| {
        match cause.source().and_then(|cause| cause.downcast_ref::<LengthLimitError>()) {
            Some(_) => Error::TooLarge { bytes_max: BODY_BYTES_MAX },
            None => Error::bad_request("", "the body did not come whole"),
        }
    })?;
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let fingerprint = fingerprint(&["POST", target], &body);
    let request = Request::from_parts(parts, Body::from(body));
    let work = async move {
        let response = next.run(request).await;
        let status = response.status();
        let ended = if status.is_client_error() {
            Ended::Refused
        } else if status.is_success() {
            Ended::Done
        } else {
            Ended::Failed
        };
        (response, ended)
    };
    once(&app, &caller, &key, &fingerprint, work).await
}

/// Tells requests apart. What is in front of the body holds no NUL.
pub fn fingerprint(names: &[&str], body: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for name in names {
        digest.update(name);
        digest.update([0]);
    }
    digest.update(body);
    digest.finalize().into()
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    /// It changed nothing, and says why.
    Refused,
    /// It may have changed something.
    Failed,
}

/// Runs `work` once for this key, or answers what it answered then. Only the answer of what was done is kept. It runs
/// to its end even if the client goes away: mostly in order to try again.
pub async fn once<F>(
    app: &App,
    caller: &Caller,
    key: &str,
    fingerprint: &[u8],
    work: F,
) -> Result<Response>
where
    F: Future<Output = (Response, Ended)> + Send + 'static,
{
    let attempt = match idempotency_key::claim(app, caller, key, fingerprint).await? {
        Claim::Ours(attempt) => attempt,
        Claim::Answered(answer) => return replay(&answer),
    };
    let (app, caller) = (app.clone(), caller.clone());
    let all = async move {
        let work = tokio::time::timeout(TRY_WITHIN, attempt.clone().scope(work));
        let done = AssertUnwindSafe(work).catch_unwind().await;
        let (response, ended) = match done {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => (Error::Timeout.into_response(), Ended::Failed),
            Err(panic) => {
                settle(&app, &caller, &attempt, None, false).await;
                resume_unwind(panic)
            }
        };
        let (parts, body) = response.into_parts();
        // Ours are made in memory.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        // What logs somebody in is for one browser once, and its token stands in no database.
        let logs_in = parts.headers.contains_key(header::SET_COOKIE);
        let answer = (ended == Ended::Done && !logs_in && body.len() <= ANSWER_BYTES_MAX)
            .then(|| Answer::of(parts.status, &parts.headers, &body));
        settle(&app, &caller, &attempt, answer, ended == Ended::Refused).await;
        Response::from_parts(parts, Body::from(body))
    };
    let task = tokio::spawn(request_log::carry(request_id::carry(all)).in_current_span());
    task.await.map_err(|ended| match ended.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(ended) => Error::internal(ended),
    })
}

/// Keeps the answer of a change, or gives the key back. Where neither succeeds, the next tries are told to wait, or
/// that the answer was lost.
async fn settle(
    app: &App,
    caller: &Caller,
    attempt: &Attempt,
    answer: Option<Answer>,
    refused: bool,
) {
    let settled = if refused || !attempt.took_effect() {
        idempotency_key::release(app, caller, attempt, refused).await
    } else if let Some(answer) = answer {
        match serde_json::to_vec(&answer) {
            Ok(answer) => idempotency_key::keep(app, caller, attempt, &answer).await,
            Err(cause) => Err(Error::internal(cause)),
        }
    } else {
        Ok(())
    };
    if let Err(error) = settled {
        tracing::warn!(?error, "what became of an idempotency key could not be written down");
    }
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.to_string(), value.to_str().ok()?.to_owned()))
        };
        Self {
            status: status.as_u16(),
            headers: headers.iter().filter_map(text).collect(),
            body: BASE64_STANDARD.encode(body),
        }
    }
}

fn replay(answer: &[u8]) -> Result<Response> {
    let corrupt = |cause: BoxError| Error::corrupt("kept answer", cause);
    let answer: Answer = serde_json::from_slice(answer).map_err(|cause| corrupt(cause.into()))?;
    let body = BASE64_STANDARD.decode(answer.body).map_err(|cause| corrupt(cause.into()))?;
    let mut response = Response::builder().status(answer.status).header(REPLAYED, "true");
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).map_err(|cause| corrupt(cause.into()))
}

#[cfg(test)]
mod tests;
