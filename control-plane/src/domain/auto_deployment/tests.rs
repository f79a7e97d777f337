use sqlx::PgPool;

use super::*;
use crate::domain::api::Dialect;
use crate::domain::canary::UpdateCanary;
use crate::domain::integration::Settings;
use crate::domain::page::Page;
use crate::domain::patch::Patch;
use crate::domain::route::{self, NewRoute, RouteIntegration, RoutePlace};
use crate::domain::stage::{NewStage, UpdateStage};
use crate::domain::{api, deployment, gateway_response, integration, pending_changes, resource};
use crate::testing::{self, deploy, mock, new_api, new_route};

async fn auto_stage(app: &App, actor: &Actor, api: ApiId, name: &str) -> Stage {
    let new = NewStage { auto_deploy: true, ..NewStage::named(name) };
    stage::create(app, actor, api, new).await.unwrap()
}

async fn seen(app: &App, actor: &Actor, of: &Stage) -> Stage {
    stage::get(app, actor, &of.id()).await.unwrap()
}

async fn made(app: &App, actor: &Actor, api: ApiId) -> Vec<deployment::Deployment> {
    deployment::list(app, actor, api, &Page::default()).await.unwrap().items
}

#[sqlx::test(migrations = "../migrations")]
async fn changes_that_came_together_are_deployed_once_in_the_name_of_who_made_them(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let dev = auto_stage(&app, &alice, api, "dev").await;
    for key in ["GET /a", "GET /b", "GET /c"] {
        new_route(&app, &alice, api, key, mock(key)).await;
    }
    assert_eq!(seen(&app, &alice, &dev).await.deployment, None);

    run(&app).await.unwrap();

    let after = seen(&app, &alice, &dev).await;
    let all = made(&app, &alice, api).await;
    assert_eq!((after.deployment, all.len()), (Some(all[0].id), 1));
    assert!(all[0].auto_deployed);
    assert_eq!(all[0].description, DESCRIPTION);
    let told = format!("Successfully deployed stage with deployment ID '{}'", all[0].id);
    assert_eq!(after.last_deployment_status_message, Some(told));
    assert!(!pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);
    let by: uuid::Uuid =
        sqlx::query_scalar("select created_by from deployment").fetch_one(&db).await.unwrap();
    assert_eq!(by, alice.user.0);

    run(&app).await.unwrap();
    let update =
        UpdateStage { description: Some("as it was".to_owned()), ..UpdateStage::default() };
    stage::update(&app, &alice, &dev.id(), update).await.unwrap();
    run(&app).await.unwrap();
    assert_eq!(made(&app, &alice, api).await.len(), 1, "the draft is what it was");
}

