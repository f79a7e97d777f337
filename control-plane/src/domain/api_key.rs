//! An API key: what a consumer sends with each call. Its value is shown once, when it is made; what stays is
//! a digest under the tenant's pepper, and the last four characters to tell keys apart. A rotation gives it another
//! value; the one before may work beside it for a while, as the same key to its plans and to the ledger.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use proto::config::v1::resource_name;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::api_key_value::KeyValue;
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::patch::Patch;
use crate::domain::{api_key_restriction, audit, text};
use crate::error::{Error, Result};
use crate::ids::{ApiKeyId, ConsumerId, UsagePlanId};
use crate::snapshot::compile;
use crate::store;

/// How many API keys a tenant has at most, unless its own limits say otherwise.
pub const KEYS_MAX: u32 = 10_000;

/// The most plans of one key: AWS's number.
pub const PLANS_MAX: usize = 10;
/// The longest name of a key, in characters: AWS's number.
pub const NAME_CHARS_MAX: usize = 1024;
/// Two values of a key work at once for at most so long.
pub const OVERLAP_MAX: TimeDelta = TimeDelta::days(90);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    #[serde(skip)]
    pub id: ApiKeyId,
    pub name: String,
    pub description: String,
    /// The last four characters of its value.
    pub hint: String,
    pub mode: KeyMode,
    /// A disabled key is refused like an unknown one.
    pub enabled: bool,
    pub consumer_id: Option<ConsumerId>,
    /// In the order of their ids. On each stage at most one of them counts.
    pub usage_plan_ids: Vec<UsagePlanId>,
    /// From then on the key is refused.
    pub expires_at: Option<DateTime<Utc>>,
    /// The last four characters of the value before the present one, from its last rotation with an overlap.
    pub previous_hint: Option<String>,
    /// Until then that value works too. In the past: it works no more.
    pub overlap_ends_at: Option<DateTime<Utc>>,
    /// Calls from elsewhere are refused. Empty: from everywhere.
    pub client_networks: Vec<IpNet>,
    /// Calls from other pages, or from none, are refused. Empty: any.
    pub origins: Vec<String>,
    /// When a call with it was counted last, to within 15 seconds.
    #[serde(skip)]
    pub last_used_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

impl Versioned for ApiKey {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for ApiKey {
    const LIST: &'static str = "apiKeys";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

impl ApiKey {
    /// Whether the value before the present one still works.
    fn overlaps(&self, now: DateTime<Utc>) -> bool {
        self.overlap_ends_at.is_some_and(|end| end > now)
    }
}

/// Calls with a test key are counted, never billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyMode {
    #[default]
    Live,
    Test,
}

impl KeyMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl TryFrom<&str> for KeyMode {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Live, Self::Test]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| Error::corrupt("key mode", text))
    }
}

/// An API key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewApiKey {
    pub name: String,
    pub description: String,
    pub mode: KeyMode,
    pub enabled: bool,
    pub consumer_id: Option<ConsumerId>,
    pub usage_plan_ids: BTreeSet<UsagePlanId>,
    pub expires_at: Option<DateTime<Utc>>,
    pub client_networks: Vec<String>,
    pub origins: Vec<String>,
    /// Drawn by us where the caller brings none.
    pub value: Option<SecretString>,
}

/// What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ApiKeyChanges {
    pub name: Option<String>,
    pub description: Option<String>,
    pub enabled: Option<bool>,
    pub consumer_id: Patch<ConsumerId>,
    pub usage_plan_ids: Option<BTreeSet<UsagePlanId>>,
    pub expires_at: Patch<DateTime<Utc>>,
    pub client_networks: Option<Vec<String>>,
    pub origins: Option<Vec<String>>,
}

