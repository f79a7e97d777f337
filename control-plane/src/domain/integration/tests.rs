use serde_json::json;
use sqlx::PgPool;

use super::PayloadFormatVersion::{V1, V2};
use egress::{Own, Policy};

use super::*;
use crate::domain::api::Dialect;
use crate::domain::route;
use crate::testing::{self, mock, new_api, new_route};

/// Loopback is open; the management listener is ours.
fn reach() -> Reach {
    Reach {
        policy: Policy::new(["127.0.0.0/8".parse().unwrap()]),
        own: Own::new(["127.0.0.1:8080".parse().unwrap()]),
    }
}

fn refused(settings: &Settings) -> String {
    let error = settings.clone().checked(&reach()).expect_err(&format!("{settings:?}"));
    assert_eq!(error.code(), "bad_request");
    error.param().unwrap_or_default().to_owned()
}

#[test]
fn a_backend_is_an_address_that_this_installation_reaches() {
    for good in [
        "http://example.com",
        "https://example.com:8443/a/{id}?x={id}",
        "http://127.0.0.1:7000/",
        "http://localhost:7000/{proxy}",
        "http://${stageVariables.host}/${stageVariables.path}",
        "http://api-${stageVariables.name}.example.com:${stageVariables.port}/",
    ] {
        let checked = Settings::http_proxy(good).checked(&reach());
        assert!(checked.is_ok(), "{good}: {checked:?}");
    }
    let long = format!("http://h/{}", "a".repeat(URI_BYTES_MAX));
    for bad in [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http://user:password@example.com/",
        "http://a b/",
        "http://h/\0",
        "http://{host}/",
        "http://h/{id",
        "http://h/${context.path}",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0.0.0.0:7000/",
        "http://127.0.0.1:8080/",
        "http://localhost:8080/",
        "http://${stageVariables.user}@example.com/",
        &long,
    ] {
        assert_eq!(refused(&Settings::http_proxy(bad)), "uri", "{bad}");
    }
}

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:pets";
const STREAMING: &str = "arn:aws:apigateway:us-east-1:lambda:path/2021-11-15/functions/\
     arn:aws:lambda:us-east-1:123456789012:function:pets/response-streaming-invocations";

/// A function of Lambda's.
fn invoked(uri: &str, invocation_type: InvocationType) -> Settings {
    let secret = "018f0000-0000-7000-8000-0000000000aa".parse().unwrap();
    let aws = Some(AwsSettings { invocation_type, ..AwsSettings::by(secret) });
    Settings { aws, ..Settings::aws_proxy(uri, V2) }
}

fn streaming(settings: Settings) -> Settings {
    Settings { response_transfer_mode: Some(ResponseTransferMode::Stream), ..settings }
}

#[test]
fn a_function_may_stream_however_it_is_called() {
    let whole = invoked(ARN, InvocationType::RequestResponse);
    assert!(whole.backend_uri().ends_with("function%3Apets/invocations"));
    for settings in
        [streaming(whole.clone()), streaming(invoked(STREAMING, InvocationType::RequestResponse))]
    {
        let checked = settings.checked(&reach()).unwrap();
        assert!(checked.backend_uri().ends_with("pets/response-streaming-invocations"));
    }
    let posted = streaming(Settings::aws_proxy("http://example.com/", V2));
    assert_eq!(posted.checked(&reach()).unwrap().backend_uri(), "http://example.com/");
}

#[test]
fn what_is_said_of_a_failing_backend_is_checked_and_named() {
    let proxy = || Settings::http_proxy("http://example.com");
    let function = || Settings::aws_proxy("http://example.com", V2);
    let retries = |attempts| {
        let policy = json!({ "attempts": attempts, "on": ["RESET"] });
        Some(serde_json::from_value(policy).unwrap())
    };
    let breaker = |open_ms| {
        let breaker = json!({ "failurePercent": 50, "openMs": open_ms });
        Some(serde_json::from_value(breaker).unwrap())
    };
    let good = Settings { retry_policy: retries(5), circuit_breaker: breaker(1000), ..proxy() };
    assert!(good.checked(&reach()).is_ok());
    assert!(Settings { circuit_breaker: breaker(1000), ..function() }.checked(&reach()).is_ok());
    for (settings, param) in [
        (Settings { retry_policy: retries(6), ..proxy() }, "retryPolicy.attempts"),
        (
            Settings {
                retry_policy: retries(1),
                protocol_version: ProtocolVersion::Http2,
                ..proxy()
            },
            "retryPolicy",
        ),
        (Settings { retry_policy: retries(1), ..function() }, "retryPolicy"),
        (Settings { retry_policy: retries(1), ..mock("") }, "retryPolicy"),
        (Settings { circuit_breaker: breaker(0), ..proxy() }, "circuitBreaker.openMs"),
        (Settings { circuit_breaker: breaker(0), ..function() }, "circuitBreaker.openMs"),
        (Settings { circuit_breaker: breaker(1000), ..mock("") }, "circuitBreaker"),
    ] {
        assert_eq!(refused(&settings), param);
    }
}

