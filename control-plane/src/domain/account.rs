//! A tenant as the operator sees it: listed, suspended, closed, and erased a week later.

use chrono::TimeDelta;
use serde::Serialize;

use crate::access::actor::Operator;
use crate::app::{App, Job, Tx};
use crate::domain::bill::Month;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::tenant::{Status, Tenant};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::snapshot::compile;
use crate::store;

/// How long a closed tenant can be reopened; then it is erased.
pub const CLOSED_KEPT: TimeDelta = TimeDelta::days(7);

pub const REASON_CHARS_MAX: usize = 1024;

/// A tenant, and how large it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    pub tenant: Tenant,
    pub members: i64,
    pub apis: i64,
    /// Of the present month.
    pub usage: MonthUsage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthUsage {
    pub month: Month,
    pub requests: i64,
    pub billed_requests: i64,
    pub bytes_out: i64,
}

impl Keyed for Account {
    const LIST: &'static str = "tenants";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.tenant.created_at, &self.tenant.id)
    }
}

/// Which tenants; what is left out matches every one.
#[derive(Clone, Debug, Default)]
pub struct AccountFilter {
    /// A part of the name, in any case.
    pub search: Option<String>,
    pub status: Option<Status>,
}

impl AccountFilter {
    pub fn new(search: Option<String>, status: Option<Status>) -> Result<Self> {
        let search = search.filter(|search| !search.trim().is_empty());
        let search = search
            .map(|search| text::line("search", search.trim(), text::NAME_CHARS_MAX))
            .transpose()?;
        Ok(Self { search, status })
    }
}

/// The audit log's view of a tenant.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recorded<'a> {
    name: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_reason: Option<&'a str>,
}

impl<'a> From<&'a Tenant> for Recorded<'a> {
    fn from(tenant: &'a Tenant) -> Self {
        Self {
            name: &tenant.name,
            status: tenant.status,
            suspended_reason: tenant.suspended_reason.as_deref(),
        }
    }
}

/// Newest first.
pub async fn list(
    app: &App,
    _operator: &Operator,
    filter: &AccountFilter,
    page: &Page,
) -> Result<Paged<Account>> {
    let month = Month::new(app, None)?;
    let mut tx = app.system(Job::Operator).await?;
    page.cut(store::account::list(&mut tx, filter, month, page).await?)
}

pub async fn get(app: &App, _operator: &Operator, id: TenantId) -> Result<Account> {
    let month = Month::new(app, None)?;
    let mut tx = app.system(Job::Operator).await?;
    store::account::get(&mut tx, id, month).await?.ok_or(Error::NotFound("tenant"))
}

/// Nodes refuse the tenant's calls, and its members change nothing; they log in and read, the reason too.
pub async fn suspend(app: &App, operator: &Operator, id: TenantId, reason: &str) -> Result<Tenant> {
    let reason = text::description("reason", reason.trim().to_owned())?;
    if reason.is_empty() {
        return Err(Error::bad_request("reason", "say why; the tenant's members read it"));
    }
    let mut tx = app.system(Job::Operator).await?;
    let before = open(&mut tx, id).await?;
    store::account::suspend(&mut tx, id, &reason, app.clock.now()).await?;
    done(app, tx, operator, "tenant.suspend", &before).await
}

pub async fn resume(app: &App, operator: &Operator, id: TenantId) -> Result<Tenant> {
    let mut tx = app.system(Job::Operator).await?;
    let before = open(&mut tx, id).await?;
    if before.status != Status::Suspended {
        return Err(Error::conflict("", "this tenant is not suspended"));
    }
    store::account::resume(&mut tx, id).await?;
    done(app, tx, operator, "tenant.resume", &before).await
}

/// Nodes refuse the tenant's calls, and its members are logged out. `name` is the tenant's, typed again.
pub async fn close(app: &App, operator: &Operator, id: TenantId, name: &str) -> Result<Tenant> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Operator).await?;
    let before = open(&mut tx, id).await?;
    if name.trim() != before.name {
        return Err(Error::bad_request("name", "is not this tenant's name; type it as it is"));
    }
    store::account::close(&mut tx, id, now).await?;
    let ended = store::session::revoke_of_tenant(&mut tx, id, now).await?;
    let tenant = done(app, tx, operator, "tenant.close", &before).await?;
    for session in ended {
        app.revoke_here(session);
    }
    Ok(tenant)
}

/// Undoes a closing within a week: the tenant is again what it was, suspended too.
pub async fn reopen(app: &App, operator: &Operator, id: TenantId) -> Result<Tenant> {
    let mut tx = app.system(Job::Operator).await?;
    let before = store::account::lock(&mut tx, id).await?;
    let late = before.closed_at.is_some_and(|at| at + CLOSED_KEPT <= app.clock.now());
    if before.status != Status::Closed {
        return Err(Error::conflict("", "this tenant is not closed"));
    }
    if late || before.erased_at.is_some() {
        return Err(Error::conflict("", "a week has passed; this tenant is erased"));
    }
    store::account::reopen(&mut tx, id).await?;
    done(app, tx, operator, "tenant.reopen", &before).await
}

/// The tenant, locked, where it is not closed.
async fn open(tx: &mut Tx, id: TenantId) -> Result<Tenant> {
    let tenant = store::account::lock(tx, id).await?;
    if tenant.status == Status::Closed {
        return Err(Error::conflict("", "this tenant is closed; reopen it first"));
    }
    Ok(tenant)
}

/// Records the change in both logs, tells the nodes, and commits.
async fn done(
    app: &App,
    mut tx: Tx,
    operator: &Operator,
    action: &str,
    before: &Tenant,
) -> Result<Tenant> {
    let id = before.id;
    let after = store::tenant::get(&mut tx, id).await?;
    let (from, to) = (Recorded::from(before), Recorded::from(&after));
    audit::record_operator_on(app, &mut tx, operator, id, action, Some(&from), Some(&to)).await?;
    let resource = compile::tenant(&mut tx, &app.master, id).await?;
    let cell = store::account::cell(&mut tx, id).await?;
    tx.upsert(resource);
    tx.publish_to(cell);
    tx.commit().await?;
    Ok(after)
}

#[cfg(test)]
mod tests;
