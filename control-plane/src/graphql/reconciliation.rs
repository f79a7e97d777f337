//! Whether the ledger agrees with what was counted beside it.

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::page::Key;
use crate::domain::reconciliation::Filter;
use crate::graphql::connection::{connection, page};
use crate::graphql::node::Kind;
use crate::graphql::price::Count;
use crate::graphql::{caller, operator};

#[derive(Default)]
pub struct ReconciliationQuery;

/// Calls that were counted beside the ledger, and what the ledger has of them.
#[derive(SimpleObject)]
pub struct Reconciliation {
    id: ID,
    tenant_id: ID,
    tenant_name: String,
    kind: ReconciliationKind,
    /// Of a quota; else null.
    usage_plan_id: Option<String>,
    /// Of a quota; else null.
    api_key_id: Option<String>,
    /// The hour, or the quota's period.
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Lines of the logs, or calls taken from the quota.
    counted: Count,
    /// Calls that are known to be in no log: it had no room for them.
    lost: Count,
    /// Calls that nodes had taken from the quota ahead when it was read, beside `counted`: some were made, others come back.
    held: Count,
    counted_at: DateTime<Utc>,
    state: ReconciliationState,
    /// The ledger has as many of these calls at least; null before it was asked.
    ledger_least: Option<Count>,
    /// And at most. The two are one number for a log; what is on its way while a quota is read lies between them.
    ledger_most: Option<Count>,
    /// How many calls `counted` and `lost` are above what the ledger can have; negative: below, `held` among them. Null before it was asked.
    drift: Option<Count>,
    compared_at: Option<DateTime<Utc>>,
    /// Neither side changes any more.
    r#final: bool,
}

/// Where calls are counted beside the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::reconciliation::Kind")]
pub enum ReconciliationKind {
    /// The access logs of the nodes, by the hour in which the requests ended.
    AccessLog,
    /// The quota of a key on a usage plan, in one of its periods.
    Quota,
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::reconciliation::State")]
pub enum ReconciliationState {
    /// The ledger was not asked yet.
    Pending,
    Agrees,
    Drifts,
    /// The two do not disagree, but a part of the count is missing: a node was killed, or writes no log.
    Incomplete,
}

impl From<domain::reconciliation::Reconciliation> for Reconciliation {
    fn from(it: domain::reconciliation::Reconciliation) -> Self {
        let named = |id: String| Some(id).filter(|id| !id.is_empty());
        Self {
            id: it.id.to_string().into(),
            tenant_id: Kind::Tenant.id(it.tenant),
            kind: it.kind.into(),
            state: it.state().into(),
            tenant_name: it.tenant_name,
            usage_plan_id: named(it.usage_plan_id),
            api_key_id: named(it.api_key_id),
            from: it.from,
            until: it.until,
            counted: it.counted.into(),
            lost: it.lost.into(),
            held: it.held.into(),
            counted_at: it.counted_at,
            ledger_least: it.compared.map(|compared| compared.ledger.0.into()),
            ledger_most: it.compared.map(|compared| compared.ledger.1.into()),
            drift: it.compared.map(|compared| compared.drift.into()),
            compared_at: it.compared.map(|compared| compared.at),
            r#final: it.compared.is_some_and(|compared| compared.is_final),
        }
    }
}

#[Object]
impl ReconciliationQuery {
    /// What was counted beside the ledger, held against it, the latest first: of one kind or both, all or only what
    /// drifts.
    #[expect(clippy::too_many_arguments, reason = "a connection's four, and two filters")]
    async fn reconciliations(
        &self,
        ctx: &Context<'_>,
        kind: Option<ReconciliationKind>,
        #[graphql(default)] drifting: bool,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Reconciliation>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        let filter = Filter { kind: kind.map(Into::into), drifting };
        Ok(connection(domain::reconciliation::list(app, actor, &filter, &page).await?))
    }

    /// The same of one tenant or of all; the operator's.
    #[expect(clippy::too_many_arguments, reason = "a connection's four, and three filters")]
    async fn tenant_reconciliations(
        &self,
        ctx: &Context<'_>,
        tenant_id: Option<ID>,
        kind: Option<ReconciliationKind>,
        #[graphql(default)] drifting: bool,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Reconciliation>> {
        let (app, operator) = operator(ctx)?;
        let page = page(first, after, last, before)?;
        let tenant = tenant_id.map(|id| Kind::Tenant.parse(&id, "tenantId"));
        let filter = Filter { kind: kind.map(Into::into), drifting };
        let all =
            domain::reconciliation::list_all(app, operator, tenant.transpose()?, &filter, &page);
        Ok(connection(all.await?))
    }
}
