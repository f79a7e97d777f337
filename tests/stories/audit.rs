//! The audit log, and what it tells of somebody who can write its tables.

use harness::World;
use sqlx::AssertSqlSafe;

#[tokio::test]
async fn a_changed_entry_is_named_by_the_command_and_by_the_api() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    for name in ["pets", "orders"] {
        acme.api(name).await;
    }
    let verify = |arguments: &[&str]| {
        let all: Vec<&str> = ["audit", "verify"].iter().chain(arguments).copied().collect();
        let output = world.tollgate(&all).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(verify(&[]), (Some(0), String::new()));
    let whole = acme.rest("GET", "/v1/audit-entries/verification").await.expect(200).json();
    assert_eq!(whole["whole"], true, "{whole}");
    let head = whole["head"].as_str().unwrap();
    assert_eq!(verify(&["--tenant", "acme", "--expected", head]).0, Some(0));

    let mut database = world.database().await;
    let sql = "set session_replication_role = replica;
        update audit_entry set after = jsonb_set(after, '{name}', '\"Pets\"') where after ->> 'name' = 'pets'";
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database).await.unwrap();

    let found = acme.rest("GET", "/v1/audit-entries/verification").await.expect(200).json();
    assert_eq!(found["whole"], false);
    let (entry, sequence) = (&found["fault"]["entryId"], &found["fault"]["sequence"]);
    let (code, said) = verify(&[]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(entry.as_str().unwrap()) && said.contains(&format!("entry {sequence} ")),
        "{said}"
    );
}
