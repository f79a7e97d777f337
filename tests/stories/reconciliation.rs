//! What was billed is held against what was counted elsewhere: an hour of calls agrees with the node's log and with the
//! quota of a key, and what goes missing afterwards is told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::clock::Clock;
use harness::tenant::{PASSWORD, text};
use harness::{Tenant, World, eventually, within};
use serde_json::{Value, json};

/// A node reports every ten seconds and the control plane compares every thirty.
const COMPARED_WITHIN: Duration = Duration::from_mins(1);
const WITH_A_KEY: i64 = 20;
const REFUSED: i64 = 3;

/// What is known of the tenant: by kind, the state, what was counted and the drift.
async fn known(acme: &Tenant<'_>) -> Vec<(String, String, i64, Option<i64>)> {
    let answer = acme.rest("GET", "/v1/usage/reconciliations").await.expect(200).json();
    let row = |row: &Value| {
        let drift = row["drift"].as_i64();
        (text(&row["kind"]), text(&row["state"]), row["counted"].as_i64().unwrap(), drift)
    };
    let mut rows: Vec<_> = answer["items"].as_array().unwrap().iter().map(row).collect();
    rows.sort();
    rows
}

/// The tenant's owner, in a session of this hour.
async fn logged_in(world: &World) -> Tenant<'_> {
    let email = "acme@example.com".to_owned();
    let who = json!({ "email": email, "password": PASSWORD });
    let answer = world.management().post("/v1/login").json(&who).await.expect(200).json();
    Tenant { world, id: String::new(), email, token: text(&answer["accessToken"]) }
}

#[tokio::test]
async fn an_hour_of_calls_is_held_against_the_log_and_the_quota_and_what_is_missing_is_told() {
    let home = std::env::temp_dir().join(format!("tollgate-hours-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let clock = Clock::new(&home, "all");
    // Five minutes into an hour, so that neither the calls nor what is compared later meets the end of one.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let into = i64::try_from(now % 3600).unwrap();
    clock.jump(&format!("{}", 300 - into - 2 * 3600));
    let settings = clock.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut world = World::new(&settings).await;
    world.start_control_plane().await;
    world.start_node().await;
    let mut database = world.database().await;
    // PostgreSQL's clock was not put back.
    let joined = "update node set created_at = created_at - interval '1 day'";
    sqlx::query(joined).execute(&mut database).await.unwrap();
    {
        let origin = world.origin().await.replies(200, "hello");
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
        let api = api.deploy("prod").await;
        let key = api.usage_plan("gold").quota(1000, "MONTH").key().await;
        for _ in 0..WITH_A_KEY {
            api.get("/pets").key(&key.value).await.expect(200);
        }
        for _ in 0..REFUSED {
            api.get("/pets").await.expect(403);
        }
    }
    clock.jump(&format!("{:+}", 300 - into));

    {
        let acme = logged_in(&world).await;
        let calls = WITH_A_KEY + REFUSED;
        let agreed = [("ACCESS_LOG", calls), ("QUOTA", WITH_A_KEY)];
        let agreed =
            agreed.map(|(kind, calls)| (kind.to_owned(), "AGREES".to_owned(), calls, Some(0)));
        within(COMPARED_WITHIN, "the hour and the quota agreeing", async || {
            (known(&acme).await == agreed).then_some(())
        })
        .await;
        let lines = std::fs::read_to_string(world.logs().join("node0.log")).unwrap();
        let id = acme.plain_id().await;
        let logged = lines.lines().filter(|line| line.contains(&id) && line.contains("\"route\""));
        assert_eq!(
            i64::try_from(logged.count()).unwrap(),
            calls,
            "the count is of the log's lines"
        );

        // Two calls are lost to the ledger, as no bug should.
        let lost = "update usage_hour set requests = requests - 2 where api_key_id <> ''";
        assert_eq!(sqlx::query(lost).execute(&mut database).await.unwrap().rows_affected(), 1);
        let drifts = ("ACCESS_LOG".to_owned(), "DRIFTS".to_owned(), calls, Some(2));
        within(COMPARED_WITHIN, "two calls missing", async || {
            known(&acme).await.contains(&drifts).then_some(())
        })
        .await;
        let only = acme.rest("GET", "/v1/usage/reconciliations?drifting=true").await.expect(200);
        assert_eq!(only.json()["items"].as_array().unwrap().len(), 1, "{}", only.text());
        eventually("the metric of two calls", async || {
            let told = world.control_plane_admin().get("/metrics").await.expect(200).text();
            told.contains("tollgate_usage_drift_requests{kind=\"access_log\"} 2").then_some(())
        })
        .await;
        let refused = acme.rest("GET", "/v1/usage/reconciliations?kind=MEMORY").await.expect(400);
        assert!(refused.text().contains("kind"), "{}", refused.text());
    }
    world.stop_node().await;
    let ended: bool = sqlx::query_scalar("select bool_and(ended) from access_log_run")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert!(ended, "a node that is stopped says its last");
    std::fs::remove_dir_all(home).unwrap();
}
