//! How far the tables are.

use sqlx::migrate::Migrator;

use crate::app::Tx;
use crate::error::Result;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The newest migration that this build was made with.
pub fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The newest migration that the database has had.
pub async fn version(tx: &mut Tx) -> Result<i64> {
    // Unchecked at compile time: sqlx makes this table, and a development database may have none.
    let newest: Option<i64> =
        sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(&mut **tx)
            .await?;
    Ok(newest.unwrap_or(0))
}
