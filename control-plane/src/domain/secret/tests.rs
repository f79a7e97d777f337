use std::fmt::Write;

use chrono::TimeDelta;
use proto::config::v1::{AwsSigner, resource, resource_name, secret as message};
use sqlx::PgPool;

use super::*;
use crate::access::role::Role;
use crate::domain::api::Dialect;
use crate::domain::integration::{self, AwsSettings, PayloadFormatVersion, Settings};
use crate::snapshot::compile;
use crate::testing::{self, deploy, new_api, new_route, published, text_secret};

const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:hello";

fn credentials(id: &str, secret: &str) -> GivenValue {
    let credentials = AwsCredentials {
        access_key_id: id.into(),
        secret_access_key: secret.into(),
        session_token: None,
    };
    GivenValue { text: None, aws_credentials: Some(credentials) }
}

fn aws(name: &str) -> NewSecret {
    NewSecret {
        name: name.to_owned(),
        value: credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
    }
}

fn by(secret: SecretId) -> Settings {
    Settings {
        aws: Some(AwsSettings::by(secret)),
        ..Settings::aws_proxy(ARN, PayloadFormatVersion::V2)
    }
}

/// What nodes were told last of a secret.
async fn told(app: &App) -> Option<message::Value> {
    let upserts = published(app).await.into_iter().flat_map(|delta| delta.upserts);
    let mut secrets = upserts.filter_map(|resource| match resource.kind {
        Some(resource::Kind::Secret(secret)) => secret.value,
        _ => None,
    });
    secrets.next_back()
}

async fn signer(app: &App) -> AwsSigner {
    match told(app).await {
        Some(message::Value::Aws(signer)) => signer,
        _ => panic!("nodes were told of no credentials"),
    }
}

fn days(signer: &AwsSigner) -> Vec<&str> {
    signer.keys.iter().map(|key| &*key.date).collect()
}

/// A deployed route to a function that is invoked by the secret.
async fn deployed(app: &App, owner: &Actor) -> (ApiId, SecretId) {
    let secret = create(app, owner, aws("aws")).await.unwrap().id;
    let api = new_api(app, owner, Dialect::Native).await;
    new_route(app, owner, api, "GET /f", by(secret)).await;
    deploy(app, owner, api, "prod").await.unwrap();
    (api, secret)
}

