//! The log of requests to the management API: who asked for what, from where, and how it ended. Where an error's
//! `logUrl` leads.
//!
//! It has the requests that came with an access token of ours, of a tenant's member or of the operator, and that were
//! read: the caller had a point left. What nobody in particular asks is in the access log alone, and so is what is refused
//! unread, and of each tenant what is more than [`TENANT_ROWS_PER_MINUTE`] for long: nobody fills the disk.

use std::num::NonZeroU32;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::access::actor::Caller;
use crate::app::{App, Job};
use crate::domain::audit;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::error::{Error, Result};
use crate::ids::{ManagementRequestId, TenantId, UserId};
use crate::{store, telemetry};

/// How long a request can be looked up.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(30);
/// The longest id of their own that callers may give a request.
const CLIENT_ID_BYTES_MAX: usize = 128;
/// Requests that wait to be written; more are lost, and counted.
const QUEUE_LEN_MAX: usize = 8192;
/// What a replica keeps of a tenant in the long run, a minute: ten million rows a month, some GB.
const TENANT_ROWS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(300).unwrap();
/// And at once.
const TENANT_ROWS_AT_ONCE: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
/// Rows that are written at once.
const BATCH_LEN_MAX: usize = 1000;
/// The least time between two batches: a request can be looked up so long after its answer.
const PACE: Duration = Duration::from_millis(100);
/// What waits when the replica stops may take so long to be written.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// One request that has ended. Never a body, a query or a header's value, but for the caller's own id.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagementRequest {
    /// In the answer's `x-request-id`.
    pub id: ManagementRequestId,
    /// The `x-request-id` that the caller sent, where it is [`usable`].
    pub client_request_id: Option<String>,
    /// None for the operator's.
    pub tenant: Option<TenantId>,
    /// Whose access token it was, whether or not it still opened anything.
    pub user: UserId,
    /// None where they are no longer a member, or are the operator in a tenant's eyes.
    pub user_email: Option<String>,
    pub started_at: DateTime<Utc>,
    /// From the request's head to the head of its answer.
    pub duration_ms: i32,
    pub method: String,
    /// The template: `/v1/apis/{apiId}`.
    pub path: String,
    /// What a GraphQL request asked for, in the schema's words.
    pub operations: Vec<String>,
    /// None where the caller went away before the answer.
    pub status: Option<i16>,
    /// The codes of its errors, those of `userErrors` too.
    pub codes: Vec<String>,
    /// From where it came.
    pub address: String,
    /// The dated version of the API that it was answered in.
    pub api_version: Option<NaiveDate>,
}

impl Keyed for ManagementRequest {
    const LIST: &'static str = "managementRequests";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.started_at, &self.id)
    }
}

/// Whether a caller's own id may stand in a log: 1 to 128 letters, digits and `-._:=+/`, as nodes take it too.
pub fn usable(client_request_id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:=+/".contains(&byte);
    (1..=CLIENT_ID_BYTES_MAX).contains(&client_request_id.len())
        && client_request_id.bytes().all(fits)
}

/// Which requests; each left out matches every one.
#[derive(Clone, Debug, Default)]
pub struct ManagementRequestFilter {
    /// Ours or the caller's own.
    pub request_id: Option<String>,
    pub user: Option<UserId>,
    pub status: Option<u16>,
    /// Whether it was answered with an error, or not at all.
    pub failed: Option<bool>,
    /// Inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Exclusive.
    pub until: Option<DateTime<Utc>>,
}

impl ManagementRequestFilter {
    /// The filter, where it can match anything.
    pub fn checked(self) -> Result<Self> {
        audit::check_times(self.since, self.until)?;
        if self.request_id.as_deref().is_some_and(|id| !usable(id)) {
            let rule = "is 1 to 128 letters, digits and -._:=+/";
            return Err(Error::bad_request("requestId", rule));
        }
        if self.status.is_some_and(|status| !(100..600).contains(&status)) {
            return Err(Error::bad_request("status", "is from 100 to 599"));
        }
        Ok(self)
    }
}

/// Newest first. Whoever may read the audit log: a member the tenant's, the operator their own.
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &ManagementRequestFilter,
    page: &Page,
) -> Result<Paged<ManagementRequest>> {
    let (tenant, mut tx) = audit::open(app, caller).await?;
    page.cut(store::management_request::list(&mut tx, tenant, filter, page).await?)
}

