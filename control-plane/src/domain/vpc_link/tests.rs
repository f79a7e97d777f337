use serde_json::{Value, json};
use sqlx::PgPool;

use super::*;
use crate::access::role::Role;
use crate::domain::api::Dialect;
use crate::domain::canary::UpdateCanary;
use crate::domain::integration::{self, ConnectionType, Settings};
use crate::domain::patch::Patch;
use crate::domain::route;
use crate::domain::stage::{self, UpdateStage};
use crate::ids::StageId;
use crate::testing::{self, deploy, mock, new_api, new_route};

fn balancing(change: impl FnOnce(&mut Value)) -> Balancing {
    let mut value = json!({ "targets": [{ "host": "a.example.com", "port": 8080 }] });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

fn named(name: &str, balancing: Balancing) -> NewVpcLink {
    NewVpcLink { name: name.to_owned(), description: String::new(), balancing }
}

fn linked(id: VpcLinkId) -> Settings {
    Settings {
        connection_type: ConnectionType::VpcLink,
        connection_id: Some(id),
        ..Settings::http_proxy("http://pets.internal/{proxy}")
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn what_breaks_a_rule_is_named(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    for (change, param) in [
        (json!({ "targets": [] }), "targets"),
        (json!({ "targets": [{ "host": "a", "port": 0 }] }), "targets[0].port"),
        (json!({ "targets": [{ "host": "a", "port": 65536 }] }), "targets[0].port"),
        (json!({ "targets": [{ "host": "a/b", "port": 1 }] }), "targets[0].host"),
        (json!({ "targets": [{ "host": "", "port": 1 }] }), "targets[0].host"),
        (json!({ "targets": [{ "host": "2130706433", "port": 1 }] }), "targets[0].host"),
        (json!({ "targets": [{ "host": "10.0.0.1", "port": 1 }] }), "targets[0].host"),
        (json!({ "targets": [{ "host": "::1", "port": 1 }] }), "targets[0].host"),
        (json!({ "targets": [{ "host": "a", "port": 1, "weight": 1001 }] }), "targets[0].weight"),
        (json!({ "targets": [{ "host": "a", "port": 1, "weight": 0 }] }), "targets[0].weight"),
        (
            json!({ "targets": [{ "host": "a", "port": 1 }, { "host": "A", "port": 1 }] }),
            "targets[1].host",
        ),
        (json!({ "algorithm": "CONSISTENT_HASH" }), "hashKey"),
        (json!({ "hashKey": { "source": "SOURCE_IP" } }), "hashKey"),
        (
            json!({ "algorithm": "CONSISTENT_HASH", "hashKey": { "source": "HEADER", "name": "a b" } }),
            "hashKey.name",
        ),
        (
            json!({ "algorithm": "CONSISTENT_HASH", "hashKey": { "source": "SOURCE_IP", "name": "a" } }),
            "hashKey.name",
        ),
        (json!({ "healthCheck": { "path": "up" } }), "healthCheck.path"),
        (json!({ "healthCheck": { "path": "/a b" } }), "healthCheck.path"),
        (json!({ "healthCheck": { "host": "a/b" } }), "healthCheck.host"),
        (json!({ "healthCheck": { "intervalMs": 499 } }), "healthCheck.intervalMs"),
        (json!({ "healthCheck": { "timeoutMs": 99 } }), "healthCheck.timeoutMs"),
        (
            json!({ "healthCheck": { "intervalMs": 1000, "timeoutMs": 1000 } }),
            "healthCheck.timeoutMs",
        ),
        (json!({ "healthCheck": { "healthyThreshold": 0 } }), "healthCheck.healthyThreshold"),
        (json!({ "healthCheck": { "unhealthyThreshold": 11 } }), "healthCheck.unhealthyThreshold"),
        (json!({ "healthCheck": { "protocol": "TCP", "path": "/a" } }), "healthCheck.path"),
        (
            json!({ "healthCheck": { "statuses": [{ "from": 299, "to": 200 }] } }),
            "healthCheck.statuses[0].to",
        ),
        (json!({ "ejection": { "consecutiveFailures": 0 } }), "ejection.consecutiveFailures"),
        (json!({ "ejection": { "ejectMs": 999 } }), "ejection.ejectMs"),
        (json!({ "ejection": { "maxPercent": 101 } }), "ejection.maxPercent"),
    ] {
        let given = balancing(|value| {
            for (name, field) in change.as_object().unwrap() {
                value[name] = field.clone();
            }
        });
        let error = create(&app, &alice, named("a", given)).await.unwrap_err();
        let param = format!("balancing.{param}");
        assert_eq!((error.code(), error.param()), ("bad_request", Some(param.as_str())));
    }
    create(&app, &alice, named("a", balancing(|_| {}))).await.unwrap();
    let error = create(&app, &alice, named("a", balancing(|_| {}))).await.unwrap_err();
    assert_eq!((error.code(), error.param()), ("conflict", Some("name")));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_used_is_not_deleted_and_another_tenants_is_not_found(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    let link = create(&app, &alice, named("a", balancing(|_| {}))).await.unwrap();
    assert_eq!(get(&app, &alice, link.id).await.unwrap(), link);
    assert!(matches!(get(&app, &mallory, link.id).await, Err(Error::NotFound(_))));
    assert!(matches!(delete(&app, &mallory, link.id).await, Err(Error::NotFound(_))));
    let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
    assert!(delete(&app, &viewer, link.id).await.is_err());

    let api = new_api(&app, &alice, Dialect::Native).await;
    let other = new_api(&app, &mallory, Dialect::Native).await;
    let named = integration::create(&app, &mallory, other, linked(link.id)).await;
    assert!(matches!(named, Err(Error::NotFound(_))), "a link of somebody else's");
    let route = new_route(&app, &alice, api, "ANY /{proxy+}", linked(link.id)).await;
    let error = delete(&app, &alice, link.id).await.unwrap_err();
    assert_eq!((error.code(), error.param()), ("conflict", Some("id")));
    let with_link = deploy(&app, &alice, api, "prod").await.unwrap();
    route::delete(&app, &alice, route.id).await.unwrap();
    integration::delete(&app, &alice, route.integration.unwrap()).await.unwrap();
    let refused = async || delete(&app, &alice, link.id).await.unwrap_err().to_string();
    assert_eq!(refused().await, format!("the stage prod of the API {api} uses this VPC link"));

    // Its deployment serves a part of the calls only, and then none.
    new_route(&app, &alice, api, "GET /a", mock("ok")).await;
    deploy(&app, &alice, api, "prod").await.unwrap();
    let prod = StageId { api, name: "prod".to_owned() };
    let canary = async |canary| {
        stage::update(&app, &alice, &prod, UpdateStage { canary, ..UpdateStage::default() }).await
    };
    let (deployment, percent_traffic) = (Some(with_link.id), Some(5.0));
    let beside = UpdateCanary { deployment, percent_traffic, ..UpdateCanary::default() };
    canary(Patch::Set(beside)).await.unwrap();
    assert_eq!(refused().await, format!("the stage prod of the API {api} uses this VPC link"));
    canary(Patch::Clear).await.unwrap();
    delete(&app, &alice, link.id).await.unwrap();

    let back = UpdateStage { deployment: Patch::Set(with_link.id), ..UpdateStage::default() };
    let error = stage::update(&app, &alice, &prod, back).await.unwrap_err();
    assert_eq!((error.code(), error.param()), ("conflict", Some("deploymentId")));
    let gone =
        format!("needs the VPC link {}, which was deleted; deploy the draft instead", link.id);
    assert!(error.to_string().contains(&gone), "{error}");
}
