//! A stage: the name under which a deployment is called, and what is live beside it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::api::{Api, Dialect};
use crate::domain::client_throttle::{self, ClientThrottle};
use crate::domain::concurrency::{self, ConcurrencyLimit, RouteConcurrencyLimit};
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::patch::Patch;
use crate::domain::sampling::{self, SamplingRule};
use crate::domain::throttle::{self, RouteThrottle, Throttle};
use crate::domain::{api, audit, deployment, text};
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId, StageId};
use crate::snapshot::compile;
use crate::store;

/// How many stages an Api has at most, unless the tenant's own limits say otherwise.
pub const STAGES_MAX: u32 = 10;
/// The most variables of a stage, and the longest name and value of one, in characters.
pub const VARIABLES_MAX: usize = 100;
pub const VARIABLE_NAME_CHARS_MAX: usize = 64;
pub const VARIABLE_VALUE_CHARS_MAX: usize = 512;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    #[serde(skip)]
    pub api: ApiId,
    /// Whose habits decide what is not set here.
    #[serde(skip)]
    pub dialect: Dialect,
    /// `$default` or `[A-Za-z0-9_-]{1,128}`.
    pub name: String,
    #[serde(serialize_with = "id_text")]
    pub deployment: Option<DeploymentId>,
    pub description: String,
    pub variables: BTreeMap<String, String>,
    pub throttle: Option<Throttle>,
    /// Of some of its routes, beside its own.
    pub route_throttles: Vec<RouteThrottle>,
    pub concurrency_limit: Option<ConcurrencyLimit>,
    /// Of some of its routes, beside its own.
    pub route_concurrency_limits: Vec<RouteConcurrencyLimit>,
    /// For each of its clients.
    pub client_throttles: Vec<ClientThrottle>,
    /// Whether answers carry `RateLimit` headers; none: as the dialect does.
    pub rate_limit_headers: Option<bool>,
    /// Whether `sampling_rules` decide which traces of its calls are kept; else a node's own setting does.
    pub tracing_enabled: bool,
    pub sampling_rules: Vec<SamplingRule>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn id_text<S: serde::Serializer>(
    id: &Option<DeploymentId>,
    out: S,
) -> std::result::Result<S::Ok, S::Error> {
    id.as_ref().map(DeploymentId::as_str).serialize(out)
}

impl Versioned for Stage {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for Stage {
    const LIST: &'static str = "stages";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.name)
    }
}

impl Stage {
    pub fn id(&self) -> StageId {
        StageId { api: self.api, name: self.name.clone() }
    }

    pub fn sends_rate_limit_headers(&self) -> bool {
        self.rate_limit_headers.unwrap_or(self.dialect == Dialect::Native)
    }

    /// What a consumer calls: `http://…/prod`.
    pub fn invoke_url(&self, app: &App) -> String {
        self.under(&app.config.endpoint_template)
    }

    /// The same for clients that cannot resolve `*.localhost`; none where path addressing is off.
    pub fn path_invoke_url(&self, app: &App) -> Option<String> {
        app.config.path_endpoint_template.as_ref().map(|template| self.under(template))
    }

    fn under(&self, template: &str) -> String {
        let base = template.replace("{apiId}", self.api.as_str());
        if self.name == "$default" { base } else { format!("{base}/{}", self.name) }
    }
}

/// A stage to be made.
#[derive(Clone, Debug, Default)]
pub struct NewStage {
    pub name: String,
    pub deployment: Option<DeploymentId>,
    pub description: String,
    pub variables: BTreeMap<String, String>,
    pub throttle: Option<Throttle>,
    pub route_throttles: Vec<RouteThrottle>,
    pub concurrency_limit: Option<ConcurrencyLimit>,
    pub route_concurrency_limits: Vec<RouteConcurrencyLimit>,
    pub client_throttles: Vec<ClientThrottle>,
}

impl NewStage {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Checks every field; an error names the field.
    pub fn checked(self) -> Result<Self> {
        check_name("name", &self.name)?;
        check_variables(&self.variables)?;
        Ok(Self {
            description: text::description("description", self.description)?,
            throttle: self.throttle.map(checked_throttle).transpose()?,
            route_throttles: throttle::checked_routes(self.route_throttles)?,
            concurrency_limit: self.concurrency_limit.map(checked_limit).transpose()?,
            route_concurrency_limits: concurrency::checked_routes(self.route_concurrency_limits)?,
            client_throttles: client_throttle::checked(self.client_throttles)?,
            ..self
        })
    }
}