/// Makes a key, and gives its value: this once.
pub async fn create(app: &App, actor: &Actor, new: NewApiKey) -> Result<(ApiKey, KeyValue)> {
    actor.may(Action::ManageApiKeys)?;
    let value = match new.value {
        Some(value) => KeyValue::supplied(value, new.mode)?,
        None => KeyValue::draw(app.rng, new.mode),
    };
    let key = ApiKey {
        id: app.rng.id(),
        name: checked_name(&new.name)?,
        description: text::description("description", new.description)?,
        hint: value.hint().to_owned(),
        mode: new.mode,
        enabled: new.enabled,
        consumer_id: new.consumer_id,
        usage_plan_ids: checked_plans(new.usage_plan_ids)?,
        expires_at: checked_expiry(app, new.expires_at)?,
        previous_hint: None,
        overlap_ends_at: None,
        client_networks: api_key_restriction::networks(new.client_networks)?,
        origins: api_key_restriction::origins(new.origins)?,
        last_used_at: None,
        created_at: DateTime::default(), // the database's to say, as the next
        updated_at: DateTime::default(),
        revision: 0,
    };

    let mut tx = app.begin(actor).await?;
    let limit = limit::of(&mut tx, actor.tenant, LimitName::ApiKeys).await?;
    if store::api_key::count(&mut tx, actor.tenant).await? >= limit {
        return Err(LimitName::ApiKeys.exceeded(limit));
    }
    let digest = digest(app, &mut tx, actor, &value).await?;
    store::api_key::insert(&mut tx, actor.tenant, &key, &digest).await?;
    // Asked after the value is taken: a key that had it is told apart by the table, or has moved it by now.
    if let Some(other) = store::api_key::previous(&mut tx, actor.tenant, &digest).await? {
        let rule = format!(
            "the API key {other} had this value before its rotation; end the overlap of that key first, or bring another \
             value"
        );
        return Err(Error::conflict("value", rule));
    }
    set_plans(&mut tx, actor, &key, &[]).await?;
    let key = written(app, &mut tx, actor, "api_key.create", key.id, None).await?;
    tx.commit().await?;
    Ok((key, value))
}

