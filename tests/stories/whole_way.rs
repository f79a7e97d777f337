//! From sign-up to bill by GraphQL, the console's own door.

use harness::tenant::{month, since, text};
use harness::{Client, World, eventually};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde_json::json;

#[tokio::test]
async fn a_call_goes_through_from_sign_up_to_bill() {
    let world = World::start().await;
    let operator = world.operator().await;
    let price = json!({
        "currency": "EUR", "perMillionRequests": "1000000", "perGbOut": "0", "freeRequests": 1,
    });
    operator
        .mutate("setPrice", "SetPriceInput!", price, "price { currency perMillionRequests }")
        .await;

    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let key = api.usage_plan("gold").throttle(0.01, 2).key().await;

    // The address that the console shows is the one that answers.
    let stage = "query($id: ID!) { node(id: $id) { ... on Stage { invokeUrl pathInvokeUrl } } }";
    let shown = acme.graphql(stage, json!({ "id": api.stage_id })).await;
    assert_eq!(text(&shown["node"]["invokeUrl"]), format!("http://{}/prod", api.host()));

    let answer = api.get("/pets?color=red").key(&key.value).await.expect(200);
    assert_eq!(answer.text(), "hello");
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(origin.received()[0].path, "/pets?color=red");
    assert_eq!(api.get_by_path("/pets").key(&key.value).await.expect(200).text(), "hello");

    // The burst was two: the third is refused, is told when to come back, and never reaches the backend.
    let refused = api.get("/pets").key(&key.value).await.expect(429);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(origin.received().len(), 2);
    api.get("/pets").await.expect(403);

    // Every call is counted, the two that were admitted are billed.
    acme.counted(4).await;
    assert_eq!(acme.requests().await, (4, 2));

    // What the page shows that waits for a key's first request.
    let usage = "query($filter: UsageFilter!) { usage(filter: $filter, first: 10) \
                 { nodes { start route stage apiId statusClass requests billedRequests bytesOut } } }";
    let filter = json!({ "filter": { "since": since(), "apiKey": key.id } });
    let rows = acme.graphql(usage, filter).await["usage"]["nodes"].as_array().unwrap().clone();
    let good = rows.iter().find(|row| row["statusClass"] == 2).unwrap();
    assert_eq!(good["route"], "GET /pets");
    assert_eq!(good["stage"], "prod");
    assert_eq!(text(&good["apiId"]), api.api_id);

    // One of the two billed requests is free, the other costs one euro, once the hour has been summed.
    let query = "query { bill { month currency open total lines { quantity amount } } }";
    let bill = eventually("a bill over one euro", async || {
        let bill = acme.graphql(query, json!({})).await["bill"].take();
        (text(&bill["total"]).parse::<Decimal>().unwrap() == Decimal::ONE).then_some(bill)
    })
    .await;
    assert_eq!((text(&bill["month"]), text(&bill["currency"])), (month(), "EUR".to_owned()));
    assert_eq!(bill["open"], true);

    // The CSV, by a link that works once.
    let input = json!({ "month": month() });
    let link = acme
        .mutate("createUsageDownload", "CreateUsageDownloadInput!", input, "url expiresInSeconds")
        .await;
    let url: url::Url = text(&link["url"]).parse().unwrap();
    let browser = Client::new(world.management_address());
    let path = url[url::Position::BeforePath..].to_owned();
    let file = browser.get(&path).await.expect(200);
    assert!(file.header("content-type").unwrap().starts_with("text/csv"), "{file:?}");
    let mut reader = csv::Reader::from_reader(file.text().as_bytes().to_vec().leak() as &[u8]);
    let header = reader.headers().unwrap().clone();
    let column = header.iter().position(|name| name.contains("requests")).unwrap();
    let sum: u64 = reader.records().map(|row| row.unwrap()[column].parse::<u64>().unwrap()).sum();
    assert_eq!(sum, 4, "{}", file.text());
    assert!(browser.get(&path).await.status() >= 400, "a link must work once");
}

#[tokio::test]
async fn a_changed_route_is_live_after_its_deployment_and_not_before() {
    let world = World::start().await;
    let (old, new) =
        (world.origin().await.replies(200, "old"), world.origin().await.replies(200, "new"));
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.get_route("/pets", &old).await.deploy("prod").await;
    assert_eq!(api.get("/pets").await.expect(200).text(), "old");

    let api = api.get_route("/new", &new).await;
    world.settled().await;
    api.get("/new").await.expect(404);

    let api = api.deploy("prod").await;
    assert_eq!(api.get("/new").await.expect(200).text(), "new");
    assert_eq!(api.get("/pets").await.expect(200).text(), "old");
}

