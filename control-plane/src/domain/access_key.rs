//! An access key: what a program is to sign management calls with, by AWS Signature Version 4, as the member who made
//! it. Nothing verifies a signature yet, so a key opens nothing and is pinned to no version of the API; it is to be, as
//! a session is, once it does. Verifying takes the secret itself, so that is kept, wrapped by the tenant's data key; it
//! is shown once, when the key is made.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::{Action, Role};
use crate::app::{App, Tx};
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::{AccessKeyId, TenantId, UserId};
use crate::store;

/// How many access keys a tenant has at most, unless its own limits say otherwise.
pub const KEYS_MAX: u32 = 1_000;

/// As long as AWS's secrets; 240 random bits.
const SECRET_CHARS: usize = 40;
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessKey {
    #[serde(skip)]
    pub id: AccessKeyId,
    /// As whom it acts.
    #[serde(rename = "userId")]
    pub user: UserId,
    /// None where that user is no longer a member.
    #[serde(skip)]
    pub user_email: Option<String>,
    pub name: String,
    /// A disabled key is refused like an unknown one.
    pub enabled: bool,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub last_used_at: Option<DateTime<Utc>>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

impl Versioned for AccessKey {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for AccessKey {
    const LIST: &'static str = "accessKeys";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct AccessKeyChanges {
    pub name: Option<String>,
    pub enabled: Option<bool>,
}

/// Makes a key of the caller's own, and gives its secret: this once.
pub async fn create(app: &App, actor: &Actor, name: &str) -> Result<(AccessKey, SecretString)> {
    actor.may(Action::ManageAccessKeys)?;
    let name = text::name("name", name)?;
    let id: AccessKeyId = app.rng.id();
    let secret = SecretString::from(app.rng.text(SECRET_ALPHABET, SECRET_CHARS));

    let mut tx = app.begin(actor).await?;
    let tenant = actor.tenant;
    let limit = limit::of(&mut tx, tenant, LimitName::AccessKeys).await?;
    if store::access_key::count(&mut tx, tenant).await? >= limit {
        return Err(LimitName::AccessKeys.exceeded(limit));
    }
    let data_key = app.data_key(&mut tx, tenant).await?;
    let wrapped = data_key.wrap(&secret_context(tenant, &id), secret.expose_secret().as_bytes());
    store::access_key::insert(&mut tx, tenant, actor.user, &id, &name, &wrapped).await?;
    let key = visible(&mut tx, actor, &id).await?;
    audit::record(app, &mut tx, actor, "access_key.create", id.as_str(), None, Some(&key)).await?;
    tx.commit().await?;
    Ok((key, secret))
}

pub async fn get(app: &App, actor: &Actor, id: AccessKeyId) -> Result<AccessKey> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("access key"))
}

/// Those of `ids` that the caller may see, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[AccessKeyId]) -> Result<Vec<AccessKey>> {
    let mut tx = app.begin(actor).await?;
    store::access_key::find(&mut tx, actor.tenant, whose(actor), ids).await
}

/// The caller's own keys, and everyone's in the tenant for who manages members; oldest first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<AccessKey>> {
    let mut tx = app.begin(actor).await?;
    page.cut(store::access_key::list(&mut tx, actor.tenant, whose(actor), page).await?)
}

pub async fn update(
    app: &App,
    actor: &Actor,
    id: AccessKeyId,
    changes: AccessKeyChanges,
) -> Result<AccessKey> {
    actor.may(Action::ManageAccessKeys)?;

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, &id).await?;
    actor.expects(&before)?;
    let mut key = before.clone();
    if let Some(name) = changes.name {
        key.name = text::name("name", &name)?;
    }
    if let Some(enabled) = changes.enabled {
        key.enabled = enabled;
    }
    store::access_key::update(&mut tx, actor.tenant, &key).await?;
    let key = visible(&mut tx, actor, &id).await?;
    let (noun_id, action) = (id.as_str(), "access_key.update");
    audit::record(app, &mut tx, actor, action, noun_id, Some(&before), Some(&key)).await?;
    tx.commit().await?;
    Ok(key)
}

/// From then on the key is unknown.
pub async fn delete(app: &App, actor: &Actor, id: AccessKeyId) -> Result<()> {
    actor.may(Action::ManageAccessKeys)?;

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, &id).await?;
    actor.expects(&before)?;
    store::access_key::delete(&mut tx, actor.tenant, &id).await?;
    let (noun_id, action) = (id.as_str(), "access_key.delete");
    audit::record(app, &mut tx, actor, action, noun_id, Some(&before), None).await?;
    tx.commit().await?;
    Ok(())
}

/// Whose keys the caller sees: their own, or anyone's.
fn whose(actor: &Actor) -> Option<UserId> {
    (!actor.role.may(Action::ManageMembers)).then_some(actor.user)
}

async fn visible(tx: &mut Tx, actor: &Actor, id: &AccessKeyId) -> Result<AccessKey> {
    let ids = std::slice::from_ref(id);
    let found = store::access_key::find(tx, actor.tenant, whose(actor), ids).await?.pop();
    found.ok_or(Error::NotFound("access key"))
}

/// The key, locked against every other change of it until the transaction ends. An owner's is an owner's to touch.
async fn locked(tx: &mut Tx, actor: &Actor, id: &AccessKeyId) -> Result<AccessKey> {
    store::access_key::lock(tx, actor.tenant, id).await?;
    let key = visible(tx, actor, id).await?;
    if store::member::role(tx, actor.tenant, key.user).await? == Some(Role::Owner) {
        actor.may(Action::ManageOwners)?;
    }
    Ok(key)
}

