//! `AWS_PROXY` from both ends: the event that a function gets, and what becomes of what it answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use proto::config::v1::{
    Dialect::{self, AwsHttp, AwsRest, Native},
    Function, HttpProxy,
    PayloadFormatVersion::{self, PayloadFormatVersion10 as V1, PayloadFormatVersion20 as V2},
    UsagePlan, integration,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::world::{
    API, Answer, TestNode, api, api_with, full, key, origin, raw_origin, read_until,
};

const MIB: usize = 1 << 20;

fn function(
    uri: impl Into<String>,
    version: PayloadFormatVersion,
    change: impl FnOnce(&mut HttpProxy),
) -> integration::Kind {
    let mut backend = HttpProxy { uri: uri.into(), ..HttpProxy::default() };
    change(&mut backend);
    integration::Kind::Function(Function {
        backend: Some(backend),
        payload_format_version: version.into(),
    })
}

/// A node whose every call of the path `/` is one of the function there.
fn node(at: SocketAddr, version: PayloadFormatVersion) -> TestNode {
    node_in(Native, at, version)
}

fn node_in(dialect: Dialect, at: SocketAddr, version: PayloadFormatVersion) -> TestNode {
    let to = function(format!("http://{at}/"), version, |backend| backend.idle_timeout_ms = 200);
    TestNode::start(api(dialect, &[("ANY /", to)]))
}

/// A function that answers all its events so.
async fn answering(text: impl Into<Bytes>) -> SocketAddr {
    let text = text.into();
    origin(move |_| {
        let text = text.clone();
        async { Response::new(full(text)) }
    })
    .await
}

/// A function that answers with its event, and the head that it came with.
async fn telling() -> SocketAddr {
    origin(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        let event = body.collect().await.unwrap().to_bytes();
        let event: Value = serde_json::from_slice(&event).unwrap();
        let text = |name: &str| head.headers.get(name).map(|it| it.to_str().unwrap().to_owned());
        let names: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).collect();
        let told = json!({
            "event": event, "method": head.method.as_str(), "target": head.uri.to_string(),
            "host": text("host"), "contentType": text("content-type"), "id": text("x-request-id"),
            "names": names,
        });
        let answer = json!({
            "statusCode": 201,
            "headers": { "content-type": "application/json", "x-of": "function" },
            "body": told.to_string(),
        });
        Response::new(full(answer.to_string()))
    })
    .await
}

