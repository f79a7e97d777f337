//! The audit log.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, Object};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::page::Key;
use crate::error::Error;
use crate::graphql::caller;
use crate::graphql::connection::{connection, page};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::ids::AuditEntryId;

#[derive(Default)]
pub struct AuditQuery;

/// One change: who, what, before and after.
pub struct AuditEntry(Box<domain::audit::AuditEntry>);

impl From<domain::audit::AuditEntry> for AuditEntry {
    fn from(entry: domain::audit::AuditEntry) -> Self {
        Self(Box::new(entry))
    }
}

#[Object]
impl AuditQuery {
    /// What was changed in the caller's tenant, the newest first.
    async fn audit_entries(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, AuditEntry>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::audit::list(app, actor, &page).await?))
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

    /// Null where whoever did it is no longer a member.
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

    async fn request_id(&self) -> &str {
        &self.0.request_id
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