#[sqlx::test(migrations = "../migrations")]
async fn a_value_is_kept_under_the_tenants_data_key_and_told_nobody(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);

    let secret = create(&app, &alice, text_secret("t")).await.unwrap();

    let stored: Vec<u8> = sqlx::query_scalar("select value from secret where id = $1")
        .bind(secret.id.0)
        .fetch_one(&db)
        .await
        .unwrap();
    let mut tx = app.begin(&alice).await.unwrap();
    let data_key = app.data_key(&mut tx, alice.tenant).await.unwrap();
    let opened = open(&data_key, alice.tenant, secret.id, secret.kind, &stored).unwrap();
    assert!(matches!(opened, SecretValue::Text(text) if text.expose_secret() == "some text"));
    assert!(open(&data_key, alice.tenant, app.rng.id(), secret.kind, &stored).is_err());
    drop(tx);
    let mut said = serde_json::to_string(&secret).unwrap();
    for entry in testing::audited(&app, &alice).await {
        write!(said, "{entry:?}").unwrap();
    }
    assert!(!said.contains("some text"), "{said}");
    assert!(published(&app).await.is_empty(), "what no deployment needs is no node's business");
    assert!(matches!(get(&app, &mallory, secret.id).await, Err(Error::NotFound(_))));
    let other = SecretChanges { name: Some("x".to_owned()), value: GivenValue::default() };
    assert!(matches!(update(&app, &mallory, secret.id, other).await, Err(Error::NotFound(_))));
    assert!(matches!(delete(&app, &mallory, secret.id).await, Err(Error::NotFound(_))));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_no_secret_is_refused_by_its_field(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let text = |text: String| GivenValue { text: Some(text.into()), ..GivenValue::default() };
    let secret = create(&app, &alice, aws("aws")).await.unwrap();
    for (name, value, param) in [
        (" ", text("x".to_owned()), "name"),
        ("aws", text("x".to_owned()), "name"),
        ("a", text(String::new()), "text"),
        ("a", text("x".repeat(TEXT_BYTES_MAX + 1)), "text"),
        ("a", credentials("", "secret"), "awsCredentials.accessKeyId"),
        ("a", credentials("a/b", "secret"), "awsCredentials.accessKeyId"),
        ("a", credentials("id", "two words"), "awsCredentials.secretAccessKey"),
    ] {
        let new = NewSecret { name: name.to_owned(), value };
        let refused = create(&app, &alice, new).await.map(drop).unwrap_err();
        assert_eq!(refused.param(), Some(param), "{name}");
    }
    let both = GivenValue { text: Some("x".into()), ..credentials("id", "secret") };
    let none = GivenValue::default();
    for (value, param) in [(both, "awsCredentials"), (none, "text")] {
        let new = NewSecret { name: "a".to_owned(), value };
        assert_eq!(create(&app, &alice, new).await.unwrap_err().param(), Some(param));
    }
    let other = SecretChanges { name: None, value: text("x".to_owned()) };
    let refused = update(&app, &alice, secret.id, other).await.unwrap_err();
    assert_eq!(refused.param(), Some("text"), "a secret keeps its kind");
    let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
    assert!(matches!(create(&app, &viewer, aws("b")).await, Err(Error::Forbidden(_))));
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_get_signing_keys_of_what_a_deployment_needs_and_no_secret(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    deployed(&app, &alice).await;

    let signer = signer(&app).await;

    assert_eq!(days(&signer), ["20261120", "20261121", "20261122"]);
    let scopes = signer.keys.iter().map(|key| (&*key.region, &*key.service));
    assert!(scopes.eq([("eu-west-1", "lambda"); 3]));
    assert_eq!(signer.access_key_id, "AKIDEXAMPLE");
    assert!(signer.keys.iter().all(|key| key.key.len() == 32));
    let mut tx = app.system(Job::Publisher).await.unwrap();
    let cell = compile::load_cell(&mut tx, &app.master, "default").await.unwrap();
    let there = cell.iter().filter_map(|resource| match &resource.kind {
        Some(resource::Kind::Secret(secret)) => secret.value.clone(),
        _ => None,
    });
    assert!(there.eq([message::Value::Aws(signer)]), "a snapshot has what the change had");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_new_value_is_on_nodes_at_once(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let (_, secret) = deployed(&app, &alice).await;
    let before = signer(&app).await;

    let value = credentials("AKIDOTHER", "another");
    let updated = update(&app, &alice, secret, SecretChanges { name: None, value }).await.unwrap();

    let after = signer(&app).await;
    assert_eq!(after.access_key_id, "AKIDOTHER");
    assert_ne!(before.keys, after.keys);
    assert!(updated.value_updated_at > updated.created_at);
}

#[sqlx::test(migrations = "../migrations")]
async fn keys_of_days_that_come_are_brought_before_they_are_needed(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    deployed(&app, &alice).await;
    let versions = published(&app).await.len();

    renew(&app).await.unwrap();
    app.clock.advance(TimeDelta::hours(12) + TimeDelta::minutes(9));
    renew(&app).await.unwrap();
    assert_eq!(published(&app).await.len(), versions, "a node's clock may be behind");
    app.clock.advance(TimeDelta::minutes(1));
    renew(&app).await.unwrap();
    renew(&app).await.unwrap();

    assert_eq!(published(&app).await.len(), versions + 1, "once a day");
    assert_eq!(days(&signer(&app).await), ["20261121", "20261122", "20261123"]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_secret_that_is_used_is_not_deleted(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let (api, secret) = deployed(&app, &alice).await;

    let refused = delete(&app, &alice, secret).await.unwrap_err();
    assert_eq!(refused.code(), "conflict");
    assert!(refused.to_string().contains("the integration "), "{refused}");
    // The draft lets go of it, the stage does not.
    let integrations = integration::list(&app, &alice, api, &Page::default()).await.unwrap();
    let id = integrations.items[0].id;
    integration::update(&app, &alice, id, testing::mock("instead")).await.unwrap();
    let refused = delete(&app, &alice, secret).await.unwrap_err();
    assert!(refused.to_string().contains("the stage prod"), "{refused}");
    deploy(&app, &alice, api, "prod").await.unwrap();
    delete(&app, &alice, secret).await.unwrap();

    let removals = published(&app).await.pop().unwrap().removals;
    let name = resource_name::Kind::SecretId(secret.to_string());
    assert_eq!(removals[0].kind, Some(name));
}

#[sqlx::test(migrations = "../migrations")]
async fn an_integration_names_a_secret_of_its_tenant_that_signs(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    let text = create(&app, &alice, text_secret("text")).await.unwrap().id;
    let strangers = create(&app, &mallory, aws("aws")).await.unwrap().id;
    let own = create(&app, &alice, aws("aws")).await.unwrap().id;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let at = |endpoint: &str| {
        let aws = AwsSettings { endpoint_url: endpoint.to_owned(), ..AwsSettings::by(own) };
        Settings { aws: Some(aws), ..by(own) }
    };
    for (settings, param) in [
        (by(text), "aws.secretId"),
        (Settings { aws: None, ..by(own) }, "aws"),
        (Settings { uri: "https://example.com/".to_owned(), ..by(own) }, "aws"),
        (Settings { aws: by(own).aws, ..testing::mock("x") }, "aws"),
        (Settings { uri: "arn:aws:lambda:us-east-1:1:function:f".to_owned(), ..by(own) }, "uri"),
        (
            Settings {
                uri: "arn:aws:apigateway:us-east-1:sqs:action/SendMessage".to_owned(),
                ..by(own)
            },
            "uri",
        ),
        (at("http://example.com/path"), "aws.endpointUrl"),
        (at("ftp://example.com"), "aws.endpointUrl"),
        (at("http://10.0.0.1:9001"), "aws.endpointUrl"),
    ] {
        let uri = settings.uri.clone();
        let refused = integration::create(&app, &alice, api, settings).await.unwrap_err();
        assert_eq!(refused.param(), Some(param), "{uri}");
    }
    for secret in [strangers, app.rng.id()] {
        let refused = integration::create(&app, &alice, api, by(secret)).await;
        assert!(matches!(refused, Err(Error::NotFound("secret"))), "{refused:?}");
    }
    let made = integration::create(&app, &alice, api, at("https://example.com")).await.unwrap();
    assert_eq!(made.settings, at("https://example.com"));
}
