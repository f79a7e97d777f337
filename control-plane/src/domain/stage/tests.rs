use proto::config::v1::{self as message, resource};
use sqlx::PgPool;

use super::*;
use crate::domain::client_throttle::tests::{by_header, by_ip};
use crate::domain::throttle::{ThrottleEnforcement, ThrottleMode, ThrottleOutage};
use crate::testing::{self, deploy, mock, new_api, new_route, published};

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn each_wrong_field_is_named() {
    let named = NewStage::named;
    assert!(named("$default").checked().is_ok());
    assert!(named(&"a".repeat(128)).checked().is_ok());
    let good = variables(&[("a_1", "https://x.y/z?a=b&c=d,e#f~"), ("b", "-._")]);
    assert!(NewStage { variables: good, ..named("prod") }.checked().is_ok());

    let throttle = |rate_limit, burst_limit| NewStage {
        throttle: Some(Throttle::of(rate_limit, burst_limit)),
        ..named("prod")
    };
    let with = |pair| NewStage { variables: variables(&[pair]), ..named("prod") };
    let many = (0..=VARIABLES_MAX).map(|at| (format!("v{at}"), "x".to_owned())).collect();
    let (long_name, long_value) = ("a".repeat(65), "a".repeat(513));
    for (new, param) in [
        (named(""), "name"),
        (named("$other"), "name"),
        (named("a/b"), "name"),
        (named("é"), "name"),
        (named(&"a".repeat(129)), "name"),
        (throttle(0.0, 1), "throttle.rateLimit"),
        (throttle(f64::NAN, 1), "throttle.rateLimit"),
        (throttle(1.0, 0), "throttle.burstLimit"),
        (with(("", "x")), "variables"),
        (with(("a-b", "x")), "variables"),
        (with((&long_name, "x")), "variables"),
        (with(("a", "")), "variables"),
        (with(("a", "b c")), "variables"),
        (with(("a", "$")), "variables"),
        (with(("a", "\0")), "variables"),
        (with(("a", &long_value)), "variables"),
        (NewStage { variables: many, ..named("prod") }, "variables"),
        (NewStage { description: "\0".to_owned(), ..named("prod") }, "description"),
    ] {
        let shown = format!("{new:?}");
        assert_eq!(new.checked().unwrap_err().param(), Some(param), "{shown}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stage_is_one_of_its_name_and_one_of_ten(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    for at in 0..STAGES_MAX - 1 {
        create(&app, &alice, api, NewStage::named(&format!("s{at}"))).await.unwrap();
    }

    let twice = create(&app, &alice, api, NewStage::named("s0")).await.unwrap_err();
    assert_eq!((twice.code(), twice.param()), ("conflict", Some("name")));
    create(&app, &alice, api, NewStage::named("last")).await.unwrap();
    let over = create(&app, &alice, api, NewStage::named("more")).await.unwrap_err();
    assert_eq!(over.code(), "limit_exceeded");
}

#[sqlx::test(migrations = "../migrations")]
async fn settings_of_a_stage_are_live_at_once_and_what_is_left_out_stays(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::AwsHttp).await;
    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    let deployed = deploy(&app, &alice, api, "prod").await.unwrap();
    let id = StageId { api, name: "prod".to_owned() };
    let throttle = Throttle::of(2.5, 7);

    let change = UpdateStage {
        throttle: Patch::Set(throttle),
        variables: Some(variables(&[("a", "b")])),
        rate_limit_headers: Patch::Set(true),
        ..UpdateStage::default()
    };
    let stage = update(&app, &alice, &id, change).await.unwrap();
    assert_eq!(stage.throttle, Some(throttle));
    assert!(stage.sends_rate_limit_headers());
    let told = published(&app).await;
    let mut tx = app.begin(&alice).await.unwrap();
    let whole = compile::stage(&mut tx, alice.tenant, api, "prod").await.unwrap();
    assert_eq!(told.last().unwrap().upserts, [whole], "the stage alone, whole");

    let change = UpdateStage {
        throttle: Patch::Clear,
        rate_limit_headers: Patch::Clear,
        ..UpdateStage::default()
    };
    let stage = update(&app, &alice, &id, change).await.unwrap();
    assert_eq!(stage.throttle, None);
    assert!(!stage.sends_rate_limit_headers(), "aws-http does not, unless told to");
    assert_eq!(stage.variables, variables(&[("a", "b")]));
    assert_eq!(stage.deployment, Some(deployed.id));
    assert_eq!(get(&app, &alice, &id).await.unwrap(), stage);
}