/// The one with this id, ours or the caller's own; of several with the same, the newest.
pub async fn get(app: &App, caller: &Caller, request_id: &str) -> Result<ManagementRequest> {
    let (tenant, mut tx) = audit::open(app, caller).await?;
    if !usable(request_id) {
        return Err(Error::NotFound("management request"));
    }
    store::management_request::get(&mut tx, tenant, request_id).await
}

/// What waits to be written. No request waits for it.
pub struct Queue {
    sender: mpsc::Sender<ManagementRequest>,
    /// The one writer holds it.
    receiver: Mutex<mpsc::Receiver<ManagementRequest>>,
    tenants: DefaultKeyedRateLimiter<TenantId>,
}

impl Default for Queue {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_LEN_MAX);
        let quota = Quota::per_minute(TENANT_ROWS_PER_MINUTE).allow_burst(TENANT_ROWS_AT_ONCE);
        Self { sender, receiver: Mutex::new(receiver), tenants: RateLimiter::keyed(quota) }
    }
}

impl Queue {
    /// Takes the request, unless too many wait already, or too many were the tenant's.
    pub fn offer(&self, request: ManagementRequest) {
        let fits = request.tenant.is_none_or(|tenant| self.tenants.check_key(&tenant).is_ok());
        if !fits || self.sender.try_send(request).is_err() {
            telemetry::unlogged(1);
        }
    }

    /// Forgets tenants that were quiet for long enough.
    pub fn forget_quiet(&self) {
        self.tenants.retain_recent();
        self.tenants.shrink_to_fit();
    }
}

/// Writes what comes, in batches, until every request was `answered`; then what is left.
pub async fn write(app: &App, answered: CancellationToken) {
    let mut queue = app.requests.receiver.lock().await;
    let mut batch = Vec::new();
    answered
        .run_until_cancelled(async {
            let mut pace = interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut failing = false;
            loop {
                pace.tick().await;
                if batch.is_empty() {
                    queue.recv_many(&mut batch, BATCH_LEN_MAX).await;
                }
                let failed = insert(app, &batch).await.err();
                if let Some(error) = failed.as_ref().filter(|_| !failing) {
                    tracing::error!(?error, "the log of requests could not be written");
                }
                failing = failed.is_some();
                // Or the database is away, and will be back: what comes meanwhile waits, as long as there is room.
                if !failing {
                    batch.clear();
                }
            }
        })
        .await;
    while let Ok(request) = queue.try_recv() {
        batch.push(request);
    }
    let rest = async {
        for part in batch.chunks(BATCH_LEN_MAX) {
            insert(app, part).await?;
        }
        Ok::<(), Error>(())
    };
    if !matches!(timeout(LAST_WITHIN, rest).await, Ok(Ok(()))) {
        tracing::error!(requests = batch.len(), "the end of the log of requests was not written");
        telemetry::unlogged(batch.len());
    }
}

/// Writes them; where one of them is at fault, all others.
async fn insert(app: &App, requests: &[ManagementRequest]) -> Result<()> {
    match insert_whole(app, requests).await {
        Err(error) if is_refusal(&error) => {}
        done => return done,
    }
    for request in requests {
        match insert_whole(app, std::slice::from_ref(request)).await {
            Err(error) if is_refusal(&error) => {
                tracing::error!(?error, "a request could not be written to the log");
                telemetry::unlogged(1);
            }
            done => done?,
        }
    }
    Ok(())
}

async fn insert_whole(app: &App, requests: &[ManagementRequest]) -> Result<()> {
    if requests.is_empty() {
        return Ok(());
    }
    let mut tx = app.system(Job::ManagementRequests).await?;
    store::management_request::insert(&mut tx, requests).await?;
    tx.commit().await?;
    Ok(())
}

/// Whether the rows themselves are at fault: they would be refused again. (SQLSTATE 22: data, 23: constraints.)
fn is_refusal(error: &Error) -> bool {
    let Error::Internal(cause) = error else { return false };
    let refused = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    let code = refused.and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

#[cfg(test)]
mod tests;
