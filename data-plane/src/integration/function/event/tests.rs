use http::header::COOKIE;
use serde_json::json;

use super::*;
use crate::dialect::NATIVE;

#[test]
fn a_body_is_text_by_its_media_type_and_its_bytes() {
    for (media_type, expected) in [
        ("text/plain", true),
        ("TEXT/HTML; charset=utf-8", true),
        ("application/json;charset=utf-8", true),
        ("application/javascript", true),
        ("application/xml", true),
        ("application/x-www-form-urlencoded", true),
        ("application/vnd.api+json", true),
        ("image/svg+xml", true),
        ("application/octet-stream", false),
        ("image/png", false),
        ("application/jsonx", false),
        ("", false),
    ] {
        assert_eq!(is_text(media_type), expected, "{media_type}");
    }
}

/// The call that AWS's documentation shows the events of.
fn documented() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "id.execute-api.us-east-1.amazonaws.com:8443"),
        ("header1", "value1"),
        ("header2", "value1"),
        ("header2", "value2"),
        ("user-agent", "agent"),
        ("content-type", "text/plain"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

fn call<'a>(headers: &'a HeaderMap, variables: &'a Map<String, Value>) -> Call<'a> {
    let path_parameters = [("parameter1".to_owned(), "value1".into())].into_iter().collect();
    Call {
        dialect: &NATIVE,
        account_id: "123456789012",
        api_id: "api-id",
        stage: "$default",
        route_key: "POST /path/{parameter1}",
        method: "POST",
        path: "/path/value1",
        query: "parameter1=value1&parameter1=value2&parameter2=a%20b+c",
        version: Version::HTTP_11,
        headers,
        path_parameters,
        stage_variables: variables,
        source_ip: "192.0.2.1".parse().unwrap(),
        api_key_id: None,
        api_key: None,
        request_id: "id",
        time_ms: 1_583_348_638_390,
        body: b"Hello from Lambda",
        binary_media_types: const { &BinaryMediaTypes::NONE },
    }
}

fn event(call: &Call<'_>, format: Format) -> Value {
    serde_json::from_slice(&call.event(format).unwrap()).unwrap()
}

fn variables() -> Map<String, Value> {
    [("stageVariable1".to_owned(), "value1".into())].into_iter().collect()
}

#[test]
fn the_event_2_0_is_the_one_that_aws_documents() {
    let (mut headers, variables) = (documented(), variables());
    headers.insert(COOKIE, HeaderValue::from_static("cookie1=1; cookie2=2"));
    let expected = json!({
        "version": "2.0",
        "routeKey": "POST /path/{parameter1}",
        "rawPath": "/path/value1",
        "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=a%20b+c",
        "cookies": ["cookie1=1", "cookie2=2"],
        "headers": {
            "host": "id.execute-api.us-east-1.amazonaws.com:8443",
            "header1": "value1",
            "header2": "value1,value2",
            "user-agent": "agent",
            "content-type": "text/plain",
        },
        "queryStringParameters": { "parameter1": "value1,value2", "parameter2": "a b c" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "id.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "id",
            "http": {
                "method": "POST",
                "path": "/path/value1",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "agent",
            },
            "requestId": "id",
            "routeKey": "POST /path/{parameter1}",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390_u64,
        },
        "body": "Hello from Lambda",
        "pathParameters": { "parameter1": "value1" },
        "isBase64Encoded": false,
        "stageVariables": { "stageVariable1": "value1" },
    });
    assert_eq!(event(&call(&headers, &variables), Format::V2), expected);
}

#[test]
fn the_event_1_0_is_the_one_that_aws_documents() {
    let (headers, variables) = (documented(), variables());
    let expected = json!({
        "version": "1.0",
        "resource": "/path/{parameter1}",
        "path": "/path/value1",
        "httpMethod": "POST",
        "headers": {
            "host": "id.execute-api.us-east-1.amazonaws.com:8443",
            "header1": "value1",
            "header2": "value2",
            "user-agent": "agent",
            "content-type": "text/plain",
        },
        "multiValueHeaders": {
            "host": ["id.execute-api.us-east-1.amazonaws.com:8443"],
            "header1": ["value1"],
            "header2": ["value1", "value2"],
            "user-agent": ["agent"],
            "content-type": ["text/plain"],
        },
        "queryStringParameters": { "parameter1": "value2", "parameter2": "a b c" },
        "multiValueQueryStringParameters": {
            "parameter1": ["value1", "value2"],
            "parameter2": ["a b c"],
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "authorizer": { "claims": null, "scopes": null },
            "domainName": "id.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "id",
            "extendedRequestId": "id",
            "httpMethod": "POST",
            "identity": {
                "accessKey": null,
                "accountId": null,
                "caller": null,
                "cognitoAuthenticationProvider": null,
                "cognitoAuthenticationType": null,
                "cognitoIdentityId": null,
                "cognitoIdentityPoolId": null,
                "principalOrgId": null,
                "sourceIp": "192.0.2.1",
                "user": null,
                "userAgent": "agent",
                "userArn": null,
                "clientCert": null,
            },
            "path": "/path/value1",
            "protocol": "HTTP/1.1",
            "requestId": "id",
            "requestTime": "04/Mar/2020:19:03:58 +0000",
            "requestTimeEpoch": 1_583_348_638_390_u64,
            "resourceId": null,
            "resourcePath": "/path/{parameter1}",
            "stage": "$default",
        },
        "pathParameters": { "parameter1": "value1" },
        "stageVariables": { "stageVariable1": "value1" },
        "body": "Hello from Lambda",
        "isBase64Encoded": false,
    });
    assert_eq!(event(&call(&headers, &variables), Format::V1), expected);
}

#[test]
fn what_is_absent_is_null_in_1_0_and_left_out_of_2_0() {
    let (headers, none) = (HeaderMap::new(), Map::new());
    let mut call = call(&headers, &none);
    (call.query, call.body, call.path_parameters) = ("", b"", Map::new());
    let event_1 = event(&call, Format::V1);
    for name in [
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "pathParameters",
        "stageVariables",
        "body",
    ] {
        assert_eq!(event_1.get(name), Some(&Value::Null), "{name}");
    }
    assert_eq!(event_1["requestContext"]["domainName"], Value::Null);
    let event_2 = event(&call, Format::V2);
    let names: Vec<&String> = event_2.as_object().unwrap().keys().collect();
    let always = [
        "version",
        "routeKey",
        "rawPath",
        "rawQueryString",
        "headers",
        "requestContext",
        "isBase64Encoded",
    ];
    assert_eq!(names, always);
}

#[test]
fn a_stage_stands_before_the_path_unless_it_is_the_default() {
    let (headers, none) = (documented(), Map::new());
    let mut call = call(&headers, &none);
    call.stage = "prod";
    let (event_1, event_2) = (event(&call, Format::V1), event(&call, Format::V2));
    assert_eq!(event_2["rawPath"], "/prod/path/value1");
    assert_eq!(event_2["requestContext"]["http"]["path"], "/prod/path/value1");
    assert_eq!(event_1["path"], "/path/value1");
    assert_eq!(event_1["requestContext"]["path"], "/prod/path/value1");
}

#[test]
fn the_default_route_is_called_that() {
    let (headers, none) = (documented(), Map::new());
    let mut call = call(&headers, &none);
    call.route_key = "$default";
    assert_eq!(event(&call, Format::V2)["routeKey"], "$default");
    assert_eq!(event(&call, Format::V1)["resource"], "$default");
}

#[test]
fn a_rest_api_tells_no_version_and_no_authorizer() {
    let (headers, none) = (documented(), Map::new());
    let mut call = call(&headers, &none);
    call.dialect = Dialect::of(proto::config::v1::Dialect::AwsRest.into()).unwrap();
    let event = event(&call, Format::V1);
    assert!(event.get("version").is_none() && event["requestContext"].get("authorizer").is_none());
}

#[test]
fn in_aws_rest_what_the_api_calls_binary_is_base64_and_nothing_else() {
    let (mut headers, none) = (documented(), Map::new());
    let rest = Dialect::of(proto::config::v1::Dialect::AwsRest.into()).unwrap();
    let some = BinaryMediaTypes::parse(&["image/*"]).unwrap();
    for (types, media_type, body, told, is_base64) in [
        (&some, "image/png", &b"\x89PNG"[..], "iVBORw==", true),
        (&some, "text/plain", b"hello", "hello", false),
        (&some, "application/octet-stream", b"a\xff", "a\u{fffd}", false),
        (&BinaryMediaTypes::NONE, "image/png", b"hello", "hello", false),
    ] {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        let called =
            Call { body, dialect: rest, binary_media_types: types, ..call(&headers, &none) };
        let event = event(&called, Format::V1);
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!(told), &json!(is_base64)));
        let called = Call { body, binary_media_types: types, ..call(&headers, &none) };
        let elsewhere = self::event(&called, Format::V2);
        let expected = media_type != "text/plain";
        assert_eq!(
            elsewhere["isBase64Encoded"],
            json!(expected),
            "{media_type} in another dialect"
        );
    }
}

#[test]
fn what_is_no_text_is_base64() {
    let (mut headers, none) = (documented(), Map::new());
    for (media_type, body, told, is_base64) in [
        ("image/png", &b"\x89PNG"[..], "iVBORw==", true),
        ("text/plain", b"\xff", "/w==", true),
        ("application/octet-stream", b"hello", "aGVsbG8=", true),
        ("application/json", b"{}", "{}", false),
    ] {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        for format in [Format::V1, Format::V2] {
            let event = event(&Call { body, ..call(&headers, &none) }, format);
            assert_eq!(
                (&event["body"], &event["isBase64Encoded"]),
                (&json!(told), &json!(is_base64))
            );
        }
    }
    headers.remove(CONTENT_TYPE);
    assert_eq!(event(&call(&headers, &none), Format::V2)["isBase64Encoded"], true);
}
