//! `HTTP` from both ends: what of a call reaches the backend, and which of its answers reaches the caller how.

use std::net::SocketAddr;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use proto::config::v1::{
    Dialect::Native, Http, HttpProxy, IntegrationResponse, RetryPolicy, VpcLink, VpcLinkTarget,
    integration, resource::Kind,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{Answer, TENANT, TestNode, api, full, origin, raw_origin, read_until};

fn http(at: SocketAddr, responses: Vec<IntegrationResponse>) -> Http {
    let uri = format!("http://{at}/pets?kind=cat");
    let backend = Some(HttpProxy { uri, ..HttpProxy::default() });
    Http { backend, responses, ..Http::default() }
}

fn response(status_code: u32, pattern: &str, body: Option<&str>) -> IntegrationResponse {
    let templates = body.map(|body| ("text/plain".to_owned(), body.to_owned()));
    IntegrationResponse {
        status_code,
        selection_pattern: pattern.into(),
        templates: templates.into_iter().collect(),
        ..IntegrationResponse::default()
    }
}

fn node(of: Http) -> TestNode {
    TestNode::start(api(Native, &[("ANY /a", integration::Kind::Http(of))]))
}

/// Answers what it was asked, by the status that its body is.
async fn echo() -> SocketAddr {
    origin(|request: Request<Incoming>| async move {
        let asked = format!("{} {}", request.method(), request.uri());
        let names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let status = StatusCode::from_bytes(&body).unwrap_or(StatusCode::OK);
        let mut response = Response::new(full(format!("{asked}\n{}", names.join(" "))));
        *response.status_mut() = status;
        response
    })
    .await
}

async fn put(node: &TestNode, body: &str) -> Answer {
    let fields = ["content-type: text/plain", "x-own: 1", "cookie: a=1", "x-forwarded-for: ::1"];
    node.send("PUT /prod/a?page=2", &fields, body).await
}

#[tokio::test]
async fn a_backend_gets_what_is_said_and_its_status_says_what_callers_get() {
    let at = echo().await;
    let answer = put(&node(http(at, Vec::new())), "404").await;
    assert_eq!(answer.status(), 404);
    let (asked, names) = answer.body().split_once('\n').unwrap();
    assert_eq!(asked, "PUT /pets?kind=cat");
    let mut names: Vec<_> = names.split(' ').collect();
    names.retain(|name| !name.starts_with("trace") && *name != "x-request-id");
    names.sort_unstable();
    assert_eq!(names, ["content-length", "content-type", "host"]);

    let responses = || vec![response(200, "", None), response(410, "40\\d", Some("gone"))];
    let node = node(http(at, responses()));
    for (said, status, gone) in [("404", 410, true), ("500", 200, false), ("201", 200, false)] {
        let answer = put(&node, said).await;
        assert_eq!((answer.status(), answer.body() == "gone"), (status, gone), "{said}");
    }
}

/// What a backend sends beside an answer that callers do not get harms nobody.
#[tokio::test]
async fn an_answer_that_is_replaced_is_not_read() {
    let (address, listener) = raw_origin().await;
    let node = node(http(address, vec![response(503, "500", Some("later"))]));
    let backend = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let head = "HTTP/1.1 500 Oh\r\ncontent-length: 1000000000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        stream.read(&mut [0; 1]).await.unwrap_or(0)
    };
    let (answer, left) = tokio::join!(node.get("/prod/a"), backend);
    assert_eq!((answer.status(), answer.body()), (503, "later"));
    assert_eq!(left, 0, "the node closed it");
}

#[tokio::test]
async fn a_vpc_link_and_a_retry_policy_hold_for_it_too() {
    let (first, second) = (raw_origin().await, echo().await);
    drop(first.1); // nobody listens there
    let target = |at: SocketAddr, weight| VpcLinkTarget {
        host: at.ip().to_string(),
        port: at.port().into(),
        weight,
    };
    let link = VpcLink {
        id: "link000001".into(),
        tenant_id: TENANT.into(),
        targets: vec![target(first.0, 100), target(second, 1)],
        ..VpcLink::default()
    };
    let of = Http {
        backend: Some(HttpProxy {
            uri: "http://pets.internal/pets".into(),
            retry_policy: Some(RetryPolicy {
                attempts: 1,
                connect_failure: true,
                ..RetryPolicy::default()
            }),
            ..HttpProxy::default()
        }),
        vpc_link_id: link.id.clone(),
        ..Http::default()
    };
    let mut resources = api(Native, &[("ANY /a", integration::Kind::Http(of))]);
    resources.push(Kind::VpcLink(link).into());
    let node = TestNode::start(resources);
    let answer = node.get("/prod/a").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.body().starts_with("GET /pets\n"));
}
