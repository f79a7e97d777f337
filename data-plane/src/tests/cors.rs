//! What browsers are told of who may read answers.

use http::Response;
use proto::config::v1::{
    Cors,
    Dialect::{AwsHttp, AwsRest, Native},
    Resource, Tenant,
};

use super::world::{TestNode, api, api_with, full, mock, origin, proxy};

const PAGE: &str = "origin: https://a.example";
const ASKS_PUT: &str = "access-control-request-method: PUT";

fn cors(origins: &[&str]) -> Cors {
    Cors { allow_origins: origins.iter().map(|&it| it.into()).collect(), ..Cors::default() }
}

fn pages(dialect: proto::config::v1::Dialect, cors: Cors) -> Vec<Resource> {
    api_with(dialect, vec![("PUT /keyed", mock(200, "ok"), true)], |(_, deployment, _)| {
        deployment.api.as_mut().unwrap().cors = Some(cors);
    })
}

#[tokio::test]
async fn a_preflight_is_answered_before_routes_and_keys_and_is_not_billed() {
    for (dialect, status, methods) in
        [(Native, 204, Some("PUT")), (AwsRest, 200, None), (AwsHttp, 204, None)]
    {
        let cors = Cors {
            allow_headers: vec!["x-api-key".into()],
            allow_credentials: true,
            max_age_s: Some(600),
            ..cors(&["https://a.example"])
        };
        let node = TestNode::start(pages(dialect, cors));
        let told = node.call("OPTIONS /prod/keyed", &[PAGE, ASKS_PUT]).await;
        assert_eq!(told.status(), status, "{told:?}");
        assert_eq!(told.field("access-control-allow-origin"), Some("https://a.example"));
        assert_eq!(told.field("access-control-allow-credentials"), Some("true"));
        assert_eq!(told.field("access-control-allow-headers"), Some("x-api-key"));
        assert_eq!(told.field("access-control-allow-methods"), methods);
        assert_eq!(told.field("access-control-max-age"), Some("600"));
        assert_eq!((told.field("vary"), told.body()), (Some("Origin"), ""));

        let nowhere = node.call("OPTIONS /prod/nowhere", &[PAGE, ASKS_PUT]).await;
        assert_eq!(nowhere.status(), status);
        assert_eq!(nowhere.field("access-control-allow-methods"), None);
        let other = ["origin: https://b.example", ASKS_PUT];
        let stranger = node.call("OPTIONS /prod/keyed", &other).await;
        assert_eq!((stranger.status(), stranger.field("vary")), (status, Some("Origin")));
        assert!(!stranger.text.contains("access-control"), "{stranger:?}");
        // A path that is refused is refused whatever asks.
        assert_eq!(node.call("OPTIONS /prod/a/../b", &[PAGE, ASKS_PUT]).await.status(), 400);

        let records = node.counted(4).await;
        assert!(records.iter().all(|(names, record)| names.route == "-" && !record.billed));
    }
}

#[tokio::test]
async fn refusals_tell_the_page_too_in_each_dialect() {
    for dialect in [Native, AwsRest, AwsHttp] {
        let node = TestNode::start(pages(dialect, cors(&["https://*"])));
        let plain = ["access-control-request-method: PUT"];
        for (line, fields) in [
            ("PUT /prod/keyed", &[PAGE][..]), // no key
            ("GET /prod/nowhere", &[PAGE]),
            ("OPTIONS /prod/keyed", &[PAGE]), // no preflight without what it asks
            ("GET /prod/a/../b", &[PAGE]),
        ] {
            let refused = node.call(line, fields).await;
            assert!(refused.status() >= 400, "{refused:?}");
            let told = refused.field("access-control-allow-origin");
            assert_eq!((told, refused.field("vary")), (Some("https://a.example"), Some("Origin")));
        }
        let routes = vec![("GET /gone", proxy("http://127.0.0.1:9/"), false)];
        let gone = TestNode::start(api_with(dialect, routes, |(_, deployment, _)| {
            deployment.api.as_mut().unwrap().cors = Some(cors(&["https://*"]));
        }));
        let failed = gone.call("GET /prod/gone", &[PAGE]).await;
        assert!(failed.status() >= 500, "{failed:?}");
        assert_eq!(failed.field("access-control-allow-origin"), Some("https://a.example"));

        let no_page = node.call("OPTIONS /prod/keyed", &plain).await;
        assert!(no_page.status() >= 400 && !no_page.text.contains("access-control"), "{no_page:?}");
    }
}

