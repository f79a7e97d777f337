//! Usage plans.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::page::Key;
use crate::domain::patch::Patch;
use crate::domain::usage_plan::{NewUsagePlan, StagesWanted, UsagePlanChanges};
use crate::error::{Error, Result};
use crate::graphql::api_key::ApiKey;
use crate::graphql::concurrency::{ConcurrencyLimit, ConcurrencyLimitInput};
use crate::graphql::connection::{connection, page};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::quota::{Quota, QuotaInput};
use crate::graphql::stage::Stage;
use crate::graphql::throttle::{Throttle, ThrottleInput};
use crate::graphql::{caller, loader};
use crate::ids::{StageId, UsagePlanId};

#[derive(Default)]
pub struct UsagePlanQuery;

#[derive(Default)]
pub struct UsagePlanMutation;

/// On which stages its keys may call, how fast and how much.
pub struct UsagePlan(domain::usage_plan::UsagePlan);

impl From<domain::usage_plan::UsagePlan> for UsagePlan {
    fn from(plan: domain::usage_plan::UsagePlan) -> Self {
        Self(plan)
    }
}

#[derive(InputObject)]
pub struct CreateUsagePlanInput {
    /// Unique in the tenant; at most 128 characters.
    name: String,
    description: Option<String>,
    /// Of each key, over all stages of the plan.
    throttle: Option<ThrottleInput>,
    /// Of each key, over all stages of the plan.
    concurrency_limit: Option<ConcurrencyLimitInput>,
    /// Of each key.
    quota: Option<QuotaInput>,
    /// At most 100.
    stage_ids: Option<Vec<ID>>,
}

/// A field left out stays; `throttle: null`, `concurrencyLimit: null` and `quota: null` remove.
#[derive(InputObject)]
pub struct UpdateUsagePlanInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    name: Option<String>,
    description: Option<String>,
    throttle: MaybeUndefined<ThrottleInput>,
    concurrency_limit: MaybeUndefined<ConcurrencyLimitInput>,
    quota: MaybeUndefined<QuotaInput>,
    /// All that the plan shall have.
    stage_ids: Option<Vec<ID>>,
}

#[derive(SimpleObject)]
pub struct UsagePlanPayload {
    usage_plan: Option<UsagePlan>,
    user_errors: Vec<UserError>,
}

impl UsagePlanPayload {
    fn of(result: Result<domain::usage_plan::UsagePlan>) -> async_graphql::Result<Self> {
        let (plan, user_errors) = user_errors(result.map_err(name_stage_ids))?;
        Ok(Self { usage_plan: plan.map(Into::into), user_errors })
    }
}

#[Object]
impl UsagePlanQuery {
    /// The tenant's usage plans, oldest first.
    async fn usage_plans(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, UsagePlan>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::usage_plan::list(app, actor, &page).await?))
    }
}

#[Object]
impl UsagePlanMutation {
    /// Makes a usage plan.
    async fn create_usage_plan(
        &self,
        ctx: &Context<'_>,
        input: CreateUsagePlanInput,
    ) -> async_graphql::Result<UsagePlanPayload> {
        let (app, actor) = caller(ctx)?;
        let created = async {
            let new = NewUsagePlan {
                name: input.name,
                description: input.description.unwrap_or_default(),
                throttle: input.throttle.map(Into::into),
                concurrency_limit: input.concurrency_limit.map(Into::into),
                quota: input.quota.map(Into::into),
                stages: stages(&input.stage_ids.unwrap_or_default())?,
            };
            domain::usage_plan::create(app, actor, new).await
        };
        UsagePlanPayload::of(created.await)
    }

    /// Changes a usage plan for all its keys at once.
    async fn update_usage_plan(
        &self,
        ctx: &Context<'_>,
        input: UpdateUsagePlanInput,
    ) -> async_graphql::Result<UsagePlanPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let updated = async {
            let id = Kind::UsagePlan.parse(&input.id, "id")?;
            let changes = UsagePlanChanges {
                name: input.name,
                description: input.description,
                throttle: Patch::from(input.throttle.map_value(Into::into)),
                concurrency_limit: Patch::from(input.concurrency_limit.map_value(Into::into)),
                quota: Patch::from(input.quota.map_value(Into::into)),
                stages: input.stage_ids.as_deref().map(stages).transpose()?,
            };
            domain::usage_plan::update(app, actor, id, changes).await
        };
        UsagePlanPayload::of(updated.await)
    }

    /// Deletes a usage plan; refused while API keys are on it.
    async fn delete_usage_plan(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let id = Kind::UsagePlan.parse(&input.id, "id")?;
            domain::usage_plan::delete(app, actor, id).await
        };
        let deleted = deleted.await;
        DeletePayload::of(input.id, deleted)
    }
}

#[Object]
impl UsagePlan {
    pub async fn id(&self) -> ID {
        Kind::UsagePlan.id(self.0.id)
    }

    /// The ten characters that REST and the usage table call it by.
    async fn usage_plan_id(&self) -> &str {
        self.0.id.as_str()
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn description(&self) -> &str {
        &self.0.description
    }

    /// Of each key, over all stages of the plan.
    async fn throttle(&self) -> Option<Throttle> {
        self.0.throttle.map(Into::into)
    }

    /// Of each key, over all stages of the plan.
    async fn concurrency_limit(&self) -> Option<ConcurrencyLimit> {
        self.0.concurrency_limit.map(Into::into)
    }

    /// Of each key.
    async fn quota(&self) -> Option<Quota> {
        self.0.quota.clone().map(Into::into)
    }

    /// In the order of their ids.
    async fn stages(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Stage>> {
        let stages: Vec<StageId> = self.0.api_stages.iter().map(|on| on.stage.clone()).collect();
        Ok(loader::many(ctx, stages).await?.into_iter().map(Into::into).collect())
    }

    /// The keys on the plan, oldest first.
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
        Ok(connection(domain::api_key::list(app, actor, Some(self.0.id), &page).await?))
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

/// Stages keep the throttles that their routes have on the plan.
fn stages(ids: &[ID]) -> Result<StagesWanted> {
    let ids = Kind::Stage.parse_all(ids, "stageIds")?;
    Ok(ids.into_iter().map(|stage| (stage, None)).collect())
}

/// The domain speaks of the plan's `apiStages`, as AWS and REST do; here they come in as `stageIds`.
fn name_stage_ids(error: Error) -> Error {
    match error {
        Error::Conflict { param, message } if param == "apiStages" => {
            Error::conflict("stageIds", message)
        }
        Error::LimitExceeded { param, message } if param == "apiStages" => {
            Error::limit_exceeded("stageIds", message)
        }
        error => error,
    }
}

impl Loader<UsagePlanId> for Batches {
    type Value = domain::usage_plan::UsagePlan;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[UsagePlanId],
    ) -> Result<HashMap<UsagePlanId, Self::Value>, Self::Error> {
        let found = domain::usage_plan::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|plan| (plan.id, plan)).collect())
    }
}
