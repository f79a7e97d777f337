//! Lambda's Invoke API from both ends: what it is sent, and what becomes of what it says.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use proto::config::v1::{
    AwsSigner, AwsSigning, AwsSigningKey, CircuitBreaker, Dialect, Dialect::Native, Function,
    HttpProxy, InvocationType, Lambda, PayloadFormatVersion, Resource, ResponseTransferMode,
    Secret, integration, resource::Kind, secret::Value as SecretValue,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::world::{API, Answer, TENANT, TestNode, api, full, origin};

pub(super) const SECRET: &str = "018f0000-0000-7000-8000-0000000000aa";
const DAY: Duration = Duration::from_hours(24);
const KEY: &str = "the secret access key";
const MIB: usize = 1 << 20;

fn lambda(at: SocketAddr, invocation_type: InvocationType) -> integration::Kind {
    let uri = format!("http://{at}/2015-03-31/functions/hello/invocations?Qualifier=live");
    let backend = HttpProxy { uri, ..HttpProxy::default() };
    integration::Kind::Lambda(invoked(backend, invocation_type))
}

/// One whose answer goes on as it comes.
pub(super) fn streaming(at: SocketAddr, change: impl FnOnce(&mut HttpProxy)) -> integration::Kind {
    let uri = format!("http://{at}/2021-11-15/functions/hello/response-streaming-invocations");
    let mut backend = HttpProxy { uri, ..HttpProxy::default() };
    backend.set_response_transfer_mode(ResponseTransferMode::Stream);
    change(&mut backend);
    let lambda = invoked(backend, InvocationType::Unspecified);
    integration::Kind::Lambda(Lambda { stream: true, ..lambda })
}

fn invoked(backend: HttpProxy, invocation_type: InvocationType) -> Lambda {
    Lambda {
        function: Some(Function {
            backend: Some(backend),
            payload_format_version: PayloadFormatVersion::PayloadFormatVersion20.into(),
        }),
        signing: Some(AwsSigning {
            secret_id: SECRET.into(),
            region: "eu-west-1".into(),
            service: "lambda".into(),
        }),
        invocation_type: invocation_type.into(),
        stream: false,
    }
}

/// Credentials whose keys are of these days, counted from today.
pub(super) fn credentials(tenant: &str, id: &str, days: &[i32]) -> Resource {
    credentials_for(tenant, id, days, "lambda")
}

pub(super) fn credentials_for(tenant: &str, id: &str, days: &[i32], service: &str) -> Resource {
    let keys = days.iter().map(|day| {
        let now = SystemTime::now();
        let at =
            if *day < 0 { now - DAY * day.unsigned_abs() } else { now + DAY * day.unsigned_abs() };
        let seconds = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let date = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
        AwsSigningKey {
            date: date.strftime("%Y%m%d").to_string(),
            region: "eu-west-1".into(),
            service: service.into(),
            key: generate_signing_key(KEY, at, "eu-west-1", service).as_ref().to_vec(),
        }
    });
    let signer = AwsSigner {
        access_key_id: id.to_owned(),
        session_token: "a token".to_owned(),
        keys: keys.collect(),
    };
    Kind::Secret(Secret {
        id: SECRET.into(),
        tenant_id: tenant.into(),
        value: Some(SecretValue::Aws(signer)),
    })
    .into()
}

fn node(dialect: Dialect, at: SocketAddr, by: InvocationType, secret: Resource) -> TestNode {
    let mut resources = api(dialect, &[("ANY /", lambda(at, by))]);
    resources.push(secret);
    TestNode::start(resources)
}

/// What the signature says it is of.
pub(super) fn verified(fields: &HeaderMap, method: &str, target: &str, body: &[u8]) -> bool {
    verified_for(fields, method, target, body, "lambda")
}

pub(super) fn verified_for(
    fields: &HeaderMap,
    method: &str,
    target: &str,
    body: &[u8],
    service: &str,
) -> bool {
    let text = |name: &str| fields.get(name).map_or("", |value| value.to_str().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (_, signed) = text("authorization").split_once("SignedHeaders=").unwrap();
    let (names, signature) = signed.split_once(", Signature=").unwrap();
    let mut lines = String::new();
    for name in names.split(';') {
        writeln!(lines, "{name}:{}", text(name)).unwrap();
    }
    let hash = hex::encode(Sha256::digest(body));
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}");
    let time = text("x-amz-date");
    let scope = format!("{}/eu-west-1/{service}/aws4_request", &time[..8]);
    let canonical = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let key = generate_signing_key(KEY, SystemTime::now(), "eu-west-1", service);
    calculate_signature(key, to_sign.as_bytes()) == signature
}

