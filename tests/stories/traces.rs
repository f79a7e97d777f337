//! What a collector gets to see of both planes: traces of calls, metrics, logs.

use harness::collector::{Collector, Span};
use harness::tenant::{Api, Tenant};
use harness::{World, eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

async fn traced(collector: &Collector) -> World {
    World::start_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ])
    .await
}

#[tokio::test]
async fn a_call_with_a_traceparent_is_one_trace_from_caller_to_backend() {
    let collector = Collector::start().await;
    let mut world = traced(&collector).await;
    let origin = world.origin().await.replies(200, "hello");
    let key = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
        let api = api.deploy("prod").await;
        let key = api.usage_plan("gold").key().await;
        let parent = format!("00-{TRACE}-{CALLER}-01");
        let call = api.get("/pets?token=planted").key(&key.value);
        call.header("traceparent", &parent).header("tracestate", "a=b").await.expect(200);
        key.value
    };
    // What is left when a node is told to stop goes out before it ends.
    world.stop_node().await;

    let spans = collector.spans();
    let ours: Vec<&Span> = spans.iter().filter(|span| span.trace == TRACE).collect();
    let [upstream, request] = ours[..] else { panic!("{ours:?}") };
    assert_eq!((&*request.service, &*request.name), ("tollgate-node", "GET /pets"));
    assert_eq!(request.parent, CALLER);
    assert_eq!(request.attribute("http.response.status_code"), Some("200"));
    assert_eq!(upstream.parent, request.id);
    let received = &origin.received()[0].headers;
    assert_eq!(received["traceparent"], format!("00-{TRACE}-{}-01", upstream.id));
    assert_eq!(received["tracestate"], "a=b");

    let told = format!("{spans:?}");
    assert!(!told.contains("planted") && !told.contains(&key), "a secret in a span");
}

/// Sets the stage's rules and waits until the nodes go by them.
async fn sample(acme: &Tenant<'_>, api: &Api<'_>, settings: Value) {
    let mut input = settings;
    input["id"] = json!(api.stage_id);
    acme.mutate("updateStage", "UpdateStageInput!", input, "stage { tracingEnabled }").await;
    acme.world.settled().await;
}

#[tokio::test]
async fn the_rules_of_a_stage_say_which_of_its_traces_are_exported() {
    let collector = Collector::start().await;
    // By itself the node would keep none.
    let mut world = World::start_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ])
    .await;
    let good = world.origin().await.replies(200, "good");
    let broken = world.origin().await.replies(503, "broken");
    let slow = world.origin().await.replies(200, "slow");
    let by_caller = |flags: &str| format!("00-{TRACE}-{CALLER}-{flags}");
    {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/kept", &good).await;
        let api = api.get_route("/none", &good).await.get_route("/broken", &broken).await;
        let api = api.get_route("/slow", &slow).await.deploy("prod").await;
        api.get("/kept").await.expect(200);

        let none = json!({ "routeKey": "GET /none", "rate": 0 });
        let errors = json!({ "routeKey": "GET /broken", "rate": 0, "keepErrors": true });
        let long = json!({ "routeKey": "GET /slow", "rate": 0, "keepSlowerThanMillis": 20 });
        let all = json!({ "routeKey": "*", "rate": 1 });
        let rules = json!([none, errors, long, all]);
        let settings = json!({ "tracingEnabled": true, "samplingRules": rules });
        sample(&acme, &api, settings).await;
        api.get("/kept").await.expect(200);
        api.get("/none").await.expect(200);
        api.get("/nowhere").await.expect(404);
        api.get("/broken").await.expect(503);
        slow.hold();
        let answered = async {
            slow.asked(1).await;
            let asked = Instant::now();
            let long = Duration::from_millis(21);
            eventually("the bound to pass", async || (asked.elapsed() > long).then_some(())).await;
            slow.release();
        };
        let (answer, ()) = tokio::join!(api.get("/slow"), answered);
        answer.expect(200);
        // A caller's decision goes before the rules.
        api.get("/kept").header("traceparent", &by_caller("00")).await.expect(200);
        api.get("/none").header("traceparent", &by_caller("01")).await.expect(200);

        sample(&acme, &api, json!({ "tracingEnabled": false })).await;
        api.get("/kept").await.expect(200);
    }
    world.stop_node().await;

    let spans = collector.spans();
    let is_request = |span: &&Span| span.attribute("request.id").is_some();
    let requests: Vec<&Span> = spans.iter().filter(is_request).collect();
    let mut names: Vec<&str> = requests.iter().map(|span| &*span.name).collect();
    names.sort_unstable();
    // The first is the one that found no route.
    assert_eq!(names, ["GET", "GET /broken", "GET /kept", "GET /none", "GET /slow"]);
    let of = |name: &str| *requests.iter().find(|span| span.name == name).unwrap();
    assert_eq!(of("GET /none").trace, TRACE, "the one whose caller had it sampled");

    // What was kept in the end is whole, under the ids that the backend was told, with the head's decision.
    for (name, origin, reason) in
        [("GET /broken", &broken, "error"), ("GET /slow", &slow, "latency")]
    {
        let request = of(name);
        let upstream = spans.iter().find(|span| span.parent == request.id).unwrap();
        let told = format!("00-{}-{}-00", request.trace, upstream.id);
        assert_eq!(origin.received()[0].headers["traceparent"], told);
        for span in [request, upstream] {
            assert_eq!(span.attribute("sampling.kept_for"), Some(reason), "{span:?}");
        }
        assert_eq!(upstream.trace, request.trace);
    }
    let flags = good.received().into_iter().map(|received| {
        let told = received.headers["traceparent"].to_str().unwrap().to_owned();
        told.rsplit('-').next().unwrap() == "01"
    });
    assert_eq!(flags.collect::<Vec<_>>(), [false, true, false, false, true, false]);
}

