//! Usage that the ledger cannot count: nothing of it is lost, and the operator finds out what it is.

use harness::lost_usage::LOST_TENANT;
use harness::tenant::text;
use harness::{World, eventually};
use serde_json::{Value, json};

/// The gauge at the control plane, once it is this.
async fn open(world: &World, expected: u64) {
    eventually(&format!("{expected} open in the metrics"), async || {
        let metrics = world.control_plane_admin().get("/metrics").await.text();
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix("tollgate_usage_quarantined_open "))?;
        (value.parse() == Ok(expected)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn usage_of_nobody_waits_for_the_operator_who_looks_into_it_and_settles_it() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        api.get("/pets").await.expect(200);
    }
    world.send_lost_usage(2).await;
    open(&world, 2).await;
    let operator = world.operator().await;
    let path = "/v1/operator/quarantined-segments";
    let list = async |query: &str| -> Vec<Value> {
        let page = operator.rest("GET", &format!("{path}?{query}")).await.expect(200).json();
        page["items"].as_array().unwrap().clone()
    };

    let waiting = list("settled=false").await;
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    let told = format!("there is no tenant {LOST_TENANT}");
    for one in &waiting {
        assert_eq!((&one["reason"], &one["appliedInPart"]), (&json!(told), &json!(false)), "{one}");
        assert_eq!(one.get("content"), None, "lists read no contents");
    }
    let node = text(&waiting[0]["nodeId"]);
    assert_eq!(list(&format!("nodeId={node}&limit=1")).await, waiting[..1]);
    let id = text(&waiting[0]["id"]);
    let one = operator.rest("GET", &format!("{path}/{id}")).await.expect(200).json();
    let content = &one["content"];
    assert_eq!((&content["records"], &content["damagedBlocks"]), (&json!(2), &json!(0)), "{one}");
    let hours = content["hours"].as_array().unwrap();
    assert!(hours.iter().all(|hour| hour["tenant"] == LOST_TENANT), "{hours:?}");
    assert!(hours.iter().all(|hour| hour["tenantName"] == Value::Null), "{hours:?}");

    // Taken away, it is read without a database.
    let link = operator.rest("POST", &format!("{path}/{id}/downloads")).await.expect(201).json();
    let link: url::Url = text(&link["url"]).parse().unwrap();
    let file = world.directory().join("one.segment");
    std::fs::write(&file, world.management().get(link.path()).await.expect(200).bytes()).unwrap();
    world.management().get(link.path()).await.expect(404);
    let file = file.to_str().unwrap();
    let said: Value =
        serde_json::from_str(&world.run(&["inspect-segment", "--json", file])).unwrap();
    assert_eq!(said["sha256"], one["sha256"]);
    assert_eq!(said["header"]["counter"], one["counter"]);
    assert_eq!(said["records"][1]["tenantId"], LOST_TENANT, "{said}");
    let said = world.run(&["inspect-segment", file]);
    assert!(said.contains("2 records can be read") && said.contains("status 200"), "{said}");

    std::fs::write(file, [1; 640]).unwrap();
    let refused = world.tollgate(&["inspect-segment", file]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no intact header"), "{refused:?}");

    let settle = world.management().post(&format!("{path}/{id}/settle")).bearer(&operator.token);
    let found = json!({ "note": "a tenant that a restored database had lost" });
    let settled = settle.clone().json(&found).await.expect(200).json();
    assert_eq!(settled["settledNote"], found["note"]);
    settle.json(&found).await.expect(409);
    open(&world, 1).await;
    assert_eq!(list("settled=false").await, waiting[1..]);
    assert_eq!(list("settled=true").await[0]["id"], json!(id));
    let log = operator.rest("GET", "/v1/audit-entries?noun=quarantined_segment").await.json();
    let told: Vec<_> =
        log["items"].as_array().unwrap().iter().map(|entry| text(&entry["action"])).collect();
    assert_eq!(told, ["quarantined_segment.settle", "quarantined_segment.download"]);

    // What is right counted beside it.
    let mut database = world.database().await;
    eventually("the call in the ledger", async || {
        let requests = "select coalesce(sum(requests), 0)::bigint from usage_minute";
        let requests: i64 = sqlx::query_scalar(requests).fetch_one(&mut database).await.unwrap();
        assert!(requests <= 1, "{requests}");
        (requests == 1).then_some(())
    })
    .await;
}
