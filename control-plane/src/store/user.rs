//! Users: people, one per email.

use crate::app::Tx;
use crate::error::Result;
use crate::ids::UserId;

pub async fn is_operator(tx: &mut Tx, user: UserId) -> Result<bool> {
    let operator = sqlx::query_scalar!("select operator from user_account where id = $1", user.0)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(operator.unwrap_or(false))
}
