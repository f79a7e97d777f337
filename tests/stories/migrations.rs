//! Bringing tables up to date while others use them, and with a binary that is too old for them.

use harness::World;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

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
