//! The audit log.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::audit_chain::Head;
use crate::domain::page::Key;
use crate::error::{Error, Result};
use crate::graphql::connection::{connection, page};
use crate::graphql::download::CreateDownloadPayload;
use crate::graphql::error::user_errors;
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::price::Count;
use crate::graphql::{app, identity};
use crate::ids::AuditEntryId;

#[derive(Default)]
pub struct AuditQuery;

#[derive(Default)]
pub struct AuditMutation;

/// One change: who, what, before and after.
pub struct AuditEntry(Box<domain::audit::AuditEntry>);

impl From<domain::audit::AuditEntry> for AuditEntry {
    fn from(entry: domain::audit::AuditEntry) -> Self {
        Self(Box::new(entry))
    }
}

/// Which entries; each field left out matches every one.
#[derive(InputObject, Default)]
pub struct AuditFilter {
    /// Who did it: the id of a user, or of a member.
    actor: Option<ID>,
    /// `usage_plan.create`.
    action: Option<String>,
    /// `usage_plan`.
    noun: Option<String>,
    /// As entries name it: a plain id.
    noun_id: Option<String>,
    /// The changes that one request made: the `x-request-id` of its answer.
    request_id: Option<String>,
    /// Inclusive.
    since: Option<DateTime<Utc>>,
    /// Exclusive.
    until: Option<DateTime<Utc>>,
}

impl TryFrom<AuditFilter> for domain::audit::AuditFilter {
    type Error = Error;

    fn try_from(filter: AuditFilter) -> Result<Self> {
        let user =
            |id: &ID| Kind::User.parse(id, "actor").or_else(|_| Kind::Member.parse(id, "actor"));
        Self {
            user: filter.actor.as_ref().map(user).transpose()?,
            action: filter.action,
            noun: filter.noun,
            noun_id: filter.noun_id,
            request_id: filter.request_id,
            since: filter.since,
            until: filter.until,
        }
        .checked()
    }
}

/// What a check of the audit log found. Every entry holds a hash of itself and the one before.
#[derive(SimpleObject)]
pub struct AuditVerification {
    /// Whether nothing was changed, taken out, moved or cut off.
    whole: bool,
    /// How many entries are right, up to the first that is not.
    entries: Count,
    /// `{sequence}:{hash}` of the newest entry that is right. Note it elsewhere: `expected` then shows whether what
    /// came before is still what it was.
    head: String,
    /// Up to which entry the control plane has signed the log.
    sealed_sequence: Count,
    /// What is wrong first; null where nothing is.
    fault: Option<AuditFault>,
}

#[derive(SimpleObject)]
pub struct AuditFault {
    /// The place in the log, from 1.
    sequence: Count,
    entry_id: Option<ID>,
    reason: String,
}

impl From<domain::audit_chain::Verification> for AuditVerification {
    fn from(found: domain::audit_chain::Verification) -> Self {
        Self {
            whole: found.fault.is_none(),
            entries: found.entries.into(),
            head: found.head.to_string(),
            sealed_sequence: found.sealed_sequence.into(),
            fault: found.fault.map(|fault| AuditFault {
                sequence: fault.sequence.into(),
                entry_id: fault.entry.map(|id| Kind::AuditEntry.id(id)),
                reason: fault.reason,
            }),
        }
    }
}

#[Object]
impl AuditQuery {
    /// What was changed, the newest first: in the caller's tenant; by the operator, in the installation.
    async fn audit_entries(
        &self,
        ctx: &Context<'_>,
        filter: Option<AuditFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, AuditEntry>> {
        let caller = identity(ctx)?;
        let page = page(first, after, last, before)?;
        let filter: domain::audit::AuditFilter =
            filter.unwrap_or_default().try_into().map_err(|error: Error| error.within("filter"))?;
        Ok(connection(domain::audit::list(app(ctx), caller, &filter, &page).await?))
    }

    /// Checks the whole log that `auditEntries` lists. `expected` is a `head` that was noted before.
    async fn verify_audit_log(
        &self,
        ctx: &Context<'_>,
        expected: Option<String>,
    ) -> async_graphql::Result<AuditVerification> {
        let caller = identity(ctx)?;
        let expected = expected.map(|head| head.parse::<Head>()).transpose()?;
        Ok(domain::audit_chain::verify(app(ctx), caller, expected).await?.into())
    }
}

#[Object]
impl AuditMutation {
    /// A link to the log as NDJSON, with what it takes to verify it; it works once, for 60 seconds.
    async fn create_audit_download(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<CreateDownloadPayload> {
        let made = domain::download::create_audit(app(ctx), identity(ctx)?).await;
        let (link, errors) = user_errors(made)?;
        Ok(CreateDownloadPayload::of(link, errors))
    }
}

#[Object]
impl AuditEntry {
    pub async fn id(&self) -> ID {
        Kind::AuditEntry.id(self.0.id)
    }

    /// `usage_plan.create`.
    async fn action(&self) -> &str {
        &self.0.action
    }

    async fn noun(&self) -> &str {
        &self.0.noun
    }

    async fn noun_id(&self) -> &str {
        &self.0.noun_id
    }

    /// Null where whoever did it is no longer a member, or is the operator.
    async fn user_email(&self) -> Option<&str> {
        self.0.user_email.as_deref()
    }

    /// The noun before, as JSON; null where it was made.
    async fn before(&self) -> Option<String> {
        self.0.before.as_ref().map(ToString::to_string)
    }

    /// The noun after, as JSON; null where it was deleted.
    async fn after(&self) -> Option<String> {
        self.0.after.as_ref().map(ToString::to_string)
    }

    /// Who did it; null for what the installation does by itself.
    async fn user_id(&self) -> Option<ID> {
        self.0.user.map(|user| Kind::User.id(user))
    }

    async fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// From where the call came.
    async fn address(&self) -> &str {
        &self.0.address
    }

    /// Its place in the log, from 1 without gaps; null where it was put in behind the log's back.
    async fn sequence(&self) -> Option<Count> {
        self.0.link.as_ref().map(|link| Count::from(link.sequence))
    }

    /// SHA-256 of the entry and the one before, in hex.
    async fn hash(&self) -> Option<String> {
        self.0.link.as_ref().map(|link| hex::encode(&link.hash))
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

impl Loader<AuditEntryId> for Batches {
    type Value = domain::audit::AuditEntry;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[AuditEntryId],
    ) -> Result<HashMap<AuditEntryId, Self::Value>, Self::Error> {
        let found = domain::audit::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|entry| (entry.id, entry)).collect())
    }
}