/// `told` of a call with a body and everything.
async fn told(version: PayloadFormatVersion) -> (Answer, Value, SocketAddr) {
    let at = telling().await;
    let to = function(format!("http://{at}/invoke?own=1"), version, |_| {});
    let node = TestNode::start(api_with(Native, vec![("POST /pets/{id}", to, false)], |all| {
        all.2.variables = [("table".to_owned(), "cats".to_owned())].into();
    }));
    let fields = [
        "content-type: application/json",
        "cookie: a=1; b=2",
        "user-agent: tests",
        "x-many: 1",
        "x-many: 2",
        "te: trailers",
        "x-forwarded-for: 10.0.0.1",
    ];
    let line = "POST /prod/pets/a%20b?q=%41&q=2&r=";
    let answer = node.send(line, &fields, br#"{"name":"Tom"}"#).await;
    assert_eq!(answer.status(), 201, "{answer:?}");
    assert_eq!(answer.field("x-of"), Some("function"));
    let told = answer.json();
    assert_eq!((&told["method"], &told["target"]), (&json!("POST"), &json!("/invoke?own=1")));
    assert_eq!(
        (&told["host"], &told["contentType"]),
        (&json!(at.to_string()), &json!("application/json"))
    );
    assert_eq!(told["id"].as_str(), answer.field("x-request-id"));
    let names = told["names"].as_array().unwrap();
    let callers =
        names.iter().any(|name| ["cookie", "x-many", "user-agent"].iter().any(|it| name == it));
    assert!(!callers, "what is the caller's is in the event: {names:?}");
    (answer, told, at)
}

#[tokio::test]
async fn a_function_gets_its_event_in_format_2_0() {
    let (answer, told, _) = told(V2).await;
    let event = &told["event"];
    let host = format!("{API}.execute-api.localhost");
    for (at, expected) in [
        ("/version", json!("2.0")),
        ("/routeKey", json!("POST /pets/{id}")),
        ("/rawPath", json!("/prod/pets/a%20b")),
        ("/rawQueryString", json!("q=%41&q=2&r=")),
        ("/queryStringParameters", json!({ "q": "A,2", "r": "" })),
        ("/cookies", json!(["a=1", "b=2"])),
        ("/headers/x-many", json!("1,2")),
        ("/headers/host", json!(host)),
        ("/headers/x-forwarded-for", json!("127.0.0.1")),
        ("/headers/x-forwarded-proto", json!("http")),
        ("/headers/x-forwarded-port", json!("80")),
        ("/pathParameters", json!({ "id": "a b" })),
        ("/stageVariables", json!({ "table": "cats" })),
        ("/requestContext/apiId", json!(API)),
        ("/requestContext/domainName", json!(host)),
        ("/requestContext/domainPrefix", json!(API)),
        ("/requestContext/http/method", json!("POST")),
        ("/requestContext/http/protocol", json!("HTTP/1.1")),
        ("/requestContext/http/sourceIp", json!("127.0.0.1")),
        ("/requestContext/http/userAgent", json!("tests")),
        ("/requestContext/stage", json!("prod")),
        ("/body", json!(r#"{"name":"Tom"}"#)),
        ("/isBase64Encoded", json!(false)),
    ] {
        assert_eq!(event.pointer(at), Some(&expected), "{at} in {event}");
    }
    assert_eq!(event["requestContext"]["requestId"].as_str(), answer.field("x-request-id"));
    assert!(event["headers"].get("cookie").is_none() && event["headers"].get("te").is_none());
}

#[tokio::test]
async fn a_function_gets_its_event_in_format_1_0() {
    let (answer, told, _) = told(V1).await;
    let event = &told["event"];
    for (at, expected) in [
        ("/version", json!("1.0")),
        ("/resource", json!("/pets/{id}")),
        ("/path", json!("/pets/a%20b")),
        ("/httpMethod", json!("POST")),
        ("/headers/x-many", json!("2")),
        ("/headers/cookie", json!("a=1; b=2")),
        ("/multiValueHeaders/x-many", json!(["1", "2"])),
        ("/queryStringParameters", json!({ "q": "2", "r": "" })),
        ("/multiValueQueryStringParameters", json!({ "q": ["A", "2"], "r": [""] })),
        ("/pathParameters", json!({ "id": "a b" })),
        ("/stageVariables", json!({ "table": "cats" })),
        ("/requestContext/path", json!("/prod/pets/a%20b")),
        ("/requestContext/identity/sourceIp", json!("127.0.0.1")),
        ("/requestContext/identity/userAgent", json!("tests")),
        ("/body", json!(r#"{"name":"Tom"}"#)),
    ] {
        assert_eq!(event.pointer(at), Some(&expected), "{at} in {event}");
    }
    assert_eq!(event["requestContext"]["requestId"].as_str(), answer.field("x-request-id"));
}

#[tokio::test]
async fn a_malformed_answer_is_the_functions_failure_and_harms_no_other_call() {
    for text in ["", "hello", "[]", "{}", r#"{"statusCode":"200"}"#, r#"{"statusCode":101}"#] {
        let node = node(answering(text).await, V1);
        let answer = node.get("/prod/").await;
        assert_eq!(
            (answer.status(), &answer.json()["code"]),
            (502, &json!("FUNCTION_FAILURE")),
            "{text}"
        );
    }
    let bad = answering(r#"{"statusCode":200,"body":"%","isBase64Encoded":true}"#).await;
    let good = answering(r#"{"statusCode":200,"body":"good"}"#).await;
    let to = |at| function(format!("http://{at}/"), V1, |_| {});
    let node = TestNode::start(api(Native, &[("GET /bad", to(bad)), ("GET /good", to(good))]));
    for _ in 0..3 {
        assert_eq!(node.get("/prod/bad").await.status(), 502);
        let answer = node.get("/prod/good").await;
        assert_eq!((answer.status(), answer.body()), (200, "good"));
    }
}

#[tokio::test]
async fn each_dialect_tells_of_a_functions_failure_as_aws_does() {
    for (dialect, status, message) in
        [(AwsRest, 502, "Internal server error"), (AwsHttp, 500, "Internal Server Error")]
    {
        let answer = node_in(dialect, answering("oops").await, V1).get("/prod/").await;
        assert_eq!((answer.status(), answer.json()), (status, json!({ "message": message })));
    }
}

#[tokio::test]
async fn a_function_that_says_it_failed_did() {
    let at = origin(|_| async {
        let mut answer = Response::new(full(r#"{"statusCode":200,"body":"x"}"#));
        let error = HeaderValue::from_static("Unhandled");
        answer.headers_mut().insert("x-amz-function-error", error);
        answer
    });
    assert_eq!(node(at.await, V2).get("/prod/").await.status(), 502);
    for status in [301, 404, 500] {
        let at = origin(move |_| async move {
            let mut answer = Response::new(full(r#"{"statusCode":200,"body":"x"}"#));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            answer
        });
        let answer = node(at.await, V2).get("/prod/").await;
        assert_eq!((answer.status(), &answer.json()["code"]), (502, &json!("FUNCTION_FAILURE")));
    }
}

#[tokio::test]
async fn a_value_without_a_status_is_the_body_in_format_2_0() {
    let answer = node(answering(r#"{"a":1}"#).await, V2).get("/prod/").await;
    assert_eq!((answer.status(), answer.body()), (200, r#"{"a":1}"#));
    assert_eq!(answer.field("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_body_in_base64_comes_as_bytes_and_a_head_request_gets_none() {
    let at = answering(r#"{"statusCode":200,"body":"aGVsbG8=","isBase64Encoded":true}"#).await;
    let node = node(at, V2);
    assert_eq!(node.get("/prod/").await.body(), "hello");
    let answer = node.call("HEAD /prod/", &[]).await;
    assert_eq!((answer.status(), answer.body()), (200, ""));
}

#[tokio::test]
async fn an_answer_beyond_lambdas_bound_is_refused_however_it_comes() {
    let body = "x".repeat(6 * MIB);
    let whole = json!({ "statusCode": 200, "body": body }).to_string();
    let answer = node(answering(whole.clone()).await, V2).get("/prod/").await;
    assert_eq!((answer.status(), &answer.json()["code"]), (502, &json!("FUNCTION_FAILURE")));
    // Without a length.
    let (at, listener) = raw_origin().await;
    let node = node(at, V2);
    let function = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\"isBase64Encoded\"").await;
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{whole}");
        let _ = stream.write_all(answer.as_bytes()).await; // it hangs up before the end
    };
    let (answer, ()) = tokio::join!(node.get("/prod/"), function);
    assert_eq!((answer.status(), &answer.json()["code"]), (502, &json!("FUNCTION_FAILURE")));

    let body = "x".repeat(5 * MIB);
    let answer = json!({ "statusCode": 200, "body": body }).to_string();
    let answer = self::node(answering(answer).await, V2).get("/prod/").await;
    assert_eq!((answer.status(), answer.body().len()), (200, 5 * MIB));
}

#[tokio::test]
async fn an_event_beyond_lambdas_bound_is_refused_and_no_function_hears_of_it() {
    let calls = Arc::new(AtomicUsize::new(0));
    let heard = calls.clone();
    let at = origin(move |request: Request<Incoming>| {
        heard.fetch_add(1, Relaxed);
        async {
            let event = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(full(
                json!({ "statusCode": 200, "body": event.len().to_string() }).to_string(),
            ))
        }
    })
    .await;
    let node = node(at, V2);
    let text = "content-type: text/plain";
    let too_large = vec![b'x'; 6 * MIB + 1];
    // Of a body that is declared too large nothing is read.
    let declared = format!(
        "POST /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        too_large.len()
    );
    let answer = node.raw(declared.as_bytes()).await;
    assert_eq!((answer.status(), &answer.json()["code"]), (413, &json!("REQUEST_TOO_LARGE")));
    // In base64 it is a third larger.
    let answer = node.send("POST /prod/", &[], &too_large[..5 * MIB]).await;
    assert_eq!((answer.status(), &answer.json()["code"]), (413, &json!("REQUEST_TOO_LARGE")));
    assert_eq!(calls.load(Relaxed), 0);
    let answer = node.send("POST /prod/", &[text], &too_large[..5 * MIB]).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.body().parse::<usize>().unwrap() > 5 * MIB);
    assert_eq!(calls.load(Relaxed), 1);
}

#[tokio::test]
async fn a_function_that_hangs_before_or_in_its_answer_times_out() {
    for began in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"statusCode\""] {
        let (at, listener) = raw_origin().await;
        let to = function(format!("http://{at}/"), V2, |backend| {
            (backend.first_byte_timeout_ms, backend.idle_timeout_ms) = (100, 100);
        });
        let node = TestNode::start(api(Native, &[("GET /", to)]));
        let function = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(began.as_bytes()).await.unwrap();
            stream
        };
        let (answer, _stream) = tokio::join!(node.get("/prod/"), function);
        assert_eq!((answer.status(), &answer.json()["code"]), (504, &json!("INTEGRATION_TIMEOUT")));
    }
}

#[tokio::test]
async fn an_event_is_not_sent_twice() {
    let (at, listener) = raw_origin().await;
    let node = node(at, V2);
    let function = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\"isBase64Encoded\"").await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"statusCode\":204}";
        stream.write_all(answer.as_bytes()).await.unwrap();
        // On the same connection, which then dies.
        read_until(&mut stream, "\"isBase64Encoded\"").await;
    };
    let calls = async {
        assert_eq!(node.get("/prod/").await.status(), 204);
        let answer = node.get("/prod/").await;
        assert_eq!((answer.status(), &answer.json()["code"]), (504, &json!("INTEGRATION_FAILURE")));
    };
    tokio::join!(calls, function);
    assert!(listener.accept().now_or_never().is_none(), "it was sent again");
}

#[tokio::test]
async fn a_function_out_of_reach_is_as_any_backend() {
    let to = |uri: &str| function(uri, V2, |_| {});
    let node = TestNode::start(api(
        Native,
        &[("GET /nobody", to("http://127.0.0.1:1/")), ("GET /private", to("http://10.0.0.1/"))],
    ));
    let code = async |path| node.get(path).await.json()["code"].as_str().unwrap().to_owned();
    assert_eq!(code("/prod/nobody").await, "INTEGRATION_FAILURE");
    assert_eq!(code("/prod/private").await, "API_CONFIGURATION_ERROR");
}

#[tokio::test]
async fn a_call_of_a_function_is_counted_by_what_its_caller_sent() {
    let node = node(answering(r#"{"statusCode":200,"body":"hello"}"#).await, V1);
    let body = vec![b'x'; 1000];
    assert_eq!(node.send("POST /prod/", &["content-type: text/plain"], &body).await.status(), 200);
    let records = node.counted(1).await;
    let record = records[0].1;
    assert!(record.billed && record.status == 200, "{record:?}");
    // Not by the event, which tells more.
    assert!((1000..1500).contains(&record.bytes_in), "{record:?}");
    assert!((5..500).contains(&record.bytes_out), "{record:?}");
}

#[tokio::test]
async fn a_function_may_be_spoken_to_over_http2() {
    use hyper::{server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let (at, listener) = raw_origin().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = async |request: Request<Incoming>| {
            assert_eq!(request.version(), Version::HTTP_2);
            let event = request.into_body().collect().await.unwrap().to_bytes();
            let event: Value = serde_json::from_slice(&event).unwrap();
            let answer = json!({ "statusCode": 200, "body": event["rawPath"] });
            Ok::<_, std::convert::Infallible>(Response::new(full(answer.to_string())))
        };
        let service = service_fn(answer);
        http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
    });
    let to = function(format!("http://{at}/"), V2, |backend| {
        backend.set_protocol_version(proto::config::v1::ProtocolVersion::Http2);
    });
    let node = TestNode::start(api(Native, &[("GET /", to)]));
    let answer = node.get("/prod/").await;
    assert_eq!((answer.status(), answer.body()), (200, "/prod/"));
}

#[tokio::test]
async fn the_function_of_a_rest_api_is_told_of_the_key() {
    for (dialect, value, id) in
        [(AwsRest, json!("a-key"), json!("keyaaaaaa1")), (Native, Value::Null, Value::Null)]
    {
        let to = function(format!("http://{}/", telling().await), V1, |_| {});
        let mut resources = api_with(dialect, vec![("GET /", to, true)], |_| {});
        resources.extend(key(
            "a-key",
            UsagePlan { id: "planaaaaa1".into(), ..UsagePlan::default() },
            |_| {},
        ));
        let answer = TestNode::start(resources).call("GET /prod/", &["x-api-key: a-key"]).await;
        let identity = answer.json()["event"]["requestContext"]["identity"].clone();
        assert_eq!((&identity["apiKey"], &identity["apiKeyId"]), (&value, &id), "{identity}");
    }
}
