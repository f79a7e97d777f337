//! A function behind a node: real apps behind the adapters that people deploy them with, by AWS's events of every shape.

mod calls;
mod hosts;
mod runtime_api;

use harness::World;
use harness::tenant::{Api, Tenant};
use serde_json::json;

use self::hosts::{ACCESS_KEY_ID, Host, REGION, SECRET_ACCESS_KEY};

/// What events and answers look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    V1,
    V2,
    /// In AWS's REST APIs: 1.0 without its `version`.
    Rest,
}

impl Shape {
    /// REST APIs have no `$default`.
    fn stage(self) -> &'static str {
        if self == Self::Rest { "prod" } else { "$default" }
    }

    /// What callers' paths begin with.
    fn base_path(self) -> &'static str {
        if self == Self::Rest { "/prod" } else { "" }
    }
}

async fn api<'w>(acme: &Tenant<'w>, shape: Shape, host: &Host) -> Api<'w> {
    let (dialect, version) = match shape {
        Shape::V1 => ("NATIVE", "1.0"),
        Shape::V2 => ("NATIVE", "2.0"),
        Shape::Rest => ("AWS_REST", "1.0"),
    };
    let api = acme.api_in(dialect, &format!("pets by {shape:?}")).await;
    if shape == Shape::Rest {
        // As AWS has it of REST APIs whose functions take and give bytes.
        let input = json!({ "id": api.id, "binaryMediaTypes": ["*/*"] });
        acme.mutate("updateApi", "UpdateApiInput!", input, "api { id }").await;
    }
    let integration =
        json!({ "type": "AWS_PROXY", "uri": host.uri, "payloadFormatVersion": version });
    let route = json!({ "method": "ANY", "path": "/{proxy+}", "integration": integration });
    api.route_of(route).await.deploy(shape.stage()).await
}

async fn is_served(host: Host) {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    for shape in [Shape::V1, Shape::V2, Shape::Rest] {
        calls::everything(&api(&acme, shape, &host).await, shape, &host).await;
    }
}

#[tokio::test]
async fn an_app_behind_mangum_is_served_by_events_of_every_shape() {
    is_served(hosts::mangum().await).await;
}

#[tokio::test]
async fn an_app_behind_serverless_http_is_served_by_events_of_every_shape() {
    is_served(hosts::serverless_http().await).await;
}

#[tokio::test]
async fn an_app_behind_lambda_http_is_served_by_events_of_every_shape() {
    is_served(hosts::lambda_http().await).await;
}

#[tokio::test]
async fn a_function_is_invoked_by_lambdas_api_as_botocore_would_sign() {
    let host = hosts::mangum().await;
    let (endpoint, _lambda) = hosts::invoke_api(&host).await;
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let credentials =
        |secret: &str| json!({ "accessKeyId": ACCESS_KEY_ID, "secretAccessKey": secret });
    let new = json!({ "name": "aws", "awsCredentials": credentials("not-yet-the-right-one") });
    let secret = acme.mutate("createSecret", "CreateSecretInput!", new, "secret { id }").await;
    let secret = secret["secret"]["id"].clone();
    let invoked = |kind: &str| {
        json!({
            "type": "AWS_PROXY",
            "uri": format!("arn:aws:lambda:{REGION}:123456789012:function:pets:live"),
            "payloadFormatVersion": "2.0",
            "aws": { "secretId": secret, "endpointUrl": endpoint, "invocationType": kind },
        })
    };
    let api = acme.api("pets").await;
    let route = |path: &str, kind: &str| json!({ "method": "ANY", "path": path, "integration": invoked(kind) });
    let mut streamed = route("/words/{word+}", "REQUEST_RESPONSE");
    streamed["integration"]["uri"] =
        format!("arn:aws:lambda:{REGION}:123456789012:function:words").into();
    streamed["integration"]["responseTransferMode"] = "STREAM".into();
    let api = api.route_of(route("/{proxy+}", "REQUEST_RESPONSE")).await;
    let api = api.route_of(route("/later", "EVENT")).await.route_of(streamed).await;
    let api = api.deploy("$default").await;

    let refused = api.client().get("/image").await.expect(502).json();
    assert_eq!(
        refused["message"],
        "Lambda refused the invocation with 403 InvalidSignatureException."
    );
    // Another value is live without another deployment.
    let input = json!({ "id": secret, "awsCredentials": credentials(SECRET_ACCESS_KEY) });
    acme.mutate("updateSecret", "UpdateSecretInput!", input, "secret { id }").await;
    world.settled().await;
    calls::everything(&api, Shape::V2, &host).await;
    assert_eq!(api.client().get("/later").await.expect(202).text(), "");
    let streamed = api.client().get("/words/hello/world").await.expect(203);
    assert_eq!(
        (&*streamed.text(), streamed.header("set-cookie")),
        ("wordshelloworld", Some("a=1"))
    );
    // It stays while it is used.
    let input = json!({ "id": secret });
    let query =
        "mutation($input: DeleteInput!) { deleteSecret(input: $input) { userErrors { code } } }";
    let refused = acme.graphql(query, json!({ "input": input })).await;
    assert_eq!(refused["deleteSecret"]["userErrors"][0]["code"], "CONFLICT");
}

#[tokio::test]
async fn what_is_no_function_is_refused_by_its_field() {
    let world = World::start_alone().await;
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await;
    let to = "http://127.0.0.1:7000/";
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:pets";
    for (param, integration) in [
        ("payloadFormatVersion", json!({ "type": "AWS_PROXY", "uri": to })),
        (
            "payloadFormatVersion",
            json!({ "type": "AWS_PROXY", "uri": to, "payloadFormatVersion": "3.0" }),
        ),
        (
            "payloadFormatVersion",
            json!({ "type": "HTTP_PROXY", "uri": to, "payloadFormatVersion": "1.0" }),
        ),
        ("uri", json!({ "type": "AWS_PROXY", "payloadFormatVersion": "2.0" })),
        ("aws", json!({ "type": "AWS_PROXY", "uri": arn, "payloadFormatVersion": "2.0" })),
        (
            "method",
            json!({ "type": "AWS_PROXY", "uri": to, "method": "GET", "payloadFormatVersion": "2.0" }),
        ),
    ] {
        let query = "mutation($input: CreateIntegrationInput!) { createIntegration(input: $input) \
                     { integration { id } userErrors { param message } } }";
        let input = json!({ "apiId": api.id, "integration": integration });
        let data = acme.graphql(query, json!({ "input": input })).await;
        let error = &data["createIntegration"]["userErrors"][0];
        assert_eq!(error["param"], format!("integration.{param}"), "{integration}: {error}");

        let made = acme.rest("POST", &format!("/v1/apis/{}/integrations", api.api_id));
        made.json(&integration).await.expect(400);
    }
}
