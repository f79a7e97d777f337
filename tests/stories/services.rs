//! Services of AWS behind a node: moto's `DynamoDB`, S3 and SQS, which take what botocore's own signers would have signed.

use std::path::Path;
use std::process::Stdio;

use harness::World;
use harness::tenant::{Api, Tenant};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const REGION: &str = "eu-west-1";

/// Where the services are.
async fn moto() -> (String, Child) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = tests.parent().unwrap().join("var/tools/services");
    assert!(packages.exists(), "{} is missing; tests/run installs it", packages.display());
    let mut process = Command::new("python3")
        .arg(tests.join("services/host.py"))
        .args([ACCESS_KEY_ID, SECRET_ACCESS_KEY, REGION])
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).await.unwrap();
    (format!("http://127.0.0.1:{}", port.trim()), process)
}

/// Routes to services, each with a secret of its tenant.
struct Services<'a> {
    acme: &'a Tenant<'a>,
    secret: Value,
    endpoint: String,
}

impl Services<'_> {
    fn route(&self, key: &str, uri: &str, more: &Value) -> Value {
        let (method, path) = key.split_once(' ').unwrap();
        let mut integration = json!({
            "type": "AWS", "uri": format!("arn:aws:apigateway:{REGION}:{uri}"),
            "aws": { "secretId": self.secret, "endpointUrl": self.endpoint },
        });
        for (name, value) in more.as_object().unwrap() {
            integration[name] = value.clone();
        }
        json!({ "method": method, "path": path, "integration": integration })
    }

    async fn api<'w>(&self, api: Api<'w>) -> Api<'w> {
        let by_status = json!({ "integrationResponses": [
            { "statusCode": 201 },
            { "statusCode": 422, "selectionPattern": "4\\d\\d" },
        ] });
        let mut api = api;
        for (key, uri, more) in [
            ("POST /pets", "dynamodb:action/PutItem", &by_status),
            ("POST /pets/one", "dynamodb:action/GetItem", &json!({})),
            ("POST /pets/all", "dynamodb:action/Query", &json!({})),
            ("ANY /files/{key+}", "s3:path/files/{key}", &json!({})),
            ("POST /jobs", "sqs:action/SendMessage", &json!({})),
            ("POST /jobs/next", "sqs:action/ReceiveMessage", &json!({})),
        ] {
            api = api.route_of(self.route(key, uri, more)).await;
        }
        api.deploy("prod").await
    }

    async fn refused(&self, api: &Api<'_>, integration: Value) -> String {
        let query = "mutation($input: CreateIntegrationInput!) { createIntegration(input: $input) \
                     { userErrors { param } } }";
        let input = json!({ "apiId": api.id, "integration": integration });
        let data = self.acme.graphql(query, json!({ "input": input })).await;
        data["createIntegration"]["userErrors"][0]["param"].as_str().unwrap_or_default().to_owned()
    }
}

/// Each with what it takes of a call.
#[tokio::test]
async fn subtypes_ask_services_of_aws_for_what_their_parameters_say() {
    let (endpoint, _moto) = moto().await;
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let credentials = json!({ "accessKeyId": ACCESS_KEY_ID, "secretAccessKey": SECRET_ACCESS_KEY });
    let new = json!({ "name": "aws", "awsCredentials": credentials });
    let secret = acme.mutate("createSecret", "CreateSecretInput!", new, "secret { id }").await;
    let queue = format!("{endpoint}/123456789012/jobs");
    let route = |key: &str, subtype: &str, parameters: Value| {
        let (method, path) = key.split_once(' ').unwrap();
        let mut given: Vec<_> = parameters.as_object().unwrap().clone().into_iter().collect();
        given.push(("Region".to_owned(), json!(REGION)));
        let given: Vec<_> =
            given.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let aws = json!({
            "secretId": secret["secret"]["id"], "endpointUrl": endpoint,
            "subtype": subtype, "parameters": given,
        });
        json!({ "method": method, "path": path, "integration": { "type": "AWS_PROXY", "aws": aws } })
    };
    let mut api = acme.api("services").await;
    for (key, subtype, parameters) in [
        (
            "POST /jobs",
            "SQS-SendMessage",
            json!({ "QueueUrl": queue, "MessageBody": "$request.body.job" }),
        ),
        (
            "GET /jobs",
            "SQS-ReceiveMessage",
            json!({ "QueueUrl": queue, "MaxNumberOfMessages": "$request.querystring.most" }),
        ),
        (
            "DELETE /jobs/{receipt}",
            "SQS-DeleteMessage",
            json!({ "QueueUrl": queue, "ReceiptHandle": "$request.path.receipt" }),
        ),
        (
            "POST /events",
            "EventBridge-PutEvents",
            json!({ "Detail": "$request.body", "DetailType": "made", "Source": "pets" }),
        ),
        (
            "POST /records/{key}",
            "Kinesis-PutRecord",
            json!({ "StreamName": "pets", "Data": "$request.body", "PartitionKey": "$request.path.key" }),
        ),
    ] {
        api = api.route_of(route(key, subtype, parameters)).await;
    }
    let api = api.deploy("prod").await;

    let send = |job: &str| api.call("POST", "/jobs").json(&json!({ "job": job }));
    send("first \"one\"").await.expect(200);
    api.call("POST", "/jobs").json(&json!({ "other": 1 })).await.expect(400);
    let told = api.get("/jobs?most=10").await.expect(200).json();
    let messages = told["Messages"].as_array().unwrap();
    assert_eq!((messages.len(), &messages[0]["Body"]), (1, &json!("first \"one\"")), "{told}");
    let receipt = messages[0]["ReceiptHandle"].as_str().unwrap();
    let receipt: String = url::form_urlencoded::byte_serialize(receipt.as_bytes()).collect();
    api.call("DELETE", &format!("/jobs/{receipt}")).await.expect(200);

    let event =
        api.call("POST", "/events").json(&json!({ "name": "tom" })).await.expect(200).json();
    assert_eq!(
        (&event["FailedEntryCount"], event["Entries"][0]["EventId"].is_string()),
        (&json!(0), true)
    );
    let record = api.call("POST", "/records/7").body("tom").await.expect(200).json();
    assert!(record["SequenceNumber"].is_string(), "{record}");
}

