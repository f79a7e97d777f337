use proto::config::v1::resource::Kind;
use sqlx::PgPool;

use super::*;
use crate::access::actor::{Actor, Caller, Origin};
use crate::access::role::Role;
use crate::domain::consumer::{self, NewConsumer};
use crate::domain::limit::{self, LimitName};
use crate::domain::{api, session};
use crate::testing;

async fn change(app: &App, actor: &Actor, name: &str) -> Result<()> {
    let new = NewConsumer { name: name.to_owned(), external_id: String::new() };
    consumer::create(app, actor, new).await.map(drop)
}

/// What nodes were told of the tenant last.
async fn refused_by_nodes(app: &App, tenant: TenantId) -> Option<bool> {
    let told = testing::published(app).await;
    let mut tenants = told.into_iter().flat_map(|delta| delta.upserts).filter_map(|resource| {
        match resource.kind? {
            Kind::Tenant(told) => (told.id == tenant.to_string()).then_some(told.suspended),
            _ => None,
        }
    });
    tenants.next_back()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_suspended_tenant_is_refused_by_nodes_and_its_members_only_read(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, operator) = (testing::owner(&app).await, testing::operator(&app).await);
    change(&app, &alice, "before").await.unwrap();
    let blank = suspend(&app, &operator, alice.tenant, " ").await.unwrap_err();
    assert_eq!(blank.param(), Some("reason"));

    suspend(&app, &operator, alice.tenant, "the bill of October").await.unwrap();

    assert_eq!(refused_by_nodes(&app, alice.tenant).await, Some(true));
    let refused = change(&app, &alice, "during").await.unwrap_err();
    assert_eq!(refused.code(), "tenant_suspended");
    assert!(refused.to_string().contains("the bill of October"), "{refused}");
    let api = api::create(&app, &alice, testing::new_api_form(api::Dialect::Native)).await;
    assert_eq!(api.unwrap_err().code(), "tenant_suspended");
    assert_eq!(consumer::list(&app, &alice, &Page::default()).await.unwrap().items.len(), 1);
    let token = testing::token(&app, &alice);
    assert!(session::authenticate(&app, &token, Origin::default()).await.is_ok());

    resume(&app, &operator, alice.tenant).await.unwrap();
    assert_eq!(refused_by_nodes(&app, alice.tenant).await, Some(false));
    change(&app, &alice, "after").await.unwrap();
    let twice = resume(&app, &operator, alice.tenant).await.unwrap_err();
    assert_eq!(twice.code(), "conflict");

    let told = testing::audited(&app, &alice).await;
    let suspended = told.iter().find(|entry| entry.action == "tenant.suspend").unwrap();
    assert_eq!(suspended.before.as_ref().unwrap()["status"], "active");
    assert_eq!(suspended.after.as_ref().unwrap()["suspendedReason"], "the bill of October");
    let filter = audit::AuditFilter { noun: Some("tenant".to_owned()), ..Default::default() };
    let caller = Caller::Operator(operator);
    let own = audit::list(&app, &caller, &filter, &Page::default()).await.unwrap().items;
    let actions: Vec<&str> = own.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["tenant.resume", "tenant.suspend"]);
    assert_eq!(own[0].noun_id, alice.tenant.to_string());
}

