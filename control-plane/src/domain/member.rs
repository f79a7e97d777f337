//! A member: a user in a tenant, with a role. Members begin by an invitation (`domain::invitation`) or by signing up.
//!
//! Only owners manage owners, and a tenant always has one.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::{Action, Role};
use crate::app::{App, Tx};
use crate::domain::audit;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::user::User;
use crate::error::{Error, Result};
use crate::ids::UserId;
use crate::store;

/// With those who were invited and have not answered.
pub const MEMBERS_MAX: u32 = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user: User,
    pub role: Role,
    pub created_at: DateTime<Utc>,
    /// Of [`Versioned`].
    pub revision: i64,
}

impl Versioned for Member {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for Member {
    const LIST: &'static str = "members";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.user.id)
    }
}

/// The audit log's view of one.
#[derive(Serialize)]
pub(crate) struct Recorded<'a> {
    pub email: &'a str,
    pub role: Role,
}

impl Member {
    fn recorded(&self) -> Recorded<'_> {
        Recorded { email: &self.user.email, role: self.role }
    }
}

/// Longest member first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<Member>> {
    let mut tx = app.begin(actor).await?;
    page.cut(store::member::list(&mut tx, actor.tenant, page).await?)
}

pub async fn get(app: &App, actor: &Actor, user: UserId) -> Result<Member> {
    find(app, actor, &[user]).await?.pop().ok_or(Error::NotFound("member"))
}

/// Those of `ids` that are members of the tenant, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[UserId]) -> Result<Vec<Member>> {
    let mut tx = app.begin(actor).await?;
    store::member::find(&mut tx, actor.tenant, ids).await
}

/// Gives the member another role, from their next call on.
pub async fn update(app: &App, actor: &Actor, user: UserId, role: Role) -> Result<Member> {
    actor.may(Action::ManageMembers)?;

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, user).await?;
    actor.expects(&before)?;
    if before.role == Role::Owner || role == Role::Owner {
        actor.may(Action::ManageOwners)?;
    }
    if role != Role::Owner {
        not_the_last_owner(&mut tx, actor, &before).await?;
    }
    store::member::set_role(&mut tx, actor.tenant, user, role).await?;
    let found = store::member::find(&mut tx, actor.tenant, &[user]).await?.pop();
    let member = found.ok_or(Error::NotFound("member"))?;
    let (noun_id, action) = (user.to_string(), "member.update");
    let (before, after) = (before.recorded(), member.recorded());
    audit::record(app, &mut tx, actor, action, &noun_id, Some(&before), Some(&after)).await?;
    tx.commit().await?;
    Ok(member)
}

/// Removes a member, or leaves where that is the caller. Their sessions and access keys in this tenant end.
pub async fn delete(app: &App, actor: &Actor, user: UserId) -> Result<()> {
    let leaves = user == actor.user;
    if !leaves {
        actor.may(Action::ManageMembers)?;
    }

    let mut tx = app.begin(actor).await?;
    let before = locked(&mut tx, actor, user).await?;
    actor.expects(&before)?;
    if before.role == Role::Owner && !leaves {
        actor.may(Action::ManageOwners)?;
    }
    not_the_last_owner(&mut tx, actor, &before).await?;
    for key in store::access_key::delete_of(&mut tx, actor.tenant, user).await? {
        let (noun_id, action) = (key.id.as_str(), "access_key.delete");
        audit::record(app, &mut tx, actor, action, noun_id, Some(&key), None).await?;
    }
    store::member::delete(&mut tx, actor.tenant, user).await?;
    let now = app.clock.now();
    let ended = store::session::revoke_in(&mut tx, actor.tenant, user, now).await?;
    let noun_id = user.to_string();
    let before = before.recorded();
    audit::record(app, &mut tx, actor, "member.delete", &noun_id, Some(&before), None).await?;
    tx.commit().await?;
    for session in ended {
        app.revoke_here(session);
    }
    Ok(())
}