/// A backend with an opinion.
async fn opinionated() -> std::net::SocketAddr {
    origin(|request| async move {
        let mut response = Response::new(full(request.method().to_string()));
        for (name, value) in [
            ("access-control-allow-origin", "https://evil.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "x-secret"),
            ("vary", "accept-encoding"),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    })
    .await
}

#[tokio::test]
async fn the_apis_fields_stand_in_the_place_of_the_backends() {
    let backend = proxy(format!("http://{}/", opinionated().await));
    let with = |cors: Option<Cors>| {
        api_with(Native, vec![("ANY /x", backend.clone(), false)], |(_, deployment, _)| {
            deployment.api.as_mut().unwrap().cors = cors;
        })
    };
    let exposing = Cors { expose_headers: vec!["x-total".into()], ..cors(&["https://a.example"]) };
    let mut node = TestNode::start(with(Some(exposing)));
    let answer = node.call("GET /prod/x", &[PAGE]).await;
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(answer.field("access-control-expose-headers"), Some("x-total"));
    assert_eq!(answer.field("access-control-allow-credentials"), None);
    assert!(answer.text.to_ascii_lowercase().contains("vary: origin\r\n"), "{answer:?}");
    assert_eq!(answer.field("vary"), Some("accept-encoding"), "the backend's stays");
    let stranger = node.call("GET /prod/x", &["origin: https://evil.example"]).await;
    assert!(!stranger.text.contains("access-control"), "{stranger:?}");

    node.publish(with(Some(cors(&["*"]))));
    let anybody = node.call("GET /prod/x", &[PAGE]).await;
    assert_eq!(anybody.field("access-control-allow-origin"), Some("*"));
    assert_eq!(anybody.field("vary"), Some("accept-encoding"), "the same for all");

    // Off: the backend answers, preflights too.
    node.publish(with(None));
    let answer = node.call("GET /prod/x", &[PAGE]).await;
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://evil.example"));
    let preflight = node.call("OPTIONS /prod/x", &[PAGE, ASKS_PUT]).await;
    assert!(preflight.body().ends_with("OPTIONS"), "{preflight:?}");
}

#[tokio::test]
async fn a_route_says_for_itself_and_the_call_to_come_decides() {
    let backend = proxy(format!("http://{}/", opinionated().await));
    let routes = vec![
        ("PUT /own", mock(200, ""), false),
        ("ANY /off", backend, false),
        ("PUT /as", mock(200, ""), false),
    ];
    let node = TestNode::start(api_with(Native, routes, |(_, deployment, _)| {
        deployment.api.as_mut().unwrap().cors = Some(cors(&["https://a.example"]));
        deployment.routes[0].cors = Some(cors(&["https://own.example"]));
        deployment.routes[1].cors = Some(cors(&[]));
    }));
    let own = ["origin: https://own.example", ASKS_PUT];
    for line in ["OPTIONS /prod/own", "PUT /prod/own"] {
        let told = node.call(line, &own).await;
        assert_eq!(
            told.field("access-control-allow-origin"),
            Some("https://own.example"),
            "{line}"
        );
        assert_eq!(
            node.call(line, &[PAGE, ASKS_PUT]).await.field("access-control-allow-origin"),
            None
        );
    }
    let off = node.call("OPTIONS /prod/off", &[PAGE, ASKS_PUT]).await;
    assert_eq!(off.field("access-control-allow-origin"), Some("https://evil.example"));
    let as_api = node.call("OPTIONS /prod/as", &[PAGE, ASKS_PUT]).await;
    assert_eq!(as_api.field("access-control-allow-origin"), Some("https://a.example"));
}

#[tokio::test]
async fn a_preflight_of_a_stage_that_nobody_may_call_is_refused() {
    let suspended = |tenant: &mut Tenant| tenant.suspended = true;
    let all =
        api_with(Native, vec![("PUT /x", mock(200, ""), false)], |(tenant, deployment, _)| {
            suspended(tenant);
            deployment.api.as_mut().unwrap().cors = Some(cors(&["*"]));
        });
    let node = TestNode::start(all);
    assert_eq!(node.call("OPTIONS /prod/x", &[PAGE, ASKS_PUT]).await.status(), 403);

    let restricted =
        api_with(Native, vec![("PUT /x", mock(200, ""), false)], |(_, deployment, stage)| {
            deployment.api.as_mut().unwrap().cors = Some(cors(&["*"]));
            stage.restrictions = vec!["unheard-of".into()];
        });
    let node = TestNode::start(restricted);
    assert_eq!(node.call("OPTIONS /prod/x", &[PAGE, ASKS_PUT]).await.status(), 500);

    // Without anything configured nothing is told, and nothing taken.
    let node = TestNode::start(api(Native, &[("OPTIONS /x", mock(200, "mine"))]));
    assert_eq!(node.call("OPTIONS /prod/x", &[PAGE, ASKS_PUT]).await.body(), "mine");
}