/// A change of a stage.
#[derive(Clone, Debug, Default)]
pub struct UpdateStage {
    /// An older one is a roll-back; `Clear` takes the stage off the air.
    pub deployment: Patch<DeploymentId>,
    pub description: Option<String>,
    /// All of them, in the place of those it had.
    pub variables: Option<BTreeMap<String, String>>,
    pub throttle: Patch<Throttle>,
    /// All of them, in the place of those it had.
    pub route_throttles: Option<Vec<RouteThrottle>>,
    pub concurrency_limit: Patch<ConcurrencyLimit>,
    /// All of them, in the place of those it had.
    pub route_concurrency_limits: Option<Vec<RouteConcurrencyLimit>>,
    /// All of them, in the place of those it had.
    pub client_throttles: Option<Vec<ClientThrottle>>,
    /// `Clear`: as the dialect does.
    pub rate_limit_headers: Patch<bool>,
    pub tracing_enabled: Option<bool>,
    /// All of them, in the place of those it had.
    pub sampling_rules: Option<Vec<SamplingRule>>,
}

impl UpdateStage {
    /// Checks every field; an error names the field.
    pub fn checked(self) -> Result<Self> {
        if let Some(variables) = &self.variables {
            check_variables(variables)?;
        }
        let description = self.description.map(|text| text::description("description", text));
        Ok(Self {
            description: description.transpose()?,
            throttle: self.throttle.try_map(checked_throttle)?,
            route_throttles: self.route_throttles.map(throttle::checked_routes).transpose()?,
            concurrency_limit: self.concurrency_limit.try_map(checked_limit)?,
            route_concurrency_limits: self
                .route_concurrency_limits
                .map(concurrency::checked_routes)
                .transpose()?,
            client_throttles: self.client_throttles.map(client_throttle::checked).transpose()?,
            sampling_rules: self.sampling_rules.map(sampling::checked).transpose()?,
            ..self
        })
    }
}

fn checked_throttle(throttle: Throttle) -> Result<Throttle> {
    throttle.checked().map_err(|error| error.within("throttle"))
}

fn checked_limit(limit: ConcurrencyLimit) -> Result<ConcurrencyLimit> {
    limit.checked().map_err(|error| error.within("concurrencyLimit"))
}

pub(crate) fn check_name(param: &str, name: &str) -> Result<()> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if name == "$default" || (letters && (1..=128).contains(&name.len())) {
        return Ok(());
    }
    Err(Error::bad_request(param, "must be $default or 1 to 128 letters, digits, - and _"))
}

fn check_variables(variables: &BTreeMap<String, String>) -> Result<()> {
    let wrong = |name: &str, rule: String| {
        let shown: String = name.chars().take(VARIABLE_NAME_CHARS_MAX).collect();
        Err(Error::bad_request("variables", format!("{shown:?} {rule}")))
    };
    if variables.len() > VARIABLES_MAX {
        let rule = format!("a stage has at most {VARIABLES_MAX} variables");
        return Err(Error::bad_request("variables", rule));
    }
    for (name, value) in variables {
        let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !letters || !(1..=VARIABLE_NAME_CHARS_MAX).contains(&name.len()) {
            let rule = format!("is no name: 1 to {VARIABLE_NAME_CHARS_MAX} letters, digits and _");
            return wrong(name, rule);
        }
        let letters =
            value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#&=,".contains(&b));
        if !letters || !(1..=VARIABLE_VALUE_CHARS_MAX).contains(&value.len()) {
            let rule = format!(
                "must have a value of 1 to {VARIABLE_VALUE_CHARS_MAX} letters, digits and -._~:/?#&=,"
            );
            return wrong(name, rule);
        }
    }
    Ok(())
}

pub async fn create(app: &App, actor: &Actor, api: ApiId, new: NewStage) -> Result<Stage> {
    actor.may(Action::Deploy)?;
    let new = new.checked()?;

    let mut tx = app.begin(actor).await?;
    let api = store::api::lock(&mut tx, actor.tenant, api).await?;
    let stage = insert(app, &mut tx, actor, &api, new).await?;
    tx.commit().await?;
    Ok(stage)
}

