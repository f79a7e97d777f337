//! A usage plan: on which stages its keys may call, how fast and how much.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use proto::config::v1::resource_name;
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::concurrency::ConcurrencyLimit;
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::patch::Patch;
use crate::domain::quota::Quota;
use crate::domain::throttle::Throttle;
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::{StageId, UsagePlanId};
use crate::snapshot::compile;
use crate::store;

/// How many usage plans a tenant has at most, unless its own limits say otherwise.
pub const PLANS_MAX: u32 = 300;

/// The most stages of one plan.
pub const STAGES_MAX: usize = 100;
/// The most routes of one stage that a plan throttles by themselves: AWS's number.
pub const ROUTE_THROTTLES_MAX: usize = 20;
/// The longest path of a route throttle, in bytes.
const ROUTE_PATH_BYTES_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsagePlan {
    #[serde(skip)]
    pub id: UsagePlanId,
    pub name: String,
    pub description: String,
    /// Of each key, over all stages of the plan.
    pub throttle: Option<Throttle>,
    /// Of each key, over all stages of the plan.
    pub concurrency_limit: Option<ConcurrencyLimit>,
    /// Of each key.
    pub quota: Option<Quota>,
    /// In the order of their ids.
    pub api_stages: Vec<ApiStage>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

impl Versioned for UsagePlan {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for UsagePlan {
    const LIST: &'static str = "usagePlans";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// A stage on a plan. The throttles of single routes, by `/path/METHOD`, hold beside the plan's own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiStage {
    pub stage: StageId,
    pub route_throttles: RouteThrottles,
}

pub type RouteThrottles = BTreeMap<String, Throttle>;

/// The stages that a plan shall have, and no others. Without throttles, a stage that is on the plan already
/// keeps its own.
pub type StagesWanted = BTreeMap<StageId, Option<RouteThrottles>>;

/// A usage plan to be made; names are unique in the tenant.
#[derive(Clone, Debug, Default)]
pub struct NewUsagePlan {
    pub name: String,
    pub description: String,
    pub throttle: Option<Throttle>,
    pub concurrency_limit: Option<ConcurrencyLimit>,
    pub quota: Option<Quota>,
    pub stages: StagesWanted,
}

/// What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct UsagePlanChanges {
    pub name: Option<String>,
    pub description: Option<String>,
    pub throttle: Patch<Throttle>,
    pub concurrency_limit: Patch<ConcurrencyLimit>,
    pub quota: Patch<Quota>,
    pub stages: Option<StagesWanted>,
}

/// Makes a plan, at first without keys.
pub async fn create(app: &App, actor: &Actor, new: NewUsagePlan) -> Result<UsagePlan> {
    actor.may(Action::ManageUsagePlans)?;
    let plan = UsagePlan {
        id: app.rng.id(),
        name: text::name("name", &new.name)?,
        description: text::description("description", new.description)?,
        throttle: checked_throttle(new.throttle)?,
        concurrency_limit: checked_limit(new.concurrency_limit)?,
        quota: checked_quota(app, new.quota)?,
        api_stages: checked_stages(new.stages, &[])?,
        created_at: DateTime::default(), // the database's to say, as the next
        updated_at: DateTime::default(),
        revision: 0,
    };

    let mut tx = app.begin(actor).await?;
    let limit = limit::of(&mut tx, actor.tenant, LimitName::UsagePlans).await?;
    if store::usage_plan::count(&mut tx, actor.tenant).await? >= limit {
        return Err(LimitName::UsagePlans.exceeded(limit));
    }
    store::usage_plan::insert(&mut tx, actor.tenant, &plan).await?;
    store::usage_plan::set_stages(&mut tx, actor.tenant, plan.id, &plan.api_stages).await?;
    let plan = written(app, &mut tx, actor, "usage_plan.create", plan.id, None).await?;
    tx.commit().await?;
    Ok(plan)
}

pub async fn get(app: &App, actor: &Actor, id: UsagePlanId) -> Result<UsagePlan> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("usage plan"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[UsagePlanId]) -> Result<Vec<UsagePlan>> {
    let mut tx = app.begin(actor).await?;
    store::usage_plan::find(&mut tx, actor.tenant, ids).await
}

/// The tenant's plans, oldest first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<UsagePlan>> {
    let mut tx = app.begin(actor).await?;
    page.cut(store::usage_plan::list(&mut tx, actor.tenant, page).await?)
}

/// Changes hold for every key of the plan at once. A stage is refused on which one of those keys has another
/// plan.
pub async fn update(
    app: &App,
    actor: &Actor,
    id: UsagePlanId,
    changes: UsagePlanChanges,
) -> Result<UsagePlan> {
    actor.may(Action::ManageUsagePlans)?;

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    let mut plan = before.clone();
    if let Some(name) = changes.name {
        plan.name = text::name("name", &name)?;
    }
    if let Some(description) = changes.description {
        plan.description = text::description("description", description)?;
    }
    plan.throttle = checked_throttle(changes.throttle.apply(before.throttle))?;
    plan.concurrency_limit =
        checked_limit(changes.concurrency_limit.apply(before.concurrency_limit))?;
    plan.quota = checked_quota(app, changes.quota.apply(before.quota.clone()))?;
    if let Some(stages) = changes.stages {
        plan.api_stages = checked_stages(stages, &before.api_stages)?;
        store::usage_plan::set_stages(&mut tx, actor.tenant, id, &plan.api_stages).await?;
        store::usage_plan::link_stages(&mut tx, actor.tenant, &[id], None, "apiStages").await?;
    }
    store::usage_plan::update(&mut tx, actor.tenant, &plan).await?;
    let plan = written(app, &mut tx, actor, "usage_plan.update", id, Some(&before)).await?;
    tx.commit().await?;
    Ok(plan)
}

/// Refused while keys are on the plan: they would lose their limits, or their stages.
pub async fn delete(app: &App, actor: &Actor, id: UsagePlanId) -> Result<()> {
    actor.may(Action::ManageUsagePlans)?;

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    let keys = store::usage_plan::count_keys(&mut tx, actor.tenant, id).await?;
    if keys > 0 {
        let keys =
            if keys == 1 { "1 API key is".to_owned() } else { format!("{keys} API keys are") };
        return Err(Error::conflict(
            "id",
            format!("{keys} on this usage plan; take them off first"),
        ));
    }
    store::usage_plan::delete(&mut tx, actor.tenant, id).await?;
    let noun_id = id.to_string();
    audit::record(app, &mut tx, actor, "usage_plan.delete", &noun_id, Some(&before), None).await?;
    tx.remove(resource_name::Kind::UsagePlanId(noun_id).into());
    tx.commit().await?;
    Ok(())
}

/// The plan, locked against every other change of it and of its keys until the transaction ends.
async fn locked(tx: &mut Tx, actor: &Actor, id: UsagePlanId) -> Result<UsagePlan> {
    store::usage_plan::lock(tx, actor.tenant, &BTreeSet::from([id])).await?;
    let found = store::usage_plan::find(tx, actor.tenant, &[id]).await?.pop();
    found.ok_or(Error::NotFound("usage plan"))
}

/// The plan as it now stands, recorded and told to the nodes.
async fn written(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    id: UsagePlanId,
    before: Option<&UsagePlan>,
) -> Result<UsagePlan> {
    let found = store::usage_plan::find(tx, actor.tenant, &[id]).await?.pop();
    let plan = found.ok_or(Error::NotFound("usage plan"))?;
    audit::record(app, tx, actor, action, &id.to_string(), before, Some(&plan)).await?;
    let message = compile::usage_plan(tx, actor.tenant, id).await?;
    tx.upsert(message);
    Ok(plan)
}

fn checked_throttle(throttle: Option<Throttle>) -> Result<Option<Throttle>> {
    throttle.map(Throttle::checked).transpose().map_err(|error| error.within("throttle"))
}

fn checked_limit(limit: Option<ConcurrencyLimit>) -> Result<Option<ConcurrencyLimit>> {
    let checked = limit.map(ConcurrencyLimit::checked).transpose();
    checked.map_err(|error| error.within("concurrencyLimit"))
}

fn checked_quota(app: &App, quota: Option<Quota>) -> Result<Option<Quota>> {
    let checked = quota.map(|quota| quota.checked(app.clock.now()));
    checked.transpose().map_err(|error| error.within("quota"))
}

fn checked_stages(wanted: StagesWanted, before: &[ApiStage]) -> Result<Vec<ApiStage>> {
    if wanted.len() > STAGES_MAX {
        let rule = format!("a usage plan has at most {STAGES_MAX} stages");
        return Err(Error::limit_exceeded("apiStages", rule));
    }
    let checked = wanted.into_iter().map(|(stage, throttles)| {
        let kept = || before.iter().find(|before| before.stage == stage);
        let route_throttles = match throttles {
            Some(throttles) => checked_route_throttles(throttles)?,
            None => kept().map(|kept| kept.route_throttles.clone()).unwrap_or_default(),
        };
        Ok(ApiStage { stage, route_throttles })
    });
    checked.collect()
}

fn checked_route_throttles(throttles: RouteThrottles) -> Result<RouteThrottles> {
    if throttles.len() > ROUTE_THROTTLES_MAX {
        let rule = format!("a plan throttles at most {ROUTE_THROTTLES_MAX} routes of a stage");
        return Err(Error::limit_exceeded("apiStages", rule));
    }
    let checked = throttles.into_iter().map(|(route, throttle)| {
        if !is_route(&route) {
            let rule = format!("{route:?} is not a path and a method: /pets/GET");
            return Err(Error::bad_request("apiStages", rule));
        }
        let throttle =
            throttle.checked().map_err(|error| error.within(&route).within("apiStages"))?;
        Ok((route, throttle))
    });
    checked.collect()
}

/// `/path/METHOD`, as AWS writes it; the root's is `//METHOD`.
fn is_route(text: &str) -> bool {
    const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "ANY"];
    text.rsplit_once('/').is_some_and(|(path, method)| {
        path.starts_with('/')
            && path.len() <= ROUTE_PATH_BYTES_MAX
            && path.bytes().all(|byte| byte.is_ascii_graphic())
            && METHODS.contains(&method)
    })
}

#[cfg(test)]
mod tests;