/// Lambda, where a function answers with what it was sent and how.
async fn telling() -> SocketAddr {
    origin(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        let event = body.collect().await.unwrap().to_bytes();
        let text = |name: &str| head.headers.get(name).map(|it| it.to_str().unwrap().to_owned());
        let told = json!({
            "target": head.uri.to_string(),
            "verified": verified(&head.headers, "POST", &head.uri.to_string(), &event),
            "by": text("authorization").unwrap().split('/').next(),
            "signed": text("authorization").unwrap().split("SignedHeaders=").nth(1).unwrap().split(',').next(),
            "invocationType": text("x-amz-invocation-type"),
            "token": text("x-amz-security-token"),
            "event": serde_json::from_slice::<Value>(&event).unwrap(),
        });
        Response::new(full(json!({ "statusCode": 201, "body": told.to_string() }).to_string()))
    })
    .await
}

/// Lambda, which says this.
async fn saying(
    status: u16,
    field: Option<(&'static str, &'static str)>,
    body: &'static str,
) -> SocketAddr {
    origin(move |_| async move {
        let mut answer = Response::new(full(body));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some((name, value)) = field {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    })
    .await
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status(), answer.json()["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_invocation_is_signed_by_the_days_key() {
    let at = telling().await;
    let secret = credentials(TENANT, "AKIDEXAMPLE", &[-1, 0, 1]);
    let mut node = node(Native, at, InvocationType::Unspecified, secret);
    let fields = ["x-amz-date: 20200101T000000Z", "authorization: AWS4-HMAC-SHA256 mine"];

    let answer = node.call("GET /prod/?a=1", &fields).await;

    assert_eq!(answer.status(), 201, "{answer:?}");
    let told = answer.json();
    for (at, expected) in [
        ("/target", json!("/2015-03-31/functions/hello/invocations?Qualifier=live")),
        ("/verified", json!(true)),
        ("/by", json!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE")),
        (
            "/signed",
            json!("content-type;host;x-amz-date;x-amz-invocation-type;x-amz-security-token"),
        ),
        ("/invocationType", json!("RequestResponse")),
        ("/token", json!("a token")),
        ("/event/rawQueryString", json!("a=1")),
        ("/event/headers/authorization", json!("AWS4-HMAC-SHA256 mine")),
    ] {
        assert_eq!(told.pointer(at), Some(&expected), "{at} in {told}");
    }
    // Another value is live without another deployment.
    let mut resources = api(Native, &[("ANY /", lambda(at, InvocationType::Unspecified))]);
    resources.push(credentials(TENANT, "AKIDROTATED", &[0]));
    node.publish(resources);
    let told = node.get("/prod/").await.json();
    assert_eq!(told["by"], "AWS4-HMAC-SHA256 Credential=AKIDROTATED");
}

#[tokio::test]
async fn a_call_that_cannot_be_signed_reaches_no_function() {
    let at = telling().await;
    let text = Secret {
        id: SECRET.into(),
        tenant_id: TENANT.into(),
        value: Some(SecretValue::Text("a text".into())),
    };
    for secret in [
        Kind::Secret(text).into(),
        credentials("018f0000-0000-7000-8000-000000000002", "AKIDOFANOTHER", &[0]),
        credentials(TENANT, "AKIDOLD", &[-2, -1]),
    ] {
        let node = node(Native, at, InvocationType::Unspecified, secret);
        let answer = node.get("/prod/").await;
        assert_eq!(refused(&answer), (500, "API_CONFIGURATION_ERROR".to_owned()));
        assert!(!answer.text.contains("AKID"), "{answer:?}");
    }
    let node = TestNode::start(api(Native, &[("ANY /", lambda(at, InvocationType::Unspecified))]));
    assert_eq!(refused(&node.get("/prod/").await).0, 500, "without its secret");
}

#[tokio::test]
async fn lambdas_refusals_and_a_functions_failure_are_a_bad_gateway() {
    let failed = Some(("x-amz-function-error", "Unhandled"));
    let throttled = Some(("x-amzn-errortype", "TooManyRequestsException:http://internal/"));
    for (status, field, told) in [
        (200, failed, "The function failed."),
        (429, throttled, "Lambda refused the invocation with 429 TooManyRequestsException."),
        (403, None, "Lambda refused the invocation with 403."),
        (302, None, "Lambda refused the invocation with 302."),
    ] {
        let at = saying(status, field, r#"{"statusCode":200,"body":"account 123456789012"}"#).await;
        let secret = credentials(TENANT, "AKIDEXAMPLE", &[0]);
        let answer = node(Native, at, InvocationType::Unspecified, secret).get("/prod/").await;
        assert_eq!(refused(&answer), (502, "FUNCTION_FAILURE".to_owned()), "{answer:?}");
        assert_eq!(answer.json()["message"], told);
        assert!(!answer.text.contains("123456789012"));
    }
    let at = saying(413, None, "{}").await;
    let secret = credentials(TENANT, "AKIDEXAMPLE", &[0]);
    let answer = node(Native, at, InvocationType::Unspecified, secret).get("/prod/").await;
    assert_eq!(refused(&answer), (413, "REQUEST_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn nobody_waits_for_a_function_that_is_invoked_by_an_event() {
    let at = saying(202, None, "").await;
    for (dialect, status) in [(Native, 202), (Dialect::AwsRest, 200), (Dialect::AwsHttp, 200)] {
        let secret = credentials(TENANT, "AKIDEXAMPLE", &[0]);
        let answer = node(dialect, at, InvocationType::Event, secret).get("/prod/").await;
        assert_eq!((answer.status(), answer.body()), (status, ""), "{answer:?}");
    }
    let refusing = saying(403, None, "").await;
    let secret = credentials(TENANT, "AKIDEXAMPLE", &[0]);
    let answer = node(Native, refusing, InvocationType::Event, secret).get("/prod/").await;
    assert_eq!(refused(&answer), (502, "FUNCTION_FAILURE".to_owned()));
}

#[tokio::test]
async fn an_event_that_nobody_waits_for_is_within_a_mebibyte() {
    let at = saying(202, None, "").await;
    let secret = || credentials(TENANT, "AKIDEXAMPLE", &[0]);
    let body = vec![b'x'; MIB];
    let head = format!(
        "POST /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\nconnection: close\r\n\
         content-type: text/plain\r\ncontent-length: {MIB}\r\n\r\n"
    );
    let request = [head.as_bytes(), &body].concat();
    let answer = node(Native, at, InvocationType::Event, secret()).raw(&request).await;
    assert_eq!(refused(&answer), (413, "REQUEST_TOO_LARGE".to_owned()));
    let at = saying(200, None, r#"{"statusCode":200}"#).await;
    let answer = node(Native, at, InvocationType::Unspecified, secret()).raw(&request).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_function_that_lambda_keeps_refusing_is_left_alone() {
    let at = saying(429, Some(("x-amzn-errortype", "TooManyRequestsException")), "{}").await;
    let mut kind = lambda(at, InvocationType::RequestResponse);
    let integration::Kind::Lambda(Lambda { function: Some(function), .. }) = &mut kind else {
        panic!("no function")
    };
    let breaker =
        CircuitBreaker { consecutive_failures: 2, open_ms: 60_000, ..CircuitBreaker::default() };
    function.backend.as_mut().unwrap().circuit_breaker = Some(breaker);
    let mut resources = api(Native, &[("ANY /", kind)]);
    resources.push(credentials(TENANT, "AKIDEXAMPLE", &[0]));
    let node = TestNode::start(resources);
    for _ in 0..2 {
        assert_eq!(refused(&node.get("/prod").await), (502, "FUNCTION_FAILURE".to_owned()));
    }
    let alone = node.get("/prod").await;
    assert_eq!(refused(&alone), (504, "INTEGRATION_FAILURE".to_owned()));
    assert!(alone.field("retry-after").is_some(), "{alone:?}");
    assert_eq!(node.shared.metrics.backends.circuits_opened.get(), 1);
}
