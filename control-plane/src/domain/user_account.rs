//! A user's own account, and its end.

use crate::access::actor::{Actor, Caller};
use crate::access::password::Password;
use crate::access::precondition::Precondition;
use crate::access::role::Role;
use crate::app::{App, Job, Tx};
use crate::domain::{audit, member, password};
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::store;

/// Ends the caller's account, which takes their password: memberships, sessions, access keys and all. The last owner
/// of a tenant stays.
pub async fn delete(app: &App, caller: &Caller, given: &Password) -> Result<()> {
    caller.member()?;
    let account = password::confirm(app, caller, "password", given).await?;
    let user = account.user;

    let mut tx = app.system(Job::Sessions).await?;
    if !store::user::keep_password(&mut tx, user.id, &account.password_hash).await? {
        return Err(Error::conflict("password", "the password was changed meanwhile"));
    }
    for (tenant, _) in store::member::of_user(&mut tx, user.id).await? {
        let (precondition, origin) = (Precondition::default(), caller.origin().clone());
        let session = caller.session();
        store::tenant::lock(&mut tx, tenant).await?;
        // As what they are in it now that nobody changes that.
        let members = store::member::find(&mut tx, tenant, &[user.id]).await?;
        let Some(role) = members.first().map(|member| member.role) else { continue };
        let actor = Actor { tenant, user: user.id, session, role, precondition, origin };
        leave(app, &mut tx, &actor, tenant, &user.email).await?;
    }
    let ended = store::session::delete_of(&mut tx, user.id).await?;
    store::user::delete(&mut tx, user.id).await?;
    tx.commit().await?;
    for session in ended {
        app.revoke_here(session);
    }
    Ok(())
}

/// Takes the actor out of the tenant, which is locked.
async fn leave(app: &App, tx: &mut Tx, actor: &Actor, tenant: TenantId, email: &str) -> Result<()> {
    if actor.role == Role::Owner && store::member::owners(tx, tenant).await? < 2 {
        let name = store::tenant::get(tx, tenant).await?.name;
        let last = format!("you are the last owner of {name}; make another member an owner first");
        return Err(Error::conflict("", last));
    }
    for key in store::access_key::delete_of(tx, tenant, actor.user).await? {
        let (noun_id, action) = (key.id.as_str(), "access_key.delete");
        audit::record(app, tx, actor, action, noun_id, Some(&key), None).await?;
    }
    store::member::delete(tx, tenant, actor.user).await?;
    let before = member::Recorded { email, role: actor.role };
    let noun_id = actor.user.to_string();
    audit::record(app, tx, actor, "member.delete", &noun_id, Some(&before), None).await
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Origin;
    use crate::domain::{access_key, deployment, session};
    use crate::testing::{self, PASSWORD};

    async fn caller(app: &App, email: &str) -> Caller {
        let token = testing::user(app, email).await.access_token;
        session::authenticate(app, &token, Origin::default()).await.unwrap()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_account_ends_with_all_that_is_its_own_and_what_it_made_stays(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let ada = caller(&app, "ada@example.com").await;
        let actor = ada.member().unwrap();
        let api = testing::new_api(&app, actor, crate::domain::api::Dialect::Native).await;
        testing::new_route(&app, actor, api, "GET /", testing::mock("hello")).await;
        let deployed = testing::deploy(&app, actor, api, "prod").await.unwrap();
        access_key::create(&app, actor, "laptop").await.unwrap();
        let right = Password::new(PASSWORD);

        let alone = delete(&app, &ada, &right).await.unwrap_err();
        assert!(matches!(alone, Error::Conflict { .. }), "the tenant's last owner: {alone:?}");
        let bob = testing::join(&app, actor.tenant, Role::Owner).await;
        let wrong = delete(&app, &ada, &Password::new("wrong")).await.unwrap_err();
        assert_eq!(wrong.param(), Some("password"));
        delete(&app, &ada, &right).await.unwrap();

        let token = testing::token(&app, actor);
        let ended = session::authenticate(&app, &token, Origin::default()).await;
        assert!(matches!(ended, Err(Error::Unauthenticated(_))), "{ended:?}");
        let left: Vec<String> =
            sqlx::query_scalar("select email from user_account").fetch_all(&db).await.unwrap();
        assert_eq!(left, [format!("{}@example.com", bob.user)]);
        let keys: i64 =
            sqlx::query_scalar("select count(*) from access_key").fetch_one(&db).await.unwrap();
        assert_eq!(keys, 0);
        deployment::get(&app, &bob, deployed.id).await.unwrap();
        let told = testing::audited(&app, &bob).await;
        let actions: Vec<&str> = told.iter().map(|entry| entry.action.as_str()).take(2).collect();
        assert_eq!(actions, ["member.delete", "access_key.delete"]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_becomes_the_last_owner_meanwhile_stays(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let ada = caller(&app, "ada@example.com").await;
        let (tenant, bob) = (ada.tenant().unwrap(), caller(&app, "bob@example.com").await);
        sqlx::query("insert into member (tenant_id, user_id, role) values ($1, $2, 'viewer')")
            .bind(tenant.0)
            .bind(bob.user().0)
            .execute(&db)
            .await
            .unwrap();
        sqlx::query("delete from member where tenant_id = $1 and user_id = $2")
            .bind(bob.tenant().unwrap().0)
            .bind(bob.user().0)
            .execute(&db)
            .await
            .unwrap();
        let mut meanwhile = db.begin().await.unwrap();
        for sql in [
            "select id from tenant where id = $1 for no key update",
            "update member set role = case role when 'viewer' then 'owner' else 'viewer' end where tenant_id = $1",
        ] {
            sqlx::query(sql).bind(tenant.0).execute(&mut *meanwhile).await.unwrap();
        }
        let (app_too, bob_too) = (app.clone(), bob.clone());
        let ended =
            tokio::spawn(async move { delete(&app_too, &bob_too, &Password::new(PASSWORD)).await });
        testing::somebody_waits(&db).await;
        meanwhile.commit().await.unwrap();

        let refused = ended.await.unwrap().unwrap_err();
        assert_eq!(refused.code(), "conflict", "{refused:?}");
    }
}
