use chrono::TimeDelta;
use proto::config::v1::{self as message, resource::Kind};
use sqlx::PgPool;

use super::*;
use crate::access::role::Role;
use crate::domain::api::Dialect;
use crate::domain::integration::{self, Settings};
use crate::domain::patch::Patch;
use crate::domain::route;
use crate::domain::stage::{self, NewStage, UpdateStage};
use crate::domain::tls_config::TlsConfig;
use crate::ids::StageId;
use crate::store::snapshot::Scope;
use crate::testing::{self, deploy, mock, new_api, new_route, own_certificate};

const BACKEND: &str = "https://backend.example.com";

fn uploaded(chain: &str, key: &str) -> UploadedClientCertificate {
    UploadedClientCertificate {
        certificate_chain: chain.to_owned(),
        private_key: key.into(),
        description: String::new(),
        tags: Tags::new(),
    }
}

async fn generated(app: &App, actor: &Actor) -> ClientCertificateId {
    generate(app, actor, NewClientCertificate::default()).await.unwrap().id
}

fn showing(id: ClientCertificateId) -> Settings {
    let tls = TlsConfig { client_certificate_id: Some(id), ..TlsConfig::default() };
    Settings { tls_config: Some(tls), ..Settings::http_proxy(BACKEND) }
}

/// What nodes of the cell have of it.
async fn on_nodes(
    app: &App,
    actor: &Actor,
    id: ClientCertificateId,
) -> Option<message::ClientCertificate> {
    let mut tx = app.begin(actor).await.unwrap();
    let found = compile::client_certificate(&mut tx, &app.master, actor.tenant, id).await.unwrap();
    let Some(Kind::ClientCertificate(found)) = found?.kind else { panic!("another kind") };
    Some(found)
}

