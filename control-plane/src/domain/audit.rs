//! Who changed what. An entry is written in the transaction of its change, so there is never one without the
//! other; the database links it to the one before ([`crate::domain::audit_chain`]).

use chrono::{DateTime, Datelike, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::access::actor::{Actor, Caller, Operator, Origin};
use crate::access::role::Action;
use crate::app::{App, Job, Tx};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::error::{Error, Result};
use crate::ids::{AuditEntryId, TenantId, UserId};
use crate::store;

/// Somebody took everything of a tenant away.
pub const TENANT_EXPORT: &str = "tenant.export";

/// One change, as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    pub id: AuditEntryId,
    /// `usage_plan.create`.
    pub action: String,
    pub noun: String,
    pub noun_id: String,
    pub user: Option<UserId>,
    /// None where whoever did it is no longer a member, is the operator, or the machine's administrator.
    pub user_email: Option<String>,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub request_id: String,
    /// From where the call came.
    pub address: String,
    pub created_at: DateTime<Utc>,
    /// Its link of the chain; None where it was put in behind the chain's back.
    pub link: Option<Link>,
}

/// Where an entry stands in its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// From 1, without gaps.
    pub sequence: i64,
    /// SHA-256 of the entry and the link before.
    pub hash: Vec<u8>,
}

impl Keyed for AuditEntry {
    const LIST: &'static str = "auditEntries";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// What an entry says beside before and after.
pub struct Change<'a> {
    /// `usage_plan.create`: the noun and what was done to it.
    pub action: &'a str,
    pub noun_id: &'a str,
    pub origin: &'a Origin,
}

impl Change<'_> {
    /// `usage_plan` of `usage_plan.create`.
    pub fn noun(&self) -> &str {
        self.action.split_once('.').map_or(self.action, |(noun, _)| noun)
    }
}

/// Which entries; each left out matches every one.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Who did it.
    pub user: Option<UserId>,
    /// `usage_plan.create`.
    pub action: Option<String>,
    /// `usage_plan`.
    pub noun: Option<String>,
    pub noun_id: Option<String>,
    /// The changes that one request made.
    pub request_id: Option<String>,
    /// Inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Exclusive.
    pub until: Option<DateTime<Utc>>,
}

impl AuditFilter {
    /// The filter, where it can match anything.
    pub fn checked(self) -> Result<Self> {
        check_times(self.since, self.until)?;
        for (param, text) in [
            ("action", &self.action),
            ("noun", &self.noun),
            ("nounId", &self.noun_id),
            ("requestId", &self.request_id),
        ] {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                return Err(Error::bad_request(param, "holds no NUL"));
            }
        }
        Ok(self)
    }
}

/// Whether there can be anything between these two.
pub(crate) fn check_times(
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Result<()> {
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(Error::bad_request("until", "until is later than since"));
    }
    // PostgreSQL's time begins in 4713 BC, and no row is that old.
    for (param, at) in [("since", since), ("until", until)] {
        if at.is_some_and(|at| at.year() < 1) {
            return Err(Error::bad_request(param, "lies before the year 1"));
        }
    }
    Ok(())
}

/// Records a member's change. `before` and `after` are the noun as people know it; neither may hold a secret.
///
/// Every change comes by here, so here a suspended tenant is told that it changes nothing; only who logs in or out,
/// changes their own account, or takes everything away, is recorded of it.
pub async fn record<T: Serialize>(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    noun_id: &str,
    before: Option<&T>,
    after: Option<&T>,
) -> Result<()> {
    let change = Change { action, noun_id, origin: &actor.origin };
    if !matches!(change.noun(), "session" | "user")
        && action != TENANT_EXPORT
        && let Some(reason) = store::tenant::suspended(tx, actor.tenant).await?
    {
        return Err(Error::TenantSuspended { reason });
    }
    let (before, after) = (json(before)?, json(after)?);
    let (tenant, user) = (Some(actor.tenant), Some(actor.user));
    store::audit::insert(tx, app.rng.id(), tenant, user, &change, before, after).await
}

/// Records the operator's change to the installation.
pub async fn record_operator<T: Serialize>(
    app: &App,
    tx: &mut Tx,
    operator: &Operator,
    action: &str,
    noun_id: &str,
    before: Option<&T>,
    after: Option<&T>,
) -> Result<()> {
    let change = Change { action, noun_id, origin: &operator.origin };
    let (before, after) = (json(before)?, json(after)?);
    store::audit::insert(tx, app.rng.id(), None, Some(operator.user), &change, before, after).await
}

/// Records what the machine's administrator changed in the installation by a command: nobody's entry, from nowhere.
pub async fn record_administrator<T: Serialize>(
    app: &App,
    tx: &mut Tx,
    action: &str,
    noun_id: &str,
    before: Option<&T>,
    after: Option<&T>,
) -> Result<()> {
    let change = Change { action, noun_id, origin: &Origin::default() };
    let (before, after) = (json(before)?, json(after)?);
    store::audit::insert(tx, app.rng.id(), None, None, &change, before, after).await
}

/// Records what the operator did to a tenant: in the tenant's log, then in the installation's. Always in this
/// order, since the chains are locked in it when the transaction commits.
pub async fn record_operator_on<T: Serialize>(
    app: &App,
    tx: &mut Tx,
    operator: &Operator,
    tenant: TenantId,
    action: &str,
    before: Option<&T>,
    after: Option<&T>,
) -> Result<()> {
    let noun_id = tenant.to_string();
    let change = Change { action, noun_id: &noun_id, origin: &operator.origin };
    let (before, after) = (json(before)?, json(after)?);
    for log in [Some(tenant), None] {
        let (before, after) = (before.clone(), after.clone());
        let user = Some(operator.user);
        store::audit::insert(tx, app.rng.id(), log, user, &change, before, after).await?;
    }
    Ok(())
}

/// Whose log the caller may read: a member their tenant's, the operator the installation's own.
pub(crate) fn readable(caller: &Caller) -> Result<Option<TenantId>> {
    if let Caller::Member(actor) = caller {
        actor.may(Action::ReadAudit)?;
    }
    Ok(caller.tenant())
}

/// A transaction in which the log that the caller may read is read, and whose log that is.
pub(crate) async fn open(app: &App, caller: &Caller) -> Result<(Option<TenantId>, Tx)> {
    let tenant = readable(caller)?;
    let tx = match tenant {
        Some(tenant) => app.begin_in(tenant).await?,
        None => app.system(Job::Operator).await?,
    };
    Ok((tenant, tx))
}

/// Newest first. A member sees the tenant's log, the operator the installation's.
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &AuditFilter,
    page: &Page,
) -> Result<Paged<AuditEntry>> {
    let (tenant, mut tx) = open(app, caller).await?;
    page.cut(store::audit::list(&mut tx, tenant, filter, page).await?)
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[AuditEntryId]) -> Result<Vec<AuditEntry>> {
    actor.may(Action::ReadAudit)?;
    let mut tx = app.begin(actor).await?;
    store::audit::find(&mut tx, actor.tenant, ids).await
}

fn json<T: Serialize>(noun: Option<&T>) -> Result<Option<Value>> {
    noun.map(serde_json::to_value).transpose().map_err(Error::internal)
}
