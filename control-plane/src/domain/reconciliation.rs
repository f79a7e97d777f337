//! Whether the ledger agrees with what was counted beside it: the lines of the nodes' access logs, hour by hour, and where
//! quotas stand in Redis, key by key. The ledger stays the truth; where the two are apart, somebody must find out why.

use chrono::{DateTime, Utc};

use crate::access::actor::{Actor, Operator};
use crate::app::{App, Job};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::error::{Error, Result};
use crate::ids::{ReconciliationId, TenantId};
use crate::store;

/// One count, held against the ledger's of the same calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    pub id: ReconciliationId,
    pub tenant: TenantId,
    pub tenant_name: String,
    pub kind: Kind,
    /// Of a quota, as the next; else empty.
    pub usage_plan_id: String,
    pub api_key_id: String,
    /// An hour, or a quota's period.
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    /// Lines of the logs, or calls taken from the quota.
    pub counted: i64,
    /// Calls that are known to be in no log: it had no room for them.
    pub lost: i64,
    /// Calls that nodes had taken from the quota ahead when it was read, beside these: made or not.
    pub held: i64,
    pub counted_at: DateTime<Utc>,
    /// False where a node was killed, or told nothing: what the logs lack is then not known.
    pub complete: bool,
    /// None: not yet.
    pub compared: Option<Compared>,
}

/// What the ledger said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    pub at: DateTime<Utc>,
    /// It has as many of these calls at least, and at most. The two are one number for a log; a call that is on its way
    /// while a quota is read lies between them.
    pub ledger: (i64, i64),
    /// How far the count is above what the ledger can have; negative: below.
    pub drift: i64,
    /// Neither side changes any more.
    pub is_final: bool,
}

/// Where the calls were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    AccessLog,
    Quota,
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Agrees,
    Drifts,
    /// The two do not disagree, but a part of the count is missing.
    Incomplete,
}

/// Which of them; what is left out matches every one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    pub kind: Option<Kind>,
    /// Only those that are apart.
    pub drifting: bool,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::AccessLog, Self::Quota];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessLog => "ACCESS_LOG",
            Self::Quota => "QUOTA",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| Error::bad_request("kind", "must be ACCESS_LOG or QUOTA"))
    }
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Agrees => "AGREES",
            Self::Drifts => "DRIFTS",
            Self::Incomplete => "INCOMPLETE",
        }
    }
}

impl Reconciliation {
    pub fn state(&self) -> State {
        match self.compared {
            None => State::Pending,
            Some(compared) if compared.drift != 0 => State::Drifts,
            Some(_) if !self.complete => State::Incomplete,
            Some(_) => State::Agrees,
        }
    }
}

impl Keyed for Reconciliation {
    const LIST: &'static str = "reconciliations";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.from, &self.id)
    }
}

/// The tenant's, the latest first. Every member may read whether its usage was counted right.
pub async fn list(
    app: &App,
    actor: &Actor,
    filter: &Filter,
    page: &Page,
) -> Result<Paged<Reconciliation>> {
    let mut tx = app.begin(actor).await?;
    let tenant = Some(actor.tenant);
    page.cut(store::reconciliation::list(&mut tx, tenant, filter, page).await?)
}

/// Those of one tenant or of all, the latest first.
pub async fn list_all(
    app: &App,
    _operator: &Operator,
    tenant: Option<TenantId>,
    filter: &Filter,
    page: &Page,
) -> Result<Paged<Reconciliation>> {
    let mut tx = app.system(Job::Operator).await?;
    page.cut(store::reconciliation::list(&mut tx, tenant, filter, page).await?)
}
