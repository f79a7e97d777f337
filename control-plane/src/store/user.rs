//! Users: people, one per email.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::user::{Account, Email, NewUser, User};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::UserId;

pub async fn insert(tx: &mut Tx, new: &NewUser) -> Result<User> {
    let row = sqlx::query_as!(
        Row,
        "insert into user_account (id, email, password_hash, operator) values ($1, $2, $3, $4)
         returning id, email, created_at",
        new.id.0,
        new.email.as_str(),
        new.password_hash,
        new.operator,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("user_account_email_key", || {
        Error::conflict("email", "an account with this email exists; log in instead")
    })?;
    Ok(row.into())
}

pub async fn get(tx: &mut Tx, id: UserId) -> Result<User> {
    let row =
        sqlx::query_as!(Row, "select id, email, created_at from user_account where id = $1", id.0)
            .fetch_optional(&mut **tx)
            .await?;
    row.map(User::from).ok_or(Error::NotFound("user"))
}

/// What a log-in with this email is checked against.
pub async fn account(tx: &mut Tx, email: &Email) -> Result<Option<Account>> {
    let row = sqlx::query!(
        "select id, email, created_at, password_hash, operator from user_account
         where lower(email) = lower($1)",
        email.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Account {
        user: User { id: UserId(row.id), email: row.email, created_at: row.created_at },
        password_hash: row.password_hash,
        operator: row.operator,
    }))
}

pub async fn set_password(tx: &mut Tx, id: UserId, password_hash: &str) -> Result<()> {
    sqlx::query!(
        "update user_account set password_hash = $2, updated_at = now() where id = $1",
        id.0,
        password_hash,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether the user's password still has this hash; if so it keeps it until the transaction ends.
pub async fn keep_password(tx: &mut Tx, id: UserId, password_hash: &str) -> Result<bool> {
    let kept = sqlx::query_scalar!(
        "select id from user_account where id = $1 and password_hash = $2 for share",
        id.0,
        password_hash,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(kept.is_some())
}

pub async fn is_operator(tx: &mut Tx, user: UserId) -> Result<bool> {
    let operator = sqlx::query_scalar!("select operator from user_account where id = $1", user.0)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(operator.unwrap_or(false))
}

struct Row {
    id: Uuid,
    email: String,
    created_at: DateTime<Utc>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self { id: UserId(row.id), email: row.email, created_at: row.created_at }
    }
}