#[test]
fn each_wrong_setting_is_named() {
    let proxy = || Settings::http_proxy("http://example.com");
    let function = || Settings::aws_proxy("http://example.com", V2);
    let answer = |status, headers: &[(&str, &str)], body: &str| {
        let header = |(name, value): &(&str, &str)| Header {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        let headers = headers.iter().map(header).collect();
        let mock_response = Some(MockResponse { status, headers, body: body.to_owned() });
        Settings { mock_response, ..mock("") }
    };
    let good = answer(503, &[("Retry-After", "5"), ("content-type", "text/plain")], "later");
    assert!(good.checked(&reach()).is_ok());
    let huge = "x".repeat(MOCK_BODY_BYTES_MAX + 1);
    let example = |name: &str, media_type: &str, body: &str| MockExample {
        name: name.to_owned(),
        status: 200,
        headers: Vec::new(),
        media_type: media_type.to_owned(),
        body: body.to_owned(),
    };
    let examples =
        |examples: Vec<MockExample>| Settings { mock_response: None, examples, ..mock("") };
    let responses = |templates: &[(&str, &str)], patterns: &[&str]| {
        let response = |pattern: &&str| IntegrationResponse {
            status_code: 200,
            selection_pattern: (*pattern).to_owned(),
            headers: Vec::new(),
            response_templates: BTreeMap::new(),
            content_handling: None,
        };
        let template = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Settings {
            mock_response: None,
            request_templates: templates.iter().map(template).collect(),
            integration_responses: patterns.iter().map(response).collect(),
            ..mock("")
        }
    };
    for (settings, param) in vec![
        (Settings { method: "FETCH".into(), ..proxy() }, "method"),
        (Settings { connect_timeout_ms: 49, ..proxy() }, "connectTimeoutMs"),
        (Settings { connect_timeout_ms: 600_001, ..proxy() }, "connectTimeoutMs"),
        (Settings { first_byte_timeout_ms: u32::MAX, ..proxy() }, "firstByteTimeoutMs"),
        (Settings { idle_timeout_ms: 1, ..proxy() }, "idleTimeoutMs"),
        (Settings { timeout_ms: u32::MAX, ..proxy() }, "timeoutMs"),
        (Settings { mock_response: mock("").mock_response, ..proxy() }, "mockResponse"),
        (Settings { description: "x".repeat(1025), ..proxy() }, "description"),
        (Settings { mock_response: None, ..mock("") }, "mockResponse"),
        (Settings { uri: "http://example.com".into(), ..mock("") }, "uri"),
        (Settings { timeout_ms: 100, ..mock("") }, "timeoutMs"),
        (Settings { protocol_version: ProtocolVersion::Http2, ..mock("") }, "protocolVersion"),
        (Settings { payload_format_version: Some(V1), ..mock("") }, "payloadFormatVersion"),
        (Settings { payload_format_version: Some(V1), ..proxy() }, "payloadFormatVersion"),
        (Settings { payload_format_version: None, ..function() }, "payloadFormatVersion"),
        (Settings { method: "POST".into(), ..function() }, "method"),
        (Settings { preserve_host: true, ..function() }, "preserveHost"),
        (Settings { forwarded: Some(ForwardedPolicy::Remove), ..function() }, "forwarded"),
        (streaming(invoked(ARN, InvocationType::Event)), "responseTransferMode"),
        (invoked(STREAMING, InvocationType::RequestResponse), "responseTransferMode"),
        (Settings { forwarded: Some(ForwardedPolicy::Remove), ..mock("") }, "forwarded"),
        (Settings { examples: vec![example("a", "text/plain", "x")], ..proxy() }, "examples"),
        (Settings { examples: vec![example("a", "text/plain", "x")], ..mock("") }, "examples"),
        (examples(vec![]), "mockResponse"),
        (examples(vec![example("", "text/plain", "x")]), "examples[0].name"),
        (examples(vec![example("a", "", "x")]), "examples[0].mediaType"),
        (examples(vec![example("a", "text", "x")]), "examples[0].mediaType"),
        (examples(vec![example("a", "text/plain", "x"); 2]), "examples[1].name"),
        (examples(vec![example("a", "text/plain", &huge)]), "examples"),
        (examples((0..=100).map(|at| example(&at.to_string(), "a/b", "")).collect()), "examples"),
        (responses(&[("application/json", "$input")], &[""]), "requestTemplates"),
        (responses(&[("json", r#"{"statusCode":200}"#)], &[""]), "requestTemplates"),
        (responses(&[("a/b", r#"{"statusCode":200}"#)], &[]), "requestTemplates"),
        (responses(&[], &["("]), "integrationResponses[0].selectionPattern"),
        (responses(&[], &["200", "200"]), "integrationResponses[1].selectionPattern"),
        (Settings { timeout_ms: 1, ..function() }, "timeoutMs"),
        (Settings { mock_response: mock("").mock_response, ..function() }, "mockResponse"),
        (answer(199, &[], ""), "mockResponse.status"),
        (answer(600, &[], ""), "mockResponse.status"),
        (answer(204, &[], "x"), "mockResponse.body"),
        (answer(200, &[], "\0"), "mockResponse.body"),
        (answer(200, &[], &huge), "mockResponse.body"),
        (answer(200, &[("a", "1"), ("a b", "2")], ""), "mockResponse.headers[1].name"),
        (answer(200, &[("Transfer-Encoding", "x")], ""), "mockResponse.headers[0].name"),
        (answer(200, &[("Content-Length", "5")], ""), "mockResponse.headers[0].name"),
        (answer(200, &[("a", "1\r\nb: 2")], ""), "mockResponse.headers[0].value"),
        (answer(200, &[("a", "1"); MOCK_HEADERS_MAX + 1], ""), "mockResponse.headers"),
    ] {
        assert_eq!(refused(&settings), param);
    }
}

#[test]
fn a_function_is_a_uri_that_this_installation_reaches() {
    for good in [
        "http://127.0.0.1:9000/2015-03-31/functions/function/invocations",
        "https://${stageVariables.function}.example.com/{proxy}",
    ] {
        for version in PayloadFormatVersion::ALL {
            let checked = Settings::aws_proxy(good, version).checked(&reach());
            assert!(checked.is_ok(), "{good}: {checked:?}");
        }
    }
    for bad in [
        "",
        "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/x/invocations",
        "http://10.0.0.1/",
        "http://127.0.0.1:8080/",
        "ftp://example.com/",
    ] {
        assert_eq!(refused(&Settings::aws_proxy(bad, V2)), "uri", "{bad}");
    }
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:pets";
    assert_eq!(refused(&Settings::aws_proxy(arn, V2)), "aws", "who calls it must be said");
}

#[test]
fn a_payload_format_version_is_one_of_aws() {
    for version in PayloadFormatVersion::ALL {
        assert_eq!(version.as_str().parse::<PayloadFormatVersion>().unwrap(), version);
        let json = serde_json::to_value(version).unwrap();
        assert_eq!(json, version.as_str());
    }
    for bad in ["", "1", "3.0", "2.0 ", "V2"] {
        let error = bad.parse::<PayloadFormatVersion>().unwrap_err();
        assert_eq!(error.param(), Some("payloadFormatVersion"), "{bad}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_functions_settings_are_kept(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let to = |version| Settings::aws_proxy("http://h.test/", version);
    let made = create(&app, &alice, api, to(V1)).await.unwrap();
    assert_eq!(get(&app, &alice, made.id).await.unwrap().settings, to(V1));
    update(&app, &alice, made.id, to(V2)).await.unwrap();
    assert_eq!(get(&app, &alice, made.id).await.unwrap().settings, to(V2));
    let proxy = Settings::http_proxy("http://h.test/");
    update(&app, &alice, made.id, proxy.clone()).await.unwrap();
    assert_eq!(get(&app, &alice, made.id).await.unwrap().settings, proxy);
}

#[sqlx::test(migrations = "../migrations")]
async fn how_a_backend_and_a_mock_answer_is_kept(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let proxy = Settings {
        forwarded: Some(ForwardedPolicy::Replace),
        response_transfer_mode: Some(ResponseTransferMode::Buffered),
        timeout_ms: backend::TIMEOUT_MS_MAX,
        ..Settings::http_proxy("http://h.test/")
    };
    let made = create(&app, &alice, api, proxy.clone()).await.unwrap();
    assert_eq!(get(&app, &alice, made.id).await.unwrap().settings, proxy);

    let response = IntegrationResponse {
        status_code: 404,
        selection_pattern: "4\\d{2}".to_owned(),
        headers: vec![Header { name: "x-a".to_owned(), value: "1".to_owned() }],
        response_templates: [("text/plain".to_owned(), "gone".to_owned())].into(),
        content_handling: None,
    };
    let chosen = Settings {
        mock_response: None,
        request_templates: [("application/json".to_owned(), r#"{"statusCode": 404}"#.to_owned())]
            .into(),
        integration_responses: vec![response],
        ..mock("")
    };
    update(&app, &alice, made.id, chosen.clone()).await.unwrap();
    assert_eq!(get(&app, &alice, made.id).await.unwrap().settings, chosen);

    let operation = serde_json::json!({ "responses": { "200": { "content": {
        "application/json": { "example": { "id": 1 } } } } } });
    let from = Settings { mock_response: None, openapi_operation: Some(operation), ..mock("") };
    update(&app, &alice, made.id, from).await.unwrap();
    let kept = get(&app, &alice, made.id).await.unwrap().settings;
    assert_eq!(kept.openapi_operation, None);
    assert_eq!((kept.examples.len(), kept.examples[0].body.as_str()), (1, r#"{"id":1}"#));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_timeout_is_within_its_apis_dialect(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let within = |timeout_ms| Settings { timeout_ms, ..Settings::http_proxy("http://h.test/") };
    for (dialect, max) in [(Dialect::AwsRest, 29_000), (Dialect::AwsHttp, 30_000)] {
        let api = new_api(&app, &alice, dialect).await;
        let made = create(&app, &alice, api, within(max)).await.unwrap();
        for refused in [
            create(&app, &alice, api, within(max + 1)).await.unwrap_err(),
            update(&app, &alice, made.id, within(max + 1)).await.unwrap_err(),
        ] {
            assert_eq!((refused.code(), refused.param()), ("bad_request", Some("timeoutMs")));
        }
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn an_integration_fits_every_route_that_leads_to_it(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    let to = |uri: &str| Settings::http_proxy(uri);
    let route = new_route(&app, &alice, api, "GET /a/{id}", to("http://h.test/{id}")).await;
    let id = route.integration.unwrap();

    let error = update(&app, &alice, id, to("http://h.test/{other}")).await.unwrap_err();
    assert_eq!((error.code(), error.param()), ("bad_request", Some("uri")));
    assert_eq!(get(&app, &alice, id).await.unwrap().settings.uri, "http://h.test/{id}");
    assert!(update(&app, &alice, id, mock("x")).await.is_ok());

    let error = delete(&app, &alice, id).await.unwrap_err();
    assert_eq!(error.code(), "conflict");
    assert!(error.to_string().contains("GET /a/{id}"), "{error}");
    route::delete(&app, &alice, route.id).await.unwrap();
    delete(&app, &alice, id).await.unwrap();
    assert!(matches!(get(&app, &alice, id).await, Err(Error::NotFound(_))));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_mock_answers_of_an_api_are_bounded_together(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let (api, other) = (
        new_api(&app, &alice, Dialect::Native).await,
        new_api(&app, &alice, Dialect::Native).await,
    );
    let most = mock(&"x".repeat(MOCK_BODY_BYTES_MAX));
    for _ in 1..MOCKS_BYTES_MAX / MOCK_BODY_BYTES_MAX {
        create(&app, &alice, api, most.clone()).await.unwrap();
    }
    let empty = create(&app, &alice, api, mock("")).await.unwrap();

    for refused in [
        create(&app, &alice, api, most.clone()).await.unwrap_err(),
        update(&app, &alice, empty.id, most.clone()).await.unwrap_err(),
    ] {
        let told = (refused.code(), refused.param());
        assert_eq!(told, ("limit_exceeded", Some("mockResponse")));
    }
    assert!(create(&app, &alice, other, most).await.is_ok());
    assert!(create(&app, &alice, api, Settings::http_proxy("http://h.test/")).await.is_ok());
}

#[sqlx::test(migrations = "../migrations")]
async fn another_tenants_integration_does_not_exist(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    let api = new_api(&app, &alice, Dialect::Native).await;
    let made = create(&app, &alice, api, mock("hers")).await.unwrap();

    for error in [
        get(&app, &mallory, made.id).await.unwrap_err(),
        list(&app, &mallory, api, &Page::default()).await.unwrap_err(),
        create(&app, &mallory, api, mock("x")).await.unwrap_err(),
        update(&app, &mallory, made.id, mock("x")).await.unwrap_err(),
        delete(&app, &mallory, made.id).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    }
    assert_eq!(get(&app, &alice, made.id).await.unwrap(), made);
}
