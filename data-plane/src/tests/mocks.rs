//! What mocks answer: as AWS chooses integration responses, and by what callers prefer.

use proto::config::v1::{
    Api,
    Dialect::{AwsRest, Native},
    Header, IntegrationResponse, Mock, MockExample, integration,
};

use super::world::{TestNode, api, api_with, mock};

fn chosen(template: Option<&str>, patterns: &[(&str, u32)]) -> integration::Kind {
    let response = |(pattern, status): &(&str, u32)| IntegrationResponse {
        status_code: *status,
        selection_pattern: (*pattern).to_owned(),
        headers: vec![Header { name: "x-chosen".into(), value: (*pattern).to_owned() }],
        templates: [
            ("application/json", format!(r#"{{"status":{status}}}"#)),
            ("text/plain", format!("status {status}")),
        ]
        .map(|(name, text)| (name.to_owned(), text))
        .into(),
        ..IntegrationResponse::default()
    };
    let template = template.map(|text| ("application/json".to_owned(), text.to_owned()));
    integration::Kind::Mock(Mock {
        request_templates: template.into_iter().collect(),
        responses: patterns.iter().map(response).collect(),
        ..Mock::default()
    })
}

#[tokio::test]
async fn an_integration_response_is_chosen_by_the_templates_status() {
    let responses = [("2\\d{2}", 200), ("404", 404), ("", 500)];
    let routes = [
        ("ANY /ok", chosen(Some(r#"{"statusCode": 204}"#), &responses)),
        ("GET /gone", chosen(Some(r#"{"statusCode": 404}"#), &responses)),
        ("GET /other", chosen(Some(r#"{"statusCode": 418}"#), &responses)),
        ("GET /none", chosen(None, &responses)),
        ("GET /unmatched", chosen(Some(r#"{"statusCode": 418}"#), &[("200", 200)])),
    ];
    let node = TestNode::start(api(AwsRest, &routes));
    for (path, status) in [("ok", 200), ("gone", 404), ("other", 500), ("none", 500)] {
        let answer = node.get(&format!("/prod/{path}")).await;
        assert_eq!(answer.status(), status, "{answer:?}");
        assert_eq!(answer.json()["status"], status);
        assert_eq!(answer.field("content-type"), Some("application/json"));
    }
    let text = node.call("GET /prod/ok", &["accept: text/plain"]).await;
    assert_eq!((text.body(), text.field("content-type")), ("status 200", Some("text/plain")));
    let form = ["content-type: text/csv", "content-length: 0"];
    assert_eq!(node.call("POST /prod/ok", &form).await.status(), 500, "no template is for it");

    let answer = node.get("/prod/unmatched").await;
    assert_eq!((answer.status(), answer.body()), (500, r#"{"message":"Internal server error"}"#));
}

#[tokio::test]
async fn an_example_is_chosen_by_prefer_and_accept() {
    let example = |name: &str, status: u32, media_type: &str, body: &str| MockExample {
        name: name.into(),
        status,
        media_type: media_type.into(),
        body: body.into(),
        headers: vec![],
    };
    let examples = integration::Kind::Mock(Mock {
        examples: vec![
            example("cat", 200, "application/json", r#""cat""#),
            example("cat", 200, "text/plain", "cat"),
            example("dog", 200, "application/json", r#""dog""#),
            example("unknown", 404, "application/json", r#""unknown""#),
            example("cat", 404, "application/json", r#""no cat""#),
            example("empty one", 204, "", ""),
        ],
        ..Mock::default()
    });
    let node = TestNode::start(api(Native, &[("GET /pets", examples)]));
    for (fields, status, body, applied) in [
        (&[][..], 200, r#""cat""#, None),
        (&["prefer: code=404"], 404, r#""unknown""#, Some("code=404")),
        (&["prefer: code=404, example=cat"], 404, r#""no cat""#, Some("code=404, example=cat")),
        (&["prefer: example=dog"], 200, r#""dog""#, Some("example=dog")),
        (&["prefer: example=\"empty one\""], 204, "", Some("example=\"empty one\"")),
        (&["prefer: code=404, example=dog"], 404, r#""unknown""#, Some("code=404")),
        (&["prefer: code=418, example=dog"], 200, r#""dog""#, Some("example=dog")),
        (&["prefer: code=418"], 200, r#""cat""#, None),
        (&["prefer: respond-async, wait=5"], 200, r#""cat""#, None),
        (&["accept: text/plain"], 200, "cat", None),
        (&["accept: text/*;q=0.1, application/json;q=0"], 200, "cat", None),
        (&["accept: image/png"], 200, r#""cat""#, None),
        (&["prefer: example=cat", "accept: text/plain"], 200, "cat", Some("example=cat")),
    ] {
        let answer = node.call("GET /prod/pets", fields).await;
        assert_eq!((answer.status(), answer.body()), (status, body), "{fields:?}");
        assert_eq!(answer.field("preference-applied"), applied, "{fields:?}");
        assert_eq!(answer.field("vary"), Some("accept, prefer"));
    }
}

#[tokio::test]
async fn a_method_is_overridden_where_the_api_or_its_dialect_says_so() {
    for (dialect, own, overrides) in [
        (Native, None, false),
        (AwsRest, None, true),
        (Native, Some(true), true),
        (AwsRest, Some(false), false),
    ] {
        let routes = vec![("POST /a", mock(201, ""), false), ("PATCH /a", mock(202, ""), false)];
        let node = TestNode::start(api_with(dialect, routes, |(_, deployment, _)| {
            let api: &mut Api = deployment.api.as_mut().unwrap();
            api.method_override = own;
        }));
        let fields = ["x-http-method-override: PATCH", "content-length: 0"];
        let answer = node.call("POST /prod/a", &fields).await;
        assert_eq!(answer.status(), if overrides { 202 } else { 201 }, "{dialect:?} {own:?}");
        let fields = ["x-http-method-override: HEAD", "content-length: 0"];
        let answer = node.call("POST /prod/a", &fields).await;
        assert_eq!(answer.status(), if overrides { 400 } else { 201 }, "{dialect:?} {own:?}");
    }
}
