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
use crate::graphql::key_quota::{self, KeyQuota};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::usage_plan::UsagePlan;
use crate::graphql::{caller, loader};
use crate::ids::{ApiKeyId, UsagePlanId};

#[derive(Default)]
pub struct ApiKeyQuery;

#[derive(Default)]
pub struct ApiKeyMutation;

/// What a consumer sends with each call.
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
    /// Networks that calls may come from, such as `203.0.113.0/24`: at most 50; none: from everywhere.
    client_networks: Option<Vec<String>>,
    /// Pages that calls may come from, as browsers say in `Origin`, such as `https://*.example.com`: at most 50, of 2,048
    /// characters together; none: from any, or from no page at all.
    origins: Option<Vec<String>>,
}

/// A field left out stays; `expiresAt: null` removes, as does an empty list.
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
    /// All networks that calls may come from, such as `203.0.113.0/24`: at most 50.
    client_networks: Option<Vec<String>>,
    /// All pages that calls may come from, as browsers say in `Origin`, such as `https://*.example.com`: at most 50, of
    /// 2,048 characters together.
    origins: Option<Vec<String>>,
}

#[derive(InputObject)]
pub struct RotateApiKeyInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    /// Until then the value before works too: at most 90 days. Left out, it stops at once.
    overlap_ends_at: Option<DateTime<Utc>>,
}

#[derive(InputObject)]
pub struct EndApiKeyOverlapInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
}

#[derive(SimpleObject)]
pub struct CreateApiKeyPayload {
    api_key: Option<ApiKey>,
    /// Shown here and never again.
    value: Option<String>,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
pub struct RotateApiKeyPayload {
    api_key: Option<ApiKey>,
    /// The new value, shown here and never again.
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
                client_networks: input.client_networks.unwrap_or_default(),
                origins: input.origins.unwrap_or_default(),
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
                client_networks: input.client_networks,
                origins: input.origins,
            };
            domain::api_key::update(app, actor, id, changes).await
        };
        let (updated, user_errors) = user_errors(updated.await)?;
        Ok(ApiKeyPayload { api_key: updated.map(Into::into), user_errors })
    }

    /// Gives an API key another value, which is shown here and never again. The one before works beside it until the
    /// overlap ends; to plans, limits and the ledger both are the same key.
    async fn rotate_api_key(
        &self,
        ctx: &Context<'_>,
        input: RotateApiKeyInput,
    ) -> async_graphql::Result<RotateApiKeyPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let rotated = async {
            let id = Kind::ApiKey.parse(&input.id, "id")?;
            domain::api_key::rotate(app, actor, id, input.overlap_ends_at).await
        };
        let (rotated, user_errors) = user_errors(rotated.await)?;
        let (key, value) = rotated.unzip();
        Ok(RotateApiKeyPayload {
            api_key: key.map(Into::into),
            value: value.map(|value| value.expose_secret().to_owned()),
            user_errors,
        })
    }

    /// Ends the overlap of a rotation early: from now on only the present value works.
    async fn end_api_key_overlap(
        &self,
        ctx: &Context<'_>,
        input: EndApiKeyOverlapInput,
    ) -> async_graphql::Result<ApiKeyPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let ended = async {
            let id = Kind::ApiKey.parse(&input.id, "id")?;
            domain::api_key::end_overlap(app, actor, id).await
        };
        let (ended, user_errors) = user_errors(ended.await)?;
        Ok(ApiKeyPayload { api_key: ended.map(Into::into), user_errors })
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

    /// What the key has of its plans' quotas in their present periods.
    async fn quotas(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<KeyQuota>> {
        key_quota::of_key(ctx, self.0.id).await
    }

    /// From then on the key is refused.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// The last four characters of the value before the present one, where its last rotation had an overlap.
    async fn previous_hint(&self) -> Option<&str> {
        self.0.previous_hint.as_deref()
    }

    /// Until then the value before the present one works too; in the past, it works no more.
    async fn overlap_ends_at(&self) -> Option<DateTime<Utc>> {
        self.0.overlap_ends_at
    }

    /// Calls from elsewhere are refused with 403; empty: from everywhere.
    async fn client_networks(&self) -> Vec<String> {
        self.0.client_networks.iter().map(ToString::to_string).collect()
    }

    /// Calls from other pages, or from none, are refused with 403; empty: any.
    async fn origins(&self) -> &[String] {
        &self.0.origins
    }

    /// When a call with it was counted last, to within 15 seconds and known some seconds later.
    async fn last_used_at(&self) -> Option<DateTime<Utc>> {
        self.0.last_used_at
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
