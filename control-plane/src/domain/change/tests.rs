use serde_json::json;
use sqlx::PgPool;

use super::*;
use crate::domain::api::Dialect;
use crate::domain::patch::Patch;
use crate::domain::{deployment, route, stage};
use crate::testing::{self, deploy, mock, new_api, new_route};

/// Each change as its path with dots, and what was and is.
fn told(found: &Changes) -> Vec<(String, Value, Value)> {
    assert_eq!(found.total, found.changes.len());
    let told = found.changes.iter().map(|change| {
        let side = |side: &Option<Value>| side.clone().unwrap_or_default();
        (change.path.join("."), side(&change.before), side(&change.after))
    });
    told.collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_draft_differs_from_what_a_stage_serves_field_by_field_until_it_is_deployed(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let kept = new_route(&app, &alice, api, "GET /kept", mock("a")).await;
    let gone = new_route(&app, &alice, api, "GET /gone", mock("b")).await;
    let prod = StageId { api, name: "prod".to_owned() };
    let first = deploy(&app, &alice, api, "prod").await.unwrap();
    assert_eq!(of_stage(&app, &alice, &prod).await.unwrap(), Changes::default());

    let change = route::UpdateRoute {
        api_key_required: Some(true),
        operation_name: Some("keep".to_owned()),
        ..route::UpdateRoute::default()
    };
    route::update(&app, &alice, kept.id, change).await.unwrap();
    route::delete(&app, &alice, gone.id).await.unwrap();
    new_route(&app, &alice, api, "ANY /new/{id}", mock("c")).await;

    let pending = of_stage(&app, &alice, &prod).await.unwrap();
    let seen = told(&pending);
    let paths: Vec<&str> = seen.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "routes.ANY /new/{id}",
            "routes.GET /gone",
            "routes.GET /kept.apiKeyRequired",
            "routes.GET /kept.operationName",
        ]
    );
    assert_eq!(seen[0].1, Value::Null);
    assert_eq!(seen[0].2["integration"]["mock"]["body"], "c");
    assert_eq!(
        (&seen[1].1["integration"]["mock"]["body"], &seen[1].2),
        (&json!("b"), &Value::Null)
    );
    assert_eq!((&seen[2].1, &seen[2].2), (&Value::Null, &json!(true)), "a default goes unsaid");
    assert_eq!(seen[3].2, "keep");

    let second = deploy(&app, &alice, api, "prod").await.unwrap();
    assert_eq!(of_stage(&app, &alice, &prod).await.unwrap(), Changes::default());
    assert_eq!(of_deployment(&app, &alice, second.id, None).await.unwrap(), pending);
    let since_itself = of_deployment(&app, &alice, second.id, Some(second.id)).await.unwrap();
    assert_eq!(since_itself, Changes::default());
    let back = of_deployment(&app, &alice, first.id, Some(second.id)).await.unwrap();
    let mirrored: Vec<_> = told(&back).into_iter().map(|(path, was, is)| (path, is, was)).collect();
    assert_eq!(mirrored, seen);
}

#[sqlx::test(migrations = "../migrations")]
async fn all_is_new_where_nothing_was(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::AwsHttp).await;
    let empty = testing::stage(&app, &alice, "empty").await;
    assert_eq!(of_stage(&app, &alice, &empty).await.unwrap(), Changes::default(), "no route");
    new_route(&app, &alice, api, "$default", mock("a")).await;
    let first = deploy(&app, &alice, api, "prod").await.unwrap();

    let seen = told(&of_deployment(&app, &alice, first.id, None).await.unwrap());
    assert!(seen.iter().all(|(_, before, _)| before.is_null()), "{seen:?}");
    let is = |path: &str| seen.iter().find(|it| it.0 == path).map(|it| it.2.clone());
    assert_eq!(is("api.dialect"), Some(json!("AWS_HTTP")), "a word without its prefix");
    assert!(is("routes.$default").is_some());
    assert!(is("id").is_none(), "a document has no id of its own");
}

#[sqlx::test(migrations = "../migrations")]
async fn only_deployments_of_one_api_are_compared_and_nobody_elses(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let mut made = Vec::new();
    for _ in 0..2 {
        let api = new_api(&app, &alice, Dialect::Native).await;
        new_route(&app, &alice, api, "GET /a", mock("a")).await;
        made.push(deploy(&app, &alice, api, "prod").await.unwrap());
    }
    let refused = of_deployment(&app, &alice, made[0].id, Some(made[1].id)).await.unwrap_err();
    assert_eq!((refused.code(), refused.param()), ("bad_request", Some("since")));

    let mallory = testing::owner(&app).await;
    let refused = of_deployment(&app, &mallory, made[0].id, None).await.unwrap_err();
    assert_eq!(refused.code(), "not_found");
    let prod = StageId { api: made[0].api, name: "prod".to_owned() };
    assert_eq!(of_stage(&app, &mallory, &prod).await.unwrap_err().code(), "not_found");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_rollback_is_compared_with_the_draft_like_any_other(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    let first = deploy(&app, &alice, api, "prod").await.unwrap();
    new_route(&app, &alice, api, "GET /b", mock("b")).await;
    deploy(&app, &alice, api, "prod").await.unwrap();
    let prod = StageId { api, name: "prod".to_owned() };
    let back = stage::UpdateStage { deployment: Patch::Set(first.id), ..Default::default() };
    stage::update(&app, &alice, &prod, back).await.unwrap();

    let pending = told(&of_stage(&app, &alice, &prod).await.unwrap());
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].0, "routes.GET /b");
    assert!(deployment::get(&app, &alice, first.id).await.is_ok());
}

#[test]
fn so_many_changes_are_told_and_the_rest_are_counted() {
    let routes = |body: &str| {
        let routes = (0..CHANGES_MAX + 7).map(|route| (format!("GET /{route:04}"), json!(body)));
        json!({ "routes": routes.collect::<Map<_, _>>() })
    };
    let found = between(routes("a"), routes("b"));
    assert_eq!((found.total, found.changes.len()), (CHANGES_MAX + 7, CHANGES_MAX));
    assert_eq!(found.changes[0].path, ["routes", "GET /0000"]);
    assert_eq!(between(routes("a"), routes("a")), Changes::default());
}

/// Every enumeration of the configuration begins with what is said by saying nothing, and its values with its name.
#[test]
fn words_are_found_in_every_enumeration() {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    let ours = pool.all_enums().filter(|it| it.package_name() == "tollgate.config.v1");
    let mut count = 0;
    for of in ours {
        let first = of.default_value();
        let prefix =
            first.name().strip_suffix("UNSPECIFIED").unwrap_or_else(|| panic!("{first:?}"));
        assert!(of.values().all(|value| value.name().starts_with(prefix)), "{of:?}");
        count += 1;
    }
    assert!(count > 5, "{count}");
}
