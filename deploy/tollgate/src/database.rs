//! Connecting to PostgreSQL as an administrator, and bringing a database's tables up to date.

use crate::roles;
use anyhow::{Context, Result, anyhow, bail};
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Whoever migrates waits for whoever does so already, however long that takes.
const ONE_AT_A_TIME: &str = "select pg_advisory_lock(7310017310011)";

/// A change that waits for a lock on a table makes all that come after wait too, calls of the running release among
/// them. So it gives up after five seconds; a statement that runs for a quarter of an hour belongs in a job.
const LIMITS: &str = "set lock_timeout = '5s'; set statement_timeout = '15min'";

pub(crate) async fn connect(url: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = url.parse().context("DATABASE_URL is not a PostgreSQL URL")?;
    PgConnection::connect_with(&options)
        .await
        .context("cannot connect to the database of DATABASE_URL")
}

/// Makes the roles and the login. `admin` must be a superuser, or may create roles.
pub(crate) async fn make_roles(admin: &mut PgConnection, login: &str) -> Result<()> {
    // The text holds nothing from outside but the login's name, which was checked.
    sqlx::raw_sql(AssertSqlSafe(roles::sql(login)))
        .execute(admin)
        .await
        .context("cannot make the roles")?;
    Ok(())
}

/// Makes a database that `tollgate_owner` owns, unless it is there.
pub(crate) async fn create(admin: &mut PgConnection, name: &'static str) -> Result<()> {
    let found = sqlx::query("select from pg_database where datname = $1")
        .bind(name)
        .fetch_optional(&mut *admin);
    if found.await.context("cannot list the databases")?.is_none() {
        let create = format!("create database {name} owner tollgate_owner");
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(admin)
            .await
            .context("cannot make the database")?;
    }
    Ok(())
}

/// Brings the tables up to date as `tollgate_owner`. A migration is one transaction: what fails leaves nothing of
/// itself, and running again goes on from there.
pub(crate) async fn migrate(url: &str) -> Result<()> {
    let mut connection = connect(url).await?;
    check_login(&mut connection).await?;
    sqlx::query("set role tollgate_owner")
        .execute(&mut connection)
        .await
        .context("cannot become tollgate_owner")?;
    for statement in [ONE_AT_A_TIME, LIMITS] {
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .context("cannot prepare to migrate")?;
    }
    MIGRATOR.run(&mut connection).await.map_err(failed)?;
    connection.close().await.ok();
    Ok(())
}

/// What to do about it.
fn failed(error: MigrateError) -> anyhow::Error {
    let newest = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    let what = match &error {
        MigrateError::VersionMissing(version) if *version > newest => {
            return anyhow!(
                "the tables are newer (migration {version}) than this tollgate (migration {newest}); migrate with \
                 the newer one"
            );
        }
        MigrateError::ExecuteMigration(cause, version) if is_held(cause) => format!(
            "migration {version} waited five seconds for a lock that another transaction holds; nothing of it was \
             kept; run it again when that transaction has ended"
        ),
        _ => "a migration failed; nothing of it was kept".to_owned(),
    };
    anyhow!(error).context(what)
}

/// PostgreSQL's code for a `lock_timeout` that ran out.
const LOCK_NOT_AVAILABLE: &str = "55P03";

fn is_held(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref()
        == Some(LOCK_NOT_AVAILABLE)
}

/// Row-level security does not hold a superuser back, so Tollgate does not run as one.
async fn check_login(connection: &mut PgConnection) -> Result<()> {
    let row = sqlx::query(
        "select r.rolsuper or r.rolbypassrls as above_policies, r.rolname::text as name,
                coalesce(bool_and(pg_has_role(r.oid, o.oid, 'member')), false) and count(o.oid) = 3 as member
         from pg_roles r left join pg_roles o on o.rolname in ('tollgate_owner', 'tollgate_app', 'tollgate_system')
         where r.rolname = session_user group by r.oid, r.rolsuper, r.rolbypassrls, r.rolname",
    )
    .fetch_one(&mut *connection)
    .await
    .context("cannot read the login's rights")?;
    let name: String = row.get("name");
    if row.get("above_policies") {
        bail!(
            "the login {name} of DATABASE_URL is a superuser or bypasses row-level security; use one made by \
             `tollgate migrate --roles`"
        );
    }
    if !row.get::<bool, _>("member") {
        bail!(
            "the login {name} of DATABASE_URL is not a member of tollgate_owner, tollgate_app and \
             tollgate_system; run `tollgate migrate --roles --login {name}` once as an administrator"
        );
    }
    Ok(())
}