#[sqlx::test(migrations = "../migrations")]
async fn a_closed_tenant_is_nobodys_until_it_is_reopened_as_it_was(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, operator) = (testing::owner(&app).await, testing::operator(&app).await);
    let name = get(&app, &operator, alice.tenant).await.unwrap().tenant.name;
    suspend(&app, &operator, alice.tenant, "why").await.unwrap();
    let wrong = close(&app, &operator, alice.tenant, "another").await.unwrap_err();
    assert_eq!(wrong.param(), Some("name"));

    let closed = close(&app, &operator, alice.tenant, &name).await.unwrap();

    assert_eq!(closed.status, Status::Closed);
    assert_eq!(refused_by_nodes(&app, alice.tenant).await, Some(true));
    let token = testing::token(&app, &alice);
    let out = session::authenticate(&app, &token, Origin::default()).await;
    assert_eq!(out.unwrap_err().code(), "unauthenticated");
    for again in [
        suspend(&app, &operator, alice.tenant, "why").await,
        resume(&app, &operator, alice.tenant).await,
        close(&app, &operator, alice.tenant, &name).await,
    ] {
        assert_eq!(again.unwrap_err().code(), "conflict");
    }
    app.clock.advance(CLOSED_KEPT - TimeDelta::seconds(1));
    let back = reopen(&app, &operator, alice.tenant).await.unwrap();
    assert_eq!((back.status, back.closed_at), (Status::Suspended, None));

    close(&app, &operator, alice.tenant, &name).await.unwrap();
    app.clock.advance(CLOSED_KEPT);
    assert_eq!(reopen(&app, &operator, alice.tenant).await.unwrap_err().code(), "conflict");
}

