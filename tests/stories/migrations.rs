//! Bringing tables up to date while others use them, and with a binary that is too old for them.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use harness::{Load, World, at_length, eventually};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// The newest migration of the first release.
const FIRST_RELEASE: i64 = 20_261_101_001_200;

/// A database beside the world's own, with nothing in it. Answers its URL as the processes log in, and an
/// administrator's connection.
async fn empty_database(world: &World) -> (String, PgConnection) {
    let mut admin = world.database().await;
    let name: String = sqlx::query("select current_database()::text || '_new' as name")
        .fetch_one(&mut admin)
        .await
        .unwrap()
        .get("name");
    let create = format!("create database {name} owner tollgate_owner");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await.unwrap();
    let mut url: url::Url = world.database_url().parse().unwrap();
    url.set_path(&name);
    let login = url.to_string();
    url.set_username("postgres").unwrap();
    (login, PgConnection::connect(url.as_str()).await.unwrap())
}

async fn applied(admin: &mut PgConnection) -> Vec<i64> {
    sqlx::query_scalar("select version from _sqlx_migrations order by version")
        .fetch_all(admin)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_migration_gives_up_waiting_for_a_lock_and_leaves_nothing_half_done() {
    let world = World::new(&[]).await;
    let (url, mut admin) = empty_database(&world).await;
    let migrate = || {
        let mut command = world.tollgate(&["migrate"]);
        command.env("DATABASE_URL", &url).output().unwrap()
    };
    // The name is taken until this transaction ends: the migration that makes the table waits for it. The one
    // before, in a transaction of its own, is done by then.
    let mut holder = admin.begin().await.unwrap();
    sqlx::raw_sql("create table user_account (id int)").execute(&mut *holder).await.unwrap();

    let refused = migrate();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success(), "{said}");
    assert!(
        said.contains("migration 20261101000200") && said.contains("waited five seconds"),
        "{said}"
    );
    holder.rollback().await.unwrap();
    assert_eq!(applied(&mut admin).await, [20_261_101_000_000, 20_261_101_000_100]);
    let kept =
        "select to_regclass('member') is not null or to_regclass('user_account') is not null";
    assert!(!sqlx::query_scalar::<_, bool>(kept).fetch_one(&mut admin).await.unwrap());

    let done = migrate();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(applied(&mut admin).await.len() > 12);

    // As if a newer release had been here.
    sqlx::raw_sql(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (20990101000000, 'from the future', true, '', 0)",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let refused = migrate();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("newer (migration 20990101000000)"), "{said}");

    let name: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    let drop = format!("drop database {name} with (force)");
    sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut world.database().await).await.unwrap();
}

/// Makes the world's database one that the first release would have left: its tables, with all that they can hold.
async fn go_back_to_the_first_release(world: &World) {
    let mut now = world.database().await;
    let (url, mut then) = empty_database(world).await;
    let first = MIGRATOR.iter().filter(|it| it.version <= FIRST_RELEASE).cloned();
    sqlx::raw_sql("set role tollgate_owner").execute(&mut then).await.unwrap();
    Migrator::with_migrations(first.collect()).run(&mut then).await.unwrap();
    // In any order, without the rows that migrations made.
    sqlx::raw_sql("reset role; set session_replication_role = replica")
        .execute(&mut then)
        .await
        .unwrap();
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, string_agg(quote_ident(a.attname), ', ' order by a.attnum)
         from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
             and not c.relispartition and c.relname <> '_sqlx_migrations'
             and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
         group by c.relname",
    )
    .fetch_all(&mut then)
    .await
    .unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    for (table, columns) in tables {
        let clear = format!("delete from {table}");
        sqlx::raw_sql(AssertSqlSafe(clear)).execute(&mut then).await.unwrap();
        let read = format!("copy (select {columns} from {table}) to stdout");
        let mut rows = now.copy_out_raw(&read).await.unwrap();
        let mut copy =
            then.copy_in_raw(&format!("copy {table} ({columns}) from stdin")).await.unwrap();
        while let Some(row) = rows.try_next().await.unwrap() {
            copy.send(row).await.unwrap();
        }
        copy.finish().await.unwrap();
    }
    now.close().await.unwrap();
    then.close().await.unwrap();

    let mut url: url::Url = url.parse().unwrap();
    let old = url.path().trim_start_matches('/').to_owned();
    let name = old.strip_suffix("_new").unwrap();
    url.set_path("postgres");
    url.set_username("postgres").unwrap();
    let mut admin = PgConnection::connect(url.as_str()).await.unwrap();
    for swap in [
        format!("drop database {name} with (force)"),
        format!("alter database {old} rename to {name}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(swap)).execute(&mut admin).await.unwrap();
    }
}

async fn billed(world: &World) -> i64 {
    let sum = "select coalesce(sum(billed_requests), 0)::bigint from usage_minute";
    sqlx::query_scalar(sum).fetch_one(&mut world.database().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_the_first_releases_database_is_brought_up_to_date() {
    let many = at_length(200, 10_000);
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let (call, api_id, token) = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        acme.copies(&api, many, Duration::from_mins(15)).await;
        (api.get("/pets"), api.api_id.clone(), acme.token)
    };
    let load = Load::start(2, std::slice::from_ref(&call), &[world.endpoint_address()]);
    eventually("usage in the ledger", async || (billed(&world).await > 0).then_some(())).await;

    world.stop_control_plane().await;
    go_back_to_the_first_release(&world).await;
    let before = applied(&mut world.database().await).await;
    assert_eq!(before.last(), Some(&FIRST_RELEASE));
    let (began, answered) = (Instant::now(), load.answered());
    world.run(&["migrate"]);
    let migrated = began.elapsed();
    let after = applied(&mut world.database().await).await;
    assert_eq!(after.len(), MIGRATOR.iter().count());
    world.start_control_plane().await;

    // All of it is there, and what is changed from now on reaches the node.
    world.settled_within(Duration::from_mins(1)).await;
    let rest = |method: &str, path: &str| world.management().call(method, path).bearer(&token);
    let route = serde_json::json!({ "method": "GET", "path": "/more",
        "integration": { "type": "MOCK", "mockResponse": { "status": 200, "body": "more" } } });
    rest("POST", &format!("/v1/apis/{api_id}/routes")).json(&route).await.expect(201);
    let stage = serde_json::json!({ "stage": "prod" });
    rest("POST", &format!("/v1/apis/{api_id}/deployments")).json(&stage).await.expect(201);
    world.settled().await;
    let host = call.host().to_owned();
    world.endpoint().host(&host).get("/prod/more").await.expect(200);
    let meanwhile = load.answered() - answered;
    let seen = load.end().await;
    assert!(seen.failed.is_empty(), "of {} calls: {:?}", seen.answered.len(), seen.failed);
    assert!(meanwhile > 0, "calls come while tables change");
    let calls = i64::try_from(seen.answered.len() + 1).unwrap();
    eventually("every answered call in the ledger", async || {
        (billed(&world).await >= calls).then_some(())
    })
    .await;
    assert_eq!(billed(&world).await, calls);
    println!(
        "{} APIs: {} migrations in {migrated:.1?}; {meanwhile} calls meanwhile and after, none failed; {calls} in all, \
         each billed once",
        many + 1,
        after.len() - before.len(),
    );
}
