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
    let (prod, beta) =
        (testing::stage(&app, &alice, "prod").await, testing::stage(&app, &alice, "beta").await);
    let gold = plan(&app, &alice, "gold", only(&prod)).await;
    let silver = plan(&app, &alice, "silver", only(&prod)).await;
    let bronze = plan(&app, &alice, "bronze", only(&beta)).await;

    let at_once = create(&app, &alice, on(&[gold, silver])).await.err().unwrap();
    let (key, _) = create(&app, &alice, on(&[gold, bronze])).await.unwrap();
    let more =
        ApiKeyChanges { usage_plan_ids: Some([gold, silver].into()), ..ApiKeyChanges::default() };
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
    let swapped =
        ApiKeyChanges { usage_plan_ids: Some([silver, bronze].into()), ..ApiKeyChanges::default() };
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
        let widen = UsagePlanChanges { stages: Some(only(&prod)), ..UsagePlanChanges::default() };
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
    let to_plan = ApiKeyChanges { usage_plan_ids: Some([gold].into()), ..ApiKeyChanges::default() };
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

    assert!(by_viewer.iter().all(|it| matches!(it, Some(Error::Forbidden(_)))), "{by_viewer:?}");
    assert!(by_mallory.iter().all(|it| matches!(it, Some(Error::NotFound(_)))), "{by_mallory:?}");
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