/// What a secret's wrapping is bound to.
fn secret_context(tenant: TenantId, id: &AccessKeyId) -> String {
    format!("tenant:{tenant}:access_key:{id}")
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::testing;

    fn disabled() -> AccessKeyChanges {
        AccessKeyChanges { enabled: Some(false), ..AccessKeyChanges::default() }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_secret_is_shown_once_and_kept_under_the_tenants_data_key(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;

        let (key, secret) = create(&app, &alice, "terraform").await.unwrap();

        let secret = secret.expose_secret();
        assert_eq!(secret.len(), SECRET_CHARS);
        let stored: Vec<u8> = sqlx::query_scalar("select secret from access_key where id = $1")
            .bind(key.id.as_str())
            .fetch_one(&db)
            .await
            .unwrap();
        let mut tx = app.begin(&alice).await.unwrap();
        let data_key = app.data_key(&mut tx, alice.tenant).await.unwrap();
        let context = secret_context(alice.tenant, &key.id);
        let opened = data_key.unwrap(&context, &stored).unwrap();
        assert_eq!(opened.as_slice(), secret.as_bytes());
        assert!(data_key.unwrap(&secret_context(alice.tenant, &app.rng.id()), &stored).is_err());
        assert!(app.master.unwrap(&context, &stored).is_err());
        let told = testing::audited(&app, &alice).await;
        assert_eq!(told[0].action, "access_key.create");
        assert_eq!(told[0].noun_id, key.id.as_str());
        assert!(!format!("{told:?}").contains(secret));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_key_is_its_owners_and_of_who_manages_members(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let dave = testing::join(&app, alice.tenant, Role::Developer).await;
        let erin = testing::join(&app, alice.tenant, Role::Developer).await;

        let (key, _) = create(&app, &dave, "ci").await.unwrap();

        for stranger in [&mallory, &erin] {
            let id = || key.id.clone();
            let answers = [
                get(&app, stranger, id()).await.err(),
                update(&app, stranger, id(), disabled()).await.err(),
                delete(&app, stranger, id()).await.err(),
            ];
            for answer in answers {
                assert!(matches!(answer, Some(Error::NotFound("access key"))), "{answer:?}");
            }
            assert!(list(&app, stranger, &Page::default()).await.unwrap().items.is_empty());
        }
        for knows in [&dave, &alice] {
            let seen = list(&app, knows, &Page::default()).await.unwrap().items;
            assert_eq!(seen, [get(&app, knows, key.id.clone()).await.unwrap()]);
            assert_eq!(seen[0].user, dave.user);
        }
        assert!(!update(&app, &alice, key.id.clone(), disabled()).await.unwrap().enabled);
        delete(&app, &dave, key.id.clone()).await.unwrap();
        assert!(matches!(get(&app, &dave, key.id).await, Err(Error::NotFound(_))));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn each_role_may_or_may_not_have_access_keys(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        for (role, may) in [
            (Role::Owner, true),
            (Role::Admin, true),
            (Role::Developer, true),
            (Role::Billing, false),
            (Role::Viewer, false),
        ] {
            let member = testing::join(&app, alice.tenant, role).await;
            let made = create(&app, &member, "key").await.map(|(key, _)| key);
            let id = made.as_ref().map_or_else(|_| app.rng.id(), |key| key.id.clone());
            let changed = update(&app, &member, id.clone(), disabled()).await.map(drop);
            let deleted = delete(&app, &member, id).await;
            for answer in [made.map(drop), changed, deleted] {
                match answer {
                    Ok(()) => assert!(may, "{role:?}"),
                    Err(Error::Forbidden(_)) => assert!(!may, "{role:?}"),
                    Err(other) => panic!("{role:?}: {other}"),
                }
            }
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_owners_keys_are_an_owners_to_touch(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let admin = testing::join(&app, alice.tenant, Role::Admin).await;
        let second = testing::join(&app, alice.tenant, Role::Owner).await;
        let (key, _) = create(&app, &alice, "root").await.unwrap();

        let id = || key.id.clone();
        let answers = [
            update(&app, &admin, id(), disabled()).await.map(drop),
            delete(&app, &admin, id()).await,
        ];

        for answer in answers {
            assert!(matches!(answer, Err(Error::Forbidden(_))), "{answer:?}");
        }
        assert!(get(&app, &admin, id()).await.unwrap().enabled, "an admin sees that it is there");
        delete(&app, &second, id()).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_change_is_recorded_with_before_and_after(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let (key, _) = create(&app, &alice, "ci").await.unwrap();

        let blank = AccessKeyChanges { name: Some(" ".to_owned()), ..disabled() };
        let refused = update(&app, &alice, key.id.clone(), blank).await.unwrap_err();
        update(&app, &alice, key.id.clone(), disabled()).await.unwrap();

        assert_eq!(refused.param(), Some("name"));
        let told = testing::audited(&app, &alice).await;
        let enabled = |side: &Option<serde_json::Value>| side.as_ref().unwrap()["enabled"].clone();
        assert_eq!(told.len(), 2, "what was refused is no change");
        let (before, after) = (enabled(&told[0].before), enabled(&told[0].after));
        assert_eq!((before, after), (true.into(), false.into()));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_tenant_has_as_many_access_keys_as_its_limits_say(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        sqlx::query("update tenant set limits = '{\"accessKeys\": 1}' where id = $1")
            .bind(alice.tenant.0)
            .execute(&db)
            .await
            .unwrap();

        create(&app, &alice, "first").await.unwrap();
        let refused = create(&app, &alice, "second").await.map(|(key, _)| key).unwrap_err();

        assert_eq!(refused.code(), "limit_exceeded");
    }
}
