//! What the log keeps of a request, noted while it is served: `domain::management_request` has it afterwards.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};

use crate::access::token::Bearer;
use crate::app::App;
use crate::domain::management_request::{ManagementRequest, usable};
use crate::graphql::limits::QUERY_FIELDS_MAX;
use crate::ids::{ManagementRequestId, TenantId, UserId};
use crate::rest::{extract, request_id, version};

/// The longest name of a GraphQL request's operation, in characters.
const OPERATION_CHARS_MAX: usize = 64;

tokio::task_local! {
    static CURRENT: Arc<Notes>;
}

#[derive(Default)]
struct Notes {
    /// Set once it is known that the request is kept.
    kept: OnceLock<Kept>,
    operations: OnceLock<Vec<String>>,
    codes: Mutex<BTreeSet<String>>,
}

/// Whose request it is.
struct Kept {
    id: ManagementRequestId,
    tenant: Option<TenantId>,
    user: UserId,
    /// Where their log shows it.
    url: Option<String>,
}

/// The request has been paid for by whom this token names: it is kept. The operator's log has no page.
pub fn keep(app: &App, bearer: &Bearer) {
    let Some(id) = request_id::current().and_then(|id| id.parse().ok()) else { return };
    let console = app.config.public_url.trim_end_matches('/');
    let url = bearer.tenant.map(|_| format!("{console}/settings/requests/{id}"));
    let kept = Kept { id, tenant: bearer.tenant, user: bearer.user, url };
    let _ = CURRENT.try_with(|notes| notes.kept.set(kept).is_ok()); // elsewhere nothing is kept
}

/// Where the caller's tenant finds this request in its log; none where it does not.
pub fn url() -> Option<String> {
    CURRENT.try_with(|notes| notes.kept.get()?.url.clone()).ok().flatten()
}

/// The answer has an error of this code.
pub fn failed(code: &str) {
    let note = |notes: &Arc<Notes>| {
        let mut codes = notes.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.insert(code.to_owned());
    };
    let _ = CURRENT.try_with(note); // a socket's errors are no request's
}

/// What a GraphQL request asks for.
pub fn asked_for<'a>(operations: impl IntoIterator<Item = &'a str>) {
    let short = |name: &str| name.chars().take(OPERATION_CHARS_MAX).collect();
    let names: Vec<String> = operations.into_iter().take(QUERY_FIELDS_MAX).map(short).collect();
    let _ = CURRENT.try_with(|notes| notes.operations.set(names).is_ok());
}

/// Runs `work`, in a task of its own, as part of the request that this task serves.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(CURRENT.try_with(Arc::clone).unwrap_or_default(), work)
}

/// The layer around everything that answers for the request, panics and lateness too.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let notes = Arc::<Notes>::default();
    let mut entry = Entry::begin(app, notes.clone(), &request);
    let response = CURRENT.scope(notes, next.run(request)).await;
    let version = response.headers().get(version::HEADER);
    entry.answer = Some(Answer {
        status: response.status().as_u16(),
        api_version: version.and_then(|version| version.to_str().ok()?.parse().ok()),
    });
    response
}

/// A request in progress. Where its caller goes away, it is dropped without an answer.
struct Entry {
    app: App,
    notes: Arc<Notes>,
    client_request_id: Option<String>,
    address: String,
    method: Method,
    path: Option<MatchedPath>,
    started_at: DateTime<Utc>,
    started: Instant,
    answer: Option<Answer>,
}

struct Answer {
    status: u16,
    api_version: Option<NaiveDate>,
}

impl Entry {
    fn begin(app: App, notes: Arc<Notes>, request: &Request) -> Self {
        let sent = request.headers().get(request_id::HEADER).and_then(|id| id.to_str().ok());
        Self {
            client_request_id: sent.filter(|id| usable(id)).map(str::to_owned),
            address: extract::address(request.extensions()),
            method: request.method().clone(),
            path: request.extensions().get().cloned(),
            started_at: app.clock.now(),
            started: Instant::now(),
            answer: None,
            app,
            notes,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(Kept { id, tenant, user, .. }) = self.notes.kept.get() else { return };
        let codes = self.notes.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = self.answer.take();
        self.app.requests.offer(ManagementRequest {
            id: *id,
            client_request_id: self.client_request_id.take(),
            tenant: *tenant,
            user: *user,
            user_email: None,
            started_at: self.started_at,
            duration_ms: i32::try_from(self.started.elapsed().as_millis()).unwrap_or(i32::MAX),
            method: self.method.to_string(),
            path: self.path.as_ref().map_or("-", MatchedPath::as_str).to_owned(),
            operations: self.notes.operations.get().cloned().unwrap_or_default(),
            status: answer.as_ref().and_then(|answer| answer.status.try_into().ok()),
            codes: codes.iter().cloned().collect(),
            address: std::mem::take(&mut self.address),
            api_version: answer.and_then(|answer| answer.api_version),
        });
    }
}
