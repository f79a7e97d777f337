//! An `Idempotency-Key`: one change of a thousand tries, whichever replicas get them and whichever of these die.
//!
//! A try first claims its key, in a row of its own that every replica sees; others are told to wait. The change's
//! own transaction then says in that row that it is the change, and is refused if the try was given up meanwhile.
//! Last, the answer is kept there. Who dies before the change leaves a key that the next try takes over; who dies
//! after it leaves one that says so, and nothing is done again.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::access::actor::Caller;
use crate::access::attempt::Attempt;
use crate::access::sealed::WrappingKey;
use crate::app::{App, Job, Tx};
use crate::error::{Error, Result};
use crate::store;

/// How long a key is known.
pub const KEPT_FOR: TimeDelta = TimeDelta::hours(24);
/// How long a try may take.
pub const TRY_WITHIN: Duration = Duration::from_secs(30);
/// What has said nothing by then has died.
pub const ABANDONED_AFTER: TimeDelta = TimeDelta::seconds(35);
/// The longest answer that is kept, in bytes.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What a key's row says.
pub struct Kept {
    pub fingerprint: Vec<u8>,
    pub request_id: String,
    pub claimed_at: DateTime<Utc>,
    pub effect_at: Option<DateTime<Utc>>,
    /// Wrapped.
    pub answer: Option<Vec<u8>>,
}

/// What counts in a claim.
pub struct Moments {
    pub now: DateTime<Utc>,
    /// A try without effect that began before then is dead.
    pub abandoned: DateTime<Utc>,
    /// A key of before then is free.
    pub expired: DateTime<Utc>,
}

/// What becomes of a try.
pub enum Claim {
    /// It goes on, and ends with [`keep`] or [`release`].
    Ours(Arc<Attempt>),
    /// An earlier one was answered so.
    Answered(Vec<u8>),
}

/// Claims the key for the caller. `fingerprint` tells the request from others under the same key.
pub async fn claim(app: &App, caller: &Caller, key: &str, fingerprint: &[u8]) -> Result<Claim> {
    let attempt = Attempt::new(caller.tenant(), caller.user(), key);
    let now = app.clock.now();
    let abandoned = now - ABANDONED_AFTER;
    let mut tx = begin(app, caller).await?;
    let request_id = &caller.origin().request_id;
    let moments = Moments { now, abandoned, expired: now - KEPT_FOR };
    if store::idempotency_key::claim(&mut tx, &attempt, fingerprint, request_id, &moments).await? {
        tx.commit().await?;
        return Ok(Claim::Ours(Arc::new(attempt)));
    }
    let in_use = Err(Error::IdempotencyKeyInUse { retry_after_seconds: 1 });
    // Given back a moment ago, else.
    let Some(kept) = store::idempotency_key::get(&mut tx, &attempt).await? else { return in_use };
    if kept.fingerprint != fingerprint {
        return Err(Error::IdempotencyKeyReuse);
    }
    match (kept.answer, kept.effect_at) {
        (Some(answer), _) => {
            let wrapping = wrapping(app, &mut tx, &attempt).await?;
            Ok(Claim::Answered(wrapping.unwrap(&context(&attempt), &answer)?.to_vec()))
        }
        (None, Some(_)) if kept.claimed_at <= abandoned => {
            Err(Error::IdempotencyAnswerLost { request_id: kept.request_id })
        }
        (None, _) => in_use,
    }
}

/// Keeps the answer of a try whose change was made; one that is too long is as good as lost.
pub async fn keep(app: &App, caller: &Caller, attempt: &Attempt, answer: &[u8]) -> Result<()> {
    let mut tx = begin(app, caller).await?;
    let wrapping = wrapping(app, &mut tx, attempt).await?;
    let wrapped = wrapping.wrap(&context(attempt), answer);
    store::idempotency_key::keep_answer(&mut tx, attempt, &wrapped).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives the key back after a try that failed: always, where it is known to have changed nothing; otherwise only
/// if the database knows of no change.
pub async fn release(
    app: &App,
    caller: &Caller,
    attempt: &Attempt,
    changed_nothing: bool,
) -> Result<()> {
    let mut tx = begin(app, caller).await?;
    store::idempotency_key::release(&mut tx, attempt, !changed_nothing).await?;
    tx.commit().await?;
    Ok(())
}

async fn begin(app: &App, caller: &Caller) -> Result<Tx> {
    match caller {
        Caller::Member(actor) => app.begin(actor).await,
        Caller::Operator(_) => app.system(Job::Operator).await,
    }
}

async fn wrapping(app: &App, tx: &mut Tx, attempt: &Attempt) -> Result<WrappingKey> {
    match attempt.tenant {
        Some(tenant) => app.data_key(tx, tenant).await,
        None => Ok(app.master.clone()),
    }
}

fn context(attempt: &Attempt) -> String {
    let tenant = attempt.tenant.map_or_else(|| "operator".to_owned(), |tenant| tenant.to_string());
    format!("tenant:{tenant}:idempotency:{}:{}", attempt.user, attempt.key)
}
