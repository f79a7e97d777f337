//! A consumer: whoever calls a tenant's Apis, the owner of one or more keys.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::role::Action;
use crate::app::App;
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::ConsumerId;
use crate::store;

/// The longest id that another system may have given a consumer, in characters.
pub const EXTERNAL_ID_CHARS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    #[serde(skip)]
    pub id: ConsumerId,
    pub name: String,
    /// What the tenant's own systems call it; may be empty.
    pub external_id: String,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
}

/// A consumer to be made; names are unique in the tenant.
#[derive(Clone, Debug)]
pub struct NewConsumer {
    pub name: String,
    pub external_id: String,
}

impl NewConsumer {
    pub fn new(name: &str, external_id: &str) -> Result<Self> {
        Ok(Self {
            name: text::name("name", name)?,
            external_id: text::line("externalId", external_id, EXTERNAL_ID_CHARS_MAX)?,
        })
    }
}

pub async fn create(app: &App, actor: &Actor, new: NewConsumer) -> Result<Consumer> {
    actor.may(Action::ManageApiKeys)?;

    let mut tx = app.begin(actor).await?;
    let consumer = store::consumer::insert(&mut tx, actor.tenant, app.rng.id(), &new).await?;
    let id = consumer.id.to_string();
    audit::record(app, &mut tx, actor, "consumer.create", &id, None, Some(&consumer)).await?;
    tx.commit().await?;
    Ok(consumer)
}

pub async fn get(app: &App, actor: &Actor, id: ConsumerId) -> Result<Consumer> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("consumer"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[ConsumerId]) -> Result<Vec<Consumer>> {
    let mut tx = app.begin(actor).await?;
    store::consumer::find(&mut tx, actor.tenant, ids).await
}

/// Refused while a key names the consumer, since its usage would lose its owner.
pub async fn delete(app: &App, actor: &Actor, id: ConsumerId) -> Result<()> {
    actor.may(Action::ManageApiKeys)?;

    let mut tx = app.begin(actor).await?;
    let before = store::consumer::delete(&mut tx, actor.tenant, id).await?;
    let noun_id = id.to_string();
    audit::record(app, &mut tx, actor, "consumer.delete", &noun_id, Some(&before), None).await?;
    tx.commit().await?;
    Ok(())
}
