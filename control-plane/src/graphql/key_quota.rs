//! What keys have of their plans' quotas.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::error::{Error, Result};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::usage_plan::UsagePlan;
use crate::graphql::{caller, loader};
use crate::ids::ApiKeyId;

#[derive(Default)]
pub struct KeyQuotaMutation;

/// What a key has of a plan's quota in the present period.
pub struct KeyQuota(domain::key_quota::KeyQuota);

#[derive(InputObject)]
pub struct UpdateKeyQuotaInput {
    usage_plan_id: ID,
    api_key_id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    /// How many calls the key has beside its quota in the present period, all told: from 0 to 10^15.
    extra_calls: i64,
}

#[derive(SimpleObject)]
pub struct KeyQuotaPayload {
    key_quota: Option<KeyQuota>,
    user_errors: Vec<UserError>,
}

#[Object]
impl KeyQuotaMutation {
    /// Grants a key calls beside its quota, until the present period ends. The same again changes nothing.
    async fn update_key_quota(
        &self,
        ctx: &Context<'_>,
        input: UpdateKeyQuotaInput,
    ) -> async_graphql::Result<KeyQuotaPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let updated = async {
            let plan = Kind::UsagePlan.parse(&input.usage_plan_id, "usagePlanId")?;
            let key = Kind::ApiKey.parse(&input.api_key_id, "apiKeyId")?;
            domain::key_quota::update(app, actor, plan, key, input.extra_calls).await
        };
        let (updated, user_errors) = user_errors(updated.await)?;
        Ok(KeyQuotaPayload { key_quota: updated.map(KeyQuota), user_errors })
    }
}

#[Object]
impl KeyQuota {
    async fn usage_plan(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<UsagePlan>> {
        Ok(loader::one(ctx, self.0.usage_plan_id).await?.map(Into::into))
    }

    /// When the period began.
    async fn starts_at(&self) -> DateTime<Utc> {
        self.0.starts_at
    }

    /// When it ends, and with it what was granted.
    async fn ends_at(&self) -> DateTime<Utc> {
        self.0.ends_at
    }

    /// How many requests the key has in it, with what was granted and without what it had used before.
    async fn limit(&self) -> i64 {
        self.0.limit
    }

    /// What was granted in this period.
    async fn extra_calls(&self) -> i64 {
        self.0.extra_calls
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
    }
}

/// The quotas of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OfKey(pub ApiKeyId);

impl Loader<OfKey> for Batches {
    type Value = Vec<domain::key_quota::KeyQuota>;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[OfKey]) -> Result<HashMap<OfKey, Self::Value>, Self::Error> {
        let ids: Vec<ApiKeyId> = keys.iter().map(|OfKey(id)| *id).collect();
        let found = domain::key_quota::find(&self.app, &self.actor, &ids).await?;
        let mut of: HashMap<OfKey, Self::Value> = HashMap::new();
        for quota in found {
            of.entry(OfKey(quota.api_key_id)).or_default().push(quota);
        }
        Ok(of)
    }
}

/// Those of a key, in the order of the plans' ids.
pub async fn of_key(ctx: &Context<'_>, key: ApiKeyId) -> async_graphql::Result<Vec<KeyQuota>> {
    let quotas = loader::one(ctx, OfKey(key)).await?.unwrap_or_default();
    Ok(quotas.into_iter().map(KeyQuota).collect())
}
