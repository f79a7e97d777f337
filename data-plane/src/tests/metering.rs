//! What the journal holds after calls of each kind.

use proto::{
    config::v1::{Dialect::Native, UsagePlan},
    segment::{Names, Record},
};

use super::world::{Answer, TENANT, TestNode, api_with, echo, key, mock, proxy};

#[tokio::test]
async fn every_call_that_reached_a_route_table_is_counted_and_only_admitted_ones_are_billed() {
    let origin = echo().await;
    let routes = vec![
        ("POST /up", proxy(format!("http://{origin}/")), false),
        ("GET /mock", mock(200, "12345"), false),
        ("GET /key", mock(204, ""), true),
        ("GET /broken", proxy("http://127.0.0.1:1/"), false),
        ("GET /forbidden", proxy("http://10.0.0.1/"), false),
    ];
    let mut resources = api_with(Native, routes, |_| {});
    let plan = UsagePlan { id: "planaaaaa1".into(), ..UsagePlan::default() };
    resources.extend(key("tg_test_1", plan, |key| key.test = true));
    let node = TestNode::start(resources);
    node.call("POST /prod/up", &["content-length: 0"]).await;
    let mocked = node.get("/prod/mock").await;
    node.call("HEAD /prod/mock", &[]).await;
    node.call("GET /prod/key", &["x-api-key: tg_test_1"]).await;
    node.call("GET /prod/key", &["x-api-key: wrong"]).await;
    node.get("/prod/broken").await;
    node.get("/prod/forbidden").await;
    node.get("/prod/unknown").await;
    node.get("/unknown/mock").await; // reaches no stage, so nobody's route table

    let counted = node.counted(8).await;
    let of = |wanted: &str, status: u16| -> &(Names<String>, Record) {
        let found =
            counted.iter().find(|(names, record)| names.route == wanted && record.status == status);
        found.unwrap_or_else(|| panic!("no {wanted} {status} in {counted:?}"))
    };
    for (names, record) in &counted {
        assert_eq!((&*names.tenant_id, &*names.stage, &*names.cell), (TENANT, "prod", "default"));
        assert!(!record.aborted, "{names:?}");
    }
    assert!(of("POST /up", 200).1.billed && of("POST /up", 200).1.bytes_out > 20);
    assert!(of("GET /mock", 200).1.billed);
    assert_eq!(of("GET /mock", 200).1.bytes_out, bytes_of(&mocked));
    let keyed = of("GET /key", 204);
    assert_eq!((&*keyed.0.api_key_id, &*keyed.0.usage_plan_id), ("keyaaaaaa1", "planaaaaa1"));
    assert!(keyed.1.test && !keyed.1.billed);
    assert!(!of("GET /key", 403).1.billed);
    assert!(of("GET /broken", 504).1.billed, "the backend's fault");
    assert!(!of("GET /forbidden", 500).1.billed, "the configuration's fault");
    assert!(!of("-", 404).1.billed);
    assert!(!of("-", 405).1.billed, "HEAD of a GET route");
}

#[tokio::test]
async fn bytes_are_counted_both_ways_as_far_as_they_came() {
    let origin = echo().await;
    let routes = vec![("POST /up", proxy(format!("http://{origin}/")), false)];
    let node = TestNode::start(api_with(Native, routes, |_| {}));
    let host =
        format!("host: {}.execute-api.localhost\r\nconnection: close\r\n", super::world::API);
    let asked = format!("POST /prod/up HTTP/1.1\r\n{host}content-length: 10\r\n\r\n0123456789");
    let answer = node.raw(asked.as_bytes()).await;
    let (_, record) = node.counted(1).await.remove(0);
    assert_eq!((record.bytes_in, record.bytes_out), (asked.len() as u64, bytes_of(&answer)));
}

/// Of an answer, without what its connection needs.
fn bytes_of(answer: &Answer) -> u64 {
    (answer.text.len() - "connection: close\r\n".len()) as u64
}