#[sqlx::test(migrations = "../migrations")]
async fn throttles_of_routes_reach_the_nodes_and_are_replaced_as_one(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let throttle = |route_key: &str, rate_limit| RouteThrottle {
        route_key: route_key.to_owned(),
        rate_limit,
        burst_limit: 3,
        enforcement: ThrottleEnforcement::Hard,
        mode: None,
        outage: None,
    };
    let new =
        NewStage { route_throttles: vec![throttle("GET /a", 0.5)], ..NewStage::named("prod") };
    let stage = create(&app, &alice, api, new).await.unwrap();
    let told = async || {
        let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
        let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
        stage.route_throttles
    };
    let half =
        message::Throttle { rate_limit: 0.5, burst_limit: 3, ..message::Throttle::default() };
    assert_eq!(told().await, [("GET /a".to_owned(), half)].into());

    let others = vec![throttle("$default", 1.0), throttle("ANY /b/{c}", 2.0)];
    let change =
        |throttles| UpdateStage { route_throttles: Some(throttles), ..UpdateStage::default() };
    let after = update(&app, &alice, &stage.id(), change(others.clone())).await.unwrap();
    assert_eq!(after.route_throttles, others);
    assert_eq!(told().await.into_keys().collect::<Vec<_>>(), ["$default", "ANY /b/{c}"]);
    let kept = update(&app, &alice, &stage.id(), UpdateStage::default()).await.unwrap();
    assert_eq!(kept.route_throttles, others);
    update(&app, &alice, &stage.id(), change(Vec::new())).await.unwrap();
    assert!(told().await.is_empty());

    let wrong = change(vec![throttle("GET /a", -1.0)]);
    let refused = update(&app, &alice, &stage.id(), wrong).await.unwrap_err();
    assert_eq!(refused.param(), Some("routeThrottles[0].rateLimit"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_throttle_in_shadow_is_told_to_nodes_as_one_until_another_takes_its_place(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let shadow = Throttle { enforcement: ThrottleEnforcement::Shadow, ..Throttle::of(2.5, 7) };
    let of_route = |route_key: &str, enforcement| RouteThrottle {
        route_key: route_key.to_owned(),
        rate_limit: 1.0,
        burst_limit: 3,
        enforcement,
        mode: None,
        outage: None,
    };
    let of_routes = vec![
        of_route("GET /a", ThrottleEnforcement::Shadow),
        of_route("GET /b", ThrottleEnforcement::Hard),
    ];
    let new = NewStage {
        throttle: Some(shadow),
        route_throttles: of_routes.clone(),
        ..NewStage::named("prod")
    };
    let stage = create(&app, &alice, api, new).await.unwrap();
    assert_eq!((stage.throttle, &stage.route_throttles), (Some(shadow), &of_routes));
    assert_eq!(get(&app, &alice, &stage.id()).await.unwrap(), stage);
    let told = async || {
        let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
        let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
        let of_routes = stage.route_throttles.into_values().map(|it| it.shadow);
        (stage.throttle.map(|it| it.shadow), of_routes.collect::<Vec<_>>())
    };
    assert_eq!(told().await, (Some(true), vec![true, false]));

    let enforced = UpdateStage {
        throttle: Patch::Set(Throttle::of(2.5, 7)),
        route_throttles: Some(vec![of_route("GET /a", ThrottleEnforcement::Hard)]),
        ..UpdateStage::default()
    };
    let stage = update(&app, &alice, &stage.id(), enforced).await.unwrap();
    assert_eq!(stage.throttle, Some(Throttle::of(2.5, 7)));
    assert_eq!(told().await, (Some(false), vec![false]));
    let none = UpdateStage { throttle: Patch::Clear, ..UpdateStage::default() };
    assert_eq!(update(&app, &alice, &stage.id(), none).await.unwrap().throttle, None);
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_are_told_how_each_throttle_is_counted_where_it_says_so(db: PgPool) {
    use message::{ThrottleMode as Mode, ThrottleOutage as Outage};

    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let (exact, closed) = (Some(ThrottleMode::Exact), Some(ThrottleOutage::FailClosed));
    let of_stage = Throttle { mode: exact, outage: closed, ..Throttle::of(2.5, 7) };
    let of_route = RouteThrottle {
        route_key: "GET /a".to_owned(),
        rate_limit: 1.0,
        burst_limit: 3,
        enforcement: ThrottleEnforcement::Hard,
        mode: Some(ThrottleMode::Local),
        outage: None,
    };
    let of_client = ClientThrottle {
        mode: Some(ThrottleMode::Leased),
        outage: Some(ThrottleOutage::FailOpen),
        ..by_ip("per-ip")
    };
    let new = NewStage {
        throttle: Some(of_stage),
        route_throttles: vec![of_route.clone()],
        client_throttles: vec![of_client.clone()],
        ..NewStage::named("prod")
    };
    let stage = create(&app, &alice, api, new).await.unwrap();
    assert_eq!(stage.throttle, Some(of_stage));
    assert_eq!((&stage.route_throttles[0], &stage.client_throttles[0]), (&of_route, &of_client));
    let told = async || {
        let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
        let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
        let of_client = stage.client_throttles[0].throttle;
        let all = [stage.throttle, stage.route_throttles.values().next().copied(), of_client];
        all.map(|it| it.map(|it| (it.mode(), it.outage())).unwrap())
    };
    assert_eq!(
        told().await,
        [
            (Mode::Exact, Outage::FailClosed),
            (Mode::Local, Outage::Unspecified),
            (Mode::Leased, Outage::FailOpen),
        ]
    );
    let plain =
        UpdateStage { throttle: Patch::Set(Throttle::of(2.5, 7)), ..UpdateStage::default() };
    let stage = update(&app, &alice, &stage.id(), plain).await.unwrap();
    assert_eq!(stage.throttle, Some(Throttle::of(2.5, 7)), "a throttle is written whole");
    assert_eq!(told().await[0], (Mode::Unspecified, Outage::Unspecified));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_concurrency_limit_that_is_enforced_is_a_restriction_to_nodes_that_do_not_know_it(
    db: PgPool,
) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let of_route = |route_key: &str, enforcement| RouteConcurrencyLimit {
        route_key: route_key.to_owned(),
        max_in_flight: 3,
        enforcement,
    };
    let shadow =
        ConcurrencyLimit { enforcement: ThrottleEnforcement::Shadow, ..ConcurrencyLimit::of(8) };
    let tried = vec![of_route("GET /a", ThrottleEnforcement::Shadow)];
    let new = NewStage {
        concurrency_limit: Some(shadow),
        route_concurrency_limits: tried.clone(),
        ..NewStage::named("prod")
    };
    let stage = create(&app, &alice, api, new).await.unwrap();
    assert_eq!((stage.concurrency_limit, &stage.route_concurrency_limits), (Some(shadow), &tried));
    let told = async || {
        let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
        let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
        stage
    };
    let limit = |max_in_flight, shadow| message::ConcurrencyLimit { max_in_flight, shadow };
    let in_shadow = told().await;
    assert_eq!(in_shadow.concurrency_limit, Some(limit(8, true)));
    let of_routes = [("GET /a".to_owned(), limit(3, true))].into();
    assert_eq!(in_shadow.route_concurrency_limits, of_routes);
    assert!(in_shadow.restrictions.is_empty(), "it restricts nobody");

    let hard = |change| async { update(&app, &alice, &stage.id(), change).await.unwrap() };
    let of_stage = Patch::Set(ConcurrencyLimit::of(5));
    hard(UpdateStage { concurrency_limit: of_stage, ..UpdateStage::default() }).await;
    let enforced = told().await;
    assert_eq!(enforced.concurrency_limit, Some(limit(5, false)));
    assert_eq!(enforced.restrictions, ["concurrencyLimit"]);
    // What nodes enforce is in no deployment's way.
    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    deploy(&app, &alice, api, "prod").await.unwrap();

    let of_routes = Some(vec![of_route("GET /a", ThrottleEnforcement::Hard)]);
    let after = hard(UpdateStage {
        concurrency_limit: Patch::Clear,
        route_concurrency_limits: of_routes,
        ..UpdateStage::default()
    });
    assert_eq!(after.await.concurrency_limit, None);
    let of_route_alone = told().await;
    assert_eq!(of_route_alone.concurrency_limit, None);
    assert_eq!(of_route_alone.restrictions, ["concurrencyLimit"]);

    let none = UpdateStage { route_concurrency_limits: Some(Vec::new()), ..UpdateStage::default() };
    hard(none).await;
    assert!(told().await.restrictions.is_empty());
    for wrong in [0, -1, 1_000_001] {
        let wrong = Patch::Set(ConcurrencyLimit::of(wrong));
        let change = UpdateStage { concurrency_limit: wrong, ..UpdateStage::default() };
        let refused = update(&app, &alice, &stage.id(), change).await.unwrap_err();
        assert_eq!(refused.param(), Some("concurrencyLimit.maxInFlight"));
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn throttles_of_clients_reach_the_nodes_which_must_know_those_that_refuse(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let of_route = ClientThrottle {
        route_key: Some("GET /a".to_owned()),
        enforcement: ThrottleEnforcement::Shadow,
        ..by_header("per-user", "x-user")
    };
    let all = vec![by_ip("per-ip"), of_route.clone()];
    let new = NewStage { client_throttles: all.clone(), ..NewStage::named("prod") };
    let stage = create(&app, &alice, api, new).await.unwrap();
    assert_eq!(stage.client_throttles, all);
    assert_eq!(get(&app, &alice, &stage.id()).await.unwrap(), stage);
    let told = async || {
        let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
        let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
        (stage.client_throttles, stage.restrictions)
    };
    let throttle = |shadow| message::Throttle {
        rate_limit: 0.5,
        burst_limit: 10,
        shadow,
        ..message::Throttle::default()
    };
    let of_ip = message::ClientThrottle {
        name: "per-ip".to_owned(),
        key: message::ClientKey::Ip.into(),
        throttle: Some(throttle(false)),
        ..message::ClientThrottle::default()
    };
    let of_user = message::ClientThrottle {
        name: "per-user".to_owned(),
        key: message::ClientKey::Header.into(),
        header_name: "x-user".to_owned(),
        route_key: "GET /a".to_owned(),
        throttle: Some(throttle(true)),
    };
    let (throttles, restrictions) = told().await;
    assert_eq!(throttles, [of_ip, of_user.clone()]);
    assert_eq!(restrictions, ["clientThrottles"]);

    let change =
        |throttles| UpdateStage { client_throttles: Some(throttles), ..UpdateStage::default() };
    let kept = update(&app, &alice, &stage.id(), UpdateStage::default()).await.unwrap();
    assert_eq!(kept.client_throttles, all);
    update(&app, &alice, &stage.id(), change(vec![of_route])).await.unwrap();
    assert_eq!(told().await, (vec![of_user], Vec::new()), "what refuses nobody restricts nobody");
    update(&app, &alice, &stage.id(), change(Vec::new())).await.unwrap();
    assert_eq!(told().await, (Vec::new(), Vec::new()));

    let wrong = change(vec![ClientThrottle { rate_limit: -1.0, ..by_ip("per-ip") }]);
    let refused = update(&app, &alice, &stage.id(), wrong).await.unwrap_err();
    assert_eq!(refused.param(), Some("clientThrottles[0].rateLimit"));
}

#[sqlx::test(migrations = "../migrations")]
async fn sampling_rules_reach_the_nodes_while_tracing_is_enabled(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let stage = create(&app, &alice, api, NewStage::named("prod")).await.unwrap();
    assert!(!stage.tracing_enabled && stage.sampling_rules.is_empty());
    let id = stage.id();
    let told = async || {
        let upsert = published(&app).await.pop().unwrap().upserts.pop().unwrap();
        let Some(resource::Kind::Stage(stage)) = upsert.kind else { panic!("no stage") };
        stage.tracing
    };
    assert_eq!(told().await, None, "each node goes by its own setting");

    let rules = vec![
        SamplingRule {
            route_key: "GET /a".to_owned(),
            reservoir_per_second: 3,
            rate: 0.25,
            keep_errors: true,
            keep_slower_than_millis: Some(750),
        },
        SamplingRule {
            route_key: "*".to_owned(),
            reservoir_per_second: 0,
            rate: 0.0,
            keep_errors: false,
            keep_slower_than_millis: None,
        },
    ];
    let change = UpdateStage {
        tracing_enabled: Some(true),
        sampling_rules: Some(rules.clone()),
        ..UpdateStage::default()
    };
    let stage = update(&app, &alice, &id, change).await.unwrap();
    assert_eq!((stage.tracing_enabled, &stage.sampling_rules), (true, &rules));
    let tracing = told().await.unwrap();
    let whole = message::SamplingRule {
        route_key: "GET /a".to_owned(),
        reservoir_per_second: 3,
        rate: 0.25,
        keep_errors: true,
        keep_slower_than_ms: Some(750),
    };
    let all = message::SamplingRule { route_key: "*".to_owned(), ..Default::default() };
    assert_eq!(tracing.rules, [whole, all]);

    let off = UpdateStage { tracing_enabled: Some(false), ..UpdateStage::default() };
    let stage = update(&app, &alice, &id, off).await.unwrap();
    assert_eq!(stage.sampling_rules, rules, "kept for when it is enabled again");
    assert_eq!(told().await, None);

    let wrong = SamplingRule { rate: 2.0, ..rules[1].clone() };
    let change = UpdateStage { sampling_rules: Some(vec![wrong]), ..UpdateStage::default() };
    let refused = update(&app, &alice, &id, change).await.unwrap_err();
    assert_eq!(refused.param(), Some("samplingRules[0].rate"));
}
