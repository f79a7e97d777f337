use proto::config::v1::{Resource, ResourceName, resource};
use sqlx::PgPool;

use super::*;
use crate::access::role::Role;
use crate::domain::api::Dialect;
use crate::domain::deployment::{Deployment, NewDeployment};
use crate::domain::integration::Settings;
use crate::domain::page::Page;
use crate::domain::patch::Patch;
use crate::domain::stage::UpdateStage;
use crate::ids::ApiId;
use crate::snapshot::compile;
use crate::testing::{self, deploy, deploy_canary, mock, new_api, new_route, published};

fn prod(api: ApiId) -> StageId {
    StageId { api, name: "prod".to_owned() }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn change(canary: UpdateCanary) -> UpdateStage {
    UpdateStage { canary: Patch::Set(canary), ..UpdateStage::default() }
}

fn end() -> UpdateStage {
    UpdateStage { canary: Patch::Clear, ..UpdateStage::default() }
}

/// An Api with a deployment on `prod`, and another draft.
async fn deployed(app: &App, alice: &Actor) -> (ApiId, Deployment) {
    let api = new_api(app, alice, Dialect::AwsRest).await;
    new_route(app, alice, api, "GET /a", mock("a")).await;
    let first = deploy(app, alice, api, "prod").await.unwrap();
    new_route(app, alice, api, "GET /b", mock("b")).await;
    (api, first)
}

/// What the last change told the nodes: whole resources, and the names of those to forget.
async fn told(app: &App) -> (Vec<Resource>, Vec<ResourceName>) {
    let last = published(app).await.pop().unwrap();
    (last.upserts, last.removals)
}

#[test]
fn each_wrong_field_is_named() {
    let good = CanarySettings::of(0.5);
    let named = |stickiness, name: &str| CanarySettings {
        stickiness,
        stickiness_name: Some(name.to_owned()),
        ..CanarySettings::of(1.0)
    };
    let header = named(CanaryStickiness::Header, "X-User").checked().unwrap();
    assert_eq!(header.stickiness_name.as_deref(), Some("x-user"));
    let cookie = named(CanaryStickiness::Cookie, "SID").checked().unwrap();
    assert_eq!(cookie.stickiness_name.as_deref(), Some("SID"), "a cookie's name has its case");
    for percent in [0.0, 100.0] {
        assert!(CanarySettings::of(percent).checked().is_ok());
    }
    let overrides = |name: &str, value: &str| CanarySettings {
        stage_variable_overrides: pairs(&[(name, value)]),
        ..CanarySettings::of(1.0)
    };
    for (settings, field) in [
        (CanarySettings::of(-0.1), "percentTraffic"),
        (CanarySettings::of(100.1), "percentTraffic"),
        (CanarySettings::of(f64::NAN), "percentTraffic"),
        (CanarySettings { use_stage_cache: true, ..good.clone() }, "useStageCache"),
        (overrides("a-b", "x"), "stageVariableOverrides"),
        (overrides("a", " "), "stageVariableOverrides"),
        (named(CanaryStickiness::None, "a"), "stickinessName"),
        (named(CanaryStickiness::ApiKey, "a"), "stickinessName"),
        (named(CanaryStickiness::Header, "a b"), "stickinessName"),
        (named(CanaryStickiness::Cookie, "a;b"), "stickinessName"),
        (CanarySettings { stickiness: CanaryStickiness::Cookie, ..good }, "stickinessName"),
    ] {
        let shown = format!("{settings:?}");
        let param = format!("canarySettings.{field}");
        assert_eq!(settings.checked().unwrap_err().param(), Some(&*param), "{shown}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_canary_stands_beside_the_deployment_until_it_is_promoted(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let (api, first) = deployed(&app, &alice).await;

    let second = deploy_canary(&app, &alice, api, "prod", 12.5).await.unwrap();
    let stage = stage::get(&app, &alice, &prod(api)).await.unwrap();
    assert_eq!(stage.deployment, Some(first.id));
    assert_eq!(stage.canary.as_ref().unwrap().deployment, second.id);
    assert_eq!(second.version, Some(2), "it is followed to the nodes as any other");
    let mut tx = app.begin(&alice).await.unwrap();
    let canary = compile::deployment(&mut tx, alice.tenant, second.id).await.unwrap();
    let whole = compile::stage(&mut tx, alice.tenant, api, "prod").await.unwrap();
    drop(tx);
    assert_eq!(told(&app).await, (vec![canary, whole.clone()], vec![]));
    let Some(resource::Kind::Stage(message)) = whole.kind else { panic!("a stage") };
    assert_eq!(message.canary.unwrap().percent_traffic.to_string(), "12.5");
    assert!(message.restrictions.is_empty());

    let refused = deploy(&app, &alice, api, "prod").await.unwrap_err();
    assert_eq!((refused.code(), refused.param()), ("conflict", Some("stage")));
    assert!(refused.to_string().contains("promoteCanary"), "{refused}");

    let variables = UpdateCanary {
        stage_variable_overrides: Some(pairs(&[("a", "canary"), ("b", "new")])),
        stickiness: Some(CanaryStickiness::Header),
        stickiness_name: Some("x-user".to_owned()),
        ..UpdateCanary::default()
    };
    let of_stage = UpdateStage {
        variables: Some(pairs(&[("a", "stage"), ("c", "stage")])),
        ..change(variables)
    };
    stage::update(&app, &alice, &prod(api), of_stage).await.unwrap();
    let all = UpdateCanary { percent_traffic: Some(100.0), ..UpdateCanary::default() };
    let kept = stage::update(&app, &alice, &prod(api), change(all)).await.unwrap().canary.unwrap();
    assert_eq!(kept.settings.stickiness_name.as_deref(), Some("x-user"), "what is left out stays");
    let (mut told_of, _) = told(&app).await;
    let Some(resource::Kind::Stage(message)) = told_of.pop().unwrap().kind else {
        panic!("a stage")
    };
    assert_eq!(message.restrictions, ["canarySettings"], "an older node would serve none by it");
    assert_eq!(
        message.canary.unwrap().variables.into_iter().collect::<BTreeMap<_, _>>(),
        pairs(&[("a", "canary"), ("b", "new"), ("c", "stage")])
    );

    let promoted = promote(&app, &alice, &prod(api)).await.unwrap();
    assert_eq!((promoted.deployment, &promoted.canary), (Some(second.id), &None));
    assert_eq!(promoted.variables, pairs(&[("a", "canary"), ("b", "new"), ("c", "stage")]));
    assert_eq!(told(&app).await.1, [compile::deployment_name(first.id)]);
    let again = promote(&app, &alice, &prod(api)).await.unwrap_err();
    assert_eq!((again.code(), again.param()), ("conflict", Some("id")));
    deploy(&app, &alice, api, "prod").await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_canary_that_is_ended_or_replaced_leaves_the_nodes(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let (api, first) = deployed(&app, &alice).await;
    let second = deploy_canary(&app, &alice, api, "prod", 1.0).await.unwrap();
    new_route(&app, &alice, api, "GET /c", mock("c")).await;
    let third = deploy_canary(&app, &alice, api, "prod", 1.0).await.unwrap();
    assert_eq!(told(&app).await.1, [compile::deployment_name(second.id)]);

    // AWS's way to promote: by updates.
    let moved = UpdateStage {
        deployment: Patch::Set(third.id),
        ..change(UpdateCanary { percent_traffic: Some(0.0), ..UpdateCanary::default() })
    };
    let stage = stage::update(&app, &alice, &prod(api), moved).await.unwrap();
    assert_eq!(stage.deployment, Some(third.id));
    assert_eq!(told(&app).await.1, [compile::deployment_name(first.id)]);
    let stage = stage::update(&app, &alice, &prod(api), end()).await.unwrap();
    assert_eq!((stage.deployment, stage.canary), (Some(third.id), None));
    assert!(told(&app).await.1.is_empty(), "the stage itself serves it now");

    // An older deployment can be a canary too.
    let back = UpdateCanary {
        deployment: Some(first.id),
        percent_traffic: Some(5.0),
        ..UpdateCanary::default()
    };
    stage::update(&app, &alice, &prod(api), change(back)).await.unwrap();
    stage::delete(&app, &alice, &prod(api)).await.unwrap();
    let mut gone = told(&app).await.1;
    gone.retain(|name| *name != compile::stage_name(api, "prod"));
    assert_eq!(gone, [compile::deployment_name(third.id), compile::deployment_name(first.id)]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_canarys_deployment_is_not_cleared_away(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let (api, first) = deployed(&app, &alice).await;
    let second = deploy_canary(&app, &alice, api, "prod", 1.0).await.unwrap();
    let limits = "update tenant set limits = '{\"deploymentsPerApi\": 2}'";
    sqlx::query(limits).execute(&db).await.unwrap();

    let over = deploy(&app, &alice, api, "beta").await.unwrap_err();
    assert_eq!(over.code(), "limit_exceeded");
    stage::update(&app, &alice, &prod(api), end()).await.unwrap();
    let third = deploy(&app, &alice, api, "beta").await.unwrap();
    let kept = deployment::list(&app, &alice, api, &Page::default()).await.unwrap().items;
    let kept: Vec<_> = kept.iter().map(|deployment| deployment.id).collect();
    assert_eq!(kept, [third.id, first.id]);
    assert!(!kept.contains(&second.id));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_canary_needs_a_stage_with_a_deployment_and_one_of_the_same_api(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let (api, first) = deployed(&app, &alice).await;
    let (other, _) = deployed(&app, &alice).await;
    let absent = deploy_canary(&app, &alice, api, "beta", 1.0).await.unwrap_err();
    assert_eq!((absent.code(), absent.param()), ("bad_request", Some("stage")));

    let of_other = deploy(&app, &alice, other, "prod").await.unwrap();
    let mallory = testing::owner(&app).await;
    let (_, of_stranger) = deployed(&app, &mallory).await;
    let given = |deployment, percent_traffic| {
        change(UpdateCanary { deployment, percent_traffic, ..UpdateCanary::default() })
    };
    for (update, code, param) in [
        (given(None, Some(1.0)), "bad_request", Some("canarySettings.deploymentId")),
        (given(Some(first.id), None), "bad_request", Some("canarySettings.percentTraffic")),
        (given(Some(of_other.id), Some(1.0)), "not_found", None),
        (given(Some(of_stranger.id), Some(1.0)), "not_found", None),
        (
            UpdateStage { deployment: Patch::Clear, ..given(Some(first.id), Some(1.0)) },
            "bad_request",
            Some("canarySettings"),
        ),
    ] {
        let refused = stage::update(&app, &alice, &prod(api), update).await.unwrap_err();
        assert_eq!((refused.code(), refused.param()), (code, param));
    }
    let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
    let refused = promote(&app, &viewer, &prod(api)).await.unwrap_err();
    assert_eq!(refused.code(), "forbidden");
    assert!(matches!(promote(&app, &mallory, &prod(api)).await, Err(Error::NotFound(_))));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stage_that_nodes_limit_takes_deployments(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let (api, _) = deployed(&app, &alice).await;
    let limit = crate::domain::concurrency::ConcurrencyLimit {
        max_in_flight: 1,
        enforcement: crate::domain::throttle::ThrottleEnforcement::Hard,
    };
    let limited = UpdateStage { concurrency_limit: Patch::Set(limit), ..UpdateStage::default() };
    stage::update(&app, &alice, &prod(api), limited).await.unwrap();
    deploy(&app, &alice, api, "prod").await.unwrap();
    deploy_canary(&app, &alice, api, "prod", 100.0).await.unwrap();
    deploy_canary(&app, &alice, api, "prod", 100.0).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_canarys_variables_must_fill_in_what_its_deployment_asks_for(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let (api, _) = deployed(&app, &alice).await;
    let proxy = Settings::http_proxy("http://${stageVariables.host}/x");
    new_route(&app, &alice, api, "GET /proxy", proxy).await;
    let refused = deploy_canary(&app, &alice, api, "prod", 1.0).await.unwrap_err();
    assert_eq!(refused.param(), Some("canarySettings.stageVariableOverrides"));

    let with = |host: &str| CanarySettings {
        stage_variable_overrides: pairs(&[("host", host)]),
        ..CanarySettings::of(1.0)
    };
    for (host, right) in [("10.0.0.1", false), ("127.0.0.1:7000", true)] {
        let new = NewDeployment::new(api, Some("prod".to_owned()), String::new()).unwrap();
        let new = new.with_canary(Some(with(host))).unwrap();
        let made = deployment::create(&app, &alice, new).await;
        assert_eq!(made.is_ok(), right, "{host}: {made:?}");
    }
    // The stage's own deployment asks for nothing, but the canary of the stage does.
    let emptied = change(UpdateCanary {
        stage_variable_overrides: Some(BTreeMap::new()),
        ..UpdateCanary::default()
    });
    let refused = stage::update(&app, &alice, &prod(api), emptied).await.unwrap_err();
    assert_eq!(refused.param(), Some("canarySettings.stageVariableOverrides"));
}
