use serde_json::json;

use super::*;

fn read_text(format: Format, text: &str) -> Result<Response<Bytes>, String> {
    read(format, true, text.as_bytes()).map_err(|why| why.0.into_owned())
}

fn fields(response: &Response<Bytes>) -> Vec<(&str, &str)> {
    let headers = response.headers().iter();
    headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

#[test]
fn the_answer_1_0_of_aws_documentation_is_read() {
    let text = r#"{
        "isBase64Encoded": false,
        "statusCode": 201,
        "headers": { "headername": "headervalue", "X-Number": 5, "x-true": true },
        "multiValueHeaders": { "headerName2": ["one", "two"] },
        "body": "Hello"
    }"#;
    for format in [Format::V1, Format::V2] {
        let answer = read_text(format, text).unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (201, &b"Hello"[..]));
        let named = |name: &str| {
            let values = answer.headers().get_all(name).iter();
            values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(named("headername"), ["headervalue"]);
        assert_eq!(named("headername2"), ["one", "two"]);
        assert_eq!((named("x-number"), named("x-true")), (vec!["5"], vec!["true"]));
    }
}

#[test]
fn of_a_name_in_both_the_many_values_win() {
    let text = r#"{"statusCode":200,"headers":{"A":"single","b":"kept"},"multiValueHeaders":{"a":["1","2"]}}"#;
    let answer = read_text(Format::V1, text).unwrap();
    let mut said = fields(&answer);
    said.sort_unstable();
    assert_eq!(said, [("a", "1"), ("a", "2"), ("b", "kept")]);
}

#[test]
fn what_is_null_is_absent() {
    let text = r#"{"statusCode":204,"headers":null,"multiValueHeaders":null,"body":null,"isBase64Encoded":null,"cookies":null}"#;
    for format in [Format::V1, Format::V2] {
        let answer = read_text(format, text).unwrap();
        assert!(answer.body().is_empty() && answer.headers().is_empty(), "{answer:?}");
    }
}

#[test]
fn cookies_are_fields_of_2_0_alone() {
    let text = r#"{"statusCode":200,"cookies":["a=1; Secure","b=2"]}"#;
    let answer = read_text(Format::V2, text).unwrap();
    assert_eq!(fields(&answer), [("set-cookie", "a=1; Secure"), ("set-cookie", "b=2")]);
    assert!(read_text(Format::V1, text).unwrap().headers().is_empty());
}

