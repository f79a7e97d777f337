//! The previous release runs on while the next one's migrations do: each of its queries must still be allowed and
//! still mean something after each migration that was added since.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use serde::Deserialize;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// The newest migration of the first release.
const FIRST_RELEASE: i64 = 20_261_101_001_200;

/// The queries of that release's `.sqlx`, one a line.
const QUERIES: &str = include_str!("first-release/queries.jsonl");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Under which of `tollgate_app`, `tollgate_system` and `tollgate_owner` that release could run it.
    roles: Vec<String>,
    query: String,
}

fn queries() -> Vec<Query> {
    let queries: Vec<Query> =
        QUERIES.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(queries.len(), 171, "queries of a release are neither added nor taken away");
    assert!(queries.iter().all(|query| !query.roles.is_empty()));
    queries
}

async fn run(database: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(database).await?;
    Ok(())
}

/// How many parameters it takes: `$n` with the largest n. No literal of ours holds a dollar sign.
fn parameters(query: &str) -> usize {
    let numbers = query.split('$').skip(1).filter_map(|rest| {
        let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    });
    numbers.max().unwrap_or(0)
}

/// PREPARE tells whether it means something, EXPLAIN whether the role may: PostgreSQL asks for rights no earlier.
async fn try_under(
    database: &mut PgConnection,
    role: &str,
    query: &str,
) -> Result<(), sqlx::Error> {
    run(database, format!("set role tollgate_{role}")).await?;
    let nulls = vec!["null"; parameters(query)].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let tried = async {
        run(database, format!("prepare old as {query}")).await?;
        run(database, format!("explain execute old{arguments}")).await
    };
    let tried = tried.await;
    run(database, "deallocate all; reset role".to_owned()).await?;
    tried
}

/// What no longer runs, by role and query.
async fn broken(database: &mut PgConnection, queries: &[Query]) -> Vec<String> {
    let mut broken = Vec::new();
    for Query { roles, query } in queries {
        for role in roles {
            if let Err(error) = try_under(database, role, query).await {
                broken.push(format!("{error}, as tollgate_{role}: {query}"));
            }
        }
    }
    broken
}

/// A connection that shows the plan for any argument, so that a null does not cut a table out of it.
async fn at_first_release(db: &PgPool) -> sqlx::pool::PoolConnection<sqlx::Postgres> {
    let mut database = db.acquire().await.unwrap();
    run(&mut database, "set plan_cache_mode = force_generic_plan".to_owned()).await.unwrap();
    for migration in MIGRATOR.iter().filter(|migration| migration.version <= FIRST_RELEASE) {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut *database).await.unwrap();
    }
    database
}

#[sqlx::test(migrations = false)]
async fn every_query_of_the_first_release_runs_after_each_later_migration(db: PgPool) {
    let queries = queries();
    let mut database = at_first_release(&db).await;
    let broken_before = broken(&mut database, &queries).await;
    assert!(broken_before.is_empty(), "the first release's own: {broken_before:#?}");

    for migration in MIGRATOR.iter().filter(|migration| migration.version > FIRST_RELEASE) {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut *database).await.unwrap();
        let broken = broken(&mut database, &queries).await;
        assert!(
            broken.is_empty(),
            "migration {} ({}) breaks the first release: {broken:#?}",
            migration.version,
            migration.description
        );
    }
}

#[sqlx::test(migrations = false)]
async fn a_column_or_a_grant_that_is_taken_away_is_found(db: PgPool) {
    let queries = queries();
    let mut database = at_first_release(&db).await;
    for (change, query) in [
        ("alter table consumer rename external_id to outer_id", "from consumer where tenant_id"),
        ("revoke delete on api from tollgate_app", "delete from api where"),
    ] {
        run(&mut database, change.to_owned()).await.unwrap();
        let broken = broken(&mut database, &queries).await;
        assert!(broken.iter().any(|line| line.contains(query)), "{change}: {broken:#?}");
    }
}
