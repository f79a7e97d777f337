//! `AWS` from both ends: what a service, or a function, is sent, and what becomes of what it says.

use std::net::SocketAddr;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use plan::Subtype;
use proto::config::v1::{
    AwsAction, AwsFunction, AwsService, AwsSigning, AwsSubtype, Dialect::Native, Header, HttpProxy,
    IntegrationResponse, InvocationType, integration,
};
use serde_json::json;

use super::{
    lambda::{SECRET, credentials_for, verified_for},
    world::{Answer, TENANT, TestNode, api, full, origin},
};

fn signing(service: &str) -> AwsSigning {
    AwsSigning { secret_id: SECRET.into(), region: "eu-west-1".into(), service: service.into() }
}

fn backend(at: SocketAddr, path: &str, method: &str) -> HttpProxy {
    let (uri, method) = (format!("http://{at}{path}"), method.to_owned());
    HttpProxy { uri, method, ..HttpProxy::default() }
}

fn service(at: SocketAddr, path: &str, service: &str, action: Option<&str>) -> AwsService {
    let action = action.map(|action| plan::AwsAction::of(service, action).unwrap());
    AwsService {
        backend: Some(backend(at, path, if action.is_some() { "POST" } else { "" })),
        signing: Some(signing(service)),
        action: action.map(|action| {
            let (target, json_version) = action.json.unwrap_or_default();
            let (name, form_version) = action.form.unwrap_or_default();
            AwsAction { target, json_version, name, form_version }
        }),
        responses: Vec::new(),
        content_handling: 0,
    }
}

fn response(status_code: u32, pattern: &str, body: Option<&str>) -> IntegrationResponse {
    IntegrationResponse {
        status_code,
        selection_pattern: pattern.into(),
        headers: vec![Header { name: "x-chosen".into(), value: pattern.into() }],
        content_handling: 0,
        templates: body
            .map(|body| ("text/plain".to_owned(), body.to_owned()))
            .into_iter()
            .collect(),
    }
}

fn node(of: &str, to: impl Into<integration::Kind>, key: &str) -> TestNode {
    let mut resources = api(Native, &[(key, to.into())]);
    resources.push(credentials_for(TENANT, "AKIDEXAMPLE", &[0], of));
    TestNode::start(resources)
}

/// A service that says what it was sent, as JSON.
async fn telling(of: &'static str) -> SocketAddr {
    origin(move |request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let target = head.uri.to_string();
        let names: Vec<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
        let text = |name: &str| head.headers.get(name).map(|it| it.to_str().unwrap().to_owned());
        let told = json!({
            "request": format!("{} {target}", head.method), "names": names,
            "verified": verified_for(&head.headers, head.method.as_str(), &target, &body, of),
            "type": text("content-type"), "target": text("x-amz-target"), "body": String::from_utf8_lossy(&body),
            "invocation": text("x-amz-invocation-type"),
        });
        Response::new(full(told.to_string()))
    })
    .await
}