#[test]
fn what_has_no_status_is_the_body_in_2_0_and_no_answer_in_1_0() {
    for (text, body) in [
        (r#"{ "message": "Hello from Lambda!" }"#, r#"{ "message": "Hello from Lambda!" }"#),
        (r#""Hello from Lambda!""#, "Hello from Lambda!"),
        (" [1, 2]\n", "[1, 2]"),
        ("null", "null"),
        (r#"{"statusCode":null,"body":"x"}"#, r#"{"statusCode":null,"body":"x"}"#),
    ] {
        let answer = read_text(Format::V2, text).unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, body.as_bytes()));
        assert_eq!(fields(&answer), [("content-type", "application/json")]);
        assert!(read_text(Format::V1, text).is_err(), "{text}");
    }
}

#[test]
fn a_body_in_base64_is_decoded() {
    let text = r#"{"statusCode":200,"headers":{"Content-Type":"image/png"},"body":"iVBORw==","isBase64Encoded":true}"#;
    let answer = read_text(Format::V1, text).unwrap();
    assert_eq!(&answer.body()[..], b"\x89PNG");
}

#[test]
fn a_body_that_says_nothing_of_its_type_has_the_usual_one() {
    let text = r#"{"statusCode":200,"body":"{}"}"#;
    let typed = |format| fields(&read_text(format, text).unwrap())[0].1.to_owned();
    assert_eq!(typed(Format::V1), "application/json");
    assert_eq!(typed(Format::V2), "text/plain;charset=UTF-8");
}

#[test]
fn fields_of_one_connection_and_of_framing_are_not_passed_on() {
    let text = r#"{"statusCode":200,"headers":{"Connection":"x-hop","x-hop":"1","Transfer-Encoding":"chunked","Content-Length":"99","upgrade":"h2c","x-kept":"1"}}"#;
    let answer = read_text(Format::V1, text).unwrap();
    assert_eq!(fields(&answer), [("x-kept", "1")]);
}

#[test]
fn a_status_that_has_no_body_has_none() {
    for status in [204, 205, 304] {
        let text = json!({ "statusCode": status, "body": "x" }).to_string();
        let answer = read_text(Format::V2, &text).unwrap();
        assert!(answer.body().is_empty() && answer.headers().is_empty());
    }
}

#[test]
fn what_is_malformed_is_named() {
    let many: serde_json::Map<_, _> =
        (0..=FIELDS_MAX).map(|at| (format!("x-{at}"), json!("1"))).collect();
    let cookies = vec!["a=1"; FIELDS_MAX + 1];
    let long = "x".repeat(HEAD_BYTES_MAX);
    for (text, named) in [
        (String::new(), "it is not"),
        ("hello".into(), "it is not"),
        ("{".into(), "line 1"),
        (r#"{"statusCode":200} x"#.into(), "line 1"),
        (r#"{"statusCode":200,"statusCode":200}"#.into(), "line 1"),
        (r#"{"statusCode":"200"}"#.into(), "statusCode"),
        (r#"{"statusCode":200.0}"#.into(), "statusCode"),
        (r#"{"statusCode":-1}"#.into(), "statusCode"),
        (r#"{"statusCode":100}"#.into(), "statusCode"),
        (r#"{"statusCode":199}"#.into(), "statusCode"),
        (r#"{"statusCode":600}"#.into(), "statusCode"),
        (r#"{"statusCode":65736}"#.into(), "statusCode"),
        (r#"{"statusCode":[200]}"#.into(), "statusCode"),
        (r#"{"statusCode":200,"headers":[]}"#.into(), "headers"),
        (r#"{"statusCode":200,"headers":"x"}"#.into(), "headers"),
        (r#"{"statusCode":200,"headers":{"a b":"1"}}"#.into(), "headers"),
        (r#"{"statusCode":200,"headers":{"":"1"}}"#.into(), "headers"),
        (r#"{"statusCode":200,"headers":{"a":"1\r\nb: 2"}}"#.into(), "headers"),
        (r#"{"statusCode":200,"headers":{"a":"1\u0000"}}"#.into(), "headers"),
        (r#"{"statusCode":200,"headers":{"a":{}}}"#.into(), "headers"),
        (r#"{"statusCode":200,"headers":{"a":null}}"#.into(), "headers"),
        (r#"{"statusCode":200,"headers":{"a":["1"]}}"#.into(), "headers"),
        (r#"{"statusCode":200,"multiValueHeaders":{"a":"1"}}"#.into(), "multiValueHeaders"),
        (
            r#"{"statusCode":200,"multiValueHeaders":{"a":["1"," \u007f"]}}"#.into(),
            "multiValueHeaders",
        ),
        (r#"{"statusCode":200,"body":{}}"#.into(), "body"),
        (r#"{"statusCode":200,"body":5}"#.into(), "body"),
        (r#"{"statusCode":200,"body":"\ud800"}"#.into(), "body"),
        (r#"{"statusCode":200,"isBase64Encoded":"true"}"#.into(), "isBase64Encoded"),
        (r#"{"statusCode":200,"body":"a","isBase64Encoded":true}"#.into(), "body"),
        (r#"{"statusCode":200,"body":"====","isBase64Encoded":true}"#.into(), "body"),
        (json!({ "statusCode": 200, "headers": many }).to_string(), "headers"),
        (
            json!({ "statusCode": 200, "multiValueHeaders": { "a": cookies } }).to_string(),
            "multiValueHeaders",
        ),
        (json!({ "statusCode": 200, "headers": { "a": long } }).to_string(), "fields"),
    ] {
        let why = read_text(Format::V1, &text).unwrap_err();
        assert!(why.contains(named), "{text:.100}: {why}");
    }
    for text in [
        r#"{"statusCode":200,"cookies":"a=1"}"#.to_owned(),
        r#"{"statusCode":200,"cookies":["a=1\nb"]}"#.to_owned(),
        json!({ "statusCode": 200, "cookies": cookies }).to_string(),
    ] {
        let why = read_text(Format::V2, &text).unwrap_err();
        assert!(why.contains("cookies"), "{text:.100}: {why}");
    }
    assert!(read(Format::V2, true, b"\"\xff\"").is_err());
    let deep = "[".repeat(1 << 20);
    assert!(read_text(Format::V2, &deep).is_err());
}

#[test]
fn a_body_that_is_not_to_be_decoded_stays_base64() {
    for (text, body) in [
        (r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#, "aGk="),
        (r#"{"statusCode":200,"body":"no base64","isBase64Encoded":true}"#, "no base64"),
    ] {
        let answer = read(Format::V1, false, text.as_bytes()).unwrap();
        assert_eq!(&answer.body()[..], body.as_bytes());
    }
    let wrong = read(Format::V1, true, br#"{"statusCode":200,"body":"-","isBase64Encoded":true}"#);
    assert!(wrong.unwrap_err().is_of_base64());
}
