//! The partitions that usage lies in. The database's own functions make and drop them: this service owns no table.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::error::Result;

/// A partition is made by these, each in a transaction of its own.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The table is there, and nothing more of its time comes into the default.
    Fence,
    /// Nothing of its time lies in the default. Reads and writes go on meanwhile.
    Search,
    Attach,
}

/// Where those of a table begin that are missing, of those that begin after `since` and before `until`.
pub async fn missing(
    tx: &mut Tx,
    table: &str,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<DateTime<Utc>>> {
    let missing = sqlx::query_scalar!(
        r#"select starts as "starts!" from missing_usage_partitions($1, $2, $3) starts order by 1"#,
        table,
        since,
        until
    );
    Ok(missing.fetch_all(&mut **tx).await?)
}

/// One step towards the partition that begins then. False where there is no more to do: it is there, or the default has
/// rows of its time already, which stay where they are.
pub async fn make(tx: &mut Tx, table: &str, starts: DateTime<Utc>, step: Step) -> Result<bool> {
    let step = match step {
        Step::Fence => "fence",
        Step::Search => "search",
        Step::Attach => "attach",
    };
    let made = sqlx::query_scalar!(
        r#"select make_usage_partition($1, $2, $3) as "made!""#,
        table,
        starts,
        step
    );
    Ok(made.fetch_one(&mut **tx).await?)
}

/// Undoes what was begun of those that begin before `until`; answers how many.
pub async fn give_up(tx: &mut Tx, until: DateTime<Utc>) -> Result<i32> {
    let given_up =
        sqlx::query_scalar!(r#"select give_up_usage_partitions($1) as "given_up!""#, until);
    Ok(given_up.fetch_one(&mut **tx).await?)
}

/// Drops those of minutes that end at `before` or earlier; answers how many.
pub async fn drop_minutes(tx: &mut Tx, before: DateTime<Utc>) -> Result<i32> {
    let dropped = sqlx::query_scalar!(
        r#"select drop_usage_partitions('usage_minute', $1) as "dropped!""#,
        before
    );
    Ok(dropped.fetch_one(&mut **tx).await?)
}

/// Deletes minutes before `before` that lie in no partition of their day; answers how many.
pub async fn delete_minutes(tx: &mut Tx, before: DateTime<Utc>, rows_max: i64) -> Result<u64> {
    let deleted = sqlx::query!(
        "delete from usage_minute_default where ctid = any(array(
             select ctid from usage_minute_default where minute < $1 limit $2
         ))",
        before,
        rows_max,
    );
    Ok(deleted.execute(&mut **tx).await?.rows_affected())
}

/// Up to when partitions of minutes are made; none where there is none.
pub async fn until(tx: &mut Tx) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar!("select usage_partitions_until()").fetch_one(&mut **tx).await?)
}
