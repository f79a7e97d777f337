//! Consumers.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::page::Key;
use crate::error::Error;
use crate::graphql::caller;
use crate::graphql::connection::{connection, page};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
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

#[derive(Default)]
pub struct ConsumerQuery;

#[derive(Default)]
pub struct ConsumerMutation;

#[derive(InputObject)]
pub struct CreateConsumerInput {
    /// Unique in the tenant; at most 128 characters.
    name: String,
    /// What the tenant's own systems call it; at most 256 characters.
    external_id: Option<String>,
}

#[derive(SimpleObject)]
pub struct ConsumerPayload {
    consumer: Option<Consumer>,
    user_errors: Vec<UserError>,
}

#[Object]
impl ConsumerQuery {
    /// The tenant's consumers, oldest first.
    async fn consumers(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Consumer>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::consumer::list(app, actor, &page).await?))
    }
}

#[Object]
impl ConsumerMutation {
    /// Makes a consumer.
    async fn create_consumer(
        &self,
        ctx: &Context<'_>,
        input: CreateConsumerInput,
    ) -> async_graphql::Result<ConsumerPayload> {
        let (app, actor) = caller(ctx)?;
        let external_id = input.external_id.unwrap_or_default();
        let new = domain::consumer::NewConsumer { name: input.name, external_id };
        let (made, user_errors) = user_errors(domain::consumer::create(app, actor, new).await)?;
        Ok(ConsumerPayload { consumer: made.map(Into::into), user_errors })
    }

    /// Deletes a consumer; refused while it has API keys.
    async fn delete_consumer(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let id = Kind::Consumer.parse(&input.id, "id")?;
            domain::consumer::delete(app, actor, id).await
        };
        let deleted = deleted.await;
        DeletePayload::of(input.id, deleted)
    }
}

#[Object]
impl Consumer {
    pub async fn id(&self) -> ID {
        Kind::Consumer.id(self.0.id)
    }

    /// What REST and usage call it by.
    async fn consumer_id(&self) -> String {
        self.0.id.to_string()
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What the tenant's own systems call it; may be empty.
    async fn external_id(&self) -> &str {
        &self.0.external_id
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
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