/// Makes a stage of an Api that the transaction has locked.
pub(crate) async fn insert(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    api: &Api,
    new: NewStage,
) -> Result<Stage> {
    if api.dialect == Dialect::AwsRest && new.name == "$default" {
        return Err(Error::bad_request("name", "an aws-rest API has no $default stage"));
    }
    let limit = limit::of(tx, actor.tenant, LimitName::StagesPerApi).await?;
    if store::stage::count(tx, actor.tenant, api.id).await? >= limit {
        return Err(LimitName::StagesPerApi.exceeded(limit));
    }
    if let Some(id) = new.deployment {
        deployment::check_fit(app, tx, actor, api.id, id, &new.variables).await?;
    }
    let stage = store::stage::insert(tx, actor.tenant, api, &new).await?;
    let id = stage.id().to_string();
    audit::record(app, tx, actor, "stage.create", &id, None, Some(&stage)).await?;
    publish(tx, actor, None, &stage).await?;
    Ok(stage)
}

/// Writes a changed stage of an Api that the transaction has locked.
pub(crate) async fn put(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    before: Stage,
    after: Stage,
) -> Result<Stage> {
    let same = before.deployment == after.deployment && before.variables == after.variables;
    if let Some(id) = after.deployment.filter(|_| !same) {
        deployment::check_fit(app, tx, actor, after.api, id, &after.variables).await?;
    }
    let after = store::stage::update(tx, actor.tenant, &after).await?;
    let id = after.id().to_string();
    audit::record(app, tx, actor, "stage.update", &id, Some(&before), Some(&after)).await?;
    publish(tx, actor, before.deployment, &after).await?;
    Ok(after)
}

/// Brings the stage to the nodes: its deployment first, and the one it left, `before`, away where no other
/// stage needs it.
async fn publish(
    tx: &mut Tx,
    actor: &Actor,
    before: Option<DeploymentId>,
    stage: &Stage,
) -> Result<()> {
    if let Some(id) = stage.deployment.filter(|id| before != Some(*id)) {
        let resource = compile::deployment(tx, actor.tenant, id).await?;
        tx.upsert(resource);
        tx.publishes(id);
    }
    let resource = compile::stage(tx, actor.tenant, stage.api, &stage.name).await?;
    tx.upsert(resource);
    if let Some(left) = before.filter(|id| stage.deployment != Some(*id)) {
        forget_unused(tx, actor, stage.api, left).await?;
    }
    Ok(())
}

async fn forget_unused(tx: &mut Tx, actor: &Actor, api: ApiId, id: DeploymentId) -> Result<()> {
    if !store::deployment::in_use(tx, actor.tenant, api, id).await? {
        tx.remove(compile::deployment_name(id));
    }
    Ok(())
}

/// Takes the stage from the nodes.
pub(crate) fn unpublish(tx: &mut Tx, stage: &Stage) {
    tx.remove(compile::stage_name(stage.api, &stage.name));
}

/// An error that names the usage plan that holds the stage, if one does.
pub(crate) async fn refuse_while_planned(tx: &mut Tx, actor: &Actor, stage: &Stage) -> Result<()> {
    match store::stage::usage_plan_name(tx, actor.tenant, stage.api, &stage.name).await? {
        None => Ok(()),
        Some(plan) => {
            let rule = format!("the usage plan {plan} holds the stage {}", stage.name);
            Err(Error::conflict("id", rule))
        }
    }
}

