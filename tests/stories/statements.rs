//! A day of usage that its tenant can prove: calls are made, days pass, and what is downloaded then is checked by a
//! command that knows nothing but the files.

use std::fs;
use std::path::PathBuf;

use harness::clock::Clock;
use harness::tenant::{PASSWORD, text};
use harness::{Tenant, World, eventually};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

/// The tenant's owner after the days in which the first session ended.
async fn logged_in(world: &World) -> Tenant<'_> {
    let email = "acme@example.com".to_owned();
    let who = json!({ "email": email, "password": PASSWORD });
    let answer = world.management().post("/v1/login").json(&who).await.expect(200).json();
    Tenant { world, id: String::new(), email, token: text(&answer["accessToken"]) }
}

/// A month's usage, as the one-time link gives it.
async fn exported(acme: &Tenant<'_>, month: &str) -> String {
    let wanted = json!({ "month": month });
    let link = acme.rest("POST", "/v1/downloads").json(&wanted).await.expect(201).json();
    let path = url::Url::parse(&text(&link["url"])).unwrap().path().to_owned();
    acme.world.management().get(&path).await.expect(200).text()
}

/// The command and the files that it is given.
struct Desk<'w> {
    world: &'w World,
    directory: PathBuf,
}

impl Desk<'_> {
    fn put(&self, name: &str, content: &str) {
        fs::write(self.directory.join(name), content).unwrap();
    }

    /// The exit code and what was said of it, without any setting of the installation.
    fn verify(&self, files: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut command = self.world.tollgate(&["verify-usage"]);
        for (option, name) in files {
            command.arg(option).arg(self.directory.join(name));
        }
        command.env_remove("DATABASE_URL").env_remove("TOLLGATE_MASTER_KEY_FILE");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A world with this clock, in which five calls are in the ledger.
async fn called(clock: &Clock) -> World {
    let settings = clock.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut world = World::new(&settings).await;
    world.start_control_plane().await;
    world.start_node().await;
    let origin = world.origin().await.replies(200, "hello");
    {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await;
        let api = api.get_route("/orders", &origin).await.deploy("prod").await;
        for path in ["/pets", "/orders", "/pets", "/orders", "/pets"] {
            api.get(path).await.expect(200);
        }
    }
    let mut database = world.database().await;
    let counted = "select coalesce(sum(requests), 0)::bigint from usage_hour";
    eventually("five calls in the ledger", async || {
        let counted: i64 = sqlx::query_scalar(counted).fetch_one(&mut database).await.unwrap();
        (counted == 5).then_some(())
    })
    .await;
    world
}

#[tokio::test]
async fn a_day_is_signed_and_whatever_is_changed_afterwards_is_named() {
    let home = std::env::temp_dir().join(format!("tollgate-days-{}", std::process::id()));
    fs::create_dir_all(&home).unwrap();
    let clock = Clock::new(&home, "all");
    clock.jump("-5d");
    let mut world = called(&clock).await;
    let mut database = world.database().await;
    let first = "select to_char(min(hour) at time zone 'UTC', 'YYYY-MM-DD') from usage_hour";
    let day: String = sqlx::query_scalar(first).fetch_one(&mut database).await.unwrap();
    let path = format!("/v1/usage/statements/{day}");
    {
        let acme = logged_in(&world).await;
        let open = acme.rest("GET", &path).await.expect(200).json();
        assert_eq!((&open["final"], &open["signature"]), (&json!(false), &Value::Null), "{open}");
    }

    // Five days later.
    world.kill_node();
    world.stop_control_plane().await;
    clock.jump("+0");
    world.start_control_plane().await;
    let acme = logged_in(&world).await;
    let statement = eventually("a signed statement", async || {
        let statement = acme.rest("GET", &path).await.expect(200);
        (statement.json()["final"] == true).then(|| statement.text())
    })
    .await;
    let csv = exported(&acme, &day[..7]).await;
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let row = rows.iter().find(|row| row[1].starts_with(&day)).unwrap();
    let query = format!("/v1/usage/proofs?hour={}&ledgerRow={}", row[1], row[0]);
    let proof = acme.rest("GET", &query).await.expect(200).text();

    let desk = Desk { world: &world, directory: world.directory().to_owned() };
    let (statement_file, proof_file) =
        (("--statement", "statement.json"), ("--proof", "proof.json"));
    let (csv_file, key_file) = (("--csv", "usage.csv"), ("--key", "key"));
    desk.put("statement.json", &statement);
    desk.put("proof.json", &proof);
    desk.put("usage.csv", &csv);
    desk.put("key", &world.run(&["audit", "key"]));
    let all = [statement_file, proof_file, csv_file, key_file];
    assert_eq!(desk.verify(&all), (Some(0), String::new()));
    let (code, said) = desk.verify(&[statement_file]);
    assert_eq!(code, Some(0));
    assert!(said.starts_with("warning: no --key was given"), "{said}");

    // A byte of each file.
    let hour = row[1];
    let root = text(&serde_json::from_str::<Value>(&statement).unwrap()["root"]);
    let other = if root.starts_with('0') { "1" } else { "0" };
    let other_root = format!("{other}{}", &root[1..]);
    let line = row.join(",");
    let less = format!("{}9", &line[..line.len() - 1]);
    let more = format!("{}8", &line[..line.len() - 1]);
    let changed_line = if less == line { more } else { less };
    let rows_stated =
        format!("\"rows\":{}", serde_json::from_str::<Value>(&proof).unwrap()["rows"]);
    for (name, content, from, to, reason) in [
        ("statement.json", &statement, root.as_str(), other_root.as_str(), "do not make its root"),
        ("statement.json", &statement, "\"signature\":\"", "\"signature\":\"x", "is no statement"),
        (
            "proof.json",
            &proof,
            rows_stated.as_str(),
            "\"rows\":9",
            "with 9 rows; the statement has",
        ),
        ("proof.json", &proof, "\"requests\":", "\"requests\":1", "do not lead to the root"),
        ("usage.csv", &csv, line.as_str(), changed_line.as_str(), "its rows are not those"),
        ("usage.csv", &csv, "GET /pets", "GET /bets", "its ledger_row is not the name"),
    ] {
        let changed = content.replacen(from, to, 1);
        assert_ne!(changed, *content, "{from}");
        desk.put(name, &changed);
        let (code, said) = desk.verify(&all);
        assert_eq!(code, Some(1), "{name}: {from} is {to}");
        assert!(said.contains(name) && said.contains(reason), "{said} is not: {reason}");
        desk.put(name, content);
    }
    desk.put("key", &"ab".repeat(32));
    let (code, said) = desk.verify(&all);
    assert!(code == Some(1) && said.contains("another key than yours"), "{said}");

    // A row of the ledger, by somebody who may write to the database.
    let sql = format!(
        "update usage_hour set billed_requests = billed_requests + 1 where hour = '{hour}'"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database).await.unwrap();
    desk.put("usage.csv", &exported(&acme, &day[..7]).await);
    let (code, said) = desk.verify(&[statement_file, csv_file]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("{hour}: its rows are not those")), "{said}");
    let _ = fs::remove_dir_all(home);
}
