use sqlx::PgPool;

use super::*;
use crate::access::role::Action;
use crate::domain::tenant::{self, SignUp, SignedUp};
use crate::testing;

const RIGHT: &str = "violet otter juggles";
const OTHER: &str = "quiet heron marches";

fn from(address: &str) -> Origin {
    Origin { address: address.to_owned(), ..Origin::default() }
}

async fn ada(app: &App) -> SignedUp {
    let new = SignUp {
        email: "ada@example.com".to_owned(),
        password: Password::new(RIGHT),
        tenant: "Engines".to_owned(),
    };
    tenant::sign_up(app, &from("192.0.2.1"), new).await.unwrap()
}

async fn enter(app: &App, address: &str, email: &str, password: &str) -> Result<Grant> {
    let password = Password::new(password);
    log_in(app, &from(address), LogIn { email: email.to_owned(), password, tenant: None }).await
}

fn cookie(app: &App, grant: &Grant) -> String {
    grant.refresh.as_ref().unwrap().token.to_cookie(&app.master)
}

async fn refreshed(app: &App, cookie: &str) -> Result<Grant> {
    refresh(app, &Origin::default(), cookie, None).await
}

/// So many failed tries as if they had been made, without the work of hashing.
async fn failed(app: &App, address: &str, email: &str, times: usize) {
    let email = Email::new(email).unwrap();
    for _ in 0..times {
        let mut tx = app.system(Job::LogIn).await.unwrap();
        login_failure::count(app, &mut tx, &email, None, &from(address)).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn whatever_is_wrong_with_a_log_in_has_one_answer(db: PgPool) {
    let app = testing::app(db).await;
    ada(&app).await;
    let elsewhere = |tenant: &str| LogIn {
        email: "ada@example.com".to_owned(),
        password: Password::new(RIGHT),
        tenant: Some(tenant.to_owned()),
    };

    let answers = [
        enter(&app, "192.0.2.1", "ada@example.com", OTHER).await,
        enter(&app, "192.0.2.1", "nobody@example.com", RIGHT).await,
        log_in(&app, &from("192.0.2.1"), elsewhere("Nowhere")).await,
        log_in(&app, &from("192.0.2.1"), elsewhere("No\0where")).await,
    ];
    for answer in answers {
        let Err(Error::Unauthenticated(text)) = answer else { panic!("not refused") };
        assert_eq!(text, "the email or the password is wrong");
    }
    assert!(enter(&app, "192.0.2.1", "ADA@Example.com", RIGHT).await.is_ok());
}

async fn caller(app: &App, grant: &Grant) -> Caller {
    authenticate(app, &grant.access_token, Origin::default()).await.unwrap()
}

async fn sessions(app: &App, caller: &Caller) -> Vec<SessionId> {
    let page = list(app, caller, &Page::default()).await.unwrap();
    page.items.into_iter().map(|session| session.id).collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_user_sees_and_ends_own_sessions_and_nobody_elses(db: PgPool) {
    let app = testing::app(db).await;
    let home = ada(&app).await.grant;
    let away = enter(&app, "198.51.100.7", "ada@example.com", RIGHT).await.unwrap();
    let ada = caller(&app, &home).await;
    let bob = SignUp {
        email: "bob@example.com".to_owned(),
        password: Password::new(OTHER),
        tenant: "Looms".to_owned(),
    };
    let bob = tenant::sign_up(&app, &from("192.0.2.2"), bob).await.unwrap();
    let stranger = caller(&app, &bob.grant).await;

    let listed = list(&app, &ada, &Page::default()).await.unwrap().items;
    let places: Vec<&str> = listed.iter().map(|session| session.address.as_str()).collect();
    assert_eq!(places, ["192.0.2.1", "198.51.100.7"]);
    assert_eq!(sessions(&app, &stranger).await, [bob.grant.session]);

    let refused = revoke(&app, &stranger, away.session).await;
    assert!(matches!(refused, Err(Error::NotFound("session"))), "{refused:?}");
    revoke(&app, &ada, away.session).await.unwrap();
    revoke(&app, &ada, away.session).await.unwrap();

    assert_eq!(sessions(&app, &ada).await, [home.session]);
    assert!(refreshed(&app, &cookie(&app, &away)).await.is_err());
    let ended = authenticate(&app, &away.access_token, Origin::default()).await;
    assert!(matches!(ended, Err(Error::Unauthenticated("the session was ended"))));
    assert!(authenticate(&app, &home.access_token, Origin::default()).await.is_ok());
}

#[sqlx::test(migrations = "../migrations")]
async fn a_user_ends_all_sessions_but_the_present_one(db: PgPool) {
    let app = testing::app(db).await;
    let home = ada(&app).await.grant;
    for address in ["198.51.100.7", "198.51.100.8"] {
        enter(&app, address, "ada@example.com", RIGHT).await.unwrap();
    }
    let ada = caller(&app, &home).await;

    assert_eq!(revoke_others(&app, &ada).await.unwrap(), 2);
    assert_eq!(revoke_others(&app, &ada).await.unwrap(), 0);
    assert_eq!(sessions(&app, &ada).await, [home.session]);
}

#[sqlx::test(migrations = "../migrations")]
async fn an_ended_session_is_told_in_the_log_of_the_tenant_it_was_in(db: PgPool) {
    let app = testing::app(db).await;
    let made = ada(&app).await;
    let (ada, other) = (caller(&app, &made.grant).await, testing::owner(&app).await);
    let mut tx = app.system(Job::SignUp).await.unwrap();
    store::member::insert(&mut tx, other.tenant, made.user.id, Role::Viewer).await.unwrap();
    let origin = Origin { user_agent: "another browser".to_owned(), ..Origin::default() };
    let tenant = Some(other.tenant);
    let there = begin(&app, &mut tx, made.user.id, tenant, &origin).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(revoke_others(&app, &ada).await.unwrap(), 1);

    let told = testing::audited(&app, &other).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].action, "session.revoke");
    assert_eq!(told[0].noun_id, there.session.to_string());
    assert_eq!(told[0].before.as_ref().unwrap()["userAgent"], "another browser");
    let own = testing::audited(&app, ada.member().unwrap()).await;
    assert!(own.iter().all(|entry| entry.action != "session.revoke"), "{own:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_password_that_was_replaced_meanwhile_lets_nobody_in(db: PgPool) {
    let app = testing::app(db).await;
    ada(&app).await;
    let (home, email) = (from("192.0.2.1"), Email::new("ada@example.com").unwrap());
    let mut tx = app.system(Job::LogIn).await.unwrap();
    let account = store::user::account(&mut tx, &email).await.unwrap().unwrap();
    let attempt = login_failure::count(&app, &mut tx, &email, Some(&account), &home).await.unwrap();
    tx.commit().await.unwrap();
    assert!(admit(&app, &home, &account, &attempt, None).await.is_ok());

    let mut tx = app.system(Job::Operator).await.unwrap();
    store::user::set_password(&mut tx, account.user.id, "another").await.unwrap();
    tx.commit().await.unwrap();

    let late = admit(&app, &home, &account, &attempt, None).await;
    assert!(matches!(late, Err(Error::Unauthenticated(_))));
}

#[sqlx::test(migrations = "../migrations")]
async fn guessing_from_one_address_is_slowed_and_the_right_password_starts_afresh(db: PgPool) {
    let app = testing::app(db).await;
    ada(&app).await;
    for email in ["ada@example.com", "nobody@example.com"] {
        failed(&app, "198.51.100.7", email, 10).await;
        let slowed = enter(&app, "198.51.100.7", email, OTHER).await.err().unwrap();
        assert!(matches!(slowed, Error::TooManyRequests { retry_after_seconds: 1 }), "{slowed}");
    }
    assert!(enter(&app, "192.0.2.1", "ada@example.com", RIGHT).await.is_ok());

    app.clock.advance(TimeDelta::seconds(1));
    assert!(enter(&app, "198.51.100.7", "ada@example.com", RIGHT).await.is_ok());
    failed(&app, "198.51.100.7", "ada@example.com", 10).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn after_100_failures_strangers_wait_and_the_user_at_home_does_not(db: PgPool) {
    let app = testing::app(db).await;
    ada(&app).await;
    for network in 0..10 {
        failed(&app, &format!("203.0.113.{network}"), "ada@example.com", 10).await;
    }

    let stranger = enter(&app, "198.51.100.7", "ada@example.com", RIGHT).await.err().unwrap();
    assert!(matches!(stranger, Error::TooManyRequests { retry_after_seconds: 60 }), "{stranger}");
    assert!(enter(&app, "192.0.2.1", "ada@example.com", RIGHT).await.is_ok());
}

#[sqlx::test(migrations = "../migrations")]
async fn tries_made_at_once_do_not_outrun_the_count(db: PgPool) {
    let app = testing::app(db).await;
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let app = app.clone();
        tries.spawn(async move { enter(&app, "198.51.100.7", "nobody@example.com", OTHER).await });
    }
    let answers = tries.join_all().await;
    let tried = answers.iter().filter(|answer| matches!(answer, Err(Error::Unauthenticated(_))));
    assert_eq!(tried.count(), 10);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_spent_cookie_is_forgiven_for_seconds_and_then_ends_the_session(db: PgPool) {
    let app = testing::app(db).await;
    let grant = ada(&app).await.grant;
    let first = cookie(&app, &grant);
    let second = cookie(&app, &refreshed(&app, &first).await.unwrap());

    let other_tab = refreshed(&app, &first).await.unwrap();
    assert!(other_tab.refresh.is_none());
    app.clock.advance(FORGIVEN);
    let third = refreshed(&app, &second).await.unwrap();
    app.clock.advance(FORGIVEN);
    assert!(refreshed(&app, &first).await.is_err()); // two generations old

    assert!(refreshed(&app, &cookie(&app, &third)).await.is_err());
    let token = &third.access_token;
    assert!(authenticate(&app, token, Origin::default()).await.is_err());
}

#[sqlx::test(migrations = "../migrations")]
async fn of_two_tabs_that_refresh_at_once_one_gets_the_cookie(db: PgPool) {
    let app = testing::app(db).await;
    let first = cookie(&app, &ada(&app).await.grant);
    let (one, two) = tokio::join!(refreshed(&app, &first), refreshed(&app, &first));
    let cookies = [one.unwrap().refresh.is_some(), two.unwrap().refresh.is_some()];
    assert_ne!(cookies[0], cookies[1]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_session_ends_after_thirty_days_however_often_refreshed(db: PgPool) {
    let app = testing::app(db).await;
    let mut held = cookie(&app, &ada(&app).await.grant);
    for _ in 0..29 {
        app.clock.advance(TimeDelta::days(1));
        let grant = refreshed(&app, &held).await.unwrap();
        assert!(grant.refresh.as_ref().unwrap().expires_in < LIFE);
        held = cookie(&app, &grant);
    }
    app.clock.advance(TimeDelta::days(1));
    assert!(refreshed(&app, &held).await.is_err());
}

#[sqlx::test(migrations = "../migrations")]
async fn a_session_moves_between_its_users_tenants_only(db: PgPool) {
    let app = testing::app(db).await;
    let made = ada(&app).await;
    let (other, foreign) = (testing::owner(&app).await, testing::owner(&app).await);
    let mut tx = app.system(Job::SignUp).await.unwrap();
    store::member::insert(&mut tx, other.tenant, made.user.id, Role::Viewer).await.unwrap();
    tx.commit().await.unwrap();
    let held = cookie(&app, &made.grant);

    let refused = refresh(&app, &Origin::default(), &held, Some(&foreign.tenant.to_string())).await;
    assert!(matches!(refused, Err(Error::NotFound("tenant"))));
    let name = other.tenant.to_string();
    let moved = refresh(&app, &Origin::default(), &held, Some(&name)).await.unwrap();

    let caller = authenticate(&app, &moved.access_token, Origin::default()).await.unwrap();
    let actor = caller.member().unwrap();
    assert_eq!((actor.tenant, actor.role), (other.tenant, Role::Viewer));
    assert!(matches!(actor.may(Action::ManageApis), Err(Error::Forbidden(_))));
    let again = refreshed(&app, &cookie(&app, &moved)).await.unwrap();
    let caller = authenticate(&app, &again.access_token, Origin::default()).await.unwrap();
    assert_eq!(caller.member().unwrap().tenant, other.tenant);
}

#[sqlx::test(migrations = "../migrations")]
async fn who_is_no_member_any_more_is_nobody(db: PgPool) {
    let app = testing::app(db).await;
    let made = ada(&app).await;
    let mut tx = app.system(Job::SignUp).await.unwrap();
    sqlx::query("delete from member").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();

    let token = &made.grant.access_token;
    assert!(authenticate(&app, token, Origin::default()).await.is_err());
    assert!(refreshed(&app, &cookie(&app, &made.grant)).await.is_err());
    assert!(enter(&app, "192.0.2.1", "ada@example.com", RIGHT).await.is_err());
}
