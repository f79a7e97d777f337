//! API keys.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::api_key::{ApiKeyChanges, NewApiKey};
use crate::domain::page::Key;
use crate::domain::patch::Patch;
use crate::error::{Error, Result};
use crate::graphql::connection::{connection, page};
use crate::graphql::consumer::Consumer;
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::usage_plan::UsagePlan;
use crate::graphql::{caller, loader};
use crate::ids::{ApiKeyId, UsagePlanId};

#[derive(Default)]
pub struct ApiKeyQuery;

#[derive(Default)]
pub struct ApiKeyMutation;

/// What a consumer sends with each call, in the header `x-api-key`.
pub struct ApiKey(domain::api_key::ApiKey);

impl From<domain::api_key::ApiKey> for ApiKey {
    fn from(key: domain::api_key::ApiKey) -> Self {
        Self(key)
    }
}

/// Calls with a test key are counted, never billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::api_key::KeyMode")]
pub enum KeyMode {
    Live,
    Test,
}

#[derive(InputObject)]
pub struct CreateApiKeyInput {
    /// At most 1024 characters.
    name: String,
    description: Option<String>,
    /// At most 10, of which no two have a stage in common.
    usage_plan_ids: Option<Vec<ID>>,
    consumer_id: Option<ID>,
    #[graphql(default_with = "Some(KeyMode::Live)")]
    mode: Option<KeyMode>,
    /// In the future; never when left out.
    expires_at: Option<DateTime<Utc>>,
}

/// A field left out stays; `expiresAt: null` removes.
#[derive(InputObject)]
pub struct UpdateApiKeyInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    name: Option<String>,
    description: Option<String>,
    enabled: Option<bool>,
    /// All that the key shall be on: at most 10, of which no two have a stage in common.
    usage_plan_ids: Option<Vec<ID>>,
    expires_at: MaybeUndefined<DateTime<Utc>>,
}

#[derive(SimpleObject)]
pub struct CreateApiKeyPayload {
    api_key: Option<ApiKey>,
    /// Shown here and never again.
    value: Option<String>,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
pub struct ApiKeyPayload {
    api_key: Option<ApiKey>,
    user_errors: Vec<UserError>,
}

#[Object]
impl ApiKeyQuery {
    /// The tenant's API keys, oldest first.
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, ApiKey>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::api_key::list(app, actor, None, &page).await?))
    }
}

#[Object]
impl ApiKeyMutation {
    /// Makes an API key; `value` is shown here and never again.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        input: CreateApiKeyInput,
    ) -> async_graphql::Result<CreateApiKeyPayload> {
        let (app, actor) = caller(ctx)?;
        let created = async {
            let parse = |id: &ID| Kind::Consumer.parse(id, "consumerId");
            let plans = input.usage_plan_ids.unwrap_or_default();
            let plans = Kind::UsagePlan.parse_all(&plans, "usagePlanIds")?;
            let new = NewApiKey {
                name: input.name,
                description: input.description.unwrap_or_default(),
                mode: input.mode.map(Into::into).unwrap_or_default(),
                enabled: true,
                consumer_id: input.consumer_id.as_ref().map(parse).transpose()?,
                usage_plan_ids: plans.into_iter().collect(),
                expires_at: input.expires_at,
                value: None,
            };
            domain::api_key::create(app, actor, new).await
        };
        let (created, user_errors) = user_errors(created.await)?;
        let (key, value) = created.unzip();
        Ok(CreateApiKeyPayload {
            api_key: key.map(Into::into),
            value: value.map(|value| value.expose_secret().to_owned()),
            user_errors,
        })
    }

    /// Changes an API key; nodes hear of it at once.
    async fn update_api_key(
        &self,
        ctx: &Context<'_>,
        input: UpdateApiKeyInput,
    ) -> async_graphql::Result<ApiKeyPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let updated = async {
            let id = Kind::ApiKey.parse(&input.id, "id")?;
            let plans = |ids: Vec<ID>| Kind::UsagePlan.parse_all(&ids, "usagePlanIds");
            let plans = input.usage_plan_ids.map(plans).transpose()?;
            let changes = ApiKeyChanges {
                name: input.name,
                description: input.description,
                enabled: input.enabled,
                consumer_id: Patch::Keep,
                usage_plan_ids: plans.map(|plans| plans.into_iter().collect()),
                expires_at: input.expires_at.into(),
            };
            domain::api_key::update(app, actor, id, changes).await
        };
        let (updated, user_errors) = user_errors(updated.await)?;
        Ok(ApiKeyPayload { api_key: updated.map(Into::into), user_errors })
    }

    /// Deletes an API key; what it used stays counted.
    async fn delete_api_key(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let id = Kind::ApiKey.parse(&input.id, "id")?;
            domain::api_key::delete(app, actor, id).await
        };
        let deleted = deleted.await;
        DeletePayload::of(input.id, deleted)
    }
}

#[Object]
impl ApiKey {
    pub async fn id(&self) -> ID {
        Kind::ApiKey.id(self.0.id)
    }

    /// The ten characters that REST and the usage table call it by.
    async fn api_key_id(&self) -> &str {
        self.0.id.as_str()
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn description(&self) -> &str {
        &self.0.description
    }

    /// The last four characters of the value.
    async fn hint(&self) -> &str {
        &self.0.hint
    }

    async fn mode(&self) -> KeyMode {
        self.0.mode.into()
    }

    /// A disabled key is refused like an unknown one.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    async fn consumer(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Consumer>> {
        let Some(id) = self.0.consumer_id else { return Ok(None) };
        Ok(loader::one(ctx, id).await?.map(Into::into))
    }

    /// The plans that the key is on; on each stage one of them counts.
    async fn usage_plans(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<UsagePlan>> {
        let plans: Vec<UsagePlanId> = self.0.usage_plan_ids.clone();
        Ok(loader::many(ctx, plans).await?.into_iter().map(Into::into).collect())
    }

    /// From then on the key is refused.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
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

impl Loader<ApiKeyId> for Batches {
    type Value = domain::api_key::ApiKey;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[ApiKeyId]) -> Result<HashMap<ApiKeyId, Self::Value>, Self::Error> {
        let found = domain::api_key::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|key| (key.id, key)).collect())
    }
}
