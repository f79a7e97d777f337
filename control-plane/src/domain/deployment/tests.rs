mod kept;

use std::collections::HashMap;

use proto::config::v1::Resource;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use super::*;
use crate::access::role::Role;
use crate::app::Job;
use crate::domain::api::{self, Dialect};
use crate::domain::integration::{PayloadFormatVersion, ProtocolVersion, Settings};
use crate::domain::patch::Patch;
use crate::domain::stage::UpdateStage;
use crate::domain::{pending_changes, route};
use crate::ids::StageId;
use crate::testing::{self, deploy, mock, new_api, new_route, published};

/// What a node holds that heard everything since the beginning.
async fn held(app: &App) -> Vec<Resource> {
    let mut held = HashMap::new();
    for delta in published(app).await {
        for resource in delta.upserts {
            held.insert(resource.kind.as_ref().unwrap().name(), resource);
        }
        for name in delta.removals {
            held.remove(&name.kind.unwrap());
        }
    }
    held.into_values().collect()
}

/// Stages and deployments of the cell, as its rows say.
async fn stored(app: &App) -> Vec<Resource> {
    let mut tx = app.system(Job::Publisher).await.unwrap();
    let mut cell = compile::load_cell(&mut tx, &app.master, "default").await.unwrap();
    cell.retain(|resource| !matches!(resource.kind, Some(v1::resource::Kind::Tenant(_))));
    cell
}

async fn assert_nodes_hold_what_is_stored(app: &App) {
    let (held, stored) = (held(app).await, stored(app).await);
    assert_eq!(held.len(), stored.len());
    assert!(stored.iter().all(|resource| held.contains(resource)));
}

/// How many rows each of these tables has.
async fn rows(db: &PgPool) -> Vec<(String, i64)> {
    let tables = ["api", "route", "integration", "deployment", "stage", "outbox", "audit_entry"];
    let mut counts = Vec::new();
    for table in tables {
        let sql = format!("select count(*) from {table}");
        let count = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await.unwrap();
        counts.push((table.to_owned(), count));
    }
    counts
}

fn prod(api: ApiId) -> StageId {
    StageId { api, name: "prod".to_owned() }
}

fn to(deployment: &Deployment) -> UpdateStage {
    UpdateStage { deployment: Patch::Set(deployment.id), ..UpdateStage::default() }
}

#[sqlx::test(migrations = "../migrations")]
async fn deploying_sends_nodes_the_whole_deployment_and_its_stage(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, api, "GET /pets", mock("pets")).await;
    assert!(published(&app).await.is_empty(), "a draft is no node's business");

    let first = deploy(&app, &alice, api, "prod").await.unwrap();

    let sent = published(&app).await;
    let mut tx = app.begin(&alice).await.unwrap();
    let deployment = compile::deployment(&mut tx, alice.tenant, first.id).await.unwrap();
    let stage = compile::stage(&mut tx, alice.tenant, api, "prod").await.unwrap();
    assert_eq!(sent[0].upserts, [deployment, stage]);
    assert!(sent[0].removals.is_empty());
    assert_eq!(first.version, Some(1));
    assert_eq!(get(&app, &alice, first.id).await.unwrap(), first);
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_draft_has_the_same_digest_and_another_draft_another(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    assert!(!pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);
    new_route(&app, &alice, api, "GET /b", mock("b")).await;
    let route = new_route(&app, &alice, api, "GET /a/{id}", mock("a")).await;
    assert!(pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);

    let first = deploy(&app, &alice, api, "prod").await.unwrap();
    assert!(!pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);
    let again = deploy(&app, &alice, api, "prod").await.unwrap();
    assert_ne!(first.id, again.id);
    assert_eq!(first.digest, again.digest);

    let key_required = |required| route::UpdateRoute {
        api_key_required: Some(required),
        ..route::UpdateRoute::default()
    };
    route::update(&app, &alice, route.id, key_required(true)).await.unwrap();
    let pending = pending_changes::of_stages(&app, &alice, &[prod(api)]).await.unwrap();
    assert!(pending[&prod(api)]);
    let other = deploy(&app, &alice, api, "beta").await.unwrap();
    assert_ne!(first.digest, other.digest);
    assert!(pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api], "prod is behind");

    route::update(&app, &alice, route.id, key_required(false)).await.unwrap();
    assert_eq!(deploy(&app, &alice, api, "prod").await.unwrap().digest, first.digest);
}