#[tokio::test]
async fn services_of_aws_take_what_callers_send_as_botocore_would_sign_it() {
    let (endpoint, _moto) = moto().await;
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let credentials = json!({ "accessKeyId": ACCESS_KEY_ID, "secretAccessKey": SECRET_ACCESS_KEY });
    let new = json!({ "name": "aws", "awsCredentials": credentials });
    let secret = acme.mutate("createSecret", "CreateSecretInput!", new, "secret { id }").await;
    let services = Services { acme: &acme, secret: secret["secret"]["id"].clone(), endpoint };
    let api = services.api(acme.api("services").await).await;

    let item = |name: &str| json!({ "TableName": "pets", "Item": { "name": { "S": name } } });
    for name in ["tom", "rex"] {
        api.call("POST", "/pets").json(&item(name)).await.expect(201);
    }
    let none = json!({ "TableName": "none", "Item": { "name": { "S": "tom" } } });
    let refused = api.call("POST", "/pets").json(&none).await.expect(422).text();
    assert!(refused.contains("ResourceNotFoundException"), "{refused}");
    let one = json!({ "TableName": "pets", "Key": { "name": { "S": "tom" } } });
    let one = api.call("POST", "/pets/one").json(&one).await.expect(200).json();
    assert_eq!(one["Item"]["name"]["S"], "tom");
    let all = json!({
        "TableName": "pets", "KeyConditionExpression": "#n = :n",
        "ExpressionAttributeNames": { "#n": "name" }, "ExpressionAttributeValues": { ":n": { "S": "rex" } },
    });
    let all = api.call("POST", "/pets/all").json(&all).await.expect(200).json();
    assert_eq!((&all["Count"], &all["Items"][0]["name"]["S"]), (&json!(1), &json!("rex")));

    let png: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let key = "/files/a%20b/c+d/%C3%A9.png";
    let put = api.call("PUT", key).header("content-type", "image/png").body(png.clone());
    put.await.expect(200);
    let got = api.get(key).await.expect(200);
    assert_eq!((got.header("content-type"), got.bytes()), (Some("image/png"), &*png));
    let part = api.get(key).header("range", "bytes=10-19").await.expect(206);
    assert_eq!(part.bytes(), &png[10..20]);
    api.get("/files/none").await.expect(404);
    api.get("/files/%2e%2e%2fother").await.expect(400);
    api.call("DELETE", key).await.expect(204);
    api.get(key).await.expect(404);

    let queue = format!("{}/123456789012/jobs", services.endpoint);
    let job = json!({ "QueueUrl": queue, "MessageBody": "json" });
    api.call("POST", "/jobs").json(&job).await.expect(200);
    let next = json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10 });
    let told = api.call("POST", "/jobs/next").json(&next).await.expect(200).json();
    assert_eq!(told["Messages"][0]["Body"], "json", "{told}");
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "DeleteQueue")
        .append_pair("QueueUrl", &queue)
        .append_pair("MessageBody", "a form")
        .finish();
    let sent =
        api.call("POST", "/jobs").header("content-type", "application/x-www-form-urlencoded");
    let sent = sent.body(form).await.expect(200).text();
    assert!(sent.contains("<SendMessageResult>"), "{sent}");
    let told = api.call("POST", "/jobs/next").json(&next).await.expect(200).json();
    assert_eq!(told["Messages"][0]["Body"], "a form", "{told}");

    for (param, uri, more) in [
        ("uri", "s3:action/GetObject", json!({})),
        ("uri", "Evil/host:path/x", json!({})),
        ("uri", "s3:path/{open", json!({})),
        ("method", "sqs:action/SendMessage", json!({ "method": "GET" })),
        ("aws", "s3:path/b", json!({ "aws": null })),
        ("payloadFormatVersion", "s3:path/b", json!({ "payloadFormatVersion": "1.0" })),
        ("mockResponse", "s3:path/b", json!({ "mockResponse": { "status": 200 } })),
        (
            "integrationResponses[0].selectionPattern",
            "s3:path/b",
            json!({ "integrationResponses": [{ "statusCode": 200, "selectionPattern": "(" }] }),
        ),
    ] {
        let integration = services.route("GET /x", uri, &more)["integration"].clone();
        assert_eq!(
            services.refused(&api, integration).await,
            format!("integration.{param}"),
            "{uri}"
        );
    }
}
