//! Connecting to PostgreSQL as an administrator, and bringing a database's tables up to date.

use crate::roles;
use anyhow::{Context, Result, bail};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

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

/// Brings the tables up to date as `tollgate_owner`; sqlx holds an advisory lock meanwhile.
pub(crate) async fn migrate(url: &str) -> Result<()> {
    let mut connection = connect(url).await?;
    check_login(&mut connection).await?;
    sqlx::query("set role tollgate_owner")
        .execute(&mut connection)
        .await
        .context("cannot become tollgate_owner")?;
    MIGRATOR.run(&mut connection).await.context("a migration failed; nothing of it was kept")?;
    connection.close().await.ok();
    Ok(())
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