/// The member; the tenant is locked until the transaction ends, so that two owners do not both stop being the last
/// but one.
async fn locked(tx: &mut Tx, actor: &Actor, user: UserId) -> Result<Member> {
    store::tenant::lock(tx, actor.tenant).await?;
    let found = store::member::find(tx, actor.tenant, &[user]).await?.pop();
    found.ok_or(Error::NotFound("member"))
}

async fn not_the_last_owner(tx: &mut Tx, actor: &Actor, member: &Member) -> Result<()> {
    if member.role == Role::Owner && store::member::owners(tx, actor.tenant).await? < 2 {
        let last = "this is the tenant's last owner; make another member an owner first";
        return Err(Error::conflict("", last));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Origin;
    use crate::domain::access_key;
    use crate::domain::session::authenticate;
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn only_owners_manage_owners(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let admin = testing::join(&app, alice.tenant, Role::Admin).await;
        let dave = testing::join(&app, alice.tenant, Role::Developer).await;

        let answers = [
            update(&app, &admin, dave.user, Role::Owner).await.map(drop),
            update(&app, &admin, alice.user, Role::Viewer).await.map(drop),
            update(&app, &admin, admin.user, Role::Owner).await.map(drop),
            delete(&app, &admin, alice.user).await,
        ];
        for answer in answers {
            assert!(matches!(answer, Err(Error::Forbidden(_))), "{answer:?}");
        }
        assert_eq!(update(&app, &admin, dave.user, Role::Admin).await.unwrap().role, Role::Admin);
        assert_eq!(update(&app, &alice, dave.user, Role::Owner).await.unwrap().role, Role::Owner);
        delete(&app, &alice, dave.user).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn the_last_owner_neither_leaves_nor_becomes_less(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let bob = testing::join(&app, alice.tenant, Role::Owner).await;

        let (one, two) =
            tokio::join!(delete(&app, &alice, alice.user), delete(&app, &bob, bob.user));
        assert!(one.is_ok() != two.is_ok(), "of two who leave at once one stays");
        let last = if one.is_ok() { bob } else { alice };
        let refused = [
            delete(&app, &last, last.user).await,
            update(&app, &last, last.user, Role::Admin).await.map(drop),
        ];

        for answer in refused {
            assert_eq!(answer.unwrap_err().code(), "conflict");
        }
        assert!(update(&app, &last, last.user, Role::Owner).await.is_ok());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_is_removed_is_logged_out_and_their_keys_are_gone(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let dave = testing::join(&app, alice.tenant, Role::Developer).await;
        let grant = testing::log_in(&app, &dave).await;
        access_key::create(&app, &dave, "ci").await.unwrap();

        let stranger = delete(&app, &mallory, dave.user).await;
        assert!(matches!(stranger, Err(Error::NotFound("member"))), "{stranger:?}");
        assert!(authenticate(&app, &grant.access_token, Origin::default()).await.is_ok());
        delete(&app, &alice, dave.user).await.unwrap();

        let ended = authenticate(&app, &grant.access_token, Origin::default()).await;
        assert!(matches!(ended, Err(Error::Unauthenticated("the session was ended"))));
        assert!(access_key::list(&app, &alice, &Page::default()).await.unwrap().items.is_empty());
        let told = testing::audited(&app, &alice).await;
        let actions: Vec<&str> = told.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["member.delete", "access_key.delete", "access_key.create"]);
        assert_eq!(told[0].before.as_ref().unwrap()["role"], "developer");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn whoever_is_no_owner_may_leave(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        for role in [Role::Admin, Role::Developer, Role::Billing, Role::Viewer] {
            let member = testing::join(&app, alice.tenant, role).await;
            delete(&app, &member, member.user).await.unwrap();
        }
        let left = list(&app, &alice, &Page::default()).await.unwrap().items;
        assert_eq!(left.len(), 1);
    }
}