#[sqlx::test(migrations = "../migrations")]
async fn every_change_of_a_draft_is_deployed(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let id = new_api(&app, &alice, Dialect::Native).await;
    let route = new_route(&app, &alice, id, "GET /a/b", mock("a")).await;
    let by_hand = deploy(&app, &alice, id, "prod").await.unwrap();
    let dev = auto_stage(&app, &alice, id, "dev").await;
    run(&app).await.unwrap();
    let mut last = seen(&app, &alice, &dev).await.deployment;
    assert!(last.is_some_and(|it| it != by_hand.id));

    let mut deployed = async |what: &str| {
        run(&app).await.unwrap();
        let now = seen(&app, &alice, &dev).await.deployment;
        assert_ne!(now, last, "{what}");
        last = now;
    };
    let update = api::UpdateApi { minimum_compression_size: Patch::Set(0), ..Default::default() };
    api::update(&app, &alice, id, update).await.unwrap();
    deployed("the Api").await;
    let of = route.integration.unwrap();
    integration::update(&app, &alice, of, mock("b")).await.unwrap();
    deployed("an integration").await;
    let settings = gateway_response::Settings { status_code: Some(503), ..Default::default() };
    let of = plan::ResponseType::Throttled;
    gateway_response::update(&app, &alice, id, of, settings).await.unwrap();
    deployed("a gateway response").await;
    gateway_response::delete(&app, &alice, id, of).await.unwrap();
    deployed("a gateway response's reset").await;
    let other = new_route(&app, &alice, id, "GET /c/d", mock("c")).await;
    deployed("a route").await;
    let update = route::UpdateRoute { api_key_required: Some(true), ..Default::default() };
    route::update(&app, &alice, other.id, update).await.unwrap();
    deployed("a route's change").await;
    route::delete(&app, &alice, other.id).await.unwrap();
    deployed("a route's end").await;
    let root = resource::list(&app, &alice, id, &Page::default()).await.unwrap().items[0].id;
    let new = resource::NewResource::new(root, "e").unwrap();
    let e = resource::create(&app, &alice, id, new).await.unwrap().id;
    let to = RouteIntegration::New(Box::new(mock("e")));
    let new = NewRoute::new("GET", RoutePlace::Resource(e), false, "", to).unwrap();
    route::create(&app, &alice, id, new).await.unwrap();
    deployed("a resource's route").await;
    resource::delete(&app, &alice, e).await.unwrap();
    deployed("a resource's end, and its routes'").await;
    let prod = crate::ids::StageId { api: id, name: "prod".to_owned() };
    let prod = stage::get(&app, &alice, &prod).await.unwrap();
    assert_eq!(prod.deployment, Some(by_hand.id), "it is deployed to by hand");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_draft_that_cannot_be_deployed_stays_and_its_stage_says_why(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let dev = auto_stage(&app, &alice, api, "dev").await;
    run(&app).await.unwrap();
    let told = async || seen(&app, &alice, &dev).await.last_deployment_status_message.unwrap();
    assert!(told().await.contains("route"), "{}", told().await);

    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    let bare = NewRoute::new("GET", "/bare", false, "", RouteIntegration::None).unwrap();
    let bare = route::create(&app, &alice, api, bare).await.unwrap();
    run(&app).await.unwrap();
    assert!(told().await.contains("integration"), "{}", told().await);
    assert!(made(&app, &alice, api).await.is_empty());
    run(&app).await.unwrap();

    route::delete(&app, &alice, bare.id).await.unwrap();
    run(&app).await.unwrap();
    assert!(told().await.starts_with("Successfully"), "{}", told().await);
    assert!(seen(&app, &alice, &dev).await.deployment.is_some());
}

#[sqlx::test(migrations = "../migrations")]
async fn one_stage_that_a_draft_does_not_fit_keeps_no_other_from_it(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let (fits, lacks) =
        (auto_stage(&app, &alice, api, "fits").await, auto_stage(&app, &alice, api, "lacks").await);
    let host = std::collections::BTreeMap::from([("host".to_owned(), "127.0.0.1:9".to_owned())]);
    let update = UpdateStage { variables: Some(host.clone()), ..UpdateStage::default() };
    stage::update(&app, &alice, &fits.id(), update).await.unwrap();
    let to = Settings::http_proxy("http://${stageVariables.host}/");
    new_route(&app, &alice, api, "GET /a", to).await;
    run(&app).await.unwrap();
    assert!(seen(&app, &alice, &fits).await.deployment.is_some());
    let without = seen(&app, &alice, &lacks).await;
    assert_eq!(without.deployment, None);
    assert!(without.last_deployment_status_message.unwrap().contains("host"));

    let update = UpdateStage { variables: Some(host), ..UpdateStage::default() };
    stage::update(&app, &alice, &lacks.id(), update).await.unwrap();
    run(&app).await.unwrap();
    assert!(seen(&app, &alice, &lacks).await.deployment.is_some(), "it fits now");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_deploys_by_itself_is_not_deployed_to_and_has_no_canary(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    let old = deploy(&app, &alice, api, "prod").await.unwrap();
    let dev = auto_stage(&app, &alice, api, "dev").await;
    run(&app).await.unwrap();
    let param = |error: Error| (error.code(), error.param().unwrap_or_default().to_owned());

    let refused = deploy(&app, &alice, api, "dev").await.unwrap_err();
    assert_eq!(param(refused), ("conflict", "stage".to_owned()));
    let change = UpdateStage { deployment: Patch::Set(old.id), ..UpdateStage::default() };
    let refused = stage::update(&app, &alice, &dev.id(), change.clone()).await.unwrap_err();
    assert_eq!(param(refused), ("conflict", "deploymentId".to_owned()));
    let canary = UpdateCanary {
        deployment: Some(old.id),
        percent_traffic: Some(5.0),
        ..UpdateCanary::default()
    };
    let with = UpdateStage { canary: Patch::Set(canary.clone()), ..UpdateStage::default() };
    let refused = stage::update(&app, &alice, &dev.id(), with.clone()).await.unwrap_err();
    assert_eq!(param(refused), ("conflict", "autoDeploy".to_owned()));
    let both = NewStage { auto_deploy: true, deployment: Some(old.id), ..NewStage::named("both") };
    let refused = stage::create(&app, &alice, api, both).await.unwrap_err();
    assert_eq!(param(refused), ("bad_request", "deploymentId".to_owned()));

    let off = UpdateStage { auto_deploy: Some(false), ..change };
    let after = stage::update(&app, &alice, &dev.id(), off).await.unwrap();
    assert_eq!((after.deployment, after.last_deployment_status_message), (Some(old.id), None));
    stage::update(&app, &alice, &dev.id(), with).await.unwrap();
    let on = UpdateStage { auto_deploy: Some(true), ..UpdateStage::default() };
    let refused = stage::update(&app, &alice, &dev.id(), on).await.unwrap_err();
    assert_eq!(param(refused), ("conflict", "autoDeploy".to_owned()));
}
