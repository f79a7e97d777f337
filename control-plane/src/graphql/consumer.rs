//! Consumers.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{ID, Object};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::error::Error;
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::ids::ConsumerId;

/// Whoever calls a tenant's Apis: the owner of one or more keys.
pub struct Consumer(domain::consumer::Consumer);

impl From<domain::consumer::Consumer> for Consumer {
    fn from(consumer: domain::consumer::Consumer) -> Self {
        Self(consumer)
    }
}

#[Object]
impl Consumer {
    pub async fn id(&self) -> ID {
        Kind::Consumer.id(self.0.id)
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What the tenant's own systems call it; may be empty.
    async fn external_id(&self) -> &str {
        &self.0.external_id
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

impl Loader<ConsumerId> for Batches {
    type Value = domain::consumer::Consumer;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[ConsumerId],
    ) -> Result<HashMap<ConsumerId, Self::Value>, Self::Error> {
        let found = domain::consumer::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|consumer| (consumer.id, consumer)).collect())
    }
}
