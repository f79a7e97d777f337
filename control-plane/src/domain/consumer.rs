//! A consumer: whoever calls a tenant's Apis, the owner of one or more keys.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::App;
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::ConsumerId;
use crate::store;

/// How many consumers a tenant has at most, unless its own limits say otherwise.
pub const CONSUMERS_MAX: u32 = 10_000;

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

impl Versioned for Consumer {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }
}

impl Keyed for Consumer {
    const LIST: &'static str = "consumers";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// A consumer to be made; names are unique in the tenant.
#[derive(Clone, Debug, Default)]
pub struct NewConsumer {
    pub name: String,
    pub external_id: String,
}

pub async fn create(app: &App, actor: &Actor, new: NewConsumer) -> Result<Consumer> {
    actor.may(Action::ManageApiKeys)?;
    let new = NewConsumer {
        name: text::name("name", &new.name)?,
        external_id: text::line("externalId", &new.external_id, EXTERNAL_ID_CHARS_MAX)?,
    };

    let mut tx = app.begin(actor).await?;
    let limit = limit::of(&mut tx, actor.tenant, LimitName::Consumers).await?;
    if store::consumer::count(&mut tx, actor.tenant).await? >= limit {
        return Err(LimitName::Consumers.exceeded(limit));
    }
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

/// The tenant's consumers, oldest first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<Consumer>> {
    let mut tx = app.begin(actor).await?;
    page.cut(store::consumer::list(&mut tx, actor.tenant, page).await?)
}

/// Refused while a key names the consumer, since its usage would lose its owner.
pub async fn delete(app: &App, actor: &Actor, id: ConsumerId) -> Result<()> {
    actor.may(Action::ManageApiKeys)?;

    let mut tx = app.begin(actor).await?;
    let before = store::consumer::delete(&mut tx, actor.tenant, id).await?;
    actor.expects(&before)?;
    let noun_id = id.to_string();
    audit::record(app, &mut tx, actor, "consumer.delete", &noun_id, Some(&before), None).await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::role::Role;
    use crate::domain::api_key::{self, NewApiKey};
    use crate::domain::usage_plan::{self, NewUsagePlan};
    use crate::testing;

    fn acme() -> NewConsumer {
        NewConsumer { name: "acme".to_owned(), external_id: "crm-7".to_owned() }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_consumers_name_is_its_tenants_own(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);

        let consumer = create(&app, &alice, acme()).await.unwrap();
        let again = create(&app, &alice, acme()).await.unwrap_err();
        create(&app, &mallory, acme()).await.unwrap();

        assert_eq!((again.code(), again.param()), ("conflict", Some("name")));
        assert_eq!(get(&app, &alice, consumer.id).await.unwrap(), consumer);
        assert!(matches!(get(&app, &mallory, consumer.id).await, Err(Error::NotFound(_))));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_consumer_with_keys_is_not_deleted(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let consumer = create(&app, &alice, acme()).await.unwrap();
        let new = NewApiKey {
            name: "key".to_owned(),
            consumer_id: Some(consumer.id),
            ..NewApiKey::default()
        };
        let (key, _) = api_key::create(&app, &alice, new).await.unwrap();

        let refused = delete(&app, &alice, consumer.id).await.unwrap_err();
        api_key::delete(&app, &alice, key.id).await.unwrap();
        delete(&app, &alice, consumer.id).await.unwrap();

        assert_eq!(refused.code(), "conflict");
        assert!(list(&app, &alice, &Page::default()).await.unwrap().items.is_empty());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_tenant_has_as_many_consumers_keys_and_plans_as_its_limits_say(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        sqlx::query("update tenant set limits = '{\"consumers\": 1, \"apiKeys\": 1, \"usagePlans\": 1}' where id = $1")
            .bind(alice.tenant.0)
            .execute(&db)
            .await
            .unwrap();
        let consumer = |name: &str| NewConsumer { name: name.to_owned(), ..acme() };
        let key = || NewApiKey { name: "key".to_owned(), ..NewApiKey::default() };
        let plan = |name: &str| NewUsagePlan { name: name.to_owned(), ..NewUsagePlan::default() };

        for (who, second) in [(&alice, Some("limit_exceeded")), (&mallory, None)] {
            create(&app, who, consumer("a")).await.unwrap();
            api_key::create(&app, who, key()).await.unwrap();
            usage_plan::create(&app, who, plan("a")).await.unwrap();
            let refused = [
                create(&app, who, consumer("b")).await.err(),
                api_key::create(&app, who, key()).await.err(),
                usage_plan::create(&app, who, plan("b")).await.err(),
            ];
            assert_eq!(refused.map(|error| error.map(|error| error.code())), [second; 3]);
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_viewer_changes_no_consumer(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
        let consumer = create(&app, &alice, acme()).await.unwrap();

        let created = create(&app, &viewer, NewConsumer { name: "b".to_owned(), ..acme() }).await;
        let deleted = delete(&app, &viewer, consumer.id).await;

        assert!(matches!(created, Err(Error::Forbidden(_))), "{created:?}");
        assert!(matches!(deleted, Err(Error::Forbidden(_))), "{deleted:?}");
        assert_eq!(list(&app, &viewer, &Page::default()).await.unwrap().items, [consumer]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_consumer_without_a_name_or_with_an_endless_id_is_refused(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let blank = NewConsumer { name: " ".to_owned(), ..acme() };
        let endless = NewConsumer { external_id: "x".repeat(EXTERNAL_ID_CHARS_MAX + 1), ..acme() };

        for (new, param) in [(blank, "name"), (endless, "externalId")] {
            assert_eq!(create(&app, &alice, new).await.unwrap_err().param(), Some(param));
        }
    }
}
