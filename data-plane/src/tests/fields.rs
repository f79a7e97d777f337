//! Which fields of proxied calls pass in each dialect, both ways, and what backends are told of callers.

use http::Response;
use proto::config::v1::{
    Dialect::{self, AwsHttp, AwsRest, Native},
    ForwardedPolicy, HttpProxy,
};

use super::world::{API, TestNode, api, echo, full, origin, proxy, proxy_with};

#[tokio::test]
async fn each_dialect_keeps_its_own_fields_of_requests_from_backends() {
    let origin = echo().await;
    let sent = [
        "content-md5: x",
        "expect: nothing",
        "max-forwards: 5",
        "server: caller",
        "trailer: x-sum",
        "www-authenticate: Basic",
        "te: trailers",
        "proxy-authorization: Basic x",
        "x-kept: 1",
    ];
    for (dialect, passes) in [(Native, true), (AwsHttp, true), (AwsRest, false)] {
        let node = TestNode::start(api(dialect, &[("GET /a", proxy(format!("http://{origin}/")))]));
        let answer = node.call("GET /prod/a", &sent).await;
        let got = answer.body();
        assert!(got.contains("\nx-kept: 1\n"), "{dialect:?} {got}");
        for name in ["content-md5", "max-forwards", "server", "www-authenticate"] {
            assert_eq!(got.contains(&format!("\n{name}: ")), passes, "{dialect:?} {name}: {got}");
        }
        for name in ["te", "proxy-authorization", "expect"] {
            assert!(!got.contains(&format!("\n{name}: ")), "{dialect:?} {name}: {got}");
        }
    }
}

#[tokio::test]
async fn www_authenticate_is_remapped_in_aws_rest_alone() {
    let origin = origin(|_| async {
        let response = Response::builder().status(401).header("www-authenticate", "Basic");
        response.header("server", "mine").body(full("no")).unwrap()
    })
    .await;
    for (dialect, plain) in [(Native, true), (AwsHttp, true), (AwsRest, false)] {
        let node = TestNode::start(api(dialect, &[("GET /a", proxy(format!("http://{origin}/")))]));
        let answer = node.get("/prod/a").await;
        assert_eq!((answer.status(), answer.body()), (401, "no"));
        for (name, value) in [("www-authenticate", "Basic"), ("server", "mine")] {
            let remapped = answer.field(&format!("x-amzn-remapped-{name}"));
            let expected = if plain { (Some(value), None) } else { (None, Some(value)) };
            assert_eq!((answer.field(name), remapped), expected, "{dialect:?} {answer:?}");
        }
        assert_eq!(answer.field("x-amzn-remapped-date").is_some(), !plain, "{answer:?}");
        assert!(answer.field("date").is_some(), "the node's own: {answer:?}");
    }
}

async fn told(dialect: Dialect, trusted: bool, change: fn(&mut HttpProxy)) -> Vec<String> {
    let origin = echo().await;
    let route = proxy_with(format!("http://{origin}/"), change);
    let node = TestNode::start_with(api(dialect, &[("GET /a", route)]), |config| {
        if trusted {
            config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        }
    });
    let fields =
        ["x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https", "x-forwarded-port: 1"];
    let answer = node.call("GET /prod/a", &fields).await;
    let lines = answer.body().lines().filter(|line| line.contains("orwarded"));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_backend_is_told_of_callers_by_the_integrations_policy_and_the_dialects_fields() {
    let host = format!("{API}.execute-api.localhost");
    let x = |list: &str, proto: &str| {
        vec![
            format!("x-forwarded-for: {list}"),
            format!("x-forwarded-host: {host}"),
            format!("x-forwarded-proto: {proto}"),
        ]
    };
    let own = format!("for=127.0.0.1;host={host};proto=http");
    for dialect in [Native, AwsRest] {
        assert_eq!(told(dialect, false, |_| {}).await, x("127.0.0.1", "http"));
        let mut trusted = x("203.0.113.9, 127.0.0.1", "https");
        trusted.insert(2, "x-forwarded-port: 1".to_owned());
        assert_eq!(told(dialect, true, |_| {}).await, trusted);
    }
    assert_eq!(told(AwsHttp, false, |_| {}).await, [format!("forwarded: {own}")]);
    let folded = format!("forwarded: for=203.0.113.9;proto=https, {own}");
    assert_eq!(told(AwsHttp, true, |_| {}).await, [folded]);

    let replace = |proxy: &mut HttpProxy| proxy.set_forwarded(ForwardedPolicy::Replace);
    let told_of = told(Native, true, replace).await;
    assert_eq!(told_of[0], "x-forwarded-for: 203.0.113.9", "the client alone: {told_of:?}");
    let one = format!("forwarded: for=203.0.113.9;host={host};proto=https");
    assert_eq!(told(AwsHttp, true, replace).await, [one]);
    let remove = |proxy: &mut HttpProxy| proxy.set_forwarded(ForwardedPolicy::Remove);
    for dialect in [Native, AwsRest, AwsHttp] {
        assert!(told(dialect, true, remove).await.is_empty());
    }
}