async fn put(app: &App, actor: &Actor, stage: &StageId, id: Patch<ClientCertificateId>) {
    let change = UpdateStage { client_certificate_id: id, ..UpdateStage::default() };
    stage::update(app, actor, stage, change).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn one_is_generated_for_a_year_and_signed_by_itself(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    for key_algorithm in
        [ClientCertificateKeyAlgorithm::EcP256, ClientCertificateKeyAlgorithm::Rsa2048]
    {
        let new = NewClientCertificate { key_algorithm, ..NewClientCertificate::default() };
        let made = generate(&app, &alice, new).await.unwrap();
        let left = made.expiration_date - app.clock.now();
        assert!(left > TimeDelta::days(364) && left <= TimeDelta::days(365), "{left}");
        assert!(!made.expires_soon(app.clock.now()));
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(made.pem_encoded_certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=ApiGateway");
        assert_eq!(certificate.subject(), certificate.issuer());
        assert!(!certificate.is_ca());
        assert_eq!(get(&app, &alice, made.id).await.unwrap(), made);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_wrong_with_an_upload_is_named(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let (chain, key) = own_certificate(|_| {});
    let (_, another) = own_certificate(|_| {});
    let (expired, expired_key) =
        own_certificate(|params| params.not_after = rcgen::date_time_ymd(2002, 1, 1));
    for (chain, key, param) in [
        ("no PEM", &*key, "certificateChain"),
        (&key, &key, "certificateChain"),
        (&chain.repeat(11), &key, "certificateChain"),
        (&format!("{chain}{expired}"), "no PEM", "privateKey"),
        (&expired, &expired_key, "certificateChain"),
        (&chain, &chain, "privateKey"),
        (&chain, &another, "privateKey"),
    ] {
        let error = upload(&app, &alice, uploaded(chain, key)).await.unwrap_err();
        assert_eq!((error.code(), error.param()), ("bad_request", Some(param)), "{chain:.40}");
    }
    let tagged = Tags::from([("aws:a".to_owned(), String::new())]);
    let error =
        upload(&app, &alice, UploadedClientCertificate { tags: tagged, ..uploaded(&chain, &key) });
    assert_eq!(error.await.unwrap_err().param(), Some("tags"));

    let made = upload(&app, &alice, uploaded(&format!("a comment\n{chain}"), &key)).await.unwrap();
    assert_eq!(made.pem_encoded_certificate, chain.replace("\r\n", "\n"), "and nothing else of it");
    assert_eq!(made.origin, ClientCertificateOrigin::Uploaded);
}

#[sqlx::test(migrations = "../migrations")]
async fn one_that_ends_within_thirty_days_says_so(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    for (days, soon) in [(29, true), (31, false)] {
        let (chain, key) = own_certificate(|params| {
            let seconds = u64::try_from(app.clock.now().timestamp()).unwrap() + days * 86_400;
            let from = rcgen::date_time_ymd(1970, 1, 1);
            params.not_after = from + std::time::Duration::from_secs(seconds);
        });
        let made = upload(&app, &alice, uploaded(&chain, &key)).await.unwrap();
        assert_eq!(made.expires_soon(app.clock.now()), soon, "{days}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_private_key_is_kept_under_the_tenants_data_key_and_told_to_nobody(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let (chain, key) = own_certificate(|_| {});
    let made = upload(&app, &alice, uploaded(&chain, &key)).await.unwrap();
    let der = ClientPem::parse(&chain, &key).unwrap().private_key;

    let stored: Vec<u8> = sqlx::query_scalar("select private_key from client_certificate")
        .fetch_one(&db)
        .await
        .unwrap();
    assert!(!stored.windows(32).any(|part| der.secret_der().windows(32).any(|it| it == part)));
    let mut tx = app.begin(&alice).await.unwrap();
    let data_key = app.data_key(&mut tx, alice.tenant).await.unwrap();
    drop(tx);
    let opened = open(&data_key, alice.tenant, made.id, &stored).unwrap();
    assert_eq!(&**opened, der.secret_der());
    assert!(open(&data_key, alice.tenant, app.rng.id(), &stored).is_err(), "of another row");
    let told = format!("{:?}", testing::audited(&app, &alice).await);
    let middle = key.lines().nth(1).unwrap();
    assert!(told.contains("client_certificate.upload") && !told.contains(middle));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_used_is_not_deleted_and_another_tenants_is_not_found(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    let id = generated(&app, &alice).await;
    assert!(matches!(get(&app, &mallory, id).await, Err(Error::NotFound(_))));
    assert!(matches!(delete(&app, &mallory, id).await, Err(Error::NotFound(_))));
    let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
    assert!(delete(&app, &viewer, id).await.is_err());
    assert!(generate(&app, &viewer, NewClientCertificate::default()).await.is_err());

    let strangers = new_api(&app, &mallory, Dialect::Native).await;
    let named = integration::create(&app, &mallory, strangers, showing(id)).await;
    assert!(matches!(named, Err(Error::NotFound(_))), "one of somebody else's");
    let new = NewStage { client_certificate_id: Some(id), ..NewStage::named("prod") };
    let named = stage::create(&app, &mallory, strangers, new.clone()).await;
    assert!(matches!(named, Err(Error::NotFound(_))), "one of somebody else's");

    let api = new_api(&app, &alice, Dialect::Native).await;
    let refused = async || delete(&app, &alice, id).await.unwrap_err().to_string();
    let stages = format!("the stage prod of the API {api} uses this client certificate");
    stage::create(&app, &alice, api, new).await.unwrap();
    assert_eq!(refused().await, stages);
    let prod = StageId { api, name: "prod".to_owned() };
    put(&app, &alice, &prod, Patch::Clear).await;

    let route = new_route(&app, &alice, api, "GET /a", showing(id)).await;
    assert!(refused().await.starts_with("the integration "));
    let with_it = deploy(&app, &alice, api, "prod").await.unwrap();
    route::delete(&app, &alice, route.id).await.unwrap();
    integration::delete(&app, &alice, route.integration.unwrap()).await.unwrap();
    assert_eq!(refused().await, stages, "what is deployed needs it");
    new_route(&app, &alice, api, "GET /a", mock("ok")).await;
    deploy(&app, &alice, api, "prod").await.unwrap();
    delete(&app, &alice, id).await.unwrap();
    assert!(matches!(get(&app, &alice, id).await, Err(Error::NotFound(_))));

    let back = UpdateStage { deployment: Patch::Set(with_it.id), ..UpdateStage::default() };
    let error = stage::update(&app, &alice, &prod, back).await.unwrap_err();
    assert_eq!((error.code(), error.param()), ("conflict", Some("deploymentId")));
    assert!(error.to_string().contains(&format!("needs the client certificate {id}")), "{error}");
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_get_what_a_stage_or_a_deployment_needs_before_that_and_no_other(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let (chain, key) = own_certificate(|_| {});
    let first = upload(&app, &alice, uploaded(&chain, &key)).await.unwrap().id;
    let second = generated(&app, &alice).await;
    assert!(on_nodes(&app, &alice, first).await.is_none(), "nobody needs it");

    let api = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, api, "GET /own", showing(second)).await;
    new_route(&app, &alice, api, "GET /usual", Settings::http_proxy(BACKEND)).await;
    let frozen = deploy(&app, &alice, api, "prod").await.unwrap().id;
    assert!(on_nodes(&app, &alice, second).await.is_some());
    let mut tx = app.begin(&alice).await.unwrap();
    let frozen = compile::deployment(&mut tx, alice.tenant, frozen).await.unwrap();
    drop(tx);
    let Some(Kind::Deployment(frozen)) = frozen.kind else { panic!() };
    for route in &frozen.routes {
        let expected: &[&str] = if route.path == "/own" { &["clientCertificateId"] } else { &[] };
        assert_eq!(route.restrictions, expected, "an older node refuses");
    }

    let prod = StageId { api, name: "prod".to_owned() };
    put(&app, &alice, &prod, Patch::Set(first)).await;
    let sent = on_nodes(&app, &alice, first).await.unwrap();
    let pem = ClientPem::parse(&chain, &key).unwrap();
    assert_eq!(sent.chain, [pem.chain[0].to_vec()]);
    assert_eq!(sent.private_key, pem.private_key.secret_der());
    let mut tx = app.begin(&alice).await.unwrap();
    let all = store::snapshot::client_certificates(&mut tx, Scope::Cell("default")).await.unwrap();
    assert_eq!(all.len(), 2);
    let stage = compile::stage(&mut tx, alice.tenant, api, "prod").await.unwrap();
    let Some(Kind::Stage(stage)) = stage.kind else { panic!() };
    assert_eq!(stage.client_certificate_id, first.as_str());
    assert_eq!(stage.restrictions, ["clientCertificateId"], "an older node refuses");
    drop(tx);
    assert_eq!(stage::get(&app, &alice, &prod).await.unwrap().client_certificate_id, Some(first));
    put(&app, &alice, &prod, Patch::Clear).await;
    assert!(on_nodes(&app, &alice, first).await.is_none());
}