#[sqlx::test(migrations = "../migrations")]
async fn tenants_are_searched_and_paged_newest_first(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let operator = testing::operator(&app).await;
    let mut tenants = Vec::new();
    for name in ["Pets & Co", "Café 100%", "Rockets", "Pet_Food"] {
        let owner = testing::owner(&app).await;
        sqlx::query("update tenant set name = $2 where id = $1")
            .bind(owner.tenant.0)
            .bind(name)
            .execute(&db)
            .await
            .unwrap();
        tenants.push(owner.tenant);
    }
    testing::join(&app, tenants[2], Role::Viewer).await;
    suspend(&app, &operator, tenants[3], "why").await.unwrap();

    let names = async |search: &str, status, page: &Page| {
        let filter = AccountFilter::new(Some(search.to_owned()), status).unwrap();
        let paged = list(&app, &operator, &filter, page).await.unwrap();
        let names = paged.items.iter().map(|account| account.tenant.name.clone());
        (names.collect::<Vec<_>>(), paged.next_cursor())
    };
    let all = Page::default();
    assert_eq!(names("", None, &all).await.0, ["Pet_Food", "Rockets", "Café 100%", "Pets & Co"]);
    assert_eq!(names("pet", None, &all).await.0, ["Pet_Food", "Pets & Co"]);
    assert_eq!(names("100%", None, &all).await.0, ["Café 100%"]);
    assert_eq!(names("_", None, &all).await.0, ["Pet_Food"]);
    assert_eq!(names("", Some(Status::Suspended), &all).await.0, ["Pet_Food"]);
    let (first, next) = names("", None, &Page::first(3, None, None).unwrap()).await;
    assert_eq!(first.len(), 3);
    let next = Key::from_cursor(&next.unwrap(), "after").unwrap();
    let (rest, end) = names("", None, &Page::first(3, Some(next), None).unwrap()).await;
    assert_eq!((rest, end), (vec!["Pets & Co".to_owned()], None));
    let back = names("", None, &Page::last(2, None, None).unwrap()).await.0;
    assert_eq!(back, ["Café 100%", "Pets & Co"]);
    let rockets = get(&app, &operator, tenants[2]).await.unwrap();
    assert_eq!((rockets.members, rockets.apis, rockets.usage.requests), (2, 0, 0));
    assert_eq!(get(&app, &operator, app.rng.id()).await.unwrap_err().code(), "not_found");
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_are_told_how_often_a_tenant_may_be_called(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let operator = testing::operator(&app).await;
    let (rate, burst) = (LimitName::RequestsPerSecond, LimitName::RequestBurst);
    let set = async |changes: &[(LimitName, Option<u32>)]| {
        limit::update(&app, &operator, alice.tenant, changes).await.unwrap();
        let told = testing::published(&app).await;
        let throttle = told.last().and_then(|delta| match delta.upserts[0].kind.clone() {
            Some(Kind::Tenant(tenant)) => tenant.throttle,
            other => panic!("no tenant: {other:?}"),
        });
        (told.len(), throttle.map(|throttle| (throttle.rate_limit, throttle.burst_limit)))
    };
    let caller = Caller::Member(alice.clone());
    let shown = async || {
        let limits = limit::list(&app, &caller, alice.tenant).await.unwrap();
        let of = |name| limits.iter().find(|limit| limit.name == name).unwrap();
        [rate, burst].map(|name| (of(name).limit, of(name).adjusted))
    };
    let (before, none) = set(&[]).await;
    assert_eq!(none, None);
    assert_eq!(shown().await, [(limit::LIMIT_MAX, false); 2]);
    assert_eq!(set(&[(rate, Some(100))]).await, (before + 1, Some((100.0, 100))));
    assert_eq!(shown().await, [(100, true), (100, false)], "what nodes hold");
    assert_eq!(set(&[(burst, Some(7))]).await, (before + 2, Some((100.0, 7))));
    assert_eq!(shown().await, [(100, true), (7, true)]);
    assert_eq!(set(&[(rate, None)]).await, (before + 3, Some((7.0, 7))));
    assert_eq!(shown().await, [(7, false), (7, true)]);
    assert_eq!(set(&[(LimitName::Apis, Some(3))]).await.0, before + 3, "no business of theirs");
    let most = Some(limit::LIMIT_MAX);
    assert_eq!(set(&[(rate, most), (burst, None)]).await, (before + 4, Some((1e6, 1_000_000))));
    assert_eq!(shown().await, [(limit::LIMIT_MAX, true), (limit::LIMIT_MAX, false)]);
    assert_eq!(set(&[(rate, None)]).await, (before + 5, None));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_limit_that_the_operator_sets_holds_at_once_and_shows_how_far_it_is_used(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    let operator = testing::operator(&app).await;
    change(&app, &alice, "first").await.unwrap();
    let set = async |changes: &[(LimitName, Option<u32>)]| {
        limit::update(&app, &operator, alice.tenant, changes).await
    };

    set(&[(LimitName::Consumers, Some(1)), (LimitName::Apis, Some(0))]).await.unwrap();

    let refused = change(&app, &alice, "second").await.unwrap_err();
    assert_eq!(refused.code(), "limit_exceeded");
    let told = refused.to_string();
    assert!(told.contains("may have 1 consumers") && told.ends_with("raise the limit consumers"));
    change(&app, &mallory, "second").await.unwrap();
    let caller = Caller::Member(alice.clone());
    let limits = limit::list(&app, &caller, alice.tenant).await.unwrap();
    let consumers = limits.iter().find(|limit| limit.name == LimitName::Consumers).unwrap();
    assert_eq!((consumers.limit, consumers.used), (1, 1));
    assert_eq!(limits.len(), LimitName::ALL.len());
    let theirs = limit::list(&app, &caller, mallory.tenant).await;
    assert_eq!(theirs.unwrap_err().code(), "not_found");

    set(&[(LimitName::Consumers, None)]).await.unwrap();
    change(&app, &alice, "second").await.unwrap();
    let told = testing::audited(&app, &alice).await;
    let updated: Vec<_> =
        told.iter().filter(|entry| entry.action == "tenant.update_limits").collect();
    assert_eq!(updated[0].before.as_ref().unwrap()["consumers"], 1);
    assert_eq!(updated[0].after.as_ref().unwrap()["apis"], 0);
    for (wrong, param) in [
        (vec![(LimitName::Apis, Some(limit::LIMIT_MAX + 1))], "limits[0].limit"),
        (vec![(LimitName::Apis, Some(1)), (LimitName::Apis, None)], "limits[1].name"),
        (vec![(LimitName::RequestsPerSecond, Some(0))], "limits[0].limit"),
        (vec![(LimitName::Apis, Some(0)), (LimitName::RequestBurst, Some(0))], "limits[1].limit"),
    ] {
        assert_eq!(set(&wrong).await.unwrap_err().param(), Some(param));
    }
}
