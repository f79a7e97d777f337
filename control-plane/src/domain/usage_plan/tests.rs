use proto::config::v1::{self as config, resource::Kind};
use sqlx::PgPool;

use super::*;
use crate::access::role::Role;
use crate::domain::api_key::{self, NewApiKey};
use crate::domain::quota::{
    LIMIT_MAX as QUOTA_LIMIT_MAX, QuotaAnchor, QuotaEnforcement, QuotaPeriod,
};
use crate::domain::throttle::ThrottleEnforcement;
use crate::testing;

fn gold() -> NewUsagePlan {
    NewUsagePlan {
        name: "gold".to_owned(),
        throttle: Some(Throttle::of(2.5, 5)),
        quota: Some(Quota::of(1000, QuotaPeriod::Month)),
        ..NewUsagePlan::default()
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn another_tenant_cannot_see_or_change_a_usage_plan(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    let prod = testing::stage(&app, &alice, "prod").await;

    let plan = create(&app, &alice, gold()).await.unwrap();
    let taken = UsagePlanChanges { name: Some("taken".to_owned()), ..Default::default() };
    let stages = StagesWanted::from([(prod, None)]);
    let foreign_stage = NewUsagePlan { stages, ..gold() };
    let refusals = [
        get(&app, &mallory, plan.id).await.err(),
        update(&app, &mallory, plan.id, taken).await.err(),
        delete(&app, &mallory, plan.id).await.err(),
        create(&app, &mallory, foreign_stage).await.err(),
    ];

    for refused in refusals {
        assert!(matches!(refused, Some(Error::NotFound(_))), "{refused:?}");
    }
    assert_eq!(get(&app, &alice, plan.id).await.unwrap(), plan);
    assert!(list(&app, &mallory, &Page::default()).await.unwrap().items.is_empty());
}

#[sqlx::test(migrations = "../migrations")]
async fn a_viewer_changes_no_plan(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
    let plan = create(&app, &alice, gold()).await.unwrap();

    let refusals = [
        create(&app, &viewer, NewUsagePlan { name: "b".to_owned(), ..gold() }).await.err(),
        update(&app, &viewer, plan.id, UsagePlanChanges::default()).await.err(),
        delete(&app, &viewer, plan.id).await.err(),
    ];

    for refused in refusals {
        assert!(matches!(refused, Some(Error::Forbidden(_))), "{refused:?}");
    }
    assert_eq!(list(&app, &viewer, &Page::default()).await.unwrap().items, [plan]);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_left_out_stays_and_null_removes(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let prod = testing::stage(&app, &alice, "prod").await;
    let throttles = RouteThrottles::from([("/pets/GET".to_owned(), Throttle::of(1.0, 1))]);
    let stages = StagesWanted::from([(prod.clone(), Some(throttles.clone()))]);
    let plan = create(&app, &alice, NewUsagePlan { stages, ..gold() }).await.unwrap();

    let renamed = UsagePlanChanges { name: Some("new".to_owned()), ..Default::default() };
    let renamed = update(&app, &alice, plan.id, renamed).await.unwrap();
    let cleared = UsagePlanChanges {
        throttle: Patch::Clear,
        quota: Patch::Clear,
        stages: Some(StagesWanted::from([(prod.clone(), None)])),
        ..Default::default()
    };
    let cleared = update(&app, &alice, plan.id, cleared).await.unwrap();
    let emptied = UsagePlanChanges { stages: Some(StagesWanted::new()), ..Default::default() };
    let emptied = update(&app, &alice, plan.id, emptied).await.unwrap();

    assert_eq!((renamed.throttle, renamed.quota), (plan.throttle, plan.quota));
    assert_eq!((cleared.name.as_str(), cleared.throttle, cleared.quota), ("new", None, None));
    assert_eq!(cleared.api_stages, [ApiStage { stage: prod, route_throttles: throttles }]);
    assert_eq!(emptied.api_stages, []);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_plan_with_keys_is_not_deleted(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let plan = create(&app, &alice, gold()).await.unwrap();
    let new = || NewApiKey {
        name: "key".to_owned(),
        usage_plan_ids: [plan.id].into(),
        ..NewApiKey::default()
    };
    let (one, _) = api_key::create(&app, &alice, new()).await.unwrap();
    let (two, _) = api_key::create(&app, &alice, new()).await.unwrap();

    let refused = delete(&app, &alice, plan.id).await.unwrap_err();
    for key in [one, two] {
        api_key::delete(&app, &alice, key.id).await.unwrap();
    }
    delete(&app, &alice, plan.id).await.unwrap();

    assert_eq!(refused.code(), "conflict");
    assert!(refused.to_string().contains("2 API keys"), "{refused}");
    assert!(matches!(get(&app, &alice, plan.id).await, Err(Error::NotFound(_))));
    let told = testing::published(&app).await;
    let removed = told.last().unwrap().removals[0].kind.clone().unwrap();
    assert_eq!(removed, resource_name::Kind::UsagePlanId(plan.id.to_string()));
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_get_the_whole_plan_after_each_change(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let prod = testing::stage(&app, &alice, "prod").await;

    let plan = create(&app, &alice, gold()).await.unwrap();
    let stages = Some(StagesWanted::from([(prod.clone(), None)]));
    let changes = UsagePlanChanges { stages, ..UsagePlanChanges::default() };
    update(&app, &alice, plan.id, changes).await.unwrap();

    let told = testing::published(&app).await;
    let messages: Vec<_> = told
        .iter()
        .map(|delta| match delta.upserts[0].kind.as_ref().unwrap() {
            Kind::UsagePlan(message) => message,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(messages.len(), 2);
    assert_eq!((messages[0].api_stages.len(), messages[1].api_stages.len()), (0, 1));
    assert_eq!(messages[1].api_stages[0].api_id, prod.api.to_string());
    assert_eq!(messages[1].quota.as_ref().unwrap().limit, 1000);
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_get_a_quotas_terms_where_it_has_any_and_when_its_keys_began(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let soft = Quota {
        anchor: QuotaAnchor::Anniversary,
        time_zone: "europe/berlin".to_owned(),
        starts_at: Some("2026-01-31T09:30:00.5Z".parse().unwrap()),
        enforcement: QuotaEnforcement::Soft,
        initial_used: 7,
        ..Quota::of(1000, QuotaPeriod::Month)
    };
    let plan = create(&app, &alice, NewUsagePlan { quota: Some(soft), ..gold() }).await.unwrap();
    let usage_plan_ids = [plan.id].into();
    let new = NewApiKey { name: "key".to_owned(), usage_plan_ids, ..NewApiKey::default() };
    let (key, _) = api_key::create(&app, &alice, new).await.unwrap();
    let plain = Patch::Set(Quota::of(1000, QuotaPeriod::Month));
    let changes = UsagePlanChanges { quota: plain, ..UsagePlanChanges::default() };
    let changed = update(&app, &alice, plan.id, changes).await.unwrap();

    let kept = plan.quota.unwrap();
    assert_eq!(kept.time_zone, "Europe/Berlin");
    assert_eq!(kept.starts_at.unwrap().to_rfc3339(), "2026-01-31T09:30:00+00:00");
    assert_eq!((kept.initial_used, kept.enforcement), (7, QuotaEnforcement::Soft));
    assert_eq!(changed.quota, Some(Quota::of(1000, QuotaPeriod::Month)));
    let told = testing::published(&app).await;
    let kinds: Vec<_> = told.iter().map(|delta| delta.upserts[0].kind.clone()).collect();
    let [Some(Kind::UsagePlan(first)), Some(Kind::ApiKey(told)), Some(Kind::UsagePlan(last))] =
        &kinds[..]
    else {
        panic!("{kinds:?}")
    };
    let quota = first.quota.as_ref().unwrap();
    let terms = quota.terms.as_ref().unwrap();
    assert_eq!(quota.period(), config::QuotaPeriod::Unspecified, "older nodes refuse it");
    assert_eq!(terms.period(), config::QuotaPeriod::Month);
    assert_eq!(terms.enforcement(), config::QuotaEnforcement::Soft);
    assert_eq!((&*terms.time_zone, terms.initial_used), ("Europe/Berlin", 7));
    assert_eq!(terms.anniversary_s, Some(1_769_851_800));
    let quota = last.quota.as_ref().unwrap();
    assert_eq!((quota.period(), &quota.terms), (config::QuotaPeriod::Month, &None));
    // The database's clock says when a key is put on a plan.
    assert_eq!(told.usage_plan_joined_s, [key.created_at.timestamp()]);
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_that_do_not_know_a_plans_concurrency_limit_find_the_plan_on_no_stage(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let prod = testing::stage(&app, &alice, "prod").await;
    let stages = StagesWanted::from([(prod.clone(), None)]);
    let hard = ConcurrencyLimit::of(4);
    let new = NewUsagePlan { stages, concurrency_limit: Some(hard), ..gold() };
    let plan = create(&app, &alice, new).await.unwrap();
    assert_eq!(plan.concurrency_limit, Some(hard));
    assert_eq!(get(&app, &alice, plan.id).await.unwrap(), plan);
    let told = async || {
        let mut tx = app.begin(&alice).await.unwrap();
        let told = compile::usage_plan(&mut tx, alice.tenant, plan.id).await.unwrap();
        let Some(Kind::UsagePlan(told)) = told.kind else { panic!("no plan") };
        let names = |stages: &[config::ApiStage]| -> Vec<_> {
            stages.iter().map(|on| on.stage.clone()).collect()
        };
        (told.concurrency_limit, names(&told.api_stages), names(&told.limited_stages))
    };
    let limit = |shadow| Some(config::ConcurrencyLimit { max_in_flight: 4, shadow });
    let (none, on_prod) = (Vec::<String>::new(), vec![prod.name.clone()]);
    assert_eq!(told().await, (limit(false), none.clone(), on_prod.clone()));

    let shadow = ConcurrencyLimit { enforcement: ThrottleEnforcement::Shadow, ..hard };
    let change = |concurrency_limit| UsagePlanChanges { concurrency_limit, ..Default::default() };
    let tried = update(&app, &alice, plan.id, change(Patch::Set(shadow))).await.unwrap();
    assert_eq!(tried.concurrency_limit, Some(shadow));
    assert_eq!(told().await, (limit(true), on_prod.clone(), none.clone()), "it restricts nobody");
    update(&app, &alice, plan.id, change(Patch::Clear)).await.unwrap();
    assert_eq!(told().await, (None, on_prod, none));

    let wrong = Patch::Set(ConcurrencyLimit::of(0));
    let refused = update(&app, &alice, plan.id, change(wrong)).await.unwrap_err();
    assert_eq!(refused.param(), Some("concurrencyLimit.maxInFlight"));
    let wrong = NewUsagePlan { concurrency_limit: Some(ConcurrencyLimit::of(-1)), ..gold() };
    let refused = create(&app, &alice, wrong).await.unwrap_err();
    assert_eq!(refused.param(), Some("concurrencyLimit.maxInFlight"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_plans_throttles_in_shadow_are_told_to_nodes_as_such(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let prod = testing::stage(&app, &alice, "prod").await;
    let hard = Throttle::of(1.0, 1);
    let shadow = Throttle { enforcement: ThrottleEnforcement::Shadow, ..hard };
    let throttles =
        RouteThrottles::from([("/pets/GET".to_owned(), shadow), ("/pets/POST".to_owned(), hard)]);
    let new = NewUsagePlan {
        throttle: Some(shadow),
        stages: StagesWanted::from([(prod, Some(throttles.clone()))]),
        ..gold()
    };

    let plan = create(&app, &alice, new).await.unwrap();
    let mut tx = app.begin(&alice).await.unwrap();
    let told = compile::usage_plan(&mut tx, alice.tenant, plan.id).await.unwrap();
    let stored: serde_json::Value =
        sqlx::query_scalar("select route_throttles from usage_plan_stage")
            .fetch_one(&db)
            .await
            .unwrap();

    assert_eq!(get(&app, &alice, plan.id).await.unwrap(), plan);
    assert_eq!((plan.throttle, &plan.api_stages[0].route_throttles), (Some(shadow), &throttles));
    let Some(Kind::UsagePlan(told)) = told.kind else { panic!("no plan") };
    let of_routes = &told.api_stages[0].route_throttles;
    assert!(told.throttle.unwrap().shadow && of_routes["/pets/GET"].shadow);
    assert!(!of_routes["/pets/POST"].shadow);
    let plain = serde_json::json!({ "rateLimit": 1.0, "burstLimit": 1 });
    assert_eq!(stored["/pets/POST"], plain, "as the release before reads it");

    let again = UsagePlanChanges { throttle: Patch::Set(hard), ..Default::default() };
    let again = update(&app, &alice, plan.id, again).await.unwrap();
    assert_eq!((again.throttle, &again.api_stages), (Some(hard), &plan.api_stages));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_plan_that_breaks_a_rule_is_refused_by_the_field(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let prod = testing::stage(&app, &alice, "prod").await;
    create(&app, &alice, gold()).await.unwrap();
    let other = || NewUsagePlan { name: "other".to_owned(), ..NewUsagePlan::default() };
    let quota = |limit| Some(Quota::of(limit, QuotaPeriod::Day));
    let routes = |routes: &[&str]| {
        let one = Throttle::of(1.0, 1);
        let routes = routes.iter().map(|route| ((*route).to_owned(), one)).collect();
        StagesWanted::from([(prod.clone(), Some(routes))])
    };
    let too_many: Vec<String> = (0..=ROUTE_THROTTLES_MAX).map(|n| format!("/{n}/GET")).collect();
    let too_many: Vec<&str> = too_many.iter().map(String::as_str).collect();

    let slow = Some(Throttle::of(0.0, 1));
    let cases = [
        (gold(), "conflict", "name"),
        (NewUsagePlan { name: String::new(), ..other() }, "bad_request", "name"),
        (NewUsagePlan { description: "\0".to_owned(), ..other() }, "bad_request", "description"),
        (NewUsagePlan { throttle: slow, ..other() }, "bad_request", "throttle.rateLimit"),
        (NewUsagePlan { quota: quota(0), ..other() }, "bad_request", "quota.limit"),
        (
            NewUsagePlan { quota: quota(QUOTA_LIMIT_MAX + 1), ..other() },
            "bad_request",
            "quota.limit",
        ),
        (
            NewUsagePlan {
                quota: quota(5).map(|quota| Quota { initial_used: 6, ..quota }),
                ..other()
            },
            "bad_request",
            "quota.initialUsed",
        ),
        (NewUsagePlan { stages: routes(&["pets/GET"]), ..other() }, "bad_request", "apiStages"),
        (NewUsagePlan { stages: routes(&["/pets"]), ..other() }, "bad_request", "apiStages"),
        (NewUsagePlan { stages: routes(&["/pets/get"]), ..other() }, "bad_request", "apiStages"),
        (NewUsagePlan { stages: routes(&too_many), ..other() }, "limit_exceeded", "apiStages"),
    ];
    for (new, code, param) in cases {
        let refused = create(&app, &alice, new.clone()).await.unwrap_err();
        assert_eq!((refused.code(), refused.param()), (code, Some(param)), "{new:?}");
    }
    assert_eq!(list(&app, &alice, &Page::default()).await.unwrap().items.len(), 1);
    let most =
        NewUsagePlan { quota: quota(QUOTA_LIMIT_MAX), stages: routes(&["//GET"]), ..other() };
    create(&app, &alice, most).await.unwrap();
}