pub async fn get(app: &App, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("api key"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[ApiKeyId]) -> Result<Vec<ApiKey>> {
    let mut tx = app.begin(actor).await?;
    store::api_key::find(&mut tx, actor.tenant, ids).await
}

/// The tenant's keys, or those on one plan, oldest first.
pub async fn list(
    app: &App,
    actor: &Actor,
    plan: Option<UsagePlanId>,
    page: &Page,
) -> Result<Paged<ApiKey>> {
    let mut tx = app.begin(actor).await?;
    page.cut(store::api_key::list(&mut tx, actor.tenant, plan, page).await?)
}

/// A plan is refused that has a stage on which another plan of the key counts.
pub async fn update(
    app: &App,
    actor: &Actor,
    id: ApiKeyId,
    changes: ApiKeyChanges,
) -> Result<ApiKey> {
    actor.may(Action::ManageApiKeys)?;

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    let mut key = before.clone();
    if let Some(name) = changes.name {
        key.name = checked_name(&name)?;
    }
    if let Some(description) = changes.description {
        key.description = text::description("description", description)?;
    }
    if let Some(enabled) = changes.enabled {
        key.enabled = enabled;
    }
    key.consumer_id = changes.consumer_id.apply(before.consumer_id);
    if changes.expires_at != Patch::Keep {
        key.expires_at = checked_expiry(app, changes.expires_at.apply(None))?;
    }
    if let Some(networks) = changes.client_networks {
        key.client_networks = api_key_restriction::networks(networks)?;
    }
    if let Some(origins) = changes.origins {
        key.origins = api_key_restriction::origins(origins)?;
    }
    if let Some(usage_plan_ids) = changes.usage_plan_ids {
        key.usage_plan_ids = checked_plans(usage_plan_ids)?;
        set_plans(&mut tx, actor, &key, &before.usage_plan_ids).await?;
    }
    store::api_key::update(&mut tx, actor.tenant, &key).await?;
    let key = written(app, &mut tx, actor, "api_key.update", id, Some(&before)).await?;
    tx.commit().await?;
    Ok(key)
}

/// Gives the key another value, shown this once. The value before works beside it until `overlap_ends_at`, or stops at
/// once; a value that still worked beside that one stops in any case, which is refused unless all are to.
pub async fn rotate(
    app: &App,
    actor: &Actor,
    id: ApiKeyId,
    overlap_ends_at: Option<DateTime<Utc>>,
) -> Result<(ApiKey, KeyValue)> {
    actor.may(Action::ManageApiKeys)?;
    let now = app.clock.now();
    match overlap_ends_at {
        Some(time) if time <= now => {
            let rule = "must be in the future; left out, the value before stops at once";
            return Err(Error::bad_request("overlapEndsAt", rule));
        }
        Some(time) if time > now + OVERLAP_MAX => {
            let rule = format!("must be within {} days", OVERLAP_MAX.num_days());
            return Err(Error::bad_request("overlapEndsAt", rule));
        }
        _ => {}
    }

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    if overlap_ends_at.is_some() && before.overlaps(now) {
        let rule = "the value before the present one still works; end its overlap first";
        return Err(Error::conflict("overlapEndsAt", rule));
    }
    let value = KeyValue::draw(app.rng, before.mode);
    let digest = digest(app, &mut tx, actor, &value).await?;
    let hint = value.hint();
    store::api_key::rotate(&mut tx, actor.tenant, id, &digest, hint, overlap_ends_at).await?;
    let key = written(app, &mut tx, actor, "api_key.rotate", id, Some(&before)).await?;
    tx.commit().await?;
    Ok((key, value))
}

/// From then on only the present value works. The one before is forgotten, also where its time was over already.
pub async fn end_overlap(app: &App, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    actor.may(Action::ManageApiKeys)?;

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    if before.overlap_ends_at.is_none() {
        return Err(Error::conflict("id", "no value before the present one is kept"));
    }
    store::api_key::end_overlap(&mut tx, actor.tenant, id).await?;
    let key = written(app, &mut tx, actor, "api_key.end_overlap", id, Some(&before)).await?;
    tx.commit().await?;
    Ok(key)
}

/// From then on the key is unknown. What it used stays counted.
pub async fn delete(app: &App, actor: &Actor, id: ApiKeyId) -> Result<()> {
    actor.may(Action::ManageApiKeys)?;

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    let plans = before.usage_plan_ids.iter().copied().collect();
    store::usage_plan::lock(&mut tx, actor.tenant, &plans).await?;
    store::api_key::delete(&mut tx, actor.tenant, id).await?;
    let noun_id = id.to_string();
    audit::record(app, &mut tx, actor, "api_key.delete", &noun_id, Some(&before), None).await?;
    tx.remove(resource_name::Kind::ApiKeyId(noun_id).into());
    tx.commit().await?;
    Ok(())
}

/// The key, locked against every other change of it until the transaction ends.
async fn locked(tx: &mut Tx, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    store::api_key::lock(tx, actor.tenant, id).await?;
    let found = store::api_key::find(tx, actor.tenant, &[id]).await?.pop();
    found.ok_or(Error::NotFound("api key"))
}

/// Puts the key on exactly its plans. Plans left and joined are locked first: one that gained a stage at the
/// same time would not see the key, and the key not the stage.
async fn set_plans(tx: &mut Tx, actor: &Actor, key: &ApiKey, before: &[UsagePlanId]) -> Result<()> {
    let plans: BTreeSet<UsagePlanId> = key.usage_plan_ids.iter().chain(before).copied().collect();
    let found = store::usage_plan::lock(tx, actor.tenant, &plans).await?;
    if found < plans.len() {
        return Err(Error::NotFound("usage plan"));
    }
    let wanted = &key.usage_plan_ids;
    store::api_key::set_plans(tx, actor.tenant, key.id, wanted).await?;
    store::usage_plan::link_stages(tx, actor.tenant, wanted, Some(key.id), "usagePlanIds").await
}

/// The key as it now stands, recorded and told to the nodes.
async fn written(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    id: ApiKeyId,
    before: Option<&ApiKey>,
) -> Result<ApiKey> {
    let found = store::api_key::find(tx, actor.tenant, &[id]).await?.pop();
    let key = found.ok_or(Error::NotFound("api key"))?;
    audit::record(app, tx, actor, action, &id.to_string(), before, Some(&key)).await?;
    let message = compile::api_key(tx, actor.tenant, id).await?;
    tx.upsert(message);
    Ok(key)
}

async fn digest(app: &App, tx: &mut Tx, actor: &Actor, value: &KeyValue) -> Result<[u8; 32]> {
    let tenant = actor.tenant;
    let wrapped = store::tenant::key_pepper(tx, tenant).await?;
    let data_key = app.data_key(tx, tenant).await?;
    let pepper = data_key.unwrap(&format!("tenant:{tenant}:key_pepper"), &wrapped)?;
    Ok(proto::digest::api_key(&pepper, value.expose_secret().as_bytes()))
}

fn checked_name(name: &str) -> Result<String> {
    let name = text::line("name", name.trim(), NAME_CHARS_MAX)?;
    if name.is_empty() { Err(Error::bad_request("name", "must not be blank")) } else { Ok(name) }
}

fn checked_plans(plans: BTreeSet<UsagePlanId>) -> Result<Vec<UsagePlanId>> {
    if plans.len() > PLANS_MAX {
        let rule = format!("a key is on at most {PLANS_MAX} usage plans");
        return Err(Error::limit_exceeded("usagePlanIds", rule));
    }
    Ok(plans.into_iter().collect())
}

fn checked_expiry(app: &App, expires_at: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>> {
    match expires_at {
        Some(time) if time <= app.clock.now() => Err(Error::bad_request(
            "expiresAt",
            "must be in the future; to end a key now, disable it",
        )),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proto::config::v1::resource::Kind;
    use sqlx::PgPool;

    use super::*;
    use crate::access::role::Role;
    use crate::domain::consumer::{self, NewConsumer};
    use crate::domain::usage_plan::{self, NewUsagePlan, StagesWanted, UsagePlanChanges};
    use crate::ids::{FreshId, Rng, StageId};
    use crate::testing;

    fn named(name: &str) -> NewApiKey {
        NewApiKey { name: name.to_owned(), enabled: true, ..NewApiKey::default() }
    }

    fn on(plans: &[UsagePlanId]) -> NewApiKey {
        NewApiKey { usage_plan_ids: plans.iter().copied().collect(), ..named("key") }
    }

    fn only(stage: &StageId) -> StagesWanted {
        StagesWanted::from([(stage.clone(), None)])
    }

    async fn plan(app: &App, actor: &Actor, name: &str, stages: StagesWanted) -> UsagePlanId {
        let new = NewUsagePlan { name: name.to_owned(), stages, ..NewUsagePlan::default() };
        usage_plan::create(app, actor, new).await.unwrap().id
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_keys_value_is_shown_once_and_kept_as_a_digest_under_the_tenants_pepper(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let chosen = || Some(SecretString::from("a-value-that-both-choose"));

        let (key, value) =
            create(&app, &alice, NewApiKey { value: chosen(), ..named("a") }).await.unwrap();
        let (other, _) =
            create(&app, &mallory, NewApiKey { value: chosen(), ..named("a") }).await.unwrap();

        assert_eq!(value.expose_secret(), "a-value-that-both-choose");
        assert_eq!(key.hint, "oose");
        let mut tx = app.begin(&alice).await.unwrap();
        let expected = digest(&app, &mut tx, &alice, &value).await.unwrap();
        let Some(Kind::ApiKey(message)) =
            compile::api_key(&mut tx, alice.tenant, key.id).await.unwrap().kind
        else {
            panic!("not a key")
        };
        assert_eq!(message.digest, expected);
        let mut tx = app.begin(&mallory).await.unwrap();
        let theirs = compile::api_key(&mut tx, mallory.tenant, other.id).await.unwrap();
        assert!(!matches!(theirs.kind, Some(Kind::ApiKey(theirs)) if theirs.digest == expected));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn no_table_and_no_message_holds_a_keys_value(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;

        let (key, value) = create(&app, &alice, named("a")).await.unwrap();
        update(&app, &alice, key.id, ApiKeyChanges { enabled: Some(false), ..Default::default() })
            .await
            .unwrap();

        let secret = value.expose_secret();
        let stored: String = sqlx::query_scalar(
            "select (select jsonb_agg(to_jsonb(k)) from api_key k)::text
                 || (select jsonb_agg(to_jsonb(a)) from audit_entry a)::text",
        )
        .fetch_one(&db)
        .await
        .unwrap();
        assert!(stored.contains("api_key.create") && stored.contains("api_key.update"));
        assert!(!stored.contains(secret) && !stored.contains(&hex::encode(secret)));
        let audited: String =
            sqlx::query_scalar("select jsonb_agg(to_jsonb(a))::text from audit_entry a")
                .fetch_one(&db)
                .await
                .unwrap();
        let mut tx = app.begin(&alice).await.unwrap();
        let digest = digest(&app, &mut tx, &alice, &value).await.unwrap();
        assert!(!audited.contains("digest") && !audited.contains(&hex::encode(digest)));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn one_value_makes_one_key_of_a_tenant(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let again = || NewApiKey { value: Some("0123456789abcdefghij".into()), ..named("a") };

        create(&app, &alice, again()).await.unwrap();
        let refused = create(&app, &alice, again()).await.err().unwrap();

        assert_eq!((refused.code(), refused.param()), ("conflict", Some("value")));
        assert_eq!(list(&app, &alice, None, &Page::default()).await.unwrap().items.len(), 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_key_has_one_plan_on_a_stage(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let (prod, beta) = (
            testing::stage(&app, &alice, "prod").await,
            testing::stage(&app, &alice, "beta").await,
        );
        let gold = plan(&app, &alice, "gold", only(&prod)).await;
        let silver = plan(&app, &alice, "silver", only(&prod)).await;
        let bronze = plan(&app, &alice, "bronze", only(&beta)).await;

        let at_once = create(&app, &alice, on(&[gold, silver])).await.err().unwrap();
        let (key, _) = create(&app, &alice, on(&[gold, bronze])).await.unwrap();
        let more = ApiKeyChanges {
            usage_plan_ids: Some([gold, silver].into()),
            ..ApiKeyChanges::default()
        };
        let later = update(&app, &alice, key.id, more).await.unwrap_err();
        let stages = StagesWanted::from([(prod.clone(), None), (beta.clone(), None)]);
        let widened = UsagePlanChanges { stages: Some(stages), ..UsagePlanChanges::default() };
        let by_stage = usage_plan::update(&app, &alice, bronze, widened).await.unwrap_err();

        for (refused, param, other) in [
            (&at_once, "usagePlanIds", "plan silver"),
            (&later, "usagePlanIds", "plan silver"),
            (&by_stage, "apiStages", "plan gold"),
        ] {
            assert_eq!((refused.code(), refused.param()), ("conflict", Some(param)));
            assert!(
                refused.to_string().contains(other) || refused.to_string().contains("plan gold"),
                "{refused}"
            );
            assert!(refused.to_string().contains("prod"), "{refused}");
        }
        let unchanged = get(&app, &alice, key.id).await.unwrap();
        assert_eq!(unchanged, key);
        assert_eq!(usage_plan::get(&app, &alice, bronze).await.unwrap().api_stages.len(), 1);

        // Off gold, the stage is free for silver.
        let swapped = ApiKeyChanges {
            usage_plan_ids: Some([silver, bronze].into()),
            ..ApiKeyChanges::default()
        };
        let key = update(&app, &alice, key.id, swapped).await.unwrap();
        assert_eq!(BTreeSet::from_iter(key.usage_plan_ids), BTreeSet::from([silver, bronze]));
    }

    /// Two writers, each of which sees nothing of the other: the table's key and the plans' locks decide.
    #[sqlx::test(migrations = "../migrations")]
    async fn two_plans_never_meet_on_a_stage_however_writers_interleave(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let prod = testing::stage(&app, &alice, "prod").await;
        for round in 0..8 {
            let gold = plan(&app, &alice, &format!("gold {round}"), only(&prod)).await;
            let empty = plan(&app, &alice, &format!("empty {round}"), StagesWanted::new()).await;
            let (key, _) = create(&app, &alice, on(&[gold])).await.unwrap();

            let join = ApiKeyChanges {
                usage_plan_ids: Some([gold, empty].into()),
                ..ApiKeyChanges::default()
            };
            let widen =
                UsagePlanChanges { stages: Some(only(&prod)), ..UsagePlanChanges::default() };
            let (joined, widened) = tokio::join!(
                update(&app, &alice, key.id, join),
                usage_plan::update(&app, &alice, empty, widen),
            );

            let refused = [joined.err(), widened.err()];
            let codes: Vec<&str> = refused.iter().flatten().map(Error::code).collect();
            assert_eq!(codes, ["conflict"], "one of the two is refused");
            let meetings: i64 = sqlx::query_scalar(
                "select count(*) from (
                     select from usage_plan_key k join usage_plan_stage s using (usage_plan_id)
                     group by k.api_key_id, s.api_id, s.stage_name having count(*) > 1
                 ) as meeting",
            )
            .fetch_one(&db)
            .await
            .unwrap();
            assert_eq!(meetings, 0);
        }
        let (missing, known): (i64, i64) = sqlx::query_as(
            "select (select count(*) from usage_plan_key join usage_plan_stage using (usage_plan_id)),
                    (select count(*) from usage_plan_key_stage)",
        )
        .fetch_one(&db)
        .await
        .unwrap();
        assert_eq!(missing, known, "each meeting of a key and a stage is noted");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_is_another_tenants_is_not_found_and_stays_as_it_is(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let prod = testing::stage(&app, &alice, "prod").await;
        let gold = plan(&app, &alice, "gold", only(&prod)).await;
        let consumer = NewConsumer { name: "acme".to_owned(), ..NewConsumer::default() };
        let consumer = consumer::create(&app, &alice, consumer).await.unwrap();
        let (key, _) = create(&app, &alice, on(&[gold])).await.unwrap();
        let (own, _) = create(&app, &mallory, named("own")).await.unwrap();

        let disabled = ApiKeyChanges { enabled: Some(false), ..ApiKeyChanges::default() };
        let to_plan =
            ApiKeyChanges { usage_plan_ids: Some([gold].into()), ..ApiKeyChanges::default() };
        let to_consumer =
            ApiKeyChanges { consumer_id: Patch::Set(consumer.id), ..ApiKeyChanges::default() };
        let stranger = NewApiKey { consumer_id: Some(consumer.id), ..named("x") };
        let refusals = [
            get(&app, &mallory, key.id).await.err(),
            update(&app, &mallory, key.id, disabled).await.err(),
            delete(&app, &mallory, key.id).await.err(),
            create(&app, &mallory, on(&[gold])).await.err(),
            create(&app, &mallory, stranger).await.err(),
            update(&app, &mallory, own.id, to_plan).await.err(),
            update(&app, &mallory, own.id, to_consumer).await.err(),
            consumer::delete(&app, &mallory, consumer.id).await.err(),
        ];

        for (at, refused) in refusals.into_iter().enumerate() {
            assert!(matches!(refused, Some(Error::NotFound(_))), "{at}: {refused:?}");
        }
        assert_eq!(get(&app, &alice, key.id).await.unwrap(), key);
        assert_eq!(get(&app, &mallory, own.id).await.unwrap(), own);
        let theirs = list(&app, &mallory, None, &Page::default()).await.unwrap().items;
        assert_eq!(theirs, [own]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_viewer_changes_no_key(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
        let (key, _) = create(&app, &alice, named("a")).await.unwrap();

        let refusals = [
            create(&app, &viewer, named("b")).await.err(),
            update(&app, &viewer, key.id, ApiKeyChanges::default()).await.err(),
            delete(&app, &viewer, key.id).await.err(),
        ];

        for refused in refusals {
            assert!(matches!(refused, Some(Error::Forbidden(_))), "{refused:?}");
        }
        assert_eq!(get(&app, &viewer, key.id).await.unwrap(), key, "reading is open to all roles");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_expiry_lies_ahead(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let until = |time| NewApiKey { expires_at: Some(time), ..named("a") };
        let tomorrow = testing::noon() + TimeDelta::days(1);

        let (key, _) = create(&app, &alice, until(tomorrow)).await.unwrap();
        let refused = create(&app, &alice, until(testing::noon())).await.err().unwrap();
        app.clock.advance(TimeDelta::days(2));
        let renamed = ApiKeyChanges { name: Some("b".to_owned()), ..ApiKeyChanges::default() };
        let kept = update(&app, &alice, key.id, renamed).await.unwrap();
        let cleared = ApiKeyChanges { expires_at: Patch::Clear, ..ApiKeyChanges::default() };
        let cleared = update(&app, &alice, key.id, cleared).await.unwrap();

        assert_eq!(refused.param(), Some("expiresAt"));
        assert_eq!((kept.expires_at, cleared.expires_at), (Some(tomorrow), None));
    }

    /// What nodes are told of the key.
    async fn message(app: &App, actor: &Actor, id: ApiKeyId) -> proto::config::v1::ApiKey {
        let mut tx = app.begin(actor).await.unwrap();
        match compile::api_key(&mut tx, actor.tenant, id).await.unwrap().kind {
            Some(Kind::ApiKey(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_rotated_key_has_a_new_value_and_its_old_one_until_the_overlap_ends(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let (key, first) = create(&app, &alice, named("a")).await.unwrap();
        let before = message(&app, &alice, key.id).await;
        let end = testing::noon() + TimeDelta::days(7);

        let (rotated, second) = rotate(&app, &alice, key.id, Some(end)).await.unwrap();

        let told = message(&app, &alice, key.id).await;
        assert_ne!(first.expose_secret(), second.expose_secret());
        assert!(second.expose_secret().starts_with("tg_live_"));
        assert_eq!((rotated.id, rotated.hint.as_str()), (key.id, second.hint()));
        assert_eq!(rotated.previous_hint.as_deref(), Some(first.hint()));
        assert_eq!(rotated.overlap_ends_at, Some(end));
        assert_ne!(rotated.revision, key.revision);
        let previous = told.previous.unwrap();
        assert_eq!(previous.digest, before.digest);
        assert_eq!(i64::try_from(previous.until_ms).unwrap(), end.timestamp_millis());
        let mut tx = app.begin(&alice).await.unwrap();
        assert_eq!(told.digest, digest(&app, &mut tx, &alice, &second).await.unwrap());
        drop(tx);

        // A third value would take the first one away from who still uses it: only where all are to stop.
        let again = rotate(&app, &alice, key.id, Some(end)).await.err().unwrap();
        assert_eq!((again.code(), again.param()), ("conflict", Some("overlapEndsAt")));
        let (leaked, _) = rotate(&app, &alice, key.id, None).await.unwrap();
        assert_eq!((leaked.previous_hint, leaked.overlap_ends_at), (None, None));
        assert_eq!(message(&app, &alice, key.id).await.previous, None);
        let nothing = end_overlap(&app, &alice, key.id).await.unwrap_err();
        assert_eq!(nothing.code(), "conflict");

        rotate(&app, &alice, key.id, Some(end)).await.unwrap();
        let ended = end_overlap(&app, &alice, key.id).await.unwrap();
        assert_eq!((ended.previous_hint, ended.overlap_ends_at), (None, None));
        assert_eq!(message(&app, &alice, key.id).await.previous, None);

        // Once it is over by itself, the key may be rotated again.
        rotate(&app, &alice, key.id, Some(end)).await.unwrap();
        app.clock.advance(TimeDelta::days(8));
        rotate(&app, &alice, key.id, Some(end + TimeDelta::days(7))).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_overlap_lies_ahead_and_within_ninety_days(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let (key, _) = create(&app, &alice, named("a")).await.unwrap();
        let now = testing::noon();

        for end in [now, now + OVERLAP_MAX + TimeDelta::seconds(1)] {
            let refused = rotate(&app, &alice, key.id, Some(end)).await.err().unwrap();
            assert_eq!((refused.code(), refused.param()), ("bad_request", Some("overlapEndsAt")));
        }
        assert_eq!(get(&app, &alice, key.id).await.unwrap(), key);
        rotate(&app, &alice, key.id, Some(now + OVERLAP_MAX)).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_value_before_a_rotation_is_nobody_elses(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let again = || NewApiKey { value: Some("0123456789abcdefghij".into()), ..named("a") };
        let (key, _) = create(&app, &alice, again()).await.unwrap();
        let end = testing::noon() + TimeDelta::days(1);
        rotate(&app, &alice, key.id, Some(end)).await.unwrap();

        let refused = create(&app, &alice, again()).await.err().unwrap();
        create(&app, &mallory, again()).await.unwrap();
        // Its time is over by itself: it opens nothing, but until it is forgotten it is not another's either.
        app.clock.advance(TimeDelta::days(2));
        let kept = create(&app, &alice, again()).await.err().unwrap();
        let ended = end_overlap(&app, &alice, key.id).await.unwrap();
        create(&app, &alice, again()).await.unwrap();

        for refused in [refused, kept] {
            assert_eq!((refused.code(), refused.param()), ("conflict", Some("value")));
            let told = refused.to_string();
            assert!(told.contains(key.id.as_str()) && told.contains("end the overlap"), "{told}");
        }
        assert_eq!((ended.previous_hint, ended.overlap_ends_at), (None, None));
        assert_eq!(end_overlap(&app, &alice, key.id).await.unwrap_err().code(), "conflict");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn only_who_manages_keys_of_the_tenant_rotates_them(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
        let (key, _) = create(&app, &alice, named("a")).await.unwrap();
        let end = Some(testing::noon() + TimeDelta::days(1));
        let (key, _) = rotate(&app, &alice, key.id, end).await.unwrap();

        let by_viewer = [
            rotate(&app, &viewer, key.id, None).await.err(),
            end_overlap(&app, &viewer, key.id).await.err(),
        ];
        let by_mallory = [
            rotate(&app, &mallory, key.id, None).await.err(),
            end_overlap(&app, &mallory, key.id).await.err(),
        ];

        assert!(
            by_viewer.iter().all(|it| matches!(it, Some(Error::Forbidden(_)))),
            "{by_viewer:?}"
        );
        assert!(
            by_mallory.iter().all(|it| matches!(it, Some(Error::NotFound(_)))),
            "{by_mallory:?}"
        );
        assert_eq!(get(&app, &alice, key.id).await.unwrap(), key);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_restricted_key_is_disabled_to_nodes_that_do_not_know_restrictions(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let new = NewApiKey {
            client_networks: vec!["203.0.113.0/24".to_owned()],
            origins: vec!["https://*.Example.com".to_owned()],
            ..named("a")
        };

        let (key, _) = create(&app, &alice, new).await.unwrap();

        assert_eq!(key.origins, ["https://*.example.com"]);
        let told = message(&app, &alice, key.id).await;
        let restrictions = told.restrictions.unwrap();
        assert!(!told.enabled && restrictions.enabled);
        assert_eq!(restrictions.client_networks, ["203.0.113.0/24"]);
        assert_eq!(restrictions.origins, ["https://*.example.com"]);

        let disabled = ApiKeyChanges { enabled: Some(false), ..ApiKeyChanges::default() };
        update(&app, &alice, key.id, disabled).await.unwrap();
        let told = message(&app, &alice, key.id).await;
        assert!(!told.enabled && !told.restrictions.unwrap().enabled);

        let open = ApiKeyChanges {
            enabled: Some(true),
            client_networks: Some(Vec::new()),
            origins: Some(Vec::new()),
            ..ApiKeyChanges::default()
        };
        update(&app, &alice, key.id, open).await.unwrap();
        let told = message(&app, &alice, key.id).await;
        assert_eq!((told.enabled, told.restrictions), (true, None));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn each_change_tells_the_nodes_and_the_audit_log(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let gold = plan(&app, &alice, "gold", StagesWanted::new()).await;

        let (key, _) = create(&app, &alice, on(&[gold])).await.unwrap();
        let disabled = ApiKeyChanges { enabled: Some(false), ..ApiKeyChanges::default() };
        update(&app, &alice, key.id, disabled).await.unwrap();
        delete(&app, &alice, key.id).await.unwrap();

        let told = testing::published(&app).await;
        let seen: Vec<_> = told[1..]
            .iter()
            .map(|delta| match delta.upserts.as_slice() {
                [resource] => match resource.kind.as_ref().unwrap() {
                    Kind::ApiKey(message) => {
                        assert_eq!(message.usage_plan_ids, [gold.to_string()]);
                        Some(message.enabled)
                    }
                    other => panic!("{other:?}"),
                },
                _ => None,
            })
            .collect();
        assert_eq!(seen, [Some(true), Some(false), None]);
        let removed = told[3].removals[0].kind.clone().unwrap();
        assert_eq!(removed, resource_name::Kind::ApiKeyId(key.id.to_string()));
        let audited: Vec<(String, Option<bool>, Option<bool>)> = sqlx::query_as(
            "select action, (before->>'enabled')::boolean, (after->>'enabled')::boolean
             from audit_entry where noun_id = $1 order by id",
        )
        .bind(key.id.as_str())
        .fetch_all(&db)
        .await
        .unwrap();
        let expected = [
            ("api_key.create".to_owned(), None, Some(true)),
            ("api_key.update".to_owned(), Some(true), Some(false)),
            ("api_key.delete".to_owned(), Some(false), None),
        ];
        assert_eq!(audited, expected);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_key_is_on_at_most_ten_plans_and_has_a_name(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;

        let many = NewApiKey {
            usage_plan_ids: (0..=PLANS_MAX).map(|_| UsagePlanId::fresh(Rng)).collect(),
            ..named("a")
        };
        let many = create(&app, &alice, many).await.err().unwrap();
        let blank = create(&app, &alice, named(" ")).await.err().unwrap();

        assert_eq!((many.code(), many.param()), ("limit_exceeded", Some("usagePlanIds")));
        assert_eq!((blank.code(), blank.param()), ("bad_request", Some("name")));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn keys_page_by_plan_in_both_directions(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let gold = plan(&app, &alice, "gold", StagesWanted::new()).await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(create(&app, &alice, on(&[gold])).await.unwrap().0.id);
        }
        create(&app, &alice, named("elsewhere")).await.unwrap();

        let mut forward = Vec::new();
        let mut after = None;
        loop {
            let page = Page::first(2, after, None).unwrap();
            let paged = list(&app, &alice, Some(gold), &page).await.unwrap();
            forward.extend(paged.items.iter().map(|key| key.id));
            after = paged.items.last().map(Keyed::key);
            if !paged.has_next {
                break;
            }
        }
        let last = Page::last(2, None, None).unwrap();
        let last = list(&app, &alice, Some(gold), &last).await.unwrap();

        assert_eq!(forward, ids);
        assert_eq!(last.items.iter().map(|key| key.id).collect::<Vec<_>>(), ids[3..]);
        assert!(last.has_previous && !last.has_next);
    }
}
