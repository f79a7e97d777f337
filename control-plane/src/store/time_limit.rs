//! How long a question may take that can come to much, since others wait for the connection.

use std::time::Duration;

use crate::app::Tx;
use crate::error::{Error, Result};

/// One that somebody waits for.
pub const ANSWER: Duration = Duration::from_secs(5);
/// The piece of a file. The first has to come before the request is given up.
pub const PIECE: Duration = Duration::from_secs(20);

/// PostgreSQL ends each later statement of this transaction that takes longer. It compiles none: for what is found by an
/// index that takes longer than it saves.
pub async fn set(tx: &mut Tx, limit: Duration) -> Result<()> {
    sqlx::query("select set_config('statement_timeout', $1, true), set_config('jit', 'off', true)")
        .bind(format!("{}ms", limit.as_millis()))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What went wrong, where a statement may have been ended: then `param` is to be mended, and `rule` says how.
pub fn passed<'a>(param: &'a str, rule: &'a str) -> impl FnOnce(sqlx::Error) -> Error + use<'a> {
    move |error| {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // `query_canceled`
        if code.is_some_and(|code| code == "57014") {
            return Error::limit_exceeded(param, rule);
        }
        error.into()
    }
}
