//! Usage as it comes in: the sums of the last minutes, whenever they grow.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use futures_util::{Stream, StreamExt, stream};

use crate::access::actor::Actor;
use crate::app::{App, Job};
use crate::domain::api;
use crate::error::Result;
use crate::ids::{ApiId, TenantId};
use crate::store;

/// What nodes ship later than this is in the ledger, and in no tick.
const FRESH: TimeDelta = TimeDelta::minutes(3);

/// The calls of one stage in one minute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute {
    pub start: DateTime<Utc>,
    pub api: String,
    pub stage: String,
}

/// What they come to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub requests: i64,
    pub billed_requests: i64,
    /// Answers 4xx and 5xx.
    pub client_errors: i64,
    pub server_errors: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
}

/// A tenant's last minutes.
pub type Minutes = Arc<BTreeMap<Minute, Sums>>;

/// The tenant's last minutes at once, then those that grew; of one Api where it is named.
pub async fn follow(
    app: &App,
    actor: &Actor,
    of: Option<ApiId>,
) -> Result<impl Stream<Item = Vec<(Minute, Sums)>> + Send + use<>> {
    if let Some(id) = of {
        api::get(app, actor, id).await?;
    }
    let ask = {
        let app = app.clone();
        move |tenants: Vec<TenantId>| {
            let app = app.clone();
            async move { fresh(&app, &tenants).await }
        }
    };
    let wanted = of.map(|id| id.to_string());
    let minutes = app.live.usage.follow(actor.tenant, ask);
    Ok(stream::unfold((minutes, None), move |(mut minutes, mut seen)| {
        let wanted = wanted.clone();
        async move {
            loop {
                let now: Minutes = minutes.next().await?;
                let before: Option<Minutes> = seen.replace(now.clone());
                let grown: Vec<_> = now
                    .iter()
                    .filter(|(minute, sums)| {
                        wanted.as_ref().is_none_or(|api| *api == minute.api)
                            && before.as_ref().and_then(|before| before.get(minute)) != Some(sums)
                    })
                    .map(|(minute, sums)| (minute.clone(), *sums))
                    .collect();
                // The first tells that it is followed, also where nothing was called.
                if before.is_none() || !grown.is_empty() {
                    return Some((grown, (minutes, seen)));
                }
            }
        }
    }))
}

/// The last minutes of each of these tenants, from one query.
async fn fresh(app: &App, tenants: &[TenantId]) -> Result<HashMap<TenantId, Minutes>> {
    let since = app.clock.now() - FRESH;
    let since = since.duration_trunc(TimeDelta::minutes(1)).unwrap_or(since);
    let mut tx = app.system(Job::Live).await?;
    let rows = store::usage::since(&mut tx, tenants, since).await?;
    let mut found: HashMap<TenantId, BTreeMap<Minute, Sums>> =
        tenants.iter().map(|tenant| (*tenant, BTreeMap::new())).collect();
    for (tenant, minute, sums) in rows {
        found.entry(tenant).or_default().insert(minute, sums);
    }
    Ok(found.into_iter().map(|(tenant, minutes)| (tenant, Arc::new(minutes))).collect())
}