pub async fn get(app: &App, actor: &Actor, id: &StageId) -> Result<Stage> {
    let mut tx = app.begin(actor).await?;
    store::stage::get(&mut tx, actor.tenant, id.api, &id.name)
        .await?
        .ok_or(Error::NotFound("stage"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[StageId]) -> Result<Vec<Stage>> {
    let mut tx = app.begin(actor).await?;
    store::stage::find(&mut tx, actor.tenant, ids).await
}

/// Oldest first.
pub async fn list(app: &App, actor: &Actor, api: ApiId, page: &Page) -> Result<Paged<Stage>> {
    let mut tx = app.begin(actor).await?;
    store::api::must_exist(&mut tx, actor.tenant, api).await?;
    page.cut(store::stage::list(&mut tx, actor.tenant, api, page).await?)
}

pub async fn update(app: &App, actor: &Actor, id: &StageId, change: UpdateStage) -> Result<Stage> {
    actor.may(Action::Deploy)?;
    let change = change.checked()?;

    let mut tx = app.begin(actor).await?;
    let before = lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    let after = Stage {
        deployment: change.deployment.apply(before.deployment),
        description: change.description.unwrap_or_else(|| before.description.clone()),
        variables: change.variables.unwrap_or_else(|| before.variables.clone()),
        throttle: change.throttle.apply(before.throttle),
        route_throttles: change.route_throttles.unwrap_or_else(|| before.route_throttles.clone()),
        concurrency_limit: change.concurrency_limit.apply(before.concurrency_limit),
        route_concurrency_limits: change
            .route_concurrency_limits
            .unwrap_or_else(|| before.route_concurrency_limits.clone()),
        client_throttles: change
            .client_throttles
            .unwrap_or_else(|| before.client_throttles.clone()),
        rate_limit_headers: change.rate_limit_headers.apply(before.rate_limit_headers),
        tracing_enabled: change.tracing_enabled.unwrap_or(before.tracing_enabled),
        sampling_rules: change.sampling_rules.unwrap_or_else(|| before.sampling_rules.clone()),
        ..before.clone()
    };
    let stage = put(app, &mut tx, actor, before, after).await?;
    tx.commit().await?;
    Ok(stage)
}

/// Refused while a usage plan holds the stage.
pub async fn delete(app: &App, actor: &Actor, id: &StageId) -> Result<()> {
    actor.may(Action::Deploy)?;

    let mut tx = app.begin(actor).await?;
    let before = lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    refuse_while_planned(&mut tx, actor, &before).await?;
    store::stage::delete(&mut tx, actor.tenant, id.api, &id.name).await?;
    unpublish(&mut tx, &before);
    if let Some(left) = before.deployment {
        forget_unused(&mut tx, actor, id.api, left).await?;
    }
    let noun_id = id.to_string();
    audit::record(app, &mut tx, actor, "stage.delete", &noun_id, Some(&before), None).await?;
    tx.commit().await?;
    Ok(())
}

/// The stage as it is once its Api is locked.
async fn lock(tx: &mut Tx, actor: &Actor, id: &StageId) -> Result<Stage> {
    let missing = || Error::NotFound("stage");
    store::stage::get(tx, actor.tenant, id.api, &id.name).await?.ok_or_else(missing)?;
    store::api::lock(tx, actor.tenant, id.api).await?;
    store::stage::get(tx, actor.tenant, id.api, &id.name).await?.ok_or_else(missing)
}

/// Whether the draft of each stage's Api differs from what the stage serves.
pub async fn pending_changes(
    app: &App,
    actor: &Actor,
    stages: &[StageId],
) -> Result<HashMap<StageId, bool>> {
    let apis: Vec<ApiId> = stages.iter().map(|stage| stage.api).collect();
    let drafts = api::draft_digests(app, actor, &apis).await?;
    let mut tx = app.begin(actor).await?;
    let served = store::stage::served_digests(&mut tx, actor.tenant, &apis).await?;
    Ok(served
        .into_iter()
        .map(|(stage, digest)| {
            let pending = drafts.get(&stage.api).is_some_and(|draft| *draft != digest);
            (stage, pending)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use proto::config::v1::{self as message, resource};
    use sqlx::PgPool;

    use super::*;
    use crate::domain::client_throttle::tests::{by_header, by_ip};
    use crate::domain::throttle::{ThrottleEnforcement, ThrottleMode, ThrottleOutage};
    use crate::testing::{self, deploy, mock, new_api, new_route, published};

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_wrong_field_is_named() {
        let named = NewStage::named;
        assert!(named("$default").checked().is_ok());
        assert!(named(&"a".repeat(128)).checked().is_ok());
        let good = variables(&[("a_1", "https://x.y/z?a=b&c=d,e#f~"), ("b", "-._")]);
        assert!(NewStage { variables: good, ..named("prod") }.checked().is_ok());

        let throttle = |rate_limit, burst_limit| NewStage {
            throttle: Some(Throttle::of(rate_limit, burst_limit)),
            ..named("prod")
        };
        let with = |pair| NewStage { variables: variables(&[pair]), ..named("prod") };
        let many = (0..=VARIABLES_MAX).map(|at| (format!("v{at}"), "x".to_owned())).collect();
        let (long_name, long_value) = ("a".repeat(65), "a".repeat(513));
        for (new, param) in [
            (named(""), "name"),
            (named("$other"), "name"),
            (named("a/b"), "name"),
            (named("é"), "name"),
            (named(&"a".repeat(129)), "name"),
            (throttle(0.0, 1), "throttle.rateLimit"),
            (throttle(f64::NAN, 1), "throttle.rateLimit"),
            (throttle(1.0, 0), "throttle.burstLimit"),
            (with(("", "x")), "variables"),
            (with(("a-b", "x")), "variables"),
            (with((&long_name, "x")), "variables"),
            (with(("a", "")), "variables"),
            (with(("a", "b c")), "variables"),
            (with(("a", "$")), "variables"),
            (with(("a", "\0")), "variables"),
            (with(("a", &long_value)), "variables"),
            (NewStage { variables: many, ..named("prod") }, "variables"),
            (NewStage { description: "\0".to_owned(), ..named("prod") }, "description"),
        ] {
            let shown = format!("{new:?}");
            assert_eq!(new.checked().unwrap_err().param(), Some(param), "{shown}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_stage_is_one_of_its_name_and_one_of_ten(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        for at in 0..STAGES_MAX - 1 {
            create(&app, &alice, api, NewStage::named(&format!("s{at}"))).await.unwrap();
        }

        let twice = create(&app, &alice, api, NewStage::named("s0")).await.unwrap_err();
        assert_eq!((twice.code(), twice.param()), ("conflict", Some("name")));
        create(&app, &alice, api, NewStage::named("last")).await.unwrap();
        let over = create(&app, &alice, api, NewStage::named("more")).await.unwrap_err();
        assert_eq!(over.code(), "limit_exceeded");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn settings_of_a_stage_are_live_at_once_and_what_is_left_out_stays(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::AwsHttp).await;
        new_route(&app, &alice, api, "GET /a", mock("a")).await;
        let deployed = deploy(&app, &alice, api, "prod").await.unwrap();
        let id = StageId { api, name: "prod".to_owned() };
        let throttle = Throttle::of(2.5, 7);

        let change = UpdateStage {
            throttle: Patch::Set(throttle),
            variables: Some(variables(&[("a", "b")])),
            rate_limit_headers: Patch::Set(true),
            ..UpdateStage::default()
        };
        let stage = update(&app, &alice, &id, change).await.unwrap();
        assert_eq!(stage.throttle, Some(throttle));
        assert!(stage.sends_rate_limit_headers());
        let told = published(&app).await;
        let mut tx = app.begin(&alice).await.unwrap();
        let whole = compile::stage(&mut tx, alice.tenant, api, "prod").await.unwrap();
        assert_eq!(told.last().unwrap().upserts, [whole], "the stage alone, whole");

        let change = UpdateStage {
            throttle: Patch::Clear,
            rate_limit_headers: Patch::Clear,
            ..UpdateStage::default()
        };
        let stage = update(&app, &alice, &id, change).await.unwrap();
        assert_eq!(stage.throttle, None);
        assert!(!stage.sends_rate_limit_headers(), "aws-http does not, unless told to");
        assert_eq!(stage.variables, variables(&[("a", "b")]));
        assert_eq!(stage.deployment, Some(deployed.id));
        assert_eq!(get(&app, &alice, &id).await.unwrap(), stage);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn throttles_of_routes_reach_the_nodes_and_are_replaced_as_one(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let throttle = |route_key: &str, rate_limit| RouteThrottle {
            route_key: route_key.to_owned(),
            rate_limit,
            burst_limit: 3,
            enforcement: ThrottleEnforcement::Hard,
            mode: None,
            outage: None,
        };
        let new =
            NewStage { route_throttles: vec![throttle("GET /a", 0.5)], ..NewStage::named("prod") };
        let stage = create(&app, &alice, api, new).await.unwrap();
        let told = async || {
            let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
            let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
            stage.route_throttles
        };
        let half =
            message::Throttle { rate_limit: 0.5, burst_limit: 3, ..message::Throttle::default() };
        assert_eq!(told().await, [("GET /a".to_owned(), half)].into());

        let others = vec![throttle("$default", 1.0), throttle("ANY /b/{c}", 2.0)];
        let change =
            |throttles| UpdateStage { route_throttles: Some(throttles), ..UpdateStage::default() };
        let after = update(&app, &alice, &stage.id(), change(others.clone())).await.unwrap();
        assert_eq!(after.route_throttles, others);
        assert_eq!(told().await.into_keys().collect::<Vec<_>>(), ["$default", "ANY /b/{c}"]);
        let kept = update(&app, &alice, &stage.id(), UpdateStage::default()).await.unwrap();
        assert_eq!(kept.route_throttles, others);
        update(&app, &alice, &stage.id(), change(Vec::new())).await.unwrap();
        assert!(told().await.is_empty());

        let wrong = change(vec![throttle("GET /a", -1.0)]);
        let refused = update(&app, &alice, &stage.id(), wrong).await.unwrap_err();
        assert_eq!(refused.param(), Some("routeThrottles[0].rateLimit"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_throttle_in_shadow_is_told_to_nodes_as_one_until_another_takes_its_place(
        db: PgPool,
    ) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let shadow = Throttle { enforcement: ThrottleEnforcement::Shadow, ..Throttle::of(2.5, 7) };
        let of_route = |route_key: &str, enforcement| RouteThrottle {
            route_key: route_key.to_owned(),
            rate_limit: 1.0,
            burst_limit: 3,
            enforcement,
            mode: None,
            outage: None,
        };
        let of_routes = vec![
            of_route("GET /a", ThrottleEnforcement::Shadow),
            of_route("GET /b", ThrottleEnforcement::Hard),
        ];
        let new = NewStage {
            throttle: Some(shadow),
            route_throttles: of_routes.clone(),
            ..NewStage::named("prod")
        };
        let stage = create(&app, &alice, api, new).await.unwrap();
        assert_eq!((stage.throttle, &stage.route_throttles), (Some(shadow), &of_routes));
        assert_eq!(get(&app, &alice, &stage.id()).await.unwrap(), stage);
        let told = async || {
            let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
            let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
            let of_routes = stage.route_throttles.into_values().map(|it| it.shadow);
            (stage.throttle.map(|it| it.shadow), of_routes.collect::<Vec<_>>())
        };
        assert_eq!(told().await, (Some(true), vec![true, false]));

        let enforced = UpdateStage {
            throttle: Patch::Set(Throttle::of(2.5, 7)),
            route_throttles: Some(vec![of_route("GET /a", ThrottleEnforcement::Hard)]),
            ..UpdateStage::default()
        };
        let stage = update(&app, &alice, &stage.id(), enforced).await.unwrap();
        assert_eq!(stage.throttle, Some(Throttle::of(2.5, 7)));
        assert_eq!(told().await, (Some(false), vec![false]));
        let none = UpdateStage { throttle: Patch::Clear, ..UpdateStage::default() };
        assert_eq!(update(&app, &alice, &stage.id(), none).await.unwrap().throttle, None);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn nodes_are_told_how_each_throttle_is_counted_where_it_says_so(db: PgPool) {
        use message::{ThrottleMode as Mode, ThrottleOutage as Outage};

        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let (exact, closed) = (Some(ThrottleMode::Exact), Some(ThrottleOutage::FailClosed));
        let of_stage = Throttle { mode: exact, outage: closed, ..Throttle::of(2.5, 7) };
        let of_route = RouteThrottle {
            route_key: "GET /a".to_owned(),
            rate_limit: 1.0,
            burst_limit: 3,
            enforcement: ThrottleEnforcement::Hard,
            mode: Some(ThrottleMode::Local),
            outage: None,
        };
        let of_client = ClientThrottle {
            mode: Some(ThrottleMode::Leased),
            outage: Some(ThrottleOutage::FailOpen),
            ..by_ip("per-ip")
        };
        let new = NewStage {
            throttle: Some(of_stage),
            route_throttles: vec![of_route.clone()],
            client_throttles: vec![of_client.clone()],
            ..NewStage::named("prod")
        };
        let stage = create(&app, &alice, api, new).await.unwrap();
        assert_eq!(stage.throttle, Some(of_stage));
        assert_eq!(
            (&stage.route_throttles[0], &stage.client_throttles[0]),
            (&of_route, &of_client)
        );
        let told = async || {
            let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
            let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
            let of_client = stage.client_throttles[0].throttle;
            let all = [stage.throttle, stage.route_throttles.values().next().copied(), of_client];
            all.map(|it| it.map(|it| (it.mode(), it.outage())).unwrap())
        };
        assert_eq!(
            told().await,
            [
                (Mode::Exact, Outage::FailClosed),
                (Mode::Local, Outage::Unspecified),
                (Mode::Leased, Outage::FailOpen),
            ]
        );
        let plain =
            UpdateStage { throttle: Patch::Set(Throttle::of(2.5, 7)), ..UpdateStage::default() };
        let stage = update(&app, &alice, &stage.id(), plain).await.unwrap();
        assert_eq!(stage.throttle, Some(Throttle::of(2.5, 7)), "a throttle is written whole");
        assert_eq!(told().await[0], (Mode::Unspecified, Outage::Unspecified));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_concurrency_limit_that_is_enforced_is_a_restriction_to_nodes_that_do_not_know_it(
        db: PgPool,
    ) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let of_route = |route_key: &str, enforcement| RouteConcurrencyLimit {
            route_key: route_key.to_owned(),
            max_in_flight: 3,
            enforcement,
        };
        let shadow = ConcurrencyLimit {
            enforcement: ThrottleEnforcement::Shadow,
            ..ConcurrencyLimit::of(8)
        };
        let tried = vec![of_route("GET /a", ThrottleEnforcement::Shadow)];
        let new = NewStage {
            concurrency_limit: Some(shadow),
            route_concurrency_limits: tried.clone(),
            ..NewStage::named("prod")
        };
        let stage = create(&app, &alice, api, new).await.unwrap();
        assert_eq!(
            (stage.concurrency_limit, &stage.route_concurrency_limits),
            (Some(shadow), &tried)
        );
        let told = async || {
            let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
            let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
            stage
        };
        let limit = |max_in_flight, shadow| message::ConcurrencyLimit { max_in_flight, shadow };
        let in_shadow = told().await;
        assert_eq!(in_shadow.concurrency_limit, Some(limit(8, true)));
        let of_routes = [("GET /a".to_owned(), limit(3, true))].into();
        assert_eq!(in_shadow.route_concurrency_limits, of_routes);
        assert!(in_shadow.restrictions.is_empty(), "it restricts nobody");

        let hard = |change| async { update(&app, &alice, &stage.id(), change).await.unwrap() };
        let of_stage = Patch::Set(ConcurrencyLimit::of(5));
        hard(UpdateStage { concurrency_limit: of_stage, ..UpdateStage::default() }).await;
        let enforced = told().await;
        assert_eq!(enforced.concurrency_limit, Some(limit(5, false)));
        assert_eq!(enforced.restrictions, ["concurrencyLimit"]);

        let of_routes = Some(vec![of_route("GET /a", ThrottleEnforcement::Hard)]);
        let after = hard(UpdateStage {
            concurrency_limit: Patch::Clear,
            route_concurrency_limits: of_routes,
            ..UpdateStage::default()
        });
        assert_eq!(after.await.concurrency_limit, None);
        let of_route_alone = told().await;
        assert_eq!(of_route_alone.concurrency_limit, None);
        assert_eq!(of_route_alone.restrictions, ["concurrencyLimit"]);

        let none =
            UpdateStage { route_concurrency_limits: Some(Vec::new()), ..UpdateStage::default() };
        hard(none).await;
        assert!(told().await.restrictions.is_empty());
        for wrong in [0, -1, 1_000_001] {
            let wrong = Patch::Set(ConcurrencyLimit::of(wrong));
            let change = UpdateStage { concurrency_limit: wrong, ..UpdateStage::default() };
            let refused = update(&app, &alice, &stage.id(), change).await.unwrap_err();
            assert_eq!(refused.param(), Some("concurrencyLimit.maxInFlight"));
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn throttles_of_clients_reach_the_nodes_which_must_know_those_that_refuse(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let of_route = ClientThrottle {
            route_key: Some("GET /a".to_owned()),
            enforcement: ThrottleEnforcement::Shadow,
            ..by_header("per-user", "x-user")
        };
        let all = vec![by_ip("per-ip"), of_route.clone()];
        let new = NewStage { client_throttles: all.clone(), ..NewStage::named("prod") };
        let stage = create(&app, &alice, api, new).await.unwrap();
        assert_eq!(stage.client_throttles, all);
        assert_eq!(get(&app, &alice, &stage.id()).await.unwrap(), stage);
        let told = async || {
            let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
            let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
            (stage.client_throttles, stage.restrictions)
        };
        let throttle = |shadow| message::Throttle {
            rate_limit: 0.5,
            burst_limit: 10,
            shadow,
            ..message::Throttle::default()
        };
        let of_ip = message::ClientThrottle {
            name: "per-ip".to_owned(),
            key: message::ClientKey::Ip.into(),
            throttle: Some(throttle(false)),
            ..message::ClientThrottle::default()
        };
        let of_user = message::ClientThrottle {
            name: "per-user".to_owned(),
            key: message::ClientKey::Header.into(),
            header_name: "x-user".to_owned(),
            route_key: "GET /a".to_owned(),
            throttle: Some(throttle(true)),
        };
        let (throttles, restrictions) = told().await;
        assert_eq!(throttles, [of_ip, of_user.clone()]);
        assert_eq!(restrictions, ["clientThrottles"]);

        let change =
            |throttles| UpdateStage { client_throttles: Some(throttles), ..UpdateStage::default() };
        let kept = update(&app, &alice, &stage.id(), UpdateStage::default()).await.unwrap();
        assert_eq!(kept.client_throttles, all);
        update(&app, &alice, &stage.id(), change(vec![of_route])).await.unwrap();
        assert_eq!(
            told().await,
            (vec![of_user], Vec::new()),
            "what refuses nobody restricts nobody"
        );
        update(&app, &alice, &stage.id(), change(Vec::new())).await.unwrap();
        assert_eq!(told().await, (Vec::new(), Vec::new()));

        let wrong = change(vec![ClientThrottle { rate_limit: -1.0, ..by_ip("per-ip") }]);
        let refused = update(&app, &alice, &stage.id(), wrong).await.unwrap_err();
        assert_eq!(refused.param(), Some("clientThrottles[0].rateLimit"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn sampling_rules_reach_the_nodes_while_tracing_is_enabled(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let stage = create(&app, &alice, api, NewStage::named("prod")).await.unwrap();
        assert!(!stage.tracing_enabled && stage.sampling_rules.is_empty());
        let id = stage.id();
        let told = async || {
            let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
            let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
            stage.tracing
        };
        assert_eq!(told().await, None, "each node goes by its own setting");

        let rules = vec![
            SamplingRule {
                route_key: "GET /a".to_owned(),
                reservoir_per_second: 3,
                rate: 0.25,
                keep_errors: true,
                keep_slower_than_millis: Some(750),
            },
            SamplingRule {
                route_key: "*".to_owned(),
                reservoir_per_second: 0,
                rate: 0.0,
                keep_errors: false,
                keep_slower_than_millis: None,
            },
        ];
        let change = UpdateStage {
            tracing_enabled: Some(true),
            sampling_rules: Some(rules.clone()),
            ..UpdateStage::default()
        };
        let stage = update(&app, &alice, &id, change).await.unwrap();
        assert_eq!((stage.tracing_enabled, &stage.sampling_rules), (true, &rules));
        let tracing = told().await.unwrap();
        let whole = message::SamplingRule {
            route_key: "GET /a".to_owned(),
            reservoir_per_second: 3,
            rate: 0.25,
            keep_errors: true,
            keep_slower_than_ms: Some(750),
        };
        let all = message::SamplingRule { route_key: "*".to_owned(), ..Default::default() };
        assert_eq!(tracing.rules, [whole, all]);

        let off = UpdateStage { tracing_enabled: Some(false), ..UpdateStage::default() };
        let stage = update(&app, &alice, &id, off).await.unwrap();
        assert_eq!(stage.sampling_rules, rules, "kept for when it is enabled again");
        assert_eq!(told().await, None);

        let wrong = SamplingRule { rate: 2.0, ..rules[1].clone() };
        let change = UpdateStage { sampling_rules: Some(vec![wrong]), ..UpdateStage::default() };
        let refused = update(&app, &alice, &id, change).await.unwrap_err();
        assert_eq!(refused.param(), Some("samplingRules[0].rate"));
    }
}