#[tokio::test]
async fn a_quota_lets_exactly_its_limit_through() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let key = api.usage_plan("small").quota(3, "MONTH").key().await;

    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(api.get("/pets").key(&key.value).await.status());
    }

    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(origin.received().len(), 3);
}

#[tokio::test]
async fn a_quota_by_terms_of_its_own_is_kept_from_the_console_to_the_caller() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let anniversary = json!({
        "anchor": "ANNIVERSARY", "startsAt": "2026-01-31T09:30:00Z", "timeZone": "Asia/Kathmandu",
        "initialUsed": 3,
    });
    let hard = api.usage_plan("hard").quota(5, "MONTH").terms(&anniversary).key().await;
    let soft = json!({ "timeZone": "Europe/Berlin", "enforcement": "SOFT" });
    let soft = api.usage_plan("soft").quota(2, "DAY").terms(&soft).key().await;

    let (mut refused_after, mut passed) = (None, Vec::new());
    for call in 0..4 {
        let answer = api.get("/pets").key(&hard.value).await;
        if answer.status() == 429 && refused_after.is_none() {
            refused_after = Some(call);
        }
        passed.push(api.get("/pets").key(&soft.value).await.status());
    }

    assert_eq!(refused_after, Some(2), "what it had used before is missing");
    assert_eq!(passed, [200; 4]);
    assert_eq!(origin.received().len(), 6);
}

#[tokio::test]
async fn a_key_that_used_its_quota_up_goes_on_as_soon_as_it_is_granted_more() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api =
        acme.api("pets").await.get_route_with_key("/pets", &origin).await.deploy("prod").await;
    let key = api.usage_plan("small").quota(1, "MONTH").key().await;
    let call = async || api.get("/pets").key(&key.value).await.status();
    assert_eq!([call().await, call().await], [200, 429]);
    let keys = acme.rest("GET", "/v1/api-keys").await.expect(200).json();
    let (id, plan) = (text(&keys["items"][0]["id"]), text(&keys["items"][0]["usagePlanIds"][0]));
    let path = format!("/v1/usage-plans/{plan}/api-keys/{id}/quota");

    for _ in 0..2 {
        let granted = acme.rest("PATCH", &path).json(&json!({ "extraCalls": 2 })).await;
        let granted = granted.expect(200).json();
        assert_eq!((&granted["limit"], &granted["extraCalls"]), (&json!(3), &json!(2)));
    }
    world.settled().await;

    let passed = api.get("/pets").key(&key.value).await;
    assert_eq!((passed.status(), call().await, call().await), (200, 200, 429));
    let told = passed.header("ratelimit-policy").unwrap();
    assert!(told.contains("\"quota\";q=3;"), "{told}");
    let refused = acme.rest("PATCH", &path).json(&json!({ "extraCalls": -1 })).await;
    assert_eq!(refused.expect(400).json()["param"], "extraCalls");

    // Days that begin a little ahead: what is granted in the one that ends then is none of the next.
    let ahead = (Timestamp::now() + SignedDuration::from_secs(8)).to_string();
    let quota = json!({ "limit": 1, "period": "DAY", "anchor": "ANNIVERSARY", "startsAt": ahead });
    let change = acme.rest("PATCH", &format!("/v1/usage-plans/{plan}"));
    change.json(&json!({ "quota": quota })).await.expect(200);
    let granted = acme.rest("PATCH", &path).json(&json!({ "extraCalls": 2 })).await;
    let granted = granted.expect(200).json();
    assert_eq!((&granted["limit"], &granted["extraCalls"]), (&json!(3), &json!(2)));
    let next = eventually("the end of the period", async || {
        let now = acme.rest("GET", &path).await.expect(200).json();
        (now["extraCalls"] == json!(0)).then_some(now)
    });
    let next = next.await;
    assert_eq!((&next["limit"], &next["startsAt"]), (&json!(1), &granted["endsAt"]));
    world.settled().await;
    assert_eq!([call().await, call().await], [200, 429]);
}

#[tokio::test]
async fn usage_survives_the_death_of_the_node_that_counted_it() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        for _ in 0..10 {
            api.get("/pets").await.expect(200);
        }
    }

    world.kill_node();
    world.start_node().await;

    let mut database = world.database().await;
    let count = async || {
        let sum = sqlx::query_scalar::<_, i64>(
            "select coalesce(sum(requests), 0)::bigint from usage_minute",
        );
        let sum = sum.fetch_one(&mut database).await.unwrap();
        (sum >= 10).then_some(sum)
    };
    assert_eq!(eventually("the ten calls in the ledger", count).await, 10);
}
