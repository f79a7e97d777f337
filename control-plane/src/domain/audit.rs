//! Who changed what. An entry is written in the transaction of its change, so there is never one without the
//! other.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::access::actor::{Actor, Operator, Origin};
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::error::{Error, Result};
use crate::ids::AuditEntryId;
use crate::store;

/// One change, as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    pub id: AuditEntryId,
    /// `usage_plan.create`.
    pub action: String,
    pub noun: String,
    pub noun_id: String,
    /// None where whoever did it is no longer a member.
    pub user_email: Option<String>,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub request_id: String,
    pub created_at: DateTime<Utc>,
}

impl Keyed for AuditEntry {
    fn key(&self) -> Key {
        Key::new(self.created_at, &self.id)
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

/// Records a member's change. `before` and `after` are the noun as people know it; neither may hold a secret.
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
    let (before, after) = (json(before)?, json(after)?);
    store::audit::insert(tx, app.rng.id(), Some(actor.tenant), actor.user, &change, before, after)
        .await
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
    store::audit::insert(tx, app.rng.id(), None, operator.user, &change, before, after).await
}

/// Newest first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<AuditEntry>> {
    actor.may(Action::ReadAudit)?;
    let mut tx = app.begin(actor).await?;
    Ok(page.cut(store::audit::list(&mut tx, actor.tenant, page).await?))
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
