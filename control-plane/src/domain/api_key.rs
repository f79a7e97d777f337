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
mod tests;