#[tokio::test]
async fn a_collector_gets_the_metrics_and_the_logs_of_both_planes() {
    let collector = Collector::start().await;
    let mut world = World::start_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
        ("OTEL_LOG_LEVEL", "debug"),
        ("TOLLGATE_ACCESS_LOG", "stdout,otlp"),
    ])
    .await;
    let origin = world.origin().await.replies(200, "hello");
    let key = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
        let api = api.deploy("prod").await;
        let key = api.usage_plan("gold").key().await;
        let parent = format!("00-{TRACE}-{CALLER}-01");
        let call = api.get("/pets?token=planted").key(&key.value);
        call.header("traceparent", &parent).await.expect(200);
        api.get("/pets").await.expect(403);
        key.value
    };
    let served = |status: &str| {
        let points = collector.points().into_iter().rev();
        let mut points = points.filter(|it| it.name == "tollgate_requests_total");
        let is = |it: &harness::collector::Point| {
            it.attributes.iter().any(|(name, value)| name == "status_class" && value == status)
        };
        points.find(is).map_or(0.0, |it| it.value)
    };
    eventually("the node's requests among its metrics", async || {
        (served("2xx") >= 1.0 && served("4xx") >= 1.0).then_some(())
    })
    .await;
    let services = ["tollgate-node", "tollgate-control-plane"];
    let printed = world.node().expect("a node runs").log();
    // What is left when a process is told to stop goes out before it ends.
    world.stop_node().await;
    world.stop_control_plane().await;

    let (points, logs) = (collector.points(), collector.logs());
    for service in services {
        assert!(points.iter().any(|it| it.service == service), "metrics of {service}");
        let unsupported = logs.iter().filter(|it| it.service == service);
        let unsupported: Vec<_> = unsupported.filter_map(|it| it.attribute("variable")).collect();
        assert_eq!(unsupported, ["OTEL_LOG_LEVEL"], "{service} says what has no effect");
    }
    assert!(points.iter().any(|it| it.name == "tollgate_database_connections"));
    let calls: Vec<_> = logs.iter().filter(|it| it.body == "request").collect();
    let calls: Vec<_> = calls.into_iter().filter(|it| it.service == services[0]).collect();
    let [good, refused] = calls[..] else { panic!("{calls:?}") };
    assert_eq!((&*good.trace, good.attribute("status")), (TRACE, Some("200")));
    assert_eq!(good.attribute("route"), Some("GET /pets"));
    assert_eq!(refused.attribute("code"), Some("INVALID_API_KEY"));
    let lines = printed.lines().filter(|line| line.contains(r#""target":"access""#));
    assert_eq!(lines.count(), 2, "the other sink has them too: {printed}");

    let told = format!("{points:?}{logs:?}");
    assert!(!told.contains("planted") && !told.contains(&key), "a secret among metrics or logs");
}

#[tokio::test]
async fn a_click_in_the_console_is_one_trace_down_to_its_queries() {
    let collector = Collector::start().await;
    let world = traced(&collector).await;
    let acme = world.tenant("acme").await;
    let create = "mutation($input: CreateConsumerInput!) { createConsumer(input: $input) { consumer { id } } }";
    // As `web/src/api/trace.ts` has it: the server decides.
    let answer = acme
        .rest("POST", "/graphql")
        .header("traceparent", &format!("00-{TRACE}-{CALLER}-00"))
        .header("tracestate", "tollgate=undecided")
        .json(&json!({ "query": create, "variables": { "input": { "name": "planted" } } }))
        .await
        .expect(200);

    let ours = async |name: &str| {
        eventually("a span of the click", async || {
            let spans = collector.spans().into_iter();
            spans.rev().find(|span| span.trace == TRACE && span.name == name)
        })
        .await
    };
    let request = ours("POST /graphql").await;
    let operation = ours("mutation createConsumer").await;
    let insert = ours("insert consumer").await;
    assert_eq!(request.service, "tollgate-control-plane");
    assert_eq!(request.parent, CALLER);
    assert_eq!(operation.parent, request.id);
    assert_eq!(insert.parent, operation.id);
    let told = format!("00-{TRACE}-{}-01", request.id);
    assert_eq!(answer.header("traceresponse"), Some(&*told), "the answer names its trace");

    assert_eq!(request.attribute("http.response.status_code"), Some("200"));
    assert_eq!(insert.attribute("db.system.name"), Some("postgresql"));
    assert_eq!(insert.attribute("db.query.summary"), Some("insert consumer"));
    let text = insert.attribute("db.query.text").unwrap();
    assert!(text.starts_with("insert into consumer") && text.contains("$1"), "{text}");

    let told = format!("{:?}", collector.spans());
    assert!(!told.contains("planted") && !told.contains(harness::tenant::PASSWORD), "{told}");
}

#[tokio::test]
async fn without_a_collector_nothing_of_it_runs() {
    let collector = Collector::start().await;
    let mut on = traced(&collector).await;
    let mut off = World::start().await;
    let exporters = |world: &mut World| {
        let nodes = world.node().expect("a node runs").threads();
        let threads = nodes.into_iter().chain(world.control_plane().threads());
        // The kernel keeps 15 bytes of a name.
        threads.filter(|name| name.starts_with("OpenTelemetry")).count()
    };
    assert_eq!(exporters(&mut on), 4, "spans and logs of both planes");
    assert_eq!(exporters(&mut off), 0);

    let parent = format!("00-{TRACE}-{CALLER}-01");
    let answer = off.management().get("/v1/session").header("traceparent", &parent).await;
    assert_eq!(answer.header("traceresponse"), None, "there is no trace to be a part of");
}