#[sqlx::test(migrations = "../migrations")]
async fn the_oldest_deployment_that_no_stage_uses_makes_room_for_the_next(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    sqlx::query("update tenant set limits = '{\"deploymentsPerApi\": 2}'")
        .execute(&db)
        .await
        .unwrap();
    let kept = async || -> Vec<DeploymentId> {
        let page = list(&app, &alice, api, &Page::default()).await.unwrap();
        page.items.iter().map(|deployment| deployment.id).collect()
    };

    let beta = deploy(&app, &alice, api, "beta").await.unwrap();
    deploy(&app, &alice, api, "prod").await.unwrap();
    let over = deploy(&app, &alice, api, "prod").await.unwrap_err();
    assert_eq!(over.code(), "limit_exceeded");
    let off = UpdateStage { deployment: Patch::Clear, ..UpdateStage::default() };
    stage::update(&app, &alice, &prod(api), off).await.unwrap();
    let third = deploy(&app, &alice, api, "prod").await.unwrap();

    assert_eq!(kept().await, [third.id, beta.id]);
    assert_nodes_hold_what_is_stored(&app).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_hold_each_deployment_in_use_and_no_other(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    let first = deploy(&app, &alice, api, "prod").await.unwrap();
    new_route(&app, &alice, api, "GET /b", mock("b")).await;
    let second = deploy(&app, &alice, api, "prod").await.unwrap();
    assert_nodes_hold_what_is_stored(&app).await;
    let sent = published(&app).await;
    assert_eq!(sent[1].removals, [compile::deployment_name(first.id)]);

    // Back to the first, which nodes have forgotten.
    stage::update(&app, &alice, &prod(api), to(&first)).await.unwrap();
    assert_nodes_hold_what_is_stored(&app).await;
    assert_eq!(get(&app, &alice, first.id).await.unwrap().version, Some(3));

    // A second stage keeps the second alive while the first moves about.
    let new = NewStage { deployment: Some(second.id), ..NewStage::named("beta") };
    stage::create(&app, &alice, api, new).await.unwrap();
    stage::update(&app, &alice, &prod(api), to(&second)).await.unwrap();
    stage::update(&app, &alice, &prod(api), to(&first)).await.unwrap();
    assert_nodes_hold_what_is_stored(&app).await;
    let off = UpdateStage { deployment: Patch::Clear, ..UpdateStage::default() };
    let off = stage::update(&app, &alice, &prod(api), off).await.unwrap();
    assert_eq!(off.deployment, None);
    assert_nodes_hold_what_is_stored(&app).await;
    stage::delete(&app, &alice, &prod(api)).await.unwrap();
    assert_nodes_hold_what_is_stored(&app).await;
    api::delete(&app, &alice, api).await.unwrap();
    assert!(held(&app).await.is_empty());
}

#[sqlx::test(migrations = "../migrations")]
async fn what_restricts_access_but_is_not_enforced_is_refused_by_name_and_nothing_is_written(
    db: PgPool,
) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let route = new_route(&app, &alice, api, "GET /a", mock("a")).await;
    let integration = route.integration.unwrap();
    deploy(&app, &alice, api, "prod").await.unwrap();
    let before = rows(&db).await;

    let of_route = "routes[GET /a]";
    let of_integration = format!("integrations[{integration}]");
    for (table, column, value, usual, param) in [
        ("api", "api_key_source", "'AUTHORIZER'", "'HEADER'", "apiKeySource".to_owned()),
        ("api", "policy", "'{}'", "null", "policy".to_owned()),
        (
            "api",
            "endpoint_configuration",
            r#"'{"types": ["PRIVATE"]}'"#,
            r#"'{"types": ["REGIONAL"]}'"#,
            "endpointConfiguration.types".to_owned(),
        ),
        ("api", "endpoint_access_mode", "'STRICT'", "''", "endpointAccessMode".to_owned()),
        ("api", "security_policy", "'TLS_1_2'", "''", "securityPolicy".to_owned()),
        ("route", "authorization_type", "'JWT'", "'NONE'", format!("{of_route}.authorizationType")),
        ("route", "authorizer_id", "'x'", "''", format!("{of_route}.authorizerId")),
        (
            "route",
            "authorization_scopes",
            "'{a}'",
            "'{}'",
            format!("{of_route}.authorizationScopes"),
        ),
        ("route", "request_validator_id", "'x'", "''", format!("{of_route}.requestValidatorId")),
        ("route", "request_models", r#"'{"a": "b"}'"#, "'{}'", format!("{of_route}.requestModels")),
        (
            "route",
            "request_parameters",
            r#"'{"method.request.querystring.a": true}'"#,
            "'{}'",
            format!("{of_route}.requestParameters"),
        ),
        ("route", "integration_id", "null", "'INTEGRATION'", format!("{of_route}.integrationId")),
        (
            "integration",
            "connection_type",
            "'VPC_LINK'",
            "'INTERNET'",
            format!("{of_integration}.connectionType"),
        ),
        ("integration", "credentials", "'arn:x'", "''", format!("{of_integration}.credentials")),
        (
            "integration",
            "tls_config",
            r#"'{"serverNameToVerify": "x.test"}'"#,
            "'{}'",
            format!("{of_integration}.tlsConfig"),
        ),
        ("integration", "type", "'HTTP'", "'MOCK'", format!("{of_integration}.uri")),
        ("stage", "web_acl_arn", "'arn:x'", "''", "stage.webAclArn".to_owned()),
        ("stage", "method_settings", r#"'{"*/*": {}}'"#, "'{}'", "stage.methodSettings".to_owned()),
    ] {
        let set = async |value: &str| {
            let value = value.replace("INTEGRATION", integration.as_str());
            let sql = format!("update {table} set {column} = {value}");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&db).await.unwrap();
        };
        set(value).await;

        let error = deploy(&app, &alice, api, "prod").await.unwrap_err();

        assert_eq!((error.code(), error.param()), ("bad_request", Some(param.as_str())));
        assert_eq!(rows(&db).await, before, "{param}");
        set(usual).await;
    }
    deploy(&app, &alice, api, "prod").await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn all_that_is_wrong_with_a_draft_is_told_at_once(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::AwsRest).await;
    let empty = deploy(&app, &alice, api, "prod").await.unwrap_err();
    assert_eq!(empty.param(), Some("routes"));
    new_route(&app, &alice, api, "GET /a/{id}", mock("a")).await;
    new_route(&app, &alice, api, "GET /a/{name}/b", mock("b")).await;
    let bare = route::NewRoute::new("PUT", "/c", false, "", route::RouteIntegration::None);
    route::create(&app, &alice, api, bare.unwrap()).await.unwrap();

    let error = deploy(&app, &alice, api, "prod").await.unwrap_err();

    assert_eq!(error.param(), Some("routes[PUT /c].integrationId"));
    let text = error.to_string();
    assert!(text.starts_with("2 problems: "), "{text}");
    assert!(text.contains("routes[GET /a/{name}/b].path: "), "{text}");
}

#[sqlx::test(migrations = "../migrations")]
async fn an_aws_rest_api_has_no_default_stage_and_no_default_route(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let rest = new_api(&app, &alice, Dialect::AwsRest).await;
    new_route(&app, &alice, rest, "GET /a", mock("a")).await;
    let before = rows(&db).await;

    let error = deploy(&app, &alice, rest, "$default").await.unwrap_err();
    assert_eq!((error.code(), error.param()), ("bad_request", Some("stage")));
    let new = route::NewRoute::new("", "$default", false, "", route::RouteIntegration::None);
    let error = route::create(&app, &alice, rest, new.unwrap()).await.unwrap_err();
    assert_eq!(error.param(), Some("path"));
    assert_eq!(rows(&db).await, before);

    let native = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, native, "$default", mock("all")).await;
    deploy(&app, &alice, native, "$default").await.unwrap();
    let id = StageId { api: native, name: "$default".to_owned() };
    let url = stage::get(&app, &alice, &id).await.unwrap().invoke_url(&app);
    assert_eq!(url, format!("http://{native}.execute-api.localhost:9080"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stage_must_fill_in_what_a_deployment_asks_of_it(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let proxy = Settings::http_proxy("http://${stageVariables.host}/x");
    new_route(&app, &alice, api, "GET /a", proxy).await;
    let before = rows(&db).await;

    let error = deploy(&app, &alice, api, "prod").await.unwrap_err();
    assert_eq!(error.param(), Some("variables"));
    assert_eq!(rows(&db).await, before);

    let with = |host: &str| NewStage {
        variables: [("host".to_owned(), host.to_owned())].into(),
        ..NewStage::named("prod")
    };
    stage::create(&app, &alice, api, with("127.0.0.1:7000")).await.unwrap();
    deploy(&app, &alice, api, "prod").await.unwrap();
    for forbidden in ["169.254.169.254", "10.0.0.1:80", "user"] {
        let variables = Some(with(forbidden).variables);
        let change = UpdateStage { variables, ..UpdateStage::default() };
        let changed = stage::update(&app, &alice, &prod(api), change).await;
        match forbidden {
            "user" => assert!(changed.is_ok(), "a name is looked up when it is called"),
            _ => assert_eq!(changed.unwrap_err().param(), Some("variables"), "{forbidden}"),
        }
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stage_on_a_usage_plan_stays_and_the_plan_is_named(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    deploy(&app, &alice, api, "prod").await.unwrap();
    let plan = format!(
        "insert into usage_plan (id, tenant_id, name) values ('goldplan00', '{0}', 'Gold');
         insert into usage_plan_stage (tenant_id, usage_plan_id, api_id, stage_name)
             values ('{0}', 'goldplan00', '{api}', 'prod')",
        alice.tenant
    );
    sqlx::raw_sql(AssertSqlSafe(plan)).execute(&db).await.unwrap();
    let before = rows(&db).await;

    let of_stage = stage::delete(&app, &alice, &prod(api)).await.unwrap_err();
    let of_api = api::delete(&app, &alice, api).await.unwrap_err();

    for error in [of_stage, of_api] {
        assert_eq!(error.code(), "conflict");
        assert!(error.to_string().contains("Gold"), "{error}");
    }
    assert_eq!(rows(&db).await, before);
}

#[sqlx::test(migrations = "../migrations")]
async fn another_tenants_deployments_and_stages_do_not_exist(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    let api = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    let hers = deploy(&app, &alice, api, "prod").await.unwrap();
    let own = new_api(&app, &mallory, Dialect::Native).await;
    new_route(&app, &mallory, own, "GET /a", mock("a")).await;
    deploy(&app, &mallory, own, "prod").await.unwrap();
    let before = rows(&db).await;

    let with_hers = NewStage { deployment: Some(hers.id), ..NewStage::named("x") };
    let page = Page::default();
    for (what, error) in [
        ("deploy", deploy(&app, &mallory, api, "prod").await.unwrap_err()),
        ("get", get(&app, &mallory, hers.id).await.unwrap_err()),
        ("list", list(&app, &mallory, api, &page).await.unwrap_err()),
        ("stage", stage::get(&app, &mallory, &prod(api)).await.unwrap_err()),
        ("stages", stage::list(&app, &mallory, api, &page).await.unwrap_err()),
        (
            "create stage",
            stage::create(&app, &mallory, api, NewStage::named("x")).await.unwrap_err(),
        ),
        ("use", stage::create(&app, &mallory, own, with_hers).await.unwrap_err()),
        ("point", stage::update(&app, &mallory, &prod(own), to(&hers)).await.unwrap_err()),
        (
            "update stage",
            stage::update(&app, &mallory, &prod(api), UpdateStage::default()).await.unwrap_err(),
        ),
        ("delete stage", stage::delete(&app, &mallory, &prod(api)).await.unwrap_err()),
        ("delete api", api::delete(&app, &mallory, api).await.unwrap_err()),
    ] {
        assert!(matches!(error, Error::NotFound(_)), "{what}: {error:?}");
    }
    assert_eq!(rows(&db).await, before);
    assert!(find(&app, &mallory, &[hers.id]).await.unwrap().is_empty());
    assert!(pending_changes::of_apis(&app, &mallory, &[api]).await.unwrap().is_empty());
}

#[sqlx::test(migrations = "../migrations")]
async fn a_viewer_reads_and_changes_nothing(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let route = new_route(&app, &alice, api, "GET /a", mock("a")).await;
    let first = deploy(&app, &alice, api, "prod").await.unwrap();
    let before = rows(&db).await;

    assert_eq!(get(&app, &viewer, first.id).await.unwrap(), first);
    let integration = route.integration.unwrap();
    let new = route::NewRoute::new("GET", "/b", false, "", route::RouteIntegration::None);
    let new_of_api = testing::new_api_form(Dialect::Native);
    for error in [
        deploy(&app, &viewer, api, "prod").await.unwrap_err(),
        stage::create(&app, &viewer, api, NewStage::named("x")).await.unwrap_err(),
        stage::update(&app, &viewer, &prod(api), UpdateStage::default()).await.unwrap_err(),
        stage::delete(&app, &viewer, &prod(api)).await.unwrap_err(),
        api::create(&app, &viewer, new_of_api).await.unwrap_err(),
        api::update(&app, &viewer, api, api::UpdateApi::default()).await.unwrap_err(),
        api::delete(&app, &viewer, api).await.unwrap_err(),
        route::create(&app, &viewer, api, new.unwrap()).await.unwrap_err(),
        route::update(&app, &viewer, route.id, route::UpdateRoute::default()).await.unwrap_err(),
        route::delete(&app, &viewer, route.id).await.unwrap_err(),
        crate::domain::integration::create(&app, &viewer, api, mock("x")).await.unwrap_err(),
        crate::domain::integration::update(&app, &viewer, integration, mock("x"))
            .await
            .unwrap_err(),
        crate::domain::integration::delete(&app, &viewer, integration).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Forbidden(_)), "{error:?}");
    }
    assert_eq!(rows(&db).await, before);
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_are_told_which_backends_speak_http2(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let http1 = Settings::http_proxy("http://example.com/1");
    let http2 = Settings {
        protocol_version: ProtocolVersion::Http2,
        ..Settings::http_proxy("http://example.com/2")
    };
    new_route(&app, &alice, api, "GET /1", http1).await;
    new_route(&app, &alice, api, "GET /2", http2).await;
    deploy(&app, &alice, api, "prod").await.unwrap();

    let mut told = Vec::new();
    for resource in held(&app).await {
        let Some(v1::resource::Kind::Deployment(deployment)) = resource.kind else { continue };
        for integration in deployment.integrations {
            let Some(v1::integration::Kind::HttpProxy(proxy)) = integration.kind else { continue };
            told.push((proxy.protocol_version(), proxy.uri));
        }
    }
    told.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    let expected = [
        (v1::ProtocolVersion::Unspecified, "http://example.com/1".to_owned()),
        (v1::ProtocolVersion::Http2, "http://example.com/2".to_owned()),
    ];
    assert_eq!(told, expected, "the default goes unsaid");
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_are_told_which_format_a_function_takes(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    for (route, version) in
        [("GET /1", PayloadFormatVersion::V1), ("GET /2", PayloadFormatVersion::V2)]
    {
        let uri = format!("http://example.com{}", &route[4..]);
        new_route(&app, &alice, api, route, Settings::aws_proxy(&uri, version)).await;
    }
    deploy(&app, &alice, api, "prod").await.unwrap();

    let mut told = Vec::new();
    for resource in held(&app).await {
        let Some(v1::resource::Kind::Deployment(deployment)) = resource.kind else { continue };
        for integration in deployment.integrations {
            let Some(v1::integration::Kind::Function(function)) = integration.kind else {
                continue;
            };
            let version = function.payload_format_version();
            told.push((function.backend.unwrap().uri, version));
        }
    }
    told.sort_unstable();
    let expected = [
        ("http://example.com/1".to_owned(), v1::PayloadFormatVersion::PayloadFormatVersion10),
        ("http://example.com/2".to_owned(), v1::PayloadFormatVersion::PayloadFormatVersion20),
    ];
    assert_eq!(told, expected);
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_are_told_what_to_do_when_a_backend_fails(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let policy = json!({ "attempts": 2, "on": ["RESET"], "statuses": [503], "perTryTimeoutMs": 500, "hedgingDelayMs": 100 });
    let breaker = json!({ "consecutiveFailures": 5, "openMs": 2000 });
    let settings = Settings {
        retry_policy: Some(serde_json::from_value(policy).unwrap()),
        circuit_breaker: Some(serde_json::from_value(breaker).unwrap()),
        ..Settings::http_proxy("http://example.com/1")
    };
    new_route(&app, &alice, api, "GET /1", settings.clone()).await;
    deploy(&app, &alice, api, "prod").await.unwrap();

    let told = held(&app).await.into_iter().find_map(|resource| match resource.kind {
        Some(v1::resource::Kind::Deployment(deployment)) => {
            deployment.integrations.into_iter().next()
        }
        _ => None,
    });
    let told = told.unwrap();
    let Some(v1::integration::Kind::HttpProxy(proxy)) = told.kind else { panic!("no proxy") };
    let expected = v1::RetryPolicy {
        attempts: 2,
        reset: true,
        statuses: vec![503],
        per_try_timeout_ms: 500,
        hedging_delay_ms: 100,
        ..v1::RetryPolicy::default()
    };
    assert_eq!(proxy.retry_policy, Some(expected));
    let expected = v1::CircuitBreaker {
        consecutive_failures: 5,
        failure_percent: 0,
        minimum_requests: 20,
        open_ms: 2000,
        half_open_probes: 1,
    };
    assert_eq!(proxy.circuit_breaker, Some(expected));
    let kept = crate::domain::integration::get(&app, &alice, told.id.parse().unwrap()).await;
    assert_eq!(kept.unwrap().settings, settings, "as it was written");
}
