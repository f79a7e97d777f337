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
mod tests {
    use proto::config::v1::{self as config, resource::Kind};
    use sqlx::PgPool;

    use super::*;
    use crate::access::role::Role;
    use crate::domain::api_key::{self, NewApiKey};
    use crate::domain::quota::{
        LIMIT_MAX as QUOTA_LIMIT_MAX, QuotaAnchor, QuotaEnforcement, QuotaPeriod,
    };
    use crate::domain::throttle::ThrottleEnforcement;
    use crate::testing;

    fn gold() -> NewUsagePlan {
        NewUsagePlan {
            name: "gold".to_owned(),
            throttle: Some(Throttle::of(2.5, 5)),
            quota: Some(Quota::of(1000, QuotaPeriod::Month)),
            ..NewUsagePlan::default()
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn another_tenant_cannot_see_or_change_a_usage_plan(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let prod = testing::stage(&app, &alice, "prod").await;

        let plan = create(&app, &alice, gold()).await.unwrap();
        let taken = UsagePlanChanges { name: Some("taken".to_owned()), ..Default::default() };
        let stages = StagesWanted::from([(prod, None)]);
        let foreign_stage = NewUsagePlan { stages, ..gold() };
        let refusals = [
            get(&app, &mallory, plan.id).await.err(),
            update(&app, &mallory, plan.id, taken).await.err(),
            delete(&app, &mallory, plan.id).await.err(),
            create(&app, &mallory, foreign_stage).await.err(),
        ];

        for refused in refusals {
            assert!(matches!(refused, Some(Error::NotFound(_))), "{refused:?}");
        }
        assert_eq!(get(&app, &alice, plan.id).await.unwrap(), plan);
        assert!(list(&app, &mallory, &Page::default()).await.unwrap().items.is_empty());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_viewer_changes_no_plan(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
        let plan = create(&app, &alice, gold()).await.unwrap();

        let refusals = [
            create(&app, &viewer, NewUsagePlan { name: "b".to_owned(), ..gold() }).await.err(),
            update(&app, &viewer, plan.id, UsagePlanChanges::default()).await.err(),
            delete(&app, &viewer, plan.id).await.err(),
        ];

        for refused in refusals {
            assert!(matches!(refused, Some(Error::Forbidden(_))), "{refused:?}");
        }
        assert_eq!(list(&app, &viewer, &Page::default()).await.unwrap().items, [plan]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_is_left_out_stays_and_null_removes(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let prod = testing::stage(&app, &alice, "prod").await;
        let throttles = RouteThrottles::from([("/pets/GET".to_owned(), Throttle::of(1.0, 1))]);
        let stages = StagesWanted::from([(prod.clone(), Some(throttles.clone()))]);
        let plan = create(&app, &alice, NewUsagePlan { stages, ..gold() }).await.unwrap();

        let renamed = UsagePlanChanges { name: Some("new".to_owned()), ..Default::default() };
        let renamed = update(&app, &alice, plan.id, renamed).await.unwrap();
        let cleared = UsagePlanChanges {
            throttle: Patch::Clear,
            quota: Patch::Clear,
            stages: Some(StagesWanted::from([(prod.clone(), None)])),
            ..Default::default()
        };
        let cleared = update(&app, &alice, plan.id, cleared).await.unwrap();
        let emptied = UsagePlanChanges { stages: Some(StagesWanted::new()), ..Default::default() };
        let emptied = update(&app, &alice, plan.id, emptied).await.unwrap();

        assert_eq!((renamed.throttle, renamed.quota), (plan.throttle, plan.quota));
        assert_eq!((cleared.name.as_str(), cleared.throttle, cleared.quota), ("new", None, None));
        assert_eq!(cleared.api_stages, [ApiStage { stage: prod, route_throttles: throttles }]);
        assert_eq!(emptied.api_stages, []);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_plan_with_keys_is_not_deleted(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let plan = create(&app, &alice, gold()).await.unwrap();
        let new = || NewApiKey {
            name: "key".to_owned(),
            usage_plan_ids: [plan.id].into(),
            ..NewApiKey::default()
        };
        let (one, _) = api_key::create(&app, &alice, new()).await.unwrap();
        let (two, _) = api_key::create(&app, &alice, new()).await.unwrap();

        let refused = delete(&app, &alice, plan.id).await.unwrap_err();
        for key in [one, two] {
            api_key::delete(&app, &alice, key.id).await.unwrap();
        }
        delete(&app, &alice, plan.id).await.unwrap();

        assert_eq!(refused.code(), "conflict");
        assert!(refused.to_string().contains("2 API keys"), "{refused}");
        assert!(matches!(get(&app, &alice, plan.id).await, Err(Error::NotFound(_))));
        let told = testing::published(&app).await;
        let removed = told.last().unwrap().removals[0].kind.clone().unwrap();
        assert_eq!(removed, resource_name::Kind::UsagePlanId(plan.id.to_string()));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn nodes_get_the_whole_plan_after_each_change(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let prod = testing::stage(&app, &alice, "prod").await;

        let plan = create(&app, &alice, gold()).await.unwrap();
        let stages = Some(StagesWanted::from([(prod.clone(), None)]));
        let changes = UsagePlanChanges { stages, ..UsagePlanChanges::default() };
        update(&app, &alice, plan.id, changes).await.unwrap();

        let told = testing::published(&app).await;
        let messages: Vec<_> = told
            .iter()
            .map(|delta| match delta.upserts[0].kind.as_ref().unwrap() {
                Kind::UsagePlan(message) => message,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(messages.len(), 2);
        assert_eq!((messages[0].api_stages.len(), messages[1].api_stages.len()), (0, 1));
        assert_eq!(messages[1].api_stages[0].api_id, prod.api.to_string());
        assert_eq!(messages[1].quota.as_ref().unwrap().limit, 1000);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn nodes_get_a_quotas_terms_where_it_has_any_and_when_its_keys_began(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let soft = Quota {
            anchor: QuotaAnchor::Anniversary,
            time_zone: "europe/berlin".to_owned(),
            starts_at: Some("2026-01-31T09:30:00.5Z".parse().unwrap()),
            enforcement: QuotaEnforcement::Soft,
            initial_used: 7,
            ..Quota::of(1000, QuotaPeriod::Month)
        };
        let plan =
            create(&app, &alice, NewUsagePlan { quota: Some(soft), ..gold() }).await.unwrap();
        let usage_plan_ids = [plan.id].into();
        let new = NewApiKey { name: "key".to_owned(), usage_plan_ids, ..NewApiKey::default() };
        let (key, _) = api_key::create(&app, &alice, new).await.unwrap();
        let plain = Patch::Set(Quota::of(1000, QuotaPeriod::Month));
        let changes = UsagePlanChanges { quota: plain, ..UsagePlanChanges::default() };
        let changed = update(&app, &alice, plan.id, changes).await.unwrap();

        let kept = plan.quota.unwrap();
        assert_eq!(kept.time_zone, "Europe/Berlin");
        assert_eq!(kept.starts_at.unwrap().to_rfc3339(), "2026-01-31T09:30:00+00:00");
        assert_eq!((kept.initial_used, kept.enforcement), (7, QuotaEnforcement::Soft));
        assert_eq!(changed.quota, Some(Quota::of(1000, QuotaPeriod::Month)));
        let told = testing::published(&app).await;
        let kinds: Vec<_> = told.iter().map(|delta| delta.upserts[0].kind.clone()).collect();
        let [Some(Kind::UsagePlan(first)), Some(Kind::ApiKey(told)), Some(Kind::UsagePlan(last))] =
            &kinds[..]
        else {
            panic!("{kinds:?}")
        };
        let quota = first.quota.as_ref().unwrap();
        let terms = quota.terms.as_ref().unwrap();
        assert_eq!(quota.period(), config::QuotaPeriod::Unspecified, "older nodes refuse it");
        assert_eq!(terms.period(), config::QuotaPeriod::Month);
        assert_eq!(terms.enforcement(), config::QuotaEnforcement::Soft);
        assert_eq!((&*terms.time_zone, terms.initial_used), ("Europe/Berlin", 7));
        assert_eq!(terms.anniversary_s, Some(1_769_851_800));
        let quota = last.quota.as_ref().unwrap();
        assert_eq!((quota.period(), &quota.terms), (config::QuotaPeriod::Month, &None));
        // The database's clock says when a key is put on a plan.
        assert_eq!(told.usage_plan_joined_s, [key.created_at.timestamp()]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn nodes_that_do_not_know_a_plans_concurrency_limit_find_the_plan_on_no_stage(
        db: PgPool,
    ) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let prod = testing::stage(&app, &alice, "prod").await;
        let stages = StagesWanted::from([(prod.clone(), None)]);
        let hard = ConcurrencyLimit::of(4);
        let new = NewUsagePlan { stages, concurrency_limit: Some(hard), ..gold() };
        let plan = create(&app, &alice, new).await.unwrap();
        assert_eq!(plan.concurrency_limit, Some(hard));
        assert_eq!(get(&app, &alice, plan.id).await.unwrap(), plan);
        let told = async || {
            let mut tx = app.begin(&alice).await.unwrap();
            let told = compile::usage_plan(&mut tx, alice.tenant, plan.id).await.unwrap();
            let Some(Kind::UsagePlan(told)) = told.kind else { panic!("no plan") };
            let names = |stages: &[config::ApiStage]| -> Vec<_> {
                stages.iter().map(|on| on.stage.clone()).collect()
            };
            (told.concurrency_limit, names(&told.api_stages), names(&told.limited_stages))
        };
        let limit = |shadow| Some(config::ConcurrencyLimit { max_in_flight: 4, shadow });
        let (none, on_prod) = (Vec::<String>::new(), vec![prod.name.clone()]);
        assert_eq!(told().await, (limit(false), none.clone(), on_prod.clone()));

        let shadow = ConcurrencyLimit { enforcement: ThrottleEnforcement::Shadow, ..hard };
        let change =
            |concurrency_limit| UsagePlanChanges { concurrency_limit, ..Default::default() };
        let tried = update(&app, &alice, plan.id, change(Patch::Set(shadow))).await.unwrap();
        assert_eq!(tried.concurrency_limit, Some(shadow));
        assert_eq!(
            told().await,
            (limit(true), on_prod.clone(), none.clone()),
            "it restricts nobody"
        );
        update(&app, &alice, plan.id, change(Patch::Clear)).await.unwrap();
        assert_eq!(told().await, (None, on_prod, none));

        let wrong = Patch::Set(ConcurrencyLimit::of(0));
        let refused = update(&app, &alice, plan.id, change(wrong)).await.unwrap_err();
        assert_eq!(refused.param(), Some("concurrencyLimit.maxInFlight"));
        let wrong = NewUsagePlan { concurrency_limit: Some(ConcurrencyLimit::of(-1)), ..gold() };
        let refused = create(&app, &alice, wrong).await.unwrap_err();
        assert_eq!(refused.param(), Some("concurrencyLimit.maxInFlight"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_plans_throttles_in_shadow_are_told_to_nodes_as_such(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let prod = testing::stage(&app, &alice, "prod").await;
        let hard = Throttle::of(1.0, 1);
        let shadow = Throttle { enforcement: ThrottleEnforcement::Shadow, ..hard };
        let throttles = RouteThrottles::from([
            ("/pets/GET".to_owned(), shadow),
            ("/pets/POST".to_owned(), hard),
        ]);
        let new = NewUsagePlan {
            throttle: Some(shadow),
            stages: StagesWanted::from([(prod, Some(throttles.clone()))]),
            ..gold()
        };

        let plan = create(&app, &alice, new).await.unwrap();
        let mut tx = app.begin(&alice).await.unwrap();
        let told = compile::usage_plan(&mut tx, alice.tenant, plan.id).await.unwrap();
        let stored: serde_json::Value =
            sqlx::query_scalar("select route_throttles from usage_plan_stage")
                .fetch_one(&db)
                .await
                .unwrap();

        assert_eq!(get(&app, &alice, plan.id).await.unwrap(), plan);
        assert_eq!(
            (plan.throttle, &plan.api_stages[0].route_throttles),
            (Some(shadow), &throttles)
        );
        let Some(Kind::UsagePlan(told)) = told.kind else { panic!("no plan") };
        let of_routes = &told.api_stages[0].route_throttles;
        assert!(told.throttle.unwrap().shadow && of_routes["/pets/GET"].shadow);
        assert!(!of_routes["/pets/POST"].shadow);
        let plain = serde_json::json!({ "rateLimit": 1.0, "burstLimit": 1 });
        assert_eq!(stored["/pets/POST"], plain, "as the release before reads it");

        let again = UsagePlanChanges { throttle: Patch::Set(hard), ..Default::default() };
        let again = update(&app, &alice, plan.id, again).await.unwrap();
        assert_eq!((again.throttle, &again.api_stages), (Some(hard), &plan.api_stages));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_plan_that_breaks_a_rule_is_refused_by_the_field(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let prod = testing::stage(&app, &alice, "prod").await;
        create(&app, &alice, gold()).await.unwrap();
        let other = || NewUsagePlan { name: "other".to_owned(), ..NewUsagePlan::default() };
        let quota = |limit| Some(Quota::of(limit, QuotaPeriod::Day));
        let routes = |routes: &[&str]| {
            let one = Throttle::of(1.0, 1);
            let routes = routes.iter().map(|route| ((*route).to_owned(), one)).collect();
            StagesWanted::from([(prod.clone(), Some(routes))])
        };
        let too_many: Vec<String> =
            (0..=ROUTE_THROTTLES_MAX).map(|n| format!("/{n}/GET")).collect();
        let too_many: Vec<&str> = too_many.iter().map(String::as_str).collect();

        let slow = Some(Throttle::of(0.0, 1));
        let cases = [
            (gold(), "conflict", "name"),
            (NewUsagePlan { name: String::new(), ..other() }, "bad_request", "name"),
            (
                NewUsagePlan { description: "\0".to_owned(), ..other() },
                "bad_request",
                "description",
            ),
            (NewUsagePlan { throttle: slow, ..other() }, "bad_request", "throttle.rateLimit"),
            (NewUsagePlan { quota: quota(0), ..other() }, "bad_request", "quota.limit"),
            (
                NewUsagePlan { quota: quota(QUOTA_LIMIT_MAX + 1), ..other() },
                "bad_request",
                "quota.limit",
            ),
            (
                NewUsagePlan {
                    quota: quota(5).map(|quota| Quota { initial_used: 6, ..quota }),
                    ..other()
                },
                "bad_request",
                "quota.initialUsed",
            ),
            (NewUsagePlan { stages: routes(&["pets/GET"]), ..other() }, "bad_request", "apiStages"),
            (NewUsagePlan { stages: routes(&["/pets"]), ..other() }, "bad_request", "apiStages"),
            (
                NewUsagePlan { stages: routes(&["/pets/get"]), ..other() },
                "bad_request",
                "apiStages",
            ),
            (NewUsagePlan { stages: routes(&too_many), ..other() }, "limit_exceeded", "apiStages"),
        ];
        for (new, code, param) in cases {
            let refused = create(&app, &alice, new.clone()).await.unwrap_err();
            assert_eq!((refused.code(), refused.param()), (code, Some(param)), "{new:?}");
        }
        assert_eq!(list(&app, &alice, &Page::default()).await.unwrap().items.len(), 1);
        let most =
            NewUsagePlan { quota: quota(QUOTA_LIMIT_MAX), stages: routes(&["//GET"]), ..other() };
        create(&app, &alice, most).await.unwrap();
    }
}