/// What answers all with this.
async fn saying(
    status: u16,
    fields: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> SocketAddr {
    origin(move |_| async move {
        let mut answer = Response::new(full(body));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            answer.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        answer
    })
    .await
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status(), answer.json()["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_action_is_named_by_its_integration_and_by_no_caller() {
    let at = telling("dynamodb").await;
    let to = service(at, "/", "dynamodb", Some("PutItem"));
    let node = node("dynamodb", integration::Kind::AwsService(to), "ANY /items");
    let fields = [
        "content-type: text/plain",
        "x-amz-target: DynamoDB_20120810.DeleteTable",
        "x-amz-security-token: mine",
        "authorization: Bearer mine",
        "cookie: a=1",
        "x-own: 1",
        "accept: application/json",
    ];
    let answer =
        node.send("PUT /prod/items?X-Amz-Target=a&b", &fields, r#"{"TableName":"t"}"#).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let told = answer.json();
    for (at, expected) in [
        ("/request", json!("POST /")),
        ("/verified", json!(true)),
        ("/type", json!("application/x-amz-json-1.0")),
        ("/target", json!("DynamoDB_20120810.PutItem")),
        ("/body", json!(r#"{"TableName":"t"}"#)),
    ] {
        assert_eq!(told.pointer(at), Some(&expected), "{at} in {told}");
    }
    let names = told["names"].to_string();
    assert!(names.contains("accept") && names.contains("x-request-id"), "{names}");
    assert!(!names.contains("cookie") && !names.contains("x-own"), "{names}");
    assert_eq!(node.send("POST /prod/items", &[], "").await.json()["body"], "{}");
}

#[tokio::test]
async fn a_form_is_asked_for_its_integrations_action_alone() {
    let at = telling("sqs").await;
    let to = integration::Kind::AwsService(service(at, "/", "sqs", Some("SendMessage")));
    let node = node("sqs", to, "POST /jobs");
    let form = "content-type: application/x-www-form-urlencoded; charset=utf-8";
    let told = node
        .send("POST /prod/jobs", &[form], "Action=DeleteQueue&MessageBody=a+b&Version=1")
        .await
        .json();
    assert_eq!(told["body"], "Action=SendMessage&Version=2012-11-05&MessageBody=a+b");
    assert_eq!((&told["verified"], &told["target"]), (&json!(true), &json!(null)));
    let told = node.send("POST /prod/jobs", &["content-type: application/json"], "{}").await.json();
    assert_eq!(told["target"], "AmazonSQS.SendMessage");

    let at = telling("sns").await;
    let to = integration::Kind::AwsService(service(at, "/", "sns", Some("Publish")));
    let node = self::node("sns", to, "POST /jobs");
    let answer = node.send("POST /prod/jobs", &["content-type: application/json"], "{}").await;
    assert_eq!(refused(&answer), (400, "BAD_REQUEST_BODY".to_owned()));
}

#[tokio::test]
async fn a_path_takes_parameters_and_stays_in_its_place() {
    let at = telling("s3").await;
    let to = integration::Kind::AwsService(service(at, "/files/{key}?own=1", "s3", None));
    let node = node("s3", to, "ANY /files/{key+}");
    let answer =
        node.send("PUT /prod/files/a/b%20c?acl=1", &["content-type: image/png"], "png").await;
    let told = answer.json();
    assert_eq!(told["request"], "PUT /files/a/b%20c?own=1", "{told}");
    assert_eq!((&told["verified"], &told["type"]), (&json!(true), &json!("image/png")));
    for path in ["%2e%2e%2fother", "a%2f..%2f..%2fother", "..%2Fother"] {
        let answer = node.send(&format!("GET /prod/files/{path}"), &[], "").await;
        assert_eq!(answer.status(), 400, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn what_a_service_answers_goes_on_or_is_an_integration_response() {
    let fields = &[("content-type", "application/xml"), ("x-amz-id", "1")];
    for (status, chosen, body) in [
        (200, (200, ""), "<said/>"),
        (404, (410, "4\\d\\d"), "gone"),
        (503, (502, "5.*"), "<said/>"),
    ] {
        let at = saying(status, fields, "<said/>").await;
        let plain = service(at, "/b", "s3", None);
        let responses = vec![
            response(200, "", None),
            response(410, "4\\d\\d", Some("gone")),
            response(502, "5.*", None),
        ];
        let answer =
            node("s3", integration::Kind::AwsService(plain.clone()), "GET /").get("/prod/").await;
        assert_eq!((answer.status(), answer.body()), (status, "<said/>"));
        assert_eq!(answer.field("x-amz-id"), Some("1"));
        let with = AwsService { responses, ..plain.clone() };
        let answer = node("s3", integration::Kind::AwsService(with), "GET /").get("/prod/").await;
        assert_eq!(
            (answer.status(), answer.field("x-chosen")),
            (chosen.0, Some(chosen.1)),
            "{answer:?}"
        );
        assert_eq!((answer.body(), answer.field("x-amz-id")), (body, None));
        let kind = if body == "gone" { "text/plain" } else { "application/xml" };
        assert_eq!(answer.field("content-type"), Some(kind));
        let none = AwsService { responses: vec![response(200, "1..", None)], ..plain };
        let answer = node("s3", integration::Kind::AwsService(none), "GET /").get("/prod/").await;
        assert_eq!(refused(&answer), (500, "API_CONFIGURATION_ERROR".to_owned()));
    }
}

fn function(at: SocketAddr, responses: Vec<IntegrationResponse>) -> AwsFunction {
    AwsFunction {
        backend: Some(backend(at, "/2015-03-31/functions/hello/invocations", "")),
        signing: Some(signing("lambda")),
        invocation_type: InvocationType::Unspecified.into(),
        responses,
        content_handling: 0,
    }
}

#[tokio::test]
async fn a_function_gets_the_body_and_its_errors_choose_the_response() {
    let at = telling("lambda").await;
    let to = integration::Kind::AwsFunction(function(at, Vec::new()));
    let node = node("lambda", to, "ANY /");
    let answer = node.send("PUT /prod/?a=1", &["content-type: text/plain"], r#"{"a":1}"#).await;
    assert_eq!(answer.field("content-type"), Some("application/json"), "{answer:?}");
    let told = answer.json();
    for (at, expected) in [
        ("/request", json!("POST /2015-03-31/functions/hello/invocations")),
        ("/verified", json!(true)),
        ("/invocation", json!("RequestResponse")),
        ("/type", json!("application/json")),
        ("/body", json!(r#"{"a":1}"#)),
    ] {
        assert_eq!(told.pointer(at), Some(&expected), "{at} in {told}");
    }
    assert_eq!(node.get("/prod/").await.json()["body"], "{}");
    let answer = node.send("POST /prod/", &[], "hello").await;
    assert_eq!(refused(&answer), (400, "BAD_REQUEST_BODY".to_owned()));

    let thrown = r#"{"errorMessage":"NotFound: no such pet","errorType":"Error"}"#;
    let at = saying(200, &[("x-amz-function-error", "Unhandled")], thrown).await;
    let node =
        self::node("lambda", integration::Kind::AwsFunction(function(at, Vec::new())), "GET /");
    assert_eq!(refused(&node.get("/prod/").await), (502, "FUNCTION_FAILURE".to_owned()));
    for (responses, status) in [
        (vec![response(200, "", None), response(404, "NotFound.*", None)], 404),
        (vec![response(500, "", None), response(404, "NotFound", None)], 500),
    ] {
        let to = integration::Kind::AwsFunction(function(at, responses));
        let answer = self::node("lambda", to, "GET /").get("/prod/").await;
        assert_eq!((answer.status(), answer.body()), (status, thrown));
    }
    let at = saying(200, &[], r#"{"errorMessage":"NotFound"}"#).await;
    let responses = vec![response(404, "NotFound", None), response(201, "", None)];
    let to = integration::Kind::AwsFunction(function(at, responses));
    assert_eq!(
        self::node("lambda", to, "GET /").get("/prod/").await.status(),
        201,
        "it did not fail"
    );
}

#[tokio::test]
async fn nobody_waits_for_a_function_that_is_an_event() {
    let at = saying(202, &[], "").await;
    let to =
        AwsFunction { invocation_type: InvocationType::Event.into(), ..function(at, Vec::new()) };
    let answer = node("lambda", integration::Kind::AwsFunction(to), "POST /");
    let answer = answer.send("POST /prod/", &[], "{}").await;
    assert_eq!((answer.status(), answer.body()), (202, ""));
}

fn subtype(at: SocketAddr, name: &str, parameters: &[(&str, &str)]) -> integration::Kind {
    let given = parameters.iter().chain(&[("Region", "eu-west-1")]);
    integration::Kind::AwsSubtype(AwsSubtype {
        backend: Some(backend(at, "/", "")),
        signing: Some(signing(Subtype::of(name).unwrap().service)),
        subtype: name.into(),
        parameters: given.map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    })
}

#[tokio::test]
async fn a_subtype_asks_for_its_parameters_alone() {
    let at = telling("sqs").await;
    let to = subtype(
        at,
        "SQS-SendMessage",
        &[
            ("QueueUrl", "https://q/${request.path.queue}"),
            ("MessageBody", "$request.body"),
            ("DelaySeconds", "$request.querystring.delay"),
            ("MessageGroupId", "$request.body.pet.names[1]"),
        ],
    );
    let node = node("sqs", to, "ANY /jobs/{queue}");
    let fields = ["content-type: text/plain", "x-amz-target: AmazonSQS.DeleteQueue", "x-own: 1"];
    let text = r#"{"pet":{"names":["tom","\"rex\"},\"x\":1"]}}"#;
    let answer = node.send("PUT /prod/jobs/a%20b?delay=5", &fields, text).await;
    let told = answer.json();
    assert_eq!(told["request"], "POST /", "{answer:?}");
    assert_eq!(
        (&told["verified"], &told["target"]),
        (&json!(true), &json!("AmazonSQS.SendMessage"))
    );
    assert_eq!(told["type"], "application/x-amz-json-1.0");
    assert!(!told["names"].to_string().contains("x-own"), "{told}");
    let sent: serde_json::Value = serde_json::from_str(told["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        sent,
        json!({
            "QueueUrl": "https://q/a b", "MessageBody": text, "DelaySeconds": 5,
            "MessageGroupId": "\"rex\"},\"x\":1",
        })
    );
    for (line, body, code) in [
        ("PUT /prod/jobs/a", "", "BAD_REQUEST_PARAMETERS"),
        ("PUT /prod/jobs/a?delay=soon", "{}", "BAD_REQUEST_PARAMETERS"),
    ] {
        let answer = node.send(line, &[], body).await;
        assert_eq!(refused(&answer), (400, code.to_owned()), "{line}");
    }
    let answer = node.send("PUT /prod/jobs/a", &[], b"\xff").await;
    assert_eq!(refused(&answer), (400, "BAD_REQUEST_BODY".to_owned()));
    let answer = node.send("PUT /prod/jobs/a", &[], vec![b'1'; 300 << 10]).await;
    assert_eq!(refused(&answer), (413, "REQUEST_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_configuration_is_got_by_a_signed_path() {
    let at = telling("appconfig").await;
    let to = subtype(
        at,
        "AppConfig-GetConfiguration",
        &[
            ("Application", "$request.path.app"),
            ("Environment", "prod"),
            ("Configuration", "flags"),
            ("ClientId", "$context.stage"),
        ],
    );
    let node = node("appconfig", to, "GET /{app}");
    // How an escaped path is signed is held against AWS's own signer beside the signer.
    for (app, verified) in [("pets", true), ("pets%2Fa%20b", false)] {
        let told = node.get(&format!("/prod/{app}")).await.json();
        let asked = format!(
            "GET /applications/{app}/environments/prod/configurations/flags?client_id=prod"
        );
        assert_eq!(told["request"], json!(asked));
        assert!(!verified || told["verified"] == json!(true), "{told}");
    }
}
